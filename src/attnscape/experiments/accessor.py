"""The accessor `dataset.attnscape`, registered as soon as attnscape and xarray are imported."""

from __future__ import annotations

from typing import TYPE_CHECKING

import xarray as xr

if TYPE_CHECKING:
    import pandas as pd


@xr.register_dataset_accessor("attnscape")
class Accessor:
    """`dataset.attnscape`: summaries of a Dataset that `attnscape.train` returned."""

    def __init__(self, dataset: xr.Dataset) -> None:
        self._dataset = dataset

    def summary(self) -> pd.DataFrame:
        """One row for each (optimizer, learning rate): see `attnscape.experiments.summary`."""
        from attnscape.experiments.summary import summary

        return summary(self._dataset)

    def _repr_html_(self) -> str:
        """The summary as HTML for notebooks."""
        return self.summary().to_html(index=False, float_format="{:.4g}".format)
