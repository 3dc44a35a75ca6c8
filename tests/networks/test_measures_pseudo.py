"""Pseudo-steps: what other optimizers would do at the iterates of one run, and never do."""

import dataclasses

import numpy as np
import pytest

from support import PlainExternal, needs_torch

pytestmark = needs_torch
torch = pytest.importorskip("torch")

from attnscape.errors import UsageError  # noqa: E402
from attnscape.experiments import store  # noqa: E402
from attnscape.networks import NetworkRun, Schedules, train_run, train_workload  # noqa: E402
from attnscape.networks.streams import _BATCHES, _INIT, _stream  # noqa: E402
from attnscape.optimizers import NAMED  # noqa: E402
from attnscape.optimizers.references import get_optimizer  # noqa: E402
from networks.linear import (  # noqa: E402
    LEAST_SQUARES,
    double_data,
    gradient_of,
    hessian_of,
    linear_model,
)
from networks.toy import toy_data  # noqa: E402

SIZE = LEAST_SQUARES.sizes["small"]
EVERY = Schedules(loss=1, smoothness=1, pseudo=1)
EPS = float(np.finfo(np.float32).eps)
ALONE = ("optimizer", "learning_rate", "seed")


def run(optimizer="sgdm", pseudo=("sgd",), rate=0.05, seed=3, workload=LEAST_SQUARES, **changes):
    settings = {"steps": 12, "schedules": EVERY} | changes
    data = workload.data("packaged")
    return train_run(
        workload, data, SIZE, optimizer, get_optimizer(optimizer), rate, seed,
        pseudo_optimizers={name: NAMED[name] for name in pseudo}, **settings,
    ).squeeze(ALONE, drop=True)  # fmt: skip


@pytest.mark.parametrize(
    ("optimizer", "pseudo", "rate", "clip"),
    [
        ("sgdm", "sgdm", 0.05, None),
        ("adam", "adam", 0.05, None),
        ("lion", "lion", 0.02, None),
        ("sgdm", "sgdm", 0.05, 0.5),
        ("torch:SGD", "sgd", 0.05, None),
        ("torch:SGD", "sgd", 0.05, 0.5),
    ],
)
def test_an_optimizers_own_pseudo_steps_are_its_steps(optimizer, pseudo, rate, clip):
    """Equal up to the rounding of x + v, and of the numbers themselves.

    The step x_{t+1} - x_t differs from v by at most eps |x_{t+1}| and some eps |v|. A Rayleigh
    quotient of H >= 0 changes by at most lambda_max times the sine of the angle between two
    vectors, and its rounding, of a batch of 16, is below 100 eps lambda_max.
    """
    got = run(optimizer, (pseudo, "sign"), rate, clip=clip)
    steps = slice(0, 11)
    mine = got["pseudo_smoothness"].sel(pseudo_optimizer=pseudo, step=steps).values
    realised = got["directional_smoothness"].sel(step=steps).values
    largest = np.linalg.eigvalsh(hessian_of(toy_data("packaged").fixed(16, 2)[0]))[-1]
    weights = got["metric"].sel(step=slice(1, 12)).values
    angle = EPS * weights / got["update_norm"].sel(step=steps).values
    assert (abs(mine - realised) <= largest * (angle + 100 * EPS)).all()
    # Others are told apart, though the first steps of Adam and Lion are signs.
    other = got["pseudo_smoothness"].sel(pseudo_optimizer="sign", step=steps).values
    assert abs(other - realised).max() > 1e-2 * largest


def test_pseudo_steps_have_closed_forms_where_the_iterate_stands_still():
    """With steps of 1e-12, which float32 rounds away, all gradients are those of the start."""
    got = run("sgd", ("sgd", "sign", "sgdm"), rate=1e-12, steps=6)["pseudo_smoothness"]
    data, seed = toy_data("packaged"), 3
    torch.manual_seed(_stream(seed, _INIT))
    weight = linear_model(data.facts).weight.detach().numpy()[0]
    batches = [b for i in range(2) for b in data.batches(16, _stream(seed, _BATCHES, i))][:6]
    hessian = hessian_of(data.fixed(16, 2)[0])
    momentum = np.zeros(3)
    for step, batch in enumerate(batches):
        gradient = gradient_of(batch, weight)
        momentum = 0.9 * momentum + gradient
        wanted = {"sgd": gradient, "sign": np.sign(gradient), "sgdm": momentum}
        for name, v in wanted.items():
            number = float(got.sel(pseudo_optimizer=name, step=step))
            assert number == pytest.approx(v @ hessian @ v / (v @ v), rel=100 * EPS), (name, step)
    assert np.isnan(got.sel(step=6)).all()  # there is no update after the last step


def test_gradients_are_clipped_for_pseudo_steps_as_for_the_run():
    got = run("sgd", ("sgdm",), rate=1e-12, steps=3, clip=1.0)["pseudo_smoothness"]
    data = toy_data("packaged")
    torch.manual_seed(_stream(3, _INIT))
    weight = linear_model(data.facts).weight.detach().numpy()[0]
    batches = list(data.batches(16, _stream(3, _BATCHES, 0)))
    gradients = [gradient_of(batch, weight) for batch in batches[:3]]
    norms = [np.linalg.norm(g) for g in gradients]
    assert min(norms) > 1
    assert np.ptp(norms) > 0.1  # or clipping would change no direction
    v = sum(0.9 ** (2 - step) * g / norms[step] for step, g in enumerate(gradients))
    hessian = hessian_of(data.fixed(16, 2)[0])
    assert float(got.sel(step=2).item()) == pytest.approx(v @ hessian @ v / (v @ v), rel=100 * EPS)


def test_a_run_is_the_same_with_pseudo_steps_and_without():
    plain = run("adam", (), schedules=Schedules(loss=1, smoothness=1))
    probed = run("adam", ("sgdm", "sign"), schedules=Schedules(loss=1, smoothness=1, pseudo=3))
    assert plain.identical(probed.drop_dims("pseudo_optimizer"))
    measured = probed["pseudo_smoothness"].notnull().all("pseudo_optimizer")
    assert probed["step"].values[measured].tolist() == [0, 3, 6, 9]


def test_an_optimizer_that_calls_its_closure_again_gives_one_gradient_a_step():
    """Momentum of the pseudo-step sums the gradients of the updates, and of no other points."""
    got = run("torch:LBFGS", ("sgd", "sgdm"), rate=0.1, steps=1, schedules=Schedules(pseudo=1))
    first = got["pseudo_smoothness"].sel(step=0)
    assert float(first[0]) == pytest.approx(float(first[1]), rel=100 * EPS)


def test_a_real_workload_measures_pseudo_steps_in_eval_mode():
    """Adam's first update is the sign of the gradient, up to its epsilon."""
    got = train_workload(
        "softmax-regression", ["sgdm"], (0.01,), (0,), size="tiny", steps=2,
        schedules=Schedules(pseudo=1),
        pseudo_optimizers={"adam": NAMED["adam"], "sign": NAMED["sign"]},
    )["pseudo_smoothness"]  # fmt: skip
    assert got.dims == (*ALONE, "step", "pseudo_optimizer")
    first = got.squeeze(ALONE).sel(step=0)
    assert float(first[0]) == pytest.approx(float(first[1]), rel=1e-3)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"schedules": Schedules(pseudo=5)}, "every 5 steps, but of no optimizer; give"),
        (
            {"pseudo_optimizers": {"adam": NAMED["adam"]}},
            r"of adam are asked for, but never measured; give Schedules\(pseudo=",
        ),
        (
            {
                "schedules": Schedules(pseudo=5),
                "pseudo_optimizers": {"mine": PlainExternal()},
            },
            "mine makes its updates outside of the engine",
        ),
        (
            {
                "schedules": Schedules(pseudo=5),
                "pseudo_optimizers": {"sophia": NAMED["sophia"]},
            },
            "sophia asks for the loss, gradient or Hessian at further",
        ),
    ],
)
def test_mistakes_are_told_in_one_sentence(changes, sentence):
    with pytest.raises(UsageError, match=sentence):
        train_workload(LEAST_SQUARES, ["sgd"], (0.1,), (0,), steps=5, **changes)


def test_double_precision_is_refused_where_it_would_be_lost():
    double = dataclasses.replace(
        LEAST_SQUARES,
        data=double_data,
        model=lambda facts: linear_model(facts, torch.float64),
    )
    with pytest.raises(UsageError, match=r"parameters of torch\.float64, but sgd steps float32"):
        run("torch:SGD", ("sgd",), workload=double)


def computation(**changes):
    data = toy_data("packaged")
    settings = {"steps": 6, "schedules": Schedules(pseudo=2)} | changes
    return NetworkRun(
        LEAST_SQUARES, True, data, SIZE, "sgd", NAMED["sgd"], 0.1, 0,
        **{"pseudo_optimizers": {"adam": NAMED["adam"], "sign": NAMED["sign"]}} | settings,
    )  # fmt: skip


def test_pseudo_optimizers_are_part_of_the_identity_with_their_names_and_order():
    adam, sign = NAMED["adam"], NAMED["sign"]
    others = [
        {},
        {"pseudo_optimizers": {"adam": adam}},
        {"pseudo_optimizers": {"sign": sign, "adam": adam}},
        {"pseudo_optimizers": {"adam": sign, "sign": adam}},
        {"schedules": Schedules(pseudo=3)},
        {"clip": 1.0},
        {"schedules": Schedules(), "pseudo_optimizers": {}},
    ]
    assert len({computation(**changes).run_id for changes in others}) == len(others)


def test_runs_without_pseudo_steps_have_the_identity_that_they_had_before():
    content = computation(schedules=Schedules(), pseudo_optimizers={}).identity.content
    assert set(content) == {
        *("workload", "optimizer", "numbers", "data", "weights", "size", "versions"),
        *("learning_rate", "seed", "steps", "clip", "schedules"),
    }
    assert set(content["schedules"]["fields"]) == {"loss", "smoothness", "noise", "curvature"}


def test_results_with_pseudo_steps_are_stored_and_found_again(tmp_path):
    first = store.load_or_run(computation(), tmp_path)
    again = store.load_or_run(computation(), tmp_path, lambda *_: pytest.fail("it runs"))
    assert again.identical(first)
    assert first["pseudo_optimizer"].values.tolist() == ["adam", "sign"]
