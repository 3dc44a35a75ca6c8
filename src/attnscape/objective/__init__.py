"""The objective: the mean loss of a model on given prompts, with its derivatives.

Prompts and moments carry their loss (`attnscape.tasks.losses`), the squared error by default.

Three paths compute the same numbers. `token` calls the model on its tokens and works for every
model; the other paths are tested against it. `reduced` computes linear attention from moments in
XLA, also behind an MLP. `native` does the same in compiled CPU kernels, for the squared error only.
`fastest` chooses the last of these that can be used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeVar, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from attnscape import native
from attnscape.errors import UsageError
from attnscape.models import LinearTransformer, WithMLP
from attnscape.objective._linear_kernels import native_hessian
from attnscape.objective._native import (
    has_kernel,
    is_linear,
    native_loss,
    reduced,
    reducible,
)
from attnscape.objective._predictions import predictions as predictions
from attnscape.objective._predictions import token_predictions
from attnscape.objective._reduced import mean_loss, reduced_predictions
from attnscape.tasks import Moments, Prompts, SquaredError

Path = Literal["fastest", "native", "reduced", "token"]
PATHS: tuple[Path, ...] = get_args(Path)
Model = TypeVar("Model", bound=Callable[[Prompts], Array])


def sees_moments_only(model: Callable[[Prompts], Array]) -> bool:
    """Whether the model is linear attention, so that moments can replace prompts.

    Examples:
        >>> import jax
        >>> from attnscape import AttentionTransformer, LinearTransformer
        >>> from attnscape.objective import sees_moments_only
        >>> kinds = LinearTransformer, AttentionTransformer
        >>> [sees_moments_only(kind.init(jax.random.key(0))) for kind in kinds]
        [True, False]
    """
    return is_linear(model)


def loss(
    model: Callable[[Prompts], Array], prompts: Prompts | Moments, *, path: Path = "fastest"
) -> Float[Array, ""]:
    """Mean over the prompts of their loss of prediction and target.

    By default this is the mean squared error without a factor 1/2 (PAPER.md, section 1); prompts of
    a task `WithLoss` carry another loss.

    Works under `jax.jit`, `jax.vmap`, `jax.lax.scan` and `jax.grad`.

    Args:
        model: Maps `Prompts` to predictions of shape (batch,).
        prompts: Prompts, or their moments if the model is linear attention.
        path: How to compute it; see the module's description.

    Raises:
        UsageError: If the path is unknown or cannot be used for this model, these prompts or this
            machine, or shapes do not fit.

    Examples:
        >>> import jax
        >>> from attnscape import LinearTransformer, RegressionTask, loss
        >>> zero = LinearTransformer.init(jax.random.key(0), dim=2, scale=0.0)  # predicts 0
        >>> prompts = RegressionTask(dim=2).sample(jax.random.key(1), batch=10)
        >>> round(float(loss(zero, prompts) / (prompts.target**2).mean()), 3)
        1.0
    """
    match choose_path(model, prompts, path):
        case "token":
            return mean_loss(token_predictions(model, prompts), prompts)
        case "reduced":
            return mean_loss(reduced_predictions(*reduced(model, prompts)), prompts)
        case _:
            return native_loss(model, prompts)


def value_and_grad(
    model: Model, prompts: Prompts | Moments, *, path: Path = "fastest"
) -> tuple[Float[Array, ""], Model]:
    """Loss, and its gradient as a pytree of the model's type. The arguments are those of `loss`.

    Examples:
        >>> import jax
        >>> from attnscape import LinearTransformer, RegressionTask, value_and_grad
        >>> model = LinearTransformer.init(jax.random.key(0), layers=1, dim=2)
        >>> prompts = RegressionTask(dim=2).sample(jax.random.key(1), batch=10)
        >>> _, gradient = value_and_grad(model, prompts)
        >>> gradient.Q.shape, float(abs(gradient.P).max())  # the last layer's P has no effect
        ((1, 2, 2), 0.0)
    """
    return eqx.filter_value_and_grad(lambda m: loss(m, prompts, path=path))(model)


def hvp(
    model: Model, prompts: Prompts | Moments, direction: Model, *, path: Path = "fastest"
) -> Model:
    """The Hessian times a direction; both are pytrees of the model's type.

    Args:
        model: As in `loss`.
        prompts: As in `loss`.
        direction: The direction, as a pytree of the model's type.
        path: As in `loss`.

    Raises:
        UsageError: As in `loss`, and if the direction does not fit the model.

    Examples:
        >>> import jax
        >>> from attnscape import LinearTransformer, RegressionTask, hvp
        >>> model = LinearTransformer.init(jax.random.key(0), layers=1, dim=1)
        >>> moments = RegressionTask(dim=1).sample_moments(jax.random.key(1), batch=10)
        >>> second = 2 * ((moments.cross * moments.query) ** 2).mean()  # the loss is quadratic in Q
        >>> round(float((hvp(model, moments, model).Q / (second * model.Q))[0, 0, 0]), 3)
        1.0
    """
    parameters, static = eqx.partition(model, eqx.is_inexact_array)
    tangents = eqx.filter(direction, eqx.is_inexact_array)
    if jax.tree.map(jnp.shape, tangents) != jax.tree.map(jnp.shape, parameters):
        raise UsageError("The direction must be a model of the same type and shapes as the model.")

    def gradient(p: PyTree) -> PyTree:
        return jax.grad(lambda q: loss(eqx.combine(q, static), prompts, path=path))(p)

    return jax.jvp(gradient, (parameters,), (tangents,))[1]


def hessian(
    model: Callable[[Prompts], Array], prompts: Prompts | Moments, *, path: Path = "fastest"
) -> Float[Array, "p p"]:
    """The dense Hessian, in the model's dtype (float64 needs `jax_enable_x64`).

    Rows and columns follow `jax.flatten_util.ravel_pytree` of the model: for linear attention all
    of P, then all of Q, each in (layer, row, column) order. The arguments are those of `loss`.

    Examples:
        >>> import jax
        >>> from attnscape import LinearTransformer, RegressionTask, hessian
        >>> model = LinearTransformer.init(jax.random.key(0), layers=1, dim=2)
        >>> moments = RegressionTask(dim=2).sample_moments(jax.random.key(1), batch=100)
        >>> H = hessian(model, moments)
        >>> H.shape, int((H.diagonal() > 0).sum())  # the 4 entries of P have no effect
        ((8, 8), 4)
    """
    native_path = choose_path(model, prompts, path) == "native"
    if native_path and isinstance(model, LinearTransformer):
        return native_hessian(*reduced(model, prompts))
    parameters, static = eqx.partition(model, eqx.is_inexact_array)
    flat, unravel = ravel_pytree(parameters)

    def flat_gradient(vector: Float[Array, " p"]) -> Float[Array, " p"]:
        return jax.grad(lambda v: loss(eqx.combine(unravel(v), static), prompts, path=path))(vector)

    if native_path and isinstance(model, WithMLP) and isinstance(model.inner, LinearTransformer):
        # The attention treats the features from the MLP like any prompts.
        corner = native_hessian(*reduced(model, prompts))
        mlp = len(flat) - len(corner)
        rows = jax.vmap(lambda e: jax.jvp(flat_gradient, (flat,), (e,))[1])(
            jnp.eye(mlp, len(flat), dtype=flat.dtype)
        )
        return jnp.block([[rows], [rows[:, mlp:].T, corner]])
    return jax.jacfwd(flat_gradient)(flat)


def gauss_newton(
    model: Callable[[Prompts], Array], prompts: Prompts | Moments
) -> Float[Array, "p p"]:
    """The Gauss-Newton part of the Hessian, (1/B) sum l''(f_i, target_i) grad f_i grad f_i^T.

    f_i are the predictions, and l'' is the loss's second derivative in the prediction: 2 for the
    squared error. Arguments and order of rows are those of `hessian`.

    Examples:
        >>> import jax
        >>> from attnscape import LinearTransformer, RegressionTask, hessian
        >>> from attnscape.objective import gauss_newton
        >>> model = LinearTransformer.init(jax.random.key(0), layers=1, dim=2)  # linear in Q
        >>> moments = RegressionTask(dim=2).sample_moments(jax.random.key(1), batch=100)
        >>> bool(jax.numpy.allclose(gauss_newton(model, moments), hessian(model, moments)))
        True
    """
    given = predictions(model, prompts)
    if type(prompts.loss) is SquaredError:
        # Where no residual is left the Hessian is this part, which targets do not enter.
        return hessian(model, eqx.tree_at(lambda data: data.target, prompts, given))
    parameters, static = eqx.partition(model, eqx.is_inexact_array)
    flat, unravel = ravel_pytree(parameters)
    jacobian = jax.jacfwd(lambda v: predictions(eqx.combine(unravel(v), static), prompts))(flat)
    second = jax.vmap(jax.jacfwd(jax.grad(prompts.loss)))(given, prompts.target)
    return jnp.einsum("b,bi,bj->ij", second, jacobian, jacobian, precision="highest") / len(given)


def parameter_blocks(model: Callable[[Prompts], Array]) -> list[str]:
    """For each parameter, in the order of `hessian`, the block it belongs to.

    A leaf with three or more axes has one block per layer (`P0`, `P1`, ...), any other leaf is one
    block.

    Examples:
        >>> import jax
        >>> from attnscape import LinearTransformer
        >>> from attnscape.objective import parameter_blocks
        >>> parameter_blocks(LinearTransformer.init(jax.random.key(0), layers=2, dim=1))
        ['P0', 'P1', 'Q0', 'Q1']
    """
    blocks = []
    parameters = eqx.filter(model, eqx.is_inexact_array)
    for path, leaf in jax.tree_util.tree_leaves_with_path(parameters):
        name = jax.tree_util.keystr(path).lstrip(".")
        layers = len(leaf) if leaf.ndim >= 3 else 1
        labels = [f"{name}{layer}" for layer in range(layers)] if leaf.ndim >= 3 else [name]
        blocks += [label for label in labels for _ in range(leaf.size // layers)]
    return blocks


def choose_path(
    model: Callable[[Prompts], Array], prompts: Prompts | Moments, path: Path = "fastest"
) -> Path:
    """The path chosen for this model and these prompts. Raises the errors of `loss`.

    Examples:
        >>> import jax
        >>> from attnscape import RegressionTask
        >>> from attnscape.models import FunctionModel
        >>> from attnscape.objective import choose_path
        >>> model = FunctionModel(0.5, lambda scale, prompts: scale * prompts.y.mean(axis=1))
        >>> choose_path(model, RegressionTask(dim=2).sample(jax.random.key(0), batch=10))
        'token'
    """
    if path not in PATHS:
        raise UsageError(f"path is {path!r}; it must be one of {', '.join(PATHS)}.")
    linear = sees_moments_only(model)
    if isinstance(prompts, Moments) and (path == "token" or not linear):
        raise UsageError(
            "Only moments were given, but the token form needs prompts: give a Prompts."
        )
    if path == "reduced" and not reducible(model):
        raise UsageError(
            f"The path 'reduced' serves linear attention only; use 'fastest' or 'token' for "
            f"{type(model).__name__}."
        )
    if path in ("token", "reduced"):
        return path
    dtypes = {a.dtype for a in jax.tree.leaves((model, prompts)) if eqx.is_inexact_array(a)}
    squared = type(prompts.loss) is SquaredError
    if squared and has_kernel(model) and len(dtypes) == 1 and native.usable(min(dtypes)):
        return "native"
    if path == "native" and not squared:
        raise UsageError(
            f"The kernels compute the squared error only, not {prompts.loss!r}; use the path "
            "'fastest'."
        )
    if path == "native":
        raise UsageError(
            native.why_unavailable()
            or f"The kernels take models of attnscape.models in float32 or float64, model and "
            f"prompts alike, on the CPU; not {type(model).__name__} with "
            f"{sorted(map(str, dtypes))} on {native.default_device().platform}."
        )
    return "reduced" if reducible(model) else "token"
