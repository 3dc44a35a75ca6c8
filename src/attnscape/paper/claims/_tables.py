"""From tables of numbers (seed, evaluation) to parts of a claim.

Where no run diverged, means are crossed over seeds and evaluation batches: their intervals speak
for other seeds and other batches. Where runs diverged, medians take their place, in which a
diverged run is the worst result, with an interval as wide as the widest of any batch; the geometric
mean of the survivors is shown apart.
"""

from __future__ import annotations

import dataclasses
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
from attnscape.estimators.intervals import FEWEST, no_interval
from attnscape.paper.claims._parts import Part
from attnscape.paper.claims._statistics import Table


def ratio_part(label: str, first: Table, second: Table, **changes: Any) -> Part:
    """First over second, seed by seed: above 1 where second's numbers are smaller."""
    defined = ~(np.isnan(first) | np.isnan(second)).any(axis=1)
    first, second = first[defined], second[defined]
    notes = [*_undefined(defined), *_few_batches(first)]
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(first) - np.log(second)
    if np.isfinite(logs).all() and first.shape[1] > 1:
        return Part(label, crossed(logs).interval.exp(), note=", ".join(notes), **changes)
    found = paired_comparison(np.median(first, axis=1), np.median(second, axis=1))
    interval = found.ratio
    if found.diverged:
        notes.append(f"{found.divergence}, which counts as the worst result")
        notes.append(f"survivors alone {found.survivors}")
    if first.shape[1] > 1:  # a median over batches speaks for no others
        interval = _worst_batch(first, second)
        notes.append("median over seeds and batches, the widest interval of any batch")
    return Part(label, interval, note=", ".join(notes), **changes)


def mean_part(label: str, table: Table, **changes: Any) -> Part:
    """The mean of numbers that may be negative, held against 0 unless told otherwise."""
    defined = ~np.isnan(table).any(axis=1)
    interval = mean_over(table[defined])
    changes = {"threshold": 0.0, **changes}
    notes = [*_undefined(defined), *_few_batches(table)]
    return Part(label, interval, note=", ".join(notes), **changes)


def mean_over(table: Table) -> Interval:
    """The mean, crossed over seeds and batches where there are several batches."""
    return crossed(table).interval if table.shape[1] > 1 else mean_interval(table[:, 0])


def gap_part(
    label: str,
    first: tuple[Table, Table],
    second: tuple[Table, Table],
    *,
    paired: bool = False,
    **changes: Any,
) -> Part:
    """The ratio SGDM / Adam of one setting over that of another.

    Args:
        label: Of the part.
        first: Numbers of SGDM and of Adam in the one setting.
        second: Likewise in the other.
        paired: Whether both settings have the same task, so that seeds and batches are the same.
        changes: Further fields of the part.
    """
    compare = ratio_part if paired else unpaired_part
    part = compare(label, _ratio(*first), _ratio(*second), **changes)
    lost = [int(np.isinf(table).any(axis=1).sum()) for table in (*first, *second)]
    if not any(lost):
        return part
    words = "diverged: SGDM {}, Adam {} in the first setting, SGDM {}, Adam {} in the second"
    return noted(part, words.format(*lost))


def unpaired_part(label: str, first: Table, second: Table, **changes: Any) -> Part:
    """The geometric mean of first over that of second, whose seeds are unrelated."""
    kept = [~np.isnan(table).any(axis=1) for table in (first, second)]
    first, second = first[kept[0]], second[kept[1]]
    notes = [note for defined in kept for note in _undefined(defined)]
    notes += _few_batches(first)
    with np.errstate(divide="ignore"):
        logs = np.log(first), np.log(second)
    if all(np.isfinite(table).all() for table in logs) and first.shape[1] > 1:
        interval = crossed_difference(*map(crossed, logs)).exp()
        return Part(label, interval, note=", ".join(notes), **changes)
    found = unpaired_comparison(np.median(first, axis=1), np.median(second, axis=1))
    interval = found.ratio
    notes.append("median over pairs of seeds")
    if found.divergence:
        notes.append(f"{found.divergence}, which counts as the worst result")
    if first.shape[1] > 1:
        interval = no_interval(interval.estimate, interval.n)
        notes.append("medians over batches, so without an interval")
    return Part(label, interval, note=", ".join(notes), **changes)


def noted(part: Part, words: str) -> Part:
    """The part with a further note."""
    return dataclasses.replace(part, note=", ".join(filter(None, [part.note, words])))


def excess_part(label: str, excesses: np.ndarray, **changes: Any) -> Part:
    """The geometric mean over seeds of positive numbers that have no batches."""
    return Part(label, geometric_mean(excesses), **changes)


def _ratio(first: Table, second: Table) -> Table:
    """First over second; two diverged runs have no ratio, one makes it infinite or zero."""
    with np.errstate(invalid="ignore"):
        return np.where(np.isinf(first) & np.isinf(second), np.nan, first / second)


def _worst_batch(first: Table, second: Table) -> Interval:
    """The median of the batches' own intervals, as wide as the widest of them reach."""
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
