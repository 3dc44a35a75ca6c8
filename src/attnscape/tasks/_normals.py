"""Standard normal numbers from a key and a counter, by a native kernel or by plain JAX.

Word j of prompt b is output j % 2 of Threefry-2x32 (Salmon et al. 2011, 20 rounds) with the
caller's key and the counter (b, j // 2). A word becomes a normal number by inversion: its lowest
bit is the sign, the others the tail probability, so both tails reach 2^-33 (6.3 standard
deviations). A prompt's numbers depend only on its position in the batch, not on the batch's size.
kernels/sampler.hpp states the same function on SIMD lanes; the two agree to rounding, and both draw
in single precision, so that a run sees the same prompts in every precision.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt32

from attnscape import native
from attnscape.errors import UsageError

# Minimax fits of relative error 3e-8 (logarithm), 1e-7 (centre) and 3e-7 (tail) to scipy's
# functions; lowest power first. kernels/sampler.hpp has the same numbers.
_LOG = (1.0, -0.50000066, 0.33333594, -0.24993218, 0.19975913, -0.16824313, 0.14994496,
        -0.12076715, 0.054111693)  # fmt: skip
_CENTRE = (2.1233137, 0.87200665, -0.036926068, -0.027703283, 0.01207618, -0.00060722587,
           -0.0012183997, 0.00029669428, 6.1576284e-05)  # fmt: skip
_TAIL = (4.6288276, 1.7116226, 0.0075798249, -0.0056994208, 0.0036364782, -0.003408514,
         0.0029498695, -0.00094917993, -0.00012794415)  # fmt: skip
_TAIL_MIDDLE, _TAIL_HALF_WIDTH = 3.438034, 1.201966


def normals(key: Array, batch: int, *shape: int) -> Float[Array, "batch *shape"]:
    """Independent N(0, 1) numbers, `shape` of them for each of `batch` prompts, in float32."""
    words = key_words(key)
    if native.usable(jnp.float32):
        # The kernel returns the final shape, because XLA would copy at a reshape between kernels.
        (drawn,) = native.call(
            "normals",
            [(jax.ShapeDtypeStruct((batch, *shape), jnp.float32), True)],
            (words, False),
        )
        return drawn
    return reference_normals(words, batch, math.prod(shape)).reshape(batch, *shape)


def key_words(key: Array) -> UInt32[Array, "2"]:
    """The two words of a Threefry key, typed or raw."""
    words = jax.random.key_data(key) if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else key
    if words.shape != (2,):
        raise UsageError(
            f"The key has {words.shape} words; attnscape draws with Threefry keys of 2 words, "
            "as jax.random.key makes them by default."
        )
    return words


def derived_key(key: Array, *numbers: int | jax.Array) -> Array:
    """A new key from a key and one or two numbers; a missing second number counts as 0.

    It is used like `jax.random.fold_in`, whose hash is a loop of small steps on the CPU and would
    take as long as a kernel. This one compiles to code without a loop.

    Examples:
        >>> import jax
        >>> from attnscape.tasks import derived_key
        >>> key = jax.random.key(0)
        >>> bool(derived_key(key, 3) == derived_key(key, 3, 0))
        True
        >>> bool(derived_key(key, 3) == derived_key(key, 4))
        False
    """
    first, second = (jnp.asarray(n, jnp.uint32) for n in (*numbers, 0)[:2])
    return jax.random.wrap_key_data(jnp.stack(threefry(key_words(key), first, second)))


@jax.jit  # its hundred operations are traced once, not in each program that derives a key
def threefry(key: UInt32[Array, "2"], x0: UInt32[Array, "*s"], x1: UInt32[Array, "*s"]):
    """The two output words of Threefry-2x32 for the counters (x0, x1)."""
    keys = (key[0], key[1], key[0] ^ key[1] ^ np.uint32(0x1BD11BDA))
    x0, x1 = x0 + keys[0], x1 + keys[1]
    for round_ in range(5):
        for rotation in ((13, 15, 26, 6), (17, 29, 16, 24))[round_ % 2]:
            x0 = x0 + x1
            x1 = ((x1 << rotation) | (x1 >> (32 - rotation))) ^ x0
        x0 = x0 + keys[(round_ + 1) % 3]
        x1 = x1 + keys[(round_ + 2) % 3] + np.uint32(round_ + 1)
    return x0, x1


def reference_normals(
    words: UInt32[Array, "2"], batch: int, count: int
) -> Float[Array, "batch count"]:
    """The numbers that the kernel computes, in plain JAX."""
    pairs = (count + 1) // 2
    prompt = jnp.arange(batch, dtype=jnp.uint32)[:, None]
    counter = jnp.arange(pairs, dtype=jnp.uint32)[None, :]
    first, second = threefry(words, *jnp.broadcast_arrays(prompt, counter))
    interleaved = jnp.stack([first, second], axis=-1).reshape(batch, 2 * pairs)
    return normal_quantile(interleaved[:, :count])


def normal_quantile(word: UInt32[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The normal number z of a 32-bit word, with an error of at most 5e-7 max(1, |z|)."""
    p = tail_probability(word)
    x = jnp.maximum(1 - (p + p), np.float32(2**-25))  # never exactly zero
    w = -_logarithm(4 * p * (1 - p))
    centre = _polynomial(w * np.float32(0.4) - 1, _CENTRE)
    tail = _polynomial((jnp.sqrt(w) - _TAIL_MIDDLE) * np.float32(1 / _TAIL_HALF_WIDTH), _TAIL)
    z = x * jnp.where(w > 5, tail, centre)
    return jnp.where(word & 1, -z, z)


def tail_probability(word: UInt32[Array, "*shape"]) -> Float[Array, "*shape"]:
    """A probability from 2^-33 to 1/2, of all bits of a word but the lowest."""
    return (word >> 1).astype(jnp.float32) * np.float32(2**-32) + np.float32(2**-33)


def _logarithm(v: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """log(v) for normal v > 0: v = 2^exponent (1 + f) with 3/4 <= 1 + f < 3/2."""
    bits = jax.lax.bitcast_convert_type(v, jnp.int32)
    exponent = (bits - 0x3F400000) >> 23
    f = jax.lax.bitcast_convert_type(bits - (exponent << 23), jnp.float32) - 1
    return exponent.astype(jnp.float32) * np.float32(np.log(2)) + f * _polynomial(f, _LOG)


def _polynomial(
    t: Float[Array, "*shape"], coefficients: tuple[float, ...]
) -> Float[Array, "*shape"]:
    """The polynomial at t; coefficients are ordered from the lowest power."""
    total = jnp.full_like(t, coefficients[-1])
    for c in coefficients[-2::-1]:
        total = total * t + np.float32(c)
    return total
