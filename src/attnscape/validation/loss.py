"""The contract of a loss: one number for a prediction and its target, with true derivatives."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from attnscape.validation._quick_loss import DERIVATIVES, ONE_NUMBER, require_loss
from attnscape.validation._result import (
    CheckResult,
    all_finite,
    in_each_dtype,
    precision,
    require,
    run_check,
    run_checks,
)

_RANGE = "predictions from -10 to 10 and targets from -5 to 5"
_STEP = 1e-5  # central differences err by its square, and by rounding errors over it
_CLOSE = 1e-6  # of loss and slope
_HALVINGS = 40  # of intervals of 0.05, which then are as narrow as rounding errors allow


def check_loss(loss: Any) -> list[CheckResult]:
    """Checks a loss.

    Kinks, where the slope jumps, keep the contract. They give a warning, because second derivatives
    do not see them.

    Args:
        loss: Function `(prediction, target) -> loss` of two scalars in JAX.

    Examples:
        >>> from attnscape.tasks import AbsoluteError
        >>> from attnscape.validation import check_loss
        >>> [(result.check, result.ok) for result in check_loss(AbsoluteError()) if result.warning]
        [('kinks', True)]
    """

    def finite(dtype: str) -> str:
        with precision(dtype):
            points = (np.append(axis, 0).astype(dtype) for axis in _axes())
            p, t = (a.ravel() for a in jnp.meshgrid(*map(jnp.asarray, points)))
            numbers = jax.jit(jax.vmap(loss))(p, t), _slopes(loss, p, t), _curvatures(loss, p, t)
            for name, found in zip(("losses", "slopes", "curvatures"), numbers, strict=True):
                require(all_finite(found), f"For {_RANGE}, some {name} are not finite.")
        return f"Losses, slopes and curvatures are finite for {_RANGE}, in {dtype}."

    def gradient() -> str:
        with precision("float64"):
            p, t = map(jnp.asarray, np.random.default_rng(0).uniform(-5, 5, (2, 500)))
            losses = jax.jit(jax.vmap(loss))
            below, above = (np.asarray(losses(p + s * _STEP, t)) for s in (-1, 1))
            differences = (above - below) / (2 * _STEP)
            slopes = np.asarray(_slopes(loss, p, t))
            p, t = np.asarray(p), np.asarray(t)
        size = 1 + np.maximum(np.abs(above), np.abs(slopes))
        worst = int(np.argmax(np.abs(slopes - differences) / size))
        require(
            np.abs(slopes - differences)[worst] <= _CLOSE * size[worst],
            f"At prediction {p[worst]:.3g} and target {t[worst]:.3g}, JAX gives the slope "
            f"{slopes[worst]:.6g}, differences of the loss give {differences[worst]:.6g}.",
        )
        require(np.any(slopes != 0), "It does not depend on the prediction, or its slope is 0.")
        return "Slopes are those of finite differences of the loss, in float64."

    found = run_checks(
        lambda dtype: require_loss(loss, jnp.dtype(dtype)),
        {
            ONE_NUMBER: "For one prediction and its target it gives one number of their type.",
            DERIVATIVES: "JAX differentiates it twice in the prediction.",
        },
        [*in_each_dtype("finite", finite), ("gradient", gradient)],
    )
    if not all(result.ok for result in found):
        return found
    return [*found, _kinks(loss), run_check("convexity", lambda: _convexity(loss))]


def _slopes(loss: Any, p: Array, t: Array) -> Float[Array, " point"]:
    return jax.jit(jax.vmap(jax.grad(loss)))(p, t)


def _curvatures(loss: Any, p: Array, t: Array) -> Float[Array, " point"]:
    return jax.jit(jax.vmap(jax.jacfwd(jax.grad(loss))))(p, t)


def _axes() -> tuple[Float[np.ndarray, " prediction"], Float[np.ndarray, " target"]]:
    return np.linspace(-10, 10, 401), np.linspace(-5, 5, 11)


def _kinks(loss: Any) -> CheckResult:
    """Halves every interval of predictions, keeping the half with the larger change of slope."""
    predictions, targets = _axes()
    with precision("float64"):
        slope = jax.jit(jax.vmap(jax.grad(loss)))
        # Moved, so that kinks are within intervals, not at their ends.
        p, t = (a.ravel() for a in np.meshgrid(predictions + np.pi / 1000, targets))
        low, high = p.copy(), p + predictions[1] - predictions[0]
        of_low, of_high = (np.asarray(slope(a, t)) for a in (low, high))
        size = 1 + np.abs(of_low)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            of_middle = np.asarray(slope(middle, t))
            left = np.abs(of_middle - of_low) > np.abs(of_high - of_middle)
            low, of_low = np.where(left, low, middle), np.where(left, of_low, of_middle)
            high, of_high = np.where(left, middle, high), np.where(left, of_middle, of_high)
    jumps = np.abs(of_high - of_low)
    if not np.any(jumps > _CLOSE * size):
        return CheckResult("kinks", True, f"Its slope is continuous for {_RANGE}.")
    worst = int(np.argmax(jumps / size))
    sentence = (
        f"Its slope jumps by {jumps[worst]:.3g} at prediction {high[worst]:.3g}, target "
        f"{t[worst]:.3g}: Hessian and smoothness do not see such a kink, near which steps bounce."
    )
    return CheckResult("kinks", True, sentence, warning=True)


def _convexity(loss: Any) -> str:
    predictions, targets = _axes()
    with precision("float64"):
        p, t = map(jnp.asarray, np.meshgrid(predictions, targets))
        slopes = np.asarray(jax.vmap(lambda p, t: _slopes(loss, p, t))(p, t))
    falls = np.diff(slopes, axis=1) < -1e-9 * (1 + np.abs(slopes[:, 1:]))
    if not falls.any():
        return "It is convex in the prediction: the Gauss-Newton part has no negative eigenvalue."
    row, column = np.argwhere(falls)[0]
    return (
        f"It is not convex in the prediction, as at prediction {predictions[column]:.3g}, target "
        f"{targets[row]:.3g}: the Gauss-Newton part can have negative eigenvalues."
    )
