// What can be done on the page. Everything that determines the numbers starts the training anew.

import { makeControls } from "./controls";
import { draw, PANELS, showLegend, showTransport } from "./drawings";
import { TOUR } from "./explain";
import { Picture } from "./picture";
import { fromHash, RATES, type State, toHash } from "./state";
import { app, byId, send } from "./store";

type Config = Omit<State, "at">;

/** Changes parts of the state. */
export function change(part: Partial<State>): void {
  const before = app.state;
  const after = { ...before, ...part };
  if (same(configOf(after), configOf(before))) {
    select(after.at);
    return;
  }
  app.state = after;
  if (app.state.at !== null && app.state.at > app.state.steps) app.state = { ...app.state, at: null };
  app.playing = true;
  start();
}

/** Takes the state from the address. */
export function follow(): void {
  if (location.hash === toHash(app.state)) return;
  Object.assign(app, fromHash(location.hash));
  app.playing = true;
  start();
}

let last: Config | null = null;

export function start(): void {
  const config = configOf(app.state);
  const { sweep } = app.picture;
  app.picture = new Picture();
  if (last && same(withoutRates(config), withoutRates(last)))
    sweep.forEach((point, rate) => app.picture.sweep.set(rate, point));
  else app.wanted = [];
  last = config;
  app.run += 1;
  send({ kind: "start", run: app.run, config, playing: app.playing, at: app.state.at });
  if (app.wanted.length) send({ kind: "sweep", rates: app.wanted });
  show();
  draw(...PANELS);
}

function configOf({ at: _, ...config }: State): Config {
  return config;
}

/** A sweep stays true as long as nothing but the rates changes. */
function withoutRates(config: Config): unknown {
  return { ...config, methods: config.methods.map(({ name, betas }) => [name, betas]) };
}

const same = (one: unknown, other: unknown) => JSON.stringify(one) === JSON.stringify(other);

/** Controls, legend and address as the state is. */
function show(): void {
  showControls(app.state);
  showLegend();
  byId("copied").hidden = true;
  clearTimeout(pending);
  pending = window.setTimeout(writeAddress, written + REST - performance.now());
}

// Browsers refuse more than about three new addresses a second.
const REST = 350; // milliseconds
let written = -REST;
let pending = 0;

function writeAddress(): void {
  written = performance.now();
  const hash = toHash(app.state);
  if (location.hash !== hash) history.replaceState(null, "", hash);
}

const showControls = makeControls(() => app.state, (part) => {
  app.complaints = [];
  change(part);
});

/** Looks at the measured step that is nearest; null follows the training. */
export function select(at: number | null): void {
  const step = at === null ? null : app.picture.measured(at);
  if (step === app.state.at) return;
  app.state = { ...app.state, at: step };
  send({ kind: "select", at: step });
  show();
  draw("loss", "smoothness", "sentence");
}

export function togglePlay(): void {
  if (app.picture.done) return restart();
  app.playing = !app.playing;
  send({ kind: "play", playing: app.playing });
  showTransport();
}

export function stepOnce(): void {
  app.playing = false;
  send({ kind: "play", playing: false });
  send({ kind: "step" });
  showTransport();
}

export function restart(): void {
  app.playing = true;
  app.state = { ...app.state, at: null };
  start();
}

/** Trains with all rates of the slider between two, or the nearest one. */
export function sweepBetween(from: number, to: number): void {
  const [low, high] = [Math.min(from, to), Math.max(from, to)];
  const within = RATES.filter((rate) => rate >= low * 0.99 && rate <= high * 1.01);
  const far = (rate: number) => Math.abs(Math.log(rate / low));
  const nearest = RATES.reduce((best, rate) => (far(rate) < far(best) ? rate : best));
  const asked = (within.length ? within : [nearest]).filter(
    (rate) => !app.wanted.includes(rate) && app.picture.sweep.get(rate)?.step !== app.state.steps,
  );
  app.wanted = [...app.wanted, ...asked];
  if (asked.length) send({ kind: "sweep", rates: asked });
  draw("sensitivity");
}

/** Goes to a stop of the tour; -1 leaves it. */
export function goTo(stop: number): void {
  app.tour = stop;
  document.querySelectorAll(".pointed").forEach((each) => each.classList.remove("pointed"));
  const there = TOUR[stop];
  if (there) {
    byId(`panel-${there.panel}`).classList.add("pointed");
    change(there.change);
  }
  showTour();
  draw("sentence");
  byId("tour").querySelector("button")?.focus({ preventScroll: true });
}

export function showTour(): void {
  const button = (words: string, to: number) => {
    const made = document.createElement("button");
    made.className = "small";
    made.textContent = words;
    made.addEventListener("click", () => goTo(to));
    return made;
  };
  const { tour } = app;
  const made =
    tour < 0
      ? [button("Why? Six stops, five minutes", 0)]
      : [
          ...(tour + 1 < TOUR.length ? [button("Next →", tour + 1)] : []),
          ...(tour > 0 ? [button("← Back", tour - 1)] : []),
          button("Leave the tour", -1),
        ];
  byId("tour").replaceChildren(...made);
}
