"""Quick checks of a measure: it gives the numbers that it describes, from what it declares."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from attnscape.measures import Iterate, Measure, Variable
from attnscape.optimizers import ExternalOptimizer, Preconditioned, accepting, clipped
from attnscape.steppers import Group, Problem, Sampler
from attnscape.tasks import Task
from attnscape.trees import astype
from attnscape.validation._errors import BrokenError, placed, user_errors
from attnscape.validation._shapes import keys_of
from attnscape.validation._tracing import short, trace

# Names of the checks, as `attnscape check` lists them.
VARIABLES, NEEDS, NUMBERS = "variables", "declared needs", "numbers and shapes"
# The word after `needs_` in a measure's flags; without the need, the engine passes None.
NEED_WORDS = ("training", "draw", "state", "update", "preconditioner")
_TAKEN = ("optimizer", "learning_rate", "seed", "step", "evaluation")


def needs_of(measure: Measure) -> frozenset[str]:
    """The words of the needs that a measure declares."""
    return frozenset(word for word in NEED_WORDS if getattr(measure, f"needs_{word}"))


def iterate_of(needs: frozenset[str], static: PyTree, draw: Any, arrays: Any) -> Iterate:
    """An iterate with what is needed; `arrays` are the arguments of `iterate_shapes`."""
    model, training, evaluation, key, state, update, preconditioner = arrays
    return Iterate(
        eqx.combine(model, static),
        training if "training" in needs else None,
        evaluation,
        key,
        draw if "draw" in needs else None,
        state if "state" in needs else None,
        update if "update" in needs else None,
        preconditioner if "preconditioner" in needs else None,
    )


def require_measure(
    measure: Measure,
    problem: Problem,
    data: PyTree,
    task: Task,
    groups: Sequence[Group],
) -> None:
    """Checks that a measure can be evaluated in runs of these optimizers.

    Args:
        measure: The measure.
        problem: The problem of the runs; `first_model` is the model of one seed.
        data: Shapes of a step's data.
        task: The task that further prompts are drawn from.
        groups: The optimizers.

    Raises:
        BrokenError: If it cannot, or its numbers are not those that it describes.
    """
    subject = f"The measure {type(measure).__name__}"
    model = eqx.combine(problem.first_model, problem.static)
    variables, labels = _described(measure, model, subject)
    dtype = measure.precision or problem.dtype.name
    draw, declared = Sampler.for_model(model, task, dtype), needs_of(measure)

    def numbers(needs: frozenset[str], *arrays: PyTree) -> PyTree:
        return measure(iterate_of(needs, problem.static, draw, arrays))

    with jax.enable_x64(True) if dtype == "float64" else contextlib.nullcontext():
        for arrays in _shapes(problem, data, groups, dtype):
            _require_needs(measure, subject, numbers, arrays, declared)
            function = functools.partial(numbers, declared)
            found = trace(NUMBERS, subject, measure, function, *arrays).shapes
            _require_numbers(measure, subject, found, variables, labels)


def _described(
    measure: Measure, model: Callable[..., PyTree], subject: str
) -> tuple[Mapping[str, Variable], Mapping[str, int]]:
    """The variables of a measure, and the number of labels along its dims."""
    with user_errors(VARIABLES, subject, measure):
        variables: Mapping[str, Any] = measure.variables()
        coordinates = measure.coordinates(model)
        labels = {dim: len(values) for dim, values in coordinates.items()}
    for name, variable in variables.items():
        if not isinstance(variable, Variable):
            sentence = f"{subject} describes {name} by {short(variable)}; give a Variable."
            raise BrokenError(VARIABLES, placed(sentence, measure))
        for dim in (*variable.dims, name):
            if dim in _TAKEN:
                sentence = (
                    f"{subject} uses the name {dim}, which every result has; choose another name."
                )
                raise BrokenError(VARIABLES, placed(sentence, measure))
    return variables, labels


def _shapes(
    problem: Problem, data: PyTree, groups: Sequence[Group], dtype: str
) -> list[tuple[PyTree, ...]]:
    """The arguments of `iterate_of` as shapes, for each optimizer."""

    def shaped(tree: PyTree) -> PyTree:
        return jax.eval_shape(lambda: astype(dtype, jax.tree.map(_zeros, tree)))

    model, prompts = shaped(problem.first_model), shaped(data)
    found = []
    for group in groups:
        state, divisor = (), None
        if not isinstance(group.factory, ExternalOptimizer):
            factory: Any = group.factory
            made = clipped(lambda rate, f=factory: accepting(f(rate)), problem.clip)(
                group.learning_rates[0]
            )
            state = jax.eval_shape(made.init, problem.first_model)
            divisor = model if isinstance(made, Preconditioned) else None
        found.append((model, prompts, prompts, keys_of(()), state, model, divisor))
    return found


def _zeros(shape: Any) -> Array:
    return jnp.zeros(shape.shape, shape.dtype)


def _require_needs(
    measure: Measure,
    subject: str,
    numbers: Callable[..., PyTree],
    arrays: tuple[PyTree, ...],
    declared: frozenset[str],
) -> None:
    """Raises if the measure fails only because it does not declare what it uses."""

    def works(needs: frozenset[str]) -> bool:
        try:
            jax.eval_shape(lambda *given: numbers(needs, *given), *arrays)
        except KeyboardInterrupt:
            raise
        except BaseException:  # a user's part may raise anything
            return False
        return True

    everything = frozenset(NEED_WORDS)
    if works(declared) or not works(everything):
        return
    undeclared = [w for w in NEED_WORDS if w not in declared and not works(everything - {w})]
    flags = " and ".join(f"needs_{word} = True" for word in undeclared)
    sentence = f"{subject} uses what it does not declare to need; set {flags}."
    raise BrokenError(NEEDS, placed(sentence, measure))


def _require_numbers(
    measure: Measure,
    subject: str,
    found: Any,
    variables: Mapping[str, Variable],
    labels: Mapping[str, int],
) -> None:
    def refuse(words: str) -> BrokenError:
        return BrokenError(NUMBERS, placed(f"{subject} {words}", measure))

    if not isinstance(found, Mapping):
        raise refuse(f"gives {short(found)}; give a dict from the variables' names to numbers.")
    if set(found) != set(variables):
        raise refuse(f"gives {sorted(found)}, but its variables are {sorted(variables)}.")
    sizes = dict(labels)
    for name, variable in variables.items():
        shape, kind = jnp.shape(found[name]), jnp.result_type(found[name]).kind
        if kind not in "biuf":
            raise refuse(f"gives {name} of type {jnp.result_type(found[name])}; give real numbers.")
        if len(shape) != len(variable.dims):
            raise refuse(
                f"gives {name} of shape {shape}, but its variable has the dims {variable.dims}."
            )
        for dim, size in zip(variable.dims, shape, strict=True):
            if sizes.setdefault(dim, size) != size:
                raise refuse(
                    f"gives {name} of length {size} along {dim}, which has the length "
                    f"{sizes[dim]} elsewhere."
                )
    unused = set(labels) - {dim for variable in variables.values() for dim in variable.dims}
    if unused:
        raise refuse(f"labels {sorted(unused)}, which no variable has as a dim.")
