"""What an artifact of the paper is: what it needs to be run, and the numbers in it."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping

import pandas as pd
import xarray as xr

from attnscape.experiment import Experiment
from attnscape.paper.settings import Plan

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

    def comparison(self, results: Results) -> pd.DataFrame | None:
        """Our numbers beside the printed ones (quantity, ours, low, high, printed), if any are."""
        return None


def conventions(plan: Plan, *, form: bool = True) -> str:
    """The recipe in words, for captions."""
    if plan.recipe == "code":
        words = "Recipe `code`: " + ("block form of P and Q, " if form else "")
    else:
        words = "Recipe `paper`: " + ("full form of P and Q, " if form else "")
    return words + (
        "initial entries N(0, 0.05^2), 1000 fresh prompts a step, gradients clipped by global norm "
        "before the optimizer, SGD with momentum 0.9 (SGDM), Adam with beta1 = beta2 = 0.9."
    )


def rates_in_words(results: Results) -> str:
    """The learning rates that were run, panel by panel."""
    parts = []
    for name, dataset in results.items():
        run = dataset["status"].isel(seed=0) != 2
        pairs = [
            f"{optimizer} {rate:g}"
            for optimizer in dataset["optimizer"].values
            for rate in dataset["learning_rate"].values
            if bool(run.sel(optimizer=optimizer, learning_rate=rate))
        ]
        parts.append(f"{name} " + ", ".join(pairs))
    return "Learning rates: " + "; ".join(parts) + "."
