"""Drawing alone: prompts a second of each path. Run by itself, it prints attnscape's as JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp

from attnscape.tasks import derived_key
from benchmarks.clock import in_turns, ratio, seconds_of, summary
from benchmarks.effort import BATCH, FULL, SEEDS, TASKS, Effort

try:
    from benchmarks import eager_torch
except ImportError:
    eager_torch = None


def drawing(effort: Effort, batch: int = BATCH) -> list[dict]:
    """Seconds a prompt by the kernels and by PyTorch, in turns, and by XLA in its own process."""
    actions = {("attnscape", setting): _ours(setting, effort, batch) for setting in effort.settings}
    if eager_torch:
        for setting in effort.settings:
            actions["torch", setting] = _theirs(setting, effort, batch)
    seconds = in_turns(actions, effort.rounds)
    without_kernels = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "benchmarks.drawing", str(effort.seconds)],
        env={**os.environ, "ATTNSCAPE_KERNELS": "off"},
        capture_output=True,
        text=True,
        check=True,
    )
    by_xla = json.loads(without_kernels.stdout)
    rows = []
    for setting in effort.settings:
        mine = seconds["attnscape", setting]
        row = {
            "setting": setting,
            "attnscape": summary(mine),
            "xla": summary(by_xla[str(setting)]),
        }
        if eager_torch:
            row["torch"] = summary(seconds["torch", setting])
            row["ratio"] = ratio(seconds["torch", setting], mine)
        rows.append(row)
    return rows


def _ours(setting: int, effort: Effort, batch: int):
    """Times the moments of one batch for each of six seeds, as training draws them."""
    keys = jax.random.split(jax.random.key(0), SEEDS)

    @jax.jit
    def repeat(times):
        def turn(step, total):
            drawn = jax.vmap(
                lambda key: TASKS[setting].sample_moments(derived_key(key, step), batch)
            )(keys)
            # The sum keeps XLA from leaving out what nobody reads.
            return total + sum(jnp.sum(leaf) for leaf in jax.tree.leaves(drawn))

        return jax.lax.fori_loop(0, times, turn, 0.0)

    def seconds(times):
        return seconds_of(lambda: repeat(times).block_until_ready(), 0)

    seconds(1)
    times = max(1, round(8 * effort.seconds / seconds(8)))
    return lambda: seconds(times) / (times * SEEDS * batch)


def _theirs(setting: int, effort: Effort, batch: int):
    return lambda: seconds_of(lambda: eager_torch.draw(setting, batch), effort.seconds) / batch


if __name__ == "__main__":
    import dataclasses

    effort = dataclasses.replace(FULL, seconds=float(sys.argv[1]))
    actions = {setting: _ours(setting, effort, BATCH) for setting in TASKS}
    print(json.dumps(in_turns(actions, 3)))
