"""What follows from each difference between the public code and the text of the paper.

From the recipe `code`, one convention at a time is taken from `paper`; then, on the runs of `code`,
one part at a time of the definition of the robust condition number is changed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from attnscape.estimators import CONDITION_NUMBERS, PUBLIC_CODE
from attnscape.experiment import Experiment
from attnscape.measures import Measure
from attnscape.optimizers import PAPER as BASELINES
from attnscape.paper.artifact import Artifact, Results, batches_in_words, conventions
from attnscape.paper.claims import _statistics as statistics
from attnscape.paper.claims._parts import Part
from attnscape.paper.claims._tables import ratio_part
from attnscape.paper.condition import STEPS
from attnscape.paper.runs import check_steps, listed
from attnscape.paper.settings import CONVENTIONS, JUDGED, MAIN, SPHERE, Convention, Plan

CODE = "code"
# By what a picture says of each: what is taken from `paper`.
RECIPE_CHANGES: Mapping[str, tuple[Convention, ...]] = MappingProxyType(
    {
        CODE: (),
        "full form of P, Q": ("form",),
        "printed rates": ("rates",),
        "clip at 1": ("clip",),
        "all of the text": CONVENTIONS,
    }
)
# Likewise: which robust condition number replaces the public code's.
DEFINITION_CHANGES: Mapping[str, str] = MappingProxyType(
    {
        "R: ordinary median": "diagonal-median",
        "R: signed": "diagonal-signed-lower-median",
        "R: eigenvalues": "eigenvalue-absolute-lower-median",
        "R: live parameters": f"{PUBLIC_CODE}-live",
        "R: the text's": "eigenvalue-signed",
    }
)
_BETWEEN = "|"


@dataclasses.dataclass(frozen=True)
class Ablation(Artifact):
    """Ratios SGDM / Adam of loss, robust condition number and directional smoothness.

    Attributes:
        steps: Of the robust condition number.
        measures: What is recorded along the changed runs; `code` shares its runs with other
            artifacts.
        seeds: At most so many seeds of each change.
    """

    steps: tuple[int, ...] = STEPS
    measures: tuple[Measure, ...] = JUDGED
    seeds: int = 6

    def obstacle(self, plan: Plan) -> str:
        if plan.own:
            return f"{self.name} is about the paper's recipes; leave --task and --model out."
        return ""

    def experiments(self, plan: Plan) -> Mapping[str, Experiment]:
        """For each setting, `code` and what differs from it; raises as `check_steps` does."""
        check_steps(self.name, self.steps, plan)
        chosen = {}
        for setting in self.settings:
            for change, taken in RECIPE_CHANGES.items():
                overrides = dict.fromkeys(taken, "paper")
                # Learning rates are one of the conventions: none that were searched for.
                changed = dataclasses.replace(plan, recipe="code", overrides=overrides, searches={})
                experiment = setting.experiment(changed)
                base = chosen.setdefault(f"{setting.name}{_BETWEEN}{CODE}", experiment)
                if experiment.run_id != base.run_id:
                    chosen[f"{setting.name}{_BETWEEN}{change}"] = dataclasses.replace(
                        experiment,
                        measures=self.measures,
                        seeds=experiment.seeds[: self.seeds],
                    )
        return chosen

    def frame(self, results: Results) -> pd.DataFrame:
        """A row a setting, change and statistic: the ratio SGDM / Adam.

        The columns setting, change, statistic, n (seeds that it rests on), geometric_mean, low,
        high (its interval, over seeds and evaluation batches), note (what else must be known, such
        as runs that diverged: the ratio is then the median, with those as the worst result).
        """
        rows = []
        for key, dataset in results.items():
            setting, change = key.split(_BETWEEN)
            for part in self._parts(dataset):
                rows.append(_row(setting, change, part))
            if change == CODE:
                for definition, name in DEFINITION_CHANGES.items():
                    for part in self._condition(dataset, name):
                        rows.append(_row(setting, definition, part))
        return pd.DataFrame(rows)

    def _parts(self, dataset: xr.Dataset) -> Iterator[Part]:
        yield ratio_part(
            "final loss", *(statistics.final_loss(dataset, name) for name in BASELINES)
        )
        yield from self._condition(dataset, PUBLIC_CODE)
        medians = (statistics.smoothness(dataset, name) for name in BASELINES)
        # A negative smoothness has no ratio.
        positive = (np.where(table > 0, table, np.nan) for table in medians)
        yield ratio_part("directional smoothness", *positive)

    def _condition(self, dataset: xr.Dataset, name: str) -> Iterator[Part]:
        for step in self.steps:
            tables = (statistics.condition(dataset, o, step, name) for o in BASELINES)
            yield ratio_part(f"R at step {step}", *tables)

    def tables(self, results: Results, plan: Plan) -> Mapping[str, pd.DataFrame]:
        frame = self.frame(results)
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

    def caption(self, results: Results, plan: Plan) -> str:
        dataset = next(iter(results.values()))
        seeds = sorted({each.sizes["seed"] for each in results.values()})
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
            f"final loss (median of the last {statistics.LAST}, on {batches_in_words(dataset)}), "
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


def _row(setting: str, change: str, part: Part) -> dict[str, Any]:
    interval = part.interval
    return {
        "setting": setting,
        "change": change,
        "statistic": part.label,
        "n": interval.n,
        "geometric_mean": interval.estimate,
        "low": interval.low,
        "high": interval.high,
        "note": part.note,
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
