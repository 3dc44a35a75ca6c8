"""The contract of a measure: named numbers of one run at one step, in JAX."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from attnscape.measures import Measure, as_measure
from attnscape.models import LinearTransformer, as_model
from attnscape.optimizers import adam, sgd
from attnscape.steppers import CompiledStepper, Group, Problem, Sampler
from attnscape.tasks import RegressionTask, Task, as_task
from attnscape.trees import astype
from attnscape.validation._quick import check_parts
from attnscape.validation._quick_measure import (
    NEED_WORDS,
    NEEDS,
    NUMBERS,
    VARIABLES,
    iterate_of,
    needs_of,
)
from attnscape.validation._result import (
    CheckResult,
    count_traces,
    is_same,
    require,
    run_checks,
)
from attnscape.validation._tracing import depends

_BATCH = 16
_STEPS = 3  # updates before the checks, so that states and preconditioners are not trivial
_RATES = (0.01, 0.1)
_TASK = RegressionTask(dim=3)
_ARGUMENTS = ("model", "training", "evaluation", "key", "state", "update", "preconditioner")
# Under jit and vmap sums are taken in another order.
_TOLERANCES = {"float32": 1e-4, "float64": 1e-9}


def check_measure(thing: Any, task: Any = _TASK, model: Any = None) -> list[CheckResult]:
    """Checks a measure on runs of a small model.

    Args:
        thing: The measure, or its class.
        task: A task, or a function without arguments that makes one.
        model: The model, in any form that `attnscape.models.as_model` takes; linear attention of
            two layers by default.

    Examples:
        >>> from attnscape.measures import TrainingLoss
        >>> from attnscape.validation import check_measure
        >>> results = check_measure(TrainingLoss)
        >>> all(result.ok for result in results)
        True
        >>> results[-1].sentence
        'It uses all that it declares to need.'
    """
    task = as_task(task)
    if model is None:
        model = functools.partial(LinearTransformer.init, layers=2, dim=task.dim)
    checks = _Checks(thing, task, as_model(model))
    return run_checks(
        checks.quick,
        {
            VARIABLES: "It is a measure, and describes its variables.",
            NEEDS: "What it does not declare to need, it does not use.",
            NUMBERS: "Its numbers have the names, shapes and labels that it describes, in both "
            "precisions.",
        },
        [
            ("deterministic", checks.deterministic),
            ("finite", checks.finite),
            ("jit and vmap", checks.vectorised),
            ("evaluation batch", checks.evaluation),
            ("unused needs", checks.unused),
        ],
    )


@dataclasses.dataclass(frozen=True)
class _Checks:
    """The slow checks; each returns a sentence, or raises if the contract is broken."""

    thing: Any
    task: Task
    make: Any

    @functools.cached_property
    def measure(self) -> Measure:
        return as_measure(self.thing)

    def quick(self, dtype: str) -> None:
        groups = [Group("adam", adam, _RATES), Group("sgd", sgd, _RATES)]
        check_parts(
            self.task,
            self.make,
            groups,
            clip=None,
            batch=_BATCH,
            dtype=dtype,
            measures=(self.measure,),
        )

    @property
    def precision(self) -> str:
        return self.measure.precision or "float32"

    def context(self) -> contextlib.AbstractContextManager[object]:
        return jax.enable_x64(self.precision == "float64")

    @functools.cached_property
    def runs(self) -> tuple[PyTree, Sampler, tuple[PyTree, ...]]:
        """Static part of the model, sampler, and the arguments of `iterate_of` for several runs."""
        first = astype("float32", self.make(jax.random.key(0)))
        parameters, static = eqx.partition(first, eqx.is_inexact_array)
        draw = Sampler.for_model(first, self.task, "float32")
        training_data = functools.partial(draw.training_data, batch=_BATCH)
        problem = Problem(parameters, static, training_data, None, jnp.dtype("float32"))
        stepper = CompiledStepper(problem, [Group("adam", adam, _RATES)])
        models = jax.tree.map(lambda a: a[None], parameters)
        before = stepper.start(models, jax.random.split(jax.random.key(1), 1))
        before = stepper.advance(before, 0, _STEPS)
        after = stepper.advance(before, _STEPS, _STEPS + 1)
        with self.context():
            model, ahead, divisor = astype(
                self.precision,
                (before.models[0], after.models[0], stepper.preconditioners(before)[0]),
            )
            training, evaluation = astype(
                self.precision, tuple(draw(key, _BATCH) for key in jax.random.split(_key(2)))
            )
            update = jax.tree.map(jnp.subtract, ahead, model)
            mapped = jax.tree.map(lambda a: a[0], (model, before.states[0], update, divisor))
        model, state, update, divisor = mapped
        sampler = draw.double() if self.precision == "float64" else draw
        return static, sampler, (model, training, evaluation, _key(3), state, update, divisor)

    def call(self, *arrays: PyTree) -> PyTree:
        static, draw, _ = self.runs
        return dict(self.measure(iterate_of(needs_of(self.measure), static, draw, arrays)))

    def one(self, index: int) -> tuple[PyTree, ...]:
        """The arguments of one run."""
        model, training, evaluation, key, *of_run = self.runs[2]
        model, *of_run = jax.tree.map(lambda a: a[index], (model, *of_run))
        return model, training, evaluation, key, *of_run

    def deterministic(self) -> str:
        with self.context():
            first, second = (self.call(*self.one(0)) for _ in range(2))
        require(is_same(first, second), "Two calls with the same iterate give different numbers.")
        return "Two calls with the same iterate give the same bits."

    def finite(self) -> str:
        with self.context():
            numbers = self.call(*self.one(0))
        lost = [name for name, values in numbers.items() if not np.isfinite(values).all()]
        require(not lost, f"After {_STEPS} steps of Adam {', '.join(lost)} is not finite.")
        return f"Its numbers are finite after {_STEPS} steps of Adam."

    def vectorised(self) -> str:
        counted, traces = count_traces(jax.vmap(self.call, in_axes=(0, None, None, None, 0, 0, 0)))
        with self.context():
            over_runs = jax.jit(counted)
            over_runs(*self.runs[2])
            together = over_runs(*self.runs[2])
            apart = [self.call(*self.one(index)) for index in range(len(_RATES))]
        for name, values in together.items():
            wanted = np.stack([each[name] for each in apart]).astype(float)
            scale = np.abs(wanted[np.isfinite(wanted)]).max(initial=0)
            require(
                np.allclose(
                    np.asarray(values, float),
                    wanted,
                    rtol=0,
                    atol=_TOLERANCES[self.precision] * scale,
                    equal_nan=True,
                ),
                f"Under jit and vmap over runs {name} is another number than one by one.",
            )
        require(len(traces) == 1, f"Two equal calls were compiled {len(traces)} times.")
        return "jit and vmap over runs give the numbers that runs give singly."

    def evaluation(self) -> str:
        declared = {n for n, v in self.measure.variables().items() if v.on_evaluation}
        arrays = self.one(0)
        with self.context():
            other = astype(self.precision, self.runs[1](_key(4), _BATCH))
            numbers = [self.call(*arrays[:2], batch, *arrays[3:]) for batch in (arrays[2], other)]
        used = {name for name in numbers[0] if not is_same(numbers[0][name], numbers[1][name])}
        require(
            used <= declared,
            f"{', '.join(sorted(used - declared))} depends on the evaluation batch; say so by "
            "Variable(..., on_evaluation=True), or it is measured on the first batch only.",
        )
        return "The numbers that depend on the evaluation batch say so."

    def unused(self) -> str:
        needs, used = needs_of(self.measure), self.used()
        idle = [word for word in NEED_WORDS if word in needs - used]
        if not idle:
            return "It uses all that it declares to need."
        flags = " and ".join(f"needs_{word} = False" for word in idle)
        return f"It works, and is faster with {flags}: it does not use what these flags ask for."

    def used(self) -> set[str]:
        """The arguments, and perhaps `draw`, that the numbers depend on."""
        static, draw, _ = self.runs
        drawn: list[None] = []

        def drawing(key: Any, batch: int) -> Any:
            drawn.append(None)
            return draw(key, batch)

        def numbers(*arrays: PyTree) -> PyTree:
            return dict(self.measure(iterate_of(needs_of(self.measure), static, drawing, arrays)))

        arrays = self.one(0)
        found = set()
        with self.context():
            for index, word in enumerate(_ARGUMENTS):
                if arrays[index] is not None and _changes(numbers, arrays, index):
                    found.add(word)
        return found | ({"draw"} if drawn else set())


def _changes(numbers: Any, arrays: tuple[PyTree, ...], index: int) -> bool:
    """Whether the results depend on a leaf of this argument, by the program's equations."""
    leaves, structure = jax.tree.flatten(arrays[index])
    for place, leaf in enumerate(leaves):

        def of_leaf(value: Any, *others: PyTree, place: int = place) -> PyTree:
            moved = structure.unflatten([*leaves[:place], value, *leaves[place + 1 :]])
            return numbers(*others[:index], moved, *others[index:])

        others = [each for number, each in enumerate(arrays) if number != index]
        program = jax.make_jaxpr(of_leaf)(leaf, *others)
        if depends(program, list(range(len(program.jaxpr.outvars)))):
            return True
    return False


def _key(seed: int) -> jax.Array:
    return jax.random.key(seed)
