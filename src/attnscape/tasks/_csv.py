"""Reads CSV files of numbers, with clear errors for files that are not."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from attnscape.errors import UsageError

_MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "?", "-")
_DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}\b.*")
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}([ ,.']\d{3})+([.,]\d+)?")
_TRUTHS = {"true", "false", "yes", "no", "t", "f"}


def read_csv(path: Path) -> Any:
    """The file as a data frame of numbers; missing values are NaN.

    Raises:
        UsageError: If a name is missing, repeated or a number, or a column is not numeric.
    """
    import pandas as pd

    with path.open(encoding="utf-8-sig") as file:
        first = re.sub('"[^"]*"', "", file.readline())
    # If semicolons or tabs separate columns, commas may be decimal commas.
    separator = next((each for each in (";", "\t") if each in first), ",")
    # Read without a header: pandas would rename equal columns, and would treat the first column as
    # an index if the first row is shorter than the others.
    frame = pd.read_csv(
        path,
        sep=separator,
        dtype=str,
        header=None,
        encoding="utf-8-sig",
        skipinitialspace=True,
        keep_default_na=False,
        na_values=list(_MISSING),
    )
    names = [str(name).strip() for name in frame.iloc[0].fillna("")]
    _check_names(path, names)
    texts = frame.iloc[1:]
    commas = separator != "," and _anywhere(texts, ",")
    if commas and _anywhere(texts, "."):
        raise UsageError(
            f"{path} has both decimal points and decimal commas; write all numbers in one way, and "
            "without separators of thousands."
        )
    columns = [_numbers(path, name, texts[i], commas) for i, name in enumerate(names)]
    return pd.DataFrame(dict(zip(names, columns, strict=True)))


def _anywhere(texts: Any, sign: str) -> bool:
    """Whether any text contains the sign."""
    return any(texts[i].str.contains(sign, regex=False, na=False).any() for i in texts)


def _check_names(path: Path, names: list[str]) -> None:
    """Raises UsageError unless the first line names every column once."""
    try:
        [float(name.replace(",", ".")) for name in names]
    except ValueError:
        pass
    else:
        raise UsageError(
            f"The first line of {path} holds numbers where the names of the columns must stand; "
            "add a line of names."
        )
    for number, name in enumerate(names, start=1):
        if not name:
            raise UsageError(
                f"Column {number} of {path} has no name, as an index has none; remove the column, "
                "or give it a name."
            )
        if name in names[: number - 1]:
            raise UsageError(f"{path} has two columns called {name!r}; give each its own name.")


def _numbers(path: Path, name: str, texts: Any, commas: bool) -> Float[np.ndarray, " rows"]:
    """The numbers of a column of texts, which has decimal commas if `commas`."""
    import pandas as pd

    pointed = texts.str.replace(",", ".", regex=False) if commas else texts
    numbers = pd.to_numeric(pointed, errors="coerce").to_numpy(float, na_value=np.nan)
    given = texts.notna().to_numpy()
    unread = np.flatnonzero(given & np.isnan(numbers))
    if commas and unread.size == 0:
        broken = texts[texts.str.contains(",", na=False)]
        if len(broken) and broken.str.fullmatch(_THOUSANDS).all():
            raise UsageError(
                f"The column {name!r} of {path} can be read in two ways (is {broken.iloc[0]!r} a "
                "thousand or a decimal number?); write decimal points."
            )
    if unread.size == 0:
        return numbers
    row = int(unread[0])
    text = str(texts.iloc[row])
    if set(texts.dropna().str.lower()) <= _TRUTHS:
        advice = "write 1 for true and 0 for false"
    elif _DATE.fullmatch(text):
        advice = "turn dates into numbers, for example days"
    elif _THOUSANDS.fullmatch(text):
        advice = "write numbers with a decimal point and without separators of thousands"
    elif re.fullmatch(r"[+-]?\d*,\d+", text):
        advice = "write decimal points, or separate the columns by semicolons"
    elif re.fullmatch(r"\S+([ |:]+\S+)+", name):
        advice = "separate the columns by commas, semicolons or tabs"
    else:
        advice = "remove the column, or turn it into numbers"
    raise UsageError(
        f"The column {name!r} of {path} is not numeric ({text!r} in row {row + 1}); {advice}."
    )
