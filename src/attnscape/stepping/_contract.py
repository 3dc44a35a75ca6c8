"""Whether an optimizer keeps its contract, found out before anything is compiled or run."""

from __future__ import annotations

from typing import Any

import jax
import optax

from attnscape.errors import UsageError
from attnscape.loading import source_of, told
from attnscape.stepping._problem import Group, Problem
from attnscape.transformations import EvaluatedElsewhere, Preconditioned, accepting


def check(group: Group, problem: Problem) -> None:
    """Raises UsageError, in a sentence with file and line, if the factory's optimizer cannot run.

    The factory, `init` and `update` are called on shapes alone.
    """
    jax.eval_shape(lambda: _one_update(group, problem, jax.numpy.asarray(group.learning_rates[0])))


def _one_update(group: Group, problem: Problem, rate: jax.Array) -> None:
    where = source_of(group.factory)  # pyright: ignore[reportArgumentType]
    at = f" ({where})" if where else ""
    model = jax.tree.map(lambda a: a[0], problem.initial_models)
    prompts = jax.tree.map(lambda a: a[0], problem.training_data(0))
    loss, gradient = problem.value_and_gradient(model, prompts)
    try:
        transformation = group.factory(rate)  # pyright: ignore[reportCallIssue]
        if not isinstance(transformation, optax.GradientTransformation | EvaluatedElsewhere):
            raise UsageError(
                f"The factory of {group.name} gave {_short(transformation)}; it must give an "
                f"optax.GradientTransformation{at}."
            )
        state = transformation.init(model)
        keywords = problem.keywords(model, prompts, loss, gradient)
        updates, after = accepting(transformation).update(gradient, state, model, **keywords)  # pyright: ignore[reportCallIssue]
        preconditioner = model
        if isinstance(transformation, Preconditioned):
            preconditioner = transformation.preconditioner(state)
    except UsageError:
        raise
    except jax.errors.JAXTypeError as error:
        raise UsageError(
            f"The optimizer {group.name} cannot be compiled: {_placed(error, at)}; rates and "
            "parameters are traced, so that all runs go at once: compute with jax.numpy."
        ) from error
    except Exception as error:
        raise UsageError(f"The optimizer {group.name} failed: {_placed(error, at)}.") from error
    # Updates are converted to the parameters' dtype when they are added.
    updates, preconditioner = jax.tree.map(
        lambda u: jax.numpy.asarray(u, problem.dtype), (updates, preconditioner)
    )
    for what, before, later in (
        ("updates of another form than the parameters", model, updates),
        ("a preconditioner of another form than the parameters", model, preconditioner),
        ("another form of state after an update", state, after),
    ):
        if _form(before) != _form(later):
            raise UsageError(
                f"The optimizer {group.name} gives {what}{at}: {_difference(before, later)}; keep "
                "structure, shapes and dtypes."
            )


def _placed(error: Exception, at: str) -> str:
    """The error in words with the user's line that it came from, or else with the factory's."""
    message = told(error)
    return message if ", line " in message else f"{message}{at}"


def _form(tree: Any) -> Any:
    leaves, structure = jax.tree.flatten(tree)
    return structure, [(jax.numpy.shape(a), jax.numpy.result_type(a)) for a in leaves]


def _difference(before: Any, after: Any) -> str:
    for (path, first), (_, second) in zip(
        jax.tree_util.tree_leaves_with_path(before),
        jax.tree_util.tree_leaves_with_path(after),
        strict=False,
    ):
        forms = [f"{jax.numpy.result_type(a)}{list(jax.numpy.shape(a))}" for a in (first, second)]
        if forms[0] != forms[1]:
            return f"{jax.tree_util.keystr(path)} was {forms[0]} and becomes {forms[1]}"
    return "the trees have other branches"


def _short(value: Any) -> str:
    text = f"{type(value).__name__} {value!r}"
    return text if len(text) <= 80 else f"{text[:77]}..."
