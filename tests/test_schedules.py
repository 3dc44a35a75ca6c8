"""Schedules, weight decay and what a factory asks of its run, against loops with rates by hand."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from attnscape import Experiment, LinearTransformer, RegressionTask, train
from attnscape.errors import UsageError
from attnscape.identity import is_built_in
from attnscape.measures import Curvature, EvaluationLoss, TrainingLoss, at, every
from attnscape.optimizers import (
    NAMED,
    WSD,
    Constant,
    Cosine,
    ExternalOptimizer,
    LinearDecay,
    Preconditioned,
    WithEvalParams,
    adam,
    adamw,
    bound,
    decayed,
    lamb,
    muon,
    rmsprop,
    scheduled,
    sgd,
    sgdm,
)
from attnscape.optimizers.arguments import with_arguments
from attnscape.optimizers.references import get_optimizer, read_options, resolve, split
from attnscape.tasks import derived_key
from attnscape.trees import astype
from attnscape.validation import check_optimizer
from attnscape.validation._updates import example, start, update_of
from support import needs_torch, relative

TASK = RegressionTask(dim=3, context=7)
MODEL = functools.partial(LinearTransformer.init, layers=2, dim=3, scale=0.3)
OFTEN = (EvaluationLoss(every(1)), TrainingLoss(every(1)))
STEPS = 40


def ramp(t, warmup):
    return np.minimum((t + 1) / (warmup + 1), 1)


def cosine(t, warmup=0, end=0.0, steps=STEPS):
    share = np.maximum(t - warmup, 0) / (steps - warmup)
    return ramp(t, warmup) * (end + (1 - end) * (1 + np.cos(np.pi * share)) / 2)


def line(t, warmup=0, end=0.0, steps=STEPS):
    share = np.maximum(t - warmup, 0) / (steps - warmup)
    return ramp(t, warmup) * (1 - (1 - end) * share)


def late(t, decaying, warmup=0, end=0.0):
    share = np.maximum(t - (STEPS - decaying), 0) / decaying
    return ramp(t, warmup) * (1 - (1 - end) * share)


FORMULAS = [
    (Constant(), lambda t: np.ones_like(t, float)),
    (Constant(warmup=7), lambda t: ramp(t, 7)),
    (Cosine(), cosine),
    (Cosine(warmup=5, end=0.1), lambda t: cosine(t, 5, 0.1)),
    (LinearDecay(), line),
    (LinearDecay(warmup=5, end=0.1), lambda t: line(t, 5, 0.1)),
    (WSD(), lambda t: late(t, 8)),
    (WSD(warmup=5, end=0.1, decay=0.5), lambda t: late(t, 20, 5, 0.1)),
    (WSD(warmup=20, decay=0.5), lambda t: late(t, 20, 20)),  # nothing between the two
]


@pytest.mark.parametrize(
    ("shape", "formula"), [pytest.param(*each, id=str(each[0])) for each in FORMULAS]
)
def test_shapes_are_their_formulas(shape, formula, x64):
    t = np.arange(STEPS)
    factors = jax.vmap(lambda step: shape(step, STEPS))(jnp.arange(STEPS))
    assert factors.dtype == "float64"
    np.testing.assert_allclose(factors, formula(t), rtol=1e-12)
    assert np.all(factors > 0)  # no update is wasted
    np.testing.assert_allclose(shape(STEPS + 3, STEPS), factors[-1], rtol=1e-12)


def test_a_cosine_with_warm_up_is_optaxs():
    theirs = optax.warmup_cosine_decay_schedule(1 / 6, 1.0, 5, STEPS, end_value=0.1)
    for t in range(STEPS):
        assert float(Cosine(warmup=5, end=0.1)(t, STEPS)) == float(theirs(t))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Cosine(warmup=-1), "warmup is -1; it must be a whole number"),
        (lambda: Constant(warmup=2.5), "warmup is 2.5; it must be a whole number"),
        (lambda: LinearDecay(end=1.5), "end is 1.5; it must be a factor from 0 to 1"),
        (lambda: WSD(decay=0.0), "decay is 0.0; it must be a share"),
        (lambda: Cosine(warmup=40)(0, 40), "The warm-up of 40 updates is not shorter than the run"),
        (lambda: WSD(warmup=33)(0, 40), "of 33 updates and the decay of 8 do not fit into the run"),
        (lambda: decayed(adam, -0.1), "The weight decay -0.1 is not usable"),
        (lambda: decayed(adam, float("nan")), "The weight decay nan is not usable"),
        (lambda: decayed(NAMED["schedule-free"], 0.1)(0.1), "as it would move only one of the two"),
    ],
)
def test_mistakes_get_a_sentence(make, sentence):
    with pytest.raises(UsageError, match=sentence):
        make()


def steps_of(update_at, factory, count=12):
    """Where updates on a quadratic lead, if `update_at(t)` makes update t."""
    parameters, _ = astype("float64", example())
    state, points = start(factory, 0.02, parameters), []
    for t in range(count):
        updates, state = update_at(t)(parameters, state, parameters)
        parameters = optax.apply_updates(parameters, updates)
        points.append(parameters)
    return points


@pytest.mark.parametrize("name", NAMED)
def test_every_optimizer_has_the_rates_that_a_loop_gives_it(name, x64):
    """The loop makes the optimizer anew with each rate, on one state."""
    factory, shape = NAMED[name], Cosine(warmup=3)
    ours = bound(scheduled(factory, shape), steps=12, batch=1)
    update = jax.jit(update_of(ours, 0.02))
    got = steps_of(lambda t: update, ours)
    rates = 0.02 * cosine(np.arange(12), 3, steps=12)
    by_rate = jax.jit(lambda rate, *arguments: update_of(factory, rate)(*arguments))
    wanted = steps_of(lambda t: functools.partial(by_rate, rates[t]), factory)
    assert relative(got, wanted) < 1e-10
    constant = steps_of(lambda t: functools.partial(by_rate, 0.02), factory)
    assert relative(got, constant) > 1e-6  # Prodigy's estimate begins at 1e-6


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_the_engine_equals_a_plain_loop_with_other_rates_and_decay(precision, x64):
    """Prompts by `sample`, the gradient of the token form, optax's momentum, rates by hand."""
    steps, rate, decay, seed = 30, 0.1, 0.3, 4
    factory = scheduled(decayed(sgdm, decay), WSD(warmup=4, decay=0.4))
    got = train(
        TASK, MODEL, {"mine": factory}, rate, (seed,), steps=steps, batch=50, measures=OFTEN,
        precision=precision, evaluation_seeds=2, evaluation_batch=60,
    ).squeeze(drop=True)  # fmt: skip
    init_key, data_key = jax.random.split(jax.random.key(seed))
    evaluation = TASK.sample(jax.random.fold_in(jax.random.key(2), 1), 60, "float64")

    @jax.jit
    def loss(model, prompts):
        return jnp.mean((model(prompts) - prompts.target) ** 2)

    gradient = jax.jit(jax.grad(loss))
    model = MODEL(init_key, dtype="float64")
    momentum = jax.tree.map(jnp.zeros_like, model)
    wanted = []
    for t in range(steps + 1):
        wanted.append(float(loss(model, evaluation)))
        factor = min(1, (t + 1) / 5, (30 - t) / 12)
        slope = gradient(model, TASK.sample(derived_key(data_key, t), 50, "float64"))
        scale = min(1, 1 / float(optax.tree.norm(slope)))
        momentum = jax.tree.map(lambda m, g, s=scale: 0.9 * m + s * g, momentum, slope)
        model = jax.tree.map(lambda w, m, r=rate * factor: w - r * (m + decay * w), model, momentum)
    # As of the engine without a schedule (tests/test_training.py).
    tolerance = {"float64": 1e-10, "float32": 1e-3}[precision]
    assert relative(got["loss"].values, wanted) < tolerance


def small(optimizers, steps=8, **changes):
    return train(
        TASK, MODEL, optimizers, (0.02, 0.1), (0, 1),
        **{"steps": steps, "batch": 20, "evaluation_batch": 20, "measures": OFTEN} | changes,
    )  # fmt: skip


@pytest.mark.parametrize(
    "name", ["sgdm", "adam", pytest.param("muon", marks=pytest.mark.slow), "schedule-free"]
)
def test_a_constant_shape_changes_no_bit(name):
    plain = small({name: NAMED[name]})["loss"].values
    np.testing.assert_array_equal(small({name: scheduled(NAMED[name], Constant())})["loss"], plain)
    # Another program, that multiplies rates by 1.
    ones = small({name: scheduled(NAMED[name], lambda t, steps: 1.0)})["loss"].values
    np.testing.assert_array_equal(ones, plain)


def test_preconditioners_and_evaluation_points_are_kept():
    for wrap in (lambda f: scheduled(f, Cosine()), lambda f: decayed(f, 0.1)):
        assert isinstance(bound(wrap(rmsprop), steps=9, batch=1)(0.1), Preconditioned)
    of_point = bound(scheduled(NAMED["schedule-free"], Cosine()), steps=9, batch=1)(0.1)
    assert isinstance(of_point, WithEvalParams)
    runs = small({"adam": adam, "same": scheduled(adam, lambda t, steps: 1.0)},
                 measures=(Curvature(at(0, 8)),))  # fmt: skip
    sharpness = runs["preconditioned_sharpness"].values
    assert np.isfinite(sharpness[..., 1]).all()
    np.testing.assert_array_equal(sharpness[0], sharpness[1])


def test_runs_that_start_from_others_begin_the_schedule_anew():
    model = MODEL(jax.random.key(7))
    vector = np.concatenate([np.ravel(a) for a in jax.tree.leaves(model)])
    begun = small({"sgd": scheduled(sgd, lambda t, steps: 1.0 * (t == 0))}, start=vector, steps=3)
    plain = small({"sgd": sgd}, start=vector, steps=3)
    np.testing.assert_array_equal(begun["loss"].isel(step=1), plain["loss"].isel(step=1))
    np.testing.assert_array_equal(begun["loss"].isel(step=3), begun["loss"].isel(step=1))


def test_a_run_without_updates_is_measured():
    assert np.isfinite(small({"adam": scheduled(adam, Cosine())}, steps=0)["loss"]).all()


def walk(factory, count=20):
    parameters, _ = astype("float64", example())
    state, update = start(factory, 0.03, parameters), jax.jit(update_of(factory, 0.03))
    for _ in range(count):
        updates, state = update(parameters, state, parameters)
        parameters = optax.apply_updates(parameters, updates)
    return parameters


def test_decay_is_adamws(x64):
    ours = decayed(functools.partial(adam, b2=0.999), 0.2)
    assert relative(walk(ours), walk(lambda rate: optax.adamw(rate, weight_decay=0.2))) < 1e-12
    assert relative(walk(ours), walk(lambda rate: optax.adam(rate))) > 0.01


@pytest.mark.parametrize("factory", [adamw, lamb, muon])
def test_an_own_argument_is_set_and_not_added_to(factory, x64):
    wanted = walk(functools.partial(factory, weight_decay=0.2))
    assert relative(walk(decayed(factory, 0.2)), wanted) == 0
    without = walk(functools.partial(factory, weight_decay=0.0))
    assert relative(walk(decayed(factory, 0)), without) == 0
    assert relative(wanted, without) > 0.001


@pytest.mark.parametrize("name", ["sgdm", "lion", "newton", "sophia", "rmsprop"])
def test_decay_takes_rate_times_weight_decay_of_every_parameter(name, x64):
    """Of one update, next to the same update without it."""
    parameters, gradient = astype("float64", example())
    steps = [
        update_of(factory, 0.03)(gradient, start(factory, 0.03, parameters), parameters)[0]
        for factory in (decayed(NAMED[name], 0.2), NAMED[name])
    ]
    wanted = jax.tree.map(lambda u, w: u - 0.03 * 0.2 * w, steps[1], parameters)
    assert relative(steps[0], wanted) < 1e-12


def test_the_decay_has_the_rate_of_the_update_in_either_order():
    one, other = scheduled(decayed(sgd, 0.1), Cosine()), decayed(scheduled(sgd, Cosine()), 0.1)
    assert one == other


def mine(learning_rate, steps, *, batch, momentum=0.0):
    return optax.sgd(learning_rate * batch / steps, momentum=momentum)


def test_a_factory_gets_the_steps_and_batch_that_it_asks_for():
    runs = small({"mine": mine, "by hand": lambda rate: optax.sgd(rate * 20 / 8)})
    np.testing.assert_array_equal(runs["loss"][0], runs["loss"][1])
    within = small({"mine": scheduled(decayed(mine, 0.1), LinearDecay())})
    outside = small(
        {"by hand": scheduled(decayed(lambda r: optax.sgd(r * 2.5), 0.1), LinearDecay())}
    )
    np.testing.assert_array_equal(within["loss"], outside["loss"])


def test_parameters_with_a_default_are_never_bound():
    def has_defaults(learning_rate, steps=3, batch=4):
        return optax.sgd(learning_rate * steps / batch)

    def first(steps):
        return optax.sgd(steps)

    for factory in (has_defaults, first, sgd, functools.partial(mine, steps=9, batch=9)):
        assert bound(factory, steps=8, batch=20) is factory
    assert dict(bound(mine, steps=8, batch=20).given) == {"steps": 8, "batch": 20}
    partly = bound(functools.partial(mine, batch=9), steps=8, batch=20)
    assert dict(partly.given) == {"steps": 8}


def experiment(factory, **changes):
    parts = TASK, MODEL, {"mine": factory}, {"mine": (0.1,)}, (0,)
    settings = {"steps": 10, "batch": 8, "evaluation_batch": 8} | changes
    return Experiment("one", *parts, **settings)


def test_run_ids_know_schedules_decay_and_what_was_bound():
    different = [
        adam, scheduled(adam, Cosine()), scheduled(adam, Cosine(end=0.1)), scheduled(adam, WSD()),
        decayed(adam, 0.1), decayed(adam, 0.2), decayed(adamw, 0.1), adamw, mine,
        lambda rate, steps: mine(rate, steps, batch=9),
    ]  # fmt: skip
    assert len({experiment(factory).run_id for factory in different}) == len(different)
    assert experiment(scheduled(adam, Constant())).run_id == experiment(adam).run_id
    assert experiment(decayed(adam, 0)).run_id == experiment(adam).run_id
    content = [
        experiment(mine, **changes).identity.content["optimizer mine"]
        for changes in ({}, {"steps": 11}, {"batch": 9})
    ]
    assert content[0] != content[1] != content[2] != content[0]
    assert is_built_in(bound(scheduled(decayed(adam, 0.1), WSD()), steps=5, batch=3))
    assert not is_built_in(scheduled(mine, Cosine()))


def test_equal_schedules_are_compiled_once_for_networks():
    one, other = (bound(scheduled(adam, Cosine(warmup=2)), steps=9, batch=4) for _ in range(2))
    assert one == other
    assert hash(one) == hash(other)


def test_references_have_schedules_and_decay_behind_an_at():
    assert get_optimizer("adam@cosine:warmup=9") == scheduled(adam, Cosine(warmup=9))
    wanted = scheduled(decayed(sgdm, 0.1), WSD(decay=0.5))
    assert get_optimizer("sgdm@wsd:decay=0.5,weight_decay=0.1") == wanted
    assert read_options("weight_decay=1e-05") == (Constant(), 1e-5)
    assert list(resolve(["adam@linear", "adam", "lion@constant:warmup=3"])) == [
        "adam@linear", "adam", "lion@constant:warmup=3"
    ]  # fmt: skip
    for path in ("me@home/my.py:mine", "a@b.py:mine", "adam"):
        assert split(path) == (path, "")
    assert split("me@home/my.py:mine@linear") == ("me@home/my.py:mine", "linear")


@pytest.mark.parametrize(
    ("reference", "sentence"),
    [
        ("adam@cosin", "There is no schedule 'cosin'; there are constant, cosine, linear, wsd"),
        ("adam@cosine:wrmup=3", "cosine has no field 'wrmup'; it has warmup, end and weight_decay"),
        ("adam@linear:warmup=x", "warmup must be a whole number"),
        ("adam@weight_decay=much", "weight_decay must be a number"),
    ],
)
def test_references_that_cannot_be_read_are_refused(reference, sentence):
    with pytest.raises(UsageError, match=sentence):
        get_optimizer(reference)


def test_fields_of_schedules_and_weight_decay_are_tuned():
    given = with_arguments("x", get_optimizer("sgdm@wsd"), {"warmup": 3, "decay": 0.5})
    assert given == scheduled(sgdm, WSD(warmup=3, decay=0.5))
    assert with_arguments("x", sgdm, {"weight_decay": 0.1}) == decayed(sgdm, 0.1)
    again = with_arguments(
        "x", get_optimizer("sgdm@linear:weight_decay=0.1"), {"weight_decay": 0.2}
    )
    assert again == scheduled(decayed(sgdm, 0.2), LinearDecay())
    made = with_arguments("x", get_optimizer("sgdm@weight_decay=0.1"), {"momentum": 0.5})
    assert made.factory.weight_decay == 0.1
    assert made.factory.factory.keywords == {"momentum": 0.5}
    with pytest.raises(UsageError, match="has no argument 'beta'"):
        with_arguments("x", get_optimizer("sgdm@linear"), {"beta": 0.5})


def test_an_argument_that_schedule_and_optimizer_both_have_is_not_guessed():
    for reference in ("rmsprop@wsd", "rmsprop@wsd:weight_decay=0.1"):
        with pytest.raises(UsageError, match=f"{reference} has two arguments 'decay', one of its"):
            with_arguments(reference, get_optimizer(reference), {"decay": 0.5})
    made = with_arguments("x", get_optimizer("rmsprop@wsd"), {"warmup": 3, "eps": 0.1})
    assert made.shape == WSD(warmup=3)
    assert made.factory.keywords == {"eps": 0.1}
    assert with_arguments("x", rmsprop, {"decay": 0.5}).keywords == {"decay": 0.5}


def test_scheduled_optimizers_and_those_that_ask_keep_the_contract():
    for factory in (scheduled(decayed(adam, 1e-6), Cosine(warmup=100)), mine):
        found = check_optimizer(factory)
        assert all(result.ok for result in found)
    assert [result.check for result in found if result.check.startswith("argument")] == [
        "argument momentum"
    ]


def test_a_factory_that_needs_numbers_is_told_that_rates_are_traced():
    with pytest.raises(UsageError, match="numbers are traced by JAX"):
        small({"mine": scheduled(lambda rate: optax.sgd(float(rate)), Cosine())})


class Still(ExternalOptimizer):
    def start(self, learning_rate, leaves):
        raise NotImplementedError


def test_external_optimizers_have_their_own_rates_and_decay():
    with pytest.raises(UsageError, match="let it change its rate itself"):
        scheduled(Still(), Cosine())
    with pytest.raises(UsageError, match=r"write a function of \(parameters, lr\)"):
        decayed(Still(), 0.1)


@needs_torch
def test_schedules_of_pytorchs_optimizers_are_those_of_optax():
    import torch

    from attnscape.optimizers.pytorch import TorchOptimizer

    make = functools.partial(torch.optim.SGD, momentum=0.9)
    shape = Cosine(warmup=3)
    runs = small(
        {"torch": scheduled(TorchOptimizer(make), shape), "optax": scheduled(sgdm, shape)},
        steps=20, precision="float64",
    )  # fmt: skip
    np.testing.assert_allclose(runs["loss"][0], runs["loss"][1], rtol=1e-6)

    def asks(parameters, lr, steps):
        optimizer = make(parameters, lr=lr)
        return optimizer, torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 1e-9, total_iters=steps)

    runs = small(
        {"torch": TorchOptimizer(asks), "optax": scheduled(sgdm, LinearDecay(end=1e-9))},
        steps=20, precision="float64",
    )  # fmt: skip
    np.testing.assert_allclose(runs["loss"][0], runs["loss"][1], rtol=1e-6)
    with pytest.raises(UsageError, match="asks gives a scheduler beside its optimizer"):
        small({"torch": scheduled(TorchOptimizer(asks), shape)})


@needs_torch
def test_run_ids_of_pytorchs_optimizers_know_their_schedules():
    ids = [
        experiment(get_optimizer(f"torch:Adam{behind}")).run_id
        for behind in ("", "@cosine", "@cosine:end=0.1", "@linear")
    ]
    assert len(set(ids)) == 4
    again = dataclasses.replace(experiment(get_optimizer("torch:Adam@linear")), name="other")
    assert again.run_id == ids[3]
