"""Directional smoothness along runs (Fig. 5), and against the gradient norm (Fig. 16)."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping

import numpy as np
import pandas as pd

from attnscape.estimators import Interval, Line, SmoothnessFit, fit_smoothness
from attnscape.experiment import Experiment
from attnscape.measures import DirectionalSmoothness, every
from attnscape.paper.artifact import (
    Artifact,
    Results,
    SettingCurves,
    batches_in_words,
    ends,
    first_evaluation,
    how_run,
    seeds_in_words,
    tidy,
)
from attnscape.paper.claims._tables import mean_over
from attnscape.paper.settings import MAIN, Plan, Setting

_LAST = 2_000  # of the steps that Fig. 16 shows
_MOST_SEEDS = 6  # each is measured at every step, on every batch


@dataclasses.dataclass(frozen=True)
class SmoothnessCurves(SettingCurves):
    """Directional smoothness against step: a panel a setting, a line an optimizer."""

    def frame(self, results: Results) -> pd.DataFrame:
        """The columns setting, optimizer, learning_rate, seed, step, evaluation.

        With them directional_smoothness.
        """
        return tidy(results, ["directional_smoothness"])

    def sentence(self, results: Results) -> str:
        dataset = next(iter(results.values()))
        last = int(dataset["step"][-1])
        return (
            f"Directional smoothness of the steps that are taken, along {last:,} steps: median "
            f"over {seeds_in_words(results)} (lines), smallest to largest (bands)."
        )

    def shown(self, results: Results) -> str:
        frame = first_evaluation(self.frame(results))
        dataset = next(iter(results.values()))
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
    """In words: of each setting and optimizer, the share of measured values below zero."""
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
class SmoothnessScatter(Artifact):
    """Directional smoothness against the gradient norm, a point a step of Adam: a panel a setting.

    All seeds are run and stand in the table; the picture shows the first, as the paper does.
    """

    def experiments(self, plan: Plan) -> Mapping[str, Experiment]:
        return {setting.name: _every_step_of_adam(setting, plan) for setting in self.settings}

    def frame(self, results: Results) -> pd.DataFrame:
        """setting, optimizer, learning_rate, seed, step, evaluation and the two that are drawn.

        These are evaluation_gradient_norm and directional_smoothness, before any logarithm.
        """
        return tidy(results, ["evaluation_gradient_norm", "directional_smoothness"])

    def comparison(self, results: Results) -> pd.DataFrame:
        """The fits to the seed that is drawn, and the growth of smoothness over all seeds.

        The columns setting, quantity, ours, low, high (ends of the 95 % interval), seeds.
        """
        rows = []
        for setting, frame in self.frame(results).groupby("setting", sort=False):
            if (fit := fit_of_first_seed(frame)) is None:
                continue
            quantities = {}
            for name, line in _lines(fit).items():
                quantities |= {f"L0, {name}": line.L0, f"L1, {name}": line.L1}
            slope, correlation = growth(frame)
            quantities |= {
                "log-log slope": fit.trend.log_slope,
                "rank correlation": fit.trend.rank_correlation,
            }
            over_seeds = {
                "log-log slope, mean over seeds and batches": slope,
                "rank correlation, mean over seeds and batches": correlation,
            }
            rows += [
                (setting, quantity, interval.estimate, interval.low, interval.high, seeds)
                for group, seeds in ((quantities, 1), (over_seeds, slope.n))
                for quantity, interval in group.items()
            ]
        columns = ["setting", "quantity", "ours", "low", "high", "seeds"]
        return pd.DataFrame(rows, columns=columns)

    def caption(self, results: Results, plan: Plan) -> str:
        frame = self.frame(results)
        dataset = next(iter(results.values()))
        last = int(frame["step"].max()) if len(frame) else 0
        sentence = (
            "Directional smoothness against the gradient norm along Adam's path, natural "
            f"logarithms, a point a step up to step {last:,} of one run, with the lines "
            "L0 + L1 |gradient|."
        )
        runs = [
            f"{setting.title.partition(':')[0]}: "
            + _in_words(frame[frame["setting"] == setting.name])
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
            how_run(self, results, plan),
        ]
        return f"{sentence}\n\n{' '.join(details)}"


def _every_step_of_adam(setting: Setting, plan: Plan) -> Experiment:
    experiment = setting.experiment(plan)
    return dataclasses.replace(
        experiment,
        name=f"{experiment.name}-every-step",
        seeds=experiment.seeds[:_MOST_SEEDS],
        optimizers={"adam": experiment.optimizers["adam"]},
        learning_rates={"adam": experiment.learning_rates["adam"]},
        steps=min(_LAST, experiment.steps),
        measures=(DirectionalSmoothness(every(1)),),
    )


def first_run(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of one setting that are drawn: the first seed on the first batch."""
    run = first_evaluation(frame)
    return run[run["seed"] == run["seed"].min()]


def fit_of_first_seed(frame: pd.DataFrame) -> SmoothnessFit | None:
    """The lines through the first seed's points of one setting; None if they allow no fit."""
    run = first_run(frame)
    norm, smoothness = (
        run[name].to_numpy(np.float64)
        for name in ("evaluation_gradient_norm", "directional_smoothness")
    )
    if np.unique(norm[np.isfinite(norm) & np.isfinite(smoothness)]).size < 3:
        return None
    return _fit(norm.tobytes(), smoothness.tobytes())


@functools.lru_cache(maxsize=32)
def _fit(gradient_norm: bytes, smoothness: bytes) -> SmoothnessFit:
    """Kept, as table, caption and picture ask for the same fit and it takes seconds."""
    return fit_smoothness(np.frombuffer(gradient_norm), np.frombuffer(smoothness))


def _lines(fit: SmoothnessFit) -> dict[str, Line]:
    return {
        "least squares": fit.least_squares,
        "least absolute deviations": fit.least_absolute,
        "95 % envelope": fit.envelope,
    }


def growth(frame: pd.DataFrame) -> tuple[Interval, Interval]:
    """Log-log slope and rank correlation of smoothness with gradient norm.

    Means over seeds and evaluation batches, with intervals crossed over both.
    """
    slopes, correlations = (
        np.array(
            [
                [statistic(run) for _, run in of_seed.groupby("evaluation")]
                for _, of_seed in frame.groupby("seed")
            ]
        )
        for statistic in (_log_slope, _rank_correlation)
    )
    return mean_over(slopes), mean_over(correlations)


def _log_slope(run: pd.DataFrame) -> float:
    """Slope of the line through the logarithms, by least squares, of positive smoothness."""
    kept = run[(run["directional_smoothness"] > 0) & (run["evaluation_gradient_norm"] > 0)]
    if kept["evaluation_gradient_norm"].nunique() < 2:
        return np.nan
    x, y = np.log(kept["evaluation_gradient_norm"]), np.log(kept["directional_smoothness"])
    return float(np.polyfit(x, y, 1)[0])


def _rank_correlation(run: pd.DataFrame) -> float:
    return float(
        run["evaluation_gradient_norm"].corr(run["directional_smoothness"], method="spearman")
    )


def _in_words(frame: pd.DataFrame) -> str:
    fit = fit_of_first_seed(frame)
    if fit is None:
        return "too few finite points for a line."
    slope, correlation = growth(frame)
    shares = ", ".join(f"{name} {line.share_above:.1%}" for name, line in _lines(fit).items())
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
