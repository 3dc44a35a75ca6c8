"""The public function `train`: trains each (optimizer, learning rate, seed) on shared prompts."""

from __future__ import annotations

import contextlib
import numbers
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import jax
import numpy as np
import xarray as xr
from jaxtyping import Array, Float, PyTree

from attnscape import native
from attnscape.errors import UsageError
from attnscape.identity import is_built_in
from attnscape.measures import EvaluationLoss, Measure, TrainingLoss, check_measures
from attnscape.optimizers import NAMED, Factory, check_learning_rate
from attnscape.steppers import Group
from attnscape.tasks import Task
from attnscape.training import sizes
from attnscape.training._engine import Engine
from attnscape.training._seeds import run
from attnscape.training._start import Start
from attnscape.training.checkpoints import Checkpoints, NoCheckpoints
from attnscape.training.provenance import provenance
from attnscape.training.status import Progress, silent
from attnscape.validation import callback_errors, check_parts

Precision = Literal["float32", "float64"]


@callback_errors()
def train(
    task: Task,
    model: Callable[[Array], Callable[..., PyTree]],
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
        learning_rates: One or more rates for all optimizers, or rates for each by name.
        seeds: A seed determines the initial model and the prompts of every step. Its numbers are
            the same bits for any other seeds. Other optimizers and learning rates do not change its
            prompts, but can change the last bits of its runs, because all are compiled into one
            program.
        steps: Updates of each run.
        batch: Fresh prompts of each update.
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
        `evaluation_seeds` is a sequence, variables measured on fixed batches have the dim
        `evaluation` after step, labelled by these seeds. With `start`, the scalar coordinate
        `start_step` is the number of updates before.
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
    if precision not in ("float32", "float64"):
        raise UsageError(f"precision is {precision!r}; it must be float32 or float64.")
    groups = _groups(optimizers, learning_rates, precision)
    _check_counts(steps=steps, batch=batch, evaluation_batch=evaluation_batch)
    if not _is_sequence(seeds):
        raise UsageError(f"seeds is {seeds!r}; give a sequence of seeds, for example range(3).")
    batches = _evaluation_batches(evaluation_seeds)
    check_measures(measures := tuple(measures), len(batches))
    needed = sizes.estimate(
        task, model, runs=sum(len(group.learning_rates) for group in groups), seeds=seeds,
        steps=steps, batch=batch, evaluation_batch=evaluation_batch, evaluations=len(batches),
        measures=measures, precision=precision,
    ).checked()  # fmt: skip
    check_seeds("seeds", seeds := tuple(seeds))
    check_clip(clip, precision)
    start = None if start is None else Start.of(start)
    with jax.enable_x64(True) if precision == "float64" else contextlib.nullcontext():
        own = [measure for measure in measures if not is_built_in(measure)]
        groups = check_parts(
            task, model, groups, clip=clip, batch=batch, dtype=precision, measures=own
        )
        engine = Engine(
            *(task, model, groups), clip=clip, batch=batch, precision=precision,
            evaluation_seeds=batches, evaluation_batch=evaluation_batch, start=start,
        )  # fmt: skip
        if start is not None:
            start.check(seeds, engine.first_model, steps)
        labels = {
            "optimizers": [group.name for group in groups],
            "start_step": None if start is None else start.step,
            "attributes": {
                "steps": int(steps), "batch": int(batch),
                "clip": "none" if clip is None else float(clip),
                "precision": precision, "evaluation_batch": int(evaluation_batch),
                "evaluation_seeds": list(batches),
                "device": native.default_device().device_kind,
                **provenance(),
            },
            "single": isinstance(evaluation_seeds, int | np.integer),
        }  # fmt: skip
        return run(
            *(engine, seeds, steps, measures, progress, needed.seeds_at_once()),
            *(checkpoints or NoCheckpoints(), labels),
        )


def _groups(
    optimizers: Mapping[str, Factory] | Sequence[str],
    learning_rates: Mapping[str, Sequence[float] | float] | Sequence[float] | float,
    precision: Precision,
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
            _check_representable("The learning rate", rate, precision)
        groups.append(Group(name, factory, rates))
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


def _is_sequence(seeds: object) -> bool:
    return isinstance(seeds, Sequence | np.ndarray)


def _evaluation_batches(seeds: int | Sequence[int]) -> tuple[int, ...]:
    """The seeds of the fixed batches as a tuple, also if a single number was given."""
    if isinstance(seeds, int | np.integer):
        seeds = (int(seeds),)
    if not _is_sequence(seeds):
        raise UsageError(f"evaluation_seeds is {seeds!r}; give a seed, or a sequence of seeds.")
    check_seeds("evaluation_seeds", seeds := tuple(seeds))
    return seeds


def check_clip(clip: float | None, precision: Precision) -> None:
    """Raises UsageError unless it is a norm that gradients can be clipped to, or None.

    Examples:
        >>> from attnscape.training import check_clip
        >>> check_clip(1.0, "float32")
        >>> check_clip(-1.0, "float32")
        Traceback (most recent call last):
            ...
        attnscape.errors.UsageError: clip is -1.0; it must be positive, or None for no clipping.
    """
    if clip is None:
        return
    if not clip > 0:
        raise UsageError(f"clip is {clip}; it must be positive, or None for no clipping.")
    _check_representable("clip", clip, precision)


def _check_representable(what: str, number: float, precision: Precision) -> None:
    """Refuses numbers below the smallest normal one: compiled programs replace them by zero."""
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


def check_seeds(name: str, seeds: Sequence[int]) -> None:
    """Raises UsageError unless they are different whole numbers of 32 bits, at least one.

    Examples:
        >>> from attnscape.training import check_seeds
        >>> check_seeds("seeds", (0, 1))
        >>> check_seeds("seeds", (1, 1))
        Traceback (most recent call last):
            ...
        attnscape.errors.UsageError: seeds are [1, 1]; give at least one, and none twice.
    """
    if not seeds or len(set(seeds)) != len(seeds):
        raise UsageError(f"{name} are {list(seeds)}; give at least one, and none twice.")
    for seed in seeds:
        if not isinstance(seed, numbers.Integral) or not 0 <= seed < 2**32:
            raise UsageError(f"The seed {seed} is not usable; give whole numbers from 0 to 2^32-1.")
