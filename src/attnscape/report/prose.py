"""Texts of captions, notes and verdicts as HTML."""

from __future__ import annotations

import re

from markupsafe import Markup, escape


def prose(text: str) -> Markup:
    """A caption's text as HTML: `code`, powers, and indices such as R_SGD are marked up."""
    parts = re.split(_MARKED, text)
    # The groups of each match: text before it, code, power, letter and index.
    html = [escape(parts[0])]
    for code, power, letter, index, after in zip(
        *(parts[start::5] for start in range(1, 6)), strict=True
    ):
        if code is not None:
            html.append(Markup("<code>{}</code>").format(code))
        elif power is not None:
            html.append(Markup("<sup>{}</sup>").format(power))
        else:
            html.append(Markup("{}<sub>{}</sub>").format(letter, index))
        html.append(escape(after))
    return Markup("").join(html)


_MARKED = r"`([^`]+)`|\^([-+\N{MINUS SIGN}]?\w+)|\b([A-Za-z])_(\w+)"


def in_words(column: str) -> str:
    """A column's name: identifiers such as `learning_rate` in words, others as they are."""
    return column.replace("_", " ") if column.isidentifier() else column
