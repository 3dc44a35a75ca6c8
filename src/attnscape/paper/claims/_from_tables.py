"""Comparisons made from tables of numbers (seed, evaluation).

If no run diverged, means are crossed over seeds and evaluation batches: their intervals hold for
other seeds and other batches. If runs diverged, medians are compared, in which a diverged run is
the worst result. The interval of the median then covers the intervals on all batches, and a note
states the geometric mean of the survivors.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from attnscape.paper.claims._comparison import Comparison
from attnscape.paper.claims._per_run import Table
from attnscape.statistics import (
    FEWEST,
    Interval,
    crossed,
    crossed_difference,
    geometric_mean,
    mean_interval,
    no_interval,
    paired_comparison,
    unpaired_comparison,
)


def ratio_comparison(label: str, first: Table, second: Table, **changes: Any) -> Comparison:
    """First over second, seed by seed: above 1 if the numbers of second are smaller."""
    defined = ~(np.isnan(first) | np.isnan(second)).any(axis=1)
    first, second = first[defined], second[defined]
    notes = [*_undefined(defined), *_few_batches(first)]
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(first) - np.log(second)
    if np.isfinite(logs).all() and first.shape[1] > 1:
        return Comparison(label, crossed(logs).interval.exp(), note=", ".join(notes), **changes)
    found = paired_comparison(np.median(first, axis=1), np.median(second, axis=1))
    interval = found.ratio
    if found.diverged:
        notes.append(f"{found.divergence}, which counts as the worst result")
        notes.append(f"survivors alone {found.survivors}")
    if first.shape[1] > 1:  # these intervals do not hold for other batches
        interval = _worst_batch(first, second)
        notes.append("median over seeds and batches, the widest interval of any batch")
    return Comparison(label, interval, note=", ".join(notes), **changes)


def mean_comparison(label: str, table: Table, **changes: Any) -> Comparison:
    """The mean of numbers that may be negative; the threshold is 0 unless given in `changes`."""
    defined = ~np.isnan(table).any(axis=1)
    interval = mean_over(table[defined])
    changes = {"threshold": 0.0, **changes}
    notes = [*_undefined(defined), *_few_batches(table)]
    return Comparison(label, interval, note=", ".join(notes), **changes)


def mean_over(table: Table) -> Interval:
    """The mean over seeds; with several batches, crossed over seeds and batches."""
    return crossed(table).interval if table.shape[1] > 1 else mean_interval(table[:, 0])


def gap_comparison(
    label: str,
    first: tuple[Table, Table],
    second: tuple[Table, Table],
    *,
    paired: bool = False,
    **changes: Any,
) -> Comparison:
    """The ratio SGDM / Adam of one setting divided by that of another.

    Args:
        label: Label of the comparison.
        first: Numbers of SGDM and of Adam in the first setting.
        second: Numbers of SGDM and of Adam in the second setting.
        paired: Whether both settings have the same task, so that seeds and batches are the same.
        changes: Further fields of the comparison.
    """
    compare = ratio_comparison if paired else unpaired_ratio_comparison
    comparison = compare(label, _ratio(*first), _ratio(*second), **changes)
    lost = [int(np.isinf(table).any(axis=1).sum()) for table in (*first, *second)]
    if not any(lost):
        return comparison
    words = "diverged: SGDM {}, Adam {} in the first setting, SGDM {}, Adam {} in the second"
    return noted(comparison, words.format(*lost))


def unpaired_ratio_comparison(
    label: str, first: Table, second: Table, **changes: Any
) -> Comparison:
    """The geometric mean of first divided by that of second, for unrelated seeds."""
    kept = [~np.isnan(table).any(axis=1) for table in (first, second)]
    first, second = first[kept[0]], second[kept[1]]
    notes = [note for defined in kept for note in _undefined(defined)]
    notes += _few_batches(first)
    with np.errstate(divide="ignore"):
        logs = np.log(first), np.log(second)
    if all(np.isfinite(table).all() for table in logs) and first.shape[1] > 1:
        interval = crossed_difference(*map(crossed, logs)).exp()
        return Comparison(label, interval, note=", ".join(notes), **changes)
    found = unpaired_comparison(np.median(first, axis=1), np.median(second, axis=1))
    interval = found.ratio
    notes.append("median over pairs of seeds")
    if found.divergence:
        notes.append(f"{found.divergence}, which counts as the worst result")
    if first.shape[1] > 1:
        interval = no_interval(interval.estimate, interval.n)
        notes.append("medians over batches, so without an interval")
    return Comparison(label, interval, note=", ".join(notes), **changes)


def noted(comparison: Comparison, words: str) -> Comparison:
    """The comparison with a further note."""
    return dataclasses.replace(comparison, note=", ".join(filter(None, [comparison.note, words])))


def excess_comparison(label: str, excesses: np.ndarray, **changes: Any) -> Comparison:
    """The geometric mean over seeds of positive numbers without batches."""
    return Comparison(label, geometric_mean(excesses), **changes)


def _ratio(first: Table, second: Table) -> Table:
    """The ratio first / second: NaN if both runs diverged, infinite or 0 if one did."""
    with np.errstate(invalid="ignore"):
        return np.where(np.isinf(first) & np.isinf(second), np.nan, first / second)


def _worst_batch(first: Table, second: Table) -> Interval:
    """The median of the batches' estimates, with their lowest and highest ends."""
    found = [
        paired_comparison(of_first, of_second).ratio
        for of_first, of_second in zip(first.T, second.T, strict=True)
    ]
    middle = float(np.median([each.estimate for each in found]))
    lows, highs = ([getattr(each, end) for each in found] for end in ("low", "high"))
    if np.isnan(lows).any() or len(found) < FEWEST:
        return no_interval(middle, found[0].n)
    return Interval(middle, min(lows), max(highs), found[0].level, found[0].n, "exact")


def _few_batches(table: Table) -> list[str]:
    count = table.shape[1]
    return [f"{count} batches, an interval needs {FEWEST}"] if 1 < count < FEWEST else []


def _undefined(defined: Any) -> list[str]:
    missing = int(np.count_nonzero(~defined))
    return [f"not defined for {missing} of {np.size(defined)} seeds"] if missing else []
