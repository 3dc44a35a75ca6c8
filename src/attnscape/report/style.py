"""One look for all figures: colours that survive colour-blindness and grey print, quiet axes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes

# Okabe and Ito's palette; line styles tell the optimizers apart without colour.
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgdm": {"label": "SGDM", "color": "#0072B2", "linestyle": "-"},
    "adam": {"label": "Adam", "color": "#D55E00", "linestyle": (0, (5, 1.5))},
}
# For optimizers beyond those two: the rest of the palette, then darker tones.
_OTHERS = ("#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#8C564B", "#7F7F7F", "#9467BD")
_DASHES = ("-", (0, (1, 1.2)), (0, (4, 1, 1, 1)))
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

_WINDOWS = ("backend", "backend_fallback", "interactive")


@contextmanager
def style() -> Iterator[None]:
    """Figures made and written inside look alike, whatever a user's matplotlibrc says."""
    # Windows have no say in it, and setting their backend would start one.
    defaults: dict[Any, Any] = dict(mpl.rcParamsDefault)
    look = {key: value for key, value in defaults.items() if key not in _WINDOWS} | _RC
    with mpl.rc_context(look):
        yield


def of_optimizers(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Label, colour and line style of each, no two alike up to 24 of them."""
    others = [name for name in names if name not in OPTIMIZERS]
    looks = {
        name: {
            "label": name,
            "color": _OTHERS[index % len(_OTHERS)],
            "linestyle": _DASHES[index // len(_OTHERS) % len(_DASHES)],
        }
        for index, name in enumerate(others)
    }
    return {name: looks.get(name) or of_optimizer(name) for name in names}


def of_optimizer(name: str) -> dict[str, Any]:
    """Label, colour and line style of an optimizer; unknown ones take the next colour."""
    return OPTIMIZERS.get(name, {"label": name})


def say_diverged(axis: Axes) -> None:
    """Writes into an empty panel why it is empty."""
    axis.text(0.5, 0.5, "all runs diverged", ha="center", va="center", transform=axis.transAxes)
