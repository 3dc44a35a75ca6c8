"""Restores the state of a module that a measurement may change."""

from __future__ import annotations

import contextlib
import functools
import logging
import sys
from collections.abc import Generator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel


@contextlib.contextmanager
def undisturbed(module: nn.Module, *, evaluating: bool = False) -> Generator[None]:
    """Context manager: restores the module's modes and buffers and PyTorch's random states.

    Within it, attention uses the path that has second derivatives.

    Args:
        module: The module to measure.
        evaluating: Whether the module is in eval mode within the context.
    """
    modes = [(part, part.training) for part in module.modules()]
    # Some modules change a buffer in place, others replace it by a new tensor.
    buffers = [
        (part, name, buffer, buffer.detach().clone())
        for part in module.modules()
        for name, buffer in part.named_buffers(recurse=False)
    ]
    devices = {p.device for p in module.parameters() if p.device.type == "cuda"}
    fast_path = torch.backends.mha.get_fastpath_enabled()
    try:
        with (
            torch.random.fork_rng(devices=sorted(devices, key=str)),
            sdpa_kernel(SDPBackend.MATH),
            _uncompiled(),
            torch.enable_grad(),
        ):
            torch.backends.mha.set_fastpath_enabled(False)
            if evaluating:
                module.eval()
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
        for part, training in modes:
            part.training = training
        for part, name, buffer, value in buffers:
            load([buffer], [value])
            setattr(part, name, buffer)


def _uncompiled() -> contextlib.AbstractContextManager[object]:
    """Context manager: compiled functions run uncompiled, because compiled ones have no Hessian."""
    if "torch._dynamo" not in sys.modules:  # nothing was compiled; importing it takes seconds
        return contextlib.nullcontext()
    return torch.compiler.set_stance("force_eager")


def load(tensors: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    """Writes values into tensors in place, so that shared memory stays shared."""
    with torch.no_grad():
        for tensor, value in zip(tensors, values, strict=True):
            tensor.copy_(value)


def mention_attention(module: nn.Module) -> None:
    """Logs once that attention is measured on another path than in training."""
    if any(isinstance(part, nn.MultiheadAttention) for part in module.modules()):
        _mention_attention()


@functools.cache
def _mention_attention() -> None:
    logging.getLogger("attnscape").warning(
        "The module has torch.nn.MultiheadAttention, whose fused kernels have no second "
        "derivative: it is measured with PyTorch's MATH attention, equal to rounding, and trained "
        "as before."
    )
