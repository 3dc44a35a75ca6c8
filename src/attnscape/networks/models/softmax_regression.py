"""Softmax regression: one linear layer, the smallest network on which Adam is ahead of SGD.

Kunstner et al. (2024) train it on 2,047 imbalanced classes.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from attnscape.networks.models._requirements import fact


def make_softmax_regression(facts: Mapping[str, int]) -> nn.Linear:
    """A linear layer from features to logits of classes, with PyTorch's default initial weights.

    Args:
        facts: Facts of the data: `features` and `classes`.
    """
    features, classes = (
        fact(facts, name, "softmax regression") for name in ("features", "classes")
    )
    return nn.Linear(features, classes)
