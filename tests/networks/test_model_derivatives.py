"""Gradient, Hessian-vector product and Hessian diagonal of each network, by finite differences."""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from torch import nn  # noqa: E402

from attnscape.torch import Objective  # noqa: E402
from networks.model_cases import (  # noqa: E402
    CASES,
    F64,
    draw,
    seeded,  # noqa: F401, a fixture for every test here
)


@pytest.fixture(params=CASES)
def case(request):
    """A network at a generic point, as an objective, and its vector of parameters."""
    network, loss_fn, batch = CASES[request.param]()
    network = draw(network)
    return Objective(network, loss_fn, [batch]), free(network)


def free(network):
    """1 for each parameter, 0 for embeddings of padding: PyTorch gives those no gradient."""
    ones = {name: torch.ones_like(p) for name, p in network.named_parameters()}
    for name, part in network.named_modules():
        if isinstance(part, nn.Embedding) and part.padding_idx is not None:
            ones[f"{name}.weight"][part.padding_idx] = 0
    return torch.cat([one.flatten() for one in ones.values()])


def shifted(objective, direction, measure):
    """A measure after a step along a direction."""
    sizes = [p.numel() for p in objective.parameters.values()]
    parts = zip(objective.snapshot(), direction.split(sizes), strict=False)
    point = [value + part.reshape(value.shape) for value, part in parts]
    with objective.at([*point, *objective.module.buffers()]):
        return measure()


def slope(objective, direction, measure, step):
    """Central difference of a measure along a direction."""
    ahead, behind = (shifted(objective, s * step * direction, measure) for s in (1, -1))
    return (ahead - behind) / (2 * step)


# A central difference errs by step^2 |third derivative| / 6 and by rounding, about 1e-15 / step.
# With steps of 1e-5 and 1e-7, third derivatives up to 1e3 give 1e-8. The smaller step is for
# gradients, which jump where a ReLU switches: it makes that unlikely within the step.


def test_gradient_agrees_with_finite_differences(case):
    objective, mask = case
    gradient = objective.gradient()
    for _ in range(3):
        direction = torch.randn(objective.size, dtype=F64) * mask
        direction /= direction.norm()
        difference = slope(objective, direction, objective.loss, 1e-5)
        assert float(gradient @ direction) == pytest.approx(difference, abs=1e-7)


def test_hvp_agrees_with_finite_differences(case):
    objective, mask = case
    direction = torch.randn(objective.size, dtype=F64) * mask
    direction /= direction.norm()
    difference = slope(objective, direction, objective.gradient, 1e-7)
    product = objective.hvp(direction)
    assert product.norm() > 0
    assert (product - difference).norm() < 1e-6 * max(1, product.norm())


def test_exact_hessian_diagonal_agrees_with_finite_differences(case):
    objective, mask = case
    diagonal = objective.hessian_diagonal()
    assert diagonal.exact
    for place in torch.randperm(objective.size)[:25]:
        unit = torch.zeros(objective.size, dtype=F64)
        unit[place] = mask[place]
        difference = slope(objective, unit, objective.gradient, 1e-7)[place]
        scale = max(1.0, abs(diagonal.value).max())
        assert diagonal.value[place] == pytest.approx(float(difference), abs=1e-6 * scale)


@pytest.mark.parametrize("name", CASES)
def test_second_derivatives_exist_in_single_precision_and_train_mode(name):
    network, loss_fn, batch = CASES[name]()
    batch = tuple(t.float() if t.dtype == F64 else t for t in batch)
    objective = Objective(network.train(), loss_fn, [batch], determinism="ignore")
    product = objective.hvp(torch.ones(objective.size))
    assert product.dtype == torch.float32
    assert torch.isfinite(product).all()
