"""The style of all figures: colours safe for colour-blindness and grey print, plain axes."""

from __future__ import annotations

import textwrap
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

# Okabe and Ito's palette; line styles tell the optimizers apart without colour.
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgdm": {"label": "SGDM", "color": "#0072B2", "linestyle": "-"},
    "adam": {"label": "Adam", "color": "#D55E00", "linestyle": (0, (5, 1.5))},
}
_WITHOUT_MOMENTUM: dict[str, dict[str, Any]] = {
    "sgd": {"label": "SGD", "color": "#56B4E9", "linestyle": "-", "linewidth": 1.2},
    "adam-no-momentum": {
        "label": "Adam without momentum",
        "color": "#E69F00",
        "linestyle": (0, (5, 1.5)),
        "linewidth": 1.2,
    },
}
# Colours for other optimizers: the rest of the palette, then darker tones.
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
    "pdf.fonttype": 42,  # fonts are embedded, so that text remains text
    "savefig.bbox": "tight",
}

_WINDOWS = ("backend", "backend_fallback", "interactive")


@contextmanager
def style() -> Generator[None, None, None]:
    """Context in which figures are made and written; it ignores the user's matplotlibrc."""
    # The backend does not matter here, and setting a window's backend would start it.
    defaults: dict[Any, Any] = dict(mpl.rcParamsDefault)
    look = {key: value for key, value in defaults.items() if key not in _WINDOWS} | _RC
    with mpl.rc_context(look):
        yield


class _PlainNumbers(LogFormatter):
    """Labels the same ticks of a logarithmic axis, with 0.3 instead of 3 x 10^-1."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return f"{x:g}" if super().__call__(x, pos) else ""


def with_plain_numbers(figure: Figure) -> Figure:
    """The figure, in which logarithmic axes of less than two decades have plain numbers."""
    for axes in figure.axes:
        for axis, ends in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
            low, high = sorted(ends)
            if axis.get_scale() != "log" or low < 1e-3 or high > min(1e4, 100 * low):
                continue
            if isinstance(axis.get_minor_formatter(), LogFormatter):  # not an artifact's own
                axis.set_major_formatter(_PlainNumbers())
                axis.set_minor_formatter(_PlainNumbers(minor_thresholds=(1, 0.4)))
    return figure


def folded(title: str, width: int = 36) -> str:
    """The title with its lines broken so that each has at most `width` characters.

    By default as many as fit above a panel of 3.4 inches, or more.
    """
    return "\n".join(textwrap.fill(line, width) for line in title.split("\n"))


def of_optimizers(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Label, colour and line style of each optimizer; up to 24 of them all differ."""
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


def of_networks_optimizer(name: str) -> dict[str, Any]:
    """The same for the four optimizers with and without momentum."""
    return dict(_WITHOUT_MOMENTUM.get(name) or of_optimizer(name))


def say_diverged(axis: Axes) -> None:
    """Writes into an empty panel that the runs diverged."""
    axis.text(0.5, 0.5, "all runs diverged", ha="center", va="center", transform=axis.transAxes)
