"""The contract of a model: a function from a key to a callable pytree that can be trained."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from attnscape import objective
from attnscape.models import as_model
from attnscape.tasks import Prompts, RegressionTask, Task, as_task
from attnscape.trees import astype
from attnscape.validation._quick_model import GRADIENT, MAKES_MODEL, PREDICTIONS, require_model
from attnscape.validation._result import (
    CheckResult,
    all_finite,
    count_traces,
    in_each_dtype,
    is_same,
    precision,
    require,
    run_checks,
)
from attnscape.validation._tracing import plain

_BATCH = 16
_MOST_PARAMETERS = 500  # for which the Hessian is checked


def check_model(thing: Any, task: Any = RegressionTask) -> list[CheckResult]:
    """Checks a model on prompts of a task.

    Args:
        thing: The model, in any form that `attnscape.models.as_model` takes.
        task: A task, or a function without arguments that makes one.

    Examples:
        >>> import jax.numpy as jnp
        >>> from attnscape import RegressionTask
        >>> from attnscape.validation import check_model
        >>> model = (lambda w, prompts: prompts.query @ w, jnp.zeros(2))  # function, parameters
        >>> all(result.ok for result in check_model(model, RegressionTask(dim=2)))
        True
    """
    checks = _Checks(thing, as_task(task))
    return run_checks(
        lambda dtype: require_model(as_model(thing), checks.task, None, _BATCH, jnp.dtype(dtype)),
        {
            MAKES_MODEL: "A key gives a model, with parameters to train.",
            PREDICTIONS: "Predictions are one number a prompt, in both precisions.",
            GRADIENT: "The loss has a gradient, in both precisions.",
        },
        [
            ("deterministic", checks.deterministic),
            *in_each_dtype("finite", checks.finite),
            ("gradient's values", checks.gradient),
            ("jit and vmap", checks.vectorised),
            ("Hessian", checks.symmetric),
        ],
    )


@dataclasses.dataclass(frozen=True)
class _Checks:
    """The slow checks; each returns a sentence, or raises if the contract is broken."""

    thing: Any
    task: Task

    def make(self, dtype: str) -> tuple[Any, Prompts]:
        """A model and prompts in the given precision."""
        model = as_model(self.thing)(jax.random.key(0))
        return astype(dtype, model), self.task.sample(jax.random.key(1), _BATCH, dtype)

    def deterministic(self) -> str:
        one, other = (self.make("float32") for _ in range(2))
        arrays = [eqx.filter(model, eqx.is_array) for model, _ in (one, other)]
        require(is_same(*arrays), "The same key gives different models.")
        predictions = [model(prompts) for model, prompts in (one, one, other)]
        require(
            all(is_same(each, predictions[0]) for each in predictions),
            "The same model gives different predictions for the same prompts.",
        )
        return "The same key gives the same model, and the same prompts the same predictions."

    def finite(self, dtype: str) -> str:
        with precision(dtype):
            model, prompts = self.make(dtype)
            require(all_finite(model(prompts)), "Some predictions are not finite.")
        return f"Predictions are finite, in {dtype}."

    def gradient(self) -> str:
        model, prompts = self.make("float32")
        _, found = _as_one_program(objective.value_and_grad, model, prompts)
        found = eqx.filter(found, eqx.is_inexact_array)
        require(all_finite(found), "The loss's gradient is not finite.")
        require(
            any(np.any(plain(a)) for a in jax.tree.leaves(found)),
            "The loss's gradient is zero: predictions do not depend on the parameters.",
        )
        return "The loss's gradient is finite and not zero."

    def vectorised(self) -> str:
        _, prompts = self.make("float32")
        factory = as_model(self.thing)
        keys = jax.random.split(jax.random.key(0))
        static = eqx.partition(factory(jax.random.key(0)), eqx.is_inexact_array)[1]
        models = jax.vmap(lambda k: eqx.filter(factory(k), eqx.is_inexact_array))(keys)
        over_models, traces = count_traces(
            jax.vmap(lambda m, p: objective.loss(eqx.combine(m, static), p), (0, None))
        )
        evaluate = jax.jit(over_models)
        evaluate(models, prompts)
        losses = evaluate(models, prompts)
        apart = [objective.loss(factory(k), prompts) for k in keys]
        require(
            np.allclose(losses, apart, rtol=1e-4),
            "Under jit and vmap over parameters the losses are others than one by one.",
        )
        require(len(traces) == 1, f"Two equal calls were compiled {len(traces)} times.")
        return "jit and vmap over parameters give the losses that models give singly."

    def symmetric(self) -> str:
        with precision("float64"):
            model, prompts = self.make("float64")
            leaves = jax.tree.leaves(eqx.filter(model, eqx.is_inexact_array))
            size = sum(leaf.size for leaf in leaves)
            if size > _MOST_PARAMETERS:
                return f"Not looked at: {size} parameters are more than {_MOST_PARAMETERS}."
            H = np.asarray(_as_one_program(objective.hessian, model, prompts))
        require(np.isfinite(H).all(), "The Hessian is not finite.")
        require(
            np.abs(H - H.T).max() <= 1e-9 * np.abs(H).max(),
            "The Hessian is not symmetric: a custom derivative is not that of its function.",
        )
        return "The Hessian is symmetric."


def _as_one_program(function: Callable[..., Any], model: Any, prompts: Prompts) -> Any:
    """`function(model, prompts)`, compiled: one operation at a time takes several times as long."""
    parameters, static = eqx.partition(model, eqx.is_inexact_array)
    return jax.jit(lambda p, data: function(eqx.combine(p, static), data))(parameters, prompts)
