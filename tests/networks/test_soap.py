"""SOAP of the package pytorch-optimizer, as `transfer` ranks it."""

import dataclasses
import pickle

import numpy as np
import pytest

from support import needs_torch

pytestmark = needs_torch
torch = pytest.importorskip("torch")

from attnscape.experiments.setting import Plan  # noqa: E402
from attnscape.networks import WORKLOADS, NetworkRun  # noqa: E402
from attnscape.networks.steps import steps_of  # noqa: E402
from attnscape.optimizers.pytorch import TorchOptimizer  # noqa: E402
from attnscape.paper.networks import optimizers, transfer  # noqa: E402
from attnscape.paper.networks.transfer import TRANSFER  # noqa: E402
from tests.checkpoint_support import Recorder  # noqa: E402

STEPS = 23  # the preconditioners' bases change every ten


@pytest.fixture
def package():
    return pytest.importorskip("pytorch_optimizer", reason="pytorch-optimizer is not installed")


def _module():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 3, 2), torch.nn.Tanh(), torch.nn.Flatten(), torch.nn.Linear(27, 5)
    )


def _losses(module):
    """Functions that compute the loss of one batch each, and fill `.grad`."""
    generator = torch.Generator().manual_seed(1)

    def backward(inputs):
        module.zero_grad()
        loss = module(inputs).square().mean()
        loss.backward()
        return loss.detach()

    for _ in range(STEPS):
        inputs = torch.randn(8, 1, 4, 4, generator=generator)
        yield lambda inputs=inputs: backward(inputs)


def test_a_network_makes_the_steps_of_the_package(package):
    ours, theirs = _module(), _module()
    steps = steps_of("soap", optimizers.soap(), 0.03, dict(ours.named_parameters()), None)
    plain = package.SOAP(theirs.parameters(), lr=0.03)
    start = [p.detach().clone() for p in theirs.parameters()]
    for backward, oracle in zip(_losses(ours), _losses(theirs), strict=True):
        steps.step(backward)
        oracle()
        plain.step()
    for mine, other, before in zip(ours.parameters(), theirs.parameters(), start, strict=True):
        assert torch.equal(mine, other)
        assert not torch.equal(mine, before)


def test_the_linear_model_gives_it_one_matrix_at_a_time(package):
    generator = np.random.default_rng(0)
    leaves = [generator.normal(size=(2, 3, 3)) for _ in "PQ"]
    matrices = [torch.tensor(m, requires_grad=True) for leaf in leaves for m in leaf]
    run, plain = optimizers.soap().start(0.03, leaves), package.SOAP(matrices, lr=0.03)
    for _ in range(STEPS):
        gradient = [generator.normal(size=leaf.shape) for leaf in leaves]
        run.step(lambda gradient=gradient: (1.0, gradient))
        for matrix, of_matrix in zip(matrices, np.concatenate(gradient), strict=True):
            matrix.grad = torch.from_numpy(of_matrix)
        plain.step()
    expected = torch.stack([m.detach() for m in matrices]).numpy()
    np.testing.assert_array_equal(np.concatenate(leaves), expected)


@pytest.mark.usefixtures("package")
def test_its_runs_are_found_again_go_to_other_processes_and_continue():
    workload = WORKLOADS["softmax-regression"]
    size = workload.sizes["tiny"]
    data = workload.data("packaged", **size.data)
    run = NetworkRun(workload, True, data, size, "soap", optimizers.soap(), 0.1, 0, STEPS)
    assert run.identity.reasons == ()
    assert run.at_once > 0
    assert pickle.loads(pickle.dumps(run.factory)) == run.factory
    newer = TorchOptimizer(optimizers.Soap(("pytorch-optimizer 0",)))
    assert dataclasses.replace(run, factory=newer).run_id != run.run_id
    whole = run.run(checkpoints=(recorder := Recorder()))
    for *_, state in recorder.offered[1::7]:
        assert run.run(checkpoints=Recorder({"seed-0": state})).identical(whole)


def test_without_the_package_a_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setattr(transfer, "has_soap", lambda: False)
    assert "install the extra with pip install 'attnscape[networks]'" in TRANSFER.obstacle(Plan())
    without = dataclasses.replace(TRANSFER, optimizers=("sgdm", "adam"))
    assert without.obstacle(Plan()) == ""
