"""Experiments: everything that determines a training result, in one frozen object."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import xarray as xr

from attnscape import native, spec
from attnscape.errors import UsageError
from attnscape.identity import (
    Identity,
    NotFoundAgainWarning,
    Stage,
    is_built_in,
    of_measure,
    of_model,
    of_optimizer,
    of_task,
    settings,
)
from attnscape.measures import EvaluationLoss, Measure, TrainingLoss
from attnscape.optimizers import ExternalOptimizer, Factory, bound
from attnscape.steppers import Group
from attnscape.tasks import Task
from attnscape.training import Checkpoints, Precision, Progress, Start, silent, train
from attnscape.validation import check_parts


@dataclasses.dataclass(frozen=True)
class Experiment:
    """The arguments of `attnscape.train`, and a name for people.

    Experiments that compute the same numbers have the same `run_id`, even if their names differ or
    their arguments are written differently (`attnscape.identity`). So finished results are found
    and not computed again.

    Raises:
        UsageError: If the name is not suitable for a file.

    Examples:
        >>> import dataclasses
        >>> from functools import partial
        >>> from attnscape import Experiment, LinearTransformer, RegressionTask
        >>> from attnscape.optimizers import adam
        >>> parts = RegressionTask(dim=2), partial(LinearTransformer.init, layers=1, dim=2)
        >>> rates = {"adam": (0.01, 0.02)}
        >>> experiment = Experiment("one", *parts, {"adam": adam}, rates, (0, 1, 2), steps=100)
        >>> experiment.run_steps
        600
        >>> dataclasses.replace(experiment, name="other").run_id == experiment.run_id
        True
    """

    name: str
    task: Task
    model: Callable[..., Any]
    optimizers: Mapping[str, Factory]
    learning_rates: Mapping[str, Sequence[float]]
    seeds: tuple[int, ...]
    steps: int
    batch: int = 1000
    clip: float | None = 1.0
    measures: tuple[Measure, ...] = (EvaluationLoss(), TrainingLoss())
    evaluation_batch: int = 1000
    evaluation_seeds: int | Sequence[int] = 0
    precision: Precision = "float32"
    start: Start | None = None

    def __post_init__(self) -> None:
        if self.start is not None:
            object.__setattr__(self, "start", Start.of(self.start))
        if not re.fullmatch(r"\w[\w .,=+-]{0,99}", self.name):
            raise UsageError(
                f"The name {self.name!r} does not do for a file; give at most 100 letters, digits "
                "and any of '_ .,=+-', a letter or digit first."
            )

    @property
    def identity(self) -> Identity:
        """Everything that distinguishes its result from others; computed once.

        Warns if a part depends on more than its code: then no other process finds the result.

        Raises:
            UsageError: If a user's part fails when it is traced.
        """
        return self._identity

    @functools.cached_property
    def _identity(self) -> Identity:
        stage = Stage(
            self.model,
            self.task,
            self.batch,
            self.evaluation_batch,
            self.clip,
            self.precision,
            any(measure.precision == "float64" for measure in self.measures),
        )
        optimizers = self._bound()
        self._check_own_parts(optimizers)
        parts = {
            "task": of_task(stage),
            "model": of_model(stage),
            **{
                f"optimizer {name}": of_optimizer(name, factory, self.learning_rates[name], stage)
                for name, factory in optimizers.items()
            },
            **{
                f"measure {number}": of_measure(measure, optimizers, self.steps, stage)
                for number, measure in enumerate(self.measures)
            },
        }
        plain = {
            name: spec.describe(value)
            for name, value in self._arguments().items()
            if name not in ("task", "model", "optimizers", "measures", "start")
        }
        if self.start is not None:
            plain["start"] = spec.digest(spec.describe(self.start.content(self.seeds)))
        reasons = [reason for part in parts.values() for reason in part.reasons]
        for reason in dict.fromkeys(reasons):
            warnings.warn(reason, NotFoundAgainWarning, stacklevel=2)
        contents = {name: part.content for name, part in parts.items()}
        return Identity({"settings": settings(), **contents, **plain}, tuple(reasons))

    def check(self) -> None:
        """Raises what its training would raise for users' parts, without the training.

        Shapes are traced. An optimizer outside of JAX, which cannot be traced, makes one step at
        the first of its rates.

        Raises:
            UsageError: If a part breaks its contract, in a sentence with file and line.

        Examples:
            >>> from functools import partial
            >>> from attnscape import Experiment, LinearTransformer, RegressionTask
            >>> parts = RegressionTask(dim=2), partial(LinearTransformer.init, layers=1, dim=2)
            >>> mine = {"mine": lambda rate: "no optimizer"}
            >>> experiment = Experiment("one", *parts, mine, {"mine": (0.1,)}, (0,), steps=9)
            >>> try:
            ...     experiment.check()
            ... except ValueError as error:
            ...     print(error)
            The factory of mine gave str 'no optimizer'; ...
        """
        optimizers = self._bound()
        self._check_own_parts(optimizers)
        external = {
            name: factory
            for name, factory in optimizers.items()
            if isinstance(factory, ExternalOptimizer)
        }
        if external:
            rates = {name: self.learning_rates[name][:1] for name in external}
            step = dataclasses.replace(
                self, optimizers=external, learning_rates=rates, seeds=self.seeds[:1],
                steps=1, measures=(TrainingLoss(),),
            )  # fmt: skip
            step.run()

    def _bound(self) -> dict[str, Factory]:
        """The optimizers, told steps and batch where they ask for them."""
        return {
            name: bound(factory, steps=self.steps, batch=self.batch)
            for name, factory in self.optimizers.items()
        }

    def _check_own_parts(self, optimizers: Mapping[str, Factory]) -> None:
        """Raises the errors that training would raise for users' parts, before they are traced."""
        own = [measure for measure in self.measures if not is_built_in(measure)]
        if not own and is_built_in((self.task, self.model, dict(optimizers))):
            return
        groups = [
            Group(name, factory, tuple(self.learning_rates[name]))
            for name, factory in optimizers.items()
        ]
        wide = self.precision == "float64"
        with jax.enable_x64(True) if wide else contextlib.nullcontext():
            check_parts(
                self.task,
                self.model,
                groups,
                clip=self.clip,
                batch=self.batch,
                dtype=self.precision,
                measures=own,
            )

    @property
    def run_id(self) -> str:
        """SHA-256 of the identity."""
        return spec.digest(self.identity.content)

    def spec(self) -> dict[str, Any]:
        """Description as JSON, for people."""
        return {
            name: spec.describe(value)
            for name, value in self._arguments().items()
            if name != "start" or value is not None
        }

    @property
    def run_steps(self) -> int:
        """Sum of the steps of all runs: the work to do."""
        rates = sum(len(set(rates)) for rates in self.learning_rates.values())
        return rates * len(self.seeds) * self.steps

    @property
    def at_once(self) -> int:
        """Two, so that one can use the processors while the other compiles.

        0 with parts of the user's, and on an accelerator.
        """
        parts = self.task, self.model, dict(self.optimizers), self.measures
        return 2 * (is_built_in(parts) and native.default_device().platform == "cpu")

    def run(
        self, progress: Progress = silent, checkpoints: Checkpoints | None = None
    ) -> xr.Dataset:
        """Runs the training; raises the errors of `attnscape.train`."""
        return train(**self._arguments(), progress=progress, checkpoints=checkpoints)

    def _arguments(self) -> dict[str, Any]:
        fields = dataclasses.fields(self)
        return {field.name: getattr(self, field.name) for field in fields if field.name != "name"}
