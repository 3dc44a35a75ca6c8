"""A network of your own beside the built-in ones: its data, model and loss in one object.

attnscape check workload docs/tutorials/your_network.py:spirals
attnscape networks train docs/tutorials/your_network.py:spirals --optimizers sgdm adam --tune
"""

import torch
from torch import nn

from attnscape.networks import Metric, Size, Workload
from attnscape.networks.data import Examples
from attnscape.networks.models import accuracy, class_cross_entropy


def two_spirals(source, examples=512):
    """Points on two spirals, and which spiral they lie on."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(examples + 256) % 2
    angle = 3 * torch.pi * torch.rand(len(labels), generator=generator).sqrt()
    turned = angle + torch.pi * labels
    points = (angle * torch.stack([turned.cos(), turned.sin()])).T / 5
    points += 0.05 * torch.randn(points.shape, generator=generator)
    return Examples(
        "two spirals",
        {"features": 2, "classes": 2},
        train=(points[:examples], labels[:examples]),
        test=(points[examples:], labels[examples:]),
    )


def mlp(facts, width=32):
    """Two hidden layers; weights come from PyTorch's generator, which each seed sets."""
    return nn.Sequential(
        nn.Linear(facts["features"], width),
        nn.Tanh(),
        nn.Linear(width, width),
        nn.Tanh(),
        nn.Linear(width, facts["classes"]),
    )


spirals = Workload(
    name="spirals",
    title="MLP",
    reference="this tutorial",
    packaged="two spirals",
    data=two_spirals,
    model=mlp,
    loss=class_cross_entropy,
    metric=Metric("accuracy", accuracy),
    sizes={"small": Size(batch=64, steps=500)},
)
