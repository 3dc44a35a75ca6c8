// The Hessian's eigenvalues from the largest to the smallest, with their signs.

import { type Size } from "./curves";
import { MOST_WEIGHTS } from "../protocol";
import { axes, digitOf, extent, line, linear, MARGIN, note, type Point, SIDES, signedLog } from "./plot";

export function spectrum(eigenvalues: Float64Array[], count: number, size: Size): string {
  const all = eigenvalues.flatMap((values) => [...values]);
  const [low, high] = extent(all, [-1, 10]);
  const unit = digitOf(low, high) / 1000;
  const x = linear([1, count], [MARGIN.left, size.width - MARGIN.right], 4);
  const y = signedLog([Math.min(low, -unit), Math.max(high * 1.4, unit)], [size.height - MARGIN.bottom, MARGIN.top], unit);
  const lines = SIDES.map((name, method) => {
    const values = eigenvalues[method] ?? new Float64Array(0);
    const points: Point[] = [...values].reverse().map((value, i) => [x(i + 1), y(value)]);
    return line(points, name);
  });
  return (
    axes({ ...size, x, y }, "eigenvalue, largest first", "curvature") +
    `<path class="axis" d="M${MARGIN.left} ${y(0)}H${size.width - MARGIN.right}"/>` +
    (all.length ? lines.join("") : note(count > MOST_WEIGHTS ? "too many weights for it" : "measured after the loss", size))
  );
}
