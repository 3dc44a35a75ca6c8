"""The gap between Adam and SGDM against the batch size, with a budget of steps and of samples.

Srećković, Geiping and Orvieto (2025, "Is your batch size the problem? Revisiting the Adam-SGD gap
in language modeling", arXiv 2506.12543) find that SGD with momentum, if tuned, performs similarly
to Adam at small batches.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from attnscape.experiments.artifact import Analysis, Artifact, Results
from attnscape.experiments.captions import (
    batches_in_words,
    conventions,
    diverged_in_words,
    ends,
    seeds_in_words,
)
from attnscape.experiments.experiment import Experiment
from attnscape.experiments.setting import Plan, Setting
from attnscape.experiments.trials import evaluated_steps
from attnscape.experiments.tuning import final_losses
from attnscape.measures import EvaluationLoss, at
from attnscape.paper.extended.base import WithoutOwnParts
from attnscape.paper.extended.budgets import BUDGETS, Budgeted, budgeted
from attnscape.paper.settings import SETTING_1, SETTING_3
from attnscape.statistics import Interval, mean_interval, no_interval, paired_comparison


@dataclasses.dataclass(frozen=True)
class BatchSizeAnalysis(Analysis):
    """Final losses at all batch sizes, and the gap.

    Attributes:
        gaps: One row for each setting, budget and batch: log10 of SGDM's loss over Adam's, its ends
            (95 % interval over seeds), and in words how many runs diverged.
        trends: By setting and budget, the slope of log10 of the gap against log10 of the batch,
            over the batch sizes at which both optimizers train.
    """

    gaps: pd.DataFrame
    trends: Mapping[tuple[str, str], Interval]


@dataclasses.dataclass(frozen=True)
class BatchSize(WithoutOwnParts, Artifact[BatchSizeAnalysis]):
    """Final losses of SGDM and Adam against the batch size, and the gap between them."""

    def experiments(self, plan: Plan) -> Mapping[str, Experiment]:
        chosen = {}
        for setting in self.settings:
            experiment = setting.experiment(plan)
            measured = EvaluationLoss(at(0, *evaluated_steps(experiment.steps)))
            chosen[setting.name] = dataclasses.replace(experiment, measures=(measured,))
        return chosen

    def analyse(self, results: Results) -> BatchSizeAnalysis:
        """The frame has one row for each run; the loss of diverged runs is infinite.

        The columns are setting, budget, batch, steps, optimizer, learning_rate, seed, initial_loss
        (median over seeds) and loss: the median over fixed batches and over the last tenth of the
        steps.
        """
        frames = []
        for setting in self.settings:
            assert isinstance(setting, Budgeted)
            dataset = results[setting.name]
            facts: dict[str, Any] = {"setting": setting.base, "budget": setting.budget}
            facts |= {name: int(dataset.attrs[name]) for name in ("batch", "steps")}
            facts["initial_loss"] = float(dataset["loss"].sel(step=0).median())
            frames.append(final_losses(dataset.sel(step=slice(1, None))).assign(**facts))
        frame = pd.concat(frames, ignore_index=True)
        columns = ["setting", "budget", "batch", "steps", "optimizer", "learning_rate", "seed"]
        frame = frame[[*columns, "initial_loss", "loss"]]
        trends = {
            (str(setting), str(budget)): _trend(slopes(log_gaps(trained(runs))))
            for (setting, budget), runs in frame.groupby(["setting", "budget"], sort=False)
        }
        return BatchSizeAnalysis(results, frame, _gaps(frame), trends)

    def comparison(self, analysis: BatchSizeAnalysis) -> pd.DataFrame:
        """The columns are setting, budget, quantity, ours, low, high (95 % interval) and note."""
        rows = [
            (row.setting, row.budget, f"log10 gap at batch {row.batch}", row.log_gap, row.low,
             row.high, row.note)
            for row in analysis.gaps.itertuples()
        ]  # fmt: skip
        rows += [
            (setting, budget, "slope of log10 gap against log10 batch", trend.estimate, trend.low,
             trend.high, f"{trend.n} seeds")
            for (setting, budget), trend in analysis.trends.items()
        ]  # fmt: skip
        columns = ["setting", "budget", "quantity", "ours", "low", "high", "note"]
        return pd.DataFrame(rows, columns=columns)

    def caption(self, analysis: BatchSizeAnalysis, plan: Plan) -> str:
        slopes_in_words = "; ".join(
            f"{setting}, fixed {budget}: {ends(trend)}"
            for (setting, budget), trend in analysis.trends.items()
        )
        sentence = (
            "Slope of log10(SGDM's final loss / Adam's) against log10(batch), where a positive "
            f"slope means that the gap grows with the batch: {slopes_in_words}."
        )
        steps = analysis.frame.groupby(["budget", "batch"])["steps"].first()
        of_samples = ", ".join(f"{batch}: {count:,}" for batch, count in steps["samples"].items())
        dataset = next(iter(analysis.results.values()))
        base = Setting("", "", SETTING_1.task, SETTING_1.rates)
        own = all(setting.name in plan.searches for setting in self.settings)
        searched = "with this plan" if own else "with the recipe `code` at full length"
        details = [
            "Upper row: log10 of SGDM's final loss over Adam's; points above 0 are won by Adam. "
            "Geometric mean over seeds with its 95 % interval or, if runs diverged, the median, in "
            f"which a diverged run is the worst; {seeds_in_words(analysis.results)}. Lower row: "
            "final losses, median over seeds.",
            f"Fixed steps: {steps['steps'].iloc[0]:,} steps at every batch size. Fixed samples: "
            "equally many prompts in all, but for the rounding to whole steps, so that the steps "
            f"are {of_samples}.",
            "Slopes: least squares in each seed, mean over the seeds of which no run diverged; "
            "brackets: 95 % intervals, none where a run diverged. There is no slope where fewer "
            "than two batch sizes are left.",
            *self._untrained(analysis.frame),
            f"Loss: median over {batches_in_words(dataset)} and over up to 20 steps in the last "
            "tenth.",
            f"Learning rates were searched for at every batch size and budget, {searched}: "
            "smallest median final loss over six seeds of their own, among those at which no run "
            f"diverged, on a 1-2-5 grid (SGDM / Adam): {_rates_in_words(analysis.frame)}.",
            conventions(plan, (base,)).replace(f", {base.batch} fresh", ", fresh"),
            diverged_in_words(analysis.results),
            self.remark,
        ]
        return f"{sentence}\n\n{' '.join(filter(None, details))}"

    def _untrained(self, frame: pd.DataFrame) -> list[str]:
        """A sentence on the batch sizes that no trend includes; none if all are included."""
        keys = ["setting", "budget", "batch"]
        left = trained(frame)[keys].drop_duplicates()
        lost = frame.merge(left, how="left", on=keys, indicator=True).query("_merge != 'both'")
        if lost.empty:
            return []
        medians = lost.pivot_table(
            index=keys, columns="optimizer", values="loss", aggfunc="median"
        ).reset_index()
        words = "; ".join(
            f"{row.setting}, fixed {row.budget}, batch {row.batch} (SGDM {row.sgdm:.3g}, Adam "
            f"{row.adam:.3g})"
            for row in medians.itertuples()
        )
        return [f"Slopes leave out where a median loss ends above its start: {words}."]


def _trend(slopes: np.ndarray) -> Interval:
    """The mean over seeds; no interval if a seed has no slope."""
    found = mean_interval(slopes)
    lost = ~np.isfinite(slopes)
    return no_interval(found.estimate, found.n) if lost.any() else found


def trained(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows at batch sizes at which the median final loss of both optimizers is below the first.

    A ratio of losses says nothing about runs that only got worse.
    """
    keys = ["setting", "budget", "batch"]
    medians = frame.groupby([*keys, "optimizer"])[["loss", "initial_loss"]].median()
    better = (medians["loss"] < medians["initial_loss"]).groupby(keys).all().rename("better")
    return frame[frame.merge(better.reset_index(), on=keys)["better"].to_numpy()]


def log_gaps(frame: pd.DataFrame) -> pd.DataFrame:
    """log10 of SGDM's loss over Adam's in each seed: setting, budget, batch, seed, log_gap.

    A diverged run makes it infinite, two diverged runs NaN.
    """
    keys = ["setting", "budget", "batch", "seed"]
    table = frame.set_index([*keys, "optimizer"])["loss"].unstack("optimizer")
    table = table.reindex(columns=["sgdm", "adam"])
    with np.errstate(invalid="ignore"):
        table["log_gap"] = np.log10(table["sgdm"]) - np.log10(table["adam"])
    return table.reset_index()[[*keys, "log_gap"]]


def slopes(logs: pd.DataFrame) -> np.ndarray:
    """Of each seed, the least-squares slope of log_gap against log10 of the batch.

    NaN for a seed with a diverged run, because no line goes through an infinite gap.
    """
    table = logs.pivot(index="seed", columns="batch", values="log_gap")
    if table.shape[1] < 2:  # no trend
        return np.full(len(table), np.nan)
    x = np.log10(table.columns.to_numpy(np.float64))
    x = x - x.mean()
    gaps = table.to_numpy(np.float64)
    gaps = np.where(np.isfinite(gaps).all(axis=1, keepdims=True), gaps, np.nan)
    return gaps @ x / (x @ x)


def _gaps(frame: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for (setting, budget, batch), runs in frame.groupby(["setting", "budget", "batch"], sort=False):
        table = runs.pivot(index="seed", columns="optimizer", values="loss")
        compared = paired_comparison(table["sgdm"].to_numpy(), table["adam"].to_numpy())
        logs = np.log10([compared.ratio.estimate, compared.ratio.low, compared.ratio.high])
        rows.append((setting, budget, batch, *logs, compared.divergence))
    columns = ["setting", "budget", "batch", "log_gap", "low", "high", "note"]
    return pd.DataFrame(rows, columns=columns)


def _rates_in_words(frame: pd.DataFrame) -> str:
    table = frame.pivot_table(
        index=["setting", "budget", "batch"],
        columns="optimizer",
        values="learning_rate",
        sort=False,
    ).reset_index()
    return "; ".join(
        f"{setting}, fixed {budget}, "
        + ", ".join(f"batch {row.batch} {row.sgdm:g} / {row.adam:g}" for row in rows.itertuples())
        for (setting, budget), rows in table.groupby(["setting", "budget"], sort=False)
    )


BATCH_SIZE = BatchSize(
    "batch-size",
    "The gap between Adam and SGDM against the batch size",
    "SGD with momentum can perform similarly to Adam in small-batch settings, if tuned correctly "
    "(Srećković, Geiping and Orvieto, 2025, arXiv 2506.12543, on language models).",
    tuple(
        each
        for setting in (SETTING_1, SETTING_3)
        for budget in BUDGETS
        for each in budgeted(setting, budget)
    ),
)
