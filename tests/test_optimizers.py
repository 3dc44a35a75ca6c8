"""Named optimizers are PyTorch's, and clipping is by the global norm."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from attnscape.choosing import by_name
from attnscape.errors import UsageError
from attnscape.optimizers import PAPER, adam, check_learning_rate, sgdm
from attnscape.transformations import clipped
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
    assert by_name("sgdm") is sgdm
    assert by_name("adam") is adam
    with pytest.raises(UsageError, match=r"no optimizer 'sdg'; there are sgd, sgdm, "):
        by_name("sdg")


@pytest.mark.parametrize("rate", [0.0, -1.0, float("inf"), float("nan")])
def test_unusable_learning_rates_are_refused(rate):
    with pytest.raises(UsageError, match=f"rate {rate} is not usable; it must be positive and fin"):
        check_learning_rate(rate)
    assert check_learning_rate(0.1) == 0.1
