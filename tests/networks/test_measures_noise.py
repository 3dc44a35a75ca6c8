"""Gradient noise at initialisation, and the covariance of many numbers from few gradients."""

import dataclasses
import itertools

import numpy as np
import pytest

from support import needs_torch

pytestmark = needs_torch
torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from attnscape.errors import UsageError  # noqa: E402
from attnscape.experiments import store  # noqa: E402
from attnscape.networks import NetworkNoise, NetworkRun, noise  # noqa: E402
from attnscape.networks.covariance import centred_gram, eigenvalues, trace_of_square  # noqa: E402
from attnscape.networks.streams import _BATCHES, _DROPOUT, _INIT, _stream  # noqa: E402
from attnscape.optimizers import NAMED  # noqa: E402
from networks.linear import LEAST_SQUARES, MEAN  # noqa: E402
from networks.toy import TOY, toy_data, toy_model  # noqa: E402

EPS = float(np.finfo(np.float32).eps)


def measured(workload=TOY, batch=8, seeds=(3,), samples=6, examples=64, batches=None):
    size = dataclasses.replace(TOY.sizes["small"], batch=batch)
    data = toy_data("packaged", examples)
    return NetworkNoise(workload, True, data, size, seeds, samples, batches)


def plain_gradients(workload, batches, seed=3, batch=8):
    """Gradients at the initial weights by a plain loop; `batches` are (order, place, dropout)."""
    data = toy_data("packaged")
    torch.manual_seed(_stream(seed, _INIT))
    module = workload.model(data.facts)
    found = []
    for order, place, dropout in batches:
        chosen = list(data.batches(batch, _stream(seed, _BATCHES, order)))[place]
        torch.manual_seed(_stream(seed, _DROPOUT, dropout))
        module.zero_grad()
        workload.loss(module, chosen).backward()
        found.append(torch.cat([p.grad.flatten() for p in module.parameters()]).double().numpy())
    return np.stack(found)


DROPS = dataclasses.replace(TOY, model=lambda facts: toy_model(facts, hidden=30, dropout=0.5))


@pytest.mark.parametrize("workload", [TOY, DROPS], ids=["plain", "dropout"])
def test_both_conventions_are_those_of_a_plain_loop_in_train_mode(workload):
    got = measured(workload).run()
    one_pass = plain_gradients(workload, [(0, place, place) for place in range(8)])
    full = one_pass.mean(axis=0)
    fresh = plain_gradients(workload, [(1 + k, 0, 8 + k) for k in range(6)])
    for name, gradients, about in (
        ("noise_norm", one_pass, one_pass),
        ("fresh_noise_norm", fresh, fresh),
    ):
        norms = np.linalg.norm(gradients - full, axis=1)
        np.testing.assert_allclose(got[name].sel(seed=3), norms, rtol=1e-5)
        convention = "one-pass" if name == "noise_norm" else "fresh"
        run = got.sel(convention=convention, seed=3)
        covariance = np.cov(about.T)
        assert float(run["noise_trace"]) == pytest.approx(np.trace(covariance), rel=1e-5)
        spectrum = run["noise_covariance_eigenvalues"].values
        np.testing.assert_allclose(
            spectrum, np.linalg.eigvalsh(covariance), atol=1e-5 * spectrum.max()
        )
        centred = about - about.mean(axis=0)
        assert float(run["noise_trace_of_square"]) == pytest.approx(
            trace_of_square(centred @ centred.T), rel=1e-4, abs=1e-5 * spectrum.max() ** 2
        )
    assert got["covariance_samples"].values.tolist() == [8, 6]
    assert got["convention"].values.tolist() == ["one-pass", "fresh"]


class Counts(nn.Module):
    """Its output grows by each forward pass in train mode; and it has batch norm."""

    def __init__(self, facts):
        super().__init__()
        self.linear = nn.Linear(facts["features"], 1)
        self.norm = nn.BatchNorm1d(1)
        self.register_buffer("passes", torch.zeros(()))

    def forward(self, inputs):
        self.passes += 1
        return self.norm(self.linear(inputs)) * self.passes


def test_buffers_are_those_of_the_start_at_every_gradient():
    counts = dataclasses.replace(TOY, model=Counts)
    got = measured(counts).run()
    gradients = []
    for place in range(8):  # a new module for each
        gradients.append(plain_gradients(counts, [(0, place, place)])[0])
    norms = np.linalg.norm(np.stack(gradients) - np.mean(gradients, axis=0), axis=1)
    np.testing.assert_allclose(got["noise_norm"].sel(seed=3), norms, rtol=1e-5)


def test_the_covariance_is_that_of_a_batch_of_independent_or_of_different_examples():
    """The gradient of a batch is the mean of its inputs, so that S^2 is that of the inputs.

    Of one pass the trace is S^2 / b, of fresh batches (1 - b/N) S^2 / b, here half as large, as
    they have no example twice. To four standard errors: wrong once in 16,000 times by chance.
    """
    batch, examples = 8, 16
    inputs = toy_data("packaged", examples).train[0].double().numpy()
    wanted = np.trace(np.cov(inputs.T)) / batch
    passes = measured(MEAN, batch, tuple(range(60)), samples=4, examples=examples).run()
    traces = passes["noise_trace"].sel(convention="one-pass")
    agrees(traces.values.mean(), traces.values, wanted)
    mean_square = (passes["noise_norm"] ** 2).mean("sample")
    np.testing.assert_allclose(mean_square, traces / 2, rtol=1e-10)  # (n - 1)/n, n = 2
    fresh = measured(MEAN, batch, samples=200, examples=examples).run().sel(convention="fresh")
    squares = fresh["fresh_noise_norm"].values.ravel() ** 2
    agrees(float(fresh["noise_trace"].item()), squares, (1 - batch / examples) * wanted)


def agrees(estimate, values, wanted):
    """Whether an estimate that is a mean of values is the wanted number, and not half of it."""
    error = values.std(ddof=1) / np.sqrt(len(values))
    assert 4 * error < 0.5 * wanted
    assert abs(estimate - wanted) < 4 * error


def test_little_memory_changes_which_gradients_are_correlated_and_nothing_else(monkeypatch):
    whole = measured().run()
    parameters = whole.attrs["parameters"]
    monkeypatch.setattr(noise, "_KEPT", 5 * 4 * parameters + 3)
    calls = []
    computation = measured()
    part = computation.run(lambda done, total: calls.append((done, total)))
    assert part["covariance_samples"].values.tolist() == [5, 5]
    for name in ("noise_norm", "fresh_noise_norm", "noise_trace"):
        np.testing.assert_allclose(part[name], whole[name], rtol=1e-12)
    gradients = plain_gradients(TOY, [(0, place, place) for place in range(5)])
    centred = gradients - gradients.mean(axis=0)
    square = part["noise_trace_of_square"].sel(convention="one-pass", seed=3)
    assert float(square) == pytest.approx(trace_of_square(centred @ centred.T), rel=1e-3)
    assert computation.run_steps == 2 * 8 + 6
    assert calls == [(done, 22) for done in range(23)]
    monkeypatch.setattr(noise, "_KEPT", 3 * 4 * parameters)
    assert np.isnan(measured().run()["noise_trace_of_square"]).all()


@pytest.mark.parametrize("room", [100, 3], ids=["kept", "made-twice"])
def test_of_a_long_pass_the_first_batches_can_be_used(monkeypatch, room):
    parameters = measured(DROPS).run().attrs["parameters"]
    monkeypatch.setattr(noise, "_KEPT", room * 4 * parameters)
    computation, calls = measured(DROPS, batches=5), []
    got = computation.run(lambda done, total: calls.append((done, total)))
    one_pass = plain_gradients(DROPS, [(0, place, place) for place in range(5)])
    fresh = plain_gradients(DROPS, [(1 + k, 0, 5 + k) for k in range(6)])
    for name, gradients in (("noise_norm", one_pass), ("fresh_noise_norm", fresh)):
        norms = np.linalg.norm(gradients - one_pass.mean(axis=0), axis=1)
        np.testing.assert_allclose(got[name].sel(seed=3), norms, rtol=1e-5)
    assert got.attrs["used_of_pass"] == "first 5 of 8 batches"
    assert calls[-1] == (computation.run_steps, computation.run_steps)
    assert len(calls) == computation.run_steps + 1


def test_a_pass_that_is_used_whole_says_nothing_of_it():
    whole, capped = measured(), measured(batches=8)
    assert "batches" not in whole.identity.content["noise"]
    assert capped.run().drop_attrs().identical(whole.run().drop_attrs())
    assert "used_of_pass" not in capped.run().attrs


def test_many_parameters_have_no_eigenvalues():
    wide = dataclasses.replace(TOY, model=lambda facts: toy_model(facts, hidden=100))
    got = measured(wide).run()
    assert got.attrs["parameters"] == 501
    assert "noise_covariance_eigenvalues" not in got
    assert np.isfinite(got["noise_trace_of_square"]).all()


def test_the_estimate_is_the_mean_over_different_indices():
    vectors = np.random.default_rng(0).standard_normal((6, 3)) + 2
    gram = vectors @ vectors.T
    terms = [
        gram[i, j] ** 2 - 2 * gram[i, j] * gram[j, k] + gram[i, j] * gram[k, m]
        for i, j, k, m in itertools.permutations(range(6), 4)
    ]
    assert trace_of_square(gram) == pytest.approx(np.mean(terms), rel=1e-12)
    moved = vectors + np.array([5.0, -3.0, 1.0])
    assert trace_of_square(moved @ moved.T) == pytest.approx(trace_of_square(gram), rel=1e-9)
    centred = centred_gram(list(torch.from_numpy(vectors)))
    assert trace_of_square(centred) == pytest.approx(trace_of_square(gram), rel=1e-12)
    assert np.isnan(trace_of_square(gram[:3, :3]))


def test_the_estimate_is_unbiased_where_the_sample_covariance_is_not():
    """400 parameters, 12 vectors of unknown mean, 400 times.

    To four standard errors: wrong once in 16,000 times by chance. The sample covariance's own
    number is too large by about trace^2 / n, thirty times the true one.
    """
    rng = np.random.default_rng(1)
    spectrum = np.linspace(0.5, 1.5, 400)
    truth = (spectrum**2).sum()
    estimates, naive = [], []
    for _ in range(400):
        vectors = rng.standard_normal((12, 400)) * np.sqrt(spectrum) + 3
        gram = centred_gram(list(torch.from_numpy(vectors)))
        estimates.append(trace_of_square(gram))
        naive.append((gram**2).sum() / 11**2)
    error = np.std(estimates, ddof=1) / np.sqrt(len(estimates))
    assert error < 0.02 * truth
    assert abs(np.mean(estimates) - truth) < 4 * error
    assert np.mean(naive) - truth == pytest.approx(spectrum.sum() ** 2 / 11, rel=0.05)


def test_inner_products_are_the_same_in_blocks(monkeypatch):
    vectors = list(torch.randn(5, 40, generator=torch.Generator().manual_seed(0)))
    whole = centred_gram(vectors)
    monkeypatch.setattr("attnscape.networks.covariance._AT_ONCE", 5 * 7)
    np.testing.assert_allclose(centred_gram(vectors), whole, rtol=1e-12, atol=1e-12)
    rows = torch.stack(vectors).double().numpy()
    rows = rows - rows.mean(axis=0)
    np.testing.assert_allclose(whole, rows @ rows.T, rtol=1e-12, atol=1e-12)
    # The same number other than by inner products, where there are fewer parameters than vectors.
    few = list(torch.randn(30, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    gram = centred_gram(few)
    assert (eigenvalues(few) ** 2).sum() == pytest.approx((gram**2).sum() / 29**2, rel=1e-12)


def test_noise_is_stored_and_found_again(tmp_path):
    first = store.load_or_run(measured(), tmp_path)
    again = store.load_or_run(measured(), tmp_path, lambda *_: pytest.fail("it runs"))
    assert again.identical(first)
    assert first.attrs["data"] == "toy data"
    others = [
        *({"seeds": (4,)}, {"samples": 7}, {"batch": 4}, {"workload": MEAN}, {"examples": 48}),
        *({"batches": 5}, {"batches": 6}),
    ]
    ids = {measured(**changes).run_id for changes in [{}, *others]}
    assert len(ids) == 1 + len(others)
    size = dataclasses.replace(TOY.sizes["small"], batch=8)
    run = NetworkRun(TOY, True, toy_data("packaged"), size, "sgd", NAMED["sgd"], 0.1, 3, 5)
    assert run.run_id not in ids


def test_measuring_leaves_the_global_generators_alone():
    before = torch.get_rng_state(), np.random.get_state()[1]  # noqa: NPY002
    measured(DROPS).run()
    assert torch.equal(before[0], torch.get_rng_state())
    np.testing.assert_array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"samples": 3}, "samples is 3; give at least 4"),
        ({"batches": 3}, "batches is 3; give at least 4"),
        ({"seeds": (1, 1)}, "give at least one, and none twice"),
        ({"batch": 64}, "toy data gives 1 batches of 64 examples, but noise needs at least 2"),
    ],
)
def test_mistakes_are_told_in_one_sentence(changes, sentence):
    with pytest.raises(UsageError, match=sentence):
        measured(LEAST_SQUARES, **changes).run()
