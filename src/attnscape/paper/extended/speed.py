"""Whether the gap in directional smoothness goes with the speed-up of Adam (section 3.2).

The paper says that Adam has better directional smoothness than SGD, "which correlates with the
speed-up". Here both are numbers, over settings and over learning rates around their own.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import pandas as pd

from attnscape.experiments.artifact import Analysis, Artifact, Results
from attnscape.experiments.captions import ends, seeds_in_words
from attnscape.experiments.experiment import Experiment
from attnscape.experiments.setting import Plan, Setting
from attnscape.experiments.tuning import neighbour
from attnscape.measures import DirectionalSmoothness, EvaluationLoss, every
from attnscape.paper.claims import _speed as speed
from attnscape.paper.extended.base import WithoutOwnParts, shortened
from attnscape.paper.settings import DEPTHS, MAIN, SPHERE
from attnscape.paper.variants import FACTORED, SOFTMAX
from attnscape.statistics import Interval, RankCorrelation

_LAST = 1_500
_SEEDS = 10  # five for each of the two numbers
_LOSSES = 75  # evaluations of the loss along a run, of which the last 20 give the final one
_SMOOTHNESS = 30  # measurements of smoothness along a run


@dataclasses.dataclass(frozen=True)
class SpeedAnalysis(Analysis):
    """Gap in smoothness and speed-up of each pair of rates, and their rank correlations.

    Attributes:
        across: Over settings, each at its own rates.
        within: Over the pairs of rates of each setting.
        mean_within: The mean of `within`, with its interval over settings.
    """

    across: RankCorrelation
    within: Mapping[str, float]
    mean_within: Interval


@dataclasses.dataclass(frozen=True)
class SmoothnessSpeed(WithoutOwnParts, Artifact[SpeedAnalysis]):
    """A point for each setting and pair of rates, and the rank correlations."""

    about = "compares the paper's settings"

    def obstacle(self, plan: Plan) -> str:
        if obstacle := super().obstacle(plan):
            return obstacle
        if plan.seeds == 1:
            return (
                f"{self.name} takes smoothness from one half of the seeds and speed from the "
                "other; give it at least 2 seeds."
            )
        return ""

    def experiments(self, plan: Plan) -> Mapping[str, Experiment]:
        return {setting.name: _around_its_rates(setting, plan) for setting in self.settings}

    def analyse(self, results: Results) -> SpeedAnalysis:
        """The frame has one row for each setting and pair of rates at which no run diverged.

        The columns are setting, sgdm_rate, adam_rate, own (whether they are the setting's own), gap
        and speed_up (medians over the seeds of their half).

        Raises:
            UsageError: If some run diverged in every setting.
        """
        pairs = {name: speed.pairs_of(dataset) for name, dataset in results.items()}
        rows = [
            (name, *pair.rates, pair.middle, *pair.medians)
            for name, found in pairs.items()
            for pair in found
        ]
        columns = ["setting", "sgdm_rate", "adam_rate", "own", "gap", "speed_up"]
        return SpeedAnalysis(
            results,
            pd.DataFrame(rows, columns=columns),
            speed.across(speed.at_own_rates(results)),
            {name: speed.within(found) for name, found in pairs.items()},
            speed.mean_within(results),
        )

    def comparison(self, analysis: SpeedAnalysis) -> pd.DataFrame:
        """The rank correlations; the columns are quantity, ours, low, high and units."""
        across = analysis.across
        rows = [
            ("across settings, interval for other settings", across.over_optimizers, "settings"),
            ("across settings, interval for other seeds", across.over_seeds, "seeds"),
            (
                "within settings, mean, interval for other settings",
                analysis.mean_within,
                "settings",
            ),
        ]
        frame = [
            (quantity, each.estimate, each.low, each.high, f"{each.n} {unit}")
            for quantity, each, unit in rows
        ]
        frame += [
            (f"within {name}", each, math.nan, math.nan, "")
            for name, each in analysis.within.items()
        ]
        return pd.DataFrame(frame, columns=["quantity", "ours", "low", "high", "units"])

    def caption(self, analysis: SpeedAnalysis, plan: Plan) -> str:
        across, mean = analysis.across, analysis.mean_within
        sentence = (
            "Rank correlation of Adam's gap in directional smoothness and its speed-up: across "
            f"{across.n} settings at their own rates {ends(across.over_optimizers)}; over "
            "the rates around them within a setting, mean over settings, "
            f"{ends(mean)}."
        )
        dataset = next(iter(analysis.results.values()))
        last = int(dataset["step"][-1])
        within = ", ".join(
            f"{name} {each:.2f}" if math.isfinite(each) else f"{name} too few pairs"
            for name, each in analysis.within.items()
        )
        lost = [
            name
            for name, runs in analysis.results.items()
            if not any(pair.middle for pair in speed.pairs_of(runs))
        ]
        left_out = f" Without {', '.join(lost)}, where a run diverged at them." if lost else ""
        details = [
            "Gap: SGDM's over Adam's median directional smoothness along a run (from (s - a)/(|s| "
            "+ |a|) of each seed and batch, which is defined for negative values too). Speed-up: "
            "the steps that SGDM needs over those that Adam needs until both have reached the "
            "larger of their two final losses, the median of the last 20 evaluations. Runs "
            f"have {last:,} steps. Large dots: a setting's own rates; small dots: the pairs of "
            "these and the next rates of the 1-2-5 grid, without those at which a run diverged; "
            f"medians over seeds. Of {seeds_in_words(analysis.results)} every other one gives the "
            "gap, the rest the speed-up, so that a seed's luck cannot enter both. Intervals at "
            "95 %: the settings are the units, taken as independent draws from some population of "
            "settings, though several are much alike; pairs of rates share runs and are never "
            f"units.{left_out} "
            f"For these settings and rates, with other seeds: {ends(across.over_seeds)}; "
            f"permutation p = {across.p_value:.2g}. Within settings: {within}. The rate "
            "changes both speed and smoothness of a run, so that a correlation within a setting "
            "need not mean that smoothness makes it fast.",
            self.how_run(analysis.results, plan),
        ]
        return f"{sentence}\n\n{' '.join(details)}"


def _around_its_rates(setting: Setting, plan: Plan) -> Experiment:
    """The setting at its rates and at the grid's next rates below and above."""
    experiment = setting.experiment(plan)
    around = {
        name: (neighbour(rate, -1), rate, neighbour(rate, 1))
        for name, (rate,) in experiment.learning_rates.items()
    }
    steps = shortened(_LAST, setting, plan)
    measures = (
        EvaluationLoss(every(max(1, steps // _LOSSES))),
        DirectionalSmoothness(every(max(1, steps // _SMOOTHNESS)), evaluations=2),
    )
    return dataclasses.replace(
        experiment,
        name=f"{experiment.name}-around",
        learning_rates=around,
        seeds=tuple(range(plan.seeds or _SEEDS)),
        steps=steps,
        measures=measures,
    )


SMOOTHNESS_SPEED = SmoothnessSpeed(
    "smoothness-speed",
    "Gap in directional smoothness and speed-up of Adam over SGDM (section 3.2)",
    "Adam has better directional smoothness than SGD, which correlates with the speed-up of Adam "
    "over SGD.",
    (*MAIN, SPHERE, *DEPTHS[:2], FACTORED, SOFTMAX),
    "The published rates of L = 6 and 8 are not there: with them most runs of Adam diverge.",
)
