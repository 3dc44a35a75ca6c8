// What the page knows of the present runs, as the worker tells it.

import { mean, median } from "./measures";
import { OPTIMIZERS } from "./optimizers";
import type { FromWorker, Noise, PerRun } from "./protocol";
import type { State } from "./state";

export interface Spectrum {
  step: number;
  /** Indexed by seed. */
  seeds: { eigenvalues: Float64Array[]; conditions: number[] }[];
}

export class Picture {
  step = 0;
  done = false;
  readonly losses = new Map<number, PerRun>();
  readonly smoothness = new Map<number, PerRun>();
  spectrum: Spectrum = { step: 0, seeds: [] };
  noise: { step: number; methods: number[]; samples: Noise[]; whole: boolean } | null = null;
  iterate: { step: number; parameters: Float32Array[] } = { step: 0, parameters: [] };
  /** By learning rate; finished where the step is the last one. */
  readonly sweep = new Map<number, { step: number; losses: PerRun }>();

  add(message: FromWorker): void {
    switch (message.kind) {
      case "losses":
        this.step = message.step;
        this.done = message.done;
        message.points.forEach(({ step, losses }) => this.losses.set(step, losses));
        break;
      case "smoothness":
        this.smoothness.set(message.step, message.values);
        break;
      case "spectrum":
        if (message.seed === 0) this.spectrum = { step: message.step, seeds: [] };
        this.spectrum.seeds[message.seed] = message;
        break;
      case "noise":
        this.noise = message;
        break;
      case "iterate":
        this.iterate = message;
        break;
      case "sweep":
        message.points.forEach(({ rate, losses }) => this.sweep.set(rate, { step: message.step, losses }));
        break;
    }
  }

  /** The step with losses that is nearest to `at`, or the last one. */
  measured(at: number | null): number {
    const steps = [...this.losses.keys()];
    if (at === null) return Math.max(0, ...steps);
    return steps.reduce((best, step) => (Math.abs(step - at) < Math.abs(best - at) ? step : best), 0);
  }

  /** Median over the seeds so far of each method's robust condition number. */
  conditions(): number[] {
    return [0, 1].map((method) => median(this.spectrum.seeds.map(({ conditions }) => conditions[method]!)));
  }

  /** Median over seeds and steps up to `at` of each method's directional smoothness. */
  curvatures(at: number): number[] {
    const values = [...this.smoothness].filter(([step]) => step <= at);
    return [0, 1].map((method) => median(values.flatMap(([, each]) => each[method]!)));
  }

  meanLosses(at: number): number[] {
    return (this.losses.get(at) ?? []).map(mean);
  }
}

/** What the two methods are called; with rate or betas where the names alone are the same. */
export function labels(state: State): [string, string] {
  const [a, b] = state.methods;
  if (a.name !== b.name) return [OPTIMIZERS[a.name].label, OPTIMIZERS[b.name].label];
  const differ = a.betas.some((beta, i) => beta !== b.betas[i]);
  const own = ({ name, rate, betas }: typeof a) =>
    `${OPTIMIZERS[name].label} (${[...(a.rate !== b.rate || !differ ? [rate] : []), ...(differ ? betas : [])].join(", ")})`;
  const both: [string, string] = [own(a), own(b)];
  return both[0] === both[1] ? [`${both[0]}, first`, `${both[1]}, second`] : both;
}
