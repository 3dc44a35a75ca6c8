"""A run of a network as a computation, whose result is found again by all that determines it."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import torch
import xarray as xr

from attnscape import spec
from attnscape.identity import (
    OPTIMIZER_NUMBERS,
    Identity,
    NotFoundAgainWarning,
    is_built_in,
    of_module_optimizer,
    pinned_by,
    version,
    with_reasons,
)
from attnscape.networks.generators import own_random_numbers
from attnscape.networks.pseudo import check_pseudo
from attnscape.networks.resuming import Resuming
from attnscape.networks.so_far import outline
from attnscape.networks.streams import initial_module
from attnscape.networks.training import Schedules, train_run
from attnscape.networks.workload import Data, Size, Workload
from attnscape.optimizers import Factory, bound
from attnscape.training import Checkpoints, Progress, part_of, processors, silent

NUMBERS = 2
"""The version of all numbers that built-in workloads and this room compute."""

_PROBED = 2
"""The version of the set of numbers that a run's probe measures; raise it if one is added.

Version 2 has the smoothness by the difference of gradients and the layers of the diagonal.
"""

_PACKAGES = ("torch", "transformers", "jax", "jaxlib", "optax")  # whose versions a run depends on


@dataclasses.dataclass(frozen=True)
class NetworkRun:
    """One run: a workload, an optimizer at one learning rate, and a seed.

    Attributes:
        workload: The workload.
        built_in: Whether the workload is built in; a user's is identified by its files.
        data: Its data, loaded.
        size: Its size.
        optimizer: The optimizer's name.
        factory: The optimizer.
        learning_rate: The learning rate.
        seed: Determines weights, batches and dropout.
        steps: Updates.
        clip: Global norm that gradients are clipped to, or None.
        schedules: What is measured when.
        full_batch: Whether each update uses all complete batches of a pass over the data.
        pseudo_optimizers: Optimizers by name, whose updates are measured and never made.

    Raises:
        UsageError: If pseudo-steps have optimizers and no schedule, or the reverse.

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
    built_in: bool
    data: Data
    size: Size
    optimizer: str
    factory: Factory
    learning_rate: float
    seed: int
    steps: int
    clip: float | None = None
    schedules: Schedules = Schedules()
    full_batch: bool = False
    pseudo_optimizers: Mapping[str, Factory] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        check_pseudo(self.schedules.pseudo, self.pseudo_optimizers)
        # A run goes to other processes, where not every mapping can follow.
        object.__setattr__(self, "pseudo_optimizers", dict(self.pseudo_optimizers))

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
        shapes = parameters_of(self.workload, self.data, self.size)

        def of_optimizer(name: str, factory: Factory) -> Identity:
            factory = bound(factory, steps=self.steps, batch=self.size.batch)
            return of_module_optimizer(name, factory, self.learning_rate, self.clip, shapes)

        network = of_network(self.workload, self.built_in, self.data, self.size)
        stepper = of_optimizer(self.optimizer, self.factory)
        pseudo = {name: of_optimizer(name, each) for name, each in self.pseudo_optimizers.items()}
        content = {**network.content, "optimizer": stepper.content, **self._numbers()}
        if pseudo:  # with their names and order, which the result has
            content["pseudo_optimizers"] = [[name, each.content] for name, each in pseudo.items()]
        if self.schedules.smoothness or self.schedules.curvature:
            content["probed"] = _PROBED
        return of_parts(content, (network, stepper, *pseudo.values()))

    @property
    def run_id(self) -> str:
        """SHA-256 of the identity."""
        return spec.digest(self.identity.content)

    @property
    def run_steps(self) -> int:
        """Its steps."""
        return self.steps

    @property
    def at_once(self) -> int:
        """One a processor: a second thread makes it little faster. 0 with parts of the user's."""
        optimizers = (self.factory, *self.pseudo_optimizers.values())
        return processors() * (self.built_in and all(map(is_built_in, optimizers)))

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
            **self._numbers(),
            "pseudo_optimizers": list(self.pseudo_optimizers),
            "seeds": [self.seed],
        }

    def run(
        self, progress: Progress = silent, checkpoints: Checkpoints | None = None
    ) -> xr.Dataset:
        """Runs the training, from where its checkpoint was left, to the same bits."""
        shown = outline(
            *(self.optimizer, self.learning_rate, self.seed),
            *(self.steps, self.schedules.loss, self.workload.metric.name),
        )
        resuming = Resuming(checkpoints, [part_of(self.seed)], self.steps, shown)
        with resuming.threads():
            return self._run(progress, resuming).assign_attrs(how_made(self.workload, self.data))

    def _run(self, progress: Progress, resuming: Resuming) -> xr.Dataset:
        return train_run(
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
            full_batch=self.full_batch,
            pseudo_optimizers=self.pseudo_optimizers,
            progress=progress,
            resuming=resuming,
        )

    def _numbers(self) -> dict[str, Any]:
        names = ("learning_rate", "seed", "steps", "clip", "schedules")
        numbers = {name: spec.describe(getattr(self, name)) for name in names}
        # Options that are not used are left out: they do not change the result.
        for name in ("pseudo", "sharpness"):
            if not getattr(self.schedules, name):
                del numbers["schedules"]["fields"][name]
        if self.full_batch:
            numbers["full_batch"] = True
        return numbers


def of_network(workload: Workload, built_in: bool, data: Data, size: Size) -> Identity:
    """The identity of a workload with its data, initial weights and size.

    Args:
        workload: The workload.
        built_in: Whether it is built in; a user's is identified by its files.
        data: Its data.
        size: Its size.
    """
    part = Identity({"name": workload.name}) if built_in else _of_users(workload)
    content = {
        "workload": part.content,
        "numbers": [NUMBERS, OPTIMIZER_NUMBERS],
        "data": [data.digest, dict(data.facts)],
        "weights": _initial(workload, data, size)[1],
        "size": spec.describe(size),
        "versions": {name: found for name in _PACKAGES if (found := version(name))},
    }
    return Identity(content, part.reasons)


def of_parts(content: Mapping[str, Any], parts: Sequence[Identity]) -> Identity:
    """An identity that has the reasons of its parts; warns of each reason.

    Args:
        content: The content of the identity.
        parts: Identities whose content is in it.
    """
    reasons = [reason for part in parts for reason in part.reasons]
    for reason in dict.fromkeys(reasons):
        warnings.warn(reason, NotFoundAgainWarning, stacklevel=3)
    return Identity(dict(content), tuple(reasons))


def _of_users(workload: Workload) -> Identity:
    content, outside = pinned_by(workload)
    # The generators that its code may draw from are seeded before each call.
    unpinned = [words for words in outside if not words.startswith("random numbers")]
    return with_reasons(workload.name, workload, content, unpinned)


def how_made(workload: Workload, data: Data) -> dict[str, str | int]:
    """Attributes of a result that say what it was made of."""
    return {
        "workload": workload.name,
        "data": data.name,
        "torch": str(torch.__version__),
        # PyTorch's sums depend on it: bits are the same on the same machine only.
        "torch_threads": torch.get_num_threads(),
    }


_Described = tuple[Mapping[str, jax.ShapeDtypeStruct], str]
_described: dict[tuple[int, int, str], tuple[object, _Described]] = {}


def parameters_of(workload: Workload, data: Data, size: Size) -> Mapping[str, jax.ShapeDtypeStruct]:
    """Shapes and types of the parameters that are trained, by name."""
    return _initial(workload, data, size)[0]


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
