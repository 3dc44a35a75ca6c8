"""The base class of artifacts: the experiments they need, and the numbers and words in them.

Values flow once: `analyse` makes all numbers of the results; tables, caption, comparison and the
drawing read them from the analysis.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping
from typing import ClassVar, Generic, TypeVar

import pandas as pd

from attnscape.experiments.captions import conventions, diverged_in_words, rates_in_words
from attnscape.experiments.computation import Computation
from attnscape.experiments.experiment import Experiment
from attnscape.experiments.grid_search import GridSearch
from attnscape.experiments.network_tuning import RateSearch
from attnscape.experiments.runs import Results as Results
from attnscape.experiments.setting import Plan, Setting


@dataclasses.dataclass(frozen=True)
class Analysis:
    """The numbers of an artifact, computed once from its results.

    Attributes:
        results: What the numbers were computed from.
        frame: The tidy numbers of the figure or table: its CSV.
    """

    results: Results
    frame: pd.DataFrame


AnalysisT = TypeVar("AnalysisT", bound=Analysis)


@dataclasses.dataclass(frozen=True)
class Artifact(abc.ABC, Generic[AnalysisT]):
    """A figure or a table of the paper; its type argument is the class of its analyses.

    Attributes:
        name: Its name on the command line and in file names.
        title: One line for people.
        statement: What the paper says about it, in a sentence.
        settings: The settings of its panels, rows or columns.
        remark: A sentence for the caption.
        tables_on_page: Whether the page shows the tables, and not only their LaTeX.
        takes_rates: Whether its runs take the learning rates that `--tune` finds for its settings.
    """

    tables_on_page: ClassVar[bool] = False
    takes_rates: ClassVar[bool] = True

    name: str
    title: str
    statement: str
    settings: tuple[Setting, ...] = ()
    remark: str = ""

    def obstacle(self, plan: Plan) -> str:
        """A sentence on why it cannot be made here with this plan; empty if it can."""
        return ""

    def searches(self, plan: Plan) -> Mapping[str, GridSearch | RateSearch]:
        """Searches whose learning rates the experiments need, by their key in `plan.searches`."""
        return {}

    @abc.abstractmethod
    def experiments(self, plan: Plan) -> Mapping[str, Computation]:
        """The experiments that must be run; `results` has the same keys."""

    def prepare(self) -> None:
        """Computes what needs no results, while other processes compute those."""
        return

    @abc.abstractmethod
    def analyse(self, results: Results) -> AnalysisT:
        """All numbers that follow from the results; the other methods read them."""

    @abc.abstractmethod
    def caption(self, analysis: AnalysisT, plan: Plan) -> str:
        """One sentence on what is shown; after a blank line, all conventions in words."""

    def tables(self, analysis: AnalysisT, plan: Plan) -> Mapping[str, pd.DataFrame]:
        """Tables for print; the key of each is the sentence above it."""
        return {}

    def comparison(self, analysis: AnalysisT) -> pd.DataFrame | None:
        """Our numbers (quantity, ours, low, high) and, if there are any, the printed ones."""
        return None

    def against_rates(self, plan: Plan) -> str:
        """For captions: what searches say against the rates that they found; empty if nothing."""
        keys = [setting.name for setting in self.settings if self.takes_rates]
        warnings = {
            key: plan.searches[key].warning()
            for key in (*keys, *self.searches(plan))
            if key in plan.searches
        }
        return " ".join(f"Search for {key}: {words}" for key, words in warnings.items() if words)

    def how_run(self, results: Results, plan: Plan) -> str:
        """For captions: recipe, learning rates, diverged runs, and the artifact's remark."""
        sentences = [
            conventions(plan, self.settings),
            rates_in_words(results),
            diverged_in_words(results),
            self.remark,
        ]
        return " ".join(filter(None, sentences))


class SettingCurves(Artifact[AnalysisT]):
    """One panel for each setting and one line for each optimizer, along the setting's runs."""

    def experiments(self, plan: Plan) -> Mapping[str, Experiment]:
        return {setting.name: setting.experiment(plan) for setting in self.settings}

    @abc.abstractmethod
    def sentence(self, analysis: AnalysisT) -> str:
        """One sentence on what is drawn."""

    @abc.abstractmethod
    def shown(self, analysis: AnalysisT) -> str:
        """Details of what is drawn."""

    def caption(self, analysis: AnalysisT, plan: Plan) -> str:
        details = f"{self.shown(analysis)} {self.how_run(analysis.results, plan)}"
        return f"{self.sentence(analysis)}\n\n{details}"
