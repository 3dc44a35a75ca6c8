"""Points of a uniform direction and an independent radius, by a native kernel or by plain JAX.

Of the squared length of a uniform direction in m dimensions, the first two coordinates leave to the
others the share U^(2 / (m - 2)), U uniform; their own direction is a uniform angle. So a point has
d / 2 outputs of Threefry-2x32 (rounded down, at least one), one word for the share and one for the
angle of two coordinates. The lowest bit of the last share is the sign of an odd last coordinate.
Outputs from 2^31 on hold the words of the radii, one of two points. kernels/radial_points.hpp
states the same functions on SIMD lanes; the two agree to rounding.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from attnscape import native
from attnscape.tasks._normals import key_words, tail_probability, threefry
from attnscape.tasks.radius import tabulated_radius

_RADII = 2**31


def radial_points(
    key: Array, batch: int, n: int, d: int, table: Float[np.ndarray, "2 entries"] | None = None
) -> Float[Array, "batch n d"]:
    """N points for each of `batch` prompts, in float32.

    Args:
        key: A JAX random key (Threefry).
        batch: Number of prompts.
        n: Number of points of a prompt.
        d: Dimension.
        table: Quantiles of the radius, as `radius_table` gives them; None for a radius of 1.
    """
    if native.usable(jnp.float32):
        (drawn,) = native.call(
            "radial_points",
            [(jax.ShapeDtypeStruct((batch, n, d), jnp.float32), True)],
            (key_words(key), False),
            (jnp.zeros(0, jnp.float32) if table is None else jnp.asarray(table), False),
        )
        return drawn
    return reference_radial_points(key, batch, n, d, table)


def reference_radial_points(
    key: Array, batch: int, n: int, d: int, table: Float[np.ndarray, "2 entries"] | None
) -> Float[Array, "batch n d"]:
    """The points that the kernel computes, in plain JAX."""
    words = key_words(key)
    prompt = jnp.arange(batch, dtype=jnp.uint32)[:, None, None]
    point = jnp.arange(n, dtype=jnp.uint32)[None, :, None]
    pairs = max(d // 2, 1)
    pair = jnp.arange(pairs, dtype=jnp.uint32)[None, None]
    splits, angles = threefry(words, *jnp.broadcast_arrays(prompt, point * pairs + pair))
    length = jnp.ones((batch, n), jnp.float32)  # of the coordinates that are left
    if table is not None:
        of_two = threefry(words, *jnp.broadcast_arrays(prompt, np.uint32(_RADII) + point // 2))
        radii = jnp.where(point[:, :, 0] % 2 == 1, of_two[1][..., 0], of_two[0][..., 0])
        length = tabulated_radius(jnp.asarray(table), radii)
    x = []
    for first in range(0, d - 1, 2):
        others = d - first - 2
        two = length
        if others:
            log_share = jnp.log(2 * tail_probability(splits[..., first // 2])) / others
            two = length * jnp.sqrt(-jnp.expm1(2 * log_share))
            length = length * jnp.exp(log_share)
        word = angles[..., first // 2]
        half = jax.lax.bitcast_convert_type(word, jnp.int32) >> 1
        angle = half.astype(jnp.float32) * np.float32(np.pi / 2**31)
        x += [two * jnp.where(word & 1, -jnp.cos(angle), jnp.cos(angle)), two * jnp.sin(angle)]
    if d % 2:
        x.append(jnp.where(splits[..., -1] & 1, -length, length))
    return jnp.stack(x, axis=-1)
