"""Curves of robust condition numbers along training (Fig. 11, 14)."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd

from attnscape.experiments.artifact import Analysis, Results, SettingCurves
from attnscape.experiments.captions import seeds_in_words
from attnscape.experiments.runs import condition_numbers, dead_and_negative, first_evaluation
from attnscape.paper.settings import DEPTHS, HEAVY_TAILED, SETTING_1, SPHERE
from attnscape.statistics import CONDITION_NUMBERS, PUBLIC_CODE

_EXACT = (
    "of the exact Hessian, in double precision, on the first fixed batch of 1000 prompts, which "
    "all runs share"
)


@dataclasses.dataclass(frozen=True)
class ConditionCurves(SettingCurves[Analysis]):
    """One column for each setting, one row for each convention, one line for each optimizer.

    Attributes:
        conventions: Keys of `CONDITION_NUMBERS`.
    """

    conventions: tuple[str, ...] = (PUBLIC_CODE,)

    def analyse(self, results: Results) -> Analysis:
        """The frame has one row for each run, convention, measured step and evaluation batch.

        The columns are setting, convention, optimizer, learning_rate, seed, step, evaluation and
        condition_number. It is NaN for diverged runs and if it is not defined. All evaluation
        batches have rows at `CONDITION_STEPS`; at other steps only the first batch has rows.
        """
        frames = [
            condition_numbers(dataset, self.conventions).assign(setting=name)
            for name, dataset in results.items()
        ]
        columns = ["setting", "convention", "optimizer", "learning_rate", "seed", "step"]
        columns += ["evaluation", "condition_number"]
        return Analysis(results, pd.concat(frames, ignore_index=True)[columns])

    def sentence(self, analysis: Analysis) -> str:
        dataset = next(iter(analysis.results.values()))
        last = int(dataset["step"][-1])
        return (
            f"Robust condition number along {last:,} steps, on a log axis: geometric mean over "
            f"seeds (lines), smallest to largest (bands); {seeds_in_words(analysis.results)}."
        )

    def shown(self, analysis: Analysis) -> str:
        steps = np.unique(first_evaluation(analysis.frame)["step"])
        rows = [str(CONDITION_NUMBERS[name]) for name in self.conventions]
        dead = [
            f"{name} {dead_and_negative(dataset)[0]:.0%}"
            for name, dataset in analysis.results.items()
        ]
        shown = (
            f"Upper row: {'; lower row: '.join(rows)}" if len(rows) > 1 else rows[0].capitalize()
        )
        return " ".join(
            [
                f"{shown}, {_EXACT}, every {steps[1] - steps[0] if steps.size > 1 else 0} steps. "
                "A line stops where a run has diverged.",
                f"Dead parameters (exactly zero rows of the Hessian): {', '.join(dead)}.",
            ]
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
