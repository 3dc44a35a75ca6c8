"""What follows from each difference between the public code and the text of the paper.

From the recipe `code`, one convention at a time is taken from `paper`; then, on the runs of `code`,
one part at a time of the definition of the robust condition number is changed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import pandas as pd
import xarray as xr

from attnscape.estimators import CONDITION_NUMBERS, PUBLIC_CODE, PairedRatio, paired_ratio
from attnscape.experiment import Experiment
from attnscape.paper.artifact import Artifact, Results, conventions
from attnscape.paper.claims import _statistics as statistics
from attnscape.paper.condition import STEPS
from attnscape.paper.runs import (
    check_steps,
    listed,
)
from attnscape.paper.settings import CONVENTIONS, MAIN, SPHERE, Convention, Plan
from attnscape.training import Status

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
    """

    steps: tuple[int, ...] = STEPS

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
                base = chosen.get(f"{setting.name}{_BETWEEN}{CODE}")
                if base is None or experiment.run_id != base.run_id:
                    chosen[f"{setting.name}{_BETWEEN}{change}"] = experiment
        return chosen

    def frame(self, results: Results) -> pd.DataFrame:
        """A row a setting, change and statistic: the ratio SGDM / Adam over seeds.

        The columns setting, change, statistic, n, missing (seeds without the ratio), diverged_sgdm,
        diverged_adam, geometric_mean, low, high (its interval), mean, std, median, median_low,
        median_high, share_above_one, sign_test_p.
        """
        rows = []
        for key, dataset in results.items():
            setting, change = key.split(_BETWEEN)
            for statistic, ratio in self._statistics(dataset):
                rows.append(_row(setting, change, statistic, ratio, dataset))
            if change == CODE:
                for definition, name in DEFINITION_CHANGES.items():
                    for statistic, ratio in self._condition(dataset, name):
                        rows.append(_row(setting, definition, statistic, ratio, dataset))
        return pd.DataFrame(rows)

    def _statistics(self, dataset: xr.Dataset) -> Iterator[tuple[str, PairedRatio]]:
        yield "final loss", statistics.loss_gap(dataset)
        yield from self._condition(dataset, PUBLIC_CODE)
        medians = [statistics.median_smoothness(dataset, name) for name in ("sgdm", "adam")]
        yield "directional smoothness", paired_ratio(*medians)

    def _condition(self, dataset: xr.Dataset, name: str) -> Iterator[tuple[str, PairedRatio]]:
        for step in self.steps:
            yield f"R at step {step}", statistics.condition_gap(dataset, step, name)

    def tables(self, results: Results, plan: Plan) -> Mapping[str, pd.DataFrame]:
        frame = self.frame(results)
        cells = frame.apply(_cell, axis=1)
        table = frame.assign(cell=cells).pivot(
            index=["setting", "change"], columns="statistic", values="cell"
        )
        order = frame[["setting", "change"]].drop_duplicates()
        table = table.loc[list(order.itertuples(index=False, name=None))]
        table = table[list(dict.fromkeys(frame["statistic"]))].fillna("").reset_index()
        return {"Ratio SGDM / Adam: geometric mean over seeds, interval at 95 %.": table}

    def caption(self, results: Results, plan: Plan) -> str:
        dataset = next(iter(results.values()))
        definitions = "; ".join(
            f"`{change}` {CONDITION_NUMBERS[name]}" for change, name in DEFINITION_CHANGES.items()
        )
        return " ".join(
            [
                f"Ratio SGDM / Adam over {dataset.sizes['seed']} seeds, geometric mean and its "
                "bootstrap interval at 95 %: of the final loss (median of the last 20 on the fixed "
                f"batch), of the robust condition number R at steps {listed(self.steps)} "
                f"({CONDITION_NUMBERS[PUBLIC_CODE]}), and of the directional smoothness, the "
                "median over steps of u^T H u / |u|^2 along the step u. The paper says that all "
                "are above 1. Arrows: beyond the axis; crosses: there is no geometric mean, since "
                "runs diverged, R is not defined or a smoothness is negative. `code` is the recipe "
                "of the public code; each change takes one convention from the text, and is left "
                "out where it changes nothing. On the runs of `code`, R has other definitions: "
                f"{definitions}.",
                conventions(dataclasses.replace(plan, recipe="code", overrides={}), self.settings),
            ]
        )


def _row(
    setting: str, change: str, statistic: str, ratio: PairedRatio, dataset: xr.Dataset
) -> dict[str, Any]:
    diverged = (dataset["status"] == Status.diverged).any("learning_rate").sum("seed")
    return {
        "setting": setting,
        "change": change,
        "statistic": statistic,
        "n": ratio.n,
        "missing": ratio.diverged + ratio.undefined,
        "diverged_sgdm": int(diverged.sel(optimizer="sgdm")),
        "diverged_adam": int(diverged.sel(optimizer="adam")),
        "geometric_mean": ratio.geometric_mean.estimate,
        "low": ratio.geometric_mean.low,
        "high": ratio.geometric_mean.high,
        "mean": ratio.mean,
        "std": ratio.std,
        "median": ratio.median.estimate,
        "median_low": ratio.median.low,
        "median_high": ratio.median.high,
        "share_above_one": ratio.share_above_one.estimate,
        "sign_test_p": ratio.sign_test_p,
    }


def _cell(row: pd.Series) -> str:
    number = f"{row['geometric_mean']:.3g} [{row['low']:.3g}, {row['high']:.3g}]"
    return f"{number} (n = {row['n']})" if row["missing"] else number


ABLATION = Ablation(
    "ablation",
    "What depends on the differences between the public code and the text",
    "SGD has the larger loss, robust condition number and directional smoothness.",
    (*MAIN, SPHERE),
)
