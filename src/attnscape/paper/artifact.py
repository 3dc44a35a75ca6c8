"""What an artifact of the paper is: what it needs to be run, and the numbers in it."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import numpy as np
import pandas as pd
import xarray as xr

from attnscape.estimators import Interval
from attnscape.experiment import Experiment
from attnscape.paper.runs import measured, over_evaluations
from attnscape.paper.settings import Plan, Setting
from attnscape.results import Computation
from attnscape.training import Status

Results = Mapping[str, xr.Dataset]


@dataclasses.dataclass(frozen=True)
class Artifact(abc.ABC):
    """A figure or a table of the paper.

    Attributes:
        name: On the command line and in file names.
        title: One line for people.
        statement: What the paper says about it, in a sentence.
        settings: What it is about: its panels, rows or columns.
        remark: A sentence for the caption.
        tables_on_page: Whether the page shows the tables, and not only their LaTeX.
    """

    tables_on_page: ClassVar[bool] = False

    name: str
    title: str
    statement: str
    settings: tuple[Setting, ...] = ()
    remark: str = ""

    def obstacle(self, plan: Plan) -> str:
        """Why it cannot be made here and by this plan, in a sentence; empty where it can."""
        return ""

    @abc.abstractmethod
    def experiments(self, plan: Plan) -> Mapping[str, Computation]:
        """What must be run; the keys are those of `results` below."""

    @abc.abstractmethod
    def frame(self, results: Results) -> pd.DataFrame:
        """The tidy numbers of the figure or table: its CSV."""

    @abc.abstractmethod
    def caption(self, results: Results, plan: Plan) -> str:
        """One sentence on what is shown; after a blank line, every convention in words."""

    def tables(self, results: Results, plan: Plan) -> Mapping[str, pd.DataFrame]:
        """Rows for print, by the sentence that stands above them; empty where there is no table."""
        return {}

    def comparison(self, results: Results) -> pd.DataFrame | None:
        """Our numbers (quantity, ours, low, high), beside the printed ones (printed) if any are."""
        return None


class SettingCurves(Artifact):
    """A panel a setting, a line an optimizer, along the runs that the setting plans."""

    def experiments(self, plan: Plan) -> Mapping[str, Experiment]:
        return {setting.name: setting.experiment(plan) for setting in self.settings}

    @abc.abstractmethod
    def sentence(self, results: Results) -> str:
        """What is drawn, in one sentence."""

    @abc.abstractmethod
    def shown(self, results: Results) -> str:
        """What is drawn, in all detail."""

    def caption(self, results: Results, plan: Plan) -> str:
        details = f"{self.shown(results)} {how_run(self, results, plan)}"
        return f"{self.sentence(results)}\n\n{details}"


def how_run(artifact: Artifact, results: Results, plan: Plan) -> str:
    """For captions: recipe, learning rates, runs that diverged, and the artifact's remark."""
    return " ".join(
        filter(
            None,
            [
                conventions(plan, artifact.settings),
                rates_in_words(results),
                diverged_in_words(results),
                artifact.remark,
            ],
        )
    )


def conventions(plan: Plan, settings: Sequence[Setting]) -> str:
    """The recipe of these settings in words, for captions."""
    clip = _each(settings, lambda setting: f"{setting.clip[plan.recipe_of('clip')]:g}")
    return initial_model(plan, settings) + (
        f", {_each(settings, lambda setting: str(setting.batch))} fresh prompts a step, gradients "
        f"clipped by global norm at {clip} before the optimizer, SGD with momentum 0.9 (SGDM), "
        "Adam with beta1 = beta2 = 0.9."
    )


def initial_model(plan: Plan, settings: Sequence[Setting]) -> str:
    """What of the recipe counts before any step, in words without a full stop."""
    words = f"Recipe `{plan.recipe}`"
    for convention, recipe in plan.overrides.items():
        words += f", {convention} of `{recipe}`"
    if plan.own:
        words += f", {plan.own}"
    if plan.model is not None:
        return words
    form = _each(settings, lambda setting: setting.form[plan.recipe_of("form")])
    scale = _each(settings, lambda setting: f"{setting.scale[plan.recipe_of('scale')]:g}^2")
    return f"{words}: {form} form of P and Q, initial entries N(0, {scale})"


def _each(settings: Sequence[Setting], value: Callable[[Setting], str]) -> str:
    """The value that all settings have, or all values with the settings that have them."""
    names: dict[str, list[str]] = {}
    for setting in settings:
        names.setdefault(value(setting), []).append(setting.name)
    if len(names) == 1:
        return next(iter(names))
    return ", ".join(f"{each} ({', '.join(owners)})" for each, owners in names.items())


def ends(interval: Interval) -> str:
    """Estimate and ends, for captions that state the level once."""
    if np.isnan(interval.low):
        return f"{interval.estimate:.3g} [no interval, n = {interval.n}]"
    return f"{interval.estimate:.3g} [{interval.low:.3g}, {interval.high:.3g}] (n = {interval.n})"


def seeds_in_words(results: Results) -> str:
    """How many seeds the panels have, for captions."""
    counts = {name: dataset.sizes["seed"] for name, dataset in results.items()}
    if len(set(counts.values())) == 1:
        return f"{next(iter(counts.values()))} seeds"
    each = ", ".join(f"{count} ({name})" for name, count in counts.items())
    return f"{each} seeds, so that bands of more seeds are wider"


def batches_in_words(dataset: xr.Dataset) -> str:
    """The fixed batches that a result was evaluated on, for captions."""
    count = dataset.sizes.get("evaluation", 1)
    if count == 1:
        return "one fixed batch of 1000 prompts that all runs share"
    return f"{count} fixed batches of 1000 prompts each that all runs share"


def tidy(results: Results, variables: Sequence[str]) -> pd.DataFrame:
    """A row a run, measured step and evaluation batch.

    The columns setting, optimizer, learning_rate, seed, step, evaluation, `variables`. Diverged
    runs keep their rows, with empty values.
    """
    frames = []
    for name, dataset in results.items():
        first = over_evaluations(measured(dataset[variables[0]]))
        on_batch = first.notnull().any(("optimizer", "learning_rate", "seed"))
        columns = {
            variable: over_evaluations(dataset[variable]).sel(step=first["step"])
            for variable in variables
        }
        selected = xr.Dataset({**columns, "status": dataset["status"], "kept": on_batch})
        frame = selected.to_dataframe().reset_index()
        frame = frame[frame["kept"] & (frame["status"] != Status.not_run)]
        frames.append(frame.assign(setting=name))
    columns = ["setting", "optimizer", "learning_rate", "seed", "step", "evaluation", *variables]
    return pd.concat(frames, ignore_index=True)[columns]


def first_evaluation(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of the first evaluation batch: what the paper, which has one batch, would show."""
    return frame[frame["evaluation"] == frame["evaluation"].min()]


def diverged_in_words(results: Results) -> str:
    """How many runs diverged, panel by panel; empty where none did."""
    parts = []
    for name, dataset in results.items():
        lost = (dataset["status"] == Status.diverged).any("learning_rate").sum("seed")
        counts = {str(o): int(lost.sel(optimizer=o)) for o in dataset["optimizer"].values}
        words = ", ".join(f"{optimizer} {count}" for optimizer, count in counts.items() if count)
        if words:
            parts.append(f"{name} {words} of {dataset.sizes['seed']} seeds")
    return f"Diverged: {'; '.join(parts)}." if parts else ""


def rates_in_words(results: Results) -> str:
    """The learning rates that were run, panel by panel."""
    parts = []
    for name, dataset in results.items():
        run = dataset["status"].isel(seed=0) != Status.not_run
        pairs = [
            f"{optimizer} {rate:g}"
            for optimizer in dataset["optimizer"].values
            for rate in dataset["learning_rate"].values
            if bool(run.sel(optimizer=optimizer, learning_rate=rate))
        ]
        parts.append(f"{name} " + ", ".join(pairs))
    return "Learning rates: " + "; ".join(parts) + "."
