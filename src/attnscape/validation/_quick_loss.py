"""Quick checks of a loss: it gives one number of the right type, and has derivatives."""

from __future__ import annotations

from typing import Any

import jax
from jaxtyping import Array, PyTree

from attnscape.validation._errors import BrokenError, placed
from attnscape.validation._tracing import short, trace

# Names of the checks, as `attnscape check` lists them.
ONE_NUMBER, DERIVATIVES = "one number", "derivatives"


def require_loss(loss: Any, dtype: jax.typing.DTypeLike) -> None:
    """Checks that a loss gives one number for a prediction and its target, and has derivatives.

    Raises:
        BrokenError: If the check fails.
    """
    number = jax.ShapeDtypeStruct((), dtype)

    def call(prediction: Array, target: Array) -> PyTree:
        given = loss(prediction, target)
        if not isinstance(given, jax.Array):
            what = short(given)
        elif given.shape != () or given.dtype != dtype:
            what = f"{given.dtype} of shape {given.shape}"
        else:
            return given
        sentence = f"For one prediction and its target the loss gave {what}; it must give one "
        sentence += f"{dtype} number, of shape (), as they are {dtype}."
        raise BrokenError(ONE_NUMBER, placed(sentence, loss))

    def second(prediction: Array, target: Array) -> Array:
        return jax.jvp(lambda p: jax.grad(loss)(p, target), (prediction,), (prediction,))[1]

    try:
        hash(loss)
    except TypeError:
        sentence = f"The loss {short(loss)} cannot be hashed; make it a function, or a frozen "
        sentence += "dataclass of numbers and texts."
        raise BrokenError(ONE_NUMBER, placed(sentence, loss)) from None
    trace(ONE_NUMBER, "The loss", loss, call, number, number)
    trace(DERIVATIVES, "The derivative of the loss", loss, jax.vmap(second), *_batch(dtype))


def _batch(dtype: jax.typing.DTypeLike) -> tuple[jax.ShapeDtypeStruct, jax.ShapeDtypeStruct]:
    numbers = jax.ShapeDtypeStruct((2,), dtype)
    return numbers, numbers
