// Runs of several methods and seeds, one step at a time on the same prompts.

import type { Engine } from "./engine";
import { clipTo, makeUpdate, type Method } from "./optimizers";
import { type Config, measureEvery, type PerRun } from "./protocol";

interface Run {
  parameters: Float32Array;
  update: (parameters: Float32Array, gradient: Float32Array) => void;
  alive: boolean;
}

/** What is kept of a measured step, indexed [method][seed]. */
export interface Kept {
  parameters: Float32Array[][];
  /** The parameters one update later; empty until it was made. */
  after: Float32Array[][];
}

export class Training {
  step = 0;
  readonly kept = new Map<number, Kept>();
  readonly losses = new Map<number, PerRun>();
  private readonly runs: Run[][]; // [method][seed]
  private readonly every: number;

  constructor(
    private readonly engine: Engine,
    private readonly config: Config,
    methods: readonly Method[],
  ) {
    const seeds = Array.from({ length: config.seeds }, (_, seed) => seed);
    const starts = seeds.map((seed) => engine.initial(seed));
    this.every = measureEvery(config.steps);
    this.runs = methods.map((method) =>
      starts.map((start) => ({
        parameters: start.slice(),
        update: makeUpdate(method, engine.parameters, engine.blockDim),
        alive: true,
      })),
    );
  }

  get due(): boolean {
    const { step, config, every } = this;
    return !this.losses.has(step) && (step % every === 0 || step === config.steps);
  }

  /** Losses on the fixed batch, and the parameters, at this step. */
  measure(): void {
    this.losses.set(this.step, this.evaluate());
    const parameters = this.copies();
    this.kept.set(this.step, { parameters, after: [] });
  }

  evaluate(): PerRun {
    return this.runs.map((seeds) =>
      seeds.map(({ parameters, alive }) =>
        alive ? this.engine.lossAndGradient(parameters, "fixed").loss : NaN,
      ),
    );
  }

  /** One update of every run. */
  advance(): void {
    for (const _ of this.advanceSlowly());
  }

  /** The same, with a pause after each seed, whose prompts are drawn and used in between. */
  *advanceSlowly(): Generator<void, void, void> {
    for (let seed = 0; seed < this.config.seeds; seed++) {
      this.engine.drawTraining(seed, this.step);
      for (const seeds of this.runs) advanceRun(this.engine, seeds[seed]!, this.config.clip);
      yield;
    }
    const kept = this.kept.get(this.step);
    if (kept) kept.after = this.copies();
    this.step++;
  }

  private copies(): Float32Array[][] {
    return this.runs.map((seeds) => seeds.map(({ parameters }) => parameters.slice()));
  }
}

function advanceRun(engine: Engine, run: Run, clip: number): void {
  if (!run.alive) return;
  const { loss, gradient } = engine.lossAndGradient(run.parameters);
  clipTo(gradient, clip);
  run.update(run.parameters, gradient);
  run.alive = Number.isFinite(loss) && run.parameters.every(Number.isFinite);
  if (!run.alive) run.parameters.fill(NaN);
}
