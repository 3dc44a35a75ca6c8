"""Optimizers of a user's own: what they are given, where they are measured, what mistakes say."""

import functools
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest

from attnscape import LinearTransformer, RegressionTask, objective, train
from attnscape.errors import UsageError
from attnscape.measures import Curvature, DirectionalSmoothness, EvaluationLoss, at
from attnscape.optimizers import NAMED, WithEvalParams, clipped, schedule_free
from attnscape.optimizers.references import resolve
from support import quick_jit

TASK = RegressionTask(dim=2, context=3)
MODEL = functools.partial(LinearTransformer.init, layers=1, dim=2)
LOSS = (EvaluationLoss(at(0, 3)),)


def run(factory, *, rate=0.01, steps=3, **changes):
    arguments = {"batch": 8, "evaluation_batch": 8, "measures": LOSS, "seeds": (0, 1)} | changes
    return train(TASK, MODEL, {"own": factory}, [rate], steps=steps, **arguments)


@pytest.mark.parametrize("precision", ["float32", pytest.param("float64", marks=pytest.mark.slow)])
def test_every_named_optimizer_lowers_the_loss(precision):
    rates = {name: [1.0 if name == "prodigy" else 0.01] for name in NAMED}
    result = train(
        TASK, MODEL, NAMED, rates, (0,), steps=100, batch=512, evaluation_batch=512,
        measures=(EvaluationLoss(at(0, 100)),), precision=precision,
    )  # fmt: skip
    assert result["loss"].dtype == precision
    first, last = (result["loss"].sel(step=step).max("learning_rate").values for step in (0, 100))
    # It falls from 1.8 to 0.94 at most; Adafactor and LAMB, whose steps scale with parameters that
    # are small, are on their way.
    assert (last < 0.99 * first).all()


def recording(seen):
    """SGD that keeps what its update was given, as numbers."""

    def factory(rate):
        def update(updates, state, params, *, value, grad, value_fn, obj_fn, grad_fn, **others):
            diagonal = others["hessian_diagonal_fn"](params)
            jax.debug.callback(
                lambda *given: seen.append(jax.tree.map(np.asarray, given)),
                params, updates, value, grad, value_fn(params), obj_fn(params), grad_fn(params),
                diagonal, ordered=False,
            )  # fmt: skip
            return jax.tree.map(lambda g: -rate * g, updates), state

        return optax.GradientTransformationExtraArgs(lambda params: (), update)

    return factory


def test_updates_are_given_loss_gradient_and_hessian_diagonal_on_the_steps_batch(x64):
    seen = []
    run(recording(seen), steps=1, seeds=(5,), precision="float64", clip=1e-3)
    jax.effects_barrier()
    model, update, value, gradient, value_fn, obj_fn, grad_fn, diagonal = seen[0]
    assert value == pytest.approx(value_fn, rel=1e-13)
    assert value == obj_fn or value == pytest.approx(obj_fn, rel=1e-13)
    # What the update itself gets and the gradient function are clipped; the keyword is not.
    assert float(optax.tree.norm(update)) == pytest.approx(1e-3, rel=1e-12)
    assert float(optax.tree.norm(gradient)) > 1e-3
    for ours, theirs in zip(jax.tree.leaves(update), jax.tree.leaves(grad_fn), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-15)
    # Central differences of the gradient function would need the batch; the keys are known instead.
    from attnscape.tasks import derived_key

    key = jax.random.split(jax.random.key(5))[1]
    draw = quick_jit(lambda key: TASK.sample_moments(derived_key(key, 0), 8, jnp.float64))
    prompts = draw(key)
    model = LinearTransformer(jnp.asarray(model.P), jnp.asarray(model.Q))
    hessian = quick_jit(functools.partial(objective.hessian, path="reduced"))
    expected = np.diag(hessian(model, prompts))
    flat = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(diagonal)])
    np.testing.assert_allclose(flat, expected, rtol=1e-9, atol=1e-12)
    assert value == pytest.approx(float(objective.loss(model, prompts, path="reduced")), rel=1e-12)


def sam(rate):
    """optax's SAM: a keyword-only gradient function, and no other keyword."""
    ascent = optax.chain(optax.contrib.normalize(), optax.sgd(0.05))
    return optax.contrib.sam(optax.sgd(rate), ascent, opaque_mode=True)


@pytest.mark.parametrize(("factory", "rate"), [(sam, 0.05), (optax.lbfgs, 1.0)])
def test_optimizers_that_evaluate_more_than_once_run(factory, rate):
    result = run(factory, rate=rate, steps=20, batch=512, evaluation_batch=512, measures=(
        EvaluationLoss(at(0, 20)),
    ))  # fmt: skip
    first, last = (result["loss"].sel(step=step).values for step in (0, 20))
    assert (last < 0.9 * first).all()


def shifted(rate):
    """SGD that is judged at twice its parameters."""
    inner = optax.sgd(rate)
    return WithEvalParams(
        inner.init,
        lambda updates, state, params=None, **_: inner.update(updates, state, params),
        lambda state, params: jax.tree.map(lambda a: 2 * a, params),
    )


@pytest.mark.parametrize("clip", [1.0, None])
def test_measures_look_at_the_evaluation_point(clip):
    measures = (EvaluationLoss(at(0, 3)), DirectionalSmoothness(at(0)))
    elsewhere = run(shifted, measures=measures, clip=clip)
    plain = run(NAMED["sgd"], measures=measures, clip=clip)
    assert (elsewhere["loss"] != plain["loss"]).all()
    key = jax.random.split(jax.random.key(0))[0]
    doubled = jax.tree.map(lambda a: 2 * a, MODEL(key))
    evaluation = TASK.sample_moments(jax.random.fold_in(jax.random.key(0), 1), 8)
    expected = objective.loss(doubled, evaluation, path="reduced")
    assert float(elsewhere["loss"].isel(seed=0, step=0).item()) == pytest.approx(
        float(expected), rel=1e-5
    )
    # The realised step is that of the evaluation point: twice the parameters', u^T H u / |u|^2.
    assert elsewhere["directional_smoothness"].isel(step=0).notnull().all()


def test_curvature_is_measured_along_optimizers_that_give_adam_a_part_of_the_parameters():
    result = run(NAMED["muon"], steps=1, measures=(Curvature(at(1)),))
    assert result["hessian_eigenvalues"].sel(step=1).notnull().all()
    assert result["preconditioned_sharpness"].isnull().all()


def test_schedule_free_is_measured_at_the_average():
    transformation = clipped(schedule_free, 1.0)(0.1)
    params = {"w": jnp.array([1.0, -2.0])}
    state = transformation.init(params)
    for _ in range(3):
        updates, state = transformation.update({"w": jnp.array([0.1, 0.2])}, state, params)
        params = optax.apply_updates(params, updates)
    assert isinstance(transformation, WithEvalParams)
    point = transformation.eval_params(state, params)["w"]
    z = state[-1].z["w"]
    # y = (1 - beta) z + beta x with beta 0.9.
    np.testing.assert_allclose(0.1 * z + 0.9 * point, params["w"], rtol=1e-6)


BROKEN = """
    import jax.numpy as jnp
    import optax

    def raises(rate):
        raise ValueError("no luck")

    def raises_later(rate):
        def update(updates, state, params=None):
            return undefined_name, state
        return optax.GradientTransformation(lambda params: (), update)

    def wrong_type(rate):
        return "adam"

    def needs_more(rate, momentum):
        return optax.sgd(rate)

    def needs_keyword(rate):
        def update(updates, state, params, *, curvature):
            return updates, state
        return optax.GradientTransformationExtraArgs(lambda params: (), update)

    def other_shape(rate):
        import jax
        def update(updates, state, params=None):
            return jax.tree.map(lambda g: g[0], updates), state
        return optax.GradientTransformation(lambda params: (), update)

    def growing_state(rate):
        return optax.GradientTransformation(
            lambda params: jnp.zeros(1), lambda u, s, p=None: (u, jnp.append(s, 0.0))
        )
"""


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("raises", r"optimizer raises failed: ValueError: no luck \(.*own.py, line 5\)\."),
        ("raises_later", r"failed: NameError: .*undefined_name.* \(.*own.py, line 9\)\."),
        ("wrong_type", r"gave str 'adam'; it must give an optax.GradientTransf.* line 12"),
        ("needs_more", r"failed: TypeError: .*'momentum' \(.*own.py, line 15\)\."),
        (
            "needs_keyword",
            r"TypeError: .*-only argument: 'curvature' \(.*own.py, line 18\)\.",
        ),
        ("other_shape", r"gives updates of another form .*\.P was .*\[1, 2, 2\] and becomes .*2\]"),
        ("growing_state", r"another form of state after an update: .*\[1\] and becomes .*\[2\]"),
    ],
)
def test_mistakes_are_told_with_file_and_line(name, sentence, tmp_path):
    (tmp_path / "own.py").write_text(textwrap.dedent(BROKEN).lstrip("\n"))
    factories = resolve([f"{tmp_path / 'own.py'}:{name}"])
    with pytest.raises(UsageError, match=sentence) as caught:
        train(TASK, MODEL, factories, [0.1], (0,), steps=1, batch=4, evaluation_batch=4)
    assert "\n" not in str(caught.value)


SCHEDULES = {
    "float": lambda rate: float(rate),
    "warm-up": lambda rate: optax.warmup_cosine_decay_schedule(0, rate, 2, 8),
    "linear": lambda rate: optax.linear_schedule(0, rate, 3),
    "joined": lambda rate: optax.join_schedules(
        [optax.linear_schedule(0.0, rate, 2), optax.cosine_decay_schedule(rate, 5)], [2]
    ),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_of_the_rate_train_as_they_do_one_rate_at_a_time(name, x64):
    options = {"precision": "float64", "steps": 5, "measures": (EvaluationLoss(at(0, 5)),)}

    def factory(rate):
        return optax.adam(SCHEDULES[name](rate))

    arguments = {"batch": 8, "evaluation_batch": 8, "seeds": (0, 1)} | options
    together = train(TASK, MODEL, {"own": factory}, [0.01, 0.1], **arguments)
    for rate in (0.01, 0.1):

        def of_rate(_, rate=rate):
            return optax.adam(SCHEDULES[name](rate))

        apart = train(TASK, MODEL, {"own": of_rate}, [rate], **arguments)
        # optax computes a schedule of plain numbers in single precision.
        np.testing.assert_allclose(
            together["loss"].sel(learning_rate=rate), apart["loss"].sel(learning_rate=rate),
            rtol=1e-7,
        )  # fmt: skip


def test_an_optimizer_that_yields_nan_diverges_at_once():
    def nan(rate):
        return optax.stateless(lambda updates, params: jax.tree.map(lambda g: g * jnp.nan, updates))

    result = run(nan)
    assert (result["diverged_at"] == 1).all()


def test_references_and_names_get_short_labels(tmp_path):
    (tmp_path / "own.py").write_text("import optax\nmine = optax.sgd\n")
    factories = resolve(["adam", f"{tmp_path / 'own.py'}:mine"])
    assert list(factories) == ["adam", "mine"]
    with pytest.raises(UsageError, match="Two optimizers are called adam"):
        resolve(["adam", "adam"])
    with pytest.raises(UsageError, match=r"has no 'yours'; it defines "):
        resolve([f"{tmp_path / 'own.py'}:yours"])
    with pytest.raises(UsageError, match=r"There is no file .*none.py; give the path"):
        resolve([f"{tmp_path / 'none.py'}:mine"])
