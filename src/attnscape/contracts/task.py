"""The contract of a task: prompts from a key, and their moments."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from attnscape.contracts._finding import (
    Finding,
    all_finite,
    findings,
    in_each_dtype,
    is_same,
    precision,
    require,
)
from attnscape.contracts._tracing import plain
from attnscape.contracts._usable import IS_TASK, MOMENTS, PROMPTS, usable_task
from attnscape.tasks import as_task


def check_task(thing: Any) -> list[Finding]:
    """Checks a task, or a function without arguments that makes one."""
    key, batch = jax.random.key(0), 16

    def finite(dtype: str) -> str:
        with precision(dtype):
            drawn = as_task(thing).sample(key, batch, dtype)
            require(all_finite(drawn), "Some prompts are not finite.")
        return f"Prompts are finite, in {dtype}."

    def deterministic() -> str:
        task = as_task(thing)
        first, second = (task.sample(key, batch, "float32") for _ in range(2))
        require(is_same(first, second), "The same key gives different prompts.")
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

    def vectorised() -> str:
        task = as_task(thing)
        keys = jax.random.split(key)
        together = jax.jit(jax.vmap(lambda k: task.sample(k, batch, "float32")))(keys)
        apart = [task.sample(k, batch, "float32") for k in keys]
        expected = jax.tree.map(lambda *a: jnp.stack(a), *apart)
        require(
            _close(together, expected, "float32"),
            "Under jit and vmap over keys the prompts are others than one by one.",
        )
        return "jit and vmap over keys draw the prompts that keys give singly."

    return findings(
        lambda dtype: usable_task(thing, batch, jnp.dtype(dtype)),
        {
            IS_TASK: "It has dim, context, sample and sample_moments.",
            PROMPTS: "Prompts have the shapes that dim and context ask for, in both precisions.",
            MOMENTS: "Moments have the shapes that dim asks for, in both precisions.",
        },
        [
            *in_each_dtype("finite", finite),
            ("deterministic", deterministic),
            *in_each_dtype("moments' values", agree),
            ("jit and vmap", vectorised),
        ],
    )


def _close(one: Any, other: Any, dtype: str) -> bool:
    """Equal to rounding, relative to the largest entry of each array."""
    tolerance = {"float32": 1e-4, "float64": 1e-5}[dtype]  # laws may be drawn in float32
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(
        np.abs(plain(a) - plain(b)).max() <= tolerance * np.abs(plain(b)).max() for a, b in pairs
    )
