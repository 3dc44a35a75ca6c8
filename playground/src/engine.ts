// The kernels as WebAssembly (kernel.cpp), with their memory.

import createKernel, { type Kernel } from "../build/kernel.cjs";
import { chiPolynomials, radiusTable } from "./gamma";
import { type Config, scaleOf } from "./protocol";

declare const KERNEL_WASM: string; // gzip, as base64

const LAWS = { gaussian: 0, sphere: 2, radial: 3 };
const FIXED_BATCH = 1000;
const SCALE = 0.05;

/** Numbers in the kernels' memory. It may move when it grows, so views are made anew. */
class Numbers {
  constructor(
    private readonly kernel: Kernel,
    readonly pointer: number,
    private readonly count: number,
  ) {}
  get single(): Float32Array {
    return new Float32Array(this.kernel.HEAPU8.buffer, this.pointer, this.count);
  }
  get double(): Float64Array {
    return new Float64Array(this.kernel.HEAPU8.buffer, this.pointer, this.count);
  }
}

/** One problem: its prompts, losses, gradients and Hessians. */
export class Engine {
  readonly parameters: number;
  readonly blockDim: number;
  private readonly taken: number[] = [];
  private readonly key: number;
  private readonly derived: number;
  private readonly fixed: Numbers;
  private readonly fixedDouble: Numbers;
  private readonly drawn: Numbers;
  private readonly large: Numbers;
  private readonly point: Numbers;
  private readonly gradient: Numbers;
  private readonly doubles: Numbers[];
  private matrix: Numbers | null = null;

  static async load(): Promise<Kernel> {
    const packed = Uint8Array.from(atob(KERNEL_WASM), (sign) => sign.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    return await createKernel({ wasmBinary: await new Response(stream).arrayBuffer() });
  }

  constructor(
    private readonly kernel: Kernel,
    private readonly config: Config,
  ) {
    const { layers, dim, context, law, softmax, batch } = config;
    this.parameters = 2 * layers * dim * dim;
    this.blockDim = dim;
    const entries = {
      gaussian: () => chiPolynomials(context, dim + 1),
      sphere: () => new Float32Array(2),
      radial: () => radiusTable(config.tail, scaleOf(config.tail)),
    }[law]();
    const table = this.take(entries.length, 4);
    table.single.set(entries);
    const { pointer } = table;
    kernel._set_problem(layers, dim, context, LAWS[law], softmax ? 1 : 0, pointer, entries.length);
    this.key = this.take(2, 4).pointer;
    this.derived = this.take(2, 4).pointer;
    const numbers = (prompts: number) => kernel._data_numbers(prompts);
    this.fixed = this.take(numbers(FIXED_BATCH), 4);
    this.fixedDouble = this.take(numbers(FIXED_BATCH), 8);
    this.drawn = this.take(numbers(batch), 4);
    this.large = this.take(numbers(1000), 4);
    this.point = this.take(this.parameters, 4);
    this.gradient = this.take(this.parameters, 4);
    this.doubles = [0, 1, 2].map(() => this.take(this.parameters, 8));
    kernel._key_of_seed(0, 1, this.key);
    kernel._draw_single(FIXED_BATCH, this.key, this.fixed.pointer);
    kernel._draw_double(FIXED_BATCH, this.key, this.fixedDouble.pointer);
  }

  private take(count: number, bytes: number): Numbers {
    const pointer = this.kernel._malloc(Math.max(count, 1) * bytes);
    this.taken.push(pointer);
    return new Numbers(this.kernel, pointer, count);
  }

  /** Frees everything; the engine is not used again. */
  release(): void {
    this.taken.splice(0).forEach((pointer) => this.kernel._free(pointer));
  }

  initial(seed: number): Float32Array {
    this.kernel._initial_parameters(seed, SCALE, this.point.pointer);
    return this.point.single.slice();
  }

  /** Draws the batch of a seed's update number `step`. */
  drawTraining(seed: number, step: number): void {
    this.setKey(seed, step, 0);
    this.kernel._draw_single(this.config.batch, this.derived, this.drawn.pointer);
  }

  /** Draws the prompts of noise sample `index`; stream 0 has 1000 for the reference gradient. */
  drawNoise(seed: number, step: number, index: number, stream: 0 | 1): void {
    this.setKey(seed, step, 1);
    this.kernel._derived_key(this.derived, index, stream, this.key);
    const [prompts, to] = stream ? [this.config.batch, this.drawn] : [1000, this.large];
    this.kernel._draw_single(prompts, this.key, to.pointer);
  }

  private setKey(seed: number, step: number, stream: number): void {
    this.kernel._key_of_seed(seed, 1, this.key);
    this.kernel._derived_key(this.key, step, stream, this.derived);
  }

  /** Loss and gradient on the prompts that were drawn; the gradient is valid until the next call. */
  lossAndGradient(
    parameters: Float32Array,
    on: "drawn" | "large" | "fixed" = "drawn",
  ): { loss: number; gradient: Float32Array } {
    this.point.single.set(parameters);
    const prompts = on === "drawn" ? this.config.batch : 1000;
    const { pointer } = this[on];
    const { kernel, point, gradient } = this;
    const loss = kernel._loss_and_gradient(prompts, pointer, point.pointer, gradient.pointer);
    return { loss, gradient: gradient.single };
  }

  /** Directional smoothness u^T H u / |u|^2 on the fixed batch, in double precision. */
  smoothness(parameters: Float32Array, direction: Float32Array): number {
    const product = this.hessianTimes(parameters, direction);
    let along = 0;
    let square = 0;
    direction.forEach((entry, i) => {
      along += entry * product[i]!;
      square += entry * entry;
    });
    return along / square;
  }

  /** The Hessian on the fixed batch times a direction; valid until the next call. */
  hessianTimes(parameters: Float32Array, direction: ArrayLike<number>): Float64Array {
    const [at, along, result] = this.doubles as [Numbers, Numbers, Numbers];
    at.double.set(parameters);
    along.double.set(direction);
    this.kernel._hessian_times(
      FIXED_BATCH, this.fixedDouble.pointer, at.pointer, along.pointer, result.pointer,
    );
    return result.double;
  }

  /** The Hessian on the fixed batch, row by row; linear attention only. */
  hessian(parameters: Float32Array): Float64Array {
    this.matrix ??= this.take(this.parameters ** 2, 8);
    const at = this.doubles[0]!;
    at.double.set(parameters);
    const { kernel, fixedDouble, matrix } = this;
    kernel._dense_hessian(FIXED_BATCH, fixedDouble.pointer, at.pointer, matrix.pointer);
    return matrix.double.slice();
  }
}
