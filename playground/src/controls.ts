// The controls on the left: made once, then kept in step with the state.

import { rule } from "./explain";
import { NAMES, type OptimizerName, OPTIMIZERS } from "./optimizers";
import { CHOICES, method, presetOf, PRESETS, RATES, type State } from "./state";

type Change = (part: Partial<State>) => void;

const byId = <E extends HTMLElement>(id: string) => document.getElementById(id) as E;

const LABELS = {
  context: "examples n",
  dim: "dimension d",
  layers: "layers L",
  tail: "tail k",
  batch: "batch",
  clip: "clip at",
  seeds: "seeds",
  steps: "steps",
} as const;
const BETAS: Record<string, string> = { momentum: "momentum", b1: "β₁", b2: "β₂", beta: "β" };
const LAWS = { gaussian: "normal", sphere: "unit sphere", radial: "heavy-tailed" };

interface Slider {
  root: HTMLLabelElement;
  show(value: number): void;
}

/** A slider over given values. It may also show a value in between, which a link can have. */
function slider(words: string, values: readonly number[], explain: string, change: (value: number) => void): Slider {
  const root = document.createElement("label");
  root.dataset.explain = explain;
  root.innerHTML = `<span>${words}</span><input type="range" min="0" max="${values.length - 1}" step="1"><output></output>`;
  const input = root.querySelector("input")!;
  const output = root.querySelector("output")!;
  const write = (value: number) => {
    output.value = explain === "clip" && value === 0 ? "off" : `${value}`;
    input.setAttribute("aria-valuetext", output.value);
  };
  input.addEventListener("input", () => {
    const value = values[Number(input.value)]!;
    write(value);
    change(value);
  });
  return {
    root,
    show(value) {
      const distances = values.map((each) => Math.abs(Math.log((each + 1e-9) / (value + 1e-9))));
      input.value = `${distances.indexOf(Math.min(...distances))}`;
      write(value);
    },
  };
}

function choice(words: string, options: Record<string, string>, explain: string, change: (value: string) => void) {
  const root = document.createElement("label");
  root.className = "wide";
  root.dataset.explain = explain;
  const items = Object.entries(options).map(([value, label]) => `<option value="${value}">${label}</option>`);
  root.innerHTML = `<span>${words}</span><select>${items.join("")}</select>`;
  const select = root.querySelector("select")!;
  select.addEventListener("change", () => change(select.value));
  return { root, show: (value: string) => void (select.value = value) };
}

/** Makes the controls; what is returned shows a state in them. */
export function makeControls(read: () => State, change: Change): (state: State) => void {
  const preset = byId<HTMLSelectElement>("preset");
  preset.innerHTML =
    Object.entries(PRESETS).map(([name, { label }]) => `<option value="${name}">${label}</option>`).join("") +
    `<option value="" hidden>your own</option>`;
  preset.addEventListener("change", () => change({ ...PRESETS[preset.value]!.state, at: null }));

  const law = choice("x is", LAWS, "law", (value) => change({ law: value as State["law"] }));
  const softmax = document.createElement("label");
  softmax.dataset.explain = "softmax";
  softmax.innerHTML = `<span>softmax</span><input type="checkbox">`;
  const box = softmax.querySelector("input")!;
  box.addEventListener("change", () => change({ softmax: box.checked }));
  const names = Object.keys(LABELS) as (keyof typeof LABELS)[];
  const sliders = names.map((name) =>
    slider(LABELS[name], CHOICES[name], name, (value) => change({ [name]: value })),
  );
  byId("sliders").append(law.root, ...sliders.map(({ root }) => root), softmax);

  const cards = byId("methods");
  const ofMethods = ([0, 1] as const).map((side) => methodCard(side, read, change, cards));
  return (state) => {
    preset.value = presetOf(state) ?? "";
    law.show(state.law);
    box.checked = state.softmax;
    names.forEach((name, i) => sliders[i]!.show(state[name]));
    sliders[names.indexOf("tail")]!.root.hidden = state.law !== "radial";
    ofMethods.forEach((show) => show(state));
  };
}

function methodCard(side: 0 | 1, read: () => State, change: Change, parent: HTMLElement) {
  const card = document.createElement("div");
  card.className = `method ${side ? "b" : "a"}`;
  parent.append(card);
  const edit = (part: Partial<State["methods"][0]>) => {
    const methods: State["methods"] = [...read().methods];
    (methods as [unknown, unknown])[side] = { ...methods[side], ...part };
    change({ methods });
  };
  const options = Object.fromEntries(NAMES.map((name) => [name, OPTIMIZERS[name].label]));
  const which = choice(side ? "second" : "first", options, "", (value) =>
    edit(method(value as OptimizerName, read().methods[side].rate)),
  );
  const rate = slider("rate", RATES, "rate", (value) => edit({ rate: value }));
  let shown = "";
  let betas: Slider[] = [];
  const rest = document.createElement("div");
  card.append(which.root, rate.root, rest);
  return (state: State) => {
    const current = state.methods[side];
    if (shown !== current.name) {
      shown = current.name;
      which.root.dataset.explain = `rule:${current.name}`;
      betas = OPTIMIZERS[current.name].betas.map(([word], i) =>
        slider(BETAS[word]!, CHOICES.beta, "beta", (value) =>
          edit({ betas: read().methods[side].betas.map((old, j) => (i === j ? value : old)) }),
        ),
      );
      rest.replaceChildren(...betas.map(({ root }) => root));
    }
    which.show(current.name);
    rate.show(current.rate);
    betas.forEach((each, i) => each.show(current.betas[i]!));
  };
}

/** The explanation behind a name of `data-explain`. */
export function explanationOf(name: string, explanations: Record<string, string>): string {
  const [kind, optimizer] = name.split(":");
  return kind === "rule" ? rule(optimizer as OptimizerName) : (explanations[name] ?? "");
}
