"""Random features with heavy-tailed classes for softmax regression, after Kunstner et al. (2024).

The classes are in groups of 1, 2, 4, ... classes, and a class of a later group has half as many
examples as one of the group before. All groups have as many examples, so that the k-th most
frequent class has a share proportional to about 1 / k. The features are random and say nothing
about the class: what is learned is learned by heart.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch

from attnscape.errors import UsageError
from attnscape.networks.data.examples import Examples

Distribution = Literal["gaussian", "uniform"]
_DRAWS: dict[Distribution, Callable[[np.random.Generator, tuple[int, int]], np.ndarray]] = {
    "gaussian": lambda generator, shape: generator.standard_normal(shape, np.float32),
    "uniform": lambda generator, shape: generator.random(shape, np.float32),
}


def imbalanced_classes(
    source: str | Path,
    groups: int = 11,
    features: int | None = None,
    distribution: Distribution = "gaussian",
    seed: int = 0,
) -> Examples:
    """Random features with classes of very different frequency; a batch is (features, classes).

    Group g = 0, 1, ... has 2^g classes of 2^(groups - g) examples each: groups * 2^groups examples
    of 2^groups - 1 classes. 11 groups are 22,528 examples of 2,047 classes.

    There is nothing to generalise to, so the test examples are the training examples.

    Args:
        source: `packaged`; the data are drawn, not read.
        groups: Number of groups of classes, at least 2.
        features: Number of features; (groups + 1) * 2^groups for None, which is more than there are
            examples, so that the classes can be told apart.
        distribution: Of each feature: standard normal, or uniform from 0 to 1.
        seed: Seed of the features.

    Raises:
        UsageError: If an argument is out of range, or the source is not `packaged`.
    """
    if source != "packaged":
        raise UsageError(
            f"The source is {str(source)!r}, but these data are drawn at random and have no files; "
            "leave it at 'packaged'."
        )
    if groups < 2 or (features is not None and features < 1):
        raise UsageError(
            f"groups is {groups} and features is {features}; give at least 2 groups, and at least "
            "1 feature or None."
        )
    if distribution not in _DRAWS:
        raise UsageError(
            f"distribution is {distribution!r}; it must be one of "
            f"{', '.join(get_args(Distribution))}."
        )
    sizes = np.concatenate([np.full(2**g, 2 ** (groups - g)) for g in range(groups)])
    labels = np.repeat(np.arange(len(sizes)), sizes)
    shape = (len(labels), features or (groups + 1) * 2**groups)
    # NumPy's generator gives the same numbers on every machine and with every version of PyTorch.
    inputs = _DRAWS[distribution](np.random.Generator(np.random.PCG64(seed)), shape)
    tensors = torch.from_numpy(inputs), torch.from_numpy(labels)
    return Examples(
        f"{len(sizes):,} imbalanced classes",
        {"classes": len(sizes), "features": shape[1]},
        train=tensors,
        test=tensors,
    )
