"""Named optimizers are PyTorch's, and clipping is by the global norm."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from attnscape import optimizers
from attnscape.errors import UsageError
from attnscape.optimizers import (
    PAPER,
    adam,
    check_learning_rate,
    clipped,
    muon,
    nadam,
    rmsprop,
    sgdm,
)
from attnscape.optimizers.references import get_optimizer
from support import needs_torch, relative

SHAPES = {"P": (2, 3, 3), "Q": (2, 3, 3)}


def gradients(steps, seed=0):
    """Gradients whose norms are far below and far above a clipping threshold of 1, in turns."""
    rng = np.random.default_rng(seed)
    for step in range(steps):
        size = 1e-2 if step % 2 else 1e6
        yield {name: size * rng.standard_normal(shape) for name, shape in SHAPES.items()}


@needs_torch
@pytest.mark.parametrize("clip", [1.0, None])
@pytest.mark.parametrize("name", ["sgdm", "adam"])
def test_200_steps_are_pytorchs(name, clip, x64):
    import torch

    rng = np.random.default_rng(1)
    start = {key: rng.standard_normal(shape) for key, shape in SHAPES.items()}
    rate = 0.03
    theirs = {key: torch.tensor(a, requires_grad=True) for key, a in start.items()}
    optimizer = (
        torch.optim.SGD(theirs.values(), lr=rate, momentum=0.9)
        if name == "sgdm"
        else torch.optim.AdamW(theirs.values(), lr=rate, betas=(0.9, 0.9), weight_decay=0)
    )
    ours = jax.tree.map(jnp.asarray, start)
    ours_optimizer = clipped(PAPER[name], clip)(rate)
    state = ours_optimizer.init(ours)
    update = jax.jit(ours_optimizer.update)
    for gradient in gradients(200):
        for key, parameter in theirs.items():
            parameter.grad = torch.tensor(gradient[key])
        if clip is not None:
            # PyTorch divides by norm + 1e-6. Only where the norm is large is that clipping to 1
            # within the tolerance, so clipped gradients here are 1e6 times the threshold.
            torch.nn.utils.clip_grad_norm_(theirs.values(), clip)
        optimizer.step()
        updates, state = update(gradient, state, ours)
        ours = optax.apply_updates(ours, updates)
        assert relative(ours, {key: a.detach().numpy() for key, a in theirs.items()}) < 1e-9


def walk(optimizer, gradients):
    """Where 60 updates lead from zero, one after the other."""
    point = jax.tree.map(jnp.zeros_like, gradients[0])
    state, update, points = optimizer.init(point), jax.jit(optimizer.update), []
    for gradient in gradients:
        updates, state = update(gradient, state, point)
        point = optax.apply_updates(point, updates)
        points.append(point)
    return points


@pytest.fixture
def small_gradients(x64):
    """Where an eps inside of a root and one outside of it are far apart."""
    rng = np.random.default_rng(2)
    return [{"W": jnp.asarray(1e-4 * rng.standard_normal((2, 4, 3)))} for _ in range(60)]


def torchs(make, gradients):
    """Where a PyTorch optimizer's updates lead from zero."""
    import torch

    parameter = torch.zeros(gradients[0]["W"].shape, dtype=torch.float64, requires_grad=True)
    optimizer, points = make(torch.optim)([parameter], lr=0.01), []
    for gradient in gradients:
        parameter.grad = torch.tensor(np.asarray(gradient["W"]))
        optimizer.step()
        points.append({"W": parameter.detach().numpy().copy()})
    return points


@needs_torch
def test_nadam_is_pytorchs_without_dozats_schedule(small_gradients):
    ours = walk(nadam(0.01), small_gradients)
    # A decay of the schedule this fast leaves beta1 at 0.9 from the first step on.
    constant = torchs(
        lambda torch: functools.partial(torch.NAdam, momentum_decay=1e6), small_gradients
    )
    assert relative(ours, constant) < 1e-6  # PyTorch keeps the product of betas in float32
    assert relative(ours, torchs(lambda torch: torch.NAdam, small_gradients)) > 0.05


@needs_torch
def test_rmsprop_is_pytorchs_but_for_the_place_of_eps(small_gradients):
    theirs = torchs(lambda torch: functools.partial(torch.RMSprop, alpha=0.9), small_gradients)
    outside = optax.rmsprop(0.01, decay=0.9, eps_in_sqrt=False)
    assert relative(walk(outside, small_gradients), theirs) < 1e-9
    ours = walk(rmsprop(0.01), small_gradients)
    inside = optax.rmsprop(0.01, decay=0.9, eps_in_sqrt=True)
    assert relative(ours, walk(inside, small_gradients)) == 0
    assert relative(ours, theirs) > 0.05
    large = [jax.tree.map(lambda a: 1e6 * a, gradient) for gradient in small_gradients]
    theirs = torchs(lambda torch: functools.partial(torch.RMSprop, alpha=0.9), large)
    assert relative(walk(rmsprop(0.01), large), theirs) < 1e-9


def jordans_muon(gradients, corrected):
    """Keller Jordan's update in double precision, with or without Adam's bias corrections."""
    momentum = point = np.zeros(gradients[0]["W"].shape)
    points = []
    for count, gradient in enumerate(gradients, start=1):
        g = np.asarray(gradient["W"])
        momentum = 0.95 * momentum + 0.05 * g
        weights = (1 - 0.95 ** (count + 1), 1 - 0.95**count) if corrected else (1, 1)
        x = 0.95 * momentum / weights[0] + 0.05 * g / weights[1]
        x = x / np.linalg.norm(x, axis=(-2, -1), keepdims=True)
        for _ in range(5):
            a = x @ x.swapaxes(-1, -2)
            x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
        point = point - 0.01 * np.sqrt(max(1, x.shape[-2] / x.shape[-1])) * x
        points.append({"W": point})
    return points


def test_muon_is_jordans_with_adams_bias_corrections(x64):
    rng = np.random.default_rng(3)
    gradients = [{"W": jnp.asarray(rng.standard_normal((2, 4, 3)))} for _ in range(60)]
    ours = walk(muon(0.01), gradients)
    # Ours divides by the norm + 1e-8, and five steps raise small singular values 3.4445^5 times.
    assert relative(ours, jordans_muon(gradients, corrected=True)) < 1e-5
    assert relative(ours, jordans_muon(gradients, corrected=False)) > 0.01


@pytest.mark.parametrize("norm", [0.1, 0.7, 0.71, 5.0, 1e8])
def test_clipping_keeps_the_direction_and_bounds_the_global_norm(norm, x64):
    gradient = {"P": jnp.array([3.0, 0.0]) * norm / 5, "Q": jnp.array([[4.0]]) * norm / 5}
    optimizer = clipped(lambda rate: optax.identity(), 0.7)(0.1)
    update, _ = optimizer.update(gradient, optimizer.init(gradient))
    expected = jax.tree.map(lambda a: a * min(1, 0.7 / norm), gradient)
    assert relative(update, expected) < 1e-14


def test_no_clipping_leaves_the_factory_alone():
    assert clipped(adam, None) is adam


def test_names_find_their_factories():
    assert get_optimizer("sgdm") is sgdm
    assert get_optimizer("adam") is adam
    with pytest.raises(UsageError, match=r"no optimizer 'sdg'; there are sgd, sgdm, "):
        get_optimizer("sdg")


@pytest.mark.parametrize("rate", [0.0, -1.0, float("inf"), float("nan")])
def test_unusable_learning_rates_are_refused(rate):
    with pytest.raises(UsageError, match=f"rate {rate} is not usable; it must be positive and fin"):
        check_learning_rate(rate)
    assert check_learning_rate(0.1) == 0.1


def test_every_named_optimizer_is_exported():
    for name, factory in optimizers.NAMED.items():
        assert getattr(optimizers, name.replace("-", "_")) is factory
