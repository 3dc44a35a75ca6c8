"""All that a network remembers between two updates, as plain values and back.

These are its parameters, its buffers (also those that `state_dict` leaves out), and what its own
classes keep as attributes, such as a count or the last hidden state. PyTorch's own classes keep
nothing but parameters and buffers.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from attnscape.optimizers._torch_saved import Decoder, Encoder, is_code
from attnscape.trees import NotSavableError, Plain

_OF_ALL = frozenset(vars(nn.Module()))


class ModuleState:
    """Saves and restores the state of a network.

    Attributes of a kind that cannot be saved, such as a configuration, must not change.

    Args:
        module: The network, as it was made.

    Examples:
        >>> import torch
        >>> from attnscape.networks.module_state import ModuleState
        >>> module = torch.nn.BatchNorm1d(2)
        >>> state = ModuleState(module)
        >>> before = state.save()
        >>> _ = module(torch.ones(3, 2))  # its running averages change
        >>> state.restore(before)
        >>> module.running_mean.tolist(), int(module.num_batches_tracked)
        ([0.0, 0.0], 0)
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._constant = dict[str, str | None]()
        for name, value in self._own():
            try:
                self._encoder()(value, name)
            except NotSavableError:
                self._constant[name] = _digest(value)

    def save(self) -> Plain:
        """The state.

        Raises:
            NotSavableError: If an attribute has changed that cannot be saved, or tensors share
                memory.
        """
        of_parameters, encode = Encoder(()), self._encoder()
        parameters = self._module.named_parameters()
        own = dict(self._own())
        for name, digest in self._constant.items():
            if digest is None or _digest(own.pop(name, None)) != digest:
                raise NotSavableError(f"the network's attribute {name} cannot be saved")
        return {
            "parameters": [of_parameters(p.detach(), name) for name, p in parameters],
            "buffers": {name: encode(buffer, name) for name, buffer in self._buffers()},
            "own": {name: encode(value, name) for name, value in own.items()},
        }

    def restore(self, saved: Plain) -> None:
        """Puts a saved state into a network that was made in the same way.

        Raises:
            ValueError: If the network has other parameters.
        """
        parameters = list(self._module.parameters())
        of_parameters, decode = Decoder(()), Decoder(parameters)
        with torch.no_grad():
            for parameter, each in zip(parameters, saved["parameters"], strict=True):
                if not _fill(parameter, of_parameters(each)):
                    raise ValueError("a parameter of the network has another shape or type")
            for name, each in saved["buffers"].items():
                # Others may hold the same tensor, so it is replaced only if it has to be.
                if not _fill(dict(self._buffers())[name], value := decode(each)):
                    self._set(name, value)
        for name, each in saved["own"].items():
            self._set(name, decode(each))

    def _encoder(self) -> Encoder:
        return Encoder(list(self._module.parameters()))

    def _buffers(self) -> Iterator[tuple[str, Tensor | None]]:
        for path, part in self._module.named_modules():
            for name, buffer in vars(part)["_buffers"].items():
                yield f"{path}.{name}", buffer

    def _own(self) -> Iterator[tuple[str, Any]]:
        """What the network's own classes keep beside parameters, buffers and parts."""
        for path, part in self._module.named_modules():
            if not type(part).__module__.startswith("torch.nn."):
                for name, value in vars(part).items():
                    if name not in _OF_ALL and not is_code(value):
                        yield f"{path}.{name}", value

    def _set(self, name: str, value: object) -> None:
        path, _, attribute = name.rpartition(".")
        setattr(self._module.get_submodule(path), attribute, value)


def _fill(tensor: Tensor | None, value: Tensor | None) -> bool:
    """Copies a value into a tensor, or returns False if it has another shape or type."""
    if tensor is None or value is None:
        return tensor is value
    if (tensor.shape, tensor.dtype) != (value.shape, value.dtype):
        return False
    tensor.copy_(value)
    return True


def _digest(value: object) -> str | None:
    """A digest of an object; None if there is none."""
    try:
        return hashlib.sha256(pickle.dumps(value)).hexdigest()
    except Exception:  # an object may refuse in any way
        return None
