"""Runs on the random numbers of the public code (`_torch_stream`), in float64.

Gradient, clipping, optimizers and Hessian are those of the engine. Every run is repeated from
initial values that are larger by one part in ten million. Numbers that differ between the two runs
also depend on rounding, so no other implementation can reproduce them.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr

from attnscape import native, objective, spec
from attnscape.experiments.setting import Setting
from attnscape.identity import Identity, settings
from attnscape.models import LinearTransformer
from attnscape.optimizers import PAPER, Transformation, clipped
from attnscape.tasks import Moments, RegressionTask
from attnscape.training import Checkpoints, Progress, silent
from attnscape.training.checkpoints import NoCheckpoints, say_unused
from attnscape.trees import Plain, from_plain, to_plain

CHANGE = 1e-7  # relative change of the initial values
STARTS = ("drawn", "changed")
_SEGMENT = 25  # number of batches drawn at once: 15 MB per seed
_PART = "stream"  # of the checkpoints
_NUMBERS = 1  # raise it if the same spec leads to other numbers


@dataclasses.dataclass(frozen=True)
class StreamRuns:
    """SGDM and Adam on the public code's prompts, each from two starts, and Hessians at some steps.

    Attributes:
        setting: Task, model, batch, clipping and learning rates; the recipe is `code`.
        seeds: Seeds of the public code.
        steps: Steps at which Hessians are computed; runs end at the last one.
    """

    setting: Setting
    seeds: tuple[int, ...]
    steps: tuple[int, ...]
    precision = "float64"
    at_once = 0  # it keeps all processors busy

    @property
    def name(self) -> str:
        """Name in file names."""
        return f"{self.setting.name}-public-stream"

    @property
    def identity(self) -> Identity:
        """The spec and the settings that numbers depend on."""
        return self._identity

    @functools.cached_property
    def _identity(self) -> Identity:
        return Identity({"settings": settings(), **self.spec()})

    @property
    def run_id(self) -> str:
        """SHA-256 of the identity."""
        return spec.digest(self.identity.content)

    @property
    def run_steps(self) -> int:
        """Sum of the steps of all runs."""
        return len(PAPER) * len(STARTS) * len(self.seeds) * max(self.steps)

    def spec(self) -> dict[str, Any]:
        """Everything that determines the result, as JSON."""
        setting = self.setting
        return {
            "stream": {
                "torch": importlib.metadata.version("torch"),
                "optax": importlib.metadata.version("optax"),
                "numbers": _NUMBERS,
            },
            "kernels": native.why_unavailable() is None,
            "task": spec.describe(setting.task),
            "layers": setting.layers,
            "scale": setting.scale["code"],
            "batch": setting.batch,
            "clip": setting.clip["code"],
            "learning_rates": dict(setting.rates["code"]),
            "change": CHANGE,
            "seeds": list(self.seeds),
            "steps": max(self.steps),
            "measured": sorted(self.steps),
        }

    def run(
        self, progress: Progress = silent, checkpoints: Checkpoints | None = None
    ) -> xr.Dataset:
        """Trains and measures, from where the checkpoint was left, to the same bits.

        Returns:
            A Dataset with the dims (optimizer, start, seed, step), where start is `drawn` or
            `changed`. The variables are `hessian_diagonal`, `hessian_row_norm` and
            `hessian_eigenvalues` on the evaluation batch of the public code, and `distance`
            (without start): the difference between the parameters of the two starts, relative to
            those of the first.

        Raises:
            UsageError: If PyTorch is missing, or the public code has no such setting.
        """
        from attnscape.paper._torch_stream import EVALUATION_SEED, Stream, capability

        setting, seeds, total = self.setting, self.seeds, self.run_steps
        kept = checkpoints or NoCheckpoints()
        kept.describe([_PART], max(self.steps), None)
        rates, scale = setting.rates["code"], setting.scale["code"]
        optimizers = [clipped(PAPER[name], setting.clip["code"])(rates[name]) for name in PAPER]
        task, layers = setting.task, setting.layers
        assert isinstance(task, RegressionTask)  # as all of the paper
        assert layers is not None
        streams = [Stream(seed, task, setting.batch) for seed in seeds]
        evaluation = Stream(EVALUATION_SEED, task, setting.batch).batches(1)
        with jax.enable_x64(True), ThreadPoolExecutor() as pool:
            starts = [_both_starts(*stream.matrices(layers, scale)) for stream in streams]
            now = _UnderWay(streams, [_start(optimizers, models) for models in starts])
            if (saved := kept.read(_PART)) is not None:
                now.restore(saved)
            advance = jax.jit(functools.partial(_advance, optimizers))
            progress(total * max(now.step, 0) // max(self.steps), total)
            for last in (end for end in _segment_ends(self.steps) if end > now.step):
                before = max(now.step, 0)
                if last > before:
                    # Seeds are drawn in parallel, while the previous segment is computed.
                    drawn = pool.map(Stream.batches, streams, [last - before] * len(streams))
                    now.runs = [advance(*each) for each in zip(now.runs, drawn, strict=True)]
                if last in self.steps:
                    now.taken.append([_measured(of_seed, evaluation) for of_seed in now.runs])
                now.step = last
                progress(total * last // max(self.steps), total)
                kept.offer(_PART, last, now.save)
        return self._dataset(now.taken).assign_attrs(torch_kernels=capability())

    def _dataset(self, taken: list[list[dict[str, np.ndarray]]]) -> xr.Dataset:
        """The Dataset of the measurements `taken`: a list over steps of lists over seeds."""
        run = ("step", "seed", "optimizer")
        dims = {
            "distance": run,
            "hessian_diagonal": (*run, "start", "parameter"),
            "hessian_row_norm": (*run, "start", "parameter"),
            "hessian_eigenvalues": (*run, "start", "eigenvalue"),
        }
        return xr.Dataset(
            {
                name: (of, np.array([[of_seed[name] for of_seed in step] for step in taken]))
                for name, of in dims.items()
            },
            {
                "optimizer": list(PAPER),
                "start": list(STARTS),
                "seed": list(self.seeds),
                "step": sorted(self.steps),
            },
        ).transpose("optimizer", "start", "seed", "step", ...)


def _segment_ends(steps: Sequence[int]) -> list[int]:
    """The steps at which segments end; `steps` are among them."""
    return sorted({*steps, *range(_SEGMENT, max(steps), _SEGMENT)})


# Models and states of each optimizer: pytrees with the leading axis start.
_Runs = tuple[tuple[Any, Any], ...]
# `_torch_stream.Batches`, whose module cannot be imported without PyTorch.
_Batches = tuple[Any, ...]


@dataclasses.dataclass
class _UnderWay:
    """All runs between two segments.

    Attributes:
        streams: The `_torch_stream.Stream` of each seed.
        runs: The runs of each seed.
        step: The updates made, and measured if due; -1 at the start.
        taken: The measurements: a list over steps of lists over seeds.
    """

    streams: Sequence[Any]
    runs: list[_Runs]
    step: int = -1
    taken: list[list[dict[str, np.ndarray]]] = dataclasses.field(default_factory=list)

    def save(self) -> Plain:
        """The state, which waits for the runs."""
        return {
            "step": self.step,
            "streams": [stream.save() for stream in self.streams],
            "runs": to_plain(self.runs),
            "taken": self.taken,
        }

    def restore(self, saved: Plain) -> None:
        """Sets a saved state; warns if it is of other runs."""
        try:
            self.runs = from_plain(self.runs, saved["runs"])
        except (ValueError, KeyError, TypeError) as error:
            say_unused(_PART, error)
            return
        for stream, each in zip(self.streams, saved["streams"], strict=True):
            stream.restore(each)
        self.step, self.taken = saved["step"], saved["taken"]


def _both_starts(P: np.ndarray, Q: np.ndarray) -> LinearTransformer:
    """The initial values without and with the change."""
    factor = np.array([1, 1 + CHANGE])[:, None, None, None]
    return jax.vmap(LinearTransformer)(jnp.asarray(factor * P), jnp.asarray(factor * Q))


def _start(optimizers: Sequence[Transformation], models: Any) -> _Runs:
    return tuple((models, jax.vmap(optimizer.init)(models)) for optimizer in optimizers)


def _advance(optimizers: Sequence[Transformation], runs: _Runs, batches: _Batches) -> _Runs:
    """The runs after one update on each batch."""

    def step(runs: _Runs, batch: _Batches) -> tuple[_Runs, None]:
        def gradient(model: LinearTransformer) -> Any:
            return objective.value_and_grad(model, Moments(*batch))[1]

        updated = []
        for (models, states), optimizer in zip(runs, optimizers, strict=True):
            changes, states = jax.vmap(optimizer.update)(jax.vmap(gradient)(models), states, models)
            updated.append((optax.apply_updates(models, changes), states))
        return tuple(updated), None

    return jax.lax.scan(step, runs, batches)[0]


@jax.jit
def _hessian(model: LinearTransformer, batches: _Batches) -> jax.Array:
    return objective.hessian(model, Moments(*(each[0] for each in batches)))


def _measured(runs: _Runs, evaluation: _Batches) -> dict[str, np.ndarray]:
    """The measurements of one seed at one step, by their names in the Dataset."""
    points = np.array([np.concatenate([models.P, models.Q], axis=1) for models, _ in runs])
    points = points.reshape(*points.shape[:2], -1)
    hessians = np.array(
        [
            [_hessian(jax.tree.map(lambda a, at=at: a[at], models), evaluation) for at in (0, 1)]
            for models, _ in runs
        ]
    )
    return {
        "distance": np.linalg.norm(points[:, 1] - points[:, 0], axis=-1)
        / np.linalg.norm(points[:, 0], axis=-1),
        "hessian_diagonal": np.diagonal(hessians, axis1=-2, axis2=-1),
        "hessian_row_norm": np.linalg.norm(hessians, axis=-1),
        "hessian_eigenvalues": np.linalg.eigvalsh(hessians),
    }
