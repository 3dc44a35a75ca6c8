"""Preconditioned sharpness against numpy's eigenvalues of P^-1 H with the textbooks' P."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree
from jaxtyping import Array

from attnscape import LinearTransformer, RegressionTask, objective, train
from attnscape.errors import UsageError
from attnscape.measures import Curvature, Iterate, Measure, Schedule, Variable, at, every
from attnscape.optimizers import NAMED, Factory, Preconditioned, accepting, clipped

STEPS = 12
LOOK = (0, 1, 2, 10, 12)
WITHOUT = ("sgdm", "muon", "sophia", "lion", "schedule-free-adamw")


@dataclasses.dataclass(frozen=True)
class Seen(Measure):
    """The gradient that the next update is given, and the Hessian at the iterate."""

    schedule: Schedule = dataclasses.field(default_factory=lambda: every(1))
    needs_draw = False
    needs_state = False

    def __call__(self, iterate: Iterate) -> Mapping[str, Array]:
        gradient = objective.value_and_grad(iterate.model, iterate.training)[1]
        return {
            "gradient": ravel_pytree(gradient)[0],
            "hessian": objective.hessian(iterate.model, iterate.evaluation),
        }

    def variables(self) -> Mapping[str, Variable]:
        return {
            "gradient": Variable("gradient", ("parameter",)),
            "hessian": Variable("Hessian", ("parameter", "other")),
        }

    def coordinates(self, model: Callable[..., Any]) -> Mapping[str, Sequence[Any]]:
        return {}


def runs(optimizers: Mapping[str, Factory], clip: float | None) -> Any:
    return train(
        RegressionTask(dim=3, context=6),
        functools.partial(LinearTransformer.init, layers=2, dim=3, scale=0.3),
        optimizers,
        [0.05],
        [0],
        steps=STEPS,
        batch=50,
        clip=clip,
        evaluation_batch=50,
        measures=(Curvature(at(*LOOK)), Seen()),
        precision="float64",
    ).squeeze(drop=True)


@pytest.fixture(scope="module", params=[pytest.param(None, marks=pytest.mark.slow), 0.5])
def together(request: pytest.FixtureRequest) -> tuple[Any, float | None]:
    """Runs of all optimizers of these tests, and what their gradients were clipped to."""
    named = {name: NAMED[name] for name in (*PRECONDITIONERS, *WITHOUT)}
    return runs({**named, "own": scaled}, request.param), request.param


def adams(beta2: float) -> Callable[[np.ndarray], np.ndarray]:
    """Cohen et al. (2022): what the running mean of gradients is divided by, before the rate."""

    def preconditioner(gradients: np.ndarray) -> np.ndarray:
        t = len(gradients)
        second = sum(
            (1 - beta2) * beta2 ** (t - 1 - k) * gradient**2 for k, gradient in enumerate(gradients)
        )
        return (1 - 0.9**t) * (np.sqrt(second / (1 - beta2**t)) + 1e-8)

    return preconditioner


def rmsprops(gradients: np.ndarray) -> np.ndarray:
    weights = 0.1 * 0.9 ** np.arange(len(gradients))[::-1]
    return np.sqrt(weights @ gradients**2 + 1e-8)


def adagrads(gradients: np.ndarray) -> np.ndarray:
    return np.sqrt(0.1 + (gradients**2).sum(axis=0) + 1e-7)


PRECONDITIONERS = {
    "adam": adams(0.9),
    "adamw": adams(0.999),
    "nadam": adams(0.999),
    "ademamix": adams(0.999),
    "rmsprop": rmsprops,
    "adagrad": adagrads,
}


def sharpness(hessian: np.ndarray, preconditioner: np.ndarray) -> float:
    return float(np.linalg.eigvals(hessian / preconditioner[:, None]).real.max())


@pytest.mark.parametrize("name", PRECONDITIONERS)
def test_the_named_optimizers_preconditioned_sharpness_is_the_textbooks(name, together):
    run, clip = together[0].sel(optimizer=name), together[1]
    gradients = run["gradient"].values
    if clip is not None:
        norms = np.linalg.norm(gradients, axis=1, keepdims=True)
        gradients = gradients * np.minimum(1, clip / norms)
        assert (norms > clip).any()
    taken = run["preconditioned_sharpness"]
    for step in LOOK[1:]:
        expected = sharpness(
            run["hessian"].sel(step=step).values, PRECONDITIONERS[name](gradients[:step])
        )
        assert float(taken.sel(step=step)) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", PRECONDITIONERS)
def test_before_the_first_update_there_is_none(name, together):
    taken = together[0].sel(optimizer=name)["preconditioned_sharpness"].dropna("step")
    assert taken["step"].values.tolist() == list(LOOK[1:])


@pytest.mark.parametrize("name", WITHOUT)
def test_those_that_say_nothing_of_a_preconditioner_have_no_preconditioned_sharpness(
    name, together
):
    run = together[0].sel(optimizer=name)
    assert run["hessian_eigenvalues"].sel(step=0).notnull().all()
    assert run["preconditioned_sharpness"].isnull().all()


def scaled(rate: Any) -> Preconditioned:
    """Half of the gradient where its state says so; of a user's own."""

    def update(gradient: Any, state: Any, params: Any = None, *, value: Any = None) -> Any:
        del params, value
        return optax.tree.scale(-rate / 2, gradient), state + 1

    def preconditioner(state: Any) -> Any:
        return jax.tree.map(lambda leaf: jnp.full(leaf.shape, 2.0 + state), MODEL)

    return Preconditioned(lambda params: jnp.zeros(()), update, preconditioner)


MODEL = LinearTransformer(P=jnp.zeros((2, 3, 3)), Q=jnp.zeros((2, 3, 3)))


def test_a_users_optimizer_says_what_its_preconditioner_is(together):
    run = together[0].sel(optimizer="own")
    largest = run["hessian_eigenvalues"].isel(eigenvalue=-1)
    for step in LOOK:
        assert float(run["preconditioned_sharpness"].sel(step=step)) == pytest.approx(
            float(largest.sel(step=step)) / (2 + step), rel=1e-12
        )


@pytest.mark.parametrize(
    ("preconditioner", "sentence"),
    [
        (lambda state: jnp.ones(36), "preconditioner of another form than the parameters"),
        (lambda state: state.nu, "The optimizer mine failed: AttributeError: .*nu"),
    ],
)
def test_a_preconditioner_that_does_not_fit_is_refused(preconditioner, sentence):
    def wrong(rate: Any) -> Preconditioned:
        made = scaled(rate)
        return Preconditioned(made.init, made.update, preconditioner)

    with pytest.raises(UsageError, match=sentence):
        runs({"mine": wrong}, None)


def test_it_stays_an_optax_transformation_in_any_company():
    gradient = optax.tree.full_like(MODEL, 3.0)
    made = optax.chain(optax.scale(2.0), scaled(0.1))
    updates, _ = made.update(gradient, made.init(MODEL), MODEL, value=1.0, grad=gradient)
    assert float(jnp.ravel(updates.P)[0]) == pytest.approx(-0.3)
    assert isinstance(scaled(0.1), optax.GradientTransformation)


@pytest.mark.parametrize("wrap", [accepting, lambda made: clipped(lambda rate: made, 1.0)(0.1)])
def test_what_is_said_survives_clipping_and_left_out_keywords(wrap):
    made = wrap(scaled(0.1))
    assert isinstance(made, Preconditioned)
    assert float(made.preconditioner(made.init(MODEL)).P[0, 0, 0]) == 2
