"""Directional smoothness along runs (Fig. 5), and against the gradient norm (Fig. 16)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import pandas as pd

from attnscape.experiments.artifact import Analysis, Artifact, Results, SettingCurves
from attnscape.experiments.captions import batches_in_words, ends, seeds_in_words
from attnscape.experiments.experiment import Experiment
from attnscape.experiments.runs import first_evaluation, tidy
from attnscape.experiments.setting import Plan, Setting
from attnscape.measures import DirectionalSmoothness, Measure, every
from attnscape.paper.claims._from_tables import mean_over
from attnscape.paper.settings import MAIN
from attnscape.statistics import Interval, Line, SmoothnessFit, fit_smoothness

DIRECTIONAL = "directional_smoothness"
LAST = 2_000  # the last step that Fig. 16 shows
MOST_SEEDS = 6  # few, because each is measured at every step, on every batch


@dataclasses.dataclass(frozen=True)
class SmoothnessCurves(SettingCurves[Analysis]):
    """Directional smoothness at each step: one panel per setting, one line per optimizer."""

    def analyse(self, results: Results) -> Analysis:
        """The frame has one row for each run, measured step and evaluation batch.

        The columns are setting, optimizer, learning_rate, seed, step, evaluation and
        directional_smoothness.
        """
        return Analysis(results, tidy(results, ["directional_smoothness"]))

    def sentence(self, analysis: Analysis) -> str:
        dataset = next(iter(analysis.results.values()))
        last = int(dataset["step"][-1])
        return (
            f"Directional smoothness of the steps that are taken, along {last:,} steps: median "
            f"over {seeds_in_words(analysis.results)} (lines), smallest to largest (bands)."
        )

    def shown(self, analysis: Analysis) -> str:
        frame = first_evaluation(analysis.frame)
        dataset = next(iter(analysis.results.values()))
        return " ".join(
            [
                "Directional smoothness u^T H u (u: the step at unit length, H: Hessian on the "
                f"first of {batches_in_words(dataset)}), every 50 steps.",
                "Bands: smallest to largest positive value of the seeds that are left; a line "
                "ends where a run diverges; "
                "log axis. Negative values have no place on it: a line breaks where the median is, "
                "and ticks below each panel, a row an optimizer, mark every step at which at least "
                f"one seed is negative. Share of negative values: {negative_shares(frame)}.",
            ]
        )


def negative_shares(frame: pd.DataFrame) -> str:
    """The share of negative values for each setting and optimizer, in words."""
    measured = frame.dropna(subset="directional_smoothness")
    negative = measured.assign(share=measured["directional_smoothness"] < 0)
    return "; ".join(
        f"{setting} " + ", ".join(f"{name} {share:.1%}" for name, share in shares.items())
        for setting, shares in (
            (setting, of_setting.groupby("optimizer", sort=False)["share"].mean())
            for setting, of_setting in negative.groupby("setting", sort=False)
        )
    )


@dataclasses.dataclass(frozen=True)
class Growth:
    """The growth of directional smoothness with the gradient norm in one setting.

    Attributes:
        fit: The lines through the points of the first seed on the first batch.
        log_slope: Log-log slope, the mean over seeds and evaluation batches.
        rank_correlation: Spearman's correlation, the mean over seeds and evaluation batches.
    """

    fit: SmoothnessFit
    log_slope: Interval
    rank_correlation: Interval

    @property
    def lines(self) -> dict[str, Line]:
        """The fitted lines by the name of the fit."""
        return {
            "least squares": self.fit.least_squares,
            "least absolute deviations": self.fit.least_absolute,
            "95 % envelope": self.fit.envelope,
        }


@dataclasses.dataclass(frozen=True)
class ScatterAnalysis(Analysis):
    """Points (gradient norm, directional smoothness), and the fits to them.

    Attributes:
        growth: The growth, by setting; settings with too few finite points are left out.
    """

    growth: Mapping[str, Growth]


@dataclasses.dataclass(frozen=True)
class SmoothnessScatter(Artifact[ScatterAnalysis]):
    """Directional smoothness against the gradient norm: one point for each step of Adam.

    There is one panel for each setting. The table has all seeds; the figure shows the first one, as
    in the paper.
    """

    def experiments(self, plan: Plan) -> Mapping[str, Experiment]:
        return {
            setting.name: along_adam(setting, plan, "every-step", DirectionalSmoothness(every(1)))
            for setting in self.settings
        }

    def analyse(self, results: Results) -> ScatterAnalysis:
        """The frame has one row for each run, step and evaluation batch.

        The columns are setting, optimizer, learning_rate, seed, step, evaluation,
        evaluation_gradient_norm and directional_smoothness, without logarithms.
        """
        frame = tidy(results, ["evaluation_gradient_norm", "directional_smoothness"])
        return ScatterAnalysis(results, frame, growth_by_setting(frame))

    def comparison(self, analysis: ScatterAnalysis) -> pd.DataFrame:
        """The fits to the drawn seed, and the growth of smoothness over all seeds.

        The columns are setting, quantity, ours, low, high (ends of the 95 % interval) and seeds.
        """
        rows = [
            (setting, *row)
            for setting, growth in analysis.growth.items()
            for row in numbers_of(growth)
        ]
        columns = ["setting", "quantity", "ours", "low", "high", "seeds"]
        return pd.DataFrame(rows, columns=columns)

    def caption(self, analysis: ScatterAnalysis, plan: Plan) -> str:
        frame = analysis.frame
        dataset = next(iter(analysis.results.values()))
        last = int(frame["step"].max()) if len(frame) else 0
        sentence = (
            "Directional smoothness against the gradient norm along Adam's path, natural "
            f"logarithms, a point a step up to step {last:,} of one run, with the lines "
            "L0 + L1 |gradient|."
        )
        runs = [
            f"{setting.title.partition(':')[0]}: {in_words(analysis.growth.get(setting.name))}"
            for setting in self.settings
        ]
        details = [
            "Smoothness is u^T H u (u: Adam's step at unit length, H: Hessian); seed 0, on the "
            f"first of {batches_in_words(dataset)}; colour: step. Lines with L0, L1 >= 0: by least "
            "squares on the smoothness itself (solid), by least absolute deviations, which "
            "outliers hardly move (dotted), and as the line that 95 % of the points lie under "
            "(dashed). Negative smoothness has no logarithm: ticks at the foot mark those points' "
            "gradient norms, and all fits include them. Brackets: 95 % intervals, of seed 0 by "
            "block bootstrap along the run, given this run and batch; of means crossed over seeds "
            "and batches.",
            *runs,
            self.how_run(analysis.results, plan),
        ]
        return f"{sentence}\n\n{' '.join(details)}"


def along_adam(setting: Setting, plan: Plan, suffix: str, *measures: Measure) -> Experiment:
    """The first steps of Adam in a setting, with these measures."""
    experiment = setting.experiment(plan)
    return dataclasses.replace(
        experiment,
        name=f"{experiment.name}-{suffix}",
        seeds=experiment.seeds[:MOST_SEEDS],
        optimizers={"adam": experiment.optimizers["adam"]},
        learning_rates={"adam": experiment.learning_rates["adam"]},
        steps=min(LAST, experiment.steps),
        measures=measures,
    )


def first_run(frame: pd.DataFrame) -> pd.DataFrame:
    """The drawn rows of one setting: the first seed on the first batch."""
    run = first_evaluation(frame)
    return run[run["seed"] == run["seed"].min()]


def growth_by_setting(frame: pd.DataFrame, smoothness: str = DIRECTIONAL) -> dict[str, Growth]:
    """The growth of the column `smoothness` with the gradient norm, by setting.

    Settings whose first seed has too few finite points are left out.
    """
    found = {
        str(setting): _growth(of_setting, smoothness)
        for setting, of_setting in frame.groupby("setting", sort=False)
    }
    return {setting: growth for setting, growth in found.items() if growth is not None}


def _growth(frame: pd.DataFrame, smoothness: str) -> Growth | None:
    """The growth in one setting; None if the points of its first seed allow no fit."""
    run = first_run(frame)
    norm, values = (
        run[name].to_numpy(np.float64) for name in ("evaluation_gradient_norm", smoothness)
    )
    if np.unique(norm[np.isfinite(norm) & np.isfinite(values)]).size < 3:
        return None
    return Growth(fit_smoothness(norm, values), *_means_over_runs(frame, smoothness))


def _means_over_runs(frame: pd.DataFrame, smoothness: str) -> tuple[Interval, Interval]:
    """Log-log slope and rank correlation of smoothness with gradient norm.

    Means over seeds and evaluation batches, with intervals crossed over both.
    """
    slopes, correlations = (
        np.array(
            [
                [statistic(run, smoothness) for _, run in of_seed.groupby("evaluation")]
                for _, of_seed in frame.groupby("seed")
            ]
        )
        for statistic in (log_slope, _rank_correlation)
    )
    return mean_over(slopes), mean_over(correlations)


def log_slope(run: pd.DataFrame, smoothness: str = DIRECTIONAL) -> float:
    """Least-squares slope of log smoothness against log norm, over points with both positive."""
    kept = run[(run[smoothness] > 0) & (run["evaluation_gradient_norm"] > 0)]
    if kept["evaluation_gradient_norm"].nunique() < 2:
        return np.nan
    x, y = np.log(kept["evaluation_gradient_norm"]), np.log(kept[smoothness])
    return float(np.polyfit(x, y, 1)[0])


def _rank_correlation(run: pd.DataFrame, smoothness: str) -> float:
    return float(run["evaluation_gradient_norm"].corr(run[smoothness], method="spearman"))


def numbers_of(growth: Growth) -> list[tuple[str, float, float, float, int]]:
    """The fits to the drawn seed, and the growth over all seeds.

    Each is a quantity with its estimate, the ends of its 95 % interval, and the number of seeds.
    """
    quantities = {}
    for name, line in growth.lines.items():
        quantities |= {f"L0, {name}": line.L0, f"L1, {name}": line.L1}
    quantities |= {
        "log-log slope": growth.fit.trend.log_slope,
        "rank correlation": growth.fit.trend.rank_correlation,
    }
    over_seeds = {
        "log-log slope, mean over seeds and batches": growth.log_slope,
        "rank correlation, mean over seeds and batches": growth.rank_correlation,
    }
    return [
        (quantity, interval.estimate, interval.low, interval.high, seeds)
        for group, seeds in ((quantities, 1), (over_seeds, growth.log_slope.n))
        for quantity, interval in group.items()
    ]


def in_words(growth: Growth | None) -> str:
    """The numbers of one panel, for captions."""
    if growth is None:
        return "too few finite points for a line."
    fit, slope, correlation = growth.fit, growth.log_slope, growth.rank_correlation
    shares = ", ".join(f"{name} {line.share_above:.1%}" for name, line in growth.lines.items())
    doubts = [*fit.misfits]
    if fit.L0_at_bound:
        doubts.append("L0 >= 0 binds: without it, a line would start below 0")
    return (
        f"{fit.negative} of {fit.n:,} points are negative; above the lines lie: {shares}; log-log "
        f"slope {ends(fit.trend.log_slope)} (mean over seeds and batches {ends(slope)}), "
        f"Spearman's correlation {ends(fit.trend.rank_correlation)} (mean {ends(correlation)})."
        + (f" A line does not fit: {'; '.join(doubts)}." if doubts else "")
    )


FIG5 = SmoothnessCurves(
    "fig5",
    "Directional smoothness of SGD with momentum and Adam (Fig. 5)",
    "Adam's directional smoothness is better (smaller) than SGD's.",
    MAIN,
)
FIG16 = SmoothnessScatter(
    "fig16",
    "Directional smoothness against the gradient norm (Fig. 16, right plots)",
    "Smoothness grows with the gradient norm.",
    MAIN,
)
