"""The reduced form by the native kernels (kernels/objective.hpp)."""

import jax
from jaxtyping import Array, Float

from attnscape import native
from attnscape.models import Form, LinearTransformer
from attnscape.objective._derivatives import Weights, kernel_loss
from attnscape.objective._reduced import reduced_loss
from attnscape.tasks import Moments


def linear_loss(model: LinearTransformer, moments: Moments) -> Float[Array, ""]:
    """Mean squared error over the batch, by the kernels."""
    return _loss(model.form, (model.P, model.Q), moments)


def native_hessian(model: LinearTransformer, moments: Moments) -> Float[Array, "p p"]:
    """The dense Hessian, by the kernels."""
    count = model.P.size + model.Q.size
    (hessian,) = native.call(
        f"hessian_{model.P.dtype}",
        [(jax.ShapeDtypeStruct((count, count), model.P.dtype), False)],
        *((a, False) for a in (model.P, model.Q)),
        *((a, True) for a in _arrays(moments)),
        form=native.FORMS.index(model.form),
    )
    return hessian


def _arrays(moments: Moments) -> tuple[Array, ...]:
    return moments.gram, moments.cross, moments.square, moments.query, moments.target


def _reference(form: Form, weights: Weights, moments: Moments) -> Float[Array, ""]:
    P, Q = weights
    return reduced_loss(LinearTransformer(P, Q, form), moments)


_loss = kernel_loss("", _arrays, _reference)
