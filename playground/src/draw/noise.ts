// Gradient noise: a histogram of its norms against Gaussian noise, with a q-q plot in the corner.

import { GaussianNorm, plottingPositions, quantile } from "../measures";
import type { Noise } from "../protocol";
import { type Size } from "./curves";
import { axes, line, linear, logarithmic, MARGIN, note, type Point } from "./plot";

export interface Shown {
  noise: Noise;
  /** Its class: an optimizer's, or "both" where their iterates are the same. */
  name: string;
}

const BINS = 40;

/** `absent` says why there is nothing to show, where that is so. */
export function noiseHistogram(given: Shown[], absent: string, size: Size): string {
  const shown = given.filter(({ noise }) => Number.isFinite(noise.scale) && noise.degrees > 0);
  if (!shown.length) {
    const x = linear([0, 2.5], [MARGIN.left, size.width - MARGIN.right], 4);
    const y = linear([0, 1], [size.height - MARGIN.bottom, MARGIN.top], 3);
    return axes({ ...size, x, y }, X_TITLE, "density") + note(absent, size);
  }
  const relative = shown.map(({ noise: { norms, degrees }, name }) => {
    const middle = quantile(norms, 0.5);
    return { name, norms: norms.map((norm) => norm / middle), reference: gaussian(degrees) };
  });
  const most = Math.min(4, Math.max(2.4, ...relative.map(({ norms }) => norms[norms.length - 1]!)));
  const x = linear([0, most], [MARGIN.left, size.width - MARGIN.right], 4);
  const parts = relative.map(({ name, norms, reference }) => {
    const counts = new Array<number>(BINS + 1).fill(0);
    norms.forEach((norm) => counts[Math.min(BINS, Math.floor((norm / most) * BINS))]!++);
    const densities = counts.slice(0, BINS).map((count) => (count / norms.length / most) * BINS);
    return { name, norms, densities, reference };
  });
  const grid = Array.from({ length: 121 }, (_, i) => (i * most) / 120);
  const references = parts.map(({ reference }) => grid.map((norm) => reference.density(norm)));
  const top = Math.max(...parts.flatMap(({ densities }) => densities), ...references.flat());
  const y = linear([0, top * 1.05], [size.height - MARGIN.bottom, MARGIN.top], 3);
  const bars = parts.map(({ name, densities }) => {
    const corners = densities.flatMap((density, i): Point[] => [
      [x((i * most) / BINS), y(density)],
      [x(((i + 1) * most) / BINS), y(density)],
    ]);
    const base = size.height - MARGIN.bottom;
    const path = corners.map(([px, py]) => `${px.toFixed(1)} ${py.toFixed(1)}`).join("L");
    return `<path class="bars ${name}" d="M${x(0)} ${base}L${path}L${x(most)} ${base}Z"/>`;
  });
  const curves = references.map((density) =>
    line(density.map((value, i): Point => [x(grid[i]!), y(value)]), "reference"),
  );
  return axes({ ...size, x, y }, X_TITLE, "density") + bars.join("") + curves.join("") + inset(parts, size);
}

const X_TITLE = "norm of the noise ÷ its median";

/** The norm of Gaussian noise, whose median is 1. */
function gaussian(degrees: number): GaussianNorm {
  const middle = new GaussianNorm(1, degrees).quantile(0.5);
  return new GaussianNorm(1 / middle ** 2, degrees);
}

/** Quantiles of the norms against those of Gaussian noise, on log axes; on the diagonal if equal. */
function inset(parts: { name: string; norms: Float64Array; reference: GaussianNorm }[], size: Size): string {
  const side = Math.min(84, size.width * 0.3, size.height * 0.42);
  const [left, top] = [size.width - MARGIN.right - side, MARGIN.top];
  const all = parts.map(({ name, norms, reference }) => {
    const positions = plottingPositions(norms.length);
    return { name, pairs: positions.map((p, i): Point => [reference.quantile(p), norms[i]!]) };
  });
  const high = Math.max(...all.flatMap(({ pairs }) => pairs[pairs.length - 1]!));
  const low = Math.max(1e-3, Math.min(...all.flatMap(({ pairs }) => pairs[0]!)));
  const x = logarithmic([low, high], [left, left + side]);
  const y = logarithmic([low, high], [top + side, top]);
  const dots = all.flatMap(({ name, pairs }) =>
    pairs
      .filter((_, i) => i % 10 === 5 || i > pairs.length - 30)
      .map(([px, py]) => `<circle class="dot ${name}" cx="${x(px).toFixed(1)}" cy="${y(py).toFixed(1)}" r="1.4"/>`),
  );
  return (
    `<g class="inset"><rect x="${left}" y="${top}" width="${side}" height="${side}"/>` +
    `<path class="line reference" d="M${x(low)} ${y(low)}L${x(high)} ${y(high)}"/>${dots.join("")}` +
    `<text class="tick" x="${left + side / 2}" y="${top + side + 11}" text-anchor="middle">Gaussian</text>` +
    `<text class="tick" transform="translate(${left - 4} ${top + side / 2}) rotate(-90)" text-anchor="middle">measured</text></g>`
  );
}
