"""The reduced form by the native kernels, with derivatives of every order.

Loss, gradient and Hessian-vector product are kernels; each is the derivative of the one before it.
What lies beyond (third derivatives in the parameters, any in the moments) is left to XLA.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from attnscape import native
from attnscape.models import LinearTransformer
from attnscape.objective._reduced import reduced_loss
from attnscape.objective._symmetric import symmetric_product
from attnscape.prompts import Moments


def linear_loss(model: LinearTransformer, moments: Moments) -> Float[Array, ""]:
    """Mean squared error over the batch, by the kernels."""
    return _loss(model.form, (model.P, model.Q), moments)


def native_hessian(model: LinearTransformer, moments: Moments) -> Float[Array, "p p"]:
    """The dense Hessian, by the kernels."""
    count = model.P.size + model.Q.size
    (hessian,) = native.call(
        f"hessian_{model.P.dtype}",
        [(jax.ShapeDtypeStruct((count, count), model.P.dtype), False)],
        *_plain(model.P, model.Q),
        *_batched(moments),
        form=native.FORMS.index(model.form),
    )
    return hessian


def _plain(*arrays):
    return [(a, False) for a in arrays]


def _batched(moments: Moments):
    m = moments
    return [(a, True) for a in (m.gram, m.cross, m.square, m.query, m.target)]


def _xla_loss(form, weights, moments):
    return reduced_loss(LinearTransformer(weights[0], weights[1], form), moments)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _value_and_gradient(form, weights, moments):
    P, Q = weights
    scalar = jax.ShapeDtypeStruct((), P.dtype)
    loss, dP, dQ = native.call(
        f"gradient_{P.dtype}",
        [(scalar, False), *_plain(*_shapes(P, Q))],
        *_plain(P, Q),
        *_batched(moments),
        form=native.FORMS.index(form),
    )
    return loss, (dP, dQ)


def _shapes(*arrays):
    return [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in arrays]


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _hvp(form, weights, direction, moments):
    P, Q = weights
    return tuple(
        native.call(
            f"hvp_{P.dtype}",
            _plain(*_shapes(P, Q)),
            *_plain(P, Q, *direction),
            *_batched(moments),
            form=native.FORMS.index(form),
        )
    )


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _loss(form, weights, moments):
    return _value_and_gradient(form, weights, moments)[0]


def _inner(a, b):
    return sum(jnp.vdot(x, y) for x, y in zip(a, b, strict=True))


def _loss_jvp(form, primals, tangents):
    weights, moments = primals
    loss, gradient = _value_and_gradient(form, weights, moments)
    tangent = _inner(gradient, _instantiate(tangents[0]))
    return loss, tangent + _moments_tangent(partial(_xla_loss, form, weights), moments, tangents[1])


def _value_and_gradient_jvp(form, primals, tangents):
    weights, moments = primals
    loss, gradient = _value_and_gradient(form, weights, moments)
    direction = _instantiate(tangents[0])
    products = symmetric_product(partial(_product, form), (weights, moments), direction)
    xla = partial(jax.value_and_grad(_xla_loss, argnums=1), form, weights)
    return (loss, gradient), jax.tree.map(
        jnp.add,
        (_inner(gradient, direction), products),
        _moments_tangent(xla, moments, tangents[1]),
    )


def _product(form, point, direction):
    weights, moments = point
    return _hvp(form, weights, direction, moments)


def _hvp_jvp(form, primals, tangents):
    def xla(weights, direction, moments):
        gradient = jax.grad(lambda w: _xla_loss(form, w, moments))
        return jax.jvp(gradient, (weights,), (direction,))[1]

    return _hvp(form, *primals), jax.jvp(xla, primals, tangents)[1]


def _instantiate(tangent):
    return jax.tree.map(
        lambda t: jnp.zeros(t.shape, t.dtype) if _is_zero(t) else t, tangent, is_leaf=_is_zero
    )


def _is_zero(tangent) -> bool:
    return isinstance(tangent, jax.custom_derivatives.SymbolicZero)


def _moments_tangent(function, moments, tangent):
    """The derivative of `function` along a tangent of the moments; free where that is zero."""
    if all(_is_zero(t) for t in jax.tree.leaves(tangent, is_leaf=_is_zero)):
        return jax.tree.map(jnp.zeros_like, jax.eval_shape(function, moments))
    return jax.jvp(function, (moments,), (_instantiate(tangent),))[1]


_loss.defjvp(_loss_jvp, symbolic_zeros=True)
_value_and_gradient.defjvp(_value_and_gradient_jvp, symbolic_zeros=True)
_hvp.defjvp(_hvp_jvp)
