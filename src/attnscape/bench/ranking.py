"""The bench as a function of Python objects, without a page."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import xarray as xr

from attnscape.bench.artifact import Bench
from attnscape.bench.entries import ResultKey, alone
from attnscape.bench.suite import BASELINES, DEFAULT, SUITE, own_setting
from attnscape.errors import UsageError
from attnscape.experiments import store
from attnscape.experiments.experiment import Experiment
from attnscape.experiments.setting import Plan, RecipeName, Setting
from attnscape.experiments.trials import trial
from attnscape.experiments.tuning import search
from attnscape.models import ModelFactory, as_model
from attnscape.optimizers import NAMED, Factory
from attnscape.paper.settings import SETTING_1
from attnscape.tasks import Task, Thresholded, WithLoss, as_task
from attnscape.tasks.losses import Loss


def rank(
    optimizers: Mapping[str, Factory],
    task: Task | None = None,
    model: ModelFactory | None = None,
    *,
    loss: Loss | None = None,
    threshold: bool = False,
    settings: Sequence[str] = (),
    seeds: int = 6,
    steps: int = 2_000,
    recipe: RecipeName = "code",
    runs: Path | str | None = None,
) -> pd.DataFrame:
    """Compares optimizers and tuned SGDM and Adam, each at the rate that the same search finds.

    It is what `attnscape bench` does, which writes tables and a page as well.

    Args:
        optimizers: Functions from a learning rate to an optimizer, by label.
        task: A task of your own, which makes a setting called `own-` and a digest of what task and
            model compute.
        model: This setting's model, a function from a key; linear attention of 3 layers by default.
        loss: This setting's loss in place of the task's, such as `attnscape.tasks.Huber()`; without
            a task, that of Setting 1's prompts.
        threshold: Whether this setting's responses are replaced by their signs.
        settings: Further settings, names of `SUITE`; without own parts setting-1 to setting-3.
        seeds: Report seeds 0, 1, ..., seeds - 1; tuning has seeds of its own.
        steps: Updates of each run.
        recipe: Conventions of the public code, or of the text of the paper.
        runs: A folder for the results, in which they are found again; None to keep none.

    Returns:
        One row for each run, with the columns of `Bench.analyse`: setting, optimizer, phase
        (`tuning`, `report`), learning_rate, seed, loss, steps_to_sgdm, steps_to_adam.

    Raises:
        UsageError: If there is no such setting, a label is that of a baseline, or a part fails:
            before any run if it cannot be used at all.

    Examples:
        >>> from attnscape import RegressionTask
        >>> from attnscape.bench import rank
        >>> from attnscape.optimizers import lion
        >>> frame = rank({"lion": lion}, RegressionTask(noise=0.1), runs="runs")  # doctest: +SKIP
        >>> frame.query("phase == 'report'").groupby("optimizer")["loss"].median()  # doctest: +SKIP
    """
    chosen = _settings(_task(task, loss, threshold), model, settings)
    if taken := [label for label in optimizers if label in BASELINES]:
        raise UsageError(f"{taken[0]} is a baseline, compared with in any case; give another name.")
    plan = Plan(recipe=recipe, seeds=seeds, steps=steps)
    run = Experiment.run if runs is None else functools.partial(store.load_or_run, directory=runs)
    factories = {**{name: NAMED[name] for name in BASELINES}, **optimizers}
    for label, factory in factories.items():
        for setting in chosen:
            trial(alone(setting, label, factory, plan)).check()
    results = dict[str, xr.Dataset]()
    for setting in chosen:
        for label, factory in factories.items():

            def kept(due: Experiment, setting: Setting = setting, label: str = label) -> xr.Dataset:
                number = sum(key.startswith(f"{setting.name}|{label}|") for key in results)
                key = ResultKey(setting.name, label, "tuning", number)
                return results.setdefault(str(key), run(due))

            found = search(alone(setting, label, factory, plan), kept)
            report = alone(setting, label, factory, plan, found.rates[label])
            results[str(ResultKey(setting.name, label, "report"))] = run(report)
    bench = Bench("bench", "Bench", "", tuple(chosen), entries=dict.fromkeys(factories, ()))
    return bench.analyse(results).frame


def _task(task: Task | None, loss: Loss | None, threshold: bool) -> Task | None:
    """The task with another loss, or with signs as responses; None if nothing was given."""
    if loss is None and not threshold:
        return None if task is None else as_task(task)
    found = SETTING_1.task if task is None else as_task(task)
    found = Thresholded(found) if threshold else found
    return found if loss is None else WithLoss(found, loss)


def _settings(task: Task | None, model: ModelFactory | None, names: Sequence[str]) -> list[Setting]:
    given = task is not None or model is not None
    if unknown := [name for name in names if name not in SUITE]:
        raise UsageError(
            f"There is no setting {unknown[0]!r} in the suite; there are {', '.join(SUITE)}."
        )
    settings = [SUITE[name] for name in names or (() if given else DEFAULT)]
    if not given:
        return settings
    own_model = None if model is None else as_model(model)
    return [*settings, own_setting("own", "own", task, own_model)]
