"""Learning rates at the small size, found by a search with `--tune` on the packaged data."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

FOUND: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "mnist-lenet5": MappingProxyType(
            {"sgdm": 0.1, "adam": 0.0032, "sgd": 0.32, "adam-no-momentum": 0.0032}
        ),
        "mnist-lenet5, full batch": MappingProxyType(
            {"sgdm": 0.32, "adam": 0.01, "sgd": 0.32, "adam-no-momentum": 0.01}
        ),
        "cifar10-resnet18": MappingProxyType(
            {"sgdm": 0.0032, "adam": 0.001, "sgd": 0.032, "adam-no-momentum": 0.00032}
        ),
        "ptb-transformer": MappingProxyType(
            {"sgdm": 0.1, "adam": 0.0032, "sgd": 0.32, "adam-no-momentum": 0.0032}
        ),
        "ptb-transformer, full batch": MappingProxyType(
            {"sgdm": 0.32, "adam": 0.01, "sgd": 1.0, "adam-no-momentum": 0.01}
        ),
        "squad-distilbert": MappingProxyType(
            {"sgdm": 0.0032, "adam": 0.00032, "sgd": 0.032, "adam-no-momentum": 0.0001}
        ),
        "wikitext2-transformerxl": MappingProxyType(
            {"sgdm": 0.32, "adam": 0.0032, "sgd": 0.32, "adam-no-momentum": 0.0032}
        ),
        "ptb-lstm, clipped": MappingProxyType({"sgd": 10.0}),
        "softmax-regression": MappingProxyType(
            {"sgdm": 3.2, "adam": 1.0, "sgd": 3.2, "adam-no-momentum": 0.032}
        ),
        "softmax-regression, full batch": MappingProxyType(
            {"sgdm": 3.2, "adam": 1.0, "sgd": 3.2, "adam-no-momentum": 0.032}
        ),
    }
)
