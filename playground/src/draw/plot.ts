// Scales, axes and marks as SVG text. Colours and dashes are classes of the style sheet: "a" and
// "b" are the two optimizers, in light and dark alike.

export interface Scale {
  (value: number): number;
  invert(pixel: number): number;
  ticks: { value: number; label: string }[];
  range: readonly [number, number];
}

export interface Frame {
  width: number;
  height: number;
  x: Scale;
  y: Scale;
}

export const MARGIN = { left: 50, right: 8, top: 8, bottom: 32 };

/** A number with three digits, in as few signs as can be. */
export function short(value: number): string {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "–" : value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  const text =
    size !== 0 && (size < 1e-3 || size >= 1e4)
      ? power(value)
      : `${Number(value.toPrecision(size >= 1000 ? 4 : size < 1 ? 2 : 3))}`;
  return text.replace("-", "−");
}

function power(value: number): string {
  const [digits, exponent] = value.toExponential(1).split("e") as [string, string];
  const raised = [...`${Number(exponent)}`].map((c) => "⁰¹²³⁴⁵⁶⁷⁸⁹"["0123456789".indexOf(c)] ?? "⁻");
  const number = Number(digits);
  return `${number === 1 ? "" : number === -1 ? "-" : `${number} × `}10${raised.join("")}`;
}

function scale(
  toUnit: (value: number) => number,
  fromUnit: (unit: number) => number,
  range: readonly [number, number],
  ticks: number[],
): Scale {
  const [from, to] = range;
  const place = (value: number) => from + toUnit(value) * (to - from);
  return Object.assign(place, {
    invert: (pixel: number) => fromUnit((pixel - from) / (to - from)),
    ticks: ticks.map((value) => ({ value, label: short(value) })),
    range,
  });
}

export function linear(domain: readonly [number, number], range: readonly [number, number], count = 5): Scale {
  const [low, high] = domain;
  const span = high - low || 1;
  const rough = span / count;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = unit * ([1, 2, 5, 10].find((digit) => digit * unit >= rough) ?? 10);
  const ticks: number[] = [];
  for (let tick = Math.ceil(low / step - 1e-9); tick * step <= high + span * 1e-9; tick++)
    ticks.push(Number((tick * step).toPrecision(12)));
  return scale((v) => (v - low) / span, (u) => low + u * span, range, ticks);
}

export function logarithmic(domain: readonly [number, number], range: readonly [number, number]): Scale {
  const [low, high] = domain.map(Math.log10) as [number, number];
  const span = high - low || 1;
  const ticks: number[] = [];
  const digits = span < 2.2 ? [1, 2, 5] : [1];
  const stride = Math.max(1, Math.ceil(span / 5));
  for (let e = Math.floor(low); e <= Math.ceil(high); e++)
    for (const digit of digits) {
      const tick = Number(`${digit}e${e}`);
      const within = Math.log10(tick) >= low - 1e-9 && Math.log10(tick) <= high + 1e-9;
      if (within && e % stride === 0) ticks.push(tick);
    }
  return scale((v) => (Math.log10(v) - low) / span, (u) => 10 ** (low + u * span), range, ticks);
}

/** Linear between -unit and unit, logarithmic beyond: signs and zeros stay visible. */
export function signedLog(domain: readonly [number, number], range: readonly [number, number], unit: number): Scale {
  const bend = (v: number) => Math.asinh(v / unit / 2) / Math.LN10;
  const straighten = (b: number) => 2 * unit * Math.sinh(b * Math.LN10);
  const [low, high] = domain.map(bend) as [number, number];
  const span = high - low || 1;
  const ticks = [0];
  const highest = Math.ceil(Math.max(Math.abs(low), Math.abs(high)));
  const stride = Math.max(1, Math.ceil(span / 5));
  for (let e = 1; e <= highest; e += stride)
    for (const sign of [1, -1]) {
      const tick = sign * unit * 10 ** e;
      if (bend(tick) >= low && bend(tick) <= high) ticks.push(tick);
    }
  return scale((v) => (bend(v) - low) / span, (u) => straighten(low + u * span), range, ticks);
}

/** Ends of the finite numbers; `fallback` if there are none. */
export function extent(values: Iterable<number>, fallback: [number, number]): [number, number] {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (!Number.isFinite(value)) continue;
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  return low <= high ? [low, high] : fallback;
}

/** The power of ten at or below the larger of two sizes. */
export function digitOf(low: number, high: number): number {
  return 10 ** Math.floor(Math.log10(Math.max(Math.abs(low), Math.abs(high), 1e-12)));
}

/** Axes with ticks and titles. */
export function axes({ width, height, x, y }: Frame, xTitle: string, yTitle: string): string {
  const { left, right, top, bottom } = MARGIN;
  const base = height - bottom;
  const marks = [
    ...y.ticks.map(
      ({ value, label }) =>
        `<path class="grid" d="M${left} ${y(value)}H${width - right}"/>` +
        `<text class="tick" x="${left - 5}" y="${y(value) + 3.5}" text-anchor="end">${label}</text>`,
    ),
    ...x.ticks.map(
      ({ value, label }) =>
        `<path class="axis" d="M${x(value)} ${base}v4"/>` +
        `<text class="tick" x="${x(value)}" y="${base + 14}" text-anchor="middle">${label}</text>`,
    ),
  ];
  return (
    marks.join("") +
    `<path class="axis" d="M${left} ${base}H${width - right}"/>` +
    `<text class="title" x="${(left + width - right) / 2}" y="${height - 4}" text-anchor="middle">${xTitle}</text>` +
    `<text class="title" transform="translate(10 ${(top + base) / 2}) rotate(-90)" text-anchor="middle">${yTitle}</text>`
  );
}

export type Point = readonly [number, number];

const finite = (point: Point) => point.every(Number.isFinite);
const text = ([x, y]: Point) => `${x.toFixed(1)} ${y.toFixed(1)}`;

/** A line through the points that are numbers, with gaps where they are not. */
export function line(points: readonly Point[], name: string): string {
  let pen = "M";
  let path = "";
  for (const point of points) {
    if (finite(point)) path += pen + text(point);
    pen = finite(point) ? "L" : "M";
  }
  return path ? `<path class="line ${name}" d="${path}"/>` : "";
}

/** The area between two lines over the same places. */
export function band(low: readonly Point[], high: readonly Point[], name: string): string {
  const kept = low.map((_, i) => i).filter((i) => finite(low[i]!) && finite(high[i]!));
  if (kept.length < 2) return "";
  const there = kept.map((i) => text(high[i]!));
  const back = kept.reverse().map((i) => text(low[i]!));
  return `<path class="band ${name}" d="M${[...there, ...back].join("L")}Z"/>`;
}

/** Marks that differ in shape: circles of the first optimizer, squares of the second. */
export function mark([x, y]: Point, name: string, extra = ""): string {
  if (!finite([x, y])) return "";
  return name.includes("b")
    ? `<rect class="mark ${name}" x="${(x - 3).toFixed(1)}" y="${(y - 3).toFixed(1)}" width="6" height="6" ${extra}/>`
    : `<circle class="mark ${name}" cx="${x.toFixed(1)}" cy="${y.toFixed(1)}" r="3.3" ${extra}/>`;
}

export function cursor(x: number, { height }: { height: number }): string {
  return `<path class="cursor" d="M${x.toFixed(1)} ${MARGIN.top}V${height - MARGIN.bottom}"/>`;
}

export function note(words: string, { width, height }: { width: number; height: number }): string {
  return `<text class="note" x="${(MARGIN.left + width) / 2}" y="${height / 2}" text-anchor="middle">${words}</text>`;
}

/** Names of the two methods' classes, in their order. */
export const SIDES = ["a", "b"] as const;
/** The shapes of their marks, for text. */
export const SHAPES = ["●", "□"] as const;
