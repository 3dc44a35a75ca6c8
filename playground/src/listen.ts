// Pointer, keyboard, clipboard and address.

import {
  follow, change, restart, select, stepOnce, sweepBetween, togglePlay,
} from "./actions";
import { command, python } from "./command";
import { draw, frames, resized } from "./drawings";
import { RATES, type State, toHash } from "./state";
import { app, byId } from "./store";

const [LEAST, MOST] = [RATES[0]!, RATES[RATES.length - 1]!];

export function listen(): void {
  byId("play").addEventListener("click", togglePlay);
  byId("step").addEventListener("click", stepOnce);
  byId("restart").addEventListener("click", restart);
  byId("sweep").addEventListener("click", () => sweepBetween(LEAST, MOST));
  for (const panel of ["loss", "smoothness"] as const) listenToSteps(panel);
  listenToRates(byId("sensitivity"));
  byId("command").addEventListener("click", () => copy(command(app.state)));
  byId("python").addEventListener("click", () => copy(python(app.state)));
  byId("share").addEventListener("click", () => copy(location.href.replace(/#.*|$/, toHash(app.state))));
  addEventListener("hashchange", follow);
  addEventListener("resize", resized);
  addEventListener("keydown", onKey);
}

function onKey(event: KeyboardEvent): void {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") select(null);
  if ((event.target as Element).closest("input, select, button, pre")) return;
  const actions: Record<string, () => void> = { " ": togglePlay, s: stepOnce, r: restart };
  const action = actions[event.key];
  if (!action) return;
  event.preventDefault();
  action();
}

/** Clicks, drags and arrow keys choose the step that is looked at. */
function listenToSteps(panel: "loss" | "smoothness"): void {
  const svg = byId(panel);
  const choose = (event: PointerEvent) => {
    const x = event.clientX - svg.getBoundingClientRect().left;
    select(Math.max(0, frames[panel]!.x.invert(x)));
  };
  svg.addEventListener("pointerdown", (event) => {
    svg.setPointerCapture(event.pointerId);
    choose(event);
  });
  svg.addEventListener("pointermove", (event) => {
    if (svg.hasPointerCapture(event.pointerId)) choose(event);
  });
  svg.addEventListener("keydown", (event) => {
    const steps = [...app.picture.losses.keys()].sort((a, b) => a - b);
    const now = steps.indexOf(app.picture.measured(app.state.at));
    const places: Record<string, number> = {
      ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: steps.length - 1,
    };
    const to = places[event.key];
    if (to === undefined) return;
    event.preventDefault();
    select(steps[Math.max(0, Math.min(steps.length - 1, to))]!);
  });
}

/** A drag over the axis sweeps over its rates; a click on a mark takes its rate. */
function listenToRates(svg: HTMLElement): void {
  const rateAt = (event: PointerEvent) => {
    const x = event.clientX - svg.getBoundingClientRect().left;
    return Math.min(MOST, Math.max(LEAST, frames.sensitivity!.x.invert(x)));
  };
  svg.addEventListener("pointerdown", (event) => {
    const mark = (event.target as Element).closest<SVGElement>("[data-rate]");
    if (mark) {
      takeRate(Number(mark.dataset.method) as 0 | 1, Number(mark.dataset.rate));
      return;
    }
    svg.setPointerCapture(event.pointerId);
    app.dragged = [rateAt(event), rateAt(event)];
    draw("sensitivity");
  });
  svg.addEventListener("pointermove", (event) => {
    if (!app.dragged) return;
    app.dragged[1] = rateAt(event);
    draw("sensitivity");
  });
  const end = () => {
    if (app.dragged) sweepBetween(...app.dragged);
    app.dragged = null;
    draw("sensitivity");
  };
  svg.addEventListener("pointerup", end);
  svg.addEventListener("pointercancel", end);
}

function takeRate(side: 0 | 1, rate: number): void {
  const methods: [State["methods"][0], State["methods"][1]] = [...app.state.methods];
  methods[side] = { ...methods[side], rate };
  change({ methods });
}

/** Copies text, and shows it: the clipboard may be closed to the page. */
function copy(text: string): void {
  const shown = byId("copied");
  shown.textContent = text;
  shown.hidden = false;
  navigator.clipboard?.writeText(text).then(
    () => (byId("clock").textContent = "copied"),
    () => getSelection()?.selectAllChildren(shown),
  );
}
