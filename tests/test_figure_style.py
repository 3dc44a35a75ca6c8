"""Numbers on the axes of figures."""

import pytest
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from attnscape.report.style import with_plain_numbers


def labels_of(low, high, scale="log", change=lambda axes: None):
    figure = Figure()
    axes = figure.subplots()
    axes.set(yscale=scale, ylim=(low, high))
    change(axes)
    with_plain_numbers(figure)
    figure.draw_without_rendering()
    texts = [label.get_text() for label in axes.get_yticklabels(which="both")]
    return [text for text in texts if text]


@pytest.mark.parametrize(("low", "high"), [(3, 7), (0.2, 0.9), (0.05, 0.4), (20, 900)])
def test_little_span_has_plain_numbers(low, high):
    shown = labels_of(low, high)
    assert shown
    values = [float(text) for text in shown]  # raises on 3 x 10^-1
    assert any(low <= value <= high for value in values)


@pytest.mark.parametrize(("low", "high"), [(1e-4, 1e-3), (1e4, 3e4), (0.1, 50)])
def test_wide_or_far_axes_keep_powers(low, high):
    assert any("10^" in text for text in labels_of(low, high))


def test_other_axes_are_left_alone():
    assert labels_of(0.5, 5, "linear")[0].startswith("0.5")
    hidden = labels_of(3, 7, change=lambda axes: axes.yaxis.set_minor_formatter(NullFormatter()))
    assert all("10^" in text for text in hidden)
