"""All that a PyTorch optimizer and its scheduler remember, as plain values and back.

`Optimizer.load_state_dict` casts tensors to the type of their parameter and knows nothing of
attributes that a class keeps beside `state` and `param_groups`. Here everything that the object
holds is saved with its type, and put into a fresh optimizer of the same parameters. What cannot be
saved exactly is refused: an object of another class, or tensors that share memory.
"""

from __future__ import annotations

import collections
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from attnscape.trees import NotSavableError, Plain

_AS_THEY_ARE = (type(None), bool, int, float, str)
_SEQUENCES = {"list": list, "tuple": tuple, "deque": collections.deque}
_MAPPINGS = {
    "dict": dict,
    "defaultdict": dict,  # of `state`, whose entries are put into a fresh one
    "OrderedDict": collections.OrderedDict,
    "Counter": collections.Counter,
}
_NUMBERS: tuple[Any, ...] = (np.number, np.bool_)
# What every optimizer has, and what no step changes.
_OF_ALL = frozenset(vars(torch.optim.SGD([torch.zeros(1)]))) - {"state", "param_groups"}


def saved(
    optimizer: torch.optim.Optimizer,
    scheduler: torch.optim.lr_scheduler.LRScheduler | None,
    parameters: Sequence[torch.Tensor],
) -> Plain:
    """The state of an optimizer of these parameters, and of its scheduler; not the parameters.

    Raises:
        NotSavableError: If something of it cannot be saved.
    """
    held = vars(optimizer)
    hooks = len(held["_optimizer_step_pre_hooks"]) + len(held["_optimizer_step_post_hooks"])
    if hooks > (scheduler is not None):
        raise NotSavableError("hooks of its own may have a state that nobody can see")
    if any(vars(parameter) for parameter in parameters):
        raise NotSavableError("it keeps something in the parameters themselves")
    encode = Encoder(parameters)
    own = {
        name: encode(value, name)
        for name, value in held.items()
        if name not in _OF_ALL and not is_code(value)
    }
    return {
        "optimizer": own,
        "scheduler": None if scheduler is None else encode(scheduler.state_dict(), "scheduler"),
    }


def restore(
    optimizer: torch.optim.Optimizer,
    scheduler: torch.optim.lr_scheduler.LRScheduler | None,
    parameters: Sequence[torch.Tensor],
    state: Plain,
) -> None:
    """Puts a saved state into an optimizer that was made in the same way and made no step."""
    decode = Decoder(parameters)
    for name, each in state["optimizer"].items():
        value = decode(each)
        if name == "state":
            optimizer.state.clear()
            optimizer.state.update(value)
        elif name == "param_groups":
            groups = optimizer.param_groups  # the same dicts, which others may hold
            groups += [{} for _ in value[len(groups) :]]
            for group, of_group in zip(groups, value, strict=True):
                group.clear()
                group.update(of_group)
        else:
            setattr(optimizer, name, value)
    if scheduler is not None:
        scheduler.load_state_dict(decode(state["scheduler"]))


def is_code(value: object) -> bool:
    """Whether it is a function or class: schedulers, for one, replace the method `step`."""
    return callable(value) and not isinstance(value, torch.nn.Module | torch.optim.Optimizer)


class Encoder:
    """Turns values into plain ones; what it meets twice, it writes once.

    Args:
        parameters: The optimizer's parameters, which are referred to by their numbers.
    """

    def __init__(self, parameters: Sequence[torch.Tensor]) -> None:
        self._numbers = {id(parameter): number for number, parameter in enumerate(parameters)}
        self._memory = {parameter.untyped_storage().data_ptr() for parameter in parameters}
        self._seen: dict[int, tuple[int, object]] = {}  # with the object, so that its id stays its

    def __call__(self, value: Any, where: str) -> Plain:
        if type(value) in _AS_THEY_ARE:
            return value
        if id(value) in self._numbers:
            return {"parameter": self._numbers[id(value)]}
        if id(value) in self._seen:
            return {"same": self._seen[id(value)][0]}
        self._seen[id(value)] = len(self._seen), value
        kind = type(value).__name__
        if type(value) is torch.Tensor:
            return self._tensor(value, where)
        if type(value) is torch.Generator:
            return {"generator": value.get_state().numpy()}
        if type(value) is torch.dtype:
            return {"dtype": str(value).removeprefix("torch.")}
        if type(value) in (*_MAPPINGS.values(), collections.defaultdict):
            entries = [
                [self(k, where), self(each, f"{where}[{k!r:.40}]")] for k, each in value.items()
            ]
            return {kind: entries}
        if type(value) is _SEQUENCES.get(kind):
            entries = [self(each, where) for each in value]
            return {kind: entries, "longest": getattr(value, "maxlen", None)}
        if type(value) is np.ndarray and value.dtype.kind in "biufc":
            return {"array": value.copy()}
        if isinstance(value, _NUMBERS):
            return {"number": np.array(value)}
        raise NotSavableError(f"{where} is {_described(value)}")

    def _tensor(self, value: torch.Tensor, where: str) -> Plain:
        if value.layout is not torch.strided or value.is_quantized or value.device.type != "cpu":
            raise NotSavableError(f"{where} is {_described(value)}")
        memory, size = value.untyped_storage().data_ptr(), value.numel()
        dense = sum((n - 1) * s for n, s in zip(value.shape, value.stride(), strict=True)) + 1
        if size and (memory in self._memory or dense != size):
            raise NotSavableError(f"{where} is a tensor that shares memory")
        self._memory.add(memory)
        flat = value.detach().clone(memory_format=torch.contiguous_format).reshape(-1)
        return {
            "tensor": flat.view(torch.uint8).numpy(),
            "dtype": str(value.dtype).removeprefix("torch."),
            "shape": list(value.shape),
            "stride": list(value.stride()),
            "requires_grad": value.requires_grad,
        }


class Decoder:
    """The reverse of `Encoder`, which meets everything in the same order."""

    def __init__(self, parameters: Sequence[torch.Tensor]) -> None:
        self._parameters = parameters
        self._seen: list[Any] = []

    def __call__(self, plain: Plain) -> Any:
        if type(plain) in _AS_THEY_ARE:
            return plain
        if "parameter" in plain:
            return self._parameters[plain["parameter"]]
        if "same" in plain:
            return self._seen[plain["same"]]
        place = len(self._seen)
        self._seen.append(None)
        value = self._seen[place] = self._made(plain)
        return value

    def _made(self, plain: Plain) -> Any:
        (kind, content), *_ = plain.items()
        if kind == "tensor":
            dtype = getattr(torch, plain["dtype"])
            value = torch.empty_strided(plain["shape"], plain["stride"], dtype=dtype)
            if content.size:  # PyTorch views no empty array as another type
                value.copy_(torch.from_numpy(content.copy()).view(dtype).reshape(plain["shape"]))
            return value.requires_grad_(plain["requires_grad"])
        if kind == "generator":
            generator = torch.Generator()
            generator.set_state(torch.from_numpy(content.copy()))
            return generator
        if kind == "dtype":
            return getattr(torch, content)
        if kind == "number":
            return content[()]
        if kind == "array":
            return content.copy()
        if kind in _MAPPINGS:
            return _MAPPINGS[kind]({self(key): self(each) for key, each in content})
        entries = [self(each) for each in content]
        return (
            collections.deque(entries, plain["longest"])
            if kind == "deque"
            else _SEQUENCES[kind](entries)
        )


def _described(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}, which cannot be saved"
