// The gamma distribution: the radius of heavy-tailed covariates, and the norm of Gaussian noise.

/** log of the gamma function for x > 0 (Lanczos, g = 7), within 1e-14 relative. */
export function logGamma(x: number): number {
  const terms = [
    676.5203681218851, -1259.1392167224028, 771.3234287776531, -176.6150291621406,
    12.507343278686905, -0.13857109526572012, 9.984369578019572e-6, 1.5056327351493116e-7,
  ];
  if (x < 0.5) return Math.log(Math.PI / Math.sin(Math.PI * x)) - logGamma(1 - x);
  const t = x + 6.5;
  let sum = 0.9999999999998099;
  terms.forEach((term, i) => (sum += term / (x + i)));
  return 0.5 * Math.log(2 * Math.PI) + (x - 0.5) * Math.log(t) - t + Math.log(sum);
}

/** P(a, x) and Q(a, x) = 1 - P, each without cancellation where it is small. */
export function incompleteGamma(a: number, x: number): { lower: number; upper: number } {
  if (x <= 0) return { lower: 0, upper: 1 };
  const factor = Math.exp(a * Math.log(x) - x - logGamma(a));
  if (x < a + 1) {
    let term = 1 / a;
    let sum = term;
    for (let n = 1; term > sum * 1e-17; n++) sum += term *= x / (a + n);
    const lower = factor * sum;
    return { lower, upper: 1 - lower };
  }
  // Continued fraction, from its far end.
  const depth = 20 + Math.ceil(600 / (x - a + 1));
  let rest = 0;
  for (let n = depth; n >= 1; n--) rest = (n * (n - a)) / (x - a + 1 + 2 * n - rest);
  const upper = factor / (x - a + 1 - rest);
  return { lower: 1 - upper, upper };
}

/** The probability that a standard normal number is above `score`. */
export function normalUpper(score: number): number {
  const { lower, upper } = incompleteGamma(0.5, (score * score) / 2);
  return score > 0 ? upper / 2 : (1 + lower) / 2;
}

/**
 * log of the number above which, or below which, a gamma variable of shape `a` and scale 1 is with
 * a probability, by Newton's method on the log; `start` is a guess.
 */
export function logGammaQuantile(
  a: number,
  probability: number,
  below: boolean,
  start: number,
): number {
  if (below) {
    // Where x is tiny, P = x^a / Gamma(a + 1).
    const small = (Math.log(probability) + logGamma(a + 1)) / a;
    if (small < -40) return small;
  }
  let log = start;
  for (let i = 0; i < 60; i++) {
    const x = Math.exp(log);
    const tail = incompleteGamma(a, x)[below ? "lower" : "upper"];
    // In logarithms both tails are nearly straight lines.
    const density = Math.exp(a * log - x - logGamma(a));
    const change = (Math.log(probability / tail) * tail) / (below ? density : -density);
    log += Math.max(-2, Math.min(2, change));
    if (Math.abs(change) < 1e-12) break;
  }
  return log;
}

// As in attnscape/tasks/radius.py.
const [BITS, OCTAVES] = [9, 32];
const ENTRIES = (OCTAVES << BITS) + 2;

/**
 * The radius whose square is Gamma(shape, scale), at tail probabilities from 2^-33 to 1/2 whose
 * mantissas have BITS bits: the upper tail, then the lower one.
 */
export function radiusTable(shape: number, scale: number): Float32Array {
  const table = new Float32Array(2 * ENTRIES);
  const probability = (i: number) => 2 ** ((i >> BITS) - 33) * (1 + (i & (2 ** BITS - 1)) / 2 ** BITS);
  for (const below of [false, true]) {
    let [log, change] = [Math.log(shape), 0];
    for (let i = ENTRIES - 1; i >= 0; i--) {
      const next = logGammaQuantile(shape, probability(i), below, log + change);
      change = i < ENTRIES - 1 ? next - log : 0; // of one step: a guess of the next one
      log = next;
      table[(below ? ENTRIES : 0) + i] = Math.sqrt(scale) * Math.exp(log / 2);
    }
  }
  return table;
}

// As in attnscape/tasks/chi.py.
const REACH = 6.5;
const FEW_DEGREES = 7;
const TERMS = 17;

/**
 * The chi quantiles of n, n - 1, ... degrees of freedom as polynomials in the normal score, `rows`
 * of them; zeros up to FEW_DEGREES degrees.
 */
export function chiPolynomials(n: number, rows: number): Float32Array {
  const table = new Float32Array(rows * TERMS);
  const angles = Array.from({ length: TERMS }, (_, j) => (Math.PI * (j + 0.5)) / TERMS);
  for (let row = 0; row < rows && n - row > FEW_DEGREES; row++) {
    const half = (n - row) / 2;
    let log = Math.log(half);
    const values = angles.map((angle) => {
      const score = REACH * Math.cos(angle);
      log = logGammaQuantile(half, normalUpper(Math.abs(score)), score < 0, log);
      return Math.sqrt(2 * Math.exp(log));
    });
    // The sum of Chebyshev polynomials of score / REACH, as one of powers of the score.
    const powers = new Float64Array(TERMS);
    let [before, now] = [new Float64Array(TERMS), Float64Array.of(1, ...Array(TERMS - 1).fill(0))];
    for (let k = 0; k < TERMS; k++) {
      const terms = values.map((value, j) => value * Math.cos(k * angles[j]!));
      const c = ((k ? 2 : 1) * terms.reduce((sum, term) => sum + term)) / TERMS;
      now.forEach((coefficient, i) => (powers[i]! += c * coefficient));
      const twice = k ? 2 : 1; // T_1 = x T_0, T_(k+1) = 2 x T_k - T_(k-1)
      const after = now.map((_, i) => (i ? twice * now[i - 1]! : 0) - before[i]!);
      [before, now] = [now, after];
    }
    powers.forEach((power, i) => (table[row * TERMS + i] = power / REACH ** i));
  }
  return table;
}
