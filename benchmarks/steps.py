"""Training steps, fresh prompts included: attnscape's runs at once, eager PyTorch's one by one."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.agreement import require_agreement
from benchmarks.clock import Training, in_turns, ratio, seconds_of, summary
from benchmarks.effort import TASKS, Effort, grid, model, segment

try:
    import torch

    from benchmarks import eager_torch
except ImportError:
    torch = eager_torch = None


def training(effort: Effort) -> dict[str, Any]:
    """Seconds a step and the ratios to PyTorch, for each (setting, layers, runs)."""
    cases = effort.training
    threads, loops = _eager_loops(sorted({case[:2] for case in cases}), effort)
    ours = {case: timed_training(effort, *case).seconds_per_step for case in cases}
    seconds = in_turns({**ours, **loops}, effort.rounds)
    rows = []
    for setting, layers, runs in cases:
        mine = seconds[setting, layers, runs]
        row = {"setting": setting, "layers": layers, "runs": runs, "step": summary(mine)}
        for form in eager_torch.FORMS if eager_torch else ():
            # One run is trained by Adam, more by both optimizers in equal parts.
            names = ("adam",) if runs == 1 else ("sgdm", "adam")
            loop = np.mean([seconds[setting, layers, form, name] for name in names], axis=0)
            row[form] = {"run_step": summary(loop), "ratio": ratio(loop, mine, runs)}
        if (1, layers, runs) in seconds:
            row["speed_of_setting_1"] = ratio(seconds[1, layers, runs], mine)
        rows.append(row)
    return {"torch_threads": threads, "rows": rows}


def timed_training(
    effort: Effort, setting: int, layers: int, runs: int, batch: int | None = None
) -> Training:
    """A training that is timed in segments of about `effort.seconds`."""
    batch = batch or effort.batch
    return Training(
        segment(effort.seconds, runs, layers, batch),
        task=TASKS[setting],
        model=model(layers),
        batch=batch,
        **grid(runs),
    )


def _eager_loops(cases, effort: Effort):
    """How PyTorch's threads were chosen, and a timed loop of each case, form and optimizer."""
    if not eager_torch:
        return None, {}

    for setting, layers in cases:
        for form, predict in eager_torch.FORMS.items():
            require_agreement(form, predict, model(layers), TASKS[setting])

    def loop(setting, layers, form, name):
        step = eager_torch.training_step(
            eager_torch.FORMS[form],
            eager_torch.matrices(layers, size=5, scale=0.05),
            name,
            lambda: eager_torch.draw(setting, effort.batch),
        )
        step()
        return lambda: seconds_of(step, effort.seconds / 2)

    loops = {
        (*case, form, name): loop(*case, form, name)
        for case in cases
        for form in eager_torch.FORMS
        for name in ("sgdm", "adam")
    }
    tried = eager_torch.try_threads(next(iter(loops.values())))
    torch.set_num_threads(eager_torch.fastest(tried))
    return {"used": eager_torch.fastest(tried), "run_step": tried}, loops
