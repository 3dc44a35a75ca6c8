"""The effect of each difference between the public code and the text of the paper.

Starting from the recipe `code`, one convention at a time is replaced by that of the recipe `paper`.
On the runs of `code`, the definition of the robust condition number is also changed, in one respect
at a time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from attnscape.experiments.artifact import Analysis, Artifact, Results
from attnscape.experiments.captions import batches_in_words, conventions
from attnscape.experiments.experiment import Experiment
from attnscape.experiments.runs import check_steps, listed
from attnscape.experiments.setting import CONVENTIONS, JUDGED, Convention, Plan
from attnscape.measures import Measure
from attnscape.optimizers import PAPER as BASELINES
from attnscape.paper.claims import _per_run as per_run
from attnscape.paper.claims._comparison import Comparison
from attnscape.paper.claims._from_tables import ratio_comparison
from attnscape.paper.condition_table import STEPS
from attnscape.paper.settings import MAIN, SPHERE
from attnscape.statistics import CONDITION_NUMBERS, PUBLIC_CODE

CODE = "code"
# The conventions replaced by those of `paper`, by the label of each change in the figure.
RECIPE_CHANGES: Mapping[str, tuple[Convention, ...]] = MappingProxyType(
    {
        CODE: (),
        "full form of P, Q": ("form",),
        "printed rates": ("rates",),
        "clip at 1": ("clip",),
        "all of the text": CONVENTIONS,
    }
)
# The robust condition number that replaces the public code's, by the label of each change.
DEFINITION_CHANGES: Mapping[str, str] = MappingProxyType(
    {
        "R: ordinary median": "diagonal-median",
        "R: signed": "diagonal-signed-lower-median",
        "R: eigenvalues": "eigenvalue-absolute-lower-median",
        "R: live parameters": f"{PUBLIC_CODE}-live",
        "R: the text's": "eigenvalue-signed",
    }
)


class RunKey(NamedTuple):
    """Setting and change of a result of the ablation; its string is the key of the result.

    Manifests hold the strings, such as `setting-2|code`.
    """

    setting: str
    change: str

    def __str__(self) -> str:
        return "|".join(self)

    @classmethod
    def parse(cls, key: str) -> RunKey:
        """The inverse of `str`."""
        return cls(*key.split("|"))


@dataclasses.dataclass(frozen=True)
class Ablation(Artifact[Analysis]):
    """Ratios SGDM / Adam of loss, robust condition number and directional smoothness.

    Attributes:
        steps: Steps at which the robust condition number is computed.
        measures: The measures of the changed runs; the runs of `code` are shared with other
            artifacts.
        seeds: Largest number of seeds for each change.
    """

    steps: tuple[int, ...] = STEPS
    measures: tuple[Measure, ...] = JUDGED
    seeds: int = 6

    def obstacle(self, plan: Plan) -> str:
        if plan.own:
            return f"{self.name} is about the paper's recipes; leave --task and --model out."
        return ""

    def experiments(self, plan: Plan) -> Mapping[str, Experiment]:
        """`code` and the changes that differ from it, for each setting.

        Raises the errors of `check_steps`.
        """
        check_steps(self.name, self.steps, plan)
        chosen = {}
        for setting in self.settings:
            for change, taken in RECIPE_CHANGES.items():
                overrides = dict.fromkeys(taken, "paper")
                # Searched rates are not used, because learning rates are one of the conventions.
                changed = dataclasses.replace(plan, recipe="code", overrides=overrides, searches={})
                experiment = setting.experiment(changed)
                base = chosen.setdefault(str(RunKey(setting.name, CODE)), experiment)
                if experiment.run_id != base.run_id:
                    chosen[str(RunKey(setting.name, change))] = dataclasses.replace(
                        experiment,
                        measures=self.measures,
                        seeds=experiment.seeds[: self.seeds],
                    )
        return chosen

    def analyse(self, results: Results) -> Analysis:
        """The frame has the ratio SGDM / Adam: one row for each setting, change and statistic.

        The columns are setting, change, statistic, n (number of seeds), geometric_mean, low and
        high (its interval over seeds and evaluation batches), and note (facts about the numbers,
        such as diverged runs). If runs diverged, the ratio is the median, in which a diverged run
        is the worst result.
        """
        rows = []
        for key, dataset in results.items():
            setting, change = RunKey.parse(key)
            for comparison in self._comparisons(dataset):
                rows.append(_row(setting, change, comparison))
            if change == CODE:
                for definition, name in DEFINITION_CHANGES.items():
                    for comparison in self._condition(dataset, name):
                        rows.append(_row(setting, definition, comparison))
        return Analysis(results, pd.DataFrame(rows))

    def _comparisons(self, dataset: xr.Dataset) -> Iterator[Comparison]:
        yield ratio_comparison(
            "final loss", *(per_run.final_loss(dataset, name) for name in BASELINES)
        )
        yield from self._condition(dataset, PUBLIC_CODE)
        medians = (per_run.smoothness(dataset, name) for name in BASELINES)
        # A negative smoothness has no ratio.
        positive = (np.where(table > 0, table, np.nan) for table in medians)
        yield ratio_comparison("directional smoothness", *positive)

    def _condition(self, dataset: xr.Dataset, name: str) -> Iterator[Comparison]:
        for step in self.steps:
            tables = (per_run.condition(dataset, o, step, name) for o in BASELINES)
            yield ratio_comparison(f"R at step {step}", *tables)

    def tables(self, analysis: Analysis, plan: Plan) -> Mapping[str, pd.DataFrame]:
        frame = analysis.frame
        cells = frame.apply(_cell, axis=1)
        table = frame.assign(cell=cells).pivot(
            index=["setting", "change"], columns="statistic", values="cell"
        )
        order = frame[["setting", "change"]].drop_duplicates()
        table = table.loc[list(order.itertuples(index=False, name=None))]
        table = table[list(dict.fromkeys(frame["statistic"]))].fillna("").reset_index()
        sentence = (
            "Ratio SGDM / Adam: geometric mean over seeds and evaluation batches, interval at 95 % "
            "(n: seeds)."
        )
        return {sentence: table}

    def caption(self, analysis: Analysis, plan: Plan) -> str:
        datasets = list(analysis.results.values())
        seeds = sorted({dataset.sizes["seed"] for dataset in datasets})
        counts = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
        definitions = "; ".join(
            f"`{change}` {CONDITION_NUMBERS[name]}" for change, name in DEFINITION_CHANGES.items()
        )
        sentence = (
            f"Ratio SGDM / Adam over {counts} seeds of final loss, robust condition "
            "number R and directional smoothness, as conventions change one at a time; the paper "
            "says that all are above 1."
        )
        details = [
            "Geometric mean and its interval at 95 %, over seeds and evaluation batches: of the "
            f"final loss (median of the last {per_run.LAST}, on {batches_in_words(datasets[0])}), "
            f"of R at steps {listed(self.steps)} ({CONDITION_NUMBERS[PUBLIC_CODE]}), and of the "
            "directional smoothness, the median over steps of u^T H u / |u|^2 along the step u. "
            "Where runs diverged the ratio is the median over seeds, a diverged run being the "
            "worst result. Arrows: beyond the axis; crosses: there is no ratio, since R is not "
            "defined or a smoothness is negative. `code` is the recipe of the public code; each "
            "change takes one convention from the text, and is left out where it changes nothing. "
            f"On the runs of `code`, R has other definitions: {definitions}.",
            conventions(dataclasses.replace(plan, recipe="code", overrides={}), self.settings),
        ]
        return f"{sentence}\n\n{' '.join(details)}"


def _row(setting: str, change: str, comparison: Comparison) -> dict[str, Any]:
    interval = comparison.interval
    return {
        "setting": setting,
        "change": change,
        "statistic": comparison.label,
        "n": interval.n,
        "geometric_mean": interval.estimate,
        "low": interval.low,
        "high": interval.high,
        "note": comparison.note,
    }


def _cell(row: pd.Series) -> str:
    ends = "no interval" if np.isnan(row["low"]) else f"{row['low']:.3g}, {row['high']:.3g}"
    note = f"; {row['note']}" if row["note"] else ""
    return f"{row['geometric_mean']:.3g} [{ends}] (n = {row['n']}){note}"


ABLATION = Ablation(
    "ablation",
    "What depends on the differences between the public code and the text",
    "SGD has the larger loss, robust condition number and directional smoothness.",
    (*MAIN, SPHERE),
)
