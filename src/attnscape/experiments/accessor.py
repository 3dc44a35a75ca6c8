"""The accessor `dataset.attnscape`, registered as soon as attnscape and xarray are imported."""

from __future__ import annotations

from typing import TYPE_CHECKING

import xarray as xr

if TYPE_CHECKING:
    import pandas as pd


@xr.register_dataset_accessor("attnscape")
class Accessor:
    """`dataset.attnscape`: summaries of a Dataset that `attnscape.train` returned.

    Examples:
        >>> import xarray as xr
        >>> import attnscape
        >>> runs = ("optimizer", "learning_rate", "seed")  # as in a result of attnscape.train
        >>> losses = [[[[0.3], [0.1]]]]
        >>> variables = {"loss": ((*runs, "step"), losses), "status": (runs, [[[0, 0]]])}
        >>> coords = {"optimizer": ["adam"], "learning_rate": [0.02], "seed": [0, 1], "step": [100]}
        >>> xr.Dataset(variables, coords).attnscape.summary()[["optimizer", "loss", "runs"]]
          optimizer  loss  runs
        0      adam   0.2     2
    """

    def __init__(self, dataset: xr.Dataset) -> None:
        self._dataset = dataset

    def summary(self) -> pd.DataFrame:
        """One row for each optimizer, rate and batch size: see `attnscape.experiments.summary`."""
        from attnscape.experiments.summary import summary

        return summary(self._dataset)

    def _repr_html_(self) -> str:
        """The summary as HTML for notebooks."""
        return self.summary().to_html(index=False, float_format="{:.4g}".format)
