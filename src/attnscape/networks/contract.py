"""The contract of a workload, checked on its size `tiny`, or else `small`."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from attnscape.networks.generators import own_random_numbers
from attnscape.networks.streams import initial_module
from attnscape.networks.workload import Batch, Data, Size, SizeName, Source, Workload, described
from attnscape.validation import CheckResult
from attnscape.validation._result import require, run_check

_UPDATES = 20


@own_random_numbers()
def check_workload(thing: Any, source: Source = "packaged") -> list[CheckResult]:
    """Checks a workload: its data, model, loss and metric.

    Args:
        thing: A `Workload`.
        source: Where its data come from.

    Examples:
        >>> from attnscape.networks import WORKLOADS, check_workload
        >>> all(each.ok for each in check_workload(WORKLOADS["softmax-regression"]))
        True
    """
    first = run_check("is a workload", lambda: _is_workload(thing))
    if not first.ok:
        return [first]
    checks: list[tuple[str, Callable[[_Parts], str]]] = [
        ("batches", _batches),
        ("fixed batches", _fixed),
        ("model", _model),
        ("loss", _loss),
        ("deterministic", _deterministic),
        ("metric", _metric),
        ("learns", _learns),
    ]
    made: list[_Parts] = []
    loaded = run_check("data", lambda: _data(thing, source, made))
    found = [first, loaded]
    for name, check in checks:
        if not found[-1].ok:
            break  # later checks need what this one checks
        found.append(run_check(name, functools.partial(check, made[0])))
    return found


class _Parts:
    """The parts of a workload at one size."""

    def __init__(self, workload: Workload, size: Size, data: Data) -> None:
        self.workload, self.size, self.data = workload, size, data
        self.batch: Batch = data.fixed(size.batch, 1)[0]

    def module(self, seed: int = 0) -> nn.Module:
        return initial_module(self.workload, self.data, self.size, seed)


def _is_workload(thing: Any) -> str:
    require(
        isinstance(thing, Workload),
        f"It is {type(thing).__name__}; it must be an attnscape.networks.Workload.",
    )
    require(
        re.fullmatch(r"\w[\w.,=+-]*", thing.name),
        f"Its name is {thing.name!r}; give letters, digits and any of '_.,=+-', as in file names.",
    )
    require("small" in thing.sizes, f"Its sizes are {', '.join(thing.sizes)}; add `small`.")
    return f"It has the sizes {', '.join(thing.sizes)}."


def _data(workload: Workload, source: Source, made: list[_Parts]) -> str:
    name: SizeName = "tiny" if "tiny" in workload.sizes else "small"
    size = workload.sizes[name]
    data = workload.data(source, **size.data)
    require(
        _is(data, Data),
        f"data gives {type(data).__name__}; it needs name, digest, facts, examples, batches and "
        "fixed (attnscape.networks.Data).",
    )
    require(
        data.examples >= size.batch,
        f"There are {data.examples} training examples, fewer than a batch of {size.batch}.",
    )
    made.append(_Parts(workload, size, data))
    return f"{data.name}: {data.examples:,} training examples, at the size {name}."


def _batches(parts: _Parts) -> str:
    def batches(seed: int) -> list[Batch]:
        return list(itertools.islice(parts.data.batches(parts.size.batch, seed), 3))

    one, same, other = batches(0), batches(0), batches(1)
    require(_equal(one, same), "batches gives other batches for the same seed.")
    require(not _equal(one, other), "batches gives the same batches for every seed.")
    for tensor in one[0]:
        require(
            len(tensor) == parts.size.batch,
            f"A batch of {parts.size.batch} examples has a tensor of shape {tuple(tensor.shape)}; "
            "the first axis is the example.",
        )
    shapes = ", ".join(str(tuple(tensor.shape)) for tensor in one[0])
    return f"A batch has the shapes {shapes}; its seed decides which examples are in it."


def _fixed(parts: _Parts) -> str:
    for test in (False, True):
        count = parts.size.evaluations
        batches = list(parts.data.fixed(parts.size.batch, count, test=test))
        again = list(parts.data.fixed(parts.size.batch, count, test=test))
        kind = "test" if test else "training"
        require(batches, f"There is no fixed batch of {kind} examples.")
        require(_equal(batches, again), f"fixed gives other batches of {kind} examples each time.")
    return "Fixed batches of training and of test examples stay the same."


def _model(parts: _Parts) -> str:
    module = parts.module()
    require(
        _is(module, nn.Module),
        f"model gives {type(module).__name__}; it must give a torch.nn.Module.",
    )
    weights = [p for p in module.parameters() if p.requires_grad]
    require(weights, "The model has no parameter that requires a gradient.")
    same = parts.module().state_dict()
    require(
        all(torch.equal(value, same[name]) for name, value in module.state_dict().items()),
        "The same state of PyTorch's generator gives other weights.",
    )
    other = list(parts.module(1).parameters())
    require(
        any(not torch.equal(a, b) for a, b in zip(module.parameters(), other, strict=True)),
        "Every state of PyTorch's generator gives the same weights; draw them by torch.nn.init.",
    )
    return f"It has {sum(p.numel() for p in weights):,} parameters."


def _loss(parts: _Parts) -> str:
    module = parts.module()
    loss = parts.workload.loss(module, parts.batch)
    require(
        _is(loss, torch.Tensor) and loss.numel() == 1 and bool(torch.isfinite(loss)),
        f"The loss of a batch is {described(loss)}; it must be one finite number.",
    )
    loss.backward()
    unused = [n for n, p in module.named_parameters() if p.requires_grad and p.grad is None]
    require(not unused, f"The loss does not depend on {', '.join(unused)}; freeze or remove them.")
    return f"The loss of a batch at initialisation is {loss.item():.3g}."


def _deterministic(parts: _Parts) -> str:
    module = parts.module().eval()
    with torch.no_grad():
        first, second = (parts.workload.loss(module, parts.batch).item() for _ in range(2))
    require(first == second, f"In eval mode the loss is once {first:.6g} and once {second:.6g}.")
    return "In eval mode the loss of a batch is the same each time."


def _metric(parts: _Parts) -> str:
    module = parts.module().eval()
    test = parts.data.fixed(parts.size.batch, 1, test=True)[0]
    with torch.no_grad():
        value = parts.workload.metric.of(module, test)
    require(
        _is(value, torch.Tensor) and value.numel() == 1 and bool(torch.isfinite(value)),
        f"The metric of a batch is {described(value)}; it must be one finite number.",
    )
    return f"{parts.workload.metric.name} at initialisation is {value.item():.3g}."


def _learns(parts: _Parts) -> str:
    module = parts.module().train()
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)
    with torch.no_grad():
        before = parts.workload.loss(module.eval(), parts.batch).item()
    for _ in range(_UPDATES):
        optimizer.zero_grad()
        parts.workload.loss(module.train(), parts.batch).backward()
        optimizer.step()
    with torch.no_grad():
        after = parts.workload.loss(module.eval(), parts.batch).item()
    require(
        after < before,
        f"{_UPDATES} steps of Adam on one batch take its loss from {before:.4g} to {after:.4g}.",
    )
    return f"{_UPDATES} steps of Adam on one batch take its loss from {before:.3g} to {after:.3g}."


def _equal(one: list[Batch], other: list[Batch]) -> bool:
    return len(one) == len(other) and all(
        len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
        for a, b in zip(one, other, strict=True)
    )


def _is(thing: object, kind: type) -> bool:
    """`isinstance` for what a user's function gave, whatever its signature promises."""
    return isinstance(thing, kind)
