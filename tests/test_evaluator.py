"""What is compiled for a measure serves all that it can, and no more."""

import dataclasses
import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attnscape import LinearTransformer, RegressionTask, train
from attnscape.measures import Curvature, DirectionalSmoothness, EvaluationLoss, TrainingLoss, at
from attnscape.optimizers import PAPER
from attnscape.tasks import Sphere
from attnscape.training import _evaluator

MEASURES = (EvaluationLoss(at(0)), TrainingLoss(at(0)), DirectionalSmoothness(at(0)))


@pytest.fixture(autouse=True)
def no_programs_of_other_tests():
    """Another test of the same process may have compiled for the same shapes."""
    _evaluator._evaluate.clear_cache()


def trained(model, *, task, measures=MEASURES, optimizers=PAPER, seeds=(0, 1), steps=1):
    return train(task, model, optimizers, (0.01,), seeds, steps=steps, batch=16, measures=measures)


def test_programs_serve_tasks_optimizers_rates_and_seeds_of_the_same_shapes():
    model = functools.partial(LinearTransformer.init, layers=2, dim=3)
    first = trained(model, task=RegressionTask(dim=3, context=7))
    compiled = _evaluator._evaluate._cache_size()
    second = trained(
        model, task=RegressionTask(dim=3, context=9, covariates=Sphere()), seeds=(2, 3)
    )
    assert _evaluator._evaluate._cache_size() == compiled
    assert not np.intersect1d(first["loss"], second["loss"]).size


def test_one_program_serves_all_schedules_and_numbers_of_batches():
    model = functools.partial(LinearTransformer.init, layers=2, dim=2)
    task = RegressionTask(dim=2, context=7)
    compiled = _evaluator._evaluate._cache_size()
    measures = [EvaluationLoss(at(0), evaluations=1), EvaluationLoss(at(1)), EvaluationLoss(at(2))]
    runs = train(
        task, model, ["adam"], 0.01, [0], steps=2, batch=16, measures=measures,
        evaluation_seeds=range(3),
    )  # fmt: skip
    assert _evaluator._evaluate._cache_size() == compiled + 1
    assert runs["loss"].squeeze().notnull().sum("evaluation").values.tolist() == [1, 3, 3]


def test_what_the_optimizers_state_decides_is_compiled_for_each():
    model = functools.partial(LinearTransformer.init, layers=2, dim=3)
    compiled = _evaluator._evaluate._cache_size()
    runs = trained(model, task=RegressionTask(dim=3, context=7), measures=(Curvature(at(0, 1)),))
    assert _evaluator._evaluate._cache_size() == compiled + 2
    sharpness = runs["preconditioned_sharpness"].sel(step=1)
    assert np.isfinite(sharpness.sel(optimizer="adam")).all()
    assert np.isnan(sharpness.sel(optimizer="sgdm")).all()


@pytest.mark.parametrize(
    ("measure", "times"), [(EvaluationLoss(at(0)), 3), (TrainingLoss(at(0)), 1)]
)
def test_what_does_not_depend_on_the_evaluation_batch_is_taken_once(measure, times, monkeypatch):
    taken, take = [], _evaluator._evaluate
    monkeypatch.setattr(_evaluator, "_evaluate", lambda *given: taken.append(given) or take(*given))
    model = functools.partial(LinearTransformer.init, layers=1, dim=3)
    task = RegressionTask(dim=3, context=5)
    train(
        task, model, ["adam"], 0.01, [0], steps=0, batch=16, measures=[measure],
        evaluation_seeds=range(3),
    )  # fmt: skip
    assert [count for *_, count in taken] == [times]


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


class Rescaled:
    """A task that has no description, and may change."""

    dim, context = 3, 5

    def __init__(self, scale):
        self.scale = scale

    def sample(self, key, batch, dtype="float32"):
        prompts = RegressionTask(dim=3, context=5).sample(key, batch, dtype)
        return eqx.tree_at(lambda p: (p.y, p.target), prompts, replace_fn=lambda a: self.scale * a)

    def sample_moments(self, key, batch, dtype="float32"):
        return self.sample(key, batch, dtype).moments()


@dataclasses.dataclass
class Described(Rescaled):
    """The same with a description but, as it may change, without a hash."""

    scale: float


@pytest.mark.parametrize("kind", [Rescaled, Described])
def test_a_task_that_was_changed_gives_its_new_prompts(kind):
    model = functools.partial(LinearTransformer.init, layers=1, dim=3)
    measures = (EvaluationLoss(at(0, 1)), TrainingLoss(at(0, 1)))
    run = functools.partial(trained, model, measures=measures, optimizers=["adam"], seeds=(0,))
    task = kind(1.0)
    run(task=task)
    task.scale = 3.0
    changed, fresh = (run(task=t) for t in (task, kind(3.0)))
    for name in ("loss", "training_loss", "gradient_norm"):
        np.testing.assert_array_equal(changed[name], fresh[name])


def test_what_has_no_description_is_compiled_once_a_training():
    model = functools.partial(LinearTransformer.init, layers=1, dim=3)
    before = _evaluator._training_data._cache_size()
    measures = (TrainingLoss(at(0, 1, 2, 3)),)
    trained(model, task=Rescaled(1.0), measures=measures, steps=3, optimizers=["adam"])
    assert _evaluator._training_data._cache_size() == before + 1
