"""Models of users' own: the same numbers as the built-in model whose formula they state."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attnscape import Experiment, LinearTransformer, RegressionTask, hessian, hvp, train
from attnscape.errors import UsageError
from attnscape.measures import (
    Curvature,
    DirectionalSmoothness,
    EvaluationLoss,
    GradientNoise,
    TrainingLoss,
    at,
)
from attnscape.models import FunctionModel, as_model, from_function
from attnscape.optimizers import adam, sgdm
from support import make_case, quick_jit, relative

TASK = RegressionTask(dim=2, context=5)
BUILT_IN = functools.partial(LinearTransformer.init, layers=1, dim=2, form="full", scale=0.1)


def predictions(parameters, prompts):
    """Eq. 7 and 8 in the full form."""
    Z = prompts.tokens()
    n = prompts.y.shape[-1]
    mask = jnp.append(jnp.ones(n, Z.dtype), jnp.zeros(1, Z.dtype))[None, None]
    for P, Q in zip(parameters["P"], parameters["Q"], strict=True):
        Z = Z + P @ (Z * mask) @ (Z.mT @ Q @ Z) / n
    return -Z[:, -1, -1]


def init(key):
    model = BUILT_IN(key)
    return {"P": model.P, "Q": model.Q}


class Module(eqx.Module):
    parameters: dict

    @classmethod
    def init(cls, key):
        return cls(init(key))

    def __call__(self, prompts):
        return predictions(self.parameters, prompts)


class Constructed(eqx.Module):
    parameters: dict

    def __init__(self, key):
        self.parameters = init(key)

    def __call__(self, prompts):
        return predictions(self.parameters, prompts)


FORMS = {
    "function": lambda key: FunctionModel(init(key), predictions),
    "class with init": Module,
    "class": Constructed,
    "pair": (predictions, init),
    "pair with parameters": (predictions, init(jax.random.key(3))),
    "module": Module.init(jax.random.key(3)),
}


def trained(model, precision="float64"):
    measures = (
        EvaluationLoss(at(0, 7, 12)),
        TrainingLoss(at(0, 7, 12)),
        Curvature(at(0, 12)),
        DirectionalSmoothness(at(7)),
        GradientNoise(at(0), samples=5, batch_sizes=(8,), reference=1000),
    )
    return train(
        TASK, model, {"sgdm": sgdm, "adam": adam}, [0.01, 0.05], (0, 1), steps=12, batch=16,
        evaluation_batch=32, measures=measures, precision=precision,
    )  # fmt: skip


def test_every_measure_of_an_own_model_is_that_of_the_built_in_one(x64):
    own, built_in = trained(from_function(predictions, init)), trained(BUILT_IN)
    assert set(own) == set(built_in)
    for name in own:
        assert own[name].shape == built_in[name].shape
        assert np.isfinite(built_in[name]).any()
        assert (built_in.status == 0).all()
        # Paths differ in rounding, 1e-12 of each gradient; Adam divides by the second moment, whose
        # small entries amplify it, and twelve steps add up.
        np.testing.assert_allclose(
            own[name], built_in[name], rtol=1e-8, atol=1e-9 * float(abs(built_in[name]).max())
        )


def test_derivatives_of_an_own_model_are_those_of_the_built_in_one(x64):
    model, prompts = make_case("full", layers=2, dim=3, context=6, batch=9)
    own = FunctionModel({"P": model.P, "Q": model.Q}, predictions)
    assert relative(quick_jit(hessian)(own, prompts), hessian(model, prompts)) < 1e-12
    product = quick_jit(hvp)(own, prompts, own)
    assert relative(product, hvp(model, prompts, model)) < 1e-12
    assert isinstance(product, FunctionModel)


@pytest.mark.parametrize("form", FORMS)
def test_a_model_may_be_given_in_any_of_its_forms(form):
    factory = as_model(FORMS[form])
    prompts = TASK.sample(jax.random.key(0), 7)
    model = factory(jax.random.key(3))
    np.testing.assert_allclose(model(prompts), BUILT_IN(jax.random.key(3))(prompts), rtol=1e-5)
    same_start = form in ("module", "pair with parameters")
    other = factory(jax.random.key(4))(prompts)
    assert np.array_equal(other, model(prompts)) == same_start
    experiment = Experiment("e", TASK, factory, {"sgdm": sgdm}, {"sgdm": [0.1]}, (0,), 1)
    assert len(experiment.run_id) == 64
    assert (experiment.run().status == 0).all()


def test_other_parameters_or_functions_make_other_run_ids():
    def run_id(model):
        model = as_model(model)
        return Experiment("e", TASK, model, {"sgdm": sgdm}, {"sgdm": [0.1]}, (0,), 1).run_id

    def other(parameters, prompts):
        return -predictions(parameters, prompts)

    ready = init(jax.random.key(0))
    moved = jax.tree.map(lambda a: a + 0.01, ready)
    models = [(predictions, init), (other, init), (predictions, ready), (predictions, moved)]
    ids = [run_id(model) for model in (*models, FORMS["module"])]
    assert len(set(ids)) == len(ids)
    # The same program, written as a class.
    assert run_id((predictions, init)) == run_id(Module) == ids[0]


def test_plain_floats_are_parameters():
    model = FunctionModel({"a": 0.5, "n": 3}, lambda p, prompts: p["a"] * prompts.y[:, 0])
    result = train(TASK, lambda key: model, {"sgdm": sgdm}, [0.1], (0,), steps=3, batch=8)
    assert result.loss[0, 0, 0, 0] != result.loss[0, 0, 0, -1]


@pytest.mark.parametrize("thing", [3, "model", (1, 2), {}])
def test_what_is_no_model_gets_a_sentence(thing):
    with pytest.raises(UsageError, match=r"The model .* is none; give a function from a key to an"):
        as_model(thing)
