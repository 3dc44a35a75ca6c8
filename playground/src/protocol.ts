// What the page and its worker say to each other.

import type { Method } from "./optimizers";

export type Law = "gaussian" | "sphere" | "radial";

/** Everything that determines the numbers. */
export interface Config {
  layers: number;
  dim: number;
  context: number;
  law: Law;
  /** Shape k of |x|^2 ~ Gamma(k, sqrt(10 / k)), for radial covariates. */
  tail: number;
  softmax: boolean;
  batch: number;
  /** Global norm that gradients are clipped to; 0 for no clipping. */
  clip: number;
  seeds: number;
  steps: number;
  methods: readonly [Method, Method];
}

/** Scale of |x|^2 at shape `tail`: its variance is 10, as in all settings of the paper. */
export function scaleOf(tail: number): number {
  return Math.sqrt(10 / tail);
}

/** Steps between two measurements: about 25 of them, on a 1-2-5 grid. */
export function measureEvery(steps: number): number {
  const least = steps / 25;
  for (let power = 1; ; power *= 10)
    for (const digit of [1, 2, 5]) if (digit * power >= least) return digit * power;
}

/** Weights up to which the exact Hessian is affordable here. */
export const MOST_WEIGHTS = 600;

export type ToWorker =
  | { kind: "start"; run: number; config: Config; playing: boolean; at: number | null }
  | { kind: "play"; playing: boolean }
  | { kind: "step" }
  | { kind: "select"; at: number | null }
  | { kind: "sweep"; rates: readonly number[] };

/** Indexed [method][seed]; NaN where the run had diverged. */
export type PerRun = number[][];

export type FromWorker = { run: number } & (
  | { kind: "losses"; step: number; points: { step: number; losses: PerRun }[]; done: boolean }
  | { kind: "iterate"; step: number; parameters: Float32Array[] }
  | { kind: "smoothness"; step: number; values: PerRun }
  | {
      kind: "spectrum";
      step: number;
      seed: number;
      eigenvalues: Float64Array[];
      conditions: number[];
    }
  | { kind: "noise"; step: number; methods: number[]; samples: Noise[]; whole: boolean }
  | { kind: "sweep"; step: number; points: { rate: number; losses: PerRun }[] }
);

/** Norms of gradient noise at one iterate, and the norm of Gaussian noise with their covariance. */
export interface Noise {
  norms: Float64Array;
  /** |z|^2 is `scale` times chi-square with `degrees` degrees of freedom. */
  scale: number;
  degrees: number;
}
