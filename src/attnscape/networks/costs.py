"""What a step of a built-in workload costs: measured by `python -m benchmarks.networks`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from attnscape.networks.workload import SizeName

SIZES: tuple[SizeName, ...] = ("small", "published")

# With Adam and PyTorch 2.13, on two processors of a server (AMD Zen 3).
_STEP_SECONDS: Mapping[str, tuple[float, float]] = MappingProxyType(
    {  # small, published
        "mnist-lenet5": (0.011, 0.025),
        "cifar10-resnet18": (0.053, 0.24),
        "ptb-transformer": (0.022, 0.15),
        "wikitext2-transformerxl": (0.026, 4.5),
        "squad-distilbert": (0.46, 27.0),
        "ptb-lstm": (0.032, 3.3),
        "softmax-regression": (0.0024, 23.0),
    }
)


def step_seconds(workload: str, size: SizeName) -> float:
    """Seconds of a step on two processors, roughly; on other machines a few times more or less.

    Args:
        workload: Name of a built-in workload.
        size: `small` or `published`.

    Examples:
        >>> from attnscape.networks.costs import step_seconds
        >>> step_seconds("ptb-transformer", "small") < step_seconds("ptb-transformer", "published")
        True
    """
    return _STEP_SECONDS[workload][SIZES.index(size)]
