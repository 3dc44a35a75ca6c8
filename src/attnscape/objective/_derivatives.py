"""A loss by native kernels, with derivatives of every order.

Loss, gradient and Hessian-vector product are kernels; each is the derivative of the one before it.
Other derivatives (third ones by the weights, all by the data) are computed by XLA.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from attnscape import native
from attnscape.models import Form
from attnscape.objective._symmetric import symmetric_product
from attnscape.tasks import Moments, Prompts

Data = TypeVar("Data", Prompts, Moments)
Weights = tuple[Array, ...]
Loss = Callable[[Form, Weights, Data], Float[Array, ""]]


def kernel_loss(
    name: str,
    data_arrays: Callable[[Data], tuple[Array, ...]],
    reference: Loss[Data],
    **attributes: int,
) -> Loss[Data]:
    """The loss `(form, weights, data) -> scalar` that the kernels of a model compute.

    Args:
        name: Prefix of the kernels' names, before `gradient` and `hvp`: such as "mlp_attention_".
        data_arrays: The arrays of the data in the kernels' order; all have the batch first.
        reference: The same loss in XLA, for derivatives without a kernel.
        attributes: Integers passed to the kernels besides the form.
    """
    call = partial(_call, name, data_arrays, attributes)

    @partial(jax.custom_jvp, nondiff_argnums=(0,))
    def value_and_grad(form: Form, weights: Weights, data: Data) -> tuple[Array, Weights]:
        scalar = jax.ShapeDtypeStruct((), weights[0].dtype)
        loss, *gradient = call("gradient", (scalar, *weights), weights, data, form)
        return loss, tuple(gradient)

    @partial(jax.custom_jvp, nondiff_argnums=(0,))
    def hvp(form: Form, weights: Weights, direction: Weights, data: Data) -> Weights:
        return tuple(call("hvp", weights, (*weights, *direction), data, form))

    @partial(jax.custom_jvp, nondiff_argnums=(0,))
    def loss(form: Form, weights: Weights, data: Data) -> Float[Array, ""]:
        return value_and_grad(form, weights, data)[0]

    def loss_jvp(
        form: Form, primals: tuple[Weights, Data], tangents: tuple[PyTree, PyTree]
    ) -> tuple[Array, Array]:
        weights, data = primals
        value, gradient = value_and_grad(form, weights, data)
        tangent = _inner(gradient, _instantiate(tangents[0]))
        return value, tangent + _data_tangent(partial(reference, form, weights), data, tangents[1])

    def value_and_grad_jvp(
        form: Form, primals: tuple[Weights, Data], tangents: tuple[PyTree, PyTree]
    ) -> tuple[tuple[Array, Weights], PyTree]:
        weights, data = primals
        value, gradient = value_and_grad(form, weights, data)
        direction = _instantiate(tangents[0])

        def product(point: tuple[Weights, Data], along: Weights) -> Weights:
            return hvp(form, point[0], along, point[1])

        products = symmetric_product(product, (weights, data), direction)
        xla = partial(jax.value_and_grad(reference, argnums=1), form, weights)
        return (value, gradient), jax.tree.map(
            jnp.add, (_inner(gradient, direction), products), _data_tangent(xla, data, tangents[1])
        )

    def hvp_jvp(
        form: Form, primals: tuple[Weights, Weights, Data], tangents: PyTree
    ) -> tuple[Weights, Weights]:
        xla = partial(_reference_hvp, reference, form)
        return hvp(form, *primals), jax.jvp(xla, primals, tangents)[1]

    loss.defjvp(loss_jvp, symbolic_zeros=True)
    value_and_grad.defjvp(value_and_grad_jvp, symbolic_zeros=True)
    hvp.defjvp(hvp_jvp)
    return loss


def _call(
    name: str,
    data_arrays: Callable[[Data], tuple[Array, ...]],
    attributes: Mapping[str, int],
    kernel: str,
    results: Sequence[Array | jax.ShapeDtypeStruct],
    weights: Weights,
    data: Data,
    form: Form,
) -> Sequence[Array]:
    """Calls the kernel `name + kernel`, whose results have the shapes of `results`."""
    return native.call(
        f"{name}{kernel}_{weights[0].dtype}",
        [(jax.ShapeDtypeStruct(a.shape, a.dtype), False) for a in results],
        *((a, False) for a in weights),
        *((a, True) for a in data_arrays(data)),
        form=native.FORMS.index(form),
        **attributes,
    )


def _reference_hvp(
    reference: Loss[Data], form: Form, weights: Weights, direction: Weights, data: Data
) -> Weights:
    gradient = jax.grad(lambda w: reference(form, w, data))
    return jax.jvp(gradient, (weights,), (direction,))[1]


def _inner(a: Weights, b: Weights) -> Float[Array, ""]:
    return sum(jnp.vdot(x, y) for x, y in zip(a, b, strict=True))  # pyright: ignore[reportReturnType]


def _instantiate(tangent: PyTree) -> PyTree:
    return jax.tree.map(
        lambda t: jnp.zeros(t.shape, t.dtype) if _is_zero(t) else t, tangent, is_leaf=_is_zero
    )


def _is_zero(tangent: object) -> bool:
    return isinstance(tangent, jax.custom_derivatives.SymbolicZero)


def _data_tangent(function: Callable[[Data], PyTree], data: Data, tangent: PyTree) -> PyTree:
    """The derivative of `function` along a tangent of the data, without work if it is zero."""
    if all(_is_zero(t) for t in jax.tree.leaves(tangent, is_leaf=_is_zero)):
        return jax.tree.map(jnp.zeros_like, jax.eval_shape(function, data))
    return jax.jvp(function, (data,), (_instantiate(tangent),))[1]
