"""Eigenvalues of Hessians that are not formed: equal to dense ones, with errors that hold."""

import numpy as np
import pytest

from attnscape.errors import UsageError

torch = pytest.importorskip("torch", reason="torch is not installed")

from attnscape.torch import Objective, Probe  # noqa: E402

SIZE = 60


class Quadratic(torch.nn.Module):
    """x^T H x / 2 with the parameters x in two leaves."""

    def __init__(self, H):
        super().__init__()
        self.H = H
        x = torch.randn(len(H), generator=torch.Generator().manual_seed(0), dtype=H.dtype)
        self.first = torch.nn.Parameter(x[:40].reshape(5, 8))
        self.second = torch.nn.Parameter(x[40:])

    def forward(self):
        x = torch.cat([self.first.reshape(-1), self.second])
        return x @ self.H @ x / 2


def quadratic(values, dtype=torch.float64):
    basis = np.linalg.qr(np.random.default_rng(1).normal(size=(len(values), len(values))))[0]
    H = torch.tensor(basis @ np.diag(values) @ basis.T).to(dtype)
    return H, Objective(Quadratic((H + H.T) / 2), lambda module, batch: module(), [None])


@pytest.fixture(scope="module")
def spread():
    """Eigenvalues -9, ..., 20 that are not close to each other."""
    values = np.linspace(-9, 20, SIZE)
    return values, *quadratic(values)


@pytest.mark.parametrize(
    ("which", "wanted"),
    [("largest", [-1, -2, -3]), ("smallest", [0, 1, 2]), ("magnitude", [-1, -2, -3])],
)
def test_they_are_those_of_the_dense_matrix(spread, which, wanted):
    values, H, objective = spread
    found = objective.eigenpairs(3, which=which, tolerance=1e-10)
    np.testing.assert_allclose(found.values, values[wanted], rtol=1e-8)
    for value, vector in zip(found.values, found.vectors, strict=True):
        assert np.linalg.norm(vector) == pytest.approx(1)
        np.testing.assert_allclose(H.numpy() @ vector, value * vector, atol=1e-6)


def test_of_a_layer_they_are_those_of_its_block(spread):
    _, H, objective = spread
    for layer, block in (("first", H[:40, :40]), ("second", H[40:, 40:])):
        expected = np.linalg.eigvalsh(block.numpy())[::-1][:2]
        found = objective.eigenpairs(2, layer=layer, tolerance=1e-10)
        np.testing.assert_allclose(found.values, expected, rtol=1e-8)
        assert found.vectors.shape == (2, len(block))


@pytest.mark.parametrize("tolerance", [1e-1, 1e-2])
def test_an_exact_eigenvalue_is_within_the_residual(tolerance):
    """Close eigenvalues, where a loose tolerance leaves something to be seen."""
    values = np.linspace(0, 10, 400)
    _, objective = quadratic(values)
    found = objective.eigenpairs(2, tolerance=tolerance, seed=3)
    assert (found.residuals > 1e-9).any()
    for value, residual in zip(found.values, found.residuals, strict=True):
        assert abs(values - value).min() <= residual + 1e-12


def test_small_and_single_precision_networks_have_them_too():
    _, objective = quadratic(np.arange(1.0, 49), torch.float32)
    # The rounding error of a product of 48 entries relative to the largest eigenvalue.
    assert objective.eigenpairs(1).values[0] == pytest.approx(48, rel=1e-3)
    tiny = torch.nn.Linear(1, 1, bias=False)
    objective = Objective(tiny, lambda module, x: module(x).square().sum(), [torch.ones(1, 1)])
    assert objective.eigenpairs(1).values.tolist() == [2.0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 0}, "count is 0 and which 'largest'; give from 1 to 60"),
        ({"count": 61}, "count is 61"),
        ({"which": "middle"}, "largest, smallest, magnitude"),
        ({"layer": "third"}, "There is no layer 'third'; there are first, second"),
    ],
)
def test_mistakes_are_told_in_a_sentence(spread, options, message, unchecked):
    with pytest.raises(UsageError, match=message):
        spread[2].eigenpairs(**options)


def test_a_probe_records_sharpness_from_the_step_where_training_goes_on():
    values = np.linspace(0.1, 1, SIZE)
    _, objective = quadratic(values)
    probe = Probe(objective, every=0, sharpness_every=2, start=7)
    for _ in range(4):
        probe.step()
    data = probe.dataset()
    assert data["step"].values.tolist() == [8, 10]
    np.testing.assert_allclose(data["sharpness"], 1, atol=float(data["sharpness_residual"].max()))
    with pytest.raises(UsageError, match="start is -1"):
        Probe(objective, start=-1)


@pytest.mark.parametrize("size", [3, SIZE])
def test_a_hessian_of_zeros_has_eigenvalues_of_zero_and_one_of_nans_has_none(size):
    module, ones = torch.nn.Linear(size, 1, bias=False), torch.ones(1, size)
    linear = Objective(module, lambda module, x: module(x).sum(), [ones])
    assert linear.eigenpairs(2).values.tolist() == [0, 0]
    with torch.no_grad():
        module.weight.fill_(float("nan"))
    cubic = Objective(
        module, lambda module, x: (module(x) ** 3).sum(), [ones], determinism="ignore"
    )
    assert cubic.eigenpairs(2).values.size == 0
