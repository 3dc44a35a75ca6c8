"""Title and caption of a bench."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from attnscape.bench import statistics
from attnscape.bench.entries import Lineup, ResultKey
from attnscape.bench.suite import BASELINES, OwnSetting
from attnscape.experiments.captions import conventions
from attnscape.experiments.runs import Results
from attnscape.experiments.setting import Plan, Setting

_FEW = 4  # a title names at most this many user's optimizers

_TUNED = (
    "Optimizers with a + had more of their arguments tuned: for each combination of the values "
    "that were given, the same search for the rate; chosen is the combination with the fewest "
    "diverged runs at its rate, then with the smallest loss. This is more tuning than the others "
    "had; the tables say how much."
)

_SCHEDULED = (
    "Behind an @ stand the schedule of an optimizer's learning rate, whose whole value is the one "
    "shown, and its decoupled weight decay."
)


def title(optimizers: Sequence[str]) -> str:
    """The title of a bench of these optimizers, for people."""
    own = [name for name in optimizers if name not in BASELINES]
    words = f"{len(own)} optimizers" if len(own) > _FEW else ", ".join(own) or "the baselines"
    return f"Bench: {words} against SGDM and Adam"


def caption(lineup: Lineup, settings: Sequence[Setting], results: Results, plan: Plan) -> str:
    """One sentence on what is shown; after a blank line, how it was made."""
    dataset = next(iter(results.values()))
    trial = next(found for key, found in results.items() if ResultKey.parse(key).phase == "tuning")
    count, panels = len(lineup.optimizers), len(settings)
    warnings = [
        f"{setting}: {entry.warning}" for setting, _, entry in lineup.of_settings() if entry.warning
    ]
    return "\n\n".join(
        [
            f"{count} optimizers on {panels} setting{'s' * (panels > 1)}, each at the "
            f"learning rate that the same search found for it: {dataset.sizes['seed']} seeds "
            f"of {int(dataset['step'][-1]):,} steps.",
            "Search: among the rates at which no run diverges that with the smallest median "
            f"final loss over {trial.sizes['seed']} tuning seeds (of a run: the median over "
            "its last tenth), on a 1-2-5 grid that goes on where the best lies on its edge. "
            "The loss is that on one fixed batch of 1000 prompts; at the "
            "budget: the median of its last 5 %. Panels of settings: that loss of the tuning "
            "runs against the learning rate, lines the median, bands smallest to largest, what "
            "is above 1000 times the smallest left out. Profile: share of runs whose loss is "
            "at most a factor times the best optimizer's on the same setting and seed.",
            "A run that diverged counts as the worst result: its loss is infinite. Mean rank: "
            "over settings, interval over seeds. Loss over a baseline's: geometric mean over "
            "settings on each seed, then the median over seeds; survivors: the same among the "
            "seeds on which both finished everywhere, which says nothing of those that did "
            "not. Speed-up: the steps that the baseline takes to its own loss at the budget "
            "over those that the optimizer takes, median over seeds; `not reached` on seeds "
            "where it never arrives. Good rates: the factor between the largest and the "
            f"smallest rate whose loss is at most {statistics.GOOD:g} times the best rate's. "
            "There is no interval where n is below 5.",
            _own(settings)
            + conventions(_with_own_model(plan, settings), settings).replace(
                ", SGD with momentum 0.9 (SGDM), Adam with beta1 = beta2 = 0.9", ""
            )
            + " Curvature and directional smoothness along the report runs are in "
            "`bench-landscape.csv`.",
            *([_TUNED] if any(entry.combinations for _, _, entry in lineup.of_settings()) else []),
            *([_SCHEDULED] if any("@" in label for label in lineup.optimizers) else []),
            *([" ".join(warnings)] if warnings else []),
        ]
    )


def _own(settings: Sequence[Setting]) -> str:
    """Sentences on what the user's own settings are; empty without any."""
    return "".join(
        f"{setting.name}: {setting.title.replace(chr(10), ' ')}; the digits name what it computes, "
        "and change with it. "
        for setting in settings
        if isinstance(setting, OwnSetting)
    )


def _with_own_model(plan: Plan, settings: Sequence[Setting]) -> Plan:
    """The plan, with the user's model if no setting has a model of the recipe."""
    models = [setting.made if isinstance(setting, OwnSetting) else None for setting in settings]
    return dataclasses.replace(plan, model=models[0]) if all(models) else plan
