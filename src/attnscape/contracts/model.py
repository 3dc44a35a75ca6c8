"""The contract of a model: from a key to a callable pytree that can be trained."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from attnscape import objective
from attnscape.contracts._finding import (
    Finding,
    all_finite,
    counted,
    findings,
    in_each_dtype,
    is_same,
    precision,
    require,
)
from attnscape.contracts._tracing import plain
from attnscape.contracts._usable import GRADIENT, MAKES_MODEL, PREDICTIONS, usable_model
from attnscape.models import as_model
from attnscape.prompts import Prompts
from attnscape.tasks import RegressionTask, as_task

_MOST_PARAMETERS = 500  # for which the Hessian is taken


def check_model(thing: Any, task: Any = RegressionTask) -> list[Finding]:
    """Checks a model, in any form that `attnscape.models.as_model` takes, on prompts of a task."""
    task = as_task(task)
    key = jax.random.key(0)

    def make(dtype: str) -> tuple[Any, Prompts]:
        model = as_model(thing)(key)
        model = jax.tree.map(lambda a: a.astype(dtype) if eqx.is_inexact_array(a) else a, model)
        return model, task.sample(jax.random.key(1), 16, dtype)

    def deterministic() -> str:
        one, other = (make("float32") for _ in range(2))
        arrays = [eqx.filter(model, eqx.is_array) for model, _ in (one, other)]
        require(is_same(*arrays), "The same key gives different models.")
        predictions = [model(prompts) for model, prompts in (one, one, other)]
        require(
            all(is_same(each, predictions[0]) for each in predictions),
            "The same model gives different predictions for the same prompts.",
        )
        return "The same key gives the same model, and the same prompts the same predictions."

    def finite(dtype: str) -> str:
        with precision(dtype):
            model, prompts = make(dtype)
            require(all_finite(model(prompts)), "Some predictions are not finite.")
        return f"Predictions are finite, in {dtype}."

    def gradient() -> str:
        model, prompts = make("float32")
        _, found = objective.value_and_gradient(model, prompts)
        found = eqx.filter(found, eqx.is_inexact_array)
        require(all_finite(found), "The loss's gradient is not finite.")
        require(
            any(np.any(plain(a)) for a in jax.tree.leaves(found)),
            "The loss's gradient is zero: predictions do not depend on the parameters.",
        )
        return "The loss's gradient is finite and not zero."

    def vectorised() -> str:
        _, prompts = make("float32")
        factory = as_model(thing)
        keys = jax.random.split(key)
        static = eqx.partition(factory(key), eqx.is_inexact_array)[1]
        models = jax.vmap(lambda k: eqx.filter(factory(k), eqx.is_inexact_array))(keys)
        over_models, traces = counted(
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

    def symmetric() -> str:
        with precision("float64"):
            model, prompts = make("float64")
            leaves = jax.tree.leaves(eqx.filter(model, eqx.is_inexact_array))
            size = sum(leaf.size for leaf in leaves)
            if size > _MOST_PARAMETERS:
                return f"Not looked at: {size} parameters are more than {_MOST_PARAMETERS}."
            H = np.asarray(objective.hessian(model, prompts))
        require(np.isfinite(H).all(), "The Hessian is not finite.")
        require(
            np.abs(H - H.T).max() <= 1e-9 * np.abs(H).max(),
            "The Hessian is not symmetric: a custom derivative is not that of its function.",
        )
        return "The Hessian is symmetric."

    return findings(
        lambda dtype: usable_model(as_model(thing), task, None, 16, jnp.dtype(dtype)),
        {
            MAKES_MODEL: "A key gives a model, with parameters to train.",
            PREDICTIONS: "Predictions are one number a prompt, in both precisions.",
            GRADIENT: "The loss has a gradient, in both precisions.",
        },
        [
            ("deterministic", deterministic),
            *in_each_dtype("finite", finite),
            ("gradient's values", gradient),
            ("jit and vmap", vectorised),
            ("Hessian", symmetric),
        ],
    )
