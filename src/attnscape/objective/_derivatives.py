"""A loss by native kernels, with derivatives of every order.

Loss, gradient and Hessian-vector product are kernels; each is the derivative of the one before it.
What lies beyond (third derivatives in the weights, any in the data) is left to XLA.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from attnscape import native
from attnscape.objective._symmetric import symmetric_product


def kernel_loss(
    name: str,
    data_arrays: Callable[[Any], tuple],
    reference: Callable[[str, tuple, Any], Any],
    **attributes: int,
) -> Callable[[str, tuple, Any], Any]:
    """The loss `(form, weights, data) -> scalar` that the kernels of a model compute.

    Args:
        name: What the kernels' names have before `gradient` and `hvp`, for example "front_".
        data_arrays: The arrays of the data in the kernels' order; all have the batch first.
        reference: The same loss in XLA, for the derivatives that have no kernel.
        attributes: Integers handed to the kernels beside the form.
    """

    def call(kernel, results, weights, data, form):
        return native.call(
            f"{name}{kernel}_{weights[0].dtype}",
            [(jax.ShapeDtypeStruct(a.shape, a.dtype), False) for a in results],
            *((a, False) for a in weights),
            *((a, True) for a in data_arrays(data)),
            form=native.FORMS.index(form),
            **attributes,
        )

    @partial(jax.custom_jvp, nondiff_argnums=(0,))
    def value_and_gradient(form, weights, data):
        scalar = jax.ShapeDtypeStruct((), weights[0].dtype)
        loss, *gradient = call("gradient", (scalar, *weights), weights, data, form)
        return loss, tuple(gradient)

    @partial(jax.custom_jvp, nondiff_argnums=(0,))
    def hvp(form, weights, direction, data):
        return tuple(call("hvp", weights, (*weights, *direction), data, form))

    @partial(jax.custom_jvp, nondiff_argnums=(0,))
    def loss(form, weights, data):
        return value_and_gradient(form, weights, data)[0]

    def loss_jvp(form, primals, tangents):
        weights, data = primals
        value, gradient = value_and_gradient(form, weights, data)
        tangent = _inner(gradient, _instantiate(tangents[0]))
        return value, tangent + _data_tangent(partial(reference, form, weights), data, tangents[1])

    def value_and_gradient_jvp(form, primals, tangents):
        weights, data = primals
        value, gradient = value_and_gradient(form, weights, data)
        direction = _instantiate(tangents[0])

        def product(point, along):
            return hvp(form, point[0], along, point[1])

        products = symmetric_product(product, (weights, data), direction)
        xla = partial(jax.value_and_grad(reference, argnums=1), form, weights)
        return (value, gradient), jax.tree.map(
            jnp.add, (_inner(gradient, direction), products), _data_tangent(xla, data, tangents[1])
        )

    def hvp_jvp(form, primals, tangents):
        def xla(weights, direction, data):
            gradient = jax.grad(lambda w: reference(form, w, data))
            return jax.jvp(gradient, (weights,), (direction,))[1]

        return hvp(form, *primals), jax.jvp(xla, primals, tangents)[1]

    loss.defjvp(loss_jvp, symbolic_zeros=True)
    value_and_gradient.defjvp(value_and_gradient_jvp, symbolic_zeros=True)
    hvp.defjvp(hvp_jvp)
    return loss


def _inner(a, b):
    return sum(jnp.vdot(x, y) for x, y in zip(a, b, strict=True))


def _instantiate(tangent):
    return jax.tree.map(
        lambda t: jnp.zeros(t.shape, t.dtype) if _is_zero(t) else t, tangent, is_leaf=_is_zero
    )


def _is_zero(tangent) -> bool:
    return isinstance(tangent, jax.custom_derivatives.SymbolicZero)


def _data_tangent(function, data, tangent):
    """The derivative of `function` along a tangent of the data; free where that is zero."""
    if all(_is_zero(t) for t in jax.tree.leaves(tangent, is_leaf=_is_zero)):
        return jax.tree.map(jnp.zeros_like, jax.eval_shape(function, data))
    return jax.jvp(function, (data,), (_instantiate(tangent),))[1]
