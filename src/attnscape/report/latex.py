"""Tables as LaTeX, with the rules of the package booktabs."""

from __future__ import annotations

import pandas as pd
from pandas.api.types import is_numeric_dtype

_SPECIAL = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        "[": "{[}",  # after the end of a row it would be read as an option
    }
)


def latex(caption: str, table: pd.DataFrame) -> str:
    """A `table` environment; numbers to three digits and right-aligned, missing ones empty."""
    alignment = "".join("r" if is_numeric_dtype(table[name]) else "l" for name in table)
    body = [_row(row) for row in table.itertuples(index=False, name=None)]
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_escaped(caption)}}}",
            rf"\begin{{tabular}}{{{alignment}}}",
            r"\toprule",
            _row(table.columns),
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _row(cells) -> str:
    return " & ".join(_escaped(_text(cell)) for cell in cells) + r" \\"


def _text(cell) -> str:
    if isinstance(cell, str):
        return cell
    if pd.isna(cell):
        return ""
    return f"{cell:.3g}" if isinstance(cell, float) else str(cell)


def _escaped(text: str) -> str:
    return text.translate(_SPECIAL)
