"""Workloads of the tests whose Hessians and gradients have closed forms."""

import dataclasses

import numpy as np
import torch
from torch import nn

from attnscape.networks import Metric, Size
from attnscape.networks.data import Examples
from networks.toy import TOY, toy_data


def double_data(source):
    data = toy_data(source)
    train, test = (tuple(t.double() for t in part) for part in (data.train, data.test))
    return Examples("toy data in double precision", data.facts, train=train, test=test)


def linear_model(facts, dtype=torch.float32):
    return nn.Linear(facts["features"], 1, bias=False, dtype=dtype)


def weight_norm(module, batch):
    return module.weight.norm()


# Least squares; the metric is the norm of the weights.
LEAST_SQUARES = dataclasses.replace(
    TOY,
    name="least-squares",
    model=linear_model,
    metric=Metric("norm", weight_norm),
    sizes={"small": Size(batch=16, steps=12, evaluations=2)},
)


def mean_output(module, batch):
    return module(batch[0]).mean()


# The gradient of a batch is the mean of its inputs, wherever the weights are.
MEAN = dataclasses.replace(LEAST_SQUARES, name="mean", loss=mean_output)


def hessian_of(batch):
    """The Hessian of the mean squared error, (features, features), in double precision."""
    x = batch[0].double().numpy()
    return 2 * x.T @ x / len(x)


def gradient_of(batch, weight):
    """The gradient of the mean squared error at a weight, (features,)."""
    x, y = (each.double().numpy() for each in batch)
    return 2 * x.T @ (x @ np.asarray(weight, np.float64) - y[:, 0]) / len(x)
