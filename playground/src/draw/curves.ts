// Curves over steps, with a band over seeds: the loss and the directional smoothness.

import { mean, median } from "../measures";
import type { PerRun } from "../protocol";
import {
  axes, band, cursor, digitOf, extent, type Frame, line, linear, logarithmic, MARGIN, mark, note, type Point,
  type Scale, SIDES, signedLog,
} from "./plot";

export interface Size {
  width: number;
  height: number;
}

export interface Curves extends Frame {
  svg: string;
}

const inner = ({ width, height }: Size) => ({
  across: [MARGIN.left, width - MARGIN.right] as const,
  up: [height - MARGIN.bottom, MARGIN.top] as const,
});

/** Mean over seeds, and the band from the smallest to the largest. */
function ofMethod(points: [number, PerRun][], method: number, x: Scale, y: Scale, name: string): string {
  const place = (pick: (values: number[]) => number): Point[] =>
    points.map(([step, values]) => [x(step), y(pick(values[method]!))]);
  const low = place((values) => Math.min(...values));
  const high = place((values) => Math.max(...values));
  return band(low, high, name) + line(place(mean), name);
}

/** Losses on a log axis over the whole training, of which only the beginning may be there. */
export function lossCurves(losses: Map<number, PerRun>, steps: number, at: number | null, size: Size): Curves {
  const { across, up } = inner(size);
  const points = [...losses].sort(([a], [b]) => a - b);
  const start = mean(points[0]?.[1]?.[0] ?? [1]);
  const all = points.flatMap(([, values]) => values.flat()).filter((value) => value > 0);
  const [low, high] = extent(all, [0.1, 10]);
  // What explodes before it diverges must not squeeze the rest together.
  const top = Math.min(high * 1.25, start * 20);
  const x = linear([0, steps], across, size.width < 500 ? 4 : 8);
  const y = logarithmic([Math.min(low / 1.25, start / 3), Math.max(top, start * 1.25)], up);
  const frame = { ...size, x, y };
  const curves = SIDES.map((name, method) => ofMethod(points, method, x, y, name)).join("");
  const clip = `<clipPath id="inside"><rect x="${across[0]}" y="${up[1]}" width="${across[1] - across[0]}" height="${up[0] - up[1]}"/></clipPath>`;
  const chosen = at !== null && losses.get(at);
  const marks = chosen
    ? cursor(x(at), size) +
      SIDES.map((name, method) => mark([x(at), y(mean(chosen[method]!))], name)).join("")
    : "";
  const svg =
    axes(frame, "step", "loss on 1000 fixed prompts") +
    `${clip}<g clip-path="url(#inside)">${curves}</g>${marks}`;
  return { ...frame, svg };
}

/** Directional smoothness, whose sign is kept. */
export function smoothnessCurves(values: Map<number, PerRun>, steps: number, at: number | null, size: Size): Curves {
  const { across, up } = inner(size);
  const points = [...values].sort(([a], [b]) => a - b);
  const all = points.flatMap(([, each]) => each.flat());
  const [low, high] = extent(all, [-1, 10]);
  const typical = median(all.map(Math.abs)) || 1; // a few values may be a million times as large
  const unit = digitOf(typical, 0) / 10;
  const x = linear([0, steps], across, 3);
  const y = signedLog([Math.min(low, -unit), Math.max(high, unit)], up, unit);
  const frame = { ...size, x, y };
  const svg =
    axes(frame, "step", "curvature along the step") +
    (points.length ? "" : note("measured after the loss", size)) +
    SIDES.map((name, method) => ofMethod(points, method, x, y, name)).join("") +
    (at === null ? "" : cursor(x(at), size));
  return { ...frame, svg };
}
