"""The identity of an optimizer."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, PyTree

from attnscape.identity._built_in import is_built_in
from attnscape.identity._identity import Identity, by_programs, with_reasons
from attnscape.identity._program import Program, libraries, program
from attnscape.identity._shapes import AXES, repeated
from attnscape.identity._sources import pinned_by
from attnscape.identity._stage import Stage
from attnscape.optimizers import (
    ExternalOptimizer,
    Factory,
    OptaxFactory,
    Preconditioned,
    Transformation,
    WithEvalParams,
    accepting,
    clipped,
    keywords_of_step,
)
from attnscape.steppers import Group, Problem
from attnscape.validation._errors import user_errors
from attnscape.validation._quick_optimizer import UPDATE


def of_optimizer(name: str, factory: Factory, rates: Sequence[float], stage: Stage) -> Identity:
    """The identity of an optimizer.

    An optimizer from PyTorch is identified by its files. Any other optimizer is identified by the
    programs of its `init`, `update`, `eval_params` and preconditioner.

    Raises:
        UsageError: If it cannot be traced, as `attnscape.train` would.

    Examples:
        >>> from functools import partial
        >>> import optax
        >>> from attnscape import LinearTransformer, RegressionTask
        >>> from attnscape.identity import Stage, of_optimizer
        >>> model = partial(LinearTransformer.init, layers=1, dim=2)
        >>> stage = Stage(model, RegressionTask(dim=2), 8, 8, None, "float32", double=False)
        >>> one = of_optimizer("one", lambda rate: optax.sgd(rate), (0.1,), stage)
        >>> one == of_optimizer("other", lambda step: optax.sgd(step), (0.1,), stage)
        True
        >>> one == of_optimizer("one", lambda rate: optax.sgd(2 * rate), (0.1,), stage)
        False
    """
    if isinstance(factory, ExternalOptimizer):
        content, outside = pinned_by(factory)
        if factory.numbers != 1:
            content["numbers"] = factory.numbers
        return with_reasons(name, factory, content, outside)
    with stage.tracing():
        if is_built_in(factory):
            return _of_named(factory, _Hashable(stage), libraries())
        group = Group(name, factory, tuple(rates))
        return by_programs(name, factory, lambda: _programs(group, stage))


def of_module_optimizer(
    name: str, factory: Factory, rate: float, clip: float | None, parameters: PyTree
) -> Identity:
    """The identity of an optimizer that steps the parameters of a PyTorch module.

    That of a built-in one does not depend on the rate, which its caller adds.

    Args:
        name: The optimizer's name, for messages.
        factory: The optimizer.
        rate: Its learning rate.
        clip: Global norm that gradients are clipped to, or None.
        parameters: Shapes and dtypes of the parameters.

    Raises:
        UsageError: If it cannot be traced on these parameters.

    Examples:
        >>> import jax.numpy as jnp
        >>> import optax
        >>> from attnscape.identity import of_module_optimizer
        >>> shapes = {"weight": jnp.zeros((2, 3))}
        >>> one = of_module_optimizer("one", optax.sgd, 0.1, None, shapes)
        >>> one == of_module_optimizer("two", lambda rate: optax.sgd(rate), 0.1, None, shapes)
        True
        >>> one == of_module_optimizer("one", optax.sgd, 0.1, 1.0, shapes)  # clipped
        False
    """
    if isinstance(factory, ExternalOptimizer):
        content, outside = pinned_by(factory)
        return with_reasons(name, factory, content, outside)
    if is_built_in(factory):
        return _of_named_module(factory, clip, _Shapes(parameters), libraries())
    with user_errors(UPDATE, f"The optimizer {name}", factory):
        return by_programs(name, factory, lambda: _of_module(name, factory, rate, clip, parameters))


@functools.lru_cache(maxsize=512)
def _of_named_module(factory: Any, clip: float | None, shapes: _Shapes, libraries: int) -> Identity:
    del libraries  # only part of the cache's key: a trace is valid for the same libraries
    traced = _of_module(
        getattr(factory, "__name__", repr(factory)), factory, 1.0, clip, shapes.parameters
    )
    return Identity({"programs": [each.digest for each in traced]})


class _Shapes:
    """Parameters as a cache key; those with equal shapes are equal."""

    def __init__(self, parameters: PyTree) -> None:
        self.parameters = parameters
        leaves, tree = jax.tree.flatten(parameters)
        self._content = (str(tree), tuple((leaf.shape, str(leaf.dtype)) for leaf in leaves))

    def __hash__(self) -> int:
        return hash(self._content)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Shapes) and self._content == other._content


def _of_module(
    name: str, factory: OptaxFactory, rate: float, clip: float | None, parameters: PyTree
) -> list[Program]:
    """The programs of an optimizer on the parameters of a module."""
    optimizer = clipped(lambda rate: accepting(factory(rate)), clip)(rate)
    init = program(optimizer.init, parameters)

    def update(
        gradient: PyTree, state: PyTree, values: PyTree, loss: Array
    ) -> tuple[PyTree, PyTree]:
        keywords = keywords_of_step(name, loss, gradient)
        updates, state = optimizer.update(gradient, state, values, **keywords)  # pyright: ignore[reportCallIssue]
        return optax.apply_updates(values, updates), state

    loss = jax.ShapeDtypeStruct((), jnp.float32)
    programs = [init, program(update, parameters, init.results, parameters, loss)]
    if isinstance(optimizer, WithEvalParams):
        programs.append(program(optimizer.eval_params, init.results, parameters))
    return programs


@functools.lru_cache(maxsize=512)
def _of_named(factory: Any, stage: _Hashable, libraries: int) -> Identity:
    del libraries  # only part of the cache's key: a trace is valid for the same libraries
    name = getattr(factory, "__name__", repr(factory))  # a partial has none
    traced = _programs(Group(name, factory, (1.0,)), stage.stage)
    return Identity({"programs": [each.digest for each in traced]})


class _Hashable:
    """A stage as a cache key; stages with equal shapes and losses are equal."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        leaves, tree = jax.tree.flatten(stage.parameters)
        data = stage.prompts(stage.batch)
        every = (*leaves, *jax.tree.leaves(data))
        shapes = [(leaf.shape, str(leaf.dtype)) for leaf in every]
        self._content: object = object()  # equal only to itself
        if is_built_in(stage.make):
            self._content = (str(tree), repr(shapes), stage.clip, stage.precision, data.loss)

    def __hash__(self) -> int:
        return hash(self._content)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Hashable) and self._content == other._content


def _programs(group: Group, stage: Stage) -> list[Program]:
    problem = Problem(
        stage.parameters,
        stage.static,
        lambda data_keys, step: stage.prompts(stage.batch),  # only shapes: nothing is drawn
        None if stage.clip is None else float(stage.clip),
        jnp.dtype(stage.precision),
    )
    try:
        return list(_traced(group, problem, stage))
    except Exception:
        if is_built_in(group.factory):
            raise
        # A factory that takes only plain numbers has one program for each learning rate.
        apart = [functools.partial(_at, group.factory, rate) for rate in group.learning_rates]
        groups = [Group(group.name, each, group.learning_rates) for each in apart]
        return [each for one in groups for each in _traced(one, problem, stage)]


def _at(factory: Factory, rate: float, traced_rate: object) -> Transformation:
    """The transformation with the learning rate `rate`; ignores the traced rate."""
    del traced_rate
    return factory(rate)  # pyright: ignore[reportCallIssue]


def _traced(group: Group, problem: Problem, stage: Stage) -> Iterator[Program]:
    def optimizer(rate: Array) -> Any:
        return clipped(lambda rate: accepting(group.factory(rate)), stage.clip)(rate)  # pyright: ignore[reportCallIssue, reportArgumentType]

    rates = jax.ShapeDtypeStruct(AXES[1:], problem.dtype)
    models = repeated(stage.parameters, AXES)
    losses = jax.ShapeDtypeStruct(AXES, problem.dtype)
    prompts = repeated(stage.prompts(stage.batch), AXES[:1])

    over_rates = jax.vmap(lambda rate, model: optimizer(rate).init(model), (0, 0))
    init = program(jax.vmap(over_rates, (None, 0)), rates, models)
    yield init

    def update(
        rate: Array, data: PyTree, gradient: PyTree, state: PyTree, model: PyTree, loss: Array
    ) -> tuple[PyTree, PyTree]:
        keywords = problem.keywords(model, data, loss, gradient)
        updates, state = optimizer(rate).update(gradient, state, model, **keywords)
        return optax.apply_updates(model, updates), state

    vectorised = jax.vmap(jax.vmap(update, (0, None, 0, 0, 0, 0)), (None, 0, 0, 0, 0, 0))
    yield program(vectorised, rates, prompts, models, init.results, models, losses)
    first = optimizer(np.array(group.learning_rates, problem.dtype)[0])
    if isinstance(first, WithEvalParams):
        yield program(jax.vmap(jax.vmap(first.eval_params)), init.results, models)
    if isinstance(first, Preconditioned):
        yield program(jax.vmap(jax.vmap(first.preconditioner)), init.results)
