"""The table of robust condition numbers in Fig. 4."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import pandas as pd

from attnscape.experiments.artifact import Analysis, Artifact, Results
from attnscape.experiments.captions import batches_in_words, ends
from attnscape.experiments.experiment import Experiment
from attnscape.experiments.runs import check_steps, condition_ratios, dead_and_negative, listed
from attnscape.experiments.setting import CONDITION_STEPS, Plan, Setting
from attnscape.measures import Curvature, at
from attnscape.paper.settings import MAIN
from attnscape.statistics import CONDITION_NUMBERS, PUBLIC_CODE, crossed

STEPS = CONDITION_STEPS
_FEWEST_MEANS = 40
# The printed mean and n-1 standard deviation of R_SGD / R_Adam over six seeds, at these steps.
PRINTED: Mapping[str, tuple[tuple[float, float], ...]] = MappingProxyType(
    {
        "setting-1": ((1.76, 0.40), (1.58, 0.41)),
        "setting-2": ((3.14, 0.97), (5.98, 2.86)),
        "setting-3": ((9.57, 13.3), (6.53, 3.55)),
    }
)
# The same for layers of full Transformers: Jiang et al. (2022), Table 1, quoted in the paper.
FULL_TRANSFORMERS: Mapping[str, tuple[tuple[float, float], ...]] = MappingProxyType(
    {
        "#15": ((1.65, 0.65), (2.01, 1.00)),
        "#17": ((1.91, 0.53), (1.43, 0.63)),
        "#22": ((3.54, 1.21), (2.28, 1.18)),
    }
)


@dataclasses.dataclass(frozen=True)
class ConditionAnalysis(Analysis):
    """The ratios of robust condition numbers.

    Attributes:
        seeds: Number of seeds.
        batches: Number of evaluation batches.
        means_of_few: By setting and step, the 2.5 %, 50 % and 97.5 % quantiles of means over the
            printed number of seeds, on one batch.
    """

    seeds: int
    batches: int
    means_of_few: Mapping[tuple[str, int], np.ndarray]


@dataclasses.dataclass(frozen=True)
class ConditionTable(Artifact[ConditionAnalysis]):
    """R_SGD / R_Adam of each seed: as in the printed table, and its distribution over many seeds.

    Attributes:
        steps: Steps at which R is computed.
        seeds: Number of seeds in the printed table; so many of our first seeds are compared.
        printed: Printed mean and standard deviation at each step, by setting.
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
        """Experiments with many seeds, up to the last of `steps`; may raise as `check_steps`."""
        check_steps(self.name, self.steps, plan)
        changes = {
            "seeds": tuple(range(max(plan.many_seeds, plan.seeds or 0, self.seeds))),
            "steps": max(self.steps),
            "measures": (Curvature(at(*self.steps)),),
        }
        return {setting.name: setting.experiment(plan, **changes) for setting in self.settings}

    def analyse(self, results: Results) -> ConditionAnalysis:
        """The frame has the columns setting, convention, step, seed, evaluation, sgdm, adam, ratio.

        `convention` names a robust condition number of `CONDITION_NUMBERS`.
        """
        frames = [
            condition_ratios(dataset, tuple(CONDITION_NUMBERS)).assign(setting=name)
            for name, dataset in results.items()
        ]
        columns = ["setting", "convention", "step", "seed", "evaluation", "sgdm", "adam", "ratio"]
        frame = pd.concat(frames, ignore_index=True)[columns]
        means = {
            (setting.name, step): self._means_of_few(_ratios(frame, setting, step))
            for setting in self.settings
            for step in self.steps
        }
        first = next(iter(results.values()))
        seeds, batches = first.sizes["seed"], first.sizes.get("evaluation", 1)
        return ConditionAnalysis(results, frame, seeds, batches, means)

    def tables(self, analysis: ConditionAnalysis, plan: Plan) -> Mapping[str, pd.DataFrame]:
        return {
            f"Ratio of robust condition numbers, SGDM over Adam, {CONDITION_NUMBERS[PUBLIC_CODE]}: "
            "mean (n-1 standard deviation) over seeds on the first batch, and the central 95 % of "
            f"such means of {self.seeds} seeds on one batch, over groups of seeds and batches. "
            "Full Transformers: Jiang et al. (2022), Table 1.": self._printed_table(analysis),
            f"Geometric mean of the same ratio over {analysis.seeds} seeds and {analysis.batches} "
            "evaluation batches, its interval at 95 % crossed over both, and the variance of its "
            "logarithm between seeds, between batches and between their combinations.": (
                self._crossed_table(analysis.frame)
            ),
            "Geometric mean of the ratio with its crossed interval at 95 %, for every definition; "
            "in parentheses the seeds for which it is not defined on every batch.": (
                self._convention_table(analysis.frame)
            ),
        }

    def _printed_table(self, analysis: ConditionAnalysis) -> pd.DataFrame:
        rows = []
        for setting in self.settings:
            for step, printed in zip(self.steps, self.printed[setting.name], strict=True):
                ratios = _ratios(analysis.frame, setting, step)
                row = {"setting": setting.title, "step": step, "printed": spread(*printed)}
                for seeds in dict.fromkeys((self.seeds, len(ratios))):
                    first = ratios.iloc[:seeds, 0]
                    row[f"{seeds} seeds, first batch"] = spread(
                        first.mean(skipna=False), first.std(skipna=False)
                    )
                low, _, high = analysis.means_of_few[setting.name, step]
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
                ratios = _ratios(frame, setting, step)
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
                    ratios = _ratios(frame, setting, step, convention).to_numpy()
                    defined = (ratios > 0).all(axis=1)  # False for NaN
                    mean = crossed(np.log(ratios[defined])).interval.exp()
                    missing = int(np.count_nonzero(~defined))
                    words = ends(mean) + (f" ({missing})" if missing else "")
                    cells[f"{setting.name}, {step}"] = words
            rows.append(cells)
        return pd.DataFrame(rows)

    def sentence(self, analysis: ConditionAnalysis) -> str:
        """One sentence on what is drawn."""
        return (
            "Ratio of the robust condition numbers of SGDM and Adam, seed by seed, at steps "
            f"{listed(self.steps)}: {analysis.seeds} seeds on each of {analysis.batches} "
            "evaluation batches, beside the printed values."
        )

    def caption(self, analysis: ConditionAnalysis, plan: Plan) -> str:
        shares = []
        for name, dataset in analysis.results.items():
            dead, negative = dead_and_negative(dataset)
            shares.append(f"{name} {dead:.0%} and {negative:.0%}")
        dataset = next(iter(analysis.results.values()))
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
            self.how_run(analysis.results, plan),
        ]
        return f"{self.sentence(analysis)}\n\n{' '.join(details)}"

    def comparison(self, analysis: ConditionAnalysis) -> pd.DataFrame:
        """One row for each setting and step: means over the printed number of seeds on one batch.

        `ours` is the median of such means over disjoint groups of seeds and over batches; `low` and
        `high` are their 2.5 % and 97.5 % quantiles. `inside` says whether the printed mean lies
        between these.
        """
        rows = []
        for setting in self.settings:
            for index, step in enumerate(self.steps):
                low, middle, high = analysis.means_of_few[setting.name, step]
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
        """The 2.5 %, 50 % and 97.5 % quantiles of means over groups of seeds on each batch."""
        groups = np.arange(len(ratios)) // self.seeds
        full = groups < max(1, len(ratios) // self.seeds)
        means = ratios[full].groupby(groups[full]).agg(lambda group: group.mean(skipna=False))
        means = means.to_numpy().ravel()
        means = means[np.isfinite(means)]
        if means.size < _FEWEST_MEANS:  # too few for a central 95 %
            return np.array([np.nan, np.median(means) if means.size else np.nan, np.nan])
        return np.quantile(means, (0.025, 0.5, 0.975))


def _ratios(
    frame: pd.DataFrame, setting: Setting, step: int, convention: str = PUBLIC_CODE
) -> pd.DataFrame:
    """The ratios: one row for each seed, one column for each evaluation batch."""
    chosen = (frame["setting"] == setting.name) & (frame["convention"] == convention)
    of_step = frame[chosen & (frame["step"] == step)]
    return of_step.pivot(index="seed", columns="evaluation", values="ratio")


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
