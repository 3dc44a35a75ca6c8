"""The entries of a bench: optimizers on settings, each with its search and its report runs."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from attnscape.bench.suite import measures
from attnscape.experiments.experiment import Experiment
from attnscape.experiments.setting import Plan, Setting
from attnscape.optimizers import Factory

Phase = Literal["tuning", "report"]

_MARK = " *"  # behind a label


class ResultKey(NamedTuple):
    """The setting, optimizer and phase of a result of the bench; its string is the result's key.

    Manifests hold the strings, such as `setting-1|adam|report` and `setting-1|adam|tuning-0`.
    """

    setting: str
    optimizer: str
    phase: Phase
    trial: int | None = None

    def __str__(self) -> str:
        number = "" if self.trial is None else f"-{self.trial}"
        return f"{self.setting}|{self.optimizer}|{self.phase}{number}"

    @classmethod
    def parse(cls, key: str) -> ResultKey:
        """The inverse of `str`."""
        setting, optimizer, phase = key.split("|")
        if phase == "report":
            return cls(setting, optimizer, "report")
        return cls(setting, optimizer, "tuning", int(phase.removeprefix("tuning-")))


@dataclasses.dataclass(frozen=True)
class Combination:
    """Values of an optimizer's arguments that were tried, and the best rate with them.

    Attributes:
        values: The values, by argument.
        rate: The learning rate that the search found.
        loss: The median final loss over tuning seeds in words.
        diverged: How many tuning runs diverged at this rate.
        runs: Tuning runs at all rates.
    """

    values: Mapping[str, Any]
    rate: float
    loss: str
    diverged: int
    runs: int


@dataclasses.dataclass(frozen=True)
class Entry:
    """An optimizer that was run on a setting, at the rate that a search found.

    Attributes:
        setting: The setting's name in the suite.
        rate: The learning rate.
        at_edge: Whether it is the first or last rate that was tried.
        unstable: Whether tuning runs diverged at every rate, also at this one.
        warning: The search's warning if its rule found no good rate; otherwise empty.
        run_id: The run id of the report runs.
        report: The file of the report runs, relative to the folder.
        trials: The files of the search.
        chosen: Values of tuned arguments; those of `combinations` with the fewest runs that
            diverged, then with the smallest loss.
        combinations: All that were tried; none if only the learning rate was tuned.

    Examples:
        >>> from attnscape.bench import Entry
        >>> found = {"at_edge": False, "unstable": False, "warning": "", "run_id": ""}
        >>> entry = Entry("setting-1", 0.02, report="adam.nc", trials=("tuning.nc",), **found)
        >>> entry.setting, entry.rate
        ('setting-1', 0.02)
    """

    setting: str
    rate: float
    at_edge: bool
    unstable: bool
    warning: str
    run_id: str
    report: str
    trials: tuple[str, ...]
    chosen: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    combinations: tuple[Combination, ...] = ()


def alone(
    setting: Setting, optimizer: str, factory: Factory, plan: Plan, rate: float = 1.0
) -> Experiment:
    """The experiment of one optimizer alone on a setting, so that every bench can reuse it."""
    experiment = setting.experiment(
        dataclasses.replace(plan, searches={}),
        optimizers={optimizer: factory},
        learning_rates={optimizer: (rate,)},
        measures=measures(setting),
        evaluation_seeds=0,  # one batch: optimizers are compared on the same prompts
    )
    label = re.sub(r"[@:]", ",", optimizer)  # of a schedule, for which a file's name has no place
    return dataclasses.replace(experiment, name=f"{experiment.name}-{label}")


@dataclasses.dataclass(frozen=True)
class Lineup:
    """The optimizers of a bench, and how each was run.

    Attributes:
        settings: Names of the settings, in their order.
        entries: The entry for each of the settings, by the optimizer's label.
        marked: Labels of optimizers that have changed since they were run.
    """

    settings: Sequence[str]
    entries: Mapping[str, Sequence[Entry]]
    marked: Sequence[str] = ()

    @property
    def optimizers(self) -> list[str]:
        """Labels, in the given order."""
        return list(self.entries)

    def of_settings(self) -> list[tuple[str, str, Entry]]:
        """Setting, optimizer and entry, in the order of the settings."""
        return [
            (setting, optimizer, entry)
            for setting in self.settings
            for optimizer, entries in self.entries.items()
            for entry in entries
            if entry.setting == setting
        ]

    def label(self, optimizer: str) -> str:
        """The optimizer's label, marked if the optimizer has changed since it was run."""
        return optimizer + _MARK * (optimizer in self.marked)
