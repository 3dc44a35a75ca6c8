"""How cost grows: a gradient with n (not at all), a training step with L, batch and runs."""

from __future__ import annotations

from attnscape import RegressionTask
from benchmarks.clock import in_turns, summary
from benchmarks.effort import Effort, model
from benchmarks.kernels import gradient_timer
from benchmarks.steps import timed_training

RUNS = 12  # where their number is not what varies


def scaling(effort: Effort) -> list[dict]:
    """Seconds of a gradient of one run, or of a step of all, and what varies."""

    def gradient(context):
        task = RegressionTask(context=context)
        a_prompt = gradient_timer(task, model(3), "float32", effort.seconds, effort.batch)
        return lambda: effort.batch * a_prompt()

    gradients = {("gradient", "context", context): gradient(context) for context in effort.contexts}

    def step(layers=3, runs=RUNS, **batch):
        return timed_training(effort, 1, layers, runs, **batch).seconds_per_step

    steps = {("step", "layers", layers): step(layers=layers) for layers in effort.depths}
    steps |= {("step", "batch", batch): step(batch=batch) for batch in effort.batches}
    steps |= {("step", "runs", runs): step(runs=runs) for runs in effort.widths}
    seconds = in_turns({**gradients, **steps}, effort.rounds)
    return [
        {"cost": cost, "of": of, "value": value, "seconds": summary(times)}
        for (cost, of, value), times in seconds.items()
    ]
