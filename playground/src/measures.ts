// Numbers of Hessians and of gradient noise, by the definitions of attnscape.statistics.

import { incompleteGamma } from "./gamma";

/**
 * The robust condition number of the paper's public code: the largest absolute entry of the
 * Hessian's diagonal over the lower median; NaN where the median is lost in rounding.
 */
export function conditionNumber(diagonal: ArrayLike<number>): number {
  const sizes = Float64Array.from(diagonal, Math.abs).sort();
  const median = sizes[(sizes.length - 1) >> 1]!;
  const largest = sizes[sizes.length - 1]!;
  return median > sizes.length * Number.EPSILON * largest ? largest / median : NaN;
}

/** Sums over noise vectors: what the norm of Gaussian noise with their covariance needs. */
export class Covariance {
  private readonly sums: Float64Array;
  readonly norms: number[] = [];

  constructor(private readonly count: number) {
    this.sums = new Float64Array(count * count);
  }

  add(noise: Float64Array): void {
    let square = 0;
    for (let i = 0; i < this.count; i++) {
      const entry = noise[i]!;
      square += entry * entry;
      if (entry !== 0)
        for (let j = 0; j <= i; j++) this.sums[i * this.count + j]! += entry * noise[j]!;
    }
    this.norms.push(Math.sqrt(square));
  }

  /**
   * Scale and degrees of the chi-square whose mean, trace S, and variance, 2 trace S^2, are those
   * of |z|^2 for z ~ N(0, S), where S is the covariance of this sample.
   */
  chi(): { scale: number; degrees: number } {
    const n = this.norms.length;
    let trace = 0;
    let squares = 0;
    for (let i = 0; i < this.count; i++) {
      trace += this.sums[i * this.count + i]! / n;
      for (let j = 0; j <= i; j++)
        squares += (i === j ? 1 : 2) * (this.sums[i * this.count + j]! / n) ** 2;
    }
    return { scale: squares / trace, degrees: trace ** 2 / squares };
  }
}

/** A scaled chi distribution on a grid, so that quantiles are read off quickly. */
export class GaussianNorm {
  private readonly grid: number[] = [];
  private readonly below: number[] = [];

  constructor(
    private readonly scale: number,
    private readonly degrees: number,
  ) {
    const middle = Math.sqrt(scale * degrees);
    const width = Math.sqrt(scale / 2);
    for (let i = -7; i <= 7; i += 0.05) {
      const norm = middle + i * width;
      if (norm <= 0) continue;
      this.grid.push(norm);
      this.below.push(incompleteGamma(degrees / 2, norm ** 2 / (2 * scale)).lower);
    }
  }

  density(norm: number): number {
    const step = 1e-3 * Math.sqrt(this.scale / 2);
    const below = (r: number) =>
      r > 0 ? incompleteGamma(this.degrees / 2, r ** 2 / (2 * this.scale)).lower : 0;
    return (below(norm + step) - below(norm - step)) / (2 * step);
  }

  quantile(probability: number): number {
    let low = 0;
    let high = this.grid.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (this.below[middle]! < probability) low = middle;
      else high = middle;
    }
    const [from, to] = [this.below[low]!, this.below[high]!];
    const share = to > from ? Math.min(1, Math.max(0, (probability - from) / (to - from))) : 0;
    return this.grid[low]! + share * (this.grid[high]! - this.grid[low]!);
  }
}

/** Filliben's plotting positions, as in scipy.stats.probplot. */
export function plottingPositions(count: number): number[] {
  const last = 0.5 ** (1 / count);
  return Array.from({ length: count }, (_, i) =>
    i === 0 ? 1 - last : i === count - 1 ? last : (i + 1 - 0.3175) / (count + 0.365),
  );
}

export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

export function median(values: readonly number[]): number {
  const sorted = values.filter((value) => !Number.isNaN(value)).sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2;
}

/** The value that a share of the sorted numbers lies below, linear in between. */
export function quantile(sorted: ArrayLike<number>, share: number): number {
  const position = share * (sorted.length - 1);
  const low = Math.floor(position);
  const high = Math.min(low + 1, sorted.length - 1);
  return sorted[low]! + (position - low) * (sorted[high]! - sorted[low]!);
}
