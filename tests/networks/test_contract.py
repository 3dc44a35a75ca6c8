"""The contract of workloads: all built-in ones keep it, and what is wrong is said in a sentence."""

import dataclasses

import pytest

from support import needs_torch

pytestmark = needs_torch
torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from attnscape.networks import WORKLOADS, Metric, check_workload  # noqa: E402
from networks.toy import TOY, toy_data, toy_loss, toy_model  # noqa: E402


@pytest.mark.parametrize("name", WORKLOADS)
def test_built_in_workloads_keep_the_contract(name):
    found = check_workload(WORKLOADS[name])
    failed = [each for each in found if not each.ok]
    if failed and "not installed" in failed[0].sentence:
        pytest.skip(failed[0].sentence)
    assert failed == []
    assert len(found) == 9


def test_a_users_workload_keeps_the_contract():
    assert all(each.ok for each in check_workload(TOY))


class Fixed(nn.Module):
    """Its weights do not depend on the generator."""

    def __init__(self, facts):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(facts["features"], 1))

    def forward(self, inputs):
        return inputs @ self.weight


class Unused(Fixed):
    """A parameter that the loss does not depend on."""

    def __init__(self, facts):
        super().__init__(facts)
        self.weight = nn.Parameter(torch.randn(facts["features"], 1))
        self.spare = nn.Parameter(torch.randn(2))


@pytest.mark.parametrize(
    ("changes", "check", "sentence"),
    [
        ({"sizes": {}}, "is a workload", "add `small`"),
        ({"data": lambda source: 3}, "data", "data gives int; it needs name, digest"),
        ({"data": lambda source: toy_data(source, 10)}, "data", "fewer than a batch of 16"),
        ({"loss": lambda m, b: m(b[0])}, "loss", "is a tensor of shape (16, 1); it must be one"),
        ({"model": lambda facts: 3}, "model", "model gives int; it must give a torch.nn.Module"),
        ({"model": Fixed}, "model", "Every state of PyTorch's generator gives the same weights"),
        ({"model": lambda facts: nn.Tanh()}, "model", "has no parameter that requires"),
        ({"model": Unused}, "loss", "The loss does not depend on spare"),
        ({"loss": lambda module, batch: 1.0}, "loss", "it must be one finite number"),
        (
            {"loss": lambda module, batch: toy_loss(module, batch) * torch.rand(())},
            "deterministic",
            "In eval mode the loss is once",
        ),
        (
            {"metric": Metric("error", lambda m, b: torch.ones(2))},
            "metric",
            "The metric of a batch",
        ),
        ({"loss": lambda m, b: -toy_loss(m, b)}, None, ""),
        (
            {"loss": lambda m, b: toy_loss(m, b).detach() + 0 * toy_loss(m, b)},
            "learns",
            "20 steps of Adam on one batch take its loss from",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(changes, check, sentence, unchecked):
    found = check_workload(dataclasses.replace(TOY, **changes))
    failed = [each for each in found if not each.ok]
    if check is None:
        assert failed == []
        return
    assert [each.check for each in failed] == [check]
    assert sentence in failed[0].sentence


def test_what_is_no_workload_is_refused():
    (found,) = check_workload(toy_model)
    assert not found.ok
    assert "it must be an attnscape.networks.Workload" in found.sentence
