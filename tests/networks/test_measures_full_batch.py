"""Runs whose updates use all batches of a pass are those with one batch of all examples."""

import dataclasses
import weakref

import numpy as np
import pytest

from support import needs_torch, relative

pytestmark = needs_torch
torch = pytest.importorskip("torch")

from attnscape.networks import NetworkRun, Schedules, Size, train_run, train_workload  # noqa: E402
from attnscape.networks.streams import _DROPOUT, _INIT, _stream, order_of_pass  # noqa: E402
from attnscape.optimizers import NAMED  # noqa: E402
from attnscape.optimizers.references import get_optimizer  # noqa: E402
from networks.linear import LEAST_SQUARES, double_data, linear_model  # noqa: E402
from networks.toy import TOY, toy_data, toy_model  # noqa: E402

OFTEN = Schedules(loss=1)
PARTS = Size(batch=16, steps=12, evaluations=1)
WHOLE = Size(batch=64, steps=12, evaluations=1)
DOUBLE = dataclasses.replace(
    LEAST_SQUARES, data=double_data, model=lambda facts: linear_model(facts, torch.float64)
)


def run(optimizer, workload=LEAST_SQUARES, size=PARTS, rate=0.05, seed=3, **changes):
    settings = {"steps": 12, "schedules": OFTEN, "full_batch": size is PARTS} | changes
    data = workload.data("packaged")
    return train_run(
        workload, data, size, optimizer, get_optimizer(optimizer), rate, seed, **settings
    ).squeeze(("optimizer", "learning_rate", "seed"), drop=True)


# Sums of 64 numbers in other orders differ by less than 64 eps; least squares at rates below 2 /
# lambda_max does not amplify them, and 12 steps add them up: 12 * 64 eps is 1e-4 in float32, which
# is a bound and no estimate, and 2e-13 in float64. Adam divides by |g|, L-BFGS by differences of
# gradients, which shrink to 1e-3 of the first.
@pytest.mark.parametrize(
    ("optimizer", "workload", "tolerance"),
    [
        ("sgd", LEAST_SQUARES, 1e-4),
        ("sgdm", LEAST_SQUARES, 1e-4),
        ("adam", LEAST_SQUARES, 1e-4),
        ("torch:SGD", DOUBLE, 2e-13),
        ("torch:Adam", DOUBLE, 2e-13),
        ("torch:LBFGS", DOUBLE, 2e-10),
    ],
)
@pytest.mark.parametrize("clip", [None, 0.5])
def test_a_full_batch_is_one_batch_of_all_examples(optimizer, workload, tolerance, clip):
    rate = 0.3 if optimizer == "torch:LBFGS" else 0.05
    steps = 4 if optimizer == "torch:LBFGS" else 12
    parts, whole = (
        run(optimizer, workload, size, rate, clip=clip, steps=steps) for size in (PARTS, WHOLE)
    )
    for name in ("training_loss", "gradient_norm"):
        got, wanted = parts[name].values[:-1], whole[name].values[:-1]
        assert np.isfinite(wanted).all()
        assert abs(got - wanted).max() <= tolerance * wanted.max()
    assert whole["training_loss"][0] > 1.2 * whole["training_loss"][-2]  # it was trained


def test_dropout_is_that_of_the_seed_the_step_and_the_batch():
    drops = dataclasses.replace(TOY, model=lambda facts: toy_model(facts, hidden=50, dropout=0.5))
    got = run("torch:SGD", drops, steps=3)
    data = toy_data("packaged")
    torch.manual_seed(_stream(3, _INIT))
    module = drops.model(data.facts)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.05)
    for step in range(3):
        optimizer.zero_grad()
        losses = []
        for number, batch in enumerate(data.batches(16, order_of_pass(0, 0))):
            torch.manual_seed(_stream(3, _DROPOUT, step, number))
            loss = drops.loss(module, batch) / 4
            loss.backward()
            losses.append(loss.item())
        optimizer.step()
        # Division before or after the sum rounds differently, by some eps.
        assert float(got["training_loss"][step]) == pytest.approx(sum(losses), rel=1e-6)
    same, other = (run("sgdm", drops, steps=3, seed=seed) for seed in (3, 4))
    assert float(got["training_loss"][0]) == float(same["training_loss"][0])
    assert float(got["training_loss"][0]) != float(other["training_loss"][0])


def test_all_seeds_train_on_the_same_examples():
    """With 40 examples in batches of 16 there are 8 left over, the same ones for every seed."""
    seen = []

    def loss(module, batch):
        if module.training:
            seen.append(batch[0])
        return LEAST_SQUARES.loss(module, batch)

    watched = dataclasses.replace(
        LEAST_SQUARES, loss=loss, data=lambda source: toy_data(source, examples=40)
    )
    for seed in (0, 1):
        run("sgd", watched, steps=2, seed=seed)
    assert len(seen) == 2 * 2 * 2
    for first, second in zip(seen[:2], seen[2:4], strict=True):
        assert torch.equal(first, second)
    for first, second in zip(seen[:4], seen[4:], strict=True):
        assert torch.equal(first, second)


class Watched:
    """Data that count how many batches are alive whenever one is made."""

    def __init__(self, data):
        self._data, self._made, self.most = data, [], 0
        self.name, self.digest, self.facts = data.name, data.digest, data.facts
        self.examples, self.fixed = data.examples, data.fixed

    def batches(self, batch, seed):
        for made in self._data.batches(batch, seed):
            self._made.append(weakref.ref(made[0]))
            self.most = max(self.most, sum(each() is not None for each in self._made))
            yield made
            del made


def test_batches_are_in_memory_one_after_the_other():
    data = Watched(toy_data("packaged"))
    train_run(
        LEAST_SQUARES, data, Size(batch=4, steps=2), "sgd", NAMED["sgd"], 0.1, 0, steps=2,
        full_batch=True,
    )  # fmt: skip
    assert data.most <= 2  # the next one is drawn while the last is still named


def test_measures_and_divergence_are_those_of_other_runs():
    schedules = Schedules(loss=1, smoothness=1, noise=2, pseudo=1)
    got = run("sgdm", size=dataclasses.replace(PARTS, evaluations=2), full_batch=True,
              schedules=schedules, pseudo_optimizers={"sgdm": NAMED["sgdm"]})  # fmt: skip
    measured = got.sel(step=slice(0, 11))
    np.testing.assert_allclose(
        measured["pseudo_smoothness"][:, 0], measured["directional_smoothness"], rtol=1e-3
    )
    lost = run("sgd", rate=1e30)
    assert int(lost["diverged_at"]) > 0


def test_the_dataset_says_how_many_examples_an_update_has():
    for full_batch, examples in ((False, 16), (True, 64)):
        got = train_workload(LEAST_SQUARES, ["sgd"], (0.05,), (0,), steps=3, full_batch=full_batch)
        assert got.attrs["batch"] == examples


def test_full_batches_count_in_the_identity_and_their_absence_does_not():
    def computation(**changes):
        data = toy_data("packaged")
        return NetworkRun(TOY, True, data, PARTS, "sgd", NAMED["sgd"], 0.1, 0, 6, **changes)

    plain, same, full = ({}, {"full_batch": False}, {"full_batch": True})
    assert computation(**plain).run_id == computation(**same).run_id
    assert computation(**plain).run_id != computation(**full).run_id
    assert "full_batch" not in computation().identity.content
    for changes in ({"full_batch": True}, {}):
        assert relative(
            computation(**changes).run()["training_loss"].values[..., 0],
            run("sgd", TOY, rate=0.1, seed=0, steps=6, **{"full_batch": False} | changes)[
                "training_loss"
            ].values[..., 0],
        ) == 0  # fmt: skip
