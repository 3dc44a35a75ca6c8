"""Products with a symmetric matrix that JAX may transpose and batch.

A Hessian-vector product by a kernel is linear in its vector and is its own transpose. JAX cannot
see that in a foreign call; this primitive tells it, so that reverse mode works through kernels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

Product = Callable[[Any, Any], Any]


def symmetric_product(product: Product, point: Any, direction: Any) -> Any:
    """`product(point, direction)`, declared linear in `direction` and its own transpose.

    Args:
        product: Differentiable in the point by itself; gives a pytree like the direction.
        point: Where the matrix is taken.
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


def _bind(points, directions, flat):
    return _primitive.bind(*points, *directions, flat=flat, count=len(points))


def _apply(*arrays, flat, count):
    del count
    return flat(*arrays)


def _shapes(*avals, flat, count):
    del flat
    return list(avals[count:])


def _jvp(arrays, tangents, *, flat, count):
    points, directions = arrays[:count], arrays[count:]
    results = _bind(points, directions, flat)
    tangents = [ad.instantiate_zeros(t) for t in tangents]
    along_points = jax.jvp(
        lambda *p: flat(*p, *directions), tuple(points), tuple(tangents[:count])
    )[1]
    along_directions = _bind(points, tangents[count:], flat)
    return results, [a + b for a, b in zip(along_points, along_directions, strict=True)]


def _transpose(cotangents, *arrays, flat, count):
    cotangents = [ad.instantiate_zeros(c) for c in cotangents]
    return [None] * count + _bind(arrays[:count], cotangents, flat)


def _batch(arrays, axes, *, flat, count):
    (size,) = {a.shape[axis] for a, axis in zip(arrays, axes, strict=True) if axis is not None}
    points, point_axes = arrays[:count], axes[:count]
    # The result has the batch axis; so must the direction, for the product to stay symmetric.
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
