"""Estimates of the memory and time of a training, made before anything is allocated.

The memory is that of the process before it has any numbers, and of what grows with the arguments:
prompts, runs, the Hessian, the result. With the kernels a process takes up to twice as much, in XLA
more. The time is for two cores of 2024, to a factor of about five.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
from collections.abc import Callable, Iterator, Sequence, Sized
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import PyTree

from attnscape import objective
from attnscape.errors import UsageError
from attnscape.measures import (
    BlockHeterogeneity,
    BlockSmoothness,
    Curvature,
    GaussNewton,
    Measure,
    NoiseScale,
    TopEigenvectors,
)
from attnscape.steppers import Sampler
from attnscape.tasks import Task

_YEAR = 365 * 24 * 3600.0
PROCESS = 400_000_000  # bytes of Python, JAX and its compiler, whatever is computed
_RECORD = "The record of what is measured"
_STEPS = "The list of steps at which something is measured"
_ADVICE = {
    _RECORD: "measure fewer numbers or steps, or give fewer runs",
    _STEPS: "measure at fewer steps",
}
_SCHEDULED = 150  # bytes of a scheduled step: a number of Python's in a set and in a tuple
_GROUPS = Path("/sys/fs/cgroup")  # limits of containers and of the groups in them
_LARGEST = 2**31 - 1  # JAX counts the elements along an axis, and steps, in 32 bits
# What is there at once, in times of the largest array of the prompts, and of all weights of the
# runs, as measured with the kernels; `tests/test_memory.py` compares with whole processes.
_OF_PROMPTS, _OF_WEIGHTS = 3, 24
# Seconds per number drawn, and per product in the layers; a step of Setting 1 takes 0.25 ms.
_SECONDS_A_NUMBER = 1e-9
_SECONDS_A_PRODUCT = 3e-10
_WITHOUT_KERNELS = 3e-8  # seconds per parameter in XLA, if its layers are not wide
_OF_A_HESSIAN = (
    BlockHeterogeneity, BlockSmoothness, Curvature, GaussNewton, NoiseScale, TopEigenvectors,
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Memory and time of a training.

    Attributes:
        memory: Bytes, by the name of the part that needs them.
        seconds: Time of all steps.
    """

    memory: dict[str, int]
    seconds: float

    @property
    def needed(self) -> int:
        """Bytes of the whole process at its largest."""
        return PROCESS + sum(self.memory.values())

    def seeds_at_once(self, available: int | None = None) -> int:
        """How many seeds may be trained at once: they take at most a quarter of the memory.

        The rest is left for what the sizes do not count.
        """
        room = available_memory() if available is None else available
        return max(1, (room - PROCESS) // (4 * max(1, sum(self.memory.values()))))

    def checked(self, available: int | None = None) -> Sizes:
        """These sizes, if the memory suffices and the training takes less than a year.

        Raises:
            UsageError: If not; the message has the sizes.
        """
        room = available_memory() if available is None else available
        if self.memory and self.needed > room:
            what, size = max(self.memory.items(), key=lambda each: each[1])
            advice = _ADVICE.get(what, "make it smaller")
            raise UsageError(
                f"{what} would take {in_bytes(size)} of memory, {in_bytes(self.needed)} with all "
                f"else, and this machine has {in_bytes(room)}; {advice}."
            )
        if self.seconds > _YEAR:
            raise UsageError(
                f"This training would take about {in_words(self.seconds)}; give fewer seeds, steps "
                "or prompts a step."
            )
        return self


def estimate(
    task: Task,
    model: Callable[..., PyTree],
    *,
    runs: int,
    seeds: Sized,
    steps: int,
    batch: int | Sequence[int] = 1000,
    evaluation_batch: int = 1000,
    evaluations: int = 1,
    measures: Sequence[Measure] = (),
    precision: str = "float32",
) -> Sizes:
    """Sizes of a training; the arguments are like those of `attnscape.train`.

    Args:
        task: The task that prompts come from.
        model: Makes the initial model from a key.
        runs: Number of pairs (optimizer, learning rate).
        seeds: The seeds; only their number matters.
        steps: Updates of each run.
        batch: Prompts of each update; several if all is trained with each of them.
        evaluation_batch: Prompts of an evaluation batch.
        evaluations: Number of evaluation batches.
        measures: The measures.
        precision: Precision of parameters and prompts.

    Raises:
        UsageError: If a number is too large for any machine.
    """
    count = _count("seeds", seeds)
    batches = (batch,) if isinstance(batch, int | np.integer) else tuple(batch)
    largest = max(batches)
    for name, number in (
        ("steps", steps),
        ("batch", largest),
        ("evaluation_batch", evaluation_batch),
    ):
        if number > _LARGEST:
            raise UsageError(f"{name} is {number}; it must be at most {_LARGEST}.")
    try:
        shapes: PyTree = eqx.filter_eval_shape(model, jax.eval_shape(lambda: jax.random.key(0)))
        draw = Sampler.for_model(shapes, task, precision)
        of_batch, of_evaluation = (_largest_array(draw, b) for b in (largest, evaluation_batch))
        drawn = (task.context + 1) * task.dim + 0.0
        kernels = _has_kernels(model, draw)
    except (
        Exception,
        SystemExit,
    ):  # an error of a user's part; it is reported with file and line later
        return Sizes({}, 0.0)
    leaves = jax.tree.leaves(eqx.filter(shapes, _is_inexact))
    parameters = sum(math.prod(leaf.shape) for leaf in leaves)
    itemsize = np.dtype(precision).itemsize
    memory = {
        f"A batch of {largest} prompts": _OF_PROMPTS * of_batch,
        f"{evaluations} evaluation batches of {evaluation_batch} prompts": evaluations
        * of_evaluation,
        f"{runs} runs of a model with {parameters} parameters": _OF_WEIGHTS
        * (runs * parameters * itemsize),
        _STEPS: _SCHEDULED * sum(measure.schedule.most(steps) for measure in measures),
        _RECORD: len(batches)
        * count
        * runs
        * _record(measures, shapes, parameters, steps, evaluations, itemsize),
    }
    if any(isinstance(measure, _OF_A_HESSIAN) for measure in measures):
        memory[f"The Hessian of {parameters} parameters"] = 2 * 8 * parameters**2
    width = task.dim if draw.moments else task.context + task.dim
    least = 0.0 if kernels else _WITHOUT_KERNELS
    seconds_a_prompt = (
        _SECONDS_A_NUMBER * drawn * (task.dim if draw.moments else 1)
        + max(_SECONDS_A_PRODUCT * width, least) * runs * parameters
    )
    return Sizes(memory, float(count) * steps * sum(batches) * seconds_a_prompt)


def _has_kernels(model: Callable[..., PyTree], draw: Sampler) -> bool:
    """Whether kernels compute the objective; a loss other than the squared error has none."""
    paths = list[str]()

    def objective_at(key: jax.Array) -> jax.Array:
        paths.append(objective.choose_path(model(key), draw(key, 1)))
        return key

    with jax.enable_x64(draw.dtype == "float64"):
        eqx.filter_eval_shape(objective_at, jax.random.key(0))
    return paths == ["native"]


def _count(name: str, sized: Sized) -> int:
    try:
        return len(sized)
    except OverflowError:
        raise UsageError(f"{name} are more than can be counted; give fewer.") from None


def _is_inexact(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and jax.numpy.issubdtype(leaf.dtype, jax.numpy.inexact)


def _record(
    measures: Sequence[Measure],
    model: PyTree,
    parameters: int,
    steps: int,
    evaluations: int,
    itemsize: int,
) -> int:
    """Bytes of the result of one run: a number for all steps at which anything is measured."""
    numbers = dict[str, int]()
    for measure in measures:
        lengths = {"parameter": parameters, "eigenvalue": parameters}
        with contextlib.suppress(Exception):  # an error of a user's part is reported later
            labels = measure.coordinates(model)
            lengths = {name: max(1, len(given)) for name, given in labels.items()} | lengths
        for name, variable in measure.variables().items():
            batches = evaluations if variable.on_evaluation else 1
            numbers[name] = batches * math.prod(lengths.get(dim, 1) for dim in variable.dims)
    # Measures may share steps: at least those of the most frequent are in the result.
    stops = max((measure.schedule.most(steps) for measure in measures), default=0)
    return stops * itemsize * sum(numbers.values())


def _largest_array(draw: Sampler, batch: int) -> int:
    """Bytes of the largest array needed to draw a batch, found without drawing it."""
    with jax.enable_x64(draw.dtype == "float64"):
        program = jax.make_jaxpr(lambda key: draw(key, batch))(jax.random.key(0))
    return max(_sizes(program.jaxpr), default=0)


def _sizes(program: Any) -> Iterator[int]:
    for equation in program.eqns:
        for variable in equation.outvars:
            shape, dtype = variable.aval.shape, variable.aval.dtype
            yield math.prod(shape) * getattr(dtype, "itemsize", 8)
        for inner in jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda p: hasattr(p, "eqns")
        ):
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns"):
                yield from _sizes(inner)


def available_memory() -> int:
    """Bytes of the machine's or the container's memory; a huge number if it is unknown."""
    sizes = [2**63]
    with contextlib.suppress(ValueError, OSError, AttributeError):
        sizes.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for limit in (_GROUPS / "memory/memory.limit_in_bytes", *_limits_of_groups()):
        with contextlib.suppress(ValueError, OSError):  # there is no such file, or no limit ("max")
            sizes.append(int(limit.read_text("ascii")))
    return min(sizes)


def _limits_of_groups() -> Iterator[Path]:
    """The files of the limits on the group of this process, and on those that it is in."""
    group = Path()
    with contextlib.suppress(ValueError, OSError):
        *_, own = Path("/proc/self/cgroup").read_text("utf-8").strip().rpartition("::/")
        group = Path(own)
    for each in (group, *group.parents):
        yield _GROUPS / each / "memory.max"


def in_bytes(count: int) -> str:
    """The number of bytes in words, such as 3.2 GB."""
    power = min(max(len(str(count)) - 1, 0) // 3, 4)
    return f"{count / 1000**power:.3g} {('bytes', 'kB', 'MB', 'GB', 'TB')[power]}"


def in_words(seconds: float, digits: int = 3) -> str:
    """The time in words, such as 3 hours."""
    for unit, size in (("years", _YEAR), ("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 2 * size:
            return f"{_rounded(seconds / size, digits)} {unit}"
    return f"{_rounded(seconds, digits)} seconds"


def _rounded(value: float, digits: int) -> str:
    return f"{float(f'{value:.{digits}g}'):g}"
