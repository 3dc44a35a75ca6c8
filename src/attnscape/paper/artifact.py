"""What an artifact of the paper is: what it needs to be run, and the numbers in it."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping, Sequence

import pandas as pd
import xarray as xr

from attnscape.estimators import Interval
from attnscape.experiment import Experiment
from attnscape.paper.settings import Plan
from attnscape.training import Status

Results = Mapping[str, xr.Dataset]


@dataclasses.dataclass(frozen=True)
class Artifact(abc.ABC):
    """A figure or a table of the paper.

    Attributes:
        name: On the command line and in file names.
        title: One line for people.
        statement: What the paper says about it, in a sentence.
    """

    name: str
    title: str
    statement: str

    @abc.abstractmethod
    def experiments(self, plan: Plan) -> Mapping[str, Experiment]:
        """What must be run; the keys are those of `results` below."""

    @abc.abstractmethod
    def frame(self, results: Results) -> pd.DataFrame:
        """The tidy numbers of the figure or table: its CSV."""

    @abc.abstractmethod
    def caption(self, results: Results, plan: Plan) -> str:
        """What is shown, with every convention in words."""

    def tables(self, results: Results, plan: Plan) -> Mapping[str, pd.DataFrame]:
        """Rows for print, by the sentence that stands above them; empty where there is no table."""
        return {}

    def comparison(self, results: Results) -> pd.DataFrame | None:
        """Our numbers (quantity, ours, low, high), beside the printed ones (printed) if any are."""
        return None


def conventions(plan: Plan, *, form: bool = True) -> str:
    """The recipe in words, for captions."""
    return initial_model(plan, form=form) + (
        ", 1000 fresh prompts a step, gradients clipped by global norm before the optimizer, SGD "
        "with momentum 0.9 (SGDM), Adam with beta1 = beta2 = 0.9."
    )


def initial_model(plan: Plan, *, form: bool = True) -> str:
    """What of the recipe counts before any step, in words without a full stop."""
    words = f"Recipe `{plan.recipe}`"
    for convention, recipe in plan.overrides.items():
        words += f", {convention} of `{recipe}`"
    words += ": "
    if form:
        of_form = {"code": "block", "paper": "full"}[plan.recipe_of("form")]
        words += f"{of_form} form of P and Q, "
    return words + "initial entries N(0, 0.05^2)"


def ends(interval: Interval) -> str:
    """Estimate and ends, for captions that state the level once."""
    return f"{interval.estimate:.3g} [{interval.low:.3g}, {interval.high:.3g}]"


def tidy(results: Results, variables: Sequence[str]) -> pd.DataFrame:
    """A row a run and measured step: setting, optimizer, learning_rate, seed, step, `variables`.

    Diverged runs keep their rows, with empty values.
    """
    frames = []
    for name, dataset in results.items():
        measured = dataset[variables[0]].notnull().any(("optimizer", "learning_rate", "seed"))
        selected = dataset[[*variables, "status"]].isel(step=measured.values)
        frame = selected.to_dataframe().reset_index()
        frame = frame[frame["status"] != Status.not_run]
        frames.append(frame.assign(setting=name))
    columns = ["setting", "optimizer", "learning_rate", "seed", "step", *variables]
    return pd.concat(frames, ignore_index=True)[columns]


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
