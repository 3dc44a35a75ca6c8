"""Rows of data sets of the Hugging Face hub, by the package `datasets`.

Only loading needs the package and a connection; the conversions take any rows.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt8

from attnscape.errors import UsageError

Row = Mapping[str, Any]
"""A row of a table: values by the names of columns."""


def rows(name: str, split: str, config: str | None = None, revision: str | None = None) -> Any:
    """The rows of one part of a data set, as the package `datasets` gives them.

    Args:
        name: Name on the hub, such as "ylecun/mnist".
        split: The part, such as "train".
        config: Which of several forms of the data set.
        revision: Which revision of it.

    Raises:
        UsageError: If the package is not installed, or the data set cannot be loaded.
    """
    if importlib.util.find_spec("datasets") is None:
        raise UsageError(
            f"The source 'hub' reads {name} by the package datasets, which is not installed; "
            "install it with pip install datasets, or give a folder of files."
        )
    try:
        return importlib.import_module("datasets").load_dataset(
            name, config, split=split, revision=revision
        )
    except Exception as error:  # of many kinds: connection, permission, form
        raise UsageError(
            f"{name} cannot be loaded from the Hugging Face hub ({type(error).__name__}: "
            f"{' '.join(str(error).split())[:200]}); check the connection, or give a folder of "
            "files."
        ) from error


def images(
    table: Iterable[Row], column: str
) -> tuple[UInt8[np.ndarray, "n channels height width"], Int64[np.ndarray, " n"]]:
    """Pictures and labels of rows with a picture in `column` and a number in `label`."""
    pictures: list[np.ndarray] = []
    labels: list[int] = []
    for row in table:
        pictures.append(np.asarray(row[column], np.uint8))
        labels.append(int(row["label"]))
    stacked = np.stack(pictures)  # (n, height, width) in grey, or with channels last
    grey = stacked.ndim == 3
    return stacked[:, None] if grey else stacked.transpose(0, 3, 1, 2), np.array(labels, np.int64)


def lines(table: Iterable[Row], column: str) -> list[str]:
    """The texts of a column, a line each."""
    return [str(row[column]).rstrip("\n") for row in table]
