"""PyTorch's optimizers are saved with all that they hold, or refused with the reason."""

import collections
import functools

import numpy as np
import pytest

from attnscape import LinearTransformer, RegressionTask, train
from attnscape.measures import DirectionalSmoothness, EvaluationLoss, at, every
from attnscape.trees import NotSavableError
from tests.checkpoint_support import Recorder, from_bytes, to_bytes

pytest.importorskip("torch", reason="torch is not installed")
import torch

from attnscape.optimizers import _torch_saved
from attnscape.optimizers.pytorch import TorchOptimizer

STEPS = 20


class Own(torch.optim.Optimizer):
    """Attributes beside the state, random numbers of three generators, a queue, other types."""

    def __init__(self, parameters, lr):
        super().__init__(parameters, {"lr": lr, "wide": torch.float64})
        self.count, self.last, self.mean = 0, collections.deque(maxlen=3), np.zeros(2)
        self.own = torch.Generator().manual_seed(3)

    @torch.no_grad()
    def step(self):  # pyright: ignore[reportIncompatibleMethodOverride]
        self.count += 1
        self.mean = 0.5 * self.mean + np.random.random(2)  # noqa: NPY002
        for group in self.param_groups:
            for parameter in group["params"]:
                state = self.state[parameter]
                noise = torch.rand(1) + torch.rand(1, generator=self.own)
                before = state.get("sum", torch.zeros_like(parameter, dtype=group["wide"]))
                state["sum"] = before / 3 + parameter.grad
                state["seen"] = state["sum"] > 0.1
                state["few"] = parameter.grad.bfloat16().mT
                self.last.append(state["few"])
                change = state["sum"] + state["few"].mT + 1e-3 * noise + 1e-3 * self.mean[0]
                change = change / self.count + 1e-3 * len(self.last)
                parameter.sub_(group["lr"] * change.to(parameter.dtype))


class Elsewhere(torch.optim.SGD):
    """Measured at another point than that of its gradients; there and back again rounds."""

    def eval(self):
        self._move(1.1)

    def train(self):
        self._move(1 / 1.1)

    @torch.no_grad()
    def _move(self, factor):
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.mul_(factor)


def scheduled(parameters, lr):
    optimizer = torch.optim.SGD(parameters, lr=lr, momentum=0.9)
    return optimizer, torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=STEPS + 5)


def in_a_row(parameters, lr):
    optimizer = torch.optim.AdamW(parameters, lr=lr, amsgrad=True)
    schedulers = torch.optim.lr_scheduler
    parts = [
        schedulers.LambdaLR(optimizer, lambda step: 1 / (1 + step)),
        schedulers.MultiStepLR(optimizer, [3, 5]),
        schedulers.CosineAnnealingWarmRestarts(optimizer, 4),
    ]
    return optimizer, schedulers.SequentialLR(optimizer, parts, [4, 11])


KINDS = {
    "adam": torch.optim.Adam,
    "lbfgs": functools.partial(torch.optim.LBFGS, history_size=4, max_iter=2),
    "rprop": torch.optim.Rprop,
    "asgd": torch.optim.ASGD,
    "muon": torch.optim.Muon,
    "own": Own,
    "elsewhere": Elsewhere,
    "scheduled": scheduled,
    "in-a-row": in_a_row,
}


@pytest.mark.parametrize(("precision", "steps"), [("float32", (1, 3, 20)), ("float64", (14,))])
def test_every_kind_is_continued_bit_for_bit(precision, steps):
    run = functools.partial(
        train, RegressionTask(dim=2, context=3),
        functools.partial(LinearTransformer.init, layers=2, dim=2),
        {name: TorchOptimizer(kind) for name, kind in KINDS.items()}, 0.01, (3,), steps=STEPS,
        batch=8, measures=(EvaluationLoss(every(6)), DirectionalSmoothness(at(2, 13))),
        evaluation_batch=8, precision=precision,
    )  # fmt: skip
    whole = run(checkpoints=(recorder := Recorder()))
    assert (whole["diverged_at"] < 0).all()
    offered = {step: state for _, step, state in recorder.offered[:-1]}
    assert {1, 3, 6, 12, 14, 20} <= offered.keys()
    for step in steps:
        assert run(checkpoints=Recorder({"seed-3": offered[step]})).identical(whole)


def parameters_of(*numbers):
    return [torch.tensor(each, requires_grad=True) for each in numbers]


def test_what_is_read_is_what_was_saved():
    made = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        parameters = parameters_of([[1.0, 2.0]], [[3.0, 4.0], [5.0, 6.0]])
        optimizer = Own(parameters, lr=0.1)
        for _ in range(3 * (1 - seed)):
            for parameter in parameters:
                parameter.grad = torch.rand_like(parameter)
            with np.errstate(all="raise"):
                np.random.seed(0)  # noqa: NPY002
                optimizer.step()
        made.append((optimizer, parameters))
    (old, of_old), (new, of_new) = made
    plain = from_bytes(to_bytes(_torch_saved.saved(old, None, of_old)))
    _torch_saved.restore(new, None, of_new, plain)
    assert new.count == old.count == 3
    assert new.last.maxlen == 3
    assert len(new.last) == 3
    assert new.param_groups[0]["params"][0] is of_new[0]
    assert new.param_groups[0]["wide"] is torch.float64
    few = new.state[of_new[1]]["few"]
    assert new.last[-1] is few  # one object in two places stays one
    assert few.dtype is torch.bfloat16
    assert few.stride() == old.state[of_old[1]]["few"].stride()
    for key, value in old.state[of_old[1]].items():
        assert torch.equal(value, new.state[of_new[1]][key])
        assert value.dtype is new.state[of_new[1]][key].dtype
    assert torch.equal(torch.rand(3, generator=old.own), torch.rand(3, generator=new.own))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.bool], ids=str)
def test_empty_tensors_are_read(dtype):
    plain = from_bytes(to_bytes(_torch_saved.Encoder(())(torch.zeros(2, 0, dtype=dtype), "it")))
    read = _torch_saved.Decoder(())(plain)
    assert (read.shape, read.dtype) == ((2, 0), dtype)


def holding(**attributes):
    parameters = parameters_of([1.0, 2.0])
    optimizer = torch.optim.SGD(parameters, lr=0.1)
    for name, value in attributes.items():
        setattr(optimizer, name, value)
    return optimizer, parameters


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        (
            holding(inner=torch.optim.SGD(parameters_of([1.0]), lr=1)),
            "inner is torch.optim.sgd.SGD",
        ),
        (holding(net=torch.nn.Linear(1, 1)), "net is torch.nn.modules.linear.Linear, which cannot"),
        (
            holding(words={"a": [object()]}),
            r"words\['a'\] is builtins.object, which cannot be saved",
        ),
        (holding(number=1j), "number is builtins.complex"),
        (holding(sparse=torch.eye(2).to_sparse()), "sparse is torch.Tensor"),
    ],
    ids=["optimizer", "module", "object", "complex", "sparse"],
)
def test_what_is_unknown_is_refused(made, sentence):
    optimizer, parameters = made
    with pytest.raises(NotSavableError, match=sentence):
        _torch_saved.saved(optimizer, None, parameters)


def test_tensors_that_share_memory_are_refused():
    optimizer, parameters = holding()
    optimizer.state[parameters[0]]["alias"] = parameters[0].detach()
    with pytest.raises(NotSavableError, match=r"state\[.*alias'\] is a tensor that shares memory"):
        _torch_saved.saved(optimizer, None, parameters)
    both = torch.zeros(4)
    optimizer, parameters = holding(parts=[both[:2], both[2:]])
    with pytest.raises(NotSavableError, match="parts is a tensor that shares memory"):
        _torch_saved.saved(optimizer, None, parameters)


def test_hooks_and_what_is_kept_in_parameters_are_refused():
    optimizer, parameters = holding()
    parameters[0].momentum = 1
    with pytest.raises(NotSavableError, match="keeps something in the parameters"):
        _torch_saved.saved(optimizer, None, parameters)
    optimizer, parameters = holding()
    optimizer.register_step_pre_hook(lambda *_: None)
    with pytest.raises(NotSavableError, match="hooks of its own"):
        _torch_saved.saved(optimizer, None, parameters)
