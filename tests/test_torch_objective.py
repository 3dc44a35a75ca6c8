"""PyTorch modules measured from their own training loop: equal to the JAX path and closed forms."""

import importlib
import logging
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attnscape import objective as jax_objective
from attnscape.errors import UsageError
from attnscape.measures import Curvature, DirectionalSmoothness, Iterate
from attnscape.models import LinearTransformer
from attnscape.statistics import condition_number, fit_smoothness
from support import flat, make_case, make_direction, relative

torch = pytest.importorskip("torch", reason="torch is not installed")

from attnscape.torch import Objective, Probe, _state  # noqa: E402
from attnscape.torch._objective import ChangedParametersWarning  # noqa: E402

F64 = torch.float64


@pytest.fixture(autouse=True)
def one_thread():
    """Threads only cost time on networks this small."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class TokenForm(torch.nn.Module):
    """Eq. 7 and 8 of the paper, letter by letter, with parameters P and Q."""

    def __init__(self, model):
        super().__init__()
        self.form = model.form
        self.P, self.Q = (torch.nn.Parameter(torch.tensor(np.array(a))) for a in (model.P, model.Q))

    def forward(self, Z):
        P, Q = self.P, self.Q
        n = Z.shape[-1] - 1
        M = torch.diag(torch.tensor([1.0] * n + [0.0], dtype=Z.dtype))
        if self.form == "block":
            P, Q = (torch.nn.functional.pad(a, (0, 1, 0, 1)) for a in (P, Q))
            P = P + torch.diag(torch.tensor([0.0] * (P.shape[-1] - 1) + [1.0], dtype=Z.dtype))
        for p, q in zip(P, Q, strict=True):
            Z = Z + p @ Z @ M @ (Z.mT @ q @ Z) / n
        return -Z[:, -1, -1]


def squared_error(module, batch):
    Z, target = batch
    return ((module(Z) - target) ** 2).mean()


def tokens(prompts):
    return torch.tensor(np.array(prompts.tokens())), torch.tensor(np.array(prompts.target))


def same_case(form, dtype):
    """A model with prompts in JAX, and the same as an objective in PyTorch; four batches."""
    model, _ = make_case(form, 3, 4, 15, 1, dtype=dtype)
    batches = [make_case(form, 3, 4, 15, 40, dtype=dtype, seed=seed)[1] for seed in range(4)]
    module = TokenForm(model)
    return model, batches, module, Objective(module, squared_error, [tokens(b) for b in batches])


def to_jax(snapshot, form):
    P, Q = (jnp.asarray(tensor.detach().numpy()) for tensor in snapshot)
    return LinearTransformer(P, Q, form)


class Quadratic(torch.nn.Module):
    """Loss x^T A x / 2 + b^T x: its gradient is A x + b, its Hessian A."""

    def __init__(self, A, x=None, b=None):
        super().__init__()
        self.A = torch.tensor(A, dtype=F64)
        zero = torch.zeros(len(A), dtype=F64)
        self.x = torch.nn.Parameter(zero if x is None else torch.tensor(x, dtype=F64))
        self.b = zero if b is None else torch.tensor(b, dtype=F64)

    def loss(self, batch):
        return self.x @ self.A @ self.x / 2 + (self.b + batch) @ self.x


def quadratic(A, x=None, b=None, batches=(0,), **options):
    return Objective(Quadratic(A, x, b), lambda m, batch: m.loss(batch), batches, **options)


def encoder(dropout=0.0, dtype=F64):
    torch.manual_seed(0)
    # norm_first switches off the fast path's nested tensors, about which PyTorch would warn.
    layer = torch.nn.TransformerEncoderLayer(8, 2, 12, dropout, "gelu", batch_first=True)
    network = torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    return network.to(dtype), torch.randn(3, 5, 8, dtype=dtype)


def cubes(module, batch):
    return (module(batch) ** 3).mean()


@pytest.mark.parametrize("form", ["block", "full"])
def test_loss_and_derivatives_are_those_of_the_jax_path(form, x64):
    model, batches, _, objective = same_case(form, "float64")
    loss, gradient = jax_objective.value_and_grad(model, batches[0])
    direction = make_direction(model)
    product = objective.hvp(
        torch.tensor(np.concatenate([np.ravel(direction.P), direction.Q], None))
    )
    gradients = [jax_objective.value_and_grad(model, b)[1] for b in batches]
    assert objective.loss() == pytest.approx(float(loss), rel=1e-12)
    assert relative(objective.gradient().numpy(), gradient) < 1e-12
    assert relative(product.numpy(), jax_objective.hvp(model, batches[0], direction)) < 1e-12
    assert relative(objective.hessian().numpy(), jax_objective.hessian(model, batches[0])) < 1e-12
    for got, wanted in zip(objective.batch_gradients(), gradients, strict=True):
        assert relative(got.numpy(), wanted) < 1e-12


# Some hundred operations, at most as many roundings: 100 eps is 1.2e-5 and 2e-14.
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-5)])
@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
def test_a_probe_in_a_training_loop_measures_what_the_jax_path_does(
    optimizer, dtype, tolerance, x64
):
    _, batches, module, objective = same_case("block", dtype)
    update = getattr(torch.optim, optimizer)(module.parameters(), lr=0.02)
    probe = Probe(objective, every=2, noise_every=4, curvature_every=4)
    points = [objective.snapshot()]
    for step in range(6):
        squared_error(module, objective.batches[step % 4]).backward()
        update.step()
        update.zero_grad()
        probe.step()
        points.append(objective.snapshot())
    data = probe.dataset()
    assert data["step"].values.tolist() == [0, 2, 4]
    # The oracle has the same numbers in double precision, so that all rounding is PyTorch's.
    models = [
        jax.tree.map(lambda a: a.astype(jnp.float64), to_jax(point, "block")) for point in points
    ]
    prompts = [jax.tree.map(lambda a: a.astype(jnp.float64), batch) for batch in batches]
    for step in (0, 2, 4):
        model, got = models[step], data.sel(step=step)
        change = jax.tree.map(jnp.subtract, models[step + 1], model)
        iterate = Iterate(model, None, prompts[0], jax.random.key(0), None, update=change)
        wanted = DirectionalSmoothness()(iterate)
        curvature = {name: np.asarray(v) for name, v in Curvature()(iterate).items()}
        loss = jax_objective.loss(model, prompts[0])
        assert float(got["loss"]) == pytest.approx(float(loss), rel=tolerance)
        for name in ("evaluation_gradient_norm", "directional_smoothness", "update_norm"):
            assert float(got[name]) == pytest.approx(float(wanted[name]), rel=tolerance)
        # Both gradients have their rounding, and their difference is divided by half the step.
        length = float(wanted["update_norm"]) / 2
        halfway = jax.tree.map(lambda a, u: a + u / 2, model, change)
        ends = [jax_objective.value_and_grad(m, prompts[0])[1] for m in (model, halfway)]
        norms = [np.linalg.norm(flat(each)) for each in ends]
        difference = np.linalg.norm(flat(ends[1]) - flat(ends[0])) / length
        assert float(got["gradient_difference_smoothness"]) == pytest.approx(
            difference, rel=tolerance, abs=tolerance * sum(norms) / length
        )
        if step == 2:
            assert np.isnan(got["noise_norm"]).all()
            assert np.isnan(got["hessian_eigenvalues"]).all()
            continue
        gradients = [jax_objective.value_and_grad(model, b)[1] for b in prompts]
        noise = np.stack([np.concatenate([np.ravel(g.P), np.ravel(g.Q)]) for g in gradients])
        noise = np.linalg.norm(noise - noise.mean(axis=0), axis=1)
        assert got["noise_norm"].values == pytest.approx(noise, rel=tolerance)
        for name in ("hessian_eigenvalues", "hessian_diagonal", "hessian_row_norm"):
            assert relative(got[name].values, curvature[name]) < tolerance
        number, median = (
            condition_number(
                name,
                eigenvalues=curvature["hessian_eigenvalues"],
                diagonal=curvature["hessian_diagonal"],
                row_norm=curvature["hessian_row_norm"],
            )
            for name in ("diagonal-lower-median", "diagonal-median")
        )
        assert number != median  # so that the two medians are told apart
        assert float(got["condition_number"]) == pytest.approx(float(number), rel=tolerance)
        assert float(got["condition_number_low"]) == float(got["condition_number"])
        assert float(got["condition_number_high"]) == float(got["condition_number"])
        assert (got["hessian_diagonal_error"] == 0).all()


def test_shared_and_frozen_parameters_count_once_and_not_at_all():
    torch.manual_seed(0)
    first, second, frozen = (torch.nn.Linear(3, 3, dtype=F64) for _ in range(3))
    second.weight = first.weight
    frozen.requires_grad_(False)
    module = torch.nn.Sequential(first, torch.nn.Tanh(), second, torch.nn.Tanh(), frozen)
    x = torch.randn(7, 3, dtype=F64)
    objective = Objective(module, cubes, [x])
    assert objective.size == 9 + 3 + 3

    def loss(flat):
        weight, *biases = flat[:9].view(3, 3), flat[9:12], flat[12:]
        for bias in biases:
            x_ = torch.tanh((x if bias is biases[0] else x_) @ weight.T + bias)
        return (frozen(x_) ** 3).mean()

    point = torch.cat([p.detach().reshape(-1) for p in (first.weight, first.bias, second.bias)])
    wanted = torch.autograd.functional.hessian(loss, point)
    assert relative(objective.hessian().numpy(), wanted.numpy()) < 1e-12
    # Neither may a parameter that the loss does not touch, nor a loss that is linear in all.
    module = torch.nn.ModuleDict({"used": torch.nn.Linear(2, 1), "unused": torch.nn.Linear(2, 1)})
    linear = Objective(module, lambda m, batch: m["used"](batch).mean(), [torch.ones(4, 2)])
    assert linear.gradient().tolist() == [1, 1, 1, 0, 0, 0]
    assert not linear.hessian().any()


def test_on_a_quadratic_every_number_has_its_closed_form():
    A = np.diag([3.0, -2.0, 1.0, 0.5]) + 0.1
    x, b, noise = np.array([0.1, 1.0, -0.2, 0.3]), np.array([0.5, 0, 0, -1]), [0.0, 1.0, -0.5]
    objective = quadratic(A, x, b, noise)
    probe = Probe(objective, every=1, noise_every=1, curvature_every=1)
    optimizer = torch.optim.SGD(objective.module.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        objective.module.loss(0).backward()
        optimizer.step()
        record = probe.step()
        gradient = A @ x + b
        step = -0.1 * gradient
        wanted = {
            "loss": x @ A @ x / 2 + b @ x,
            "evaluation_gradient_norm": np.linalg.norm(gradient),
            "update_norm": np.linalg.norm(step),
            "directional_smoothness": step @ A @ step / (step @ step),
            "gradient_difference_smoothness": np.linalg.norm(A @ step) / np.linalg.norm(step),
            "noise_norm": np.abs(np.array(noise) - np.mean(noise)) * 2,  # times |(1, 1, 1, 1)|
            "hessian_diagonal": np.diag(A),
            "hessian_row_norm": np.linalg.norm(A, axis=1),
            "hessian_eigenvalues": np.linalg.eigvalsh(A),
            "condition_number": 3.1 / 1.1,
        }
        for name, value in wanted.items():
            assert record[name] == pytest.approx(value, rel=1e-10), name
        x = x + step
    assert probe.dataset()["directional_smoothness"].min() < 0  # the sign is kept


def test_pseudo_steps_on_a_quadratic_have_their_closed_form():
    rng = np.random.default_rng(0)
    A = gaussian(4)
    objective = quadratic(A, rng.standard_normal(4))
    probe = Probe(objective, every=0, pseudo_every=2)
    given = {name: rng.standard_normal((4, 4)) for name in ("b", "a")}
    for step in range(4):
        updates = {name: torch.tensor(each[step]) for name, each in given.items()}
        # The order in which they are given may change, and nobody needs those of step 1.
        record = probe.step(updates if step < 2 else dict(reversed(updates.items())))
        assert bool(record) == (step in (0, 2))
    got = probe.dataset()["pseudo_smoothness"]
    assert got.dims == ("step", "pseudo_optimizer")
    for name, each in given.items():
        for step in (0, 2):
            v = each[step]
            number = float(got.sel(pseudo_optimizer=name, step=step))
            assert number == pytest.approx(v @ A @ v / (v @ v), rel=1e-12)
    assert np.isnan(probe.step({"a": torch.zeros(4), "b": torch.ones(4)})["pseudo_smoothness"][1])


def test_smoothness_of_a_step_is_measured_at_its_start_and_its_middle():
    """Of the loss x^4 the Hessian at x is 12 x^2, and that between two points lies between."""
    module = torch.nn.Linear(1, 1, bias=False, dtype=F64)
    objective = Objective(module, lambda m, batch: (m.weight * batch).sum() ** 4, [1.0])
    torch.nn.init.constant_(module.weight, 2.0)
    probe = Probe(objective, every=1, pseudo_every=1)
    torch.nn.init.constant_(module.weight, 3.0)
    got = probe.step({"backwards": torch.tensor([-5.0])})
    assert got["directional_smoothness"] == pytest.approx(12 * 2**2)
    assert got["pseudo_smoothness"] == pytest.approx([12 * 2**2])
    assert got["gradient_difference_smoothness"] == pytest.approx(4 * (2.5**3 - 2**3) / 0.5)
    assert module.weight.item() == 3.0


def test_fused_attention_has_no_second_derivative_and_is_measured_without():
    network, x = encoder()
    loss = cubes(network, x)
    parameters = list(network.parameters())
    gradient = torch.autograd.grad(loss, parameters, create_graph=True)
    with pytest.raises(RuntimeError, match="not implemented"):  # the reason for the MATH path
        torch.autograd.grad(sum((g**2).sum() for g in gradient), parameters)
    objective = Objective(network, cubes, [x])
    assert objective.loss() == pytest.approx(loss.item(), rel=1e-12)
    point = objective.snapshot()
    flat, sizes = torch.cat([p.reshape(-1) for p in point]), [p.numel() for p in point]
    direction = torch.randn(objective.size, generator=torch.Generator().manual_seed(1), dtype=F64)
    direction /= direction.norm()

    def gradient_at(flat):
        moved = [p.view_as(old) for p, old in zip(flat.split(sizes), point, strict=True)]
        with objective.at(moved):
            return objective.gradient()

    # Central differences err by h^2 = 1e-10 times third derivatives, and by rounding, 1e-16 / h.
    h = 1e-5
    wanted = (gradient_at(flat + h * direction) - gradient_at(flat - h * direction)) / (2 * h)
    assert relative(objective.hvp(direction).numpy(), wanted.numpy()) < 1e-7


def test_in_eval_mode_attention_does_not_take_the_fast_path():
    network, x = encoder(dropout=0.3)
    objective = Objective(network.eval(), cubes, [x])
    trained = Objective(network, cubes, [x], determinism="eval")
    assert (
        relative(objective.hvp(objective.gradient()).numpy(), trained.hvp(trained.gradient())) == 0
    )
    assert objective.loss() == trained.loss()
    assert torch.backends.mha.get_fastpath_enabled()


def test_the_attention_path_is_said_once(caplog):
    _state._mention_attention.cache_clear()
    network, x = encoder()
    with caplog.at_level(logging.WARNING, logger="attnscape"):
        quadratic(np.eye(2), [1, 1])
        assert not caplog.records
        for _ in range(2):
            Objective(network, cubes, [x])
    assert len(caplog.records) == 1
    assert "MATH" in caplog.text


def test_a_measurement_leaves_everything_as_it_was():
    torch.manual_seed(3)
    module = torch.nn.Sequential(
        torch.nn.Linear(4, 6),
        torch.nn.BatchNorm1d(6),
        torch.nn.Tanh(),
        torch.nn.Dropout(0.5),
        torch.nn.Linear(6, 1),
    )
    module[3].eval()  # modes are mixed
    x = torch.randn(8, 4)
    cubes(module, x).backward()

    def state():
        return {
            **{f"{n} value": p.detach().clone() for n, p in module.named_parameters()},
            **{f"{n} grad": p.grad.clone() for n, p in module.named_parameters()},
            **{f"{n} buffer": b.clone() for n, b in module.named_buffers()},
            "random state": torch.get_rng_state(),
            "modes": torch.tensor([part.training for part in module.modules()]),
            "buffer places": torch.tensor([b.data_ptr() for b in module.buffers()]),
        }

    before = state()
    for determinism in ("check", "eval", "ignore"):
        objective = Objective(module, cubes, [x, 2 * x], determinism=determinism)
        probe = Probe(objective, every=1, noise_every=1, curvature_every=1, probes=2)
        probe.step()
        objective.hessian()
        with objective.at([torch.zeros_like(t) for t in objective.snapshot()]):
            assert not objective.gradient()[:24].any()
    with pytest.raises(RuntimeError), objective.at(objective.snapshot()):
        module(torch.ones(1, 5))
    for name, value in state().items():
        assert torch.equal(value, before[name]), name


def test_training_with_a_probe_is_bit_for_bit_training_without():
    ends = []
    for probed in (False, True):
        network, x = encoder(dropout=0.1, dtype=torch.float32)
        objective = Objective(network, cubes, [x], determinism="eval")
        optimizer = torch.optim.Adam(network.parameters(), 1e-3)
        probe = Probe(objective, every=2, curvature_every=3, probes=2)
        torch.manual_seed(5)
        for _ in range(5):
            cubes(network, x).backward()
            optimizer.step()
            optimizer.zero_grad()
            if probed:
                probe.step()
        ends.append(torch.cat(objective.snapshot()[:1]))
    assert torch.equal(*ends)


def test_a_random_loss_is_refused_or_fixed_as_was_asked():
    module = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Dropout(0.5), torch.nn.Tanh())
    x = torch.ones(8, 4)
    with pytest.raises(UsageError, match=r"random: .*determinism='eval'"):
        Objective(module, cubes, [x])
    evaluated = Objective(module, cubes, [x], determinism="eval")
    with torch.no_grad():
        module.eval()
        assert evaluated.loss() == cubes(module, x).item()
    late = Objective(module, cubes, [x])  # in eval mode, in which nothing is random ...
    module.train()
    with pytest.raises(UsageError, match="random"):  # ... but it is measured in another
        late.loss()
    torch.manual_seed(1)
    ignoring = Objective(module, cubes, [x], determinism="ignore")
    assert relative(ignoring.hessian().numpy(), ignoring.hessian().numpy()) == 0
    masked = cubes(module, x).item()  # with the random numbers that came next
    assert ignoring.loss() != masked
    torch.manual_seed(1)
    assert ignoring.loss() == masked

    def sampled(module, batch):
        return cubes(module, batch + torch.randn_like(batch))

    with pytest.raises(UsageError, match="make loss_fn give the same"):
        Objective(module, sampled, [x], determinism="eval")


def gaussian(p):
    B = np.random.default_rng(0).standard_normal((p, p))
    return (B + B.T) / 2


def dominated(p):
    """One off-diagonal entry decides the noise of each row: it is +-3, far from normal."""
    A = np.diag(np.arange(1.0, p + 1))
    even = np.arange(0, p - 1, 2)
    A[even, even + 1] = A[even + 1, even] = 3
    return A


def spread(p):
    v = np.random.default_rng(0).standard_normal(p)
    return np.diag(np.logspace(-2, 1, p)) + 0.05 * np.outer(v, v)


@pytest.mark.parametrize("matrix", [gaussian, dominated, spread])
def test_intervals_of_hutchinsons_estimate_hold_their_level(matrix):
    A = matrix(60)
    diagonal, objective = np.diag(A), quadratic(A)
    true = np.abs(diagonal).max() / np.sort(np.abs(diagonal))[29]
    coverage, held, finite, scores = [], 0, 0, []
    for seed in range(100):
        estimate = objective.hessian_diagonal(20, seed=seed)
        noisy = np.ones(60, bool)
        noisy[estimate.sampled] = False
        assert len(estimate.sampled) == 20
        assert estimate.value[~noisy] == pytest.approx(diagonal[~noisy], rel=1e-14)
        assert not estimate.standard_error[~noisy].any()
        # A pair of rows has one and the same noise: no error if all 20 signs are equal.
        low, high = estimate.interval(0.95)
        coverage.append(np.mean((low <= diagonal) & (diagonal <= high), where=noisy))
        interval = estimate.condition_number()
        held += interval.covers(true)
        finite += np.isfinite(interval.high)
        scores.append((estimate.value - diagonal)[noisy].mean())
    # Nominal 95 %, to four standard errors of the 100 estimates and 2 % for want of normality.
    error = np.std(coverage) / 10
    assert abs(np.mean(coverage) - 0.95) < 4 * error + 0.02
    assert abs(np.mean(scores)) < 4 * np.std(scores) / 10  # no bias
    # At least 95 %: of 100, fewer than 88 would happen once in 300 times.
    assert held >= 88
    assert finite >= 88


def test_an_estimate_is_exact_where_there_is_no_noise_and_knows_dead_rows():
    A = np.diag([4.0, 0, 2, 0, 1, -0.5, 8, 0, 3])
    estimate = quadratic(A).hessian_diagonal(9)
    assert not estimate.exact
    assert estimate.value.tolist() == np.diag(A).tolist()
    assert not estimate.standard_error.any()
    assert estimate.dead.tolist() == (np.diag(A) == 0).tolist()
    # Of the six live entries 0.5 1 2 3 4 8 there are too few for an interval; of all nine not.
    assert np.isnan(estimate.condition_number("diagonal-median-live").high)
    interval = estimate.condition_number("diagonal-lower-median")
    assert interval.estimate == 8 / 1
    # Ranks 2 and 8 of 0 0 0 .5 1 2 3 4 8, as P(Binomial(9, 1/2) <= 1) = 10/512 > 1.25 % >= 1/512.
    assert (interval.low, interval.high) == (1, np.inf)
    exact = quadratic(A).hessian_diagonal()
    assert exact.exact
    assert exact.condition_number("diagonal-median-live").estimate == pytest.approx(8 / 2.5)
    assert exact.condition_number("eigenvalue-absolute-lower-median").low == pytest.approx(8)


def test_medians_of_eigenvalues_are_refused_rather_than_guessed():
    objective = quadratic(np.eye(12), dense_limit=10)
    estimate = objective.hessian_diagonal()
    assert estimate.probes == 100
    with pytest.raises(UsageError, match="median of eigenvalues, which neither"):
        estimate.condition_number("eigenvalue-absolute-lower-median")
    with pytest.raises(UsageError, match="median of eigenvalues"):
        Probe(objective, condition="eigenvalue-signed-lower-median")
    with pytest.raises(UsageError, match=r"12 parameters, more than dense_limit = 10"):
        objective.hessian()
    small = quadratic(np.diag([1.0, 2, 3]), [1, 1, 1])
    probe = Probe(small, curvature_every=1, condition="eigenvalue-signed-lower-median")
    assert probe.step()["condition_number"] == pytest.approx(1.5)


def test_estimated_numbers_stand_in_the_dataset_with_their_errors():
    objective = quadratic(dominated(30), np.ones(30), dense_limit=10)
    probe = Probe(objective, every=0, curvature_every=2, probes=20)
    for _ in range(3):
        probe.step()
    data = probe.dataset()
    assert data["step"].values.tolist() == [0, 2]
    estimate = objective.hessian_diagonal(20)
    for step in (0, 2):
        got = data.sel(step=step)
        assert got["hessian_diagonal"].values.tolist() == estimate.value.tolist()
        assert got["hessian_diagonal_error"].values.tolist() == estimate.standard_error.tolist()
        interval = estimate.condition_number()
        numbers = [float(got[f"condition_number{end}"]) for end in ("", "_low", "_high")]
        assert numbers == [interval.estimate, interval.low, interval.high]
    assert data.attrs["curvature"] == "Hutchinson's estimate"
    assert data["layer"].values.tolist() == ["x"]
    assert data["layer_size"].values.tolist() == [30]
    assert "hessian_eigenvalues" not in data
    assert "loss" not in data


def test_l0_l1_is_the_fit_to_the_smoothness_along_the_run():
    _, _, module, objective = same_case("block", "float64")
    probe = Probe(objective, every=1)
    with pytest.raises(UsageError, match="No directional smoothness"):
        probe.l0_l1()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.05)
    for _ in range(12):
        squared_error(module, objective.batches[0]).backward()
        optimizer.step()
        optimizer.zero_grad()
        probe.step()
    data = probe.dataset()
    norm, smoothness = data["evaluation_gradient_norm"], data["directional_smoothness"]
    assert probe.l0_l1(resamples=20) == fit_smoothness(norm, smoothness, resamples=20)


def test_a_step_of_no_length_and_a_diverged_network_are_nan():
    objective = quadratic(np.eye(3), [1, 1, 1], dense_limit=5)
    probe = Probe(objective, every=1, curvature_every=1)
    still = probe.step()
    assert still["update_norm"] == 0
    assert np.isnan(still["directional_smoothness"])
    assert still["loss"] == 1.5
    module = torch.nn.Linear(2, 1)
    objective = Objective(module, cubes, [torch.ones(3, 2)])
    torch.nn.init.constant_(module.weight, torch.nan)
    probe = Probe(objective, every=1, curvature_every=1)
    torch.nn.init.constant_(module.weight, torch.nan)
    lost = probe.step()
    assert np.isnan([lost["loss"], lost["condition_number"], lost["condition_number_high"]]).all()
    assert np.isnan(lost["hessian_eigenvalues"]).all()
    estimate = objective.hessian_diagonal(20).condition_number()
    assert np.isnan([estimate.estimate, estimate.low, estimate.high]).all()


class OnceDifferentiable(torch.autograd.Function):
    """Second derivatives through it are 0 in PyTorch, without a word."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        return grad.clone()


def linear(**options):
    return Objective(torch.nn.Linear(2, 1), cubes, [torch.ones(3, 2)], **options)


def given_in_turn(*names):
    probe = Probe(linear(), pseudo_every=1)
    for name in names:
        probe.step({name: torch.ones(3)})


MISTAKES = {
    r"determinism is 'maybe'; it must be one of check, eval": lambda: linear(determinism="maybe"),
    r"batches is a tensor": lambda: Objective(torch.nn.Linear(2, 1), cubes, torch.ones(3, 2)),
    r"0 batches and 3 param": lambda: Objective(torch.nn.Linear(2, 1), cubes, []),
    r"1 batches and 0 param": lambda: Objective(torch.nn.Tanh(), cubes, [torch.ones(3)]),
    r"loss_fn gave shape \(3, 1\)": lambda: Objective(
        torch.nn.Linear(2, 1), lambda m, x: m(x), [torch.ones(3, 2)]
    ),
    r"loss_fn gave <class 'float'>": lambda: Objective(
        torch.nn.Linear(2, 1), lambda m, x: 1.0, [torch.ones(3, 2)]
    ),
    r"depends on no parameter": lambda: Objective(
        torch.nn.Linear(2, 1), lambda m, x: x.sum(), [torch.ones(3, 2)]
    ),
    r"vector has shape \(2,\); it must be \(3,\)": lambda: linear().hvp(torch.ones(2)),
    r"probes is 1; give at least 2": lambda: linear().hessian_diagonal(1),
    r"no second derivative": lambda: Objective(
        torch.nn.Linear(2, 1),
        lambda m, x: cubes(OnceDifferentiable.apply, m(x)),
        [torch.ones(3, 2)],
    ).hvp(torch.ones(3)),
    r"There is no condition number 'kappa'": lambda: Probe(linear(), condition="kappa"),
    r"are \(-1, 0, 0, 0, 0\); give 0 or more": lambda: Probe(linear(), every=-1),
    r"are \(0, 0, 0, 0, 0\); give 0 or more": lambda: Probe(linear(), every=0),
    r"needs at least two batches": lambda: Probe(linear(), noise_every=1),
    r"measured at step 0, and none was given": lambda: Probe(linear(), pseudo_every=2).step(),
    r"of mine were given, and before of sgd; give": lambda: given_in_turn("sgd", "mine"),
}


@pytest.mark.parametrize("message", MISTAKES)
def test_mistakes_are_told_in_a_sentence(message, unchecked):
    with pytest.raises(UsageError, match=message):
        MISTAKES[message]()


def test_without_torch_the_import_says_what_to_install(monkeypatch):
    monkeypatch.delitem(sys.modules, "attnscape.torch")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match=r"install the extra attnscape\[torch\]"):
        importlib.import_module("attnscape.torch")


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")  # PyTorch's own import
def test_a_compiled_module_is_measured_as_it_was_written():
    module, batch = torch.nn.Linear(3, 1), torch.randn(8, 3)

    def loss(module, batch):
        return module(batch).square().mean()

    compiled = torch.compile(module, backend="aot_eager")
    objective = Objective(compiled, loss, [batch])
    assert list(objective.parameters) == ["weight", "bias"]
    torch.testing.assert_close(objective.hessian(), Objective(module, loss, [batch]).hessian())
    # One that the loss calls, too.
    through = Objective(module, lambda module, batch: loss(compiled, batch), [batch])
    torch.testing.assert_close(through.hessian(), objective.hessian())


def test_parameters_that_are_unfrozen_or_frozen_later_are_mentioned_once():
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Linear(2, 1))
    module[0].requires_grad_(False)
    optimizer = torch.optim.SGD(module.parameters(), 0.1)
    objective = Objective(module, lambda m, b: m(b).square().mean(), [torch.randn(8, 3)])
    probe = Probe(objective, every=1)
    optimizer.step()
    probe.step()
    module[0].requires_grad_(True)
    module[1].weight.requires_grad_(False)
    sentence = (
        r"0.weight, 0.bias require a gradient now and are not measured and 1.weight require none "
        r"any more and are measured still; make a new Objective"
    )
    optimizer.step()
    with pytest.warns(ChangedParametersWarning, match=sentence) as caught:
        record = probe.step()
    assert "loss" in record
    assert len(caught) == 1
    assert [p.requires_grad for p in module[1].parameters()] == [False, True]
