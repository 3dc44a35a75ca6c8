"""The engine: many runs of one task and model, on shared prompts.

All runs of a seed start at the same parameters and see the same prompts, whatever their optimizer
and learning rate; prompts are drawn once per (seed, step). Between two measurements the training
step repeats inside one compiled loop, vectorised over (optimizer, learning rate) pairs. One program
takes one seed after the other: a seed's bits are the same whatever seeds it is run with.
"""

from __future__ import annotations

import contextlib
import enum
import functools
import numbers
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array

from attnscape import sizes
from attnscape.contracts import telling_callbacks, usable
from attnscape.drawing import Draw
from attnscape.errors import UsageError
from attnscape.identity import check_draws
from attnscape.measures import EvaluationLoss, Measure, TrainingLoss, check_measures
from attnscape.measuring import Measuring, astype
from attnscape.optimizers import NAMED, check_learning_rate
from attnscape.provenance import provenance
from attnscape.stepping import Group, Inside, OutsideJax, Problem, Runs, Stepping
from attnscape.tasks import Task
from attnscape.transformations import Factory, Outside

Precision = Literal["float32", "float64"]
_LONGEST_WAIT = 1.0  # second; segments that take longer do not grow
_LONGEST_SEGMENT = 500  # steps before Python looks for Ctrl-C and shows progress
_EVALUATION_STREAM = 1  # apart from the streams of seeds, which are split from their keys


class Status(enum.IntEnum):
    """How a run ended; the Dataset's `status` holds these numbers."""

    finished = 0
    diverged = 1
    not_run = 2


@runtime_checkable
class Progress(Protocol):
    """What is told about the work's progress."""

    def __call__(self, done: int, total: int) -> None:
        """`done` of `total` run-steps are done."""
        ...


def silent(done: int, total: int) -> None:
    """Says nothing."""


@telling_callbacks()
def train(
    task: Task,
    model: Callable[[Array], Callable],
    optimizers: Mapping[str, Factory] | Sequence[str],
    learning_rates: Mapping[str, Sequence[float] | float] | Sequence[float] | float,
    seeds: Sequence[int],
    *,
    steps: int,
    batch: int = 1000,
    clip: float | None = 1.0,
    measures: Sequence[Measure] = (EvaluationLoss(), TrainingLoss()),
    evaluation_batch: int = 1000,
    evaluation_seeds: int | Sequence[int] = 0,
    precision: Precision = "float32",
    progress: Progress = silent,
) -> xr.Dataset:
    """Trains every (optimizer, learning rate, seed) and measures along the way.

    Args:
        task: Where prompts come from.
        model: Makes the initial model of a seed from a key, for example
            `functools.partial(LinearTransformer.init, layers=3, dim=5)`.
        optimizers: For each name, a function from a learning rate to an optax transformation, whose
            `update` gets the keywords of `attnscape.transformations.update_keywords`; or an
            `attnscape.transformations.Outside`. Or names of `attnscape.optimizers.NAMED`.
        learning_rates: The rates (or the one) of all optimizers, or of each by name.
        seeds: A seed fixes the initial model and the prompts of every step. Its numbers are the
            same bits whatever the other seeds are. The company of other optimizers and learning
            rates leaves its prompts alone but can change the last bits of its runs, as all are
            compiled into one program.
        steps: Updates of each run.
        batch: Fresh prompts of each update.
        clip: Global norm that gradients are clipped to before the optimizer; None for no clipping.
        measures: What to record, each on its own schedule.
        evaluation_batch: Prompts of the fixed batch that all runs are evaluated on.
        evaluation_seeds: Which fixed batch; or several of them, for the dim `evaluation`.
        precision: Of parameters, losses and moments.
        progress: Called with (run-steps done, run-steps in all) as the work goes on.

    Returns:
        A Dataset with dims (optimizer, learning_rate, seed, step) that holds what the measures
        name, `status` (a `Status`) and `diverged_at` (the step at which loss or parameters stopped
        being finite; -1 where they never did), and as attributes the arguments that are numbers,
        the versions, and what `attnscape.load` wants to see of a file. What is taken on the fixed
        batches has the dim `evaluation` after step where `evaluation_seeds` is a sequence, labelled
        by these seeds.
        NaN means not measured, or after divergence. Several measures of one class may fill the same
        variables, on schedules and numbers of evaluation batches of their own.

    Raises:
        UsageError: If an argument is out of range, with a sentence that says what is allowed.
    """
    if precision not in ("float32", "float64"):
        raise UsageError(f"precision is {precision!r}; it must be float32 or float64.")
    groups = _groups(optimizers, learning_rates, precision)
    names = [group.name for group in groups]
    _check_counts(steps=steps, batch=batch, evaluation_batch=evaluation_batch)
    if not isinstance(seeds, Sequence | np.ndarray):
        raise UsageError(f"seeds is {seeds!r}; give a sequence of seeds, for example range(3).")
    one_batch = isinstance(evaluation_seeds, int | np.integer)
    if not (one_batch or isinstance(evaluation_seeds, Sequence | np.ndarray)):
        raise UsageError(
            f"evaluation_seeds is {evaluation_seeds!r}; give a seed, or a sequence of seeds."
        )
    batches = (int(evaluation_seeds),) if one_batch else tuple(evaluation_seeds)
    _check_seeds("evaluation_seeds", batches)
    measures = tuple(measures)
    check_measures(measures, len(batches))
    sizes.estimate(
        task, model, runs=sum(len(group.learning_rates) for group in groups), seeds=seeds,
        steps=steps, batch=batch, evaluation_batch=evaluation_batch, evaluations=len(batches),
        measures=measures, precision=precision,
    ).check()  # fmt: skip
    seeds = tuple(seeds)
    _check_seeds("seeds", seeds)
    if clip is not None:
        if not clip > 0:
            raise UsageError(f"clip is {clip}; it must be positive, or None for no clipping.")
        _check_representable("clip", clip, precision)
    with jax.enable_x64(True) if precision == "float64" else contextlib.nullcontext():
        groups = usable(task, model, groups, clip=clip, batch=batch, dtype=precision)
        engine = _Engine(task, model, groups, clip, batch, precision, seeds)
        engine.evaluate_on(batches, evaluation_batch)
        dataset = _run(engine, steps, measures, progress).sel(optimizer=names)
    dataset = dataset.assign_attrs(
        steps=int(steps),
        batch=int(batch),
        clip="none" if clip is None else float(clip),
        precision=precision,
        evaluation_batch=int(evaluation_batch),
        evaluation_seeds=list(batches),
        **provenance(),
    )
    return dataset.squeeze("evaluation", drop=True) if one_batch else dataset


def _groups(
    optimizers: Mapping[str, Factory] | Sequence[str],
    learning_rates: Mapping[str, Sequence[float] | float] | Sequence[float] | float,
    precision: Precision,
) -> tuple[Group, ...]:
    if not optimizers:
        raise UsageError("No optimizer was given; name at least one.")
    optimizers = _by_name(optimizers)
    rates_of = (
        learning_rates
        if isinstance(learning_rates, Mapping)
        else dict.fromkeys(optimizers, learning_rates)
    )
    if set(rates_of) != set(optimizers):
        raise UsageError(
            f"Learning rates were given for {sorted(rates_of)}, optimizers are "
            f"{sorted(optimizers)}: give rates for each of them and no other."
        )
    groups = []
    for name, factory in optimizers.items():
        of_name = rates_of[name]
        each = np.atleast_1d(np.asarray(of_name, float)).tolist()
        rates = tuple(dict.fromkeys(check_learning_rate(rate) for rate in each))
        if not rates:
            raise UsageError(f"No learning rate was given for {name}; give at least one.")
        for rate in rates:
            _check_representable("The learning rate", rate, precision)
        groups.append(Group(name, factory, rates))
    return tuple(groups)


def _by_name(optimizers: Mapping[str, Factory] | Sequence[str]) -> Mapping[str, Factory]:
    if isinstance(optimizers, Mapping):
        return optimizers
    names = [optimizers] if isinstance(optimizers, str) else list(optimizers)
    unknown = [name for name in names if not isinstance(name, str) or name not in NAMED]
    if unknown:
        raise UsageError(
            f"{unknown[0]!r} is no name of an optimizer; give a dict from names to functions of a "
            f"learning rate, or some of {', '.join(NAMED)}."
        )
    return {name: NAMED[name] for name in names}


def _check_representable(what: str, number: float, precision: Precision) -> None:
    """What is smaller than the precision's normal numbers is zero in what is compiled."""
    limits = np.finfo(precision)
    if not limits.tiny <= number <= limits.max:
        raise UsageError(
            f"{what} {number:g} is beyond {precision}, which holds {limits.tiny:.2g} to "
            f"{limits.max:.2g}; give a number in between."
        )


def _check_counts(**counts: int) -> None:
    for name, count in counts.items():
        least = 0 if name == "steps" else 1
        if not isinstance(count, numbers.Integral) or count < least:
            raise UsageError(f"{name} is {count}; it must be a whole number of at least {least}.")


def _check_seeds(name: str, seeds: Sequence[int]) -> None:
    if not seeds or len(set(seeds)) != len(seeds):
        raise UsageError(f"{name} are {list(seeds)}; give at least one, and none twice.")
    for seed in seeds:
        if not isinstance(seed, numbers.Integral) or not 0 <= seed < 2**32:
            raise UsageError(f"The seed {seed} is not usable; give whole numbers from 0 to 2^32-1.")


# Of each kind of stepping, its runs.
_States = tuple[Runs, ...]


class _Engine:
    """The runs of one seed at a time, and the measurements of them.

    One program takes one seed after the other, so that a seed's numbers do not depend on its
    company: a program for several would be compiled for their number.
    """

    def __init__(self, task, model, groups, clip, batch, precision, seeds):
        self.seeds = tuple(seeds)
        self._batch, dtype = batch, jnp.dtype(precision)
        self._parameters = jax.vmap(
            lambda key: eqx.filter(astype(dtype, model(key)), eqx.is_inexact_array)
        )
        # What is no parameter is that of one key for all seeds: the one that identities are of.
        first = self.first_model = astype(dtype, model(jax.random.key(0)))
        first_parameters, self._static = eqx.partition(first, eqx.is_inexact_array)
        self._draw = Draw.what(first, task, dtype)
        check_draws(self._draw, batch)
        training_data = functools.partial(self._draw.training_data, batch=batch)
        problem = Problem(first_parameters, self._static, training_data, clip, dtype)
        self._steppings = _steppings(problem, groups)
        self.groups = tuple(group for stepping in self._steppings for group in stepping.groups)

    def evaluate_on(self, seeds: Sequence[int], batch: int) -> None:
        """Sets the fixed batches that runs are evaluated on; apart from every training batch."""
        draw = jax.jit(lambda key: self._draw(key, batch))
        self.evaluation_seeds = tuple(seeds)
        evaluations = [
            draw(jax.random.fold_in(jax.random.key(seed), _EVALUATION_STREAM)) for seed in seeds
        ]
        self._measuring = Measuring(self._static, self._draw, self._batch, evaluations)

    def start(self, seed: int) -> _States:
        """The runs of a seed at step 0."""
        init_keys, data_keys = _keys(seed)
        initial_models = self._parameters(init_keys)
        return tuple(stepping.start(initial_models, data_keys) for stepping in self._steppings)

    def advance(self, runs: _States, first: int, last: int) -> _States:
        """Updates number first, ..., last - 1."""
        return tuple(
            stepping.advance(own, first, last)
            for stepping, own in zip(self._steppings, runs, strict=True)
        )

    def _evaluated(self, runs: _States) -> list[Any]:
        """Of each optimizer, the models that measures look at."""
        return [
            model
            for stepping, own in zip(self._steppings, runs, strict=True)
            for model in stepping.evaluated(own)
        ]

    def take(
        self, measure: Measure, runs: _States, step: int, ahead: _States | None
    ) -> list[dict[str, np.ndarray]]:
        """`measure` of the runs, which are at `step`: one dict an optimizer.

        `ahead` are the runs one step later, where the measure needs them.
        """
        states = [state for own in runs for state in own.states]
        models_ahead = self._evaluated(ahead) if ahead and measure.needs_update else None
        preconditioners = None
        if measure.needs_preconditioner:
            preconditioners = [
                preconditioner
                for stepping, own in zip(self._steppings, runs, strict=True)
                for preconditioner in stepping.preconditioners(own)
            ]
        return self._measuring.take(
            measure,
            step,
            runs[0].data_keys,
            self._evaluated(runs),
            states,
            models_ahead,
            preconditioners,
        )


def _keys(seed: int) -> tuple[Array, Array]:
    """The keys of a seed's initial model and of its prompts, each with the axis (seed,)."""
    init, data = jax.random.split(jax.random.key(seed))
    return init[None], data[None]


def _steppings(problem: Problem, groups: Sequence[Group]) -> list[Stepping]:
    """The optimizers of JAX, then those outside of it; either may be missing."""
    inside = [group for group in groups if not isinstance(group.factory, Outside)]
    outside = [group for group in groups if isinstance(group.factory, Outside)]
    steppings: list[Stepping] = [Inside(problem, inside)] if inside else []
    return [*steppings, OutsideJax(problem, outside)] if outside else steppings


# What was taken of a seed's runs: of each measure, at each of its steps, one dict an optimizer.
_Records = dict[Measure, list[list[dict[str, np.ndarray]]]]


def _run(engine: _Engine, steps: int, measures: tuple[Measure, ...], progress) -> xr.Dataset:
    due = {measure: measure.schedule.within(steps) for measure in measures}
    stops = sorted({step for scheduled in due.values() for step in scheduled} | {steps})
    rates = sum(len(group.learning_rates) for group in engine.groups)
    total = rates * steps * len(engine.seeds)
    progress(0, total)
    diverged, records = [], []
    for index, seed in enumerate(engine.seeds):
        done = rates * steps * index
        of_seed = _run_seed(
            engine, seed, due, stops, lambda step, done=done: progress(done + rates * step, total)
        )
        diverged.append(of_seed[0])
        records.append(of_seed[1])
    of_runs = [np.concatenate(of_seeds) for of_seeds in zip(*diverged, strict=True)]
    return _dataset(engine, of_runs, stops, due, records)


def _run_seed(
    engine: _Engine,
    seed: int,
    due: Mapping[Measure, Sequence[int]],
    stops: Sequence[int],
    progress: Callable[[int], None],
) -> tuple[list[np.ndarray], _Records]:
    """Of each optimizer where its runs diverged (or -1), and what was taken of them."""
    records: _Records = {measure: [] for measure in due}
    steps, step, runs, ahead = stops[-1], 0, engine.start(seed), None
    segment = 1  # where a step is dear, the first ones already say how dear
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
            records[measure].append(engine.take(measure, runs, step, ahead))
        if ahead is not None and step < steps:  # the step that was looked at is not made twice
            runs, step = ahead, step + 1
            progress(step)
    # Whether the last iterate's loss is finite shows in the step that would follow.
    before = [at for own in runs for at in own.diverged_at]
    last = [at for own in ahead or engine.advance(runs, steps, steps + 1) for at in own.diverged_at]
    diverged_at = [
        np.where(np.asarray(later) > steps, at, later)
        for at, later in zip(before, last, strict=True)
    ]
    return diverged_at, records


def _dataset(engine: _Engine, of_runs, stops, due, records: list[_Records]) -> xr.Dataset:
    rates = sorted({rate for group in engine.groups for rate in group.learning_rates})
    names = [group.name for group in engine.groups]
    dims = ("optimizer", "learning_rate", "seed")
    shape = (len(names), len(rates), len(engine.seeds))

    def place(of_optimizers, fill, dtype, trailing=()):
        """Arrays (seed, rate, ...) of each optimizer, put where they belong."""
        result = np.full(shape + trailing, fill, dtype)
        for index, (group, values) in enumerate(zip(engine.groups, of_optimizers, strict=True)):
            columns = [rates.index(rate) for rate in group.learning_rates]
            result[index, columns] = np.moveaxis(np.asarray(values), 1, 0)
        return result

    diverged_at = place(of_runs, -1, np.int32)
    was_run = place([np.ones(d.shape, bool) for d in of_runs], False, bool)
    lost = (diverged_at >= 0)[..., None] & (np.array(stops) >= diverged_at[..., None])
    status = np.where(was_run, Status.finished, Status.not_run)
    status = np.where(diverged_at >= 0, Status.diverged, status).astype(np.int8)
    variables: dict[str, Any] = {
        "status": (dims, status, {"flags": ", ".join(f"{s.value} {s.name}" for s in Status)}),
        "diverged_at": (dims, diverged_at, {"long_name": "step at which the run diverged"}),
    }
    labels: dict[str, Sequence[Any]] = {"evaluation": engine.evaluation_seeds}
    # Of measures that fill the same variable, the one that looks at more batches comes last.
    for measure in sorted(due, key=lambda m: m.evaluations or len(engine.evaluation_seeds)):
        rows = np.searchsorted(stops, due[measure])
        if not rows.size:
            continue
        labels.update(measure.coordinates(engine.first_model))
        for name, variable in measure.variables().items():
            # Of each optimizer: (seed, rate, step, ...).
            of_optimizers = [
                np.concatenate(
                    [
                        np.stack([record[index][name] for record in of_seed[measure]], axis=2)
                        for of_seed in records
                    ]
                )
                for index in range(len(names))
            ]
            sizes, dtype = of_optimizers[0].shape[3:], of_optimizers[0].dtype
            placed = place(of_optimizers, np.nan, dtype, (len(rows), *sizes))
            if variable.on_evaluation:
                lacking = len(engine.evaluation_seeds) - sizes[0]
                widths = [(0, 0)] * 4 + [(0, lacking)] + [(0, 0)] * len(sizes[1:])
                placed = np.pad(placed, widths, constant_values=np.nan)
            if name not in variables:
                evaluation = ("evaluation",) if variable.on_evaluation else ()
                variables[name] = (
                    (*dims, "step", *evaluation, *variable.dims),
                    np.full((*shape, len(stops), *placed.shape[4:]), np.nan, dtype),
                    {"long_name": variable.long_name},
                )
            variables[name][1][:, :, :, rows] = placed
            variables[name][1][lost] = np.nan
    return xr.Dataset(
        variables,
        coords={
            "optimizer": names,
            "learning_rate": ("learning_rate", rates, {"long_name": "learning rate"}),
            "seed": list(engine.seeds),
            "step": ("step", stops, {"long_name": "updates done"}),
            **{name: list(values) for name, values in labels.items()},
        },
    )
