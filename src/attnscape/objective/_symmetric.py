"""Products with a symmetric matrix that JAX can transpose and batch.

A Hessian-vector product by a kernel is linear in its vector and is its own transpose. JAX does not
know this of a foreign call. This primitive declares it, so that reverse mode works with kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax import core
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, PyTree

Product = Callable[[PyTree, PyTree], PyTree]
_Flat = Callable[..., list[Array]]  # a product whose arguments and result are the leaves


def symmetric_product(product: Product, point: PyTree, direction: PyTree) -> PyTree:
    """`product(point, direction)`, declared linear in `direction` and its own transpose.

    Args:
        product: The product as a pytree like the direction; differentiable in the point.
        point: The point that the matrix belongs to.
        direction: The vector.
    """
    points, point_tree = jax.tree.flatten(point)
    directions, tree = jax.tree.flatten(direction)

    def flat(*arrays: jax.Array) -> list[jax.Array]:
        at, along = arrays[: len(points)], arrays[len(points) :]
        result = product(jax.tree.unflatten(point_tree, at), jax.tree.unflatten(tree, along))
        return jax.tree.leaves(result)

    return jax.tree.unflatten(tree, _bind(points, directions, flat))


_primitive = Primitive("symmetric_product")
_primitive.multiple_results = True


def _bind(points: Sequence[Array], directions: Sequence[Array], flat: _Flat) -> list[Array]:
    return _primitive.bind(*points, *directions, flat=flat, count=len(points))


def _apply(*arrays: Array, flat: _Flat, count: int) -> list[Array]:
    del count
    return flat(*arrays)


def _shapes(*avals: core.AbstractValue, flat: _Flat, count: int) -> list[core.AbstractValue]:
    del flat
    return list(avals[count:])


def _jvp(
    arrays: Sequence[Array], tangents: Sequence[Array | ad.Zero], *, flat: _Flat, count: int
) -> tuple[list[Array], list[Array]]:
    points, directions = arrays[:count], arrays[count:]
    results = _bind(points, directions, flat)
    along = [ad.instantiate_zeros(t) for t in tangents]
    along_points = jax.jvp(lambda *p: flat(*p, *directions), tuple(points), tuple(along[:count]))[1]
    along_directions = _bind(points, along[count:], flat)
    return results, [a + b for a, b in zip(along_points, along_directions, strict=True)]


def _transpose(
    cotangents: Sequence[Array | ad.Zero],
    *arrays: Any,  # a point, and `ad.UndefinedPrimal` in place of a direction
    flat: _Flat,
    count: int,
) -> list[Array | None]:
    along = [ad.instantiate_zeros(c) for c in cotangents]
    return [*[None] * count, *_bind(arrays[:count], along, flat)]


def _batch(
    arrays: Sequence[Array], axes: Sequence[int | None], *, flat: _Flat, count: int
) -> tuple[list[Array], list[int]]:
    (size,) = {a.shape[axis] for a, axis in zip(arrays, axes, strict=True) if axis is not None}
    points, point_axes = arrays[:count], axes[:count]
    # The result has a batch axis, so the direction needs one to keep the product symmetric.
    directions = [
        batching.bdim_at_front(a, axis, size)
        for a, axis in zip(arrays[count:], axes[count:], strict=True)
    ]
    mapped = jax.vmap(flat, (*point_axes, *(0 for _ in directions)))
    return _bind(points, directions, mapped), [0] * len(directions)


_primitive.def_impl(_apply)
_primitive.def_abstract_eval(_shapes)
ad.primitive_jvps[_primitive] = _jvp
ad.primitive_transposes[_primitive] = _transpose
batching.primitive_batchers[_primitive] = _batch
mlir.register_lowering(_primitive, mlir.lower_fun(_apply, multiple_results=True))
