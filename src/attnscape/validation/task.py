"""The contract of a task: it draws prompts and their moments from a key."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from attnscape.tasks import FixedPrompts, IntegratedPrompts, as_task, innermost
from attnscape.validation._quick_task import IS_TASK, MOMENTS, PROMPTS, require_task
from attnscape.validation._result import (
    CheckResult,
    all_finite,
    in_each_dtype,
    is_same,
    precision,
    require,
    run_checks,
)
from attnscape.validation._tracing import plain

_BATCH = 16


def check_task(thing: Any) -> list[CheckResult]:
    """Checks a task, or a function without arguments that makes one.

    Examples:
        >>> from attnscape import RegressionTask
        >>> from attnscape.validation import check_task
        >>> results = check_task(RegressionTask(dim=2, context=5))
        >>> all(result.ok for result in results)
        True
        >>> results[0].sentence
        'It has dim, context, sample and sample_moments.'
    """
    key, batch = jax.random.key(0), _batch_for(thing)

    def finite(dtype: str) -> str:
        with precision(dtype):
            drawn = as_task(thing).sample(key, batch, dtype)
            require(all_finite(drawn), "Some prompts are not finite.")
        return f"Prompts are finite, in {dtype}."

    def deterministic() -> str:
        task = as_task(thing)
        first, second = (task.sample(key, batch, "float32") for _ in range(2))
        require(is_same(first, second), "The same key gives different prompts.")
        if isinstance(innermost(task), FixedPrompts):
            return "The same key gives the same prompts; they are drawn once."
        other = task.sample(jax.random.key(1), batch, "float32")
        require(not is_same(first, other), "Different keys give the same prompts.")
        return "The same key gives the same prompts, another key others."

    def agree(dtype: str) -> str:
        with precision(dtype):
            task = as_task(thing)
            moments = task.sample_moments(key, batch, dtype)
            expected = task.sample(key, batch, dtype).moments()
            require(_close(moments, expected, dtype), "Moments are not those of the prompts.")
        return f"sample_moments gives the moments of what sample draws, in {dtype}."

    return run_checks(
        lambda dtype: require_task(thing, batch, jnp.dtype(dtype)),
        {
            IS_TASK: "It has dim, context, sample and sample_moments.",
            PROMPTS: "Prompts have the shapes that dim and context ask for, in both precisions.",
            MOMENTS: "Moments have the shapes that dim asks for, in both precisions.",
        },
        [
            *in_each_dtype("finite", finite),
            ("deterministic", deterministic),
            *in_each_dtype("moments' values", agree),
            ("jit and vmap", lambda: _vectorised(thing, batch)),
        ],
    )


def _vectorised(thing: Any, batch: int) -> str:
    """Checks that jit and vmap over keys change no prompt."""
    task = as_task(thing)
    keys = jax.random.split(jax.random.key(0))
    together = jax.jit(jax.vmap(lambda k: task.sample(k, batch, "float32")))(keys)
    apart = [task.sample(k, batch, "float32") for k in keys]
    expected = jax.tree.map(lambda *a: jnp.stack(a), *apart)
    require(
        _close(together, expected, "float32"),
        "Under jit and vmap over keys the prompts are others than one by one.",
    )
    return "jit and vmap over keys draw the prompts that keys give singly."


def _batch_for(thing: Any) -> int:
    """16 prompts, or those of 16 contexts if query and weights are integrated out."""
    try:
        task = innermost(as_task(thing))
    except Exception:  # the first check says what is wrong
        return _BATCH
    return _BATCH * task.dim**2 if isinstance(task, IntegratedPrompts) else _BATCH


def _close(one: Any, other: Any, dtype: str) -> bool:
    """Whether two trees are equal to rounding, relative to the largest entry of each array."""
    # Distributions may draw in float32.
    tolerance = {"float32": 1e-4, "float64": 1e-5}[dtype]
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(
        np.abs(plain(a) - plain(b)).max() <= tolerance * np.abs(plain(b)).max() for a, b in pairs
    )
