"""The accessor `dataset.attnscape`, registered as soon as attnscape and xarray are imported."""

from __future__ import annotations

from typing import TYPE_CHECKING

import xarray as xr

if TYPE_CHECKING:
    import pandas as pd


@xr.register_dataset_accessor("attnscape")
class Accessor:
    """`dataset.attnscape`: what came of the runs in a Dataset that `attnscape.train` gave."""

    def __init__(self, dataset: xr.Dataset) -> None:
        self._dataset = dataset

    def summary(self) -> pd.DataFrame:
        """A row an (optimizer, learning rate) that was run: see `attnscape.summary.summary`."""
        from attnscape.summary import summary

        return summary(self._dataset)

    def _repr_html_(self) -> str:
        """The summary as notebooks show it."""
        return self.summary().to_html(index=False, float_format="{:.4g}".format)
