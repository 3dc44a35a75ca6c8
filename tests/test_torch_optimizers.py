"""PyTorch's optimizers through the bridge: twins of optax's, closures, and what mistakes say."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest

from attnscape import LinearTransformer, RegressionTask, train
from attnscape.errors import UsageError
from attnscape.measures import DirectionalSmoothness, EvaluationLoss, TrainingLoss, at
from attnscape.optimizers import NAMED
from attnscape.optimizers.references import resolve

pytest.importorskip("torch", reason="torch is not installed")
import torch

from attnscape.optimizers.pytorch import ClosureWarning, TorchOptimizer

TASK = RegressionTask(dim=3, context=6)
MODEL = functools.partial(LinearTransformer.init, layers=2, dim=3)


def adam(parameters, lr):
    return torch.optim.Adam(parameters, lr=lr, betas=(0.9, 0.9), eps=1e-8)


class Lion(torch.optim.Optimizer):
    """Chen et al. (2023), algorithm 2, without weight decay."""

    def __init__(self, parameters, lr):
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self):  # pyright: ignore[reportIncompatibleMethodOverride]
        for group in self.param_groups:
            for parameter in group["params"]:
                m = self.state[parameter].setdefault("m", torch.zeros_like(parameter))
                parameter.sub_(torch.sign(0.9 * m + 0.1 * parameter.grad), alpha=group["lr"])
                m.mul_(0.99).add_(parameter.grad, alpha=0.01)


TWINS = {
    "sgdm": functools.partial(torch.optim.SGD, momentum=0.9),
    "adam": adam,
    "lion": Lion,
}


STEPS = 150


@pytest.fixture(scope="module")
def twins():
    """All of them and optax's at once, which is compiled once."""
    outside = {f"torch-{name}": TorchOptimizer(make) for name, make in TWINS.items()}
    inside = {name: NAMED[name] for name in TWINS}
    return train(
        TASK, MODEL, outside | inside, (0.005, 0.01), (0, 1), steps=STEPS, batch=32,
        evaluation_batch=64, precision="float64",
        measures=(
            EvaluationLoss(at(0, 1, 50, STEPS)), TrainingLoss(at(50, STEPS)),
            DirectionalSmoothness(at(50, STEPS)),
        ),
    )  # fmt: skip


def test_optimizers_keep_the_order_in_which_they_were_given(twins):
    assert list(twins["optimizer"].values) == [*(f"torch-{name}" for name in TWINS), *TWINS]


@pytest.mark.parametrize("name", TWINS)
def test_steps_of_twins_are_the_same(name, twins):
    for measured in ("loss", "training_loss", "gradient_norm", "directional_smoothness"):
        ours, theirs = (twins[measured].sel(optimizer=o).values for o in (name, f"torch-{name}"))
        assert np.isfinite(ours).any()
        np.testing.assert_allclose(theirs, ours, rtol=1e-6)


def test_an_optimizer_gets_one_matrix_at_a_time():
    """As from a PyTorch network of two layers: P and Q of each are parameters of their own."""
    shapes = []

    def muon(parameters, lr):
        shapes.extend(tuple(parameter.shape) for parameter in parameters)
        return torch.optim.Muon(parameters, lr=lr, weight_decay=0.0)  # refuses other than matrices

    result = train(
        TASK, MODEL, {"muon": TorchOptimizer(muon)}, (0.02,), (0,), steps=30, batch=64,
        evaluation_batch=256, measures=(EvaluationLoss(at(0, 30)),),
    )  # fmt: skip
    assert set(shapes) == {(3, 3)}
    assert len(shapes) == 4
    first, last = result["loss"].values.ravel()
    assert last < first


def test_leaves_of_every_number_of_axes_are_stepped_and_keep_their_shape():
    shapes = [(), (3,), (2, 3), (2, 3, 2), (2, 2, 1, 3)]
    leaves = [np.full(shape, 2, np.float32) for shape in shapes]
    run = TorchOptimizer(torch.optim.SGD).start(0.5, leaves)
    gradient = [
        jnp.asarray(np.arange(leaf.size, dtype=float).reshape(leaf.shape)) for leaf in leaves
    ]
    run.step(lambda: (0.0, gradient))
    for leaf, slope, measured in zip(leaves, gradient, run.eval_params(), strict=True):
        np.testing.assert_array_equal(leaf, 2 - 0.5 * np.asarray(slope))
        np.testing.assert_array_equal(measured, leaf)
        assert not np.shares_memory(measured, leaf)


def test_closures_are_called_on_the_same_prompts():
    losses = []

    class Recording(torch.optim.LBFGS):
        def step(self, closure):
            def seen():
                loss = closure()
                losses.append(
                    (loss.item(), [p.grad.clone() for p in self.param_groups[0]["params"]])
                )
                return loss

            return super().step(seen)

    make = functools.partial(Recording, max_iter=8, line_search_fn="strong_wolfe")
    result = train(
        TASK, MODEL, {"lbfgs": TorchOptimizer(make)}, (1.0,), (0,), steps=1, batch=256, clip=None,
        measures=(EvaluationLoss(at(0, 1)),),
    )  # fmt: skip
    assert len(losses) > 4
    # One step of LBFGS is several evaluations on one batch; there it ends below where it began.
    assert min(loss for loss, _ in losses) < 0.9 * losses[0][0]
    assert result["loss"].isel(step=1).item() < result["loss"].isel(step=0).item()


def test_optimizers_with_another_evaluation_point_are_measured_there():
    class Doubled(torch.optim.SGD):
        def eval(self):
            with torch.no_grad():
                for parameter in self.param_groups[0]["params"]:
                    parameter.mul_(2)

        def train(self):
            with torch.no_grad():
                for parameter in self.param_groups[0]["params"]:
                    parameter.div_(2)

    options = {"steps": 5, "batch": 16, "measures": (EvaluationLoss(at(0, 5)),)}
    both = {"doubled": TorchOptimizer(Doubled), "plain": TorchOptimizer(torch.optim.SGD)}
    result = train(TASK, MODEL, both, (0.01,), (0,), **options)
    assert (result["loss"].sel(optimizer="doubled") != result["loss"].sel(optimizer="plain")).all()
    alone = train(TASK, MODEL, {"doubled": both["doubled"]}, (0.01,), (0,), **options)
    assert alone["loss"].identical(result["loss"].sel(optimizer=["doubled"]))


def test_divergence_is_recorded_at_the_step_that_it_is_in_jax():
    both = {"torch": TorchOptimizer(torch.optim.SGD), "sgd": NAMED["sgd"]}
    result = train(
        TASK, MODEL, both, (1e3,), (0, 1), steps=50, batch=16, clip=None,
        measures=(EvaluationLoss(at(0, 50)),),
    )  # fmt: skip
    at_steps = result["diverged_at"].isel(learning_rate=0)
    assert (at_steps > 0).all()
    assert (at_steps.sel(optimizer="torch") == at_steps.sel(optimizer="sgd")).all()


def one(optimizer, *, rate=0.01, steps=3, **changes):
    arguments = {"batch": 16, "evaluation_batch": 16, "measures": (EvaluationLoss(at(0, 3)),)}
    arguments |= changes
    own = {"own": TorchOptimizer(optimizer)}
    return train(TASK, MODEL, own, (rate,), (0, 1), steps=steps, **arguments)


class Bare(torch.optim.Optimizer):
    """Gradient descent by hand, to be written wrongly in various ways."""

    def __init__(self, parameters, lr):
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def descend(self):
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.sub_(parameter.grad, alpha=group["lr"])

    def step(self, closure=None):
        self.descend()


def test_an_optimizer_that_does_not_call_the_closure_trains():
    expected = one(torch.optim.SGD)["loss"]
    assert one(Bare)["loss"].identical(expected)
    assert (expected.isel(step=-1) != expected.isel(step=0)).all()


def test_a_closure_that_is_asked_for_and_not_called_is_mentioned():
    class Asks(Bare):
        def step(self, closure):  # pyright: ignore[reportIncompatibleMethodOverride]
            self.descend()

    with pytest.warns(ClosureWarning, match=r"Asks asks for a closure and did not call it; its"):
        result = one(Asks)
    assert result["loss"].identical(one(torch.optim.SGD)["loss"])


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_a_closure_is_one_function_in_the_precision_of_the_run(precision):
    seen = []

    class Looks(Bare):
        def step(self, closure):  # pyright: ignore[reportIncompatibleMethodOverride]
            losses = [closure()]
            gradients = [p.grad.clone() for p in self.param_groups[0]["params"]]
            squares = sum((g**2).sum() for g in gradients)
            with torch.no_grad():
                for parameter, g in zip(self.param_groups[0]["params"], gradients, strict=True):
                    parameter.sub_(g, alpha=1e-4)
            losses.append(closure())
            seen.append((*losses, 1e-4 * squares, squares.sqrt()))

    options = {"precision": precision, "steps": 1}
    one(Looks, clip=0.01, **options)
    for first, second, decrease, norm in seen[:2]:  # of a seed each
        assert str(first.dtype) == f"torch.{precision}"
        assert norm.item() == pytest.approx(0.01, rel=1e-5)
        # The loss changes as its gradient says, to second order: 1e-4 times the curvature.
        if precision == "float64":
            assert (first - second).item() == pytest.approx(decrease.item(), rel=0.02)


def test_gradients_that_are_edited_or_freed_are_copies():
    class Edits(Bare):
        def step(self, closure=None):
            self.descend()
            for parameter in self.param_groups[0]["params"]:
                parameter.grad.zero_()
                parameter.grad.data.fill_(7)
                parameter.grad = None

    options = {"measures": (EvaluationLoss(at(0, 3)), TrainingLoss(at(0, 3)))}
    edited, plain = one(Edits, **options), one(torch.optim.SGD, **options)
    assert edited.equals(plain)


class Assigns(Bare):
    """Puts new tensors in the place of the old ones, as many codes for SAM do."""

    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.data = parameter.data.sub(parameter.grad, alpha=group["lr"])


def test_parameters_that_are_assigned_are_followed():
    assert one(Assigns)["loss"].identical(one(torch.optim.SGD)["loss"])


def test_parameters_that_are_assigned_nan_diverge():
    class Lost(Assigns):
        def step(self, closure=None):
            for parameter in self.param_groups[0]["params"]:
                parameter.data = parameter.data * float("nan")

    assert (one(Lost)["diverged_at"] == 1).all()


def test_a_closure_sees_parameters_that_are_assigned():
    losses = []

    class Twice(Assigns):
        def step(self, closure):  # pyright: ignore[reportIncompatibleMethodOverride]
            losses.append(closure().item())
            super().step()
            losses.append(closure().item())

    one(Twice, steps=1, rate=0.5)
    assert losses[0] != losses[1]


def test_gradients_that_a_step_deletes_come_back_with_the_closure():
    class Sharpness(Bare):
        """Foret et al. (2021), with a radius of 0.05."""

        def step(self, closure=None):
            assert closure is not None
            closure()
            parameters = self.param_groups[0]["params"]
            with torch.no_grad():
                norm = sum((p.grad**2).sum() for p in parameters).sqrt()
                moves = [0.05 * p.grad / norm for p in parameters]
                for parameter, move in zip(parameters, moves, strict=True):
                    parameter.add_(move)
            self.zero_grad(set_to_none=True)
            closure()
            with torch.no_grad():
                for parameter, move in zip(parameters, moves, strict=True):
                    parameter.sub_(move)
            self.descend()

    result, plain = one(Sharpness), one(torch.optim.SGD)
    assert (result["loss"].isel(step=-1) != plain["loss"].isel(step=-1)).all()
    assert (result["status"] == 0).all()


class Noisy(Bare):
    @torch.no_grad()
    def step(self, closure=None):
        self.descend()
        for parameter in self.param_groups[0]["params"]:
            length = 1e-2 * np.random.random()  # noqa: NPY002 - the global generator, as users do
            parameter.add_(torch.randn_like(parameter), alpha=length)


def test_noise_of_a_run_is_reproducible_and_its_own():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = one(Noisy)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    np.random.seed(3)  # noqa: NPY002
    assert one(Noisy).identical(first)
    together = {"noisy": TorchOptimizer(Noisy), "other": TorchOptimizer(Noisy)}
    both = train(
        TASK, MODEL, together, (0.01, 0.02), (1,), steps=3, batch=16, evaluation_batch=16,
        measures=(EvaluationLoss(at(0, 3)),),
    )  # fmt: skip
    alone = first["loss"].sel(seed=1, learning_rate=0.01, optimizer="own")
    assert (both["loss"].sel(seed=1, learning_rate=0.01) == alone).all()


FILE = """
import torch

def raises(parameters, lr):
    raise ValueError("no luck")

def wrong(parameters, lr):
    return lr

def groups(parameters, lr):
    return torch.optim.SGD([{"params": parameters[:1]}, {"params": parameters[1:], "lr": 0.1}], lr)

def forgets(parameters, lr):
    return torch.optim.SGD(parameters[:1], lr)

def strangers(parameters, lr):
    return torch.optim.SGD([*parameters, torch.zeros(3, requires_grad=True)], lr)

def no_rate(parameters):
    return torch.optim.SGD(parameters, 0.1)

def leaves(parameters, lr):
    raise SystemExit(0)

class Doubles(torch.optim.SGD):
    def step(self, closure=None):
        for parameter in self.param_groups[0]["params"]:
            parameter.data = parameter.data.double()

class Late(torch.optim.SGD):
    def step(self, closure=None):
        raise RuntimeError("too late")
"""


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("raises", r"raises failed: ValueError: no luck \(.*own.py, line 5\)"),
        ("wrong", r"wrong gave float; it must give a torch.optim.Optimizer \(.*own.py, line 7\)"),
        (
            "forgets",
            r"param groups of forgets leave out parameters number \[1, 2, 3\]; .*own.py, line 13",
        ),
        ("strangers", r"The param groups of strangers hold other tensors; .*own.py, line 16"),
        ("no_rate", r"no_rate cannot be called with \(parameters, lr=rate\), .*own.py, line 19"),
        ("leaves", r"leaves failed: SystemExit: 0 \(.*own.py, line 23\)"),
        ("Doubles", r"turned a parameter of float32 and shape \(3, 3\) into float64"),
        ("Late", r"Late failed: RuntimeError: too late \(.*own.py, line 32\)"),
    ],
)
def test_mistakes_are_told_with_file_and_line(name, sentence, tmp_path):
    (tmp_path / "own.py").write_text(FILE)
    own = resolve([f"torch:{tmp_path / 'own.py'}:{name}"])
    with pytest.raises(UsageError, match=sentence):
        train(TASK, MODEL, own, (0.1,), (0,), steps=1, batch=4, evaluation_batch=4)


def test_param_groups_may_differ(tmp_path):
    (tmp_path / "own.py").write_text(FILE)
    own = resolve([f"torch:{tmp_path / 'own.py'}:groups"])
    result = train(TASK, MODEL, own, (0.1,), (0,), steps=1, batch=4, evaluation_batch=4)
    assert (result["status"] == 0).all()


def test_classes_are_found_by_name():
    found = resolve(["torch:Adam", "torch:torch.optim.NAdam", "torch:torch.optim:RAdam"])
    assert list(found) == ["torch.Adam", "torch.NAdam", "torch.RAdam"]
    assert [optimizer.make for optimizer in found.values()] == [
        torch.optim.Adam, torch.optim.NAdam, torch.optim.RAdam
    ]  # fmt: skip
    with pytest.raises(UsageError, match=r"torch.optim has no 'Adm'"):
        resolve(["torch:Adm"])


def halving(parameters, lr):
    optimizer = torch.optim.SGD(parameters, lr=lr)
    return optimizer, torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)


def test_a_scheduler_beside_the_optimizer_makes_a_step_after_each_of_its_steps():
    leaves = [np.zeros(2, np.float32)]
    run = TorchOptimizer(halving).start(1.0, leaves)
    for expected in (-1.0, -1.5, -1.75):
        run.step(lambda: (0.0, [jnp.ones(2)]))
        np.testing.assert_array_equal(leaves[0], expected)


@pytest.mark.parametrize(
    ("scheduler", "given"),
    [
        (lambda optimizer: torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer), "ReduceLR"),
        (lambda optimizer: "cosine", "str"),
        (
            lambda optimizer: torch.optim.lr_scheduler.StepLR(
                torch.optim.SGD([torch.zeros(1)], lr=1.0), 1
            ),
            "StepLR",
        ),
    ],
    ids=["a metric", "no scheduler", "another optimizer's"],
)
def test_something_else_beside_the_optimizer_is_refused(scheduler, given):
    def make(parameters, lr):
        optimizer = torch.optim.SGD(parameters, lr=lr)
        return optimizer, scheduler(optimizer)

    with pytest.raises(UsageError, match=f"{given}.* beside its optimizer; it must be a scheduler"):
        TorchOptimizer(make).start(1.0, [np.zeros(2, np.float32)])
