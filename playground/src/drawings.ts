// Draws the panels that have changed, once a frame.

import { type Curves, lossCurves, type Size, smoothnessCurves } from "./draw/curves";
import { heatMaps } from "./draw/heat";
import { noiseHistogram } from "./draw/noise";
import { SHAPES, short, SIDES } from "./draw/plot";
import { sensitivity } from "./draw/sensitivity";
import { spectrum } from "./draw/spectrum";
import { TOUR } from "./explain";
import { labels } from "./picture";
import { app, byId } from "./store";
import { whatYouSee } from "./words";

export const PANELS = ["loss", "sensitivity", "spectrum", "smoothness", "noise", "heat", "sentence"] as const;
export type Panel = (typeof PANELS)[number];

/** Panels whose pointer positions mean something, as they were drawn last. */
export const frames: Partial<Record<Panel, Curves>> = {};

const open = new Set<Panel>();
const drawn: Partial<Record<Panel, number>> = {};
let frame = 0;

// Milliseconds between two drawings of what costs much and is not followed by the eye.
const REST: Partial<Record<Panel, number>> = { heat: 250, sentence: 100 };

/** Has these panels drawn in the next frame, or soon. */
export function draw(...panels: readonly Panel[]): void {
  panels.forEach((panel) => open.add(panel));
  if (open.size && !frame) frame = requestAnimationFrame(drawOpen);
}

function drawOpen(now: number): void {
  frame = 0;
  for (const panel of [...open]) {
    if (now - (drawn[panel] ?? -Infinity) < (REST[panel] ?? 0)) continue;
    open.delete(panel);
    drawn[panel] = now;
    DRAWINGS[panel]();
  }
  if (open.size) setTimeout(draw, 50);
}

const sizes = new Map<string, Size>();

/** Draws everything anew, as wide as it is now. */
export function resized(): void {
  sizes.clear();
  draw(...PANELS);
}

function sizeOf(svg: Element): Size {
  const known = sizes.get(svg.id);
  if (known) return known;
  const { width, height } = svg.getBoundingClientRect();
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  sizes.set(svg.id, { width, height });
  return { width, height };
}

/** The step that pictures show, where one was chosen. */
const chosen = () => (app.state.at === null ? null : app.picture.measured(app.state.at));

const DRAWINGS: Record<Panel, () => void> = {
  loss() {
    const { picture, state } = app;
    const svg = byId("loss");
    frames.loss = lossCurves(picture.losses, state.steps, chosen(), sizeOf(svg));
    svg.innerHTML = frames.loss.svg;
    const at = picture.measured(state.at);
    const losses = picture.meanLosses(at);
    svg.setAttribute("aria-valuemax", `${state.steps}`);
    svg.setAttribute("aria-valuenow", `${at}`);
    const words = labels(state).map((name, i) => `${name} ${short(losses[i] ?? NaN)}`);
    svg.setAttribute("aria-valuetext", `step ${at}: ${words.join(", ")}`);
    byId("clock").textContent = `step ${picture.step} / ${state.steps}`;
    showTransport();
  },
  sensitivity() {
    const svg = byId("sensitivity");
    const { picture, state, wanted, dragged } = app;
    const start = picture.meanLosses(0)[0] ?? 5;
    const rates = state.methods.map(({ rate }) => rate);
    frames.sensitivity = sensitivity({ points: picture.sweep, wanted, dragged }, rates, start, sizeOf(svg));
    svg.innerHTML = frames.sensitivity.svg;
  },
  spectrum() {
    const svg = byId("spectrum");
    const { seeds, step } = app.picture.spectrum;
    svg.innerHTML = spectrum(seeds[0]?.eigenvalues ?? [], 2 * app.state.layers * app.state.dim ** 2, sizeOf(svg));
    const numbers = app.picture.conditions().map((value, i) => `<b class="${SIDES[i]}">${SHAPES[i]} ${short(value)}</b>`);
    byId("condition").innerHTML = seeds.length ? `R at step ${step}: ${numbers.join(" ")}` : "";
  },
  smoothness() {
    const svg = byId("smoothness");
    const { picture, state } = app;
    frames.smoothness = smoothnessCurves(picture.smoothness, state.steps, chosen(), sizeOf(svg));
    svg.innerHTML = frames.smoothness.svg;
  },
  noise() {
    const svg = byId("noise");
    const { noise } = app.picture;
    const shown = (noise?.samples ?? []).map((sample, i) => ({
      noise: sample,
      name: noise!.methods.length === 1 ? "both" : SIDES[noise!.methods[i]!]!,
    }));
    const absent = noise ? "diverged" : "measured after the loss";
    svg.innerHTML = noiseHistogram(shown, absent, sizeOf(svg));
    byId("noise-step").textContent = noise
      ? `${noise.step ? `at step ${noise.step}` : "at the start"}, ${noise.samples[0]?.norms.length ?? 0} batches`
      : "";
  },
  heat() {
    const svg = byId("heat");
    const { parameters, step } = app.picture.iterate;
    svg.innerHTML = heatMaps(parameters, labels(app.state), app.state.layers, app.state.dim, sizeOf(svg));
    byId("heat-step").textContent = `at step ${step}`;
  },
  sentence() {
    const { picture, state, tour } = app;
    const stop = TOUR[tour];
    const words = stop
      ? `<h2>${tour + 1}. ${stop.title}</h2>${stop.say(picture, state)}`
      : whatYouSee(picture, state);
    const wrong = app.complaints.map((each) => `<p class="complaint">${escaped(each)}</p>`).join("");
    byId("words").innerHTML = `${wrong}<p>${words}</p>`;
  },
};

function escaped(text: string): string {
  return text.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);
}

export function showTransport(): void {
  const button = byId("play");
  const { picture, playing } = app;
  const words = picture.done ? "Again" : playing ? "Pause" : "Play";
  if (button.textContent !== words) button.textContent = words;
  button.setAttribute("aria-pressed", `${playing && !picture.done}`);
}

export function showLegend(): void {
  const sample = (name: string) =>
    `<svg viewBox="0 0 30 10" aria-hidden="true"><path class="line ${name}" d="M0 5H30"/></svg>`;
  document.querySelector(".legend")!.innerHTML = labels(app.state)
    .map((name, i) => `${sample(SIDES[i]!)}<b class="${SIDES[i]}">${SHAPES[i]} ${name}</b>`)
    .join("");
}
