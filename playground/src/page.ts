// The page: keeps the state, talks to the worker, draws what has changed.

import { command, python } from "./command";
import { makeControls } from "./controls";
import { lossCurves, smoothnessCurves, type Curves, type Size } from "./draw/curves";
import { heatMaps } from "./draw/heat";
import { noiseHistogram } from "./draw/noise";
import { short, SIDES } from "./draw/plot";
import { sensitivity } from "./draw/sensitivity";
import { spectrum } from "./draw/spectrum";
import { TOUR } from "./explain";
import { median } from "./measures";
import { labels, Picture } from "./picture";
import type { FromWorker, ToWorker } from "./protocol";
import { DEFAULT, fromHash, RATES, type State, toHash } from "./state";
import { makeTips } from "./tip";
import { whatYouSee } from "./words";

declare const WORKER_SOURCE: string;

type Panel = "loss" | "sensitivity" | "spectrum" | "smoothness" | "noise" | "heat" | "sentence";
const PANELS: readonly Panel[] = ["loss", "sensitivity", "spectrum", "smoothness", "noise", "heat", "sentence"];

const byId = (id: string) => document.getElementById(id)!;
const worker = new Worker(URL.createObjectURL(new Blob([WORKER_SOURCE], { type: "text/javascript" })));
const send = (message: ToWorker) => worker.postMessage(message);

let { state, complaints } = fromHash(location.hash);
let picture = new Picture();
let run = 0;
let playing = true;
let tour = -1; // the stop of the tour; -1 outside of it
let wanted: number[] = []; // rates of the sweep
let dragged: [number, number] | null = null;
let lossFrame: Curves | null = null;
let rateFrame: Curves | null = null;
const open = new Set<Panel>(PANELS); // what has to be drawn

function draw(...panels: Panel[]): void {
  if (!open.size) requestAnimationFrame(drawOpen);
  panels.forEach((panel) => open.add(panel));
}

function drawOpen(): void {
  const panels = [...open];
  open.clear();
  panels.forEach((panel) => DRAWINGS[panel]());
}

function sizeOf(svg: Element): Size {
  const { width, height } = svg.getBoundingClientRect();
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  return { width, height };
}

/** The step that pictures show, where one was chosen. */
const chosen = () => (state.at === null ? null : picture.measured(state.at));

const DRAWINGS: Record<Panel, () => void> = {
  loss() {
    const svg = byId("loss");
    lossFrame = lossCurves(picture.losses, state.steps, chosen(), sizeOf(svg));
    svg.innerHTML = lossFrame.svg;
    const at = picture.measured(state.at);
    const losses = picture.meanLosses(at);
    svg.setAttribute("aria-valuemax", `${state.steps}`);
    svg.setAttribute("aria-valuenow", `${at}`);
    const words = labels(state).map((name, i) => `${name} ${short(losses[i] ?? NaN)}`);
    svg.setAttribute("aria-valuetext", `step ${at}: ${words.join(", ")}`);
    byId("clock").textContent = `${picture.step} / ${state.steps}`;
    showTransport();
  },
  sensitivity() {
    const svg = byId("sensitivity");
    const start = picture.meanLosses(0)[0] ?? 5;
    wanted = wanted.filter((rate) => !isFinished(rate));
    const sweep = { points: picture.sweep, wanted, dragged };
    rateFrame = sensitivity(sweep, state.methods.map(({ rate }) => rate), start, sizeOf(svg));
    svg.innerHTML = rateFrame.svg;
  },
  spectrum() {
    const svg = byId("spectrum");
    const { seeds, step } = picture.spectrum;
    svg.innerHTML = spectrum(seeds[0]?.eigenvalues ?? [], sizeOf(svg));
    const numbers = picture.conditions().map((value, i) => `<b class="${SIDES[i]}">${short(value)}</b>`);
    byId("condition").innerHTML = seeds.length ? `R at step ${step}: ${numbers.join(" ")}` : "";
  },
  smoothness() {
    const svg = byId("smoothness");
    svg.innerHTML = smoothnessCurves(picture.smoothness, state.steps, chosen(), sizeOf(svg)).svg;
  },
  noise() {
    const svg = byId("noise");
    const { noise } = picture;
    const shown = (noise?.samples ?? []).map((sample, i) => ({
      noise: sample,
      name: noise!.methods.length === 1 ? "both" : SIDES[noise!.methods[i]!]!,
    }));
    svg.innerHTML = noiseHistogram(shown, sizeOf(svg));
    byId("noise-step").textContent = noise
      ? `${noise.step ? `at step ${noise.step}` : "at the start"}, ${noise.samples[0]!.norms.length} batches`
      : "";
  },
  heat() {
    const svg = byId("heat");
    const { parameters, step } = picture.iterate;
    svg.innerHTML = heatMaps(parameters, labels(state), state.layers, state.dim, sizeOf(svg));
    byId("heat-step").textContent = `at step ${step}`;
  },
  sentence() {
    const stop = TOUR[tour];
    const words = stop ? `<h2>${tour + 1}. ${stop.title}</h2>${stop.say(picture, state)}` : whatYouSee(picture, state);
    const wrong = complaints.map((each) => `<p class="complaint">${escaped(each)}</p>`).join("");
    const text = byId("sentence").firstElementChild ?? sentenceFrame();
    text.innerHTML = `${wrong}<p>${words}</p>`;
  },
};

function escaped(text: string): string {
  return text.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);
}

/** The place of the sentence, and below it the buttons of the tour. */
function sentenceFrame(): Element {
  const text = document.createElement("div");
  const buttons = document.createElement("div");
  buttons.className = "tour";
  byId("sentence").append(text, buttons);
  showTour();
  return text;
}

function showTour(): void {
  const buttons = byId("sentence").querySelector(".tour")!;
  const button = (words: string, to: number) => {
    const made = document.createElement("button");
    made.className = "small";
    made.textContent = words;
    made.addEventListener("click", () => goTo(to));
    return made;
  };
  const made =
    tour < 0
      ? [button("Why? Six stops, five minutes", 0)]
      : [
          ...(tour > 0 ? [button("← Back", tour - 1)] : []),
          ...(tour + 1 < TOUR.length ? [button("Next →", tour + 1)] : []),
          button("Leave the tour", -1),
        ];
  buttons.replaceChildren(...made);
}

function goTo(stop: number): void {
  tour = stop;
  document.querySelectorAll(".pointed").forEach((each) => each.classList.remove("pointed"));
  const there = TOUR[stop];
  if (there) {
    byId(`panel-${there.panel}`).classList.add("pointed");
    const differs = Object.entries(there.change).some(
      ([key, value]) => JSON.stringify(value) !== JSON.stringify(state[key as keyof State]),
    );
    if (differs) change(there.change);
  }
  showTour();
  draw("sentence");
  byId("sentence").querySelector("button")?.focus({ preventScroll: true });
}

function showTransport(): void {
  const button = byId("play");
  const words = picture.done ? "Again" : playing ? "Pause" : "Play";
  if (button.textContent !== words) button.textContent = words;
  button.setAttribute("aria-pressed", `${playing && !picture.done}`);
}

function showLegend(): void {
  const sample = (name: string) => `<svg viewBox="0 0 30 10" aria-hidden="true"><path class="line ${name}" d="M0 5H30"/></svg>`;
  document.querySelector(".legend")!.innerHTML = labels(state)
    .map((name, i) => `${sample(SIDES[i]!)}<b class="${SIDES[i]}">${name}</b>`)
    .join("");
}

/** Changes the state; whatever determines the numbers starts the training anew. */
function change(part: Partial<State>): void {
  const before = JSON.stringify({ ...state, at: null });
  state = { ...state, ...part };
  if (JSON.stringify({ ...state, at: null }) === before) {
    show();
    return;
  }
  if (state.at !== null && state.at > state.steps) state = { ...state, at: null };
  playing = true;
  start();
}

function start(): void {
  const { at, ...config } = state;
  const { sweep } = picture;
  picture = new Picture();
  if (sameButRates(config)) sweep.forEach((point, rate) => picture.sweep.set(rate, point));
  else wanted = [];
  lastConfig = config;
  run += 1;
  send({ kind: "start", run, config, playing, at });
  wanted = wanted.filter((rate) => !isFinished(rate));
  if (wanted.length) send({ kind: "sweep", rates: wanted });
  show();
  draw(...PANELS);
}

const isFinished = (rate: number) => picture.sweep.get(rate)?.step === state.steps;

// A sweep stays true as long as nothing but the rates changes.
let lastConfig: Omit<State, "at"> | null = null;
function sameButRates(config: Omit<State, "at">): boolean {
  const without = (each: Omit<State, "at">) =>
    JSON.stringify({ ...each, methods: each.methods.map(({ name, betas }) => [name, betas]) });
  return lastConfig !== null && without(lastConfig) === without(config);
}

/** Controls, legend and address as the state is. */
function show(): void {
  showControls(state);
  showLegend();
  byId("copied").hidden = true;
  const hash = toHash(state);
  if (location.hash !== hash) history.replaceState(null, "", hash);
}

const showControls = makeControls(() => state, (part) => {
  complaints = [];
  change(part);
});

function select(at: number | null): void {
  const step = at === null ? null : picture.measured(at);
  if (step === state.at) return;
  state = { ...state, at: step };
  send({ kind: "select", at: step });
  show();
  draw("loss", "smoothness", "sentence");
}

worker.onmessage = ({ data }: { data: FromWorker }) => {
  if (data.run !== run) return;
  picture.add(data);
  const panels: Record<FromWorker["kind"], Panel[]> = {
    losses: ["loss", "sentence"],
    smoothness: ["smoothness", "sentence"],
    spectrum: ["spectrum", "sentence"],
    noise: ["noise", "sentence"],
    iterate: ["heat"],
    sweep: ["sensitivity", "sentence"],
  };
  if (data.kind === "losses" && data.points.some(({ step }) => step === 0)) draw("sensitivity");
  draw(...panels[data.kind]);
};
worker.onerror = (event) => {
  complaints = [`The computation stopped: ${event.message}. Reload the page, or try smaller numbers.`];
  draw("sentence");
};

function togglePlay(): void {
  if (picture.done) return restart();
  playing = !playing;
  send({ kind: "play", playing });
  showTransport();
}

function stepOnce(): void {
  playing = false;
  send({ kind: "play", playing });
  send({ kind: "step" });
  showTransport();
}

function restart(): void {
  playing = true;
  state = { ...state, at: null };
  start();
}

function sweepBetween(from: number, to: number): void {
  const [low, high] = [Math.min(from, to), Math.max(from, to)];
  const rates = RATES.filter((rate) => rate >= low * 0.99 && rate <= high * 1.01);
  const nearest = RATES.reduce((best, rate) =>
    Math.abs(Math.log(rate / low)) < Math.abs(Math.log(best / low)) ? rate : best,
  );
  const asked = (rates.length ? rates : [nearest]).filter(
    (rate) => !wanted.includes(rate) && !isFinished(rate),
  );
  wanted.push(...asked);
  if (asked.length) send({ kind: "sweep", rates: asked });
  draw("sensitivity");
}

function listen(): void {
  byId("play").addEventListener("click", togglePlay);
  byId("step").addEventListener("click", stepOnce);
  byId("restart").addEventListener("click", restart);
  byId("sweep").addEventListener("click", () => sweepBetween(RATES[0]!, RATES[RATES.length - 1]!));
  for (const id of ["loss", "smoothness"] as const) listenToSteps(byId(id));
  listenToRates(byId("sensitivity"));
  byId("command").addEventListener("click", () => copy(command(state)));
  byId("python").addEventListener("click", () => copy(python(state)));
  byId("share").addEventListener("click", () => copy(location.href));
  addEventListener("hashchange", () => {
    if (location.hash === toHash(state)) return;
    ({ state, complaints } = fromHash(location.hash));
    playing = true;
    start();
  });
  addEventListener("resize", () => draw(...PANELS));
  addEventListener("keydown", onKey);
}

function onKey(event: KeyboardEvent): void {
  const busy = (event.target as Element).closest("input, select, button, pre");
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") select(null);
  if (busy) return;
  const actions: Record<string, () => void> = { " ": togglePlay, s: stepOnce, r: restart };
  const action = actions[event.key];
  if (!action) return;
  event.preventDefault();
  action();
}

/** Clicks, drags and arrow keys choose the step that is looked at. */
function listenToSteps(svg: HTMLElement): void {
  const at = (event: PointerEvent) => {
    const x = event.clientX - svg.getBoundingClientRect().left;
    select(Math.max(0, lossFrame && svg.id === "loss" ? lossFrame.x.invert(x) : stepAt(svg, x)));
  };
  svg.addEventListener("pointerdown", (event) => {
    svg.setPointerCapture(event.pointerId);
    at(event);
  });
  svg.addEventListener("pointermove", (event) => svg.hasPointerCapture(event.pointerId) && at(event));
  svg.addEventListener("keydown", (event) => {
    const steps = [...picture.losses.keys()].sort((a, b) => a - b);
    const now = steps.indexOf(picture.measured(state.at));
    const to = { ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: steps.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    select(steps[Math.max(0, Math.min(steps.length - 1, to))]!);
  });
}

function stepAt(svg: HTMLElement, x: number): number {
  return smoothnessCurves(new Map(), state.steps, null, sizeOf(svg)).x.invert(x);
}

/** A drag over the axis sweeps over its rates; a click on a mark takes its rate. */
function listenToRates(svg: HTMLElement): void {
  const rateAt = (event: PointerEvent) => {
    const x = event.clientX - svg.getBoundingClientRect().left;
    const rate = rateFrame ? rateFrame.x.invert(x) : 1;
    return Math.min(RATES[RATES.length - 1]!, Math.max(RATES[0]!, rate));
  };
  svg.addEventListener("pointerdown", (event) => {
    const mark = (event.target as Element).closest<SVGElement>("[data-rate]");
    if (mark) {
      const methods: [State["methods"][0], State["methods"][1]] = [...state.methods];
      const side = Number(mark.dataset.method) as 0 | 1;
      methods[side] = { ...methods[side], rate: Number(mark.dataset.rate) };
      change({ methods });
      return;
    }
    svg.setPointerCapture(event.pointerId);
    dragged = [rateAt(event), rateAt(event)];
    draw("sensitivity");
  });
  svg.addEventListener("pointermove", (event) => {
    if (!dragged) return;
    dragged[1] = rateAt(event);
    draw("sensitivity");
  });
  const end = () => {
    if (dragged) sweepBetween(...dragged);
    dragged = null;
    draw("sensitivity");
  };
  svg.addEventListener("pointerup", end);
  svg.addEventListener("pointercancel", end);
}

/** Copies text, and shows it: the clipboard may be closed to the page. */
function copy(text: string): void {
  const shown = byId("copied");
  shown.textContent = text;
  shown.hidden = false;
  navigator.clipboard?.writeText(text).then(
    () => flash("copied"),
    () => getSelection()?.selectAllChildren(shown),
  );
}

function flash(words: string): void {
  const clock = byId("clock");
  clock.textContent = words;
  setTimeout(() => draw("loss"), 1200);
}

/** For tests and the curious: the state, and all numbers that are drawn. */
Object.assign(window, {
  playground: {
    get state() { return state; },
    get picture() { return picture; },
    get medians() { return { conditions: picture.conditions(), smoothness: [0, 1].map((m) => median([...picture.smoothness.values()].flatMap((v) => v[m]!))) }; },
    defaults: DEFAULT,
    change,
  },
});

makeTips();
listen();
open.clear();
start();
