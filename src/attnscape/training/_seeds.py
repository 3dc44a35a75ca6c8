"""Trains the runs of every seed from start to end, or from where they were left.

A seed is left between two updates. As the compiled loop makes the same bits for segments of any
length, a seed that goes on from there ends with the bits of one that was never stopped.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Sequence

import numpy as np
import xarray as xr
from jaxtyping import Int

from attnscape.measures import Measure
from attnscape.training._dataset import assemble, labelled
from attnscape.training._engine import Engine, States
from attnscape.training._layout import Layout, part_of
from attnscape.training._records import Records
from attnscape.training._threads import for_each_seed, one_blas_thread
from attnscape.training.checkpoints import Checkpoints, say_unused
from attnscape.training.status import Progress
from attnscape.trees import Plain

_LONGEST_WAIT = 1.0  # second; segments that take longer do not grow
_LONGEST_SEGMENT = 500  # steps before Python looks for Ctrl-C and shows progress


def run(
    engine: Engine,
    seeds: Sequence[int],
    steps: int,
    measures: Sequence[Measure],
    progress: Progress,
    memory: int,
    checkpoints: Checkpoints,
    labels: Plain,
) -> xr.Dataset:
    """Trains the runs of every seed and returns the Dataset of all measurements.

    Args:
        engine: The engine.
        seeds: The seeds.
        steps: Updates of each run.
        measures: The measures.
        progress: Called with (run-steps done, run-steps in all).
        memory: How many seeds the memory has room for at once.
        checkpoints: Where seeds are kept while the others are under way.
        labels: The labels of the Dataset (`attnscape.training._dataset.labelled`).
    """
    measures = tuple(dict.fromkeys(measures))
    rates_of = {group.name: group.learning_rates for group in engine.groups}
    layout = Layout.of(
        rates_of, seeds, steps, engine.evaluation_seeds, measures, engine.first_model
    )
    records = Records(layout)
    rates = sum(map(len, rates_of.values()))
    total = rates * steps * len(seeds)
    outline = {"layout": layout.plain(), "labels": labels}
    checkpoints.describe([part_of(seed) for seed in seeds], steps, outline)
    progress(0, total)
    # Also for one seed: LAPACK's last bits depend on the number of threads. Small matrices are
    # decomposed fastest on one, and calls from several of XLA's threads make those of BLAS spin.
    with one_blas_thread():
        for_each_seed(
            lambda seed, report: _run_seed(engine, seed, measures, records, checkpoints, report),
            seeds,
            engine.seeds_at_once(seeds, measures, memory),
            lambda done: progress(rates * done, total),
        )
    return labelled(assemble(records), labels)


@dataclasses.dataclass
class _UnderWay:
    """A seed between two updates.

    Attributes:
        step: The updates made; what was due before this step has been measured.
        segment: Steps before Python looks around; short at first, so that slow steps are noticed
            early.
        runs: The runs.
    """

    step: int
    segment: int
    runs: States


def _run_seed(
    engine: Engine,
    seed: int,
    measures: Sequence[Measure],
    records: Records,
    checkpoints: Checkpoints,
    progress: Callable[[int], None],
) -> None:
    part, stops = part_of(seed), records.layout.stops
    steps = int(stops[-1])
    now = _begin(engine, seed, records, checkpoints)
    if now is None:
        progress(steps)
        return
    if now.step:
        progress(now.step)

    def after_updates() -> None:
        progress(now.step)
        checkpoints.offer(part, now.step, functools.partial(_plain, engine, seed, now, records))

    ahead = None
    for stop in map(int, stops[np.searchsorted(stops, now.step) :]):
        while now.step < stop:
            last = min(stop, now.step + now.segment)
            began = time.perf_counter()
            now.runs = engine.advance(now.runs, now.step, last)
            if time.perf_counter() - began < _LONGEST_WAIT:
                now.segment = min(2 * now.segment, _LONGEST_SEGMENT)
            now.step = last
            after_updates()
        due = records.due(stop)
        ahead = None
        if any(measures[index].needs_update for index in due):
            ahead = engine.advance(now.runs, stop, stop + 1)
        for index in due:
            taken = engine.evaluate(measures[index], now.runs, stop, ahead)
            records.add(seed, index, stop, taken)
        if ahead is not None and stop < steps:  # do not repeat the step that was just made
            now.runs, now.step = ahead, stop + 1
            after_updates()
    records.diverge(seed, _diverged_at(engine, now.runs, ahead, steps))
    checkpoints.finish(part, steps, functools.partial(records.plain, seed))


def _begin(
    engine: Engine, seed: int, records: Records, checkpoints: Checkpoints
) -> _UnderWay | None:
    """The runs of a seed where they were left, or at the start; None if they are finished."""
    saved = checkpoints.read(part_of(seed))
    if saved is not None:
        try:
            records.read(seed, saved)
            if "runs" not in saved:
                return None
            runs = engine.restore(seed, saved["runs"])
            return _UnderWay(saved["step"], saved["segment"], runs)
        except (ValueError, KeyError, IndexError, TypeError) as error:
            say_unused(f"seed {seed}", error)
    return _UnderWay(0, 1, engine.start(seed))


def _plain(engine: Engine, seed: int, now: _UnderWay, records: Records) -> Plain:
    """The state of a seed under way, as `_begin` reads it."""
    diverged_at = [np.asarray(at) for of_stepper in now.runs for at in of_stepper.diverged_at]
    records.diverge(seed, _counted(engine, diverged_at))
    return {
        "step": now.step,
        "segment": now.segment,
        "runs": engine.save(now.runs),
        **records.plain(seed, now.step),
    }


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
    return _counted(engine, diverged_at)


def _counted(
    engine: Engine, diverged_at: Sequence[Int[np.ndarray, "1 _"]]
) -> list[Int[np.ndarray, "1 _"]]:
    """The steps counted from the start of this training."""
    return [np.where(at < 0, at, at - engine.first_step) for at in diverged_at]
