"""Robust condition numbers: the table of Fig. 4, and curves along training (Fig. 11, 14)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from attnscape.estimators import (
    CONDITION_NUMBERS,
    PUBLIC_CODE,
    PairedRatio,
    bootstrap,
    dead_parameters,
    negative_eigenvalues,
    paired_ratio,
)
from attnscape.experiment import Experiment
from attnscape.measures import Curvature, at
from attnscape.paper.artifact import Artifact, Results, SettingCurves, how_run
from attnscape.paper.runs import (
    check_steps,
    condition_numbers,
    condition_ratios,
    listed,
    with_interval,
)
from attnscape.paper.settings import DEPTHS, HEAVY_TAILED, MAIN, SETTING_1, SPHERE, Plan, Setting

STEPS = (750, 1250)
# Mean and n-1 standard deviation of R_SGD / R_Adam over six seeds at these steps, as printed.
PRINTED: Mapping[str, tuple[tuple[float, float], ...]] = MappingProxyType(
    {
        "setting-1": ((1.76, 0.40), (1.58, 0.41)),
        "setting-2": ((3.14, 0.97), (5.98, 2.86)),
        "setting-3": ((9.57, 13.3), (6.53, 3.55)),
    }
)
# The same of full Transformers, by layer: Jiang et al. (2022), Table 1, as quoted beside it.
FULL_TRANSFORMERS: Mapping[str, tuple[tuple[float, float], ...]] = MappingProxyType(
    {
        "#15": ((1.65, 0.65), (2.01, 1.00)),
        "#17": ((1.91, 0.53), (1.43, 0.63)),
        "#22": ((3.54, 1.21), (2.28, 1.18)),
    }
)
_EXACT = (
    "of the exact Hessian, in double precision, on one fixed batch of 1000 prompts that all runs "
    "share"
)


@dataclasses.dataclass(frozen=True)
class ConditionTable(Artifact):
    """R_SGD / R_Adam, seed by seed: as printed, and its distribution over many seeds.

    Attributes:
        steps: When.
        seeds: The first so many seeds are the printed table's.
        printed: Mean and standard deviation at each step, by setting.
    """

    steps: tuple[int, ...] = STEPS
    seeds: int = 6
    printed: Mapping[str, tuple[tuple[float, float], ...]] = dataclasses.field(
        default_factory=lambda: PRINTED
    )

    def obstacle(self, plan: Plan) -> str:
        if plan.own:
            return f"{self.name} is held against the paper's numbers; leave --task and --model out."
        return ""

    def experiments(self, plan: Plan) -> Mapping[str, Experiment]:
        """Runs up to the last of `steps`, of many seeds; raises as `check_steps` does."""
        check_steps(self.name, self.steps, plan)
        changes = {
            "seeds": tuple(range(max(plan.many_seeds, plan.seeds or 0, self.seeds))),
            "steps": max(self.steps),
            "measures": (Curvature(at(*self.steps)),),
        }
        return {setting.name: setting.experiment(plan, **changes) for setting in self.settings}

    def frame(self, results: Results) -> pd.DataFrame:
        """The columns setting, convention, step, seed, sgdm, adam, ratio.

        `convention` names a robust condition number of `CONDITION_NUMBERS`.
        """
        frames = [
            condition_ratios(dataset, tuple(CONDITION_NUMBERS)).assign(setting=name)
            for name, dataset in results.items()
        ]
        columns = ["setting", "convention", "step", "seed", "sgdm", "adam", "ratio"]
        return pd.concat(frames, ignore_index=True)[columns]

    def tables(self, results: Results, plan: Plan) -> Mapping[str, pd.DataFrame]:
        frame, many = self.frame(results), self._many(results)
        return {
            f"Ratio of robust condition numbers, SGDM over Adam, {CONDITION_NUMBERS[PUBLIC_CODE]}: "
            "mean (n-1 standard deviation) over seeds. Full Transformers: Jiang et al. (2022), "
            "Table 1.": self._printed_table(frame, many),
            "Median, geometric mean and share above 1 of the same ratio with intervals at 95 %, "
            "and the p-value of the sign test.": self._summary_table(frame, many),
            f"Geometric mean of the ratio over {many} seeds with its interval at 95 %, for every "
            "definition; in parentheses the seeds for which it is not defined.": (
                self._convention_table(frame, many)
            ),
        }

    def _printed_table(self, frame: pd.DataFrame, many: int) -> pd.DataFrame:
        rows = []
        for setting in self.settings:
            for step, printed in zip(self.steps, self.printed[setting.name], strict=True):
                row = {"setting": setting.title, "step": step, "printed": spread(*printed)}
                for seeds in (self.seeds, many):
                    ratio = self._ratio(frame, setting, step, seeds)
                    row[f"{seeds} seeds"] = spread(ratio.mean, ratio.std)
                rows.append(row)
        for layer, of_layer in FULL_TRANSFORMERS.items():
            for step, printed in zip(STEPS, of_layer, strict=True):
                name = f"Full Transformer, layer {layer}"
                rows.append({"setting": name, "step": step, "printed": spread(*printed)})
        return pd.DataFrame(rows).fillna("")

    def _summary_table(self, frame: pd.DataFrame, many: int) -> pd.DataFrame:
        rows = []
        for setting in self.settings:
            for step in self.steps:
                for seeds in (self.seeds, many):
                    ratio = self._ratio(frame, setting, step, seeds)
                    rows.append(
                        {
                            "setting": setting.title,
                            "step": step,
                            "seeds": ratio.n,
                            "median": with_interval(ratio.median),
                            "geometric mean": with_interval(ratio.geometric_mean),
                            "share above 1": with_interval(ratio.share_above_one),
                            "p": ratio.sign_test_p,
                        }
                    )
        return pd.DataFrame(rows)

    def _convention_table(self, frame: pd.DataFrame, many: int) -> pd.DataFrame:
        rows = []
        for convention in CONDITION_NUMBERS:
            cells = {"definition": convention}
            for setting in self.settings:
                for step in self.steps:
                    ratio = self._ratio(frame, setting, step, many, convention)
                    missing = ratio.diverged + ratio.undefined
                    cells[f"{setting.name}, {step}"] = with_interval(ratio.geometric_mean) + (
                        f" ({missing})" if missing else ""
                    )
            rows.append(cells)
        return pd.DataFrame(rows)

    def caption(self, results: Results, plan: Plan) -> str:
        shares = []
        for name, dataset in results.items():
            dead, negative = _shares(dataset)
            shares.append(f"{name} {dead:.0%} and {negative:.0%}")
        return " ".join(
            [
                "Ratio of the robust condition numbers of SGDM and Adam, seed by seed, at steps "
                f"{listed(self.steps)}, on a log axis: {CONDITION_NUMBERS[PUBLIC_CODE]} {_EXACT}. "
                f"Dots and outline: {self._many(results)} seeds and their density. Black bar: mean "
                f"and n-1 standard deviation of the first {self.seeds}. Grey band and line: the "
                "printed ones, of six seeds. A standard deviation that reaches below zero is cut "
                "off at the axis. A seed fixes the initial parameters and the prompts of both "
                "optimizers.",
                "Dead parameters (exactly zero rows of the Hessian) and negative eigenvalues are, "
                "of all: " + "; ".join(shares) + ".",
                how_run(self, results, plan),
            ]
        )

    def comparison(self, results: Results) -> pd.DataFrame:
        """Of each setting and step: our mean over the printed number of seeds.

        `low` and `high` are its bootstrap interval; `inside` says whether it lies within the
        printed mean and standard deviation, `printed_low` and `printed_high`.
        """
        frame, rows = self.frame(results), []
        for setting in self.settings:
            for index, step in enumerate(self.steps):
                ratios = self._select(frame, setting, step, self.seeds)["ratio"].to_numpy()
                ours = bootstrap(np.mean, ratios[np.isfinite(ratios)])
                mean, std = self.printed[setting.name][index]
                rows.append(
                    {
                        "quantity": f"R_SGD/R_Adam, {setting.name}, step {step}",
                        "ours": ours.estimate,
                        "low": ours.low,
                        "high": ours.high,
                        "printed": mean,
                        "printed_low": mean - std,
                        "printed_high": mean + std,
                        "inside": abs(ours.estimate - mean) <= std,
                    }
                )
        return pd.DataFrame(rows)

    def _many(self, results: Results) -> int:
        return next(iter(results.values())).sizes["seed"]

    def _select(
        self,
        frame: pd.DataFrame,
        setting: Setting,
        step: int,
        seeds: int,
        convention: str = PUBLIC_CODE,
    ) -> pd.DataFrame:
        of_setting = frame[(frame["setting"] == setting.name) & (frame["convention"] == convention)]
        return of_setting[(of_setting["step"] == step) & (of_setting["seed"] < seeds)]

    def _ratio(self, *which: Any) -> PairedRatio:
        chosen = self._select(*which)
        return paired_ratio(chosen["sgdm"], chosen["adam"])


@dataclasses.dataclass(frozen=True)
class ConditionCurves(SettingCurves):
    """A column a setting, a row a convention, a line an optimizer.

    Attributes:
        conventions: Names of `CONDITION_NUMBERS`.
    """

    conventions: tuple[str, ...] = (PUBLIC_CODE,)

    def frame(self, results: Results) -> pd.DataFrame:
        """The columns setting, convention, optimizer, learning_rate, seed, step, condition_number.

        Empty numbers are those of diverged runs, and those that are not defined.
        """
        frames = [
            condition_numbers(dataset, self.conventions).assign(setting=name)
            for name, dataset in results.items()
        ]
        columns = ["setting", "convention", "optimizer", "learning_rate", "seed", "step"]
        return pd.concat(frames, ignore_index=True)[[*columns, "condition_number"]]

    def shown(self, results: Results) -> str:
        dataset = next(iter(results.values()))
        seeds, steps = dataset.sizes["seed"], np.unique(self.frame(results)["step"])
        rows = [str(CONDITION_NUMBERS[name]) for name in self.conventions]
        dead = [f"{name} {_shares(results[name])[0]:.0%}" for name in results]
        return " ".join(
            [
                f"Robust condition number along {steps[-1]:,} steps, {seeds} seeds, on a log axis: "
                + "; below: ".join(rows)
                + f", {_EXACT}, every {steps[1] - steps[0] if steps.size > 1 else 0} steps.",
                "Lines: geometric mean over seeds; bands: smallest to largest of the seeds; a line "
                "stops where a run has diverged.",
                f"Dead parameters (exactly zero rows of the Hessian): {', '.join(dead)}.",
            ]
        )


def _shares(dataset: xr.Dataset) -> tuple[float, float]:
    """Of dead parameters and of negative eigenvalues, over all runs and steps."""
    dead = dead_parameters(dataset["hessian_row_norm"]) / dataset.sizes["parameter"]
    negative = negative_eigenvalues(dataset["hessian_eigenvalues"]) / dataset.sizes["eigenvalue"]
    return float(np.nanmean(dead)), float(np.nanmean(negative))


def spread(mean: float, std: float) -> str:
    """Mean and standard deviation with three digits, as the paper prints them."""
    first, second = (f"{value:.{2 if abs(value) < 10 else 1}f}" for value in (mean, std))
    return f"{first} ({second})"


TAB_CONDITION = ConditionTable(
    "tab-condition",
    "Ratio of robust condition numbers, SGDM over Adam (Fig. 4, right table)",
    "SGD has a larger robust condition number than Adam at steps 750 and 1250 in all three "
    "settings.",
    MAIN,
)
FIG11 = ConditionCurves(
    "fig11",
    "Robust condition number for covariates with light and heavy tails (Fig. 11)",
    "The gap in the robust condition number is larger for heavier-tailed covariates.",
    (SPHERE, SETTING_1, HEAVY_TAILED),
    "E|x|^2 is 1 for spherical and heavy-tailed covariates and 5 for Gaussian ones; the scale of "
    "the Hessian cancels in the condition number.",
)
FIG14 = ConditionCurves(
    "fig14",
    "Robust condition number for different numbers of layers (Fig. 14)",
    "The gap in the robust condition number is more pronounced for 4, 6, 8 layers than for 2.",
    DEPTHS,
    "The share of dead parameters falls with depth and moves the median of the upper row; the "
    "lower row does not have them.",
    (PUBLIC_CODE, f"{PUBLIC_CODE}-live"),
)
