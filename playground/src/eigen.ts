// Eigenvalues of a symmetric matrix: Householder's tridiagonal form, then implicit QL (Golub and
// Van Loan, Matrix Computations, section 8.3).

/** All eigenvalues, ascending. The matrix (row by row) is overwritten. */
export function eigenvalues(matrix: Float64Array): Float64Array {
  const size = Math.round(Math.sqrt(matrix.length));
  const { diagonal, beside } = tridiagonal(matrix, size);
  implicitQL(diagonal, beside, size);
  return diagonal.sort();
}

function tridiagonal(a: Float64Array, size: number) {
  const diagonal = new Float64Array(size);
  const beside = new Float64Array(size); // beside[i] joins i and i + 1
  const v = new Float64Array(size);
  const p = new Float64Array(size);
  for (let k = 0; k < size - 1; k++) {
    // Reflect column k so that only the entry below the diagonal is left.
    let square = 0;
    for (let i = k + 1; i < size; i++) square += (v[i] = a[i * size + k]!) ** 2;
    const alpha = v[k + 1]! > 0 ? -Math.sqrt(square) : Math.sqrt(square);
    diagonal[k] = a[k * size + k]!;
    beside[k] = alpha;
    const length = square - v[k + 1]! * alpha;
    if (!(length > 0)) continue;
    v[k + 1]! -= alpha;
    let overlap = 0;
    for (let i = k + 1; i < size; i++) {
      let sum = 0;
      for (let j = k + 1; j < size; j++) sum += a[i * size + j]! * v[j]!;
      p[i] = sum / length;
      overlap += p[i]! * v[i]!;
    }
    for (let i = k + 1; i < size; i++) p[i]! -= (overlap / (2 * length)) * v[i]!;
    for (let i = k + 1; i < size; i++)
      for (let j = k + 1; j < size; j++) a[i * size + j]! -= v[i]! * p[j]! + p[i]! * v[j]!;
  }
  diagonal[size - 1] = a[size * size - 1]!;
  return { diagonal, beside };
}

function implicitQL(d: Float64Array, e: Float64Array, size: number): void {
  for (let first = 0; first < size; first++) {
    for (let turn = 0; turn < 100; turn++) {
      let last = first;
      while (last < size - 1) {
        const scale = Math.abs(d[last]!) + Math.abs(d[last + 1]!);
        if (Math.abs(e[last]!) <= Number.EPSILON * scale || e[last] === 0) break;
        last++;
      }
      if (last === first) break;
      const half = (d[first + 1]! - d[first]!) / (2 * e[first]!);
      const root = Math.hypot(half, 1);
      let g = d[last]! - d[first]! + e[first]! / (half + (half < 0 ? -root : root));
      let s = 1;
      let c = 1;
      let shift = 0;
      let i = last - 1;
      for (; i >= first; i--) {
        const f = s * e[i]!;
        const b = c * e[i]!;
        const r = Math.hypot(f, g);
        e[i + 1] = r;
        if (r === 0) {
          d[i + 1]! -= shift;
          e[last] = 0;
          break;
        }
        s = f / r;
        c = g / r;
        g = d[i + 1]! - shift;
        const t = (d[i]! - g) * s + 2 * c * b;
        shift = s * t;
        d[i + 1] = g + shift;
        g = c * t - b;
      }
      if (i >= first) continue;
      d[first]! -= shift;
      e[first] = g;
      e[last] = 0;
    }
  }
}
