"""PyTorch's optimizers through the bridge: twins of optax's, closures, and what mistakes say."""

import functools

import numpy as np
import pytest

from attnscape import LinearTransformer, RegressionTask, train
from attnscape.choosing import chosen
from attnscape.errors import UsageError
from attnscape.measures import DirectionalSmoothness, EvaluationLoss, TrainingLoss, at
from attnscape.optimizers import NAMED

pytest.importorskip("torch", reason="torch is not installed")
import torch

from attnscape.interop.torch_optimizers import TorchOptimizer

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


@pytest.mark.parametrize("name", TWINS)
def test_500_steps_of_twins_are_the_same(name):
    result = train(
        TASK, MODEL, {"torch": TorchOptimizer(TWINS[name]), name: NAMED[name]}, (0.005, 0.01),
        (0, 1), steps=500, batch=32, evaluation_batch=64, precision="float64",
        measures=(
            EvaluationLoss(at(0, 1, 100, 500)), TrainingLoss(at(100, 500)),
            DirectionalSmoothness(at(100, 500)),
        ),
    )  # fmt: skip
    assert list(result["optimizer"].values) == ["torch", name]
    for measured in ("loss", "training_loss", "gradient_norm", "directional_smoothness"):
        ours, theirs = (result[measured].sel(optimizer=o).values for o in (name, "torch"))
        assert np.isfinite(ours).any()
        np.testing.assert_allclose(theirs, ours, rtol=1e-6)


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


FILE = """
import torch

def raises(parameters, lr):
    raise ValueError("no luck")

def wrong(parameters, lr):
    return lr

class Late(torch.optim.SGD):
    def step(self, closure=None):
        raise RuntimeError("too late")
"""


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("raises", r"raises failed: ValueError: no luck \(.*own.py, line 5\)"),
        ("wrong", r"wrong gave float; it must give a torch.optim.Optimizer \(.*own.py, line 7\)"),
        ("Late", r"Late failed: RuntimeError: too late \(.*own.py, line 12\)"),
    ],
)
def test_mistakes_are_told_with_file_and_line(name, sentence, tmp_path):
    (tmp_path / "own.py").write_text(FILE)
    own = chosen([f"torch:{tmp_path / 'own.py'}:{name}"])
    with pytest.raises(UsageError, match=sentence):
        train(TASK, MODEL, own, (0.1,), (0,), steps=1, batch=4, evaluation_batch=4)


def test_classes_are_found_by_name():
    found = chosen(["torch:Adam", "torch:torch.optim.NAdam", "torch:torch.optim:RAdam"])
    assert list(found) == ["torch.Adam", "torch.NAdam", "torch.RAdam"]
    assert [optimizer.make for optimizer in found.values()] == [
        torch.optim.Adam, torch.optim.NAdam, torch.optim.RAdam
    ]  # fmt: skip
    with pytest.raises(UsageError, match=r"torch.optim has no 'Adm'"):
        chosen(["torch:Adm"])
