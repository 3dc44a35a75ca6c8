"""Measures your PyTorch network with the same definitions as linear Transformers.

An `Objective` is a module with a loss and fixed batches. A `Probe` measures it along your training
loop, in three lines:

    objective = Objective(model, loss_fn, batches)  # loss_fn(model, batch) returns a number
    probe = Probe(objective, every=10)
    for batch in loader:
        loss_fn(model, batch).backward()
        optimizer.step()
        optimizer.zero_grad()
        probe.step()
    probe.dataset()  # xarray, by step
    print(probe.l0_l1())  # (L0, L1)-smoothness, with intervals

Fused attention (`torch.nn.functional.scaled_dot_product_attention`, and with it
`torch.nn.MultiheadAttention` and `torch.nn.Transformer`) has no second derivative. Everything is
therefore measured with PyTorch's plain `MATH` attention and without the fast path of
`torch.nn.TransformerEncoder`; training itself keeps the fused kernels. The two differ by rounding.
"""

import importlib.util

if importlib.util.find_spec("torch") is None:
    raise ImportError(
        "PyTorch is not installed, but attnscape.torch measures PyTorch modules; "
        "install the extra attnscape[torch].",
        name="torch",
    )

from attnscape.torch._diagonal import HessianDiagonal as HessianDiagonal
from attnscape.torch._eigenpairs import Eigenpairs as Eigenpairs
from attnscape.torch._objective import Objective as Objective
from attnscape.torch._probe import Probe as Probe
