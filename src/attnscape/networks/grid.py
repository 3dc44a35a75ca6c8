"""Trains a workload with every optimizer, learning rate and seed."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import xarray as xr

from attnscape.errors import UsageError
from attnscape.identity import is_built_in, of_module_optimizer
from attnscape.networks.generators import own_random_numbers
from attnscape.networks.gradients import UpdateGradients
from attnscape.networks.run import NetworkRun, parameters_of
from attnscape.networks.steps import steps_of
from attnscape.networks.streams import Batches, initial_module
from attnscape.networks.training import Schedules
from attnscape.networks.workload import Data, Size, SizeName, Source, Workload
from attnscape.networks.workloads import WORKLOADS
from attnscape.optimizers import NAMED, ExternalOptimizer, Factory, bound, check_learning_rate
from attnscape.training import Status, check_clip, check_seeds

_RUN = ("optimizer", "learning_rate", "seed")
RunAll = Callable[[Mapping[str, NetworkRun]], Mapping[str, xr.Dataset]]


def run_one_by_one(runs: Mapping[str, NetworkRun]) -> dict[str, xr.Dataset]:
    """The results of runs, made one after the other."""
    return {key: run.run() for key, run in runs.items()}


def train_workload(
    workload: Workload | str,
    optimizers: Mapping[str, Factory] | Sequence[str],
    learning_rates: Mapping[str, Sequence[float]] | Sequence[float],
    seeds: Sequence[int],
    *,
    size: SizeName = "small",
    source: Source = "packaged",
    steps: int | None = None,
    clip: float | None = None,
    schedules: Schedules = Schedules(),
    full_batch: bool = False,
    pseudo_optimizers: Mapping[str, Factory] = MappingProxyType({}),
    run_all: RunAll = run_one_by_one,
) -> xr.Dataset:
    """Trains every (optimizer, learning rate, seed) of a workload.

    All runs of a seed start at the same weights and see the same batches and the same dropout.

    Args:
        workload: A workload, or the name of one of `attnscape.networks.WORKLOADS`.
        optimizers: The engine's factories or PyTorch optimizers, by name; or names of
            `attnscape.optimizers.NAMED`.
        learning_rates: Rates for all optimizers, or rates for each by name.
        seeds: Each determines weights, batches and dropout.
        size: Name of a size of the workload.
        source: Where the data come from: `packaged`, `hub`, or a folder.
        steps: Updates of each run; None for the size's.
        clip: Global norm that gradients are clipped to, or None.
        schedules: What is measured when.
        full_batch: Whether each update uses the mean gradient of all complete batches of a pass.
        pseudo_optimizers: Factories of the engine by name, whose updates are measured along each
            run, every `schedules.pseudo` steps, and never made.
        run_all: Runs all runs, given by name, or loads their results.

    Returns:
        A Dataset with the dims (optimizer, learning_rate, seed, step) and the variables of
        `attnscape.networks.training.train_run`; combinations that were not run have the status
        `not_run`.

    Raises:
        UsageError: If a name is unknown, or an argument is out of range; or, before any run is
            made, if an optimizer cannot be used.

    Examples:
        >>> from attnscape.networks import train_workload
        >>> result = train_workload(
        ...     "softmax-regression", ["sgd", "sign"], (0.01,), (0, 1), size="tiny", steps=5
        ... )
        >>> dict(result.loss.sizes), result.attrs["data"]
        ({'optimizer': 2, 'learning_rate': 1, 'seed': 2, 'step': 2}, '7 imbalanced classes')
    """
    workload = _workload(workload)
    chosen = _size(workload, size)
    factories = _factories(optimizers)
    rates = _rates(learning_rates, factories)
    seeds = tuple(seeds)
    check_seeds("seeds", seeds)
    check_clip(clip, "float32")
    steps = chosen.steps if steps is None else steps
    if steps < 0:
        raise UsageError(f"steps is {steps}; it must be at least 0.")
    data = _data(workload, source, chosen, size)
    run = functools.partial(
        NetworkRun,
        workload,
        WORKLOADS.get(workload.name) is workload,
        data,
        chosen,
        steps=steps,
        clip=clip,
        schedules=schedules,
        full_batch=full_batch,
        pseudo_optimizers=pseudo_optimizers,
    )
    runs = {
        f"{name} {rate} {seed}": run(optimizer=name, factory=factory, learning_rate=rate, seed=seed)
        for name, factory in factories.items()
        for rate in rates[name]
        for seed in seeds
    }
    _check_optimizers(runs.values())
    found = run_all(runs)
    # A result that is found may have been stored under another name of the same optimizer.
    results = [found[key].assign_coords(optimizer=[each.optimizer]) for key, each in runs.items()]
    return combined(results, list(factories), list(seeds)).assign_attrs(
        workload=workload.name,
        title=workload.title,
        data=data.name,
        size=size,
        metric=workload.metric.name,
        steps=steps,
        # The examples of an update.
        batch=data.examples // chosen.batch * chosen.batch if full_batch else chosen.batch,
    )


def _check_optimizers(runs: Iterable[NetworkRun]) -> None:
    """Raises what the runs would raise for users' optimizers, before any is made.

    An optimizer outside of JAX, which cannot be traced, makes one step.
    """
    for run in {run.optimizer: run for run in runs}.values():
        told = functools.partial(bound, steps=run.steps, batch=run.size.batch)
        optimizers = {run.optimizer: told(run.factory)}
        optimizers |= {name: told(factory) for name, factory in run.pseudo_optimizers.items()}
        shapes = parameters_of(run.workload, run.data, run.size)
        for name, factory in optimizers.items():
            if not is_built_in(factory):
                of_module_optimizer(name, factory, run.learning_rate, run.clip, shapes)
        if isinstance(run.factory, ExternalOptimizer):
            _step(run, optimizers[run.optimizer])


def _step(run: NetworkRun, factory: Factory) -> None:
    """Makes the first step of a run on a module of its own."""
    with own_random_numbers():
        module = initial_module(run.workload, run.data, run.size, run.seed)
        parameters = {name: p for name, p in module.named_parameters() if p.requires_grad}
        gradients = UpdateGradients(run.workload, run.data, run.size, run.seed, module)
        batch = next(Batches(run.data, run.size.batch, run.seed))
        steps = steps_of(run.optimizer, factory, run.learning_rate, parameters, run.clip)
        steps.step(lambda: gradients.fill(batch, 0))


def combined(
    results: Sequence[xr.Dataset], optimizers: Sequence[str], seeds: Sequence[int]
) -> xr.Dataset:
    """One Dataset of the Datasets of single runs; runs that there are not have NaN.

    Args:
        results: Datasets of `NetworkRun.run`.
        optimizers: The order of the optimizers.
        seeds: The order of the seeds.

    Examples:
        >>> import xarray as xr
        >>> from attnscape.networks import combined
        >>> def run(seed, loss):
        ...     labels = {"optimizer": ["sgd"], "learning_rate": [0.1], "seed": [seed], "step": [0]}
        ...     return xr.Dataset({"loss": (tuple(labels), [[[[loss]]]])}, labels)
        >>> combined([run(1, 3.0), run(0, 2.0)], ["sgd"], [0, 1]).loss.values.ravel().tolist()
        [2.0, 3.0]
    """
    rates = sorted({float(each["learning_rate"].item()) for each in results})
    labels = {"optimizer": list(optimizers), "learning_rate": rates, "seed": list(seeds)}
    steps = sorted({int(step) for each in results for step in each["step"].values})
    fill = {"status": Status.not_run, "diverged_at": -1}
    variables = {}
    # A run that diverged early may lack what others have.
    for name in dict.fromkeys(name for each in results for name in each.data_vars):
        kept = [each[name] for each in results if name in each]
        if "step" in kept[0].dims:
            kept = [each.reindex(step=steps) for each in kept]
        further = [dim for dim in kept[0].dims if dim not in _RUN]
        shape = (*(len(labels[dim]) for dim in _RUN), *(kept[0].sizes[dim] for dim in further))
        values = np.full(shape, fill.get(str(name), np.nan), kept[0].dtype)
        for each in kept:
            place = tuple(labels[dim].index(each[dim].item()) for dim in _RUN)
            values[place] = each.transpose(*_RUN, *further).values[0, 0, 0]
        variables[name] = ((*_RUN, *further), values, kept[0].attrs)
    others = {
        name: coordinate.variable
        for each in results
        for name, coordinate in each.coords.items()
        if not {*labels, "step"}.intersection(map(str, coordinate.dims))
    }
    attributes = [xr.Dataset(attrs=each.attrs) for each in results]
    common = xr.merge(attributes, combine_attrs="drop_conflicts").attrs
    return xr.Dataset(variables, {**others, **labels, "step": steps}, common)


def _workload(workload: Workload | str) -> Workload:
    if isinstance(workload, Workload):
        return workload
    if workload not in WORKLOADS:
        raise UsageError(
            f"There is no workload {workload!r}; there are {', '.join(WORKLOADS)}, and your own as "
            "an attnscape.networks.Workload."
        )
    return WORKLOADS[workload]


def _size(workload: Workload, name: SizeName) -> Size:
    if name not in workload.sizes:
        raise UsageError(
            f"{workload.name} has no size {name!r}; it has {', '.join(workload.sizes)}."
        )
    return workload.sizes[name]


def _data(workload: Workload, source: Source, size: Size, name: SizeName) -> Data:
    data = workload.data(source, **size.data)
    if data.examples < size.batch:
        raise UsageError(
            f"{data.name} has {data.examples} training examples, fewer than a batch of "
            f"{size.batch} of the size {name}; give more data or a smaller size."
        )
    return data


def _factories(optimizers: Mapping[str, Factory] | Sequence[str]) -> dict[str, Factory]:
    if not optimizers:
        raise UsageError("No optimizer was given; name at least one.")
    if isinstance(optimizers, Mapping):
        return dict(optimizers)
    names = [optimizers] if isinstance(optimizers, str) else list(optimizers)
    unknown = [name for name in names if name not in NAMED]
    if unknown:
        raise UsageError(
            f"{unknown[0]!r} is no name of an optimizer; give a dict from names to functions of a "
            f"learning rate, or some of {', '.join(NAMED)}."
        )
    return {name: NAMED[name] for name in names}


def _rates(
    learning_rates: Mapping[str, Sequence[float]] | Sequence[float],
    factories: Mapping[str, Factory],
) -> dict[str, tuple[float, ...]]:
    given = (
        learning_rates
        if isinstance(learning_rates, Mapping)
        else dict.fromkeys(factories, learning_rates)
    )
    if set(given) != set(factories):
        raise UsageError(
            f"Learning rates were given for {sorted(given)}, optimizers are {sorted(factories)}: "
            "give rates for each of them and no other."
        )
    rates = {
        name: tuple(dict.fromkeys(check_learning_rate(rate) for rate in given[name]))
        for name in factories
    }
    if empty := [name for name, each in rates.items() if not each]:
        raise UsageError(f"No learning rate was given for {empty[0]}; give at least one.")
    return rates
