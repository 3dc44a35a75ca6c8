"""Settings at several batch sizes, with a budget of steps or of samples."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

from attnscape.experiments.setting import Plan, Setting, rates_of

Budget = Literal["steps", "samples"]
BUDGETS: tuple[Budget, ...] = get_args(Budget)
BATCHES = (8, 32, 128, 512, 2048)
STEPS = 2**11  # of every run with the budget of steps
SAMPLES = 2**20  # prompts of every run with the budget of samples

# SGDM and Adam at each batch size, found by `attnscape reproduce batch-size --tune` (the rule of
# `attnscape.experiments.tuning`, at full length).
RATES: Mapping[tuple[str, Budget], Sequence[tuple[float, float]]] = {
    ("setting-1", "steps"): ((0.02, 0.02), (0.1, 0.02), (0.1, 0.02), (0.2, 0.02), (0.2, 0.02)),
    ("setting-1", "samples"): (
        (0.02, 0.0005),
        (0.05, 0.005),
        (0.1, 0.01),
        (0.2, 0.02),
        (0.2, 0.05),
    ),
    ("setting-3", "steps"): ((0.01, 0.005), (0.005, 0.005), (0.02, 0.02), (0.1, 0.02), (0.1, 0.02)),
    ("setting-3", "samples"): (
        (0.02, 0.05),
        (0.001, 0.002),
        (0.05, 0.01),
        (0.1, 0.02),
        (0.05, 0.05),
    ),
}


@dataclasses.dataclass(frozen=True)
class Budgeted(Setting):
    """A setting at one batch size.

    Attributes:
        base: Name of the setting without its batch size.
        budget: What runs of all batch sizes share: the number of steps, or of samples (prompts).
    """

    base: str = ""
    budget: Budget = "steps"

    def _steps(self, plan: Plan) -> int:
        """The steps, shortened in the proportion in which the plan shortens the paper's runs."""
        longest = Setting.all_steps
        return max(1, self.steps * min(longest, plan.steps or longest) // longest)


def budgeted(setting: Setting, budget: Budget) -> tuple[Budgeted, ...]:
    """The setting at every batch size, with the rates found for it."""
    return tuple(
        Budgeted(
            f"{setting.name}-batch-{batch}-{budget}",
            setting.title,
            setting.task,
            rates_of(*rates),
            published=False,
            batch=batch,
            steps=(steps := STEPS if budget == "steps" else SAMPLES // batch),
            all_steps=steps,
            base=setting.name,
            budget=budget,
        )
        for batch, rates in zip(BATCHES, RATES[setting.name, budget], strict=True)
    )
