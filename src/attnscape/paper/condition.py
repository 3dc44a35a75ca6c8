"""Robust condition numbers: the table of Fig. 4, and curves along training (Fig. 11, 14)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import pandas as pd
import xarray as xr

from attnscape.estimators import (
    CONDITION_NUMBERS,
    PUBLIC_CODE,
    crossed,
    dead_parameters,
    negative_eigenvalues,
)
from attnscape.experiment import Experiment
from attnscape.measures import Curvature, at
from attnscape.paper.artifact import (
    Artifact,
    Results,
    SettingCurves,
    batches_in_words,
    ends,
    first_evaluation,
    how_run,
    seeds_in_words,
)
from attnscape.paper.runs import (
    check_steps,
    condition_numbers,
    condition_ratios,
    listed,
)
from attnscape.paper.settings import (
    CONDITION_STEPS,
    DEPTHS,
    HEAVY_TAILED,
    MAIN,
    SETTING_1,
    SPHERE,
    Plan,
    Setting,
)

STEPS = CONDITION_STEPS
_FEWEST_MEANS = 40
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
    "of the exact Hessian, in double precision, on the first fixed batch of 1000 prompts, which "
    "all runs share"
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
        """The columns setting, convention, step, seed, evaluation, sgdm, adam, ratio.

        `convention` names a robust condition number of `CONDITION_NUMBERS`.
        """
        frames = [
            condition_ratios(dataset, tuple(CONDITION_NUMBERS)).assign(setting=name)
            for name, dataset in results.items()
        ]
        columns = ["setting", "convention", "step", "seed", "evaluation", "sgdm", "adam", "ratio"]
        return pd.concat(frames, ignore_index=True)[columns]

    def tables(self, results: Results, plan: Plan) -> Mapping[str, pd.DataFrame]:
        frame, (seeds, batches) = self.frame(results), self._counts(results)
        return {
            f"Ratio of robust condition numbers, SGDM over Adam, {CONDITION_NUMBERS[PUBLIC_CODE]}: "
            "mean (n-1 standard deviation) over seeds on the first batch, and the central 95 % of "
            f"such means of {self.seeds} seeds on one batch, over groups of seeds and batches. "
            "Full Transformers: Jiang et al. (2022), Table 1.": self._printed_table(frame),
            f"Geometric mean of the same ratio over {seeds} seeds and {batches} evaluation "
            "batches, its interval at 95 % crossed over both, and the variance of its logarithm "
            "between seeds, between batches and between their combinations.": (
                self._crossed_table(frame)
            ),
            "Geometric mean of the ratio with its crossed interval at 95 %, for every definition; "
            "in parentheses the seeds for which it is not defined on every batch.": (
                self._convention_table(frame)
            ),
        }

    def _printed_table(self, frame: pd.DataFrame) -> pd.DataFrame:
        rows = []
        for setting in self.settings:
            for step, printed in zip(self.steps, self.printed[setting.name], strict=True):
                ratios = self._ratios(frame, setting, step)
                row = {"setting": setting.title, "step": step, "printed": spread(*printed)}
                for seeds in dict.fromkeys((self.seeds, len(ratios))):
                    first = ratios.iloc[:seeds, 0]
                    row[f"{seeds} seeds, first batch"] = spread(
                        first.mean(skipna=False), first.std(skipna=False)
                    )
                low, _, high = self._means_of_few(ratios)
                row[f"means of {self.seeds} seeds"] = (
                    "" if np.isnan(low) else f"{low:.3g} to {high:.3g}"
                )
                rows.append(row)
        for layer, of_layer in FULL_TRANSFORMERS.items():
            for step, printed in zip(STEPS, of_layer, strict=True):
                name = f"Full Transformer, layer {layer}"
                rows.append({"setting": name, "step": step, "printed": spread(*printed)})
        return pd.DataFrame(rows).fillna("")

    def _crossed_table(self, frame: pd.DataFrame) -> pd.DataFrame:
        rows = []
        for setting in self.settings:
            for step in self.steps:
                ratios = self._ratios(frame, setting, step)
                found = crossed(np.log(ratios.to_numpy()))
                rows.append(
                    {
                        "setting": setting.title,
                        "step": step,
                        "seeds": len(ratios),
                        "left out (diverged)": found.dropped,
                        "batches": ratios.shape[1],
                        "geometric mean": ends(found.interval.exp()),
                        "above 1": f"{np.mean(ratios.to_numpy() > 1):.0%}",
                        "variance, seeds": f"{found.seed_variance:.2g}",
                        "variance, batches": f"{found.evaluation_variance:.2g}",
                        "variance, seed x batch": f"{found.residual_variance:.2g}",
                    }
                )
        return pd.DataFrame(rows)

    def _convention_table(self, frame: pd.DataFrame) -> pd.DataFrame:
        rows = []
        for convention in CONDITION_NUMBERS:
            cells = {"definition": convention}
            for setting in self.settings:
                for step in self.steps:
                    ratios = self._ratios(frame, setting, step, convention).to_numpy()
                    defined = (ratios > 0).all(axis=1)  # NaN is not
                    mean = crossed(np.log(ratios[defined])).interval.exp()
                    missing = int(np.count_nonzero(~defined))
                    words = ends(mean) + (f" ({missing})" if missing else "")
                    cells[f"{setting.name}, {step}"] = words
            rows.append(cells)
        return pd.DataFrame(rows)

    def sentence(self, results: Results) -> str:
        """What is drawn, in one sentence."""
        seeds, batches = self._counts(results)
        return (
            "Ratio of the robust condition numbers of SGDM and Adam, seed by seed, at steps "
            f"{listed(self.steps)}: {seeds} seeds on each of {batches} evaluation batches, beside "
            "the printed values."
        )

    def caption(self, results: Results, plan: Plan) -> str:
        shares = []
        for name, dataset in results.items():
            dead, negative = _shares(dataset)
            shares.append(f"{name} {dead:.0%} and {negative:.0%}")
        dataset = next(iter(results.values()))
        details = [
            f"On a log axis: {CONDITION_NUMBERS[PUBLIC_CODE]} of the exact Hessian, in double "
            f"precision, on {batches_in_words(dataset)}.",
            "A column a batch, the first is the one that all other figures draw: dots and outline: "
            f"its seeds and their density. Black bar: mean and n-1 standard deviation of the first "
            f"{self.seeds} seeds on the first batch. Grey band and line: the printed ones, of six "
            "seeds on one batch. A standard deviation that reaches below zero is cut off at the "
            "axis. A seed fixes the initial parameters and the prompts of both optimizers.",
            "Dead parameters (exactly zero rows of the Hessian) and negative eigenvalues are, "
            "of all: " + "; ".join(shares) + ".",
            how_run(self, results, plan),
        ]
        return f"{self.sentence(results)}\n\n{' '.join(details)}"

    def comparison(self, results: Results) -> pd.DataFrame:
        """Of each setting and step: means of as many seeds as are printed, on one batch each.

        `ours` is their median over disjoint groups of seeds and over batches, `low` and `high`
        their central 95 %; `inside` says whether the printed mean lies in between.
        """
        frame, rows = self.frame(results), []
        for setting in self.settings:
            for index, step in enumerate(self.steps):
                low, middle, high = self._means_of_few(self._ratios(frame, setting, step))
                printed, _ = self.printed[setting.name][index]
                rows.append(
                    {
                        "quantity": f"R_SGD/R_Adam, {setting.name}, step {step}, mean of "
                        f"{self.seeds} seeds on one batch: median, central 95 %",
                        "ours": middle,
                        "low": low,
                        "high": high,
                        "printed": printed,
                        "inside": bool(low <= printed <= high),
                    }
                )
        return pd.DataFrame(rows)

    def _means_of_few(self, ratios: pd.DataFrame) -> np.ndarray:
        """2.5 %, 50 % and 97.5 % of the means of groups of seeds, of every batch."""
        groups = np.arange(len(ratios)) // self.seeds
        full = groups < max(1, len(ratios) // self.seeds)
        means = ratios[full].groupby(groups[full]).agg(lambda group: group.mean(skipna=False))
        means = means.to_numpy().ravel()
        means = means[np.isfinite(means)]
        if means.size < _FEWEST_MEANS:  # they show no central 95 %
            return np.array([np.nan, np.median(means) if means.size else np.nan, np.nan])
        return np.quantile(means, (0.025, 0.5, 0.975))

    def _counts(self, results: Results) -> tuple[int, int]:
        """Seeds and evaluation batches."""
        dataset = next(iter(results.values()))
        return dataset.sizes["seed"], dataset.sizes.get("evaluation", 1)

    def _ratios(
        self, frame: pd.DataFrame, setting: Setting, step: int, convention: str = PUBLIC_CODE
    ) -> pd.DataFrame:
        """A row a seed, a column an evaluation batch."""
        chosen = (frame["setting"] == setting.name) & (frame["convention"] == convention)
        of_step = frame[chosen & (frame["step"] == step)]
        return of_step.pivot(index="seed", columns="evaluation", values="ratio")


@dataclasses.dataclass(frozen=True)
class ConditionCurves(SettingCurves):
    """A column a setting, a row a convention, a line an optimizer.

    Attributes:
        conventions: Names of `CONDITION_NUMBERS`.
    """

    conventions: tuple[str, ...] = (PUBLIC_CODE,)

    def frame(self, results: Results) -> pd.DataFrame:
        """The columns setting, convention, optimizer, learning_rate, seed, step, evaluation.

        With them condition_number: empty numbers are those of diverged runs, and those that are not
        defined. Between the steps of the table only the first batch is there.
        """
        frames = [
            condition_numbers(dataset, self.conventions).assign(setting=name)
            for name, dataset in results.items()
        ]
        columns = ["setting", "convention", "optimizer", "learning_rate", "seed", "step"]
        columns += ["evaluation", "condition_number"]
        return pd.concat(frames, ignore_index=True)[columns]

    def sentence(self, results: Results) -> str:
        dataset = next(iter(results.values()))
        last = int(dataset["step"][-1])
        return (
            f"Robust condition number along {last:,} steps, on a log axis: geometric mean over "
            f"seeds (lines), smallest to largest (bands); {seeds_in_words(results)}."
        )

    def shown(self, results: Results) -> str:
        steps = np.unique(first_evaluation(self.frame(results))["step"])
        rows = [str(CONDITION_NUMBERS[name]) for name in self.conventions]
        dead = [f"{name} {_shares(results[name])[0]:.0%}" for name in results]
        return " ".join(
            [
                "Upper row: " * (len(rows) > 1)
                + "; lower row: ".join(rows)
                + f", {_EXACT}, every {steps[1] - steps[0] if steps.size > 1 else 0} steps. "
                "A line stops where a run has diverged.",
                f"Dead parameters (exactly zero rows of the Hessian): {', '.join(dead)}.",
            ]
        )


def _shares(dataset: xr.Dataset) -> tuple[float, float]:
    """Of dead parameters and of negative eigenvalues, over all runs and steps."""
    shares = (
        dead_parameters(dataset["hessian_row_norm"]) / dataset.sizes["parameter"],
        negative_eigenvalues(dataset["hessian_eigenvalues"]) / dataset.sizes["eigenvalue"],
    )
    finite = (share[np.isfinite(share)] for share in shares)
    dead, negative = (float(np.mean(share)) if share.size else np.nan for share in finite)
    return dead, negative


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
