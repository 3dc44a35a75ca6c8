"""Quick checks of a distribution of covariates or weights, and of a response."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from attnscape.validation._errors import BrokenError, placed
from attnscape.validation._shapes import RUNS, keys_of
from attnscape.validation._tracing import DETERMINISTIC, STATE, depends, short, trace


def require_distribution(distribution: Any, name: str, shape: tuple[int, int, int]) -> None:
    """Checks that a distribution of covariates or weights draws arrays of the right shape.

    Args:
        distribution: Function `(key, batch, n, d)` that returns an array.
        name: Its name in messages.
        shape: The shape (batch, n, d).

    Raises:
        BrokenError: If the check fails, or if covariates do not depend on the key.
    """

    def draw(key: Array) -> PyTree:
        drawn = distribution(key, *shape)
        _require_numbers(drawn, f"The {name}", distribution, shape)
        return drawn

    subject = f"The distribution of {name}"
    drawn = trace(STATE, subject, distribution, jax.vmap(draw), keys_of((RUNS,)))
    if name == "covariates" and not depends(drawn.program, [0]):
        raise keyless("The distribution of covariates gives numbers that", distribution)


def require_response(
    response: Any, shape: tuple[int, int, int], dtype: jax.typing.DTypeLike
) -> None:
    """Checks that a response returns one number for each covariate vector.

    Raises:
        BrokenError: If the check fails.
    """
    batch, n, d = shape

    def respond(x: Array, w: Array) -> PyTree:
        y = response(x, w)
        _require_numbers(y, "The response", response, (batch, n))
        return y

    x, w = jax.ShapeDtypeStruct(shape, dtype), jax.ShapeDtypeStruct((batch, d), dtype)
    trace(STATE, "The response", response, respond, x, w)


def keyless(subject: str, thing: object) -> BrokenError:
    """The error for draws that ignore their random key."""
    return BrokenError(
        DETERMINISTIC,
        placed(
            f"{subject} do not depend on the key, so that all steps would see the same; draw them "
            "with the key, by jax.random.",
            thing,
        ),
    )


def _require_numbers(array: Any, name: str, thing: object, shape: tuple[int, ...]) -> None:
    if not isinstance(array, jax.Array | np.ndarray):
        sentence = f"{name} gave {short(array)}; it must give an array of shape {shape}."
    elif array.shape != shape:
        sentence = f"{name} gave shape {array.shape}; the task asks for {shape} here."
    elif not jnp.isdtype(array.dtype, ("real floating", "integral", "bool")):
        sentence = f"{name} gave {array.dtype}; it must give real numbers."
    else:
        return
    raise BrokenError(STATE, placed(sentence, thing))
