"""Results at a glance: the accessor `dataset.attnscape`, a table of final losses.

It is registered when `attnscape.train` or `attnscape.load` is imported.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from attnscape.estimators import median
from attnscape.training import Status


@xr.register_dataset_accessor("attnscape")
class Summary:
    """`dataset.attnscape`: what came of the runs in a Dataset that `attnscape.train` gave."""

    def __init__(self, dataset: xr.Dataset) -> None:
        self._dataset = dataset

    def summary(self) -> pd.DataFrame:
        """A row an (optimizer, learning rate) that was run.

        Returns:
            The columns optimizer, learning_rate, loss (median over seeds of the last measured
            loss on the fixed batch, infinite where a run diverged), low and high (the ends of its
            exact 95 % interval over seeds, in which a diverged run counts as infinite; NaN below 6
            seeds), smallest, largest, runs, diverged (their share that diverged).
        """
        dataset = self._dataset
        measured = dataset["loss"].notnull().any(("optimizer", "learning_rate", "seed"))
        final = dataset["loss"].isel(step=int(np.flatnonzero(measured.values)[-1]))
        rows = []
        for name in dataset["optimizer"].values:
            for rate in dataset["learning_rate"].values:
                status = dataset["status"].sel(optimizer=name, learning_rate=rate).values
                if (status == Status.not_run).all():
                    continue
                losses = final.sel(optimizer=name, learning_rate=rate).values
                # A diverged run has lost against every finished one.
                lost = (status == Status.diverged) | ~np.isfinite(losses)
                losses = np.where(lost, np.inf, losses).astype(float)
                middle = median(losses)
                rows.append(
                    {
                        "optimizer": str(name),
                        "learning_rate": float(rate),
                        "loss": middle.estimate,
                        "low": middle.low,
                        "high": middle.high,
                        "smallest": losses.min(),
                        "largest": losses.max(),
                        "runs": losses.size,
                        "diverged": float(np.mean(status == Status.diverged)),
                    }
                )
        return pd.DataFrame(rows)

    def _repr_html_(self) -> str:
        """The summary as notebooks show it."""
        return self.summary().to_html(index=False, float_format="{:.4g}".format)
