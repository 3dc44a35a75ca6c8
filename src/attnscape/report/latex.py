"""Tables as LaTeX, with the rules of the package booktabs."""

from __future__ import annotations

from typing import Any

import pandas as pd
from pandas.api.types import is_numeric_dtype

# pandas does not escape signs that need another font encoding, nor the bracket, which LaTeX would
# read as an option after the end of a row.
_SPECIAL = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        "[": "{[}",
    }
)


def latex(caption: str, table: pd.DataFrame) -> str:
    """A `table` environment; numbers to three digits and right-aligned, missing ones empty."""
    alignment = "".join("r" if is_numeric_dtype(table[name]) else "l" for name in table)
    styler = table.reset_index(drop=True).style.hide(axis="index")
    return (
        styler.format(_cell)
        .format_index(_cell, axis="columns")
        .to_latex(
            caption=_cell(caption),
            column_format=alignment,
            hrules=True,
            position_float="centering",
        )
    )


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value.translate(_SPECIAL)
    if pd.isna(value):
        return ""
    return f"{value:.3g}" if isinstance(value, float) else str(value).translate(_SPECIAL)
