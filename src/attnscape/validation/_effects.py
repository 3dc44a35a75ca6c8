"""Whether the arguments of an optimizer's factory change its steps.

Each argument with a default, other than the learning rate, is changed alone. The optimizer then
trains Setting 1's model (d = 5, L = 3) on a fixed batch in double precision, and its path is
compared with that of the defaults.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from attnscape.models import LinearTransformer
from attnscape.optimizers import OptaxFactory, Preconditioned, WithEvalParams, accepting
from attnscape.optimizers.binding import Wrapped, asked
from attnscape.steppers import Problem
from attnscape.tasks import RegressionTask
from attnscape.validation._errors import format_user_error
from attnscape.validation._result import CheckResult, precision
from attnscape.validation._updates import RUN

_RATE = 0.01
_STEPS = 12  # more than the ten between two of Sophia's estimates of the Hessian
# Of the path's length. A change that cancels leaves errors of rounding, 1e-16 for each operation;
# Adam's eps of 1e-8, the smallest number of importance, changes the path by about as much.
_NOTHING = 1e-12
_COMPILER = {"xla_backend_optimization_level": 0}  # twelve steps are not worth optimised code


def effects(factory: OptaxFactory) -> Iterator[CheckResult]:
    """One result for each argument of a factory with a default; a warning if it changes nothing.

    Numbers are scaled and moved, alone or within a tuple or list, and booleans are flipped;
    anything else is left. An argument whose other values all raise an error has an effect.
    """
    if isinstance(factory, Wrapped):  # all its arguments have their values
        return
    try:
        signature = inspect.signature(factory)
    except ValueError:  # it has none, as some functions of C
        return
    given = asked(factory, **RUN)
    expected = functools.cache(lambda: _path(lambda rate: factory(rate, **given)))
    for parameter in list(signature.parameters.values())[1:]:
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            sentence = "Any keyword is taken; what they do cannot be seen, as they have no default."
            yield CheckResult(f"**{parameter.name}", True, sentence)
        elif parameter.default is not parameter.empty:
            for each in _variables(parameter.name, parameter.default):
                yield _judged(each, factory, signature, given, expected)


@dataclasses.dataclass(frozen=True)
class _Variable:
    """A number or boolean in a factory's arguments.

    Attributes:
        name: The argument, with an index within a tuple or list, such as `betas[1]`.
        argument: The argument.
        default: Its value.
        others: Other values to try.
        given: The argument with one of them.
    """

    name: str
    argument: str
    default: object
    others: tuple[Any, ...]
    given: Callable[[Any], object]


def _variables(name: str, default: object) -> Iterator[_Variable]:
    if type(default) in (tuple, list) and default:
        entries: list[object] = list(default)  # pyright: ignore[reportArgumentType]
        for index, entry in enumerate(entries):

            def given(value: object, index: int = index) -> object:
                return type(default)([*entries[:index], value, *entries[index + 1 :]])  # pyright: ignore[reportCallIssue]

            yield _Variable(f"{name}[{index}]", name, entry, _others(entry), given)
    else:
        yield _Variable(name, name, default, _others(default), lambda value: value)


def _others(value: object) -> tuple[Any, ...]:
    """Values to try instead, the most usual ones first; none if it is not a number or boolean."""
    match value:
        case bool():
            return (not value,)
        case int():
            tried = (2 * value, value + 1, value // 2, 1, 0)
        case float() if not value:
            tried = (0.1, 1.0)
        case float() if 0 < value < 1:  # often a decay, for which 1 - value counts
            tried = (value / 2, (1 + value) / 2, value + 0.1, 1000 * value, value / 1000)
        case float():
            tried = (value / 2, 2 * value, value + 0.1, value / 1000, 1000 * value)
        case _:
            return ()
    return tuple(dict.fromkeys(each for each in tried if each != value and _finite(each)))


def _finite(number: float) -> bool:
    return isinstance(number, int) or math.isfinite(number)  # integers may be too large for floats


def _judged(
    variable: _Variable,
    factory: OptaxFactory,
    signature: inspect.Signature,
    given: Mapping[str, int],
    expected: Callable[[], Float[np.ndarray, "step number"]],
) -> CheckResult:
    def with_value(value: object) -> OptaxFactory:
        def made(rate: Any) -> Any:
            bound = signature.bind(rate, **given)
            bound.apply_defaults()
            bound.arguments[variable.argument] = variable.given(value)
            return factory(*bound.args, **bound.kwargs)

        return made

    name = f"argument {variable.name}"
    if not variable.others:
        simple = variable.default is None or isinstance(variable.default, str | int | float)
        kept = repr(variable.default) if simple else f"its {type(variable.default).__name__}"
        return CheckResult(name, True, f"It was left at {kept}, as no other value suggests itself.")
    without, refused = list[str](), list[str]()
    for other in variable.others:
        try:
            found = _path(with_value(other))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a user's part may raise anything
            refused.append(f"{other!r} ({format_user_error(error)})")
            continue
        change = _relative_change(expected(), found)
        if not change <= _NOTHING:
            words = f"by {change:.2g} of their length" if np.isfinite(change) else "beyond bounds"
            sentence = f"From {variable.default!r} to {other!r}, it changes the steps {words}."
            return CheckResult(name, True, sentence)
        without.append(f"{other!r}")
    said = f"refused: {'; '.join(refused)}"
    if not without:
        return CheckResult(name, True, f"Other values than {variable.default!r} are {said}.")
    sentence = (
        f"It changes nothing: {', '.join(without)} instead of {variable.default!r} give the same "
        f"{_STEPS} steps{f' ({said})' * bool(refused)}. Is it applied, and does it not depend on "
        "another argument?"
    )
    return CheckResult(name, True, sentence, warning=True)


def _relative_change(
    one: Float[np.ndarray, "step number"], other: Float[np.ndarray, "step number"]
) -> float:
    """The largest difference over steps, in units of the path's length; NaN equals NaN."""
    if np.array_equal(one, other, equal_nan=True):
        return 0.0
    length = np.linalg.norm(one[-1] - one[0])
    with np.errstate(all="ignore"):
        return float(np.linalg.norm(other - one, axis=1).max() / length)


@functools.cache
def _problem() -> tuple[Problem, PyTree, PyTree, Callable[..., Any]]:
    """Setting 1 without clipping: problem, parameters, moments; loss and gradient."""
    task, keys = RegressionTask(), jax.random.split(jax.random.key(0))
    made = LinearTransformer.init(keys[0], layers=3, dim=task.dim, dtype=jnp.float64)
    model, static = eqx.partition(made, eqx.is_inexact_array)
    moments = task.sample_moments(keys[1], 32)
    problem = Problem(model, static, lambda data_keys, step: moments, None, jnp.dtype("float64"))
    return problem, model, moments, jax.jit(problem.value_and_grad)


def _path(factory: OptaxFactory) -> Float[np.ndarray, "step number"]:
    """All numbers that training and measures take from an optimizer: one row for each step."""
    with precision("float64"):
        problem, model, moments, value_and_grad = _problem()
        optimizer: Any = accepting(factory(_RATE))

        @functools.partial(jax.jit, compiler_options=_COMPILER)
        def step(
            model: PyTree, state: PyTree, loss: Array, gradient: PyTree
        ) -> tuple[PyTree, PyTree, Array]:
            keywords = problem.keywords(model, moments, loss, gradient)
            updates, state = optimizer.update(gradient, state, model, **keywords)
            model = optax.apply_updates(model, updates)
            seen = [model]
            if isinstance(optimizer, WithEvalParams):
                seen.append(optimizer.eval_params(state, model))
            if isinstance(optimizer, Preconditioned):
                seen.append(optimizer.preconditioner(state))
            return model, state, ravel_pytree(seen)[0]

        state, rows = optimizer.init(model), list[Array]()
        for _ in range(_STEPS):
            model, state, row = step(model, state, *value_and_grad(model, moments))
            rows.append(row)
        return np.asarray(jnp.stack(rows))
