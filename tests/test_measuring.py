"""What is compiled for a measure serves all that it can, and no more."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attnscape import LinearTransformer, RegressionTask, measuring, train
from attnscape.measures import Curvature, DirectionalSmoothness, EvaluationLoss, TrainingLoss, at
from attnscape.optimizers import PAPER
from attnscape.tasks import Sphere

MEASURES = (EvaluationLoss(at(0)), TrainingLoss(at(0)), DirectionalSmoothness(at(0)))


def trained(model, *, task, measures=MEASURES, optimizers=PAPER, seeds=(0, 1), steps=1):
    return train(task, model, optimizers, (0.01,), seeds, steps=steps, batch=16, measures=measures)


def test_programs_serve_tasks_optimizers_rates_and_seeds_of_the_same_shapes():
    model = functools.partial(LinearTransformer.init, layers=2, dim=3)
    first = trained(model, task=RegressionTask(dim=3, context=7))
    compiled = measuring._take._cache_size()
    second = trained(
        model, task=RegressionTask(dim=3, context=9, covariates=Sphere()), seeds=(2, 3)
    )
    assert measuring._take._cache_size() == compiled
    assert not np.intersect1d(first["loss"], second["loss"]).size


def test_what_the_optimizers_state_decides_is_compiled_for_each():
    model = functools.partial(LinearTransformer.init, layers=2, dim=3)
    compiled = measuring._take._cache_size()
    runs = trained(model, task=RegressionTask(dim=3, context=7), measures=(Curvature(at(0, 1)),))
    assert measuring._take._cache_size() == compiled + 2
    sharpness = runs["preconditioned_sharpness"].sel(step=1)
    assert np.isfinite(sharpness.sel(optimizer="adam")).all()
    assert np.isnan(sharpness.sel(optimizer="sgdm")).all()


class Scaled(eqx.Module):
    """A linear predictor whose scale is no parameter."""

    weight: jax.Array
    scale: int | np.ndarray

    @classmethod
    def init(cls, key, *, scale):
        return cls(jax.random.normal(key, (3,)), scale)

    def __call__(self, prompts):
        return int(self.scale) * jnp.einsum("bi,i->b", prompts.query, self.weight)


@pytest.mark.parametrize("kind", [int, np.array])
def test_models_that_differ_in_what_is_no_parameter_have_programs_of_their_own(kind):
    losses = [
        trained(
            functools.partial(Scaled.init, scale=kind(scale)),
            task=RegressionTask(dim=3, context=5),
            measures=(EvaluationLoss(at(0)),),
        )["loss"]
        for scale in (1, 3)
    ]
    assert not np.isclose(*losses).any()


def test_contents_without_a_hash_are_equal_only_to_themselves():
    array = np.arange(3)
    one, other = measuring._ByValue([array]), measuring._ByValue([array])
    assert one == one
    assert one != other
    assert measuring._ByValue((1, "a")) == measuring._ByValue((1, "a"))
    assert measuring._ByValue((1, "a")) != measuring._ByValue([1, "a"])
