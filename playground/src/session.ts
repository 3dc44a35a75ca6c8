// One training with its measures and sweeps, in short slices. Each kind of work is a generator that
// stops after every small piece.

import { eigenvalues } from "./eigen";
import { Engine } from "./engine";
import { conditionNumber, Covariance } from "./measures";
import {
  type Config, type FromWorker, MOST_WEIGHTS, type Noise, type PerRun,
} from "./protocol";
import { Training } from "./training";

type Work = Generator<void, void, void>;
type Body = FromWorker extends infer M ? (M extends { run: number } ? Omit<M, "run"> : never) : never;

const SLICE = 24; // milliseconds between two looks at the messages
const ALONE = 1000; // milliseconds in which a training is not slowed down by measures
const SHARE = 0.2; // of the time after that which goes to measures
const SAMPLES = 1000;
const REFERENCE = 20; // thousand prompts
const HEAVY = 300; // parameters from which one Hessian holds the worker up for too long

export class Session {
  private readonly engine: Engine;
  private readonly training: Training;
  private readonly told = new Set<number>();
  private readonly works = new Map<string, Work>();
  private readonly smooth = new Set<number>(); // steps whose smoothness is known or on its way
  private spent = 0; // milliseconds of measures
  private readonly began = performance.now();
  private looked = -1; // the step whose spectrum is known or on its way
  private sweeps = 0;
  private playing: boolean;
  private at: number | null;

  constructor(
    loaded: ConstructorParameters<typeof Engine>[0],
    private readonly post: (message: FromWorker) => void,
    private readonly run: number,
    private readonly config: Config,
    options: { playing: boolean; at: number | null },
  ) {
    this.engine = new Engine(loaded, config);
    this.training = new Training(this.engine, config, config.methods);
    this.playing = options.playing;
    this.at = options.at;
    this.training.measure();
    this.tell();
    if (!this.at) this.works.set("noise", this.noise(0, [0]));
  }

  close(): void {
    this.works.clear();
    this.engine.release();
  }

  private say(body: Body): void {
    this.post({ run: this.run, ...body } as FromWorker);
  }

  private get finished(): boolean {
    return this.training.step >= this.config.steps;
  }

  get busy(): boolean {
    return (this.playing && !this.finished) || this.works.size > 0;
  }

  /** Works for one slice; the training comes first. */
  slice(): void {
    const until = performance.now() + SLICE;
    if (this.playing && !this.finished) {
      this.train(until);
      if (this.finished) this.select(this.at);
      const measuring = performance.now() - this.began - ALONE;
      if (this.spent > SHARE * measuring) return;
      if (!this.works.has("spectrum")) this.look();
    }
    const from = performance.now();
    this.measure(Math.max(until, from + SLICE / 4));
    this.spent += performance.now() - from;
  }

  /** Measures of what is looked at come before sweeps. */
  private measure(until: number): void {
    const first = ["spectrum", "smoothness", "noise"].filter((name) => this.works.has(name));
    for (const name of new Set([...first, ...this.works.keys()])) {
      const work = this.works.get(name)!;
      do if (work.next().done) this.works.delete(name);
      while (this.works.has(name) && performance.now() < until);
      if (performance.now() >= until) return;
    }
  }

  private train(until: number): void {
    const { training } = this;
    do {
      training.advance();
      if (training.due) training.measure();
    } while (!this.finished && performance.now() < until);
    this.tell();
  }

  play(playing: boolean): void {
    this.playing = playing;
    if (!playing) this.look();
  }

  step(): void {
    if (this.finished) return;
    this.training.advance();
    if (!this.training.losses.has(this.training.step)) this.training.measure();
    this.tell();
    this.look();
  }

  select(at: number | null): void {
    this.at = at;
    this.tellIterate();
    this.look();
    if (at !== null && this.training.kept.has(at))
      this.works.set("noise", this.noise(at, at ? [0, 1] : [0]));
  }

  /** Points of the loss that the page has not got yet, and the weights. */
  private tell(): void {
    const points = [...this.training.losses]
      .filter(([step]) => !this.told.has(step))
      .map(([step, losses]) => ({ step, losses }));
    points.forEach(({ step }) => this.told.add(step));
    this.say({ kind: "losses", step: this.training.step, points, done: this.finished });
    if (points.length) this.tellIterate();
  }

  /** The chosen step, or the last one that was kept. */
  private get seen(): number {
    const { kept } = this.training;
    return this.at !== null && kept.has(this.at) ? this.at : Math.max(...kept.keys());
  }

  private tellIterate(): void {
    const { parameters } = this.training.kept.get(this.seen)!;
    this.say({ kind: "iterate", step: this.seen, parameters: parameters.map((seeds) => seeds[0]!) });
  }

  /** Measures at the step that is seen. */
  private look(): void {
    if (this.looked !== this.seen) {
      this.looked = this.seen;
      this.works.set("spectrum", this.spectrum(this.seen));
    }
    if (!this.works.has("smoothness")) this.works.set("smoothness", this.smoothness());
  }

  private *spectrum(step: number): Work {
    const { parameters } = this.training.kept.get(step)!;
    const size = this.engine.parameters;
    if (size > MOST_WEIGHTS) return;
    for (let seed = 0; seed < (this.dense ? this.config.seeds : 1); seed++) {
      const spectra: Float64Array[] = [];
      const conditions: number[] = [];
      for (const seeds of parameters) {
        const matrix = yield* this.hessian(seeds[seed]!);
        const diagonal = Float64Array.from({ length: size }, (_, i) => matrix[i * (size + 1)]!);
        const known = diagonal.every(Number.isFinite);
        conditions.push(known ? conditionNumber(diagonal) : NaN);
        spectra.push(known ? eigenvalues(matrix) : new Float64Array(0));
        yield;
      }
      this.say({ kind: "spectrum", step, seed, eigenvalues: spectra, conditions });
    }
  }

  /** Whether the kernels have the dense Hessian, and quickly. */
  private get dense(): boolean {
    return !this.config.softmax && this.engine.parameters <= HEAVY;
  }

  /** The Hessian at once, or else column by column. */
  private *hessian(parameters: Float32Array): Generator<void, Float64Array, void> {
    if (this.dense) return this.engine.hessian(parameters);
    const size = this.engine.parameters;
    const matrix = new Float64Array(size * size);
    const unit = new Float64Array(size);
    for (let i = 0; i < size; i++) {
      unit.fill(0)[i] = 1;
      matrix.set(this.engine.hessianTimes(parameters, unit), i * size);
      yield;
    }
    return matrix;
  }

  /** Along the steps that were kept, far from each other first, so that the curve soon has its shape. */
  private *smoothness(): Work {
    for (;;) {
      const open = [...this.training.kept]
        .filter(([step, { after }]) => after.length && !this.smooth.has(step))
        .map(([step]) => step);
      if (!open.length) return;
      const step = farthest(open, [...this.smooth]);
      this.smooth.add(step);
      const { parameters, after } = this.training.kept.get(step)!;
      const values: PerRun = [];
      for (const [method, seeds] of parameters.entries()) {
        values.push([]);
        for (const [seed, point] of seeds.entries()) {
          const change = after[method]![seed]!.map((entry, i) => entry - point[i]!);
          values[method]!.push(this.engine.smoothness(point, change));
          yield;
        }
      }
      this.say({ kind: "smoothness", step, values });
    }
  }

  /** Gradient noise of the first seed's iterates, as the measure `noise` draws it. */
  private *noise(step: number, asked: number[]): Work {
    const { engine } = this;
    const at = (method: number) => this.training.kept.get(step)!.parameters[method]![0]!;
    const methods = asked.filter((method) => at(method).every(Number.isFinite));
    const points = methods.map(at);
    if (!points.length) this.say({ kind: "noise", step, methods, samples: [], whole: true });
    if (!points.length) return;
    const references = points.map(() => new Float64Array(engine.parameters));
    for (let index = 0; index < REFERENCE; index++) {
      engine.drawNoise(0, step, index, 0);
      points.forEach((point, i) => {
        const { gradient } = engine.lossAndGradient(point, "large");
        gradient.forEach((entry, j) => (references[i]![j]! += entry / REFERENCE));
      });
      yield;
    }
    const sums = points.map(() => new Covariance(engine.parameters));
    for (let index = 0; index < SAMPLES; index++) {
      engine.drawNoise(0, step, index, 1);
      points.forEach((point, i) => {
        const { gradient } = engine.lossAndGradient(point);
        sums[i]!.add(references[i]!.map((entry, j) => gradient[j]! - entry));
      });
      if (index % 200 === 199) {
        const samples: Noise[] = sums.map((each) => ({
          norms: Float64Array.from(each.norms).sort(),
          ...each.chi(),
        }));
        this.say({ kind: "noise", step, methods, samples, whole: index + 1 === SAMPLES });
      }
      yield;
    }
  }

  /** Trains both optimizers with other rates, all at once on the same prompts. */
  sweep(rates: readonly number[]): void {
    this.works.set(`sweep ${this.sweeps++}`, this.sweepOf(rates));
  }

  private *sweepOf(rates: readonly number[]): Work {
    const { steps, methods } = this.config;
    const all = rates.flatMap((rate) => methods.map((method) => ({ ...method, rate })));
    const training = new Training(this.engine, this.config, all);
    while (training.step < steps) {
      yield* training.advanceSlowly();
      const { step } = training;
      if (step % Math.ceil(steps / 8) && step < steps) continue;
      const losses = training.evaluate();
      const points = rates.map((rate, i) => ({ rate, losses: losses.slice(2 * i, 2 * i + 2) }));
      this.say({ kind: "sweep", step, points });
    }
  }
}

/** The number that is farthest from all of `others`. */
function farthest(numbers: number[], others: number[]): number {
  const distance = (n: number) => Math.min(...others.map((other) => Math.abs(other - n)), Infinity);
  return numbers.reduce((best, n) => (distance(n) > distance(best) ? n : best));
}
