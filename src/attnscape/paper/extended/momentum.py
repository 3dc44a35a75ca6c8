"""SGD and Adam with and without momentum, each at its own searched rate (caption of Fig. 2)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import pandas as pd

from attnscape.experiments.artifact import Analysis, Artifact, Results
from attnscape.experiments.captions import batches_in_words, ends, seeds_in_words
from attnscape.experiments.experiment import Experiment
from attnscape.experiments.grid_search import GridSearch
from attnscape.experiments.runs import tidy
from attnscape.experiments.setting import LOSSES, Plan, Setting
from attnscape.paper.claims import _per_run as per_run
from attnscape.paper.claims._comparison import Comparison
from attnscape.paper.claims._features import momentum_comparisons
from attnscape.paper.extended.base import WithoutOwnParts
from attnscape.paper.optimizers import FOUR, MOMENTUM_PAIRS
from attnscape.paper.settings import MAIN

# From `attnscape reproduce without-momentum --tune` with the recipe `code` at full length, by the
# rule of `attnscape.experiments.tuning`, as are the settings' `found` rates with momentum.
RATES: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "setting-1": {"sgd": 1.0, "adam-no-momentum": 0.02},
        "setting-2": {"sgd": 0.2, "adam-no-momentum": 0.01},
        "setting-3": {"sgd": 0.5, "adam-no-momentum": 0.01},
    }
)
_MOST_SEEDS = 12


@dataclasses.dataclass(frozen=True)
class MomentumRatios(Analysis):
    """Losses with and without momentum.

    Attributes:
        ratios: Final loss without momentum over that with it, by (setting, optimizer with it).
        of_seeds: The same of each seed, its geometric mean over evaluation batches.
    """

    ratios: Mapping[tuple[str, str], Comparison]
    of_seeds: Mapping[tuple[str, str], np.ndarray]


@dataclasses.dataclass(frozen=True)
class WithoutMomentum(WithoutOwnParts, Artifact[MomentumRatios]):
    """One panel of losses for each setting, and one of the ratios of final losses."""

    def searches(self, plan: Plan) -> Mapping[str, GridSearch]:
        """Those of the optimizers without momentum; the others' rates are the settings' own."""
        if not plan.tune:
            return {}
        rates = {without: (1.0,) for without, _ in MOMENTUM_PAIRS}  # a search replaces them
        optimizers = {name: FOUR[name] for name in rates}
        return {
            _key(setting): GridSearch(
                setting.experiment(plan, optimizers=optimizers, learning_rates=rates)
            )
            for setting in self.settings
        }

    def experiments(self, plan: Plan) -> Mapping[str, Experiment]:
        return {setting.name: self._experiment(setting, plan) for setting in self.settings}

    def _experiment(self, setting: Setting, plan: Plan) -> Experiment:
        rates = {**setting.found, **RATES[setting.name]}
        for key in (setting.name, _key(setting)):
            rates |= plan.searches[key].rates if key in plan.searches else {}
        planned = setting.experiment(plan)
        return dataclasses.replace(
            planned,
            name=f"{planned.name}-momentum",
            optimizers=dict(FOUR),
            learning_rates={name: (rates[name],) for name in FOUR},
            seeds=planned.seeds[:_MOST_SEEDS],
            measures=LOSSES,
        )

    def analyse(self, results: Results) -> MomentumRatios:
        """The frame has one row for each measured loss; for diverged runs the loss is empty.

        The columns are setting, optimizer, learning_rate, seed, step, evaluation, loss.
        """
        ratios, of_seeds = {}, {}
        for name, dataset in results.items():
            comparisons = momentum_comparisons({name: dataset})
            for pair, comparison in zip(MOMENTUM_PAIRS, comparisons, strict=True):
                key = name, pair[1]
                ratios[key] = comparison
                without, with_momentum = (per_run.final_loss(dataset, each) for each in pair)
                with np.errstate(invalid="ignore"):  # both diverged: no ratio
                    of_seeds[key] = np.exp(np.log(without / with_momentum).mean(axis=1))
        return MomentumRatios(results, tidy(results, ["loss"]), ratios, of_seeds)

    def comparison(self, analysis: MomentumRatios) -> pd.DataFrame:
        rows = []
        for (name, optimizer), each in analysis.ratios.items():
            quantity = f"final loss without momentum over with it, {optimizer}"
            ratio = each.interval
            rows.append((name, quantity, ratio.estimate, ratio.low, ratio.high, ratio.n))
        return pd.DataFrame(rows, columns=["setting", "quantity", "ours", "low", "high", "seeds"])

    def caption(self, analysis: MomentumRatios, plan: Plan) -> str:
        ratios = {key: each.interval for key, each in analysis.ratios.items()}
        better = sum(ratio.above(1.0) for ratio in ratios.values())
        worse = sum(ratio.below(1.0) for ratio in ratios.values())
        lacking = sum(math.isnan(ratio.low) for ratio in ratios.values())
        unknown = f", which {lacking} of them do not have" if lacking else ""
        numbers = "; ".join(
            f"{setting} {optimizer} {ends(ratio)}" for (setting, optimizer), ratio in ratios.items()
        )
        sentence = (
            f"Momentum lowers the final loss in {better} of {len(ratios)} pairs and raises it in "
            f"{worse}, each by the 95 % interval{unknown}; final loss without momentum over that "
            f"with it: {numbers}."
        )
        dataset = next(iter(analysis.results.values()))
        notes = "; ".join(
            f"{each.label} {each.note}" for each in analysis.ratios.values() if each.note
        )
        own = any(_key(setting) in plan.searches for setting in self.settings)
        searched = "with this plan" if own else "with the recipe `code` at full length"
        details = [
            f"Left: the loss along training, median over {seeds_in_words(analysis.results)} "
            "(lines), smallest to largest (bands, whose spikes are cut off), on the first "
            "evaluation batch; log axis. Right: final loss without momentum over that with "
            "momentum, geometric mean with its 95 % interval, and the mean of each seed (dots). "
            "The loss is taken every 50 steps on "
            f"{batches_in_words(dataset)}; a run's final loss is the median of its last 20; "
            "intervals are over seeds and batches.",
            f"{notes}." if notes else "",
            "Without momentum SGD has momentum 0, and Adam beta1 = 0 and beta2 = 0.9. Each "
            f"optimizer has its own rate, from a search {searched}: the smallest median "
            "final loss over tuning seeds of their own, on a 1-2-5 grid that goes on where the "
            "best lies on its edge.",
            self.how_run(analysis.results, plan),
        ]
        return f"{sentence}\n\n{' '.join(filter(None, details))}"


def _key(setting: Setting) -> str:
    """The key of the search for the rates without momentum."""
    return f"{setting.name}, {' and '.join(without for without, _ in MOMENTUM_PAIRS)}"


WITHOUT_MOMENTUM = WithoutMomentum(
    "without-momentum",
    "SGD and Adam with and without momentum (caption of Fig. 2)",
    "The plots only show the momentum variants of SGD and Adam as they perform better in all "
    "cases.",
    MAIN,
)
