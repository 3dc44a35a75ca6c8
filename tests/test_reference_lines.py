"""Lines of untrained predictors in loss figures: drawn where they are, with names apart."""

import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from attnscape.experiments.reference_losses import ReferenceLoss
from attnscape.report.draw import loss_curves

CLOSE = (
    ReferenceLoss("zero predictor", 1.0),
    ReferenceLoss("ridge with penalty 0.05", 0.11),
    ReferenceLoss("3 steps of preconditioned gradient descent", 0.105),
    ReferenceLoss("Bayes", 0.1),
    ReferenceLoss("Bayes (least squares)", 0.0),
)


def drawn(references):
    """The panel of a figure with losses from 1 down to 0.1, and a renderer."""
    rows = [
        ("one", optimizer, 0.02, seed, step, 0, loss)
        for optimizer in ("sgdm", "adam")
        for seed in (0, 1)
        for step, loss in ((0, 1.0), (50, 0.1))
    ]
    columns = ["setting", "optimizer", "learning_rate", "seed", "step", "evaluation", "loss"]
    frame = pd.DataFrame(rows, columns=columns)
    figure = loss_curves.figure(frame, {"one": "One"}, references={"one": references})
    figure.draw_without_rendering()
    return figure.axes[0]


def test_lines_are_at_their_losses_and_zero_has_none():
    heights = [float(line.get_ydata()[0]) for line in drawn(CLOSE).lines[-4:]]
    assert heights == [1.0, 0.11, 0.105, 0.1]


def test_names_do_not_overlap_and_stand_in_the_order_of_the_lines():
    axis = drawn(CLOSE)
    names = [text.get_text().replace("\n", " ") for text in axis.texts]
    assert names == [each.name.partition(" with ")[0] for each in CLOSE[:-1]]
    boxes = [Text.get_window_extent(text) for text in axis.texts]  # without their leaders
    for upper, lower in itertools.pairwise(boxes):
        assert lower.y1 <= upper.y0 + 1  # a pixel


@pytest.mark.parametrize("loss", [0.8, 0.3])
def test_names_that_are_far_apart_stay_at_their_lines(loss):
    axis = drawn((CLOSE[0], ReferenceLoss("ridge", loss))[loss > 0.5 :])
    (line,) = (line for line in axis.lines if float(np.mean(line.get_ydata())) == loss)
    (text,) = (text for text in axis.texts if text.get_text() == "ridge")
    box, height = text.get_window_extent(), axis.transData.transform((0, loss))[1]
    assert box.y0 < height < box.y1
    assert line.get_color() == text.get_color()
