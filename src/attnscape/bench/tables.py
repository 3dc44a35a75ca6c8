"""The tables of a bench: the ranking, the report runs by setting, and the searches by setting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from attnscape.bench import statistics
from attnscape.bench.entries import Lineup
from attnscape.bench.suite import BASELINES
from attnscape.bench.words import interval_in_words, speed_up_in_words
from attnscape.statistics import Interval, median


def ranking(lineup: Lineup, losses: np.ndarray, ranks: Sequence[Interval]) -> pd.DataFrame:
    """One row for each optimizer, best first.

    The columns are optimizer, mean rank, `loss / sgdm`, `loss / adam` and the runs that diverged;
    cells have their intervals and n. If runs diverged there are also the ratios over the seeds on
    which both optimizers finished everywhere.

    Args:
        lineup: The optimizers.
        losses: (setting, optimizer, seed) losses at the budget.
        ranks: The mean rank of each optimizer.
    """
    lost = np.isinf(losses)
    rows = []
    for index in np.argsort([rank.estimate for rank in ranks], kind="stable"):
        row: dict[str, object] = {
            "optimizer": lineup.label(lineup.optimizers[index]),
            "mean rank": interval_in_words(ranks[index], losses.shape[2]),
        }
        ratios = {
            f"loss / {baseline}": statistics.loss_ratios(
                losses[:, index], losses[:, lineup.optimizers.index(baseline)]
            )
            for baseline in BASELINES
        }
        for name, values in ratios.items():
            row[name] = interval_in_words(median(values), values.size)
        row["runs that diverged"] = f"{lost[:, index].sum()} of {lost[:, index].size}"
        if lost.any():
            for name, baseline in zip(ratios, BASELINES, strict=True):
                either = lost[:, index] | lost[:, lineup.optimizers.index(baseline)]
                finished = ratios[name][~either.any(axis=0)]
                row[f"{name}, survivors"] = interval_in_words(median(finished), finished.size)
        rows.append(row)
    return pd.DataFrame(rows)


def effort(lineup: Lineup, frame: pd.DataFrame, steps: Mapping[str, int]) -> pd.DataFrame:
    """One row for each optimizer: how much was tried to tune it, on all settings together.

    The columns are optimizer, arguments that were tuned, combinations of their values, tuning runs
    and their steps in all.

    Args:
        lineup: The optimizers.
        frame: The runs; for tuned arguments only those with the values that were chosen.
        steps: Steps of a run, by setting.
    """
    rows = []
    for optimizer, entries in lineup.entries.items():
        runs = {
            entry.setting: sum(each.runs for each in entry.combinations)
            or len(_select(frame, entry.setting, optimizer, "tuning"))
            for entry in entries
        }
        tried = [each for entry in entries for each in entry.combinations]
        arguments = dict.fromkeys(name for each in tried for name in each.values)
        rows.append(
            {
                "optimizer": lineup.label(optimizer),
                "tuned": ", ".join(["learning rate", *arguments]),
                "combinations": max([len(entry.combinations) for entry in entries] + [1]),
                "tuning runs": sum(runs.values()),
                "run-steps": f"{sum(count * steps[name] for name, count in runs.items()):,}",
            }
        )
    return pd.DataFrame(rows)


def combinations(lineup: Lineup) -> pd.DataFrame:
    """One row for each setting, optimizer and combination of values of tuned arguments."""
    return pd.DataFrame(
        {
            "setting": setting,
            "optimizer": lineup.label(optimizer),
            "values": ", ".join(f"{name} {value!r}" for name, value in each.values.items())
            + " (chosen)" * (dict(each.values) == dict(entry.chosen)),
            "rate": f"{each.rate:g}",
            "tuning loss": each.loss + f", {each.diverged} diverged" * bool(each.diverged),
            "tuning runs": each.runs,
        }
        for setting, optimizer, entry in lineup.of_settings()
        for each in entry.combinations
    )


def by_setting(lineup: Lineup, frame: pd.DataFrame) -> pd.DataFrame:
    """One row for each setting and optimizer: rate, loss and speed-ups of the report runs."""
    rows = []
    for setting, optimizer, entry in lineup.of_settings():
        report = _select(frame, setting, optimizer, "report")
        losses = report["loss"].to_numpy()
        row: dict[str, object] = {
            "setting": setting,
            "optimizer": lineup.label(optimizer),
            "rate": f"{entry.rate:g}"
            + "".join(f", {name} {value!r}" for name, value in entry.chosen.items())
            + (" (edge)" if entry.at_edge else "")
            + (" (diverges)" if entry.unstable else ""),
            "loss at the budget": interval_in_words(median(losses), losses.size),
        }
        for baseline in BASELINES:
            column = f"steps_to_{baseline}"
            theirs = _select(frame, setting, baseline, "report")
            row[f"speed-up over {baseline}"] = speed_up_in_words(
                statistics.speed_ups(theirs[column].to_numpy(), report[column].to_numpy())
            )
        rows.append(row)
    return pd.DataFrame(rows)


def searches(lineup: Lineup, frame: pd.DataFrame) -> pd.DataFrame:
    """One row for each setting and optimizer: the results of the search for its learning rate.

    The columns are the median final loss over tuning seeds at the rate that was found and at the
    next smaller and larger rates, the range of good rates, and how many tuning runs diverged.
    """
    rows = []
    for setting, optimizer, entry in lineup.of_settings():
        tuning = _select(frame, setting, optimizer, "tuning")
        rates = sorted(tuning["learning_rate"].unique())
        place = int(np.argmin(np.abs(np.log(np.array(rates) / entry.rate))))
        around = {"next smaller": place - 1, "rate": place, "next larger": place + 1}
        seeds = tuning["seed"].nunique()
        lost = int(np.isinf(tuning["loss"]).sum())
        rows.append(
            {
                "setting": setting,
                "optimizer": lineup.label(optimizer),
                **{
                    name: _at_rate(tuning, rates[at]) if 0 <= at < len(rates) else "not tried"
                    for name, at in around.items()
                },
                "good rates: factor": interval_in_words(statistics.good_range(tuning), seeds),
                "diverged": f"{lost} of {len(tuning)}",
            }
        )
    return pd.DataFrame(rows)


def _select(frame: pd.DataFrame, setting: str, optimizer: str, phase: str) -> pd.DataFrame:
    mine = (frame["setting"] == setting) & (frame["optimizer"] == optimizer)
    return frame[mine & (frame["phase"] == phase)].sort_values("seed")


def _at_rate(tuning: pd.DataFrame, rate: float) -> str:
    """A rate, its median final loss and how many of its runs diverged."""
    losses = tuning[tuning["learning_rate"] == rate]["loss"]
    lost, count = int(np.isinf(losses).sum()), len(losses)
    loss = [f"{losses.median():.3g}"] if 2 * lost < count else []
    return f"{rate:g}: " + ", ".join(loss + [f"{lost} of {count} diverged"] * (lost > 0))
