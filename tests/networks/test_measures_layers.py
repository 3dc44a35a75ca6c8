"""Condition numbers of each layer: closed forms, and NaN where the estimate does not resolve."""

import dataclasses

import numpy as np
import pytest

from support import needs_torch

pytestmark = needs_torch
torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from attnscape.errors import UsageError  # noqa: E402
from attnscape.experiments import store  # noqa: E402
from attnscape.networks import (  # noqa: E402
    WORKLOADS,
    NetworkRun,
    Schedules,
    layer_condition_numbers,
    train_run,
    train_workload,
)
from attnscape.networks.generators import own_random_numbers  # noqa: E402
from attnscape.networks.streams import initial_module  # noqa: E402
from attnscape.optimizers import NAMED  # noqa: E402
from attnscape.statistics import block_condition_numbers  # noqa: E402
from attnscape.torch import HessianDiagonal, Objective, Probe  # noqa: E402
from networks.toy import TOY, toy_data  # noqa: E402

F64 = torch.float64


class TwoMatrices(nn.Module):
    """A x + B z, least squares in two matrices."""

    def __init__(self):
        super().__init__()
        self.A = nn.Parameter(torch.randn(2, 3, dtype=F64))
        self.B = nn.Parameter(torch.randn(2, 5, dtype=F64))

    def forward(self, x, z):
        return x @ self.A.T + z @ self.B.T


def squared_error(module, batch):
    x, z, y = batch
    return ((module(x, z) - y) ** 2).mean()


def two_matrices():
    """The objective and its diagonal: that of A_ij is the mean of x_j^2, as there are 2 outputs."""
    generator = torch.Generator().manual_seed(0)
    scales = torch.tensor([1.0, 0.1, 3.0]), torch.tensor([0.2, 1.0, 1.0, 2.0, 9.0])
    x, z = (torch.randn(20, len(s), generator=generator, dtype=F64) * s for s in scales)
    objective = Objective(TwoMatrices(), squared_error, [(x, z, torch.zeros(20, 2, dtype=F64))])
    diagonals = {name: np.tile((each**2).mean(0).numpy(), 2) for name, each in (("A", x), ("B", z))}
    return objective, diagonals


def sizes_of(objective):
    return {name: p.numel() for name, p in objective.parameters.items()}


def number(values):
    """The largest over the lower median."""
    values = np.sort(np.abs(values))
    return values[-1] / values[(len(values) - 1) // 2]


def test_on_least_squares_every_layer_has_its_closed_form():
    objective, wanted = two_matrices()
    probe = Probe(objective, every=0, curvature_every=2)
    for _ in range(3):
        probe.step()
    got = layer_condition_numbers(probe.dataset())
    assert got["layer_condition_number"].dims == ("step", "layer")
    assert got["layer_size"].values.tolist() == [6, 10]
    for name, values in wanted.items():
        run = got.sel(layer=name, step=2)
        assert float(run["layer_condition_number"]) == pytest.approx(number(values), rel=1e-12)
        assert float(run["layer_largest"]) == pytest.approx(values.max(), rel=1e-12)
        assert float(run["layer_median_error"]) == float(run["layer_largest_error"]) == 0
    pooled = np.concatenate([*wanted.values()])
    assert float(got["pooled_condition_number"][0]) == pytest.approx(number(pooled), rel=1e-12)
    assert (got["layer_reason"] == "").all()
    alone = layer_condition_numbers(objective.hessian_diagonal(), sizes_of(objective))
    np.testing.assert_array_equal(
        alone["layer_condition_number"], got["layer_condition_number"].sel(step=0)
    )


def test_an_estimate_gives_the_numbers_that_it_resolves():
    """The Hessian of a layer has off-diagonal entries like mean(x_i x_j), smaller by sqrt(20)."""
    objective, wanted = two_matrices()
    estimate = objective.hessian_diagonal(1000, seed=1)
    got = layer_condition_numbers(estimate, sizes_of(objective))
    assert (got["layer_reason"] == "").all()
    for name, values in wanted.items():
        run = got.sel(layer=name)
        ordered = np.sort(values)
        for what, true in (("largest", values.max()), ("median", ordered[(len(values) - 1) // 2])):
            error = abs(float(run[f"layer_{what}"]) - true)
            assert error <= 4 * float(run[f"layer_{what}_error"]) + 1e-12 * true


def test_medians_below_their_error_are_nan_with_the_reason():
    """Three layers with the same noise; the last one's largest entry alone stands out of it."""
    rng = np.random.default_rng(0)
    true = np.concatenate([np.full(50, 10.0), np.full(50, 0.3), np.zeros(49), [80.0], np.zeros(5)])
    error = np.concatenate([np.ones(150), np.zeros(5)])
    diagonal = HessianDiagonal(
        true + error * rng.standard_normal(155), error, np.zeros(155, bool), np.arange(0), 10
    )
    layers = {"clear": 50, "hidden": 50, "outlier": 50, "dead": 5}
    got = layer_condition_numbers(diagonal, layers)
    reasons = got["layer_reason"].to_series().to_dict()
    noise = "the median is not above 2 standard errors"
    assert reasons == {
        "clear": "", "hidden": noise, "outlier": noise, "dead": "the median is zero, up to rounding"
    }  # fmt: skip
    numbers = got["layer_condition_number"].values
    assert np.isnan(numbers).tolist() == [False, True, True, True]
    assert numbers[0] == pytest.approx(12 / 10, rel=0.2)
    assert got["layer_median"].sel(layer="hidden") < 2 * got["layer_median_error"].sel(
        layer="hidden"
    )
    few = layer_condition_numbers(diagonal, layers, errors=0.0)
    assert few["layer_condition_number"].notnull().values.tolist() == [True, True, True, False]


def test_an_exact_entry_does_not_make_a_median_exact():
    """Of 1 2 3 9 10 the lower median is 3, which is exact; but it is 1 if 9 and 10 fall to 1."""
    values, error = np.array([1.0, 2, 3, 9, 10]), np.array([0, 0, 0, 8.0, 9])
    diagonal = HessianDiagonal(values, error, np.zeros(5, bool), np.arange(3), probes=10)
    found = layer_condition_numbers(diagonal, {"w": 5})
    assert (float(found["layer_median"][0]), float(found["layer_median_error"][0])) == (3, 2)
    assert str(found["layer_reason"].values[0]) == "the median is not above 2 standard errors"


@pytest.mark.parametrize("size", [1, 2, 9, 64])
def test_noise_alone_has_no_condition_number(size):
    """Of normal noise an entry is above two standard errors once in 22 times."""
    rng = np.random.default_rng(2)
    resolved = 0
    for _ in range(200):
        values = rng.standard_normal(size)
        diagonal = HessianDiagonal(
            values, np.ones(size), np.zeros(size, bool), np.arange(0), probes=50
        )
        found = layer_condition_numbers(diagonal, {"w": size})
        resolved += bool(found["layer_condition_number"].notnull())
    # 200 times 4.6 % and four standard deviations of it.
    assert resolved <= (9 + 4 * 3 if size < 9 else 2)


@pytest.mark.parametrize(("errors", "excess"), [(2.0, 1.06), (1.0, 1.35)])
def test_how_much_noise_raises_a_median_that_counts(errors, excess):
    """Entries N(0, s^2), of which the median is just above `errors` standard errors of 1."""
    s = np.sqrt((errors / 0.6745) ** 2 - 1)
    rng = np.random.default_rng(3)
    true = s * rng.standard_normal(100_000)
    diagonal = HessianDiagonal(
        true + rng.standard_normal(true.size), np.ones(true.size), np.zeros(true.size, bool),
        np.arange(0), probes=50,
    )  # fmt: skip
    found = layer_condition_numbers(diagonal, {"w": true.size}, errors=0.95 * errors)
    assert str(found["layer_reason"].item()) == ""
    # The median's sampling error, 1.6 s / sqrt(100,000), is half a per cent.
    ratio = float(found["layer_median"].item()) / np.median(np.abs(true))
    assert ratio == pytest.approx(excess, rel=0.02)


def test_layers_of_a_transformer_are_the_blocks_of_its_exact_hessian():
    workload = WORKLOADS["ptb-transformer"]
    tiny = workload.sizes["tiny"]
    size = dataclasses.replace(
        tiny,
        model={**tiny.model, "width": 4, "inner": 4},
        data={**tiny.data, "vocabulary": 12, "tokens": 500},
    )
    try:
        data = workload.data("packaged", **size.data)
    except UsageError as error:
        pytest.skip(str(error))
    run = train_run(
        workload, data, size, "adam", NAMED["adam"], 0.01, 0, steps=1,
        schedules=Schedules(curvature=1),
    ).squeeze(("optimizer", "learning_rate", "seed"))  # fmt: skip
    assert run.attrs["curvature"] == "exact"
    got = layer_condition_numbers(run).sel(step=0)
    exact = run.sel(step=0)
    labels = exact["parameter"].values
    wanted = block_condition_numbers(
        "diagonal-lower-median",
        labels.tolist(),
        diagonal=exact["hessian_diagonal"].values,
        row_norm=exact["hessian_row_norm"].values,
    )
    assert got["layer"].values.tolist() == list(dict.fromkeys(labels))
    assert got["layer_size"].values.tolist() == [int((labels == name).sum()) for name in wanted]
    np.testing.assert_array_equal(got["layer_condition_number"], [*wanted.values()])
    assert (got["layer_reason"] == "").sum() > 10
    assert float(got["pooled_condition_number"]) == pytest.approx(float(exact["condition_number"]))
    # Its estimate resolves some layers, within their errors.
    with own_random_numbers():
        module = initial_module(workload, data, size, 0)
    objective = Objective(module, workload.loss, data.fixed(size.batch, 1), determinism="eval")
    estimate = layer_condition_numbers(objective.hessian_diagonal(60), sizes_of(objective))
    assert 0 < int((estimate["layer_reason"] == "").sum()) < estimate.sizes["layer"]
    for name in estimate["layer"].values[estimate["layer_reason"].values == ""]:
        found, true = (each.sel(layer=name) for each in (estimate, got))
        for what in ("median", "largest"):
            error = abs(float(found[f"layer_{what}"]) - float(true[f"layer_{what}"]))
            assert error <= 4 * float(found[f"layer_{what}_error"]) + 1e-6 * float(
                true["layer_largest"]
            )


LARGE = dataclasses.replace(
    TOY, model=lambda facts: nn.Sequential(nn.Linear(3, 600), nn.Tanh(), nn.Linear(600, 1))
)


def test_estimated_runs_have_the_numbers_of_each_layer_and_not_the_diagonal(tmp_path):
    schedules = Schedules(loss=2, curvature=2)
    data, size = toy_data("packaged"), TOY.sizes["small"]
    one = NetworkRun(LARGE, True, data, size, "sgd", NAMED["sgd"], 0.01, 0, 3, None, schedules)
    stored = store.load_or_run(one, tmp_path)
    assert stored.attrs["curvature"] == "Hutchinson's estimate"
    assert "parameter" not in stored.dims
    assert stored["layer_size"].to_series().to_dict() == {
        "0.weight": 1800, "0.bias": 600, "2.weight": 600, "2.bias": 1
    }  # fmt: skip
    with own_random_numbers():
        module = initial_module(LARGE, data, size, 0)
    objective = Objective(module, LARGE.loss, data.fixed(size.batch, 1))
    estimate = layer_condition_numbers(objective.hessian_diagonal(), sizes_of(objective))
    first = stored.squeeze(("optimizer", "learning_rate", "seed")).sel(step=0)
    for name in ("condition_number", "largest", "median", "median_error"):
        np.testing.assert_array_equal(first[f"layer_{name}"], estimate[f"layer_{name}"])
    # The loss is the square of the output minus a target, so that its bias has the entry 2.
    bias = estimate.sel(layer="2.bias")
    assert abs(float(bias["layer_largest"]) - 2) < 4 * float(bias["layer_largest_error"])


def test_layers_of_many_runs_stand_in_one_dataset():
    schedules = Schedules(loss=1, curvature=2)
    runs = train_workload(TOY, ["sgd"], (0.01,), (0, 1), steps=3, schedules=schedules)
    assert runs["layer_size"].dims == ("layer",)
    got = layer_condition_numbers(runs)
    labels = ("optimizer", "learning_rate", "seed", "step", "layer")
    assert got["layer_condition_number"].dims == labels
    assert got["seed"].values.tolist() == [0, 1]
    np.testing.assert_array_equal(
        got["layer_condition_number"], runs["layer_condition_number"].transpose(*labels)
    )
    assert got["layer_condition_number"].sel(step=[0, 2], layer="0.weight").notnull().all()
    between = got.sel(step=1)
    assert (between["layer_reason"] == "not measured").all()
    assert np.isnan(between["layer_median"]).all()


def test_runs_with_smoothness_or_curvature_are_told_from_those_that_measured_less():
    def content(**schedules):
        data = toy_data("packaged")
        return NetworkRun(
            TOY, True, data, TOY.sizes["small"], "sgd", NAMED["sgd"], 0.1, 0, 3, None,
            Schedules(**schedules),
        ).identity.content  # fmt: skip

    assert "probed" not in content(loss=1, noise=1)
    assert content(smoothness=1)["probed"] == content(curvature=1)["probed"] == 2


EXACT = HessianDiagonal(np.arange(1.0, 5), np.zeros(4), np.zeros(4, bool), np.arange(4))


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: layer_condition_numbers(EXACT), "It is not known which entries"),
        (lambda: layer_condition_numbers(EXACT, {"w": 3}), "3 entries, .* but the diagonal has 4"),
        (lambda: layer_condition_numbers(EXACT, {"w": 4, "b": 0}), "each at least 1"),
        (lambda: layer_condition_numbers(EXACT, {"w": 4}, errors=-1.0), r"errors is -1\.0"),
        (
            lambda: layer_condition_numbers(
                train_workload(TOY, ["sgd"], (0.1,), (0,), steps=1), {"w": 4}
            ),
            r"has no hessian_diagonal; train with Schedules\(curvature=",
        ),
    ],
)
def test_mistakes_are_told_in_one_sentence(call, sentence):
    with pytest.raises(UsageError, match=sentence):
        call()
