"""Whether schedules of the learning rate and weight decay change the ranking of optimizers.

Wen, Hall, Ma and Liang (2025, "Fantastic pretraining optimizers and where to find them", arXiv
2509.02046) find on language models that speed-ups over AdamW shrink if all optimizers are tuned
alike, and that rankings before the end of training mislead, because they can flip while the rate
decays.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import pandas as pd
import xarray as xr

from attnscape.experiments.artifact import Analysis, Artifact, Results
from attnscape.experiments.captions import (
    batches_in_words,
    conventions,
    diverged_in_words,
    ends,
    seeds_in_words,
)
from attnscape.experiments.experiment import Experiment
from attnscape.experiments.grid_search import GridSearch
from attnscape.experiments.runs import over_evaluations
from attnscape.experiments.setting import Plan, Setting
from attnscape.measures import EvaluationLoss, Schedule
from attnscape.optimizers import WSD
from attnscape.optimizers.references import resolve, split
from attnscape.paper.extended.base import WithoutOwnParts, first_seeds, shortened
from attnscape.paper.settings import SETTING_1, SETTING_3
from attnscape.statistics import Interval, paired_comparison
from attnscape.training import Status

OPTIMIZERS = ("sgdm", "sign", "lion", "adam", "adamw", "nadam", "muon")
CONSTANT, COSINE, STABLE, DECAYED = "constant", "cosine", "wsd", "cosine:weight_decay=0.1"
SCHEDULES = (CONSTANT, COSINE, STABLE, DECAYED)
_BASE = OPTIMIZERS[0]
_SEEDS, _STEPS = 10, 1_000

# Of each optimizer, from `attnscape reproduce schedules --tune` with the recipe `code` at full
# length, by the rule of `attnscape.experiments.tuning`.
RATES: Mapping[tuple[str, str], Sequence[float]] = MappingProxyType(
    {
        ("setting-1", CONSTANT): (0.2, 0.02, 0.02, 0.05, 0.1, 0.2, 0.01),
        ("setting-1", COSINE): (0.2, 0.1, 0.02, 0.05, 0.2, 0.2, 0.05),
        ("setting-1", STABLE): (0.2, 0.02, 0.02, 0.05, 0.1, 0.1, 0.02),
        ("setting-1", DECAYED): (0.5, 0.05, 0.05, 0.1, 0.2, 0.2, 0.05),
        ("setting-3", CONSTANT): (0.1, 0.02, 0.01, 0.02, 0.05, 0.05, 0.02),
        ("setting-3", COSINE): (0.2, 0.05, 0.02, 0.1, 0.1, 0.1, 0.05),
        ("setting-3", STABLE): (0.1, 0.05, 0.01, 0.05, 0.05, 0.05, 0.02),
        ("setting-3", DECAYED): (0.1, 0.05, 0.02, 0.05, 0.05, 0.05, 0.05),
    }
)


@dataclasses.dataclass(frozen=True)
class SchedulesAnalysis(Analysis):
    """Losses of all optimizers under all schedules, and how their order differs.

    Attributes:
        ratios: Final loss over SGDM's under the same schedule, by setting, schedule and optimizer.
        changes: This ratio over the same ratio at a constant rate, by the same.
        reversals: Pairs of optimizers in another order, by setting and comparison.
    """

    ratios: Mapping[tuple[str, str, str], Interval]
    changes: Mapping[tuple[str, str, str], Interval]
    reversals: Mapping[tuple[str, str], Reversals]


@dataclasses.dataclass(frozen=True)
class Reversals:
    """Pairs of optimizers whose order differs between two places.

    Attributes:
        pairs: All pairs.
        reversed: Those whose ratio of losses is on another side of 1.
        certain: Of these, the ones whose intervals exclude 1 at both places.
    """

    pairs: int
    reversed: int
    certain: int

    def __str__(self) -> str:
        return f"{self.reversed} of {self.pairs} pairs ({self.certain} by intervals at both ends)"


@dataclasses.dataclass(frozen=True)
class Schedules(WithoutOwnParts, Artifact[SchedulesAnalysis]):
    """A row for each setting: final losses under every schedule, and losses along `wsd`."""

    takes_rates = False  # it has rates of its own, by schedule

    def searches(self, plan: Plan) -> Mapping[str, GridSearch]:
        """One for each setting, of all optimizers under all schedules."""
        if not plan.tune:
            return {}
        return {_key(each): GridSearch(_experiment(each, plan)) for each in self.settings}

    def experiments(self, plan: Plan) -> Mapping[str, Experiment]:
        return {setting.name: _experiment(setting, plan) for setting in self.settings}

    def analyse(self, results: Results) -> SchedulesAnalysis:
        """The frame has one row for each run and measured step.

        The columns are setting, schedule, optimizer, learning_rate, seed, step, loss: the median
        over evaluation batches, infinite after the run diverged.
        """
        frame = pd.concat([_losses(name, each) for name, each in results.items()])
        settings = [setting.name for setting in self.settings]
        ratios, changes, reversals = {}, {}, {}
        for name in settings:
            final = {each: _at(frame, name, each) for each in SCHEDULES}
            plain = final[CONSTANT]
            for schedule, optimizer in itertools.product(SCHEDULES, OPTIMIZERS[1:]):
                key = name, schedule, optimizer
                mine = final[schedule]
                ratios[key] = paired_comparison(mine[optimizer], mine[_BASE]).ratio
                if schedule != CONSTANT:
                    with np.errstate(invalid="ignore"):  # both diverged
                        here = mine[optimizer] / mine[_BASE]
                        there = plain[optimizer] / plain[_BASE]
                    changes[key] = paired_comparison(here, there).ratio
            begins = decay_begins(int(frame["step"].max()))
            compared = {
                "cosine against constant": (plain, final[COSINE]),
                "wsd against constant": (plain, final[STABLE]),
                "cosine, weight decay 0.1 against none": (final[COSINE], final[DECAYED]),
                f"wsd, its end against step {begins}, where its decay begins": (
                    _at(frame, name, STABLE, begins),
                    final[STABLE],
                ),
            }
            for words, (before, after) in compared.items():
                reversals[name, words] = _reversals(before, after)
        return SchedulesAnalysis(results, frame, ratios, changes, reversals)

    def comparison(self, analysis: SchedulesAnalysis) -> pd.DataFrame:
        """The columns are setting, schedule, quantity, ours, low, high (95 %) and seeds."""
        rows = [
            (setting, schedule, f"final loss over SGDM's, {optimizer}", each)
            for (setting, schedule, optimizer), each in analysis.ratios.items()
        ]
        rows += [
            (setting, schedule, f"this ratio over that at a constant rate, {optimizer}", each)
            for (setting, schedule, optimizer), each in analysis.changes.items()
        ]
        numbers = [(*words, each.estimate, each.low, each.high, each.n) for *words, each in rows]
        columns = ["setting", "schedule", "quantity", "ours", "low", "high", "seeds"]
        return pd.DataFrame(numbers, columns=columns)

    def caption(self, analysis: SchedulesAnalysis, plan: Plan) -> str:
        orders = "; ".join(
            f"{setting}, {words}: {each}" for (setting, words), each in analysis.reversals.items()
        )
        changed = "; ".join(
            f"{setting} {schedule} {optimizer} {ends(each)}"
            for (setting, schedule, optimizer), each in analysis.changes.items()
            if each.above(1.0) or each.below(1.0)
        )
        rates = "; ".join(
            f"{setting} {schedule}: "
            + ", ".join(f"{name} {rate:g}" for name, rate in zip(OPTIMIZERS, each, strict=True))
            for (setting, schedule), each in _rates_of(analysis.frame).items()
        )
        dataset = next(iter(analysis.results.values()))
        own = any(_key(setting) in plan.searches for setting in self.settings)
        searched = "with this plan" if own else "with the recipe `code` at full length"
        sentence = f"Pairs of the {len(OPTIMIZERS)} optimizers in another order: {orders}."
        details = [
            f"Runs of {int(dataset['step'][-1]):,} steps without warm-up: a constant rate, half a "
            f"cosine down to 0, a constant rate that falls to 0 along the last {WSD().decay:.0%} "
            "of the steps (wsd), and the cosine with decoupled weight decay 0.1 (of AdamW too, "
            "which else has 1e-4). Left: the loss at the last step, the median over "
            f"{batches_in_words(dataset)} and then over {seeds_in_words(analysis.results)}; lines "
            "that cross are pairs in another order. Right: along wsd, the loss over SGDM's at the "
            "same step, median over seeds; the grey line is where its decay begins.",
            "A pair is in another order if its ratio of losses (geometric mean over seeds; the "
            "median if runs diverged) is on another side of 1, and by intervals if its 95 % "
            "intervals exclude 1 at both; each pair by itself, without correction for their "
            "number. "
            + (
                "Final loss over SGDM's, divided by the same at a constant rate, where the "
                f"interval excludes 1, each by itself: {changed}."
                if changed
                else "No optimizer's final loss over SGDM's differs from that at a constant rate "
                "by its 95 % interval."
            ),
            "Intervals are over seeds, for these optimizers, steps, evaluation batches and rates; "
            "they do not hold what another search would change.",
            f"Each optimizer has its own rate under each schedule, from a search {searched}: the "
            "smallest median over six tuning seeds of their own of the median loss over the last "
            "tenth of the steps, on a 1-2-5 grid that goes on where the best lies on its edge: "
            f"{rates}.",
            conventions(plan, self.settings),
            diverged_in_words(analysis.results),
        ]
        return f"{sentence}\n\n{' '.join(filter(None, details))}"


def _experiment(setting: Setting, plan: Plan) -> Experiment:
    """All optimizers under all schedules on a setting."""
    labels = {f"{name}@{schedule}": None for schedule in SCHEDULES for name in OPTIMIZERS}
    recorded = [rate for each in SCHEDULES for rate in RATES[setting.name, each]]
    rates = dict(zip(labels, recorded, strict=True))
    if _key(setting) in plan.searches:
        rates = plan.searches[_key(setting)].rates
    # In the proportion in which the plan shortens the paper's runs.
    steps = shortened(_STEPS, setting, plan)
    every = max(1, steps // 50)
    begins = decay_begins(steps)
    return setting.experiment(
        plan,
        name=f"{setting.name}-schedules",
        optimizers=resolve(list(labels)),
        learning_rates={label: (rates[label],) for label in labels},
        seeds=first_seeds(_SEEDS, plan),
        steps=steps,
        measures=(EvaluationLoss(Schedule(every=every, steps=(begins, steps))),),
    )


def decay_begins(steps: int) -> int:
    """The first update of the decay of `wsd` in a run of so many steps."""
    return steps - max(1, round(WSD().decay * steps))


def _key(setting: Setting) -> str:
    """The key of the search for a setting's rates."""
    return f"{setting.name}, all schedules"


def _losses(setting: str, dataset: xr.Dataset) -> pd.DataFrame:
    """The rows of a setting; the loss is infinite from where the run diverged."""
    losses = over_evaluations(dataset["loss"]).median("evaluation", skipna=False)
    rows = xr.Dataset({"loss": losses, "status": dataset["status"]}).to_dataframe().reset_index()
    rows = rows[rows["status"] != Status.not_run].fillna({"loss": np.inf})
    names = rows["optimizer"].map(split)
    rows = rows.assign(setting=setting, schedule=names.str[1], optimizer=names.str[0])
    columns = ["setting", "schedule", "optimizer", "learning_rate", "seed", "step", "loss"]
    return rows[columns]


def _at(
    frame: pd.DataFrame, setting: str, schedule: str, step: int | None = None
) -> dict[str, np.ndarray]:
    """The losses of each optimizer by seed, at the last step unless another is given."""
    chosen = frame["step"] == (frame["step"].max() if step is None else step)
    rows = frame[chosen & (frame["setting"] == setting) & (frame["schedule"] == schedule)]
    by_seed = rows.sort_values("seed").groupby("optimizer")["loss"]
    return {name: by_seed.get_group(name).to_numpy() for name in OPTIMIZERS}


def _reversals(before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray]) -> Reversals:
    pairs = list(itertools.combinations(OPTIMIZERS, 2))
    changed, certain = 0, 0
    for one, other in pairs:
        then = paired_comparison(before[one], before[other]).ratio
        now = paired_comparison(after[one], after[other]).ratio
        changed += (then.estimate - 1) * (now.estimate - 1) < 0
        certain += (then.above(1.0) and now.below(1.0)) or (then.below(1.0) and now.above(1.0))
    return Reversals(len(pairs), changed, certain)


def _rates_of(frame: pd.DataFrame) -> dict[tuple[str, str], list[float]]:
    """The rates of all optimizers, in their order, by setting and schedule."""
    found = frame.groupby(["setting", "schedule", "optimizer"])["learning_rate"].first()
    return {
        (setting, schedule): [found[setting, schedule, name] for name in OPTIMIZERS]
        for setting in frame["setting"].unique()
        for schedule in SCHEDULES
    }


RANKING = Schedules(
    "schedules",
    "The ranking of optimizers under schedules of the learning rate and weight decay",
    "Rankings of optimizers can flip while the learning rate decays (Wen, Hall, Ma and Liang, "
    "2025, arXiv 2509.02046, on language models).",
    (SETTING_1, SETTING_3),
)
