// Final loss against the learning rate: the sweep that a drag over the axis runs.

import { mean } from "../measures";
import type { PerRun } from "../protocol";
import { RATES } from "../state";
import type { Curves, Size } from "./curves";
import { axes, extent, line, logarithmic, MARGIN, mark, note, type Point, SIDES } from "./plot";

export interface Sweep {
  points: Map<number, { step: number; losses: PerRun }>;
  /** Rates that are not finished. */
  wanted: readonly number[];
  /** Where the pointer is dragging, as rates. */
  dragged: readonly [number, number] | null;
}

export function sensitivity(sweep: Sweep, rates: readonly number[], start: number, size: Size): Curves {
  const x = logarithmic([RATES[0]! / 1.5, RATES[RATES.length - 1]! * 1.5], [MARGIN.left, size.width - MARGIN.right]);
  const points = [...sweep.points]
    .map(([rate, { losses }]) => [rate, losses] as const)
    .sort(([a], [b]) => a - b);
  const all = points.flatMap(([, losses]) => losses.map(mean)).filter((value) => value > 0);
  const [low, high] = extent(all, [start / 10, start]);
  const y = logarithmic([Math.min(low / 1.4, start / 3), Math.min(Math.max(high, start) * 1.4, start * 10)], [size.height - MARGIN.bottom, MARGIN.top]);
  const frame = { ...size, x, y };
  const base = size.height - MARGIN.bottom;
  const waiting = sweep.wanted.map((rate) => `<path class="waiting" d="M${x(rate)} ${base}v-6"/>`);
  const steps = Math.min(...[...sweep.points.values()].map(({ step }) => step));
  const used = rates.map((rate, i) => `<path class="used ${SIDES[i]}" d="M${x(rate)} ${base}l-4 8h8Z"/>`);
  const curves = SIDES.map((name, method) => {
    const places = points.map(([rate, losses]): Point => {
      const value = mean(losses[method]!);
      return [x(rate), value <= y.invert(MARGIN.top) ? y(value) : value > 0 ? MARGIN.top : NaN];
    });
    const marks = places.map((place, i) =>
      mark(place, name, `data-rate="${points[i]![0]}" data-method="${method}"`),
    );
    const lost = points
      .filter(([, losses]) => losses[method]!.some(Number.isNaN))
      .map(([rate]) => `<text class="lost ${name}" x="${x(rate)}" y="${MARGIN.top + 8 + 12 * method}" text-anchor="middle">×</text>`);
    return line(places, name) + marks.join("") + lost.join("");
  });
  const dragged = sweep.dragged
    ? `<rect class="dragged" x="${x(Math.min(...sweep.dragged))}" width="${Math.abs(x(sweep.dragged[1]) - x(sweep.dragged[0]))}" y="${MARGIN.top}" height="${base - MARGIN.top}"/>`
    : "";
  const empty = !points.length && !sweep.wanted.length && !sweep.dragged;
  const svg =
    axes(frame, "learning rate", sweep.wanted.length && points.length ? `loss after ${steps} steps` : "final loss") +
    dragged +
    used.join("") +
    waiting.join("") +
    curves.join("") +
    (empty ? note("drag here to try learning rates", size) : "");
  return { ...frame, svg };
}
