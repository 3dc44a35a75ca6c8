"""The public function `train`: trains each (optimizer, learning rate, seed) on shared prompts."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np
import xarray as xr
from jaxtyping import Array, Float, PyTree

from attnscape import native
from attnscape.errors import UsageError
from attnscape.identity import is_built_in
from attnscape.measures import EvaluationLoss, Measure, TrainingLoss, check_measures
from attnscape.optimizers import NAMED, Factory, bound, check_learning_rate
from attnscape.steppers import Group
from attnscape.tasks import FixedPrompts, Task, innermost
from attnscape.training import sizes
from attnscape.training._arguments import (
    Precision,
    batches_of,
    check_clip,
    check_counts,
    check_precision,
    check_representable,
    check_seeds,
    check_sequence,
    evaluation_batches,
    is_sequence,
)
from attnscape.training._dataset import over_batches
from attnscape.training._engine import Engine
from attnscape.training._seeds import run
from attnscape.training._start import Start
from attnscape.training.checkpoints import Checkpoints, NoCheckpoints
from attnscape.training.provenance import provenance
from attnscape.training.status import Progress, silent
from attnscape.validation import callback_errors, check_parts


@callback_errors()
def train(
    task: Task,
    model: Callable[[Array], Callable[..., PyTree]],
    optimizers: Mapping[str, Factory] | Sequence[str],
    learning_rates: Mapping[str, Sequence[float] | float] | Sequence[float] | float,
    seeds: Sequence[int],
    *,
    steps: int,
    batch: int | Sequence[int] = 1000,
    clip: float | None = 1.0,
    measures: Sequence[Measure] = (EvaluationLoss(), TrainingLoss()),
    evaluation_batch: int = 1000,
    evaluation_seeds: int | Sequence[int] = 0,
    precision: Precision = "float32",
    start: Start | xr.DataArray | Float[np.ndarray, " parameter"] | None = None,
    progress: Progress = silent,
    checkpoints: Checkpoints | None = None,
) -> xr.Dataset:
    """Trains every (optimizer, learning rate, seed) and measures along the way.

    Args:
        task: The task that prompts come from.
        model: Makes the initial model of a seed from a key, for example
            `functools.partial(LinearTransformer.init, layers=3, dim=5)`.
        optimizers: For each name, a function from a learning rate to an optax transformation, whose
            `update` gets the keywords of `attnscape.optimizers.update_keywords`; or an
            `attnscape.optimizers.ExternalOptimizer`. Or names of `attnscape.optimizers.NAMED`.
            Parameters of a function that are called `steps` and `batch` and have no default get
            these numbers of the run; `attnscape.optimizers.scheduled` gives rates a schedule.
        learning_rates: One or more rates for all optimizers, or rates for each by name.
        seeds: A seed determines the initial model and the prompts of every step. Its numbers are
            the same bits for any other seeds. Other optimizers and learning rates do not change its
            prompts, but can change the last bits of its runs, because all are compiled into one
            program.
        steps: Updates of each run.
        batch: Fresh prompts of each update, or a sequence of several such numbers: everything is
            trained with each of them. If the task is `attnscape.tasks.FixedPrompts`, its size is
            the full batch.
        clip: Global norm that gradients are clipped to before the optimizer; None for no clipping.
        measures: The measures, each with its own schedule.
        evaluation_batch: Prompts of the fixed batch that all runs are evaluated on.
        evaluation_seeds: The seed of the fixed batch, or a sequence of seeds for several batches.
        precision: Precision of parameters, losses and moments.
        start: Parameters that runs start from, instead of the model's initial ones: a vector for
            all, or a selection of what `attnscape.measures.Parameters` stored, as in
            `result["parameters"].sel(optimizer="adam", learning_rate=0.02, step=500)`, where each
            seed has its own. Then its prompts go on after those of step 500, so that none is seen
            again. Optimizers begin with fresh states, and steps count from 0.
        progress: Called repeatedly with (run-steps done, run-steps in all).
        checkpoints: Where each seed's state is kept from time to time, and read at the start, so
            that a training that was stopped goes on from there and ends with the same bits. They
            must be those of a training with the same arguments; `attnscape.Experiment`s that are
            run by `attnscape.experiments.store.load_or_run` have such.

    Returns:
        A Dataset with dims (optimizer, learning_rate, seed, step). It holds the variables of the
        measures, `status` (a `Status`) and `diverged_at` (the step at which loss or parameters
        stopped being finite; -1 if they never did). Its attributes are the arguments that are
        numbers, the device, the versions, and the attributes that `attnscape.load` checks. If
        `batch` is a sequence, the dim `batch` follows learning_rate. If `evaluation_seeds` is one,
        variables measured on fixed batches have the dim `evaluation` after step, labelled by these
        seeds. With `start`, the scalar coordinate `start_step` is the number of updates before. Of
        `FixedPrompts`, the attribute `training_set` says what is drawn once.
        NaN means not measured, or diverged before. Several measures of one class may fill the same
        variables, each with its own schedule and number of evaluation batches.

    Raises:
        UsageError: If an argument is out of range, with a sentence that says what is allowed.

    Examples:
        >>> from functools import partial
        >>> from attnscape import LinearTransformer, RegressionTask, train
        >>> from attnscape.measures import EvaluationLoss
        >>> task, model = RegressionTask(dim=2), partial(LinearTransformer.init, layers=1, dim=2)
        >>> measures = [EvaluationLoss()]  # every 50 steps
        >>> result = train(task, model, ["sgd"], [0.1, 0.2], (0, 1), steps=100, measures=measures)
        >>> dict(result["loss"].sizes)
        {'optimizer': 1, 'learning_rate': 2, 'seed': 2, 'step': 3}
        >>> bool((result["loss"].sel(step=100) < result["loss"].sel(step=0)).all())
        True
    """
    check_precision(precision)
    check_counts(steps=steps, evaluation_batch=evaluation_batch)
    groups = {
        size: _groups(optimizers, learning_rates, precision, steps=steps, batch=size)
        for size in batches_of(batch)
    }
    if checkpoints is not None and is_sequence(batch):
        raise UsageError("Checkpoints are those of one training; give one batch size with them.")
    check_sequence(seeds)
    evaluations = evaluation_batches(evaluation_seeds)
    check_measures(measures := tuple(measures), len(evaluations))
    rates = sum(len(group.learning_rates) for group in next(iter(groups.values())))
    needed = sizes.estimate(
        task, model, runs=rates, seeds=seeds, steps=steps, batch=tuple(groups), measures=measures,
        evaluation_batch=evaluation_batch, evaluations=len(evaluations), precision=precision,
    ).checked()  # fmt: skip
    check_seeds("seeds", seeds := tuple(seeds))
    check_clip(clip, precision)
    start = None if start is None else Start.of(start)
    attributes = _attributes(task, steps, clip, precision, evaluation_batch, evaluations)
    datasets, work = list[xr.Dataset](), rates * steps * len(seeds)
    with jax.enable_x64(True) if precision == "float64" else contextlib.nullcontext():
        check = functools.partial(
            check_parts, task, model, clip=clip, dtype=precision,
            measures=[measure for measure in measures if not is_built_in(measure)],
        )  # fmt: skip
        checked = {size: check(of_size, batch=size) for size, of_size in groups.items()}
        for size, of_size in checked.items():
            engine = Engine(
                *(task, model, of_size), clip=clip, batch=size, precision=precision,
                evaluation_seeds=evaluations, evaluation_batch=evaluation_batch, start=start,
            )  # fmt: skip
            if start is not None:
                start.check(seeds, engine.first_model, steps)
            report = _part(progress, len(datasets) * work, len(groups) * work)
            labels = _labels(groups[size], start, evaluation_seeds, {**attributes, "batch": size})
            datasets.append(run(
                *(engine, seeds, steps, measures, report, needed.seeds_at_once()),
                *(checkpoints or NoCheckpoints(), labels),
            ))  # fmt: skip
    return over_batches(datasets) if is_sequence(batch) else datasets[0]


def _part(progress: Progress, before: int, whole: int) -> Progress:
    """The progress of one part of the work."""
    return lambda done, total: progress(before + done, whole)


def _labels(
    groups: Sequence[Group],
    start: Start | None,
    evaluation_seeds: int | Sequence[int],
    attributes: Mapping[str, object],
) -> dict[str, object]:
    """What names the parts of the Dataset (`attnscape.training._dataset.labelled`)."""
    return {
        "optimizers": [group.name for group in groups],
        "start_step": None if start is None else start.step,
        "single": not is_sequence(evaluation_seeds),
        "attributes": dict(attributes),
    }


def _attributes(
    task: Task,
    steps: int,
    clip: float | None,
    precision: Precision,
    evaluation_batch: int,
    evaluation_seeds: Sequence[int],
) -> dict[str, object]:
    """The attributes of the Dataset but `batch`: arguments that are numbers, device, versions."""
    found: dict[str, object] = {
        "steps": int(steps),
        "clip": "none" if clip is None else float(clip),
        "precision": precision,
        "evaluation_batch": int(evaluation_batch),
        "evaluation_seeds": [int(seed) for seed in evaluation_seeds],
        "device": native.default_device().device_kind,
        **provenance(),
    }
    if isinstance(fixed := innermost(task), FixedPrompts):
        found["training_set"] = (
            f"{fixed.size} prompts drawn once with seed {fixed.seed}, the same for all seeds; a "
            "batch of all of them is the full batch, others are drawn from them"
        )
    return found


def _groups(
    optimizers: Mapping[str, Factory] | Sequence[str],
    learning_rates: Mapping[str, Sequence[float] | float] | Sequence[float] | float,
    precision: Precision,
    *,
    steps: int,
    batch: int,
) -> tuple[Group, ...]:
    if not optimizers:
        raise UsageError("No optimizer was given; name at least one.")
    optimizers = _resolve(optimizers)
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
            check_representable("The learning rate", rate, precision)
        groups.append(Group(name, bound(factory, steps=steps, batch=batch), rates))
    return tuple(groups)


def _resolve(optimizers: Mapping[str, Factory] | Sequence[str]) -> Mapping[str, Factory]:
    if isinstance(optimizers, Mapping):
        return optimizers
    names = [optimizers] if isinstance(optimizers, str) else list(optimizers)
    unknown = [name for name in names if not _is_named(name)]
    if unknown:
        raise UsageError(
            f"{unknown[0]!r} is no name of an optimizer; give a dict from names to functions of a "
            f"learning rate, or some of {', '.join(NAMED)}."
        )
    return {name: NAMED[name] for name in names}


def _is_named(name: object) -> bool:
    return isinstance(name, str) and name in NAMED
