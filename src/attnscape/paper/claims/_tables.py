"""From tables of numbers (seed, evaluation) to parts of a claim.

Where no run diverged, means are crossed over seeds and evaluation batches: their intervals speak
for other seeds and other batches. Where runs diverged, each seed is judged by the median over
batches, a diverged run being the worst result; the geometric mean of the survivors is shown apart.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from attnscape.estimators import (
    Interval,
    crossed,
    crossed_difference,
    geometric_mean,
    mean_interval,
    paired_comparison,
    unpaired_comparison,
)
from attnscape.paper.claims._parts import Part
from attnscape.paper.claims._statistics import Table


def ratio_part(label: str, first: Table, second: Table, **changes: Any) -> Part:
    """First over second, seed by seed: above 1 where second's numbers are smaller."""
    defined = ~(np.isnan(first) | np.isnan(second)).any(axis=1)
    first, second = first[defined], second[defined]
    notes = _undefined(defined)
    if np.isfinite(first).all() and np.isfinite(second).all() and first.shape[1] > 1:
        interval = crossed(np.log(first) - np.log(second)).interval.exp()
    else:
        found = paired_comparison(np.median(first, axis=1), np.median(second, axis=1))
        interval = found.ratio
        if found.diverged:
            notes.append(f"{found.divergence}, which counts as the worst result")
            notes.append(f"survivors alone {found.survivors}")
    return Part(label, interval, note=", ".join(notes), **changes)


def mean_part(label: str, table: Table, **changes: Any) -> Part:
    """The mean of numbers that may be negative, held against 0 unless told otherwise."""
    defined = ~np.isnan(table).any(axis=1)
    interval = mean_over(table[defined])
    changes = {"threshold": 0.0, **changes}
    return Part(label, interval, note=", ".join(_undefined(defined)), **changes)


def mean_over(table: Table) -> Interval:
    """The mean, crossed over seeds and batches where there are several batches."""
    return crossed(table).interval if table.shape[1] > 1 else mean_interval(table[:, 0])


def gap_part(
    label: str,
    first: tuple[Table, Table],
    second: tuple[Table, Table],
    **changes: Any,
) -> Part:
    """The ratio SGDM / Adam of one setting over that of another, whose seeds are unrelated.

    Args:
        label: Of the part.
        first: Numbers of SGDM and of Adam in the one setting.
        second: Likewise in the other.
        changes: Further fields of the part.
    """
    return unpaired_part(label, _ratio(*first), _ratio(*second), **changes)


def unpaired_part(label: str, first: Table, second: Table, **changes: Any) -> Part:
    """The geometric mean of first over that of second, whose seeds are unrelated."""
    kept = [~np.isnan(table).any(axis=1) for table in (first, second)]
    first, second = first[kept[0]], second[kept[1]]
    notes = [note for defined in kept for note in _undefined(defined)]
    with np.errstate(divide="ignore"):
        logs = np.log(first), np.log(second)
    if all(np.isfinite(table).all() for table in logs) and first.shape[1] > 1:
        interval = crossed_difference(*map(crossed, logs)).exp()
    else:
        found = unpaired_comparison(np.median(first, axis=1), np.median(second, axis=1))
        interval = found.ratio
        if found.divergence:
            notes.append(f"{found.divergence}, which counts as the worst result")
    return Part(label, interval, note=", ".join(notes), **changes)


def excess_part(label: str, excesses: np.ndarray, **changes: Any) -> Part:
    """The geometric mean over seeds of positive numbers that have no batches."""
    return Part(label, geometric_mean(excesses), **changes)


def _ratio(first: Table, second: Table) -> Table:
    """First over second; two diverged runs tie, one makes the ratio infinite or zero."""
    with np.errstate(invalid="ignore"):
        return np.where(np.isinf(first) & np.isinf(second), 1.0, first / second)


def _undefined(defined: Any) -> list[str]:
    missing = int(np.count_nonzero(~defined))
    return [f"not defined for {missing} of {np.size(defined)} seeds"] if missing else []
