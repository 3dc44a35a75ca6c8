"""The paper's four features as comparisons: SGDM with Adam, or noise with its reference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from attnscape.experiments.artifact import Results
from attnscape.experiments.setting import CONDITION_STEPS
from attnscape.paper.claims import _per_run as per_run
from attnscape.paper.claims._comparison import Comparison
from attnscape.paper.claims._from_tables import (
    excess_comparison,
    mean_comparison,
    noted,
    ratio_comparison,
)
from attnscape.paper.optimizers import MOMENTUM_PAIRS
from attnscape.statistics import PUBLIC_CODE

# Noise counts as heavy-tailed if its norm exceeds the Gaussian reference's 99.9 % quantile at least
# twice as often as Gaussian noise would.
HEAVY = 2.0
# Shares of a run's steps over which directional smoothness is compared.
WINDOWS = ((0.0, 0.1), (0.1, 0.5), (0.5, 1.0))
Losses = Callable[[xr.Dataset, str], per_run.Table | None]


def loss_comparisons(
    results: Results, label: str = "", loss: Losses = per_run.final_loss, **changes: Any
) -> list[Comparison]:
    """Adam's final loss is lower: one comparison for each setting."""
    comparisons = []
    for name, dataset in results.items():
        sgdm, adam = loss(dataset, "sgdm"), loss(dataset, "adam")
        if sgdm is not None and adam is not None:
            comparisons.append(ratio_comparison(f"{label}{name}", sgdm, adam, **changes))
    return comparisons


def momentum_comparisons(
    results: Results, label: str = "", loss: Losses = per_run.final_loss
) -> list[Comparison]:
    """The final loss is larger without momentum: one comparison for each setting and optimizer."""
    comparisons = []
    for name, dataset in results.items():
        for pair in MOMENTUM_PAIRS:
            without, with_momentum = (loss(dataset, optimizer) for optimizer in pair)
            if without is not None and with_momentum is not None:
                comparisons.append(
                    ratio_comparison(f"{label}{name}, {pair[1]}", without, with_momentum)
                )
    return comparisons


def noise_comparisons(results: Results, label: str = "") -> list[Comparison]:
    """The noise has a heavier tail than its Gaussian reference: one comparison for each setting."""
    return [
        excess_comparison(f"{label}{name}", per_run.tail_excesses(dataset), threshold=HEAVY)
        for name, dataset in results.items()
    ]


def condition_comparisons(
    results: Results, name: str = PUBLIC_CODE, label: str = ""
) -> list[Comparison]:
    """R is larger for SGDM: one comparison for each setting and step."""
    return [
        ratio_comparison(
            f"{label}{setting} at {step}",
            *(per_run.condition(dataset, o, step, name) for o in ("sgdm", "adam")),
        )
        for setting, dataset in results.items()
        for step in CONDITION_STEPS
        if step in dataset["step"].values
    ]


def smoothness_comparisons(
    results: Results, label: str = "", windows: tuple[tuple[float, float], ...] = WINDOWS
) -> list[Comparison]:
    """Directional smoothness is larger for SGDM: one comparison for each setting and window."""
    comparisons = []
    for name, dataset in results.items():
        end = int(dataset["step"][-1])
        for low, high in windows:
            first, last = round(low * end), round(high * end)
            tables = [per_run.smoothness(dataset, o, first, last) for o in ("sgdm", "adam")]
            where = f"{label}{name}, steps {first:,} to {last:,}"
            comparison = mean_comparison(where, per_run.relative_difference(*tables))
            lost = [int(np.isinf(table).any(axis=1).sum()) for table in tables]
            if any(lost):
                comparison = noted(
                    comparison,
                    f"diverged: {lost[0]} and {lost[1]} of {len(tables[0])} runs, which count as "
                    "1 and -1",
                )
            comparisons.append(comparison)
    return comparisons
