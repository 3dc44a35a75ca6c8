"""One look for all figures: colours that survive colour-blindness and grey print, quiet axes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl

# Okabe and Ito's palette; line styles tell the optimizers apart without colour.
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgdm": {"label": "SGDM", "color": "#0072B2", "linestyle": "-"},
    "adam": {"label": "Adam", "color": "#D55E00", "linestyle": (0, (5, 1.5))},
}
_RC: dict[Any, Any] = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": "medium",
    "figure.dpi": 150,
    "font.size": 10,
    "grid.alpha": 0.3,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "pdf.fonttype": 42,  # text stays text
    "savefig.bbox": "tight",
}


@contextmanager
def style() -> Iterator[None]:
    """Figures made inside look alike and need no screen."""
    with mpl.rc_context(_RC):
        yield


def of_optimizer(name: str) -> dict[str, Any]:
    """Label, colour and line style of an optimizer; unknown ones take the next colour."""
    return OPTIMIZERS.get(name, {"label": name})
