// The state of the page: what the sliders may be, the settings of the paper, and all of it as text
// behind the # of the address.

import { type Method, NAMES, type OptimizerName, OPTIMIZERS } from "./optimizers";
import type { Config, Law } from "./protocol";

export interface State extends Config {
  /** The step that is looked at; null follows the training. */
  at: number | null;
}

const grid = (from: number, to: number) => {
  const values: number[] = [];
  for (let power = from; power < to; power++)
    for (const digit of [1, 2, 5]) values.push(Number(`${digit}e${power}`));
  return [...values, Number(`1e${to}`)];
};
const whole = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, i) => from + i);

export const RATES = grid(-4, 1);
const BETAS = [0, 0.5, 0.8, 0.9, 0.95, 0.99, 0.999];

/** What each slider may be. Links may have any number between the ends. */
export const CHOICES = {
  layers: whole(1, 8),
  dim: whole(2, 8),
  context: [2, 5, 10, 15, 20, 30, 40, 60],
  tail: [0.05, 0.1, 0.2, 0.5, 1, 2.5, 5],
  batch: [16, 32, 64, 128, 256, 512, 1024],
  clip: [0, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10],
  seeds: whole(1, 6),
  steps: [50, 100, 200, 500, 1000, 2000, 5000],
  rate: RATES,
  beta: BETAS,
} as const;
const WHOLE = new Set(["layers", "dim", "context", "batch", "seeds", "steps"]);
type Slider = Exclude<keyof typeof CHOICES, "rate" | "beta">;
const SLIDERS = Object.keys(CHOICES).filter((name) => name !== "rate" && name !== "beta") as Slider[];
const LAWS: readonly Law[] = ["gaussian", "sphere", "radial"];

export function method(name: OptimizerName, rate: number): Method {
  return { name, rate, betas: OPTIMIZERS[name].betas.map(([, value]) => value) };
}

export const DEFAULT: State = {
  layers: 3, dim: 5, context: 20, law: "gaussian", tail: 0.1, softmax: false,
  batch: 256, clip: 1, seeds: 3, steps: 500, at: null,
  methods: [method("sgdm", 0.02), method("adam", 0.02)],
};
const preset = (sgdm: number, adam: number, changes: Partial<State> = {}): Partial<State> => ({
  layers: 3, dim: 5, context: 20, law: "gaussian", tail: 0.1, softmax: false, clip: 1,
  ...changes,
  methods: [method("sgdm", sgdm), method("adam", adam)],
});

/** The settings of the paper with the rates of its public code (that of softmax was searched). */
export const PRESETS: Record<string, { label: string; state: Partial<State> }> = {
  "setting-1": { label: "Setting 1: n = 20, normal x", state: preset(0.02, 0.02) },
  "setting-2": { label: "Setting 2: n = 5, normal x", state: preset(0.01, 0.005, { context: 5 }) },
  "setting-3": {
    label: "Setting 3: heavy-tailed x",
    state: preset(0.02, 0.02, { law: "radial" }),
  },
  sphere: {
    label: "x on the sphere",
    state: preset(5, 0.1, { law: "sphere", clip: 0.1 }),
  },
  "depth-2": { label: "2 layers", state: preset(0.1, 0.1, { layers: 2 }) },
  "depth-4": { label: "4 layers", state: preset(0.05, 0.05, { layers: 4 }) },
  "depth-6": { label: "6 layers", state: preset(0.05, 0.05, { layers: 6 }) },
  "depth-8": { label: "8 layers", state: preset(0.05, 0.02, { layers: 8 }) },
  softmax: { label: "softmax attention", state: preset(0.5, 0.02, { softmax: true }) },
};

/** The name of the preset that the state is, apart from batch, seeds and steps; or null. */
export function presetOf(state: State): string | null {
  const same = (part: Partial<State>) =>
    Object.entries(part).every(
      ([key, value]) => JSON.stringify(value) === JSON.stringify(state[key as keyof State]),
    );
  return Object.keys(PRESETS).find((name) => same(PRESETS[name]!.state)) ?? null;
}

/** The state as text: all of it, so that a link does not change when defaults do. */
export function toHash(state: State): string {
  const ofMethod = ({ name, rate, betas }: Method) => [name, rate, ...betas].join(":");
  const parts: [string, string | number][] = [
    ["a", ofMethod(state.methods[0])],
    ["b", ofMethod(state.methods[1])],
    ["x", state.law],
    ...SLIDERS.map((name): [string, number] => [name, state[name]]),
    ["softmax", state.softmax ? 1 : 0],
  ];
  if (state.at !== null) parts.push(["at", state.at]);
  return `#${parts.map(([key, value]) => `${key}=${value}`).join("&")}`;
}

/** The state of an address, and a sentence for each part that could not be used. */
export function fromHash(hash: string): { state: State; complaints: string[] } {
  const complaints: string[] = [];
  const state: State = { ...DEFAULT };
  const methods: [Method, Method] = [...DEFAULT.methods];
  for (const part of hash.replace(/^#/, "").split("&").filter(Boolean)) {
    const equals = part.indexOf("=");
    const [key, text] = [part.slice(0, equals), decode(part.slice(equals + 1))];
    const refuse = (allowed: string) =>
      complaints.push(`The link says ${key || text}=${text}, which must be ${allowed}.`);
    if (key === "a" || key === "b") {
      const read = readMethod(text);
      if (read) methods[key === "a" ? 0 : 1] = read;
      else refuse(`an optimizer, its rate and betas, such as adam:0.02:0.9:0.9`);
    } else if (key === "x") {
      if (LAWS.includes(text as Law)) state.law = text as Law;
      else refuse(LAWS.join(", "));
    } else if (key === "softmax") {
      if (text === "0" || text === "1") state.softmax = text === "1";
      else refuse("0 or 1");
    } else if (key === "at") {
      const at = number(text, 0, Infinity, true);
      if (at === null) refuse("a step");
      else state.at = at;
    } else if (SLIDERS.includes(key as Slider)) {
      const values = CHOICES[key as Slider];
      const [least, most] = [values[0]!, values[values.length - 1]!];
      const value = number(text, least, most, WHOLE.has(key));
      if (value === null) refuse(`${WHOLE.has(key) ? "whole and " : ""}from ${least} to ${most}`);
      else state[key as Slider] = value;
    } else {
      complaints.push(`The link has a part ${part} that the playground does not know.`);
    }
  }
  if (state.at !== null && state.at > state.steps) state.at = null;
  return { state: { ...state, methods }, complaints };
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function number(text: string, least: number, most: number, isWhole: boolean): number | null {
  const value = Number(text);
  const usable = text.trim() !== "" && value >= least && value <= most;
  return usable && (!isWhole || Number.isInteger(value)) ? value : null;
}

function readMethod(text: string): Method | null {
  const [name, rateText = "", ...betaTexts] = text.split(":");
  if (!NAMES.includes(name as OptimizerName)) return null;
  const known = OPTIMIZERS[name as OptimizerName].betas;
  const rate = number(rateText, 1e-6, 100, false);
  const betas = betaTexts.map((each) => number(each, 0, 0.9999, false));
  if (rate === null || betas.length !== known.length || betas.includes(null)) return null;
  return { name: name as OptimizerName, rate, betas: betas as number[] };
}
