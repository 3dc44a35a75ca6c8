"""A run of a network as a computation: what determines its result, by which it is found again."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.metadata
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import torch
import xarray as xr

from attnscape import spec
from attnscape.identity import NUMBERS as ENGINE_NUMBERS
from attnscape.identity import (
    Identity,
    NotFoundAgainWarning,
    of_module_optimizer,
    pinned_by,
    with_reasons,
)
from attnscape.networks.training import (
    Schedules,
    initial_module,
    own_random_numbers,
    train_run,
)
from attnscape.networks.workload import Data, Size, Workload
from attnscape.optimizers import Factory
from attnscape.training import Progress, silent

NUMBERS = 1
"""The version of all numbers that built-in workloads and this room compute."""


@dataclasses.dataclass(frozen=True)
class NetworkRun:
    """One run: a workload, an optimizer at one learning rate, and a seed.

    Attributes:
        workload: The workload.
        own: Whether the workload is built in; a user's is identified by its files.
        data: Its data, loaded.
        size: Its size.
        optimizer: The optimizer's name.
        factory: The optimizer.
        learning_rate: The learning rate.
        seed: Determines weights, batches and dropout.
        steps: Updates.
        clip: Global norm that gradients are clipped to, or None.
        schedules: What is measured when.

    Examples:
        >>> from attnscape.networks import WORKLOADS, NetworkRun
        >>> from attnscape.optimizers import sgd
        >>> workload = WORKLOADS["softmax-regression"]
        >>> size = workload.sizes["tiny"]
        >>> data = workload.data("packaged", **size.data)
        >>> run = NetworkRun(workload, True, data, size, "sgd", sgd, 0.1, seed=0, steps=5)
        >>> run.name
        'softmax-regression-sgd-0.1-seed-0'
        >>> run.run_id == NetworkRun(workload, True, data, size, "x", sgd, 0.1, 0, 5).run_id
        True
    """

    workload: Workload
    own: bool
    data: Data
    size: Size
    optimizer: str
    factory: Factory
    learning_rate: float
    seed: int
    steps: int
    clip: float | None = None
    schedules: Schedules = Schedules()

    @property
    def name(self) -> str:
        """Start of the file name."""
        label = re.sub(r"[^\w.,=+-]", "-", self.optimizer)
        return f"{self.workload.name}-{label}-{self.learning_rate:g}-seed-{self.seed}"

    @property
    def identity(self) -> Identity:
        """Everything that distinguishes its result from others; computed once."""
        return self._identity

    @functools.cached_property
    def _identity(self) -> Identity:
        shapes, weights = _initial(self.workload, self.data, self.size)
        parts = {
            "workload": self._of_workload(),
            "optimizer": of_module_optimizer(
                self.optimizer, self.factory, self.learning_rate, self.clip, shapes
            ),
        }
        reasons = tuple(reason for part in parts.values() for reason in part.reasons)
        for reason in dict.fromkeys(reasons):
            warnings.warn(reason, NotFoundAgainWarning, stacklevel=2)
        content = {name: part.content for name, part in parts.items()}
        plain = {
            "numbers": [NUMBERS, ENGINE_NUMBERS],
            "data": [self.data.digest, dict(self.data.facts)],
            "weights": weights,
            "size": spec.describe(self.size),
            "versions": _versions(("torch", "transformers", "jax", "jaxlib", "optax")),
            **{key: spec.describe(value) for key, value in self._numbers().items()},
        }
        return Identity({**content, **plain}, reasons)

    def _of_workload(self) -> Identity:
        if self.own:
            return Identity({"name": self.workload.name})
        content, outside = pinned_by(self.workload)
        # The generators that its code may draw from are seeded before each call.
        unpinned = [words for words in outside if not words.startswith("random numbers")]
        return with_reasons(self.workload.name, self.workload, content, unpinned)

    @property
    def run_id(self) -> str:
        """SHA-256 of the identity."""
        return spec.digest(self.identity.content)

    @property
    def run_steps(self) -> int:
        """Its steps."""
        return self.steps

    @property
    def precision(self) -> str:
        """Precision of the training."""
        return "float32"

    def spec(self) -> dict[str, Any]:
        """Description as JSON, for people."""
        return {
            "workload": self.workload.name,
            "data": self.data.name,
            "size": spec.describe(self.size),
            "optimizer": self.optimizer,
            **{key: spec.describe(value) for key, value in self._numbers().items()},
            "seeds": [self.seed],
        }

    def run(self, progress: Progress = silent) -> xr.Dataset:
        """Runs the training."""
        dataset = train_run(
            self.workload,
            self.data,
            self.size,
            self.optimizer,
            self.factory,
            self.learning_rate,
            self.seed,
            steps=self.steps,
            clip=self.clip,
            schedules=self.schedules,
            progress=progress,
        )
        return dataset.assign_attrs(
            workload=self.workload.name,
            data=self.data.name,
            torch=str(torch.__version__),
            # PyTorch's sums depend on it: bits are the same on the same machine only.
            torch_threads=torch.get_num_threads(),
        )

    def _numbers(self) -> dict[str, Any]:
        names = ("learning_rate", "seed", "steps", "clip", "schedules")
        return {name: getattr(self, name) for name in names}


_Described = tuple[Mapping[str, jax.ShapeDtypeStruct], str]
_described: dict[tuple[int, int, str], tuple[object, _Described]] = {}


def _initial(workload: Workload, data: Data, size: Size) -> _Described:
    """The shapes of the parameters, and a hash of seed 0's weights: pretrained ones can change."""
    key = (id(workload), id(data), repr(size))
    if key not in _described:
        with own_random_numbers():
            module = initial_module(workload, data, size, 0)
        shapes = {
            name: jax.ShapeDtypeStruct(tuple(p.shape), str(p.dtype).removeprefix("torch."))
            for name, p in module.named_parameters()
            if p.requires_grad
        }
        sha = hashlib.sha256()
        for name, tensor in module.state_dict().items():
            sha.update(name.encode())
            sha.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        # The parts are kept, so that no id is used again.
        _described[key] = ((workload, data), (shapes, sha.hexdigest()))
    return _described[key][1]


def _versions(packages: Sequence[str]) -> dict[str, str]:
    found = dict[str, str]()
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
