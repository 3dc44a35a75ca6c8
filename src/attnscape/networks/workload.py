"""What a workload is: a real network with its data, loss, metric and sizes.

A workload is one object, so that a user adds a network in some 30 lines (`docs/tutorials`). It says
nothing about optimizers and measures: those are the same for every workload.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from torch import Tensor, nn

from attnscape.errors import UsageError

Batch = tuple[Tensor, ...]
"""Inputs and targets of some examples; the first axis of every tensor is the example."""

SizeName = Literal["published", "small", "tiny"]
Source = Literal["packaged", "hub"] | Path
"""Where data come from: a package of a registry, the Hugging Face hub, or a folder of files."""


@runtime_checkable
class Data(Protocol):
    """The data of a workload, in memory.

    Attributes:
        name: What the data are, as figures and tables say it, such as "MNIST, 5,000 images". A
            stand-in has its own name.
        digest: SHA-256 of the contents that are used.
        facts: Numbers that a model needs: `classes`, `vocabulary`, `length`, `channels`, ...
        examples: Number of training examples.

    Examples:
        >>> from attnscape.networks import Data
        >>> from attnscape.networks.data import imbalanced_classes
        >>> data = imbalanced_classes("packaged", groups=3)  # 1, 2 and 4 classes
        >>> isinstance(data, Data), data.facts["classes"], data.examples
        (True, 7, 24)
    """

    name: str
    digest: str
    facts: Mapping[str, int]
    examples: int

    def batches(self, batch: int, seed: int) -> Iterator[Batch]:
        """One pass over the training examples, in an order that the seed determines.

        The last batch is dropped if it is incomplete.
        """
        ...

    def fixed(self, batch: int, count: int, *, test: bool = False) -> Sequence[Batch]:
        """Batches of training (or test) examples that are the same for every seed; at most `count`.

        The examples are spread over the whole set.
        """
        ...


@dataclasses.dataclass(frozen=True)
class Size:
    """How large a workload is.

    Attributes:
        batch: Examples of an update.
        steps: Updates of each run.
        model: Arguments of the model, by name.
        data: Arguments of the data, by name: how many examples or tokens are used, their length.
        evaluations: Fixed batches of training examples on which the loss is evaluated.

    Examples:
        >>> from attnscape.networks import Size
        >>> Size(batch=64, steps=500, model={"width": 32}).evaluations
        4
    """

    batch: int
    steps: int
    model: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    data: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    evaluations: int = 4


@dataclasses.dataclass(frozen=True)
class Metric:
    """What practitioners look at beside the loss.

    Attributes:
        name: Name in figures, such as "accuracy".
        of: Function (module, batch) that gives the mean over the batch's examples.
        higher_is_better: Whether the best value is the largest.

    Examples:
        >>> from attnscape.networks import Metric
        >>> from attnscape.networks.models import perplexity
        >>> Metric("perplexity", perplexity, higher_is_better=False).name
        'perplexity'
    """

    name: str
    of: Callable[[nn.Module, Batch], Tensor]
    higher_is_better: bool = True


@dataclasses.dataclass(frozen=True)
class Workload:
    """A real network with its data.

    Attributes:
        name: Name on the command line, such as `mnist-lenet5`.
        title: Name in figures, such as "LeNet5"; figures add the name of the data.
        reference: Where network and sizes come from, for people.
        packaged: What its packaged data are, for people; a stand-in has its own name.
        data: Function `(source, **size.data)` that gives the data.
        model: Function `(facts, **size.model)` that makes the network with random weights drawn
            from PyTorch's generator; `facts` are those of the data.
        loss: Function (module, batch) that gives the mean loss.
        metric: What is measured beside the loss, on test examples.
        sizes: The sizes, by name; at least `small`.

    Examples:
        >>> from attnscape.networks import WORKLOADS
        >>> lenet = WORKLOADS["mnist-lenet5"]
        >>> lenet.title, lenet.sizes["published"].batch
        ('LeNet5', 256)
    """

    name: str
    title: str
    reference: str
    packaged: str
    data: Callable[..., Data]
    model: Callable[..., nn.Module]
    loss: Callable[[nn.Module, Batch], Tensor]
    metric: Metric
    sizes: Mapping[str, Size]


def loss_of(workload: Workload, module: nn.Module, batch: Batch) -> Tensor:
    """The loss of a batch.

    Raises:
        UsageError: If it is not one number.
    """
    return _one_number(workload.loss(module, batch), "loss", workload.name)


def metric_of(workload: Workload, module: nn.Module, batch: Batch) -> Tensor:
    """The metric of a batch.

    Raises:
        UsageError: If it is not one number.
    """
    return _one_number(workload.metric.of(module, batch), "metric", workload.name)


def _one_number(value: object, what: str, name: str) -> Tensor:
    if isinstance(value, Tensor) and value.numel() == 1:
        return value
    raise UsageError(
        f"The {what} of {name} is {described(value)}; it must be a tensor of one number, such as "
        "the mean over the batch."
    )


def described(value: object) -> str:
    """What a user's loss or metric gave, in words that stay short."""
    if not isinstance(value, Tensor):
        return repr(value)
    return f"{value.item():g}" if value.numel() == 1 else f"a tensor of shape {tuple(value.shape)}"
