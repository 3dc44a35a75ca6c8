"""Losses other than the squared error: PyTorch's values, every path, own functions, identities."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attnscape import Experiment, LinearTransformer, RegressionTask, objective, train
from attnscape.cli.commands._parts import loss_of
from attnscape.errors import UsageError
from attnscape.measures import EvaluationLoss, every
from attnscape.optimizers import NAMED
from attnscape.tasks import AbsoluteError, Huber, Logistic, SquaredError, Thresholded, WithLoss
from support import TOLERANCE, make_case, make_direction, needs_torch, quick_jit, relative

LOSSES = [AbsoluteError(), Huber(0.3), Logistic()]


@needs_torch
def test_values_and_slopes_are_pytorchs(x64):
    import torch

    p, t = np.random.default_rng(0).standard_normal((2, 50)) * 3
    sign = torch.tensor((t >= 0).astype(float))
    of_torch = [
        (SquaredError(), torch.nn.MSELoss(), torch.tensor(t)),
        (AbsoluteError(), torch.nn.L1Loss(), torch.tensor(t)),
        (Huber(0.7), torch.nn.HuberLoss(delta=0.7), torch.tensor(t)),
        (Logistic(), torch.nn.BCEWithLogitsLoss(), sign),
    ]
    for ours, theirs, target in of_torch:
        predictions = torch.tensor(p, requires_grad=True)
        wanted = theirs(predictions, target)
        wanted.backward()
        got, slope = jax.value_and_grad(lambda a, f=ours: f(a, jnp.asarray(t)).mean())(
            jnp.asarray(p)
        )
        assert relative(got, wanted.item()) < 1e-14
        assert relative(slope, predictions.grad.numpy()) < 1e-14


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_the_reduced_form_is_the_token_form(loss, x64):
    model, prompts = make_case("block", 2, 3, 5, 17)
    prompts = dataclasses.replace(prompts, loss=loss)
    direction = make_direction(model)
    found = []
    for path, data in (("token", prompts), ("fastest", prompts.moments())):

        def all_of(model, data, path=path):
            value, slope = objective.value_and_grad(model, data, path=path)
            product = objective.hvp(model, data, direction, path=path)
            return value, slope, product, objective.hessian(model, data, path=path)

        found.append(quick_jit(all_of)(model, data))
    for wanted, got in zip(*found, strict=True):
        assert relative(got, wanted) < TOLERANCE["float64"]
    with pytest.raises(UsageError, match="squared error only"):
        objective.loss(model, prompts, path="native")


def test_huber_has_its_curvature_at_the_target():
    assert float(jax.grad(jax.grad(Huber(1.0)))(jnp.array(0.5), jnp.array(0.5))) == 1


def test_identities_tell_losses_apart_and_own_losses_train():
    task, model = RegressionTask(dim=2), partial(LinearTransformer.init, layers=1, dim=2)

    def fourth(prediction, target):
        return (prediction - target) ** 4

    tasks = [task, Thresholded(task), *(WithLoss(task, each) for each in (*LOSSES, fourth))]
    tasks += [WithLoss(task, Huber(0.5))]
    adam = {"adam": NAMED["adam"]}, {"adam": (0.01,)}
    ids = [Experiment("a", each, model, *adam, (0,), steps=2, batch=8).run_id for each in tasks]
    assert len(set(ids)) == len(tasks)
    measures = [EvaluationLoss(every(10))]
    result = train(tasks[5], model, ["sgdm"], 0.05, (0,), steps=50, batch=64, measures=measures)
    first = tasks[5].sample(jax.random.key(0), 4)
    assert first.loss is fourth
    assert float(result["loss"].isel(step=-1).item()) < float(result["loss"].isel(step=0).item())


def test_the_command_line_names_losses():
    assert loss_of("huber:delta=0.5") == Huber(0.5)
    assert loss_of("logistic") == Logistic()
    for text in ("huber:epsilon=1", "huber:delta=x", "huber:delta=-1", "hinge"):
        with pytest.raises(UsageError, match=r"delta|--loss"):
            loss_of(text)
