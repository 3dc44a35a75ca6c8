// The optimizers, as attnscape.optimizers defines them. An update changes the parameters in place.

export type OptimizerName = "sgd" | "sgdm" | "adam" | "sign" | "lion" | "muon" | "normalised";

export interface Method {
  name: OptimizerName;
  rate: number;
  /** Values of the arguments in `OPTIMIZERS[name].betas`. */
  betas: readonly number[];
}

interface Description {
  label: string;
  /** Names of arguments in Python, with their defaults. */
  betas: readonly (readonly [string, number])[];
  rule: string;
}

export const OPTIMIZERS: Record<OptimizerName, Description> = {
  sgd: { label: "SGD", betas: [], rule: "step = −rate × gradient" },
  sgdm: {
    label: "SGDM",
    betas: [["momentum", 0.9]],
    rule: "step = −rate × m, with m = momentum × m + gradient",
  },
  adam: {
    label: "Adam",
    betas: [["b1", 0.9], ["b2", 0.9]],
    rule: "step = −rate × m / √v in every coordinate: running means of the gradient and its square",
  },
  sign: { label: "sign descent", betas: [], rule: "step = −rate × sign of the gradient" },
  lion: {
    label: "Lion",
    betas: [["b1", 0.9], ["b2", 0.99]],
    rule: "step = −rate × sign of a mix of gradient and running mean",
  },
  muon: {
    label: "Muon",
    betas: [["beta", 0.95]],
    rule: "step = −rate × the matrix of running means with all its singular values near 1",
  },
  normalised: {
    label: "normalised SGD",
    betas: [["momentum", 0.9]],
    rule: "step = −rate × m, with m = momentum × m + gradient / its norm",
  },
};

export const NAMES = Object.keys(OPTIMIZERS) as OptimizerName[];

type Update = (parameters: Float32Array, gradient: Float32Array) => void;

/** The update rule of one run with its own memory; `dim` is the size of P and Q. */
export function makeUpdate(method: Method, count: number, dim: number): Update {
  const { rate, betas } = method;
  const [first = 0, second = 0] = betas;
  const mean = new Float32Array(count);
  const square = new Float32Array(count);
  let t = 0;
  switch (method.name) {
    case "sgd":
      return (x, g) => x.forEach((_, i) => (x[i]! -= rate * g[i]!));
    case "sgdm":
      return (x, g) => {
        for (let i = 0; i < count; i++) x[i]! -= rate * (mean[i] = g[i]! + first * mean[i]!);
      };
    case "normalised":
      return (x, g) => {
        const length = norm(g);
        for (let i = 0; i < count; i++)
          x[i]! -= rate * (mean[i] = g[i]! / length + first * mean[i]!);
      };
    case "adam":
      return (x, g) => {
        t += 1;
        const ofMean = 1 - first ** t;
        const ofSquare = 1 - second ** t;
        for (let i = 0; i < count; i++) {
          mean[i] = (1 - first) * g[i]! + first * mean[i]!;
          square[i] = (1 - second) * g[i]! ** 2 + second * square[i]!;
          x[i]! -= (rate * mean[i]!) / ofMean / (Math.sqrt(square[i]! / ofSquare) + 1e-8);
        }
      };
    case "sign":
      return (x, g) => x.forEach((_, i) => (x[i]! -= rate * Math.sign(g[i]!)));
    case "lion":
      return (x, g) => {
        for (let i = 0; i < count; i++) {
          x[i]! -= rate * Math.sign((1 - first) * g[i]! + first * mean[i]!);
          mean[i] = (1 - second) * g[i]! + second * mean[i]!;
        }
      };
    case "muon":
      return (x, g) => {
        t += 1;
        const ofMean = 1 - first ** (t + 1);
        const ofGradient = 1 - first ** t;
        for (let i = 0; i < count; i++) {
          mean[i] = (1 - first) * g[i]! + first * mean[i]!;
          square[i] = (first * mean[i]!) / ofMean + ((1 - first) * g[i]!) / ofGradient;
        }
        for (let start = 0; start < count; start += dim * dim) {
          const step = orthogonalised(square.subarray(start, start + dim * dim), dim);
          step.forEach((entry, i) => (x[start + i]! -= rate * entry));
        }
      };
  }
}

/** Scales a gradient to the norm `clip` if it is longer; 0 leaves it as it is. */
export function clipTo(gradient: Float32Array, clip: number): void {
  const length = norm(gradient);
  if (clip > 0 && length >= clip)
    gradient.forEach((entry, i) => (gradient[i] = (entry / length) * clip));
}

export function norm(vector: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < vector.length; i++) sum += vector[i]! ** 2;
  return Math.sqrt(sum);
}

/** Five Newton-Schulz steps with Jordan's coefficients: X becomes about U V^T. */
function orthogonalised(matrix: Float32Array, dim: number): Float64Array {
  const length = norm(matrix) + 1e-8;
  let X = Float64Array.from(matrix, (entry) => entry / length);
  for (let i = 0; i < 5; i++) {
    const A = product(X, transposed(X, dim), dim);
    const AA = product(A, A, dim);
    const B = A.map((entry, j) => -4.775 * entry + 2.0315 * AA[j]!);
    const BX = product(B, X, dim);
    X = X.map((entry, j) => 3.4445 * entry + BX[j]!);
  }
  return X;
}

function product(a: Float64Array, b: Float64Array, dim: number): Float64Array<ArrayBuffer> {
  const c = new Float64Array(dim * dim);
  for (let i = 0; i < dim; i++)
    for (let k = 0; k < dim; k++)
      for (let j = 0; j < dim; j++) c[i * dim + j]! += a[i * dim + k]! * b[k * dim + j]!;
  return c;
}

function transposed(a: Float64Array, dim: number): Float64Array {
  return a.map((_, i) => a[(i % dim) * dim + Math.floor(i / dim)]!);
}
