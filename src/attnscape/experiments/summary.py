"""A table of final losses, also available as `dataset.attnscape.summary()`."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from attnscape.errors import UsageError
from attnscape.statistics import median
from attnscape.training import Status


def summary(dataset: xr.Dataset) -> pd.DataFrame:
    """One row for each (optimizer, learning rate) that was run, and each batch size.

    Args:
        dataset: A result of `attnscape.train`.

    Returns:
        The columns optimizer, learning_rate, batch (if it is a dim), step (at which the loss was
        last measured), loss (median over seeds of the loss on the fixed batch at that step; a
        diverged run has an infinite loss, and with several fixed batches each seed has its median
        over them), low and high (the ends of its exact 95 % interval over seeds; NaN with fewer
        than 6 seeds), smallest, largest, runs, diverged (share of the runs).

    Raises:
        UsageError: If the Dataset has no runs, or no loss was measured.

    Examples:
        >>> import xarray as xr
        >>> from attnscape.experiments.summary import summary
        >>> runs = ("optimizer", "learning_rate", "seed")  # as in a result of attnscape.train
        >>> losses = [[[[0.1], [0.2], [float("nan")]]]]  # the third run diverged
        >>> variables = {"loss": ((*runs, "step"), losses), "status": (runs, [[[0, 0, 1]]])}
        >>> coords = {"optimizer": ["adam"], "learning_rate": [0.02], "step": [100]}
        >>> summary(xr.Dataset(variables, coords))[["loss", "largest", "runs"]].values.tolist()
        [[0.2, inf, 3.0]]
    """
    lacking = [name for name in ("status", "loss") if name not in dataset]
    if lacking:
        raise UsageError(
            f"The Dataset has no {' and no '.join(lacking)}; a summary is made of what train gives "
            "with EvaluationLoss among its measures."
        )
    if "batch" in dataset.dims:
        frames = {size: summary(dataset.sel(batch=size)) for size in dataset["batch"].values}
        for size, frame in frames.items():
            frame.insert(2, "batch", int(size))
        return pd.concat(frames.values(), ignore_index=True)
    losses = dataset["loss"]
    if "evaluation" in losses.dims:
        losses = losses.median("evaluation")  # over the measured ones
    runs = ("optimizer", "learning_rate", "seed")
    measured = np.flatnonzero(losses.notnull().any(runs).values)
    # If every run diverged before its first measurement, there is no loss at all.
    final = losses.isel(step=int(measured[-1]) if measured.size else -1)
    rows = []
    for name in dataset["optimizer"].values:
        for rate in dataset["learning_rate"].values:
            status = dataset["status"].sel(optimizer=name, learning_rate=rate).values
            if (status == Status.not_run).all():
                continue
            of_runs = final.sel(optimizer=name, learning_rate=rate).values
            # A diverged run is worse than every finished one.
            lost = (status == Status.diverged) | ~np.isfinite(of_runs)
            of_runs = np.where(lost, np.inf, of_runs).astype(float)
            middle = median(of_runs)
            rows.append(
                {
                    "optimizer": str(name),
                    "learning_rate": float(rate),
                    "step": int(final["step"]),
                    "loss": middle.estimate,
                    "low": middle.low,
                    "high": middle.high,
                    "smallest": of_runs.min(),
                    "largest": of_runs.max(),
                    "runs": of_runs.size,
                    "diverged": float(np.mean(status == Status.diverged)),
                }
            )
    return pd.DataFrame(rows)
