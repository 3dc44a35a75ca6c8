"""A workload of the tests: linear regression on drawn data."""

import torch
from torch import nn

from attnscape.networks import Metric, Size, Workload
from attnscape.networks.data import Examples


def toy_data(source, examples=64):
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(examples + 16, 3, generator=generator)
    targets = inputs @ torch.tensor([[1.0], [-2.0], [0.5]])
    return Examples(
        "toy data",
        {"features": 3},
        train=(inputs[:examples], targets[:examples]),
        test=(inputs[examples:], targets[examples:]),
    )


def toy_model(facts, hidden=4, dropout=0.0):
    return nn.Sequential(
        nn.Linear(facts["features"], hidden), nn.Tanh(), nn.Dropout(dropout), nn.Linear(hidden, 1)
    )


def toy_loss(module, batch):
    inputs, targets = batch
    return ((module(inputs) - targets) ** 2).mean()


TOY = Workload(
    name="toy",
    title="Toy",
    reference="none",
    packaged="toy data",
    data=toy_data,
    model=toy_model,
    loss=toy_loss,
    metric=Metric("error", toy_loss, higher_is_better=False),
    sizes={"small": Size(batch=16, steps=20, evaluations=2)},
)
