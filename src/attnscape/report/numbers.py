"""Numbers as text for tables."""

from __future__ import annotations

import math
from typing import Any

_TYPESET = str.maketrans({"-": "\N{MINUS SIGN}"})
_MISSING = "\N{EN DASH}"


def number(value: Any) -> str:
    """Text of a table cell: floats to three digits, integers in full, a dash for None.

    Texts are returned unchanged.
    """
    if value is None:
        return _MISSING
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int):
        return count(value)
    return _three_digits(value).translate(_TYPESET)


def _three_digits(value: float) -> str:
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    mantissa, exponent = f"{value:.2e}".split("e")
    power = int(exponent)
    if -4 <= power < 6:
        return f"{float(f'{value:.2e}'):,.{max(0, 2 - power)}f}"
    return f"{mantissa} \N{MULTIPLICATION SIGN} 10^{power}"


def count(value: int) -> str:
    """An integer with separators between thousands."""
    return f"{value:,}".translate(_TYPESET)


def duration(seconds: float) -> str:
    """Seconds in words: `0.4 s`, `12 s`, `3 min 5 s`, `2 h 10 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes == 0:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
