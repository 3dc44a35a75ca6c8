"""Drawing alone: prompts a second of each path.

Run by itself, it reads an Effort and prints attnscape's seconds, both as JSON.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp

from attnscape.tasks import derived_key
from benchmarks.clock import in_turns, ratio, seconds_of, summary
from benchmarks.effort import SEEDS, TASKS, Effort

try:
    from benchmarks import eager_torch
except ImportError:
    eager_torch = None


def drawing(effort: Effort) -> list[dict]:
    """Seconds a prompt by the kernels and by PyTorch, in turns, and by XLA in its own process."""
    actions = {("attnscape", setting): _ours(setting, effort) for setting in effort.settings}
    if eager_torch:
        for setting in effort.settings:
            actions["torch", setting] = _theirs(setting, effort)
    seconds = in_turns(actions, effort.rounds)
    without_kernels = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "benchmarks.drawing"],
        input=json.dumps(dataclasses.asdict(effort)),
        env={**os.environ, "ATTNSCAPE_KERNELS": "off"},
        cwd=Path(__file__).parents[1],
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


def _ours(setting: int, effort: Effort):
    """Times the moments of one batch for each of six seeds, as training draws them."""
    keys = jax.random.split(jax.random.key(0), SEEDS)

    @jax.jit
    def repeat(times):
        def turn(step, total):
            drawn = jax.vmap(
                lambda key: TASKS[setting].sample_moments(derived_key(key, step), effort.batch)
            )(keys)
            # The sum keeps XLA from leaving out what nobody reads.
            return total + sum(jnp.sum(leaf) for leaf in jax.tree.leaves(drawn))

        return jax.lax.fori_loop(0, times, turn, 0.0)

    def seconds(times):
        return seconds_of(lambda: repeat(times).block_until_ready(), 0)

    seconds(1)
    times = max(1, round(8 * effort.seconds / seconds(8)))
    return lambda: seconds(times) / (times * SEEDS * effort.batch)


def _theirs(setting: int, effort: Effort):
    def draw():
        eager_torch.draw(setting, effort.batch)

    return lambda: seconds_of(draw, effort.seconds, effort.batch)


if __name__ == "__main__":
    effort = Effort(**json.load(sys.stdin))
    actions = {setting: _ours(setting, effort) for setting in effort.settings}
    print(json.dumps(in_turns(actions, min(3, effort.rounds))))
