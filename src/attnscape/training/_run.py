"""Runs the engine from the first step to the last, and measures along the way."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import xarray as xr
from jaxtyping import Int, Shaped

from attnscape.measures import Measure
from attnscape.training._dataset import Grid, SeedRecord, assemble
from attnscape.training._engine import Engine, States
from attnscape.training._threads import for_each_seed, one_blas_thread
from attnscape.training.status import Progress

_LONGEST_WAIT = 1.0  # second; segments that take longer do not grow
_LONGEST_SEGMENT = 500  # steps before Python looks for Ctrl-C and shows progress


def run(
    engine: Engine,
    seeds: Sequence[int],
    steps: int,
    measures: Sequence[Measure],
    progress: Progress,
    memory: int,
) -> xr.Dataset:
    """Trains the runs of every seed and returns the Dataset of all measurements.

    Args:
        engine: The engine.
        seeds: The seeds.
        steps: Updates of each run.
        measures: The measures.
        progress: Called with (run-steps done, run-steps in all).
        memory: How many seeds the memory has room for at once.
    """
    due = {measure: measure.schedule.within(steps) for measure in measures}
    stops = sorted({step for scheduled in due.values() for step in scheduled} | {steps})
    rates = sum(len(group.learning_rates) for group in engine.groups)
    total = rates * steps * len(seeds)
    progress(0, total)
    # Also for one seed: calls at once from several of XLA's threads make those of BLAS spin.
    with one_blas_thread() if engine.decomposes(seeds[0]) else contextlib.nullcontext():
        records = for_each_seed(
            lambda seed, report: _run_seed(engine, seed, due, stops, report),
            seeds,
            engine.seeds_at_once(seeds, measures, memory),
            lambda done: progress(rates * done, total),
        )
    grid = Grid(engine.groups, seeds)
    return assemble(grid, records, stops, due, engine.evaluation_seeds, engine.first_model)


def _run_seed(
    engine: Engine,
    seed: int,
    due: Mapping[Measure, Sequence[int]],
    stops: Sequence[int],
    progress: Callable[[int], None],
) -> SeedRecord:
    values: dict[Measure, list[list[dict[str, Shaped[np.ndarray, "1 _ ..."]]]]] = {
        measure: [] for measure in due
    }
    steps, step, runs, ahead = stops[-1], 0, engine.start(seed), None
    segment = 1  # short at first, so that slow steps are noticed early
    for stop in stops:
        while step < stop:
            last = min(stop, step + segment)
            began = time.perf_counter()
            runs = engine.advance(runs, step, last)
            if time.perf_counter() - began < _LONGEST_WAIT:
                segment = min(2 * segment, _LONGEST_SEGMENT)
            step = last
            progress(step)
        now = [measure for measure in due if step in due[measure]]
        ahead = None
        if any(measure.needs_update for measure in now):
            ahead = engine.advance(runs, step, step + 1)
        for measure in now:
            values[measure].append(engine.evaluate(measure, runs, step, ahead))
        if ahead is not None and step < steps:  # do not repeat the step that was just made
            runs, step = ahead, step + 1
            progress(step)
    return SeedRecord(_diverged_at(engine, runs, ahead, steps), values)


def _diverged_at(
    engine: Engine, runs: States, ahead: States | None, steps: int
) -> list[Int[np.ndarray, "1 _"]]:
    """For each optimizer, the steps up to `steps` at which its runs diverged, or -1.

    The loss of the last iterate is computed only in the following step, so that step is made too.
    """
    following = ahead or engine.advance(runs, steps, steps + 1)
    diverged_at = [
        np.where(np.asarray(later) > engine.first_step + steps, at, later)
        for before, after in zip(runs, following, strict=True)
        for at, later in zip(before.diverged_at, after.diverged_at, strict=True)
    ]
    return [np.where(at < 0, at, at - engine.first_step) for at in diverged_at]
