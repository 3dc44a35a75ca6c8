// P and Q as heat maps: a column for each layer, two rows for each optimizer.

import type { Size } from "./curves";
import { short, SIDES } from "./plot";

const LEFT = 34;
const TOP = 18;
const GAP = 5;

/** Orange below zero, purple above, the background at zero: told apart by the colour-blind. */
function fill(value: number, largest: number): string {
  if (Number.isNaN(value)) return "none";
  const share = Math.sqrt(Math.min(1, Math.abs(value) / largest)); // small weights stay visible
  const [r, g, b] = value < 0 ? [224, 110, 10] : [110, 76, 190];
  return `rgba(${r},${g},${b},${share.toFixed(2)})`;
}

export function heatMaps(
  parameters: Float32Array[],
  labels: readonly string[],
  layers: number,
  dim: number,
  size: Size,
): string {
  if (!parameters.length) return "";
  const room = { x: (size.width - LEFT) / layers - GAP, y: (size.height - TOP - 24) / 4 - GAP };
  const cell = Math.min(room.x, room.y) / dim;
  const side = cell * dim;
  const sizes = parameters.map((each) => each.reduce((most, v) => Math.max(most, Math.abs(v)), 0));
  const largest = Math.max(1e-9, ...sizes.filter(Number.isFinite));
  const parts: string[] = [];
  for (let layer = 0; layer < layers; layer++) {
    const x = LEFT + layer * (side + GAP) + side / 2;
    parts.push(`<text class="tick" x="${x}" y="11" text-anchor="middle">${layers > 4 ? "" : "layer "}${layer + 1}</text>`);
  }
  parameters.forEach((values, method) => {
    const first = TOP + 2 * method * (side + GAP) + method * 4;
    parts.push(
      `<text class="tick ${SIDES[method]}" transform="translate(10 ${first + side + GAP / 2}) rotate(-90)" text-anchor="middle">${labels[method]}</text>`,
    );
    for (const [matrix, letter] of ["P", "Q"].entries()) {
      const top = first + matrix * (side + GAP);
      parts.push(`<text class="tick letter" x="${LEFT - 6}" y="${top + side / 2 + 4}" text-anchor="end">${letter}</text>`);
      for (let layer = 0; layer < layers; layer++) {
        const left = LEFT + layer * (side + GAP);
        const start = (matrix * layers + layer) * dim * dim;
        for (let i = 0; i < dim * dim; i++) {
          const [x, y] = [left + (i % dim) * cell, top + Math.floor(i / dim) * cell];
          const value = values[start + i]!;
          parts.push(
            `<rect x="${x.toFixed(2)}" y="${y.toFixed(2)}" width="${cell.toFixed(2)}" height="${cell.toFixed(2)}" fill="${fill(value, largest)}"/>`,
          );
        }
        parts.push(`<rect class="outline" x="${left}" y="${top}" width="${side}" height="${side}"/>`);
      }
    }
  });
  return parts.join("") + legend(largest, TOP + 4 * (side + GAP) + 6);
}

function legend(largest: number, top: number): string {
  const stops = [-1, -0.3, 0, 0.3, 1].map(
    (share, i) => `<rect class="outline" x="${LEFT + i * 14}" y="${top}" width="14" height="9" style="fill:${fill(share, 1)}"/>`,
  );
  return `${stops.join("")}<text class="tick" x="${LEFT + 76}" y="${top + 8.5}">${short(-largest)} to ${short(largest)}</text>`;
}
