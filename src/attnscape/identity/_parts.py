"""What each kind of part is identified by: what it declares, or the program it becomes.

Programs are traced as the engine traces them: over the axes (seed, learning rate), in the precision
of the runs and, where a measure asks for it, in double precision, on the same shapes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from attnscape import objective, spec
from attnscape.drawing import Draw
from attnscape.errors import UsageError
from attnscape.identity._own import is_own
from attnscape.identity._program import Program, libraries, program
from attnscape.identity._sources import pinned_by
from attnscape.loading import name_of, source_of, telling
from attnscape.measures import Iterate, Measure
from attnscape.prompts import Moments, Prompts
from attnscape.stepping import Group, Problem
from attnscape.tasks import RegressionTask, Task
from attnscape.transformations import (
    EvaluatedElsewhere,
    Outside,
    Preconditioned,
    accepting,
    clipped,
)

_AXES = (2, 2)  # seeds and learning rates of a trace: how many does not count


class NotFoundAgainWarning(UserWarning):
    """A part depends on more than its code, so no other process finds its results."""


@dataclasses.dataclass(frozen=True)
class Identity:
    """What tells a part, or a whole experiment, from others.

    Attributes:
        content: In terms of JSON.
        reasons: Why it may change unseen, a sentence each; empty if it cannot. A result made with
            it is not found by another process.
    """

    content: Any
    reasons: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Stage:
    """What the parts of an experiment meet: a model, and what it sees.

    Attributes:
        make: From a key to a model.
        task: Where prompts come from.
        batch: Prompts of an update.
        evaluation_batch: Prompts of the fixed batch.
        clip: Global norm for clipping, or None.
        precision: Of the runs.
        double: Whether a measure asks for double precision.
    """

    make: Callable[[jax.Array], Any]
    task: Task
    batch: int
    evaluation_batch: int
    clip: float | None
    precision: str
    double: bool

    @functools.cached_property
    def model(self) -> Any:
        """A model, in the runs' precision; one of attnscape's own without its numbers."""
        if is_own(self.make):
            return _shapes_as(self.precision, eqx.filter_eval_shape(self.make, _key()))
        return _astype(self.precision, self.make(jax.random.key(0)))

    @functools.cached_property
    def parameters(self) -> Any:
        """Shapes and dtypes of what is trained."""
        return _shapes(eqx.filter(self.model, _is_trained))

    @functools.cached_property
    def static(self) -> Any:
        """The rest of the model."""
        return eqx.partition(self.model, _is_trained)[1]

    @functools.cached_property
    def draw(self) -> Draw:
        """Prompts, or the moments that are all the model sees."""
        return Draw.what(self.model, self.task, self.precision)

    def prompts(self, batch: int) -> Any:
        """Shapes and dtypes of a batch."""
        if not is_own(self.task):
            return jax.eval_shape(lambda key: self.draw(key, batch), _key())
        d, n = self.task.dim, self.task.context
        sizes = ((batch, n, d), (batch, n), (batch, d), (batch,))
        if self.draw.moments:
            sizes = ((batch, d, d), (batch, d), (batch,), (batch, d), (batch,))
        kind = Moments if self.draw.moments else Prompts
        return jax.eval_shape(lambda: kind(*(jnp.zeros(size, self.precision) for size in sizes)))

    @contextlib.contextmanager
    def scene(self) -> Iterator[None]:
        """The precision that the engine sets, and mistakes told as sentences."""
        wide = jax.enable_x64(True) if self.precision == "float64" else contextlib.nullcontext()
        with wide, telling():
            yield


def of_optimizer(name: str, factory: Any, rates: Sequence[float], stage: Stage) -> Identity:
    """Of an optimizer: its `init`, `update` and evaluation point; PyTorch's by their files.

    Raises:
        UsageError: If it cannot be traced, as `attnscape.train` would.
    """
    if isinstance(factory, Outside):
        content, outside = pinned_by(factory)
        return _identified(name, factory, content, outside)
    with stage.scene():
        if is_own(factory):
            return _of_named(factory, _Hashable(stage), libraries())
        group = Group(name, factory, tuple(rates))
        return _by_programs(name, factory, lambda: _optimizer_programs(group, stage))


@functools.lru_cache(maxsize=512)
def _of_named(factory: Any, stage: _Hashable, libraries: int) -> Identity:
    del libraries  # what was traced serves as long as they are the same
    traced = _optimizer_programs(Group(factory.__name__, factory, (1.0,)), stage.stage)
    return Identity({"programs": [each.digest for each in traced]})


class _Hashable:
    """A stage by the shapes that it has, for what only looks at them."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        leaves, tree = jax.tree.flatten(stage.parameters)
        data = jax.tree.leaves(stage.prompts(stage.batch))
        shapes = [(leaf.shape, str(leaf.dtype)) for leaf in (*leaves, *data)]
        self._content = (str(tree), repr(shapes), stage.clip, stage.precision, is_own(stage.make))
        if not is_own(stage.make):
            self._content = object()

    def __hash__(self) -> int:
        return hash(self._content)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Hashable) and self._content == other._content


def _optimizer_programs(group: Group, stage: Stage) -> list[Program]:
    problem = Problem(
        stage.parameters,
        stage.static,
        lambda data_keys, step: None,  # only updates are looked at, on the shapes of a batch
        stage.clip,
        jnp.dtype(stage.precision),
    )
    try:
        return list(_traced_optimizer(group, problem, stage))
    except Exception:
        if is_own(group.factory):
            raise
        # A factory that takes plain numbers only has a program a rate.
        apart = [functools.partial(_at, group.factory, rate) for rate in group.learning_rates]
        groups = [Group(group.name, each, group.learning_rates) for each in apart]
        return [each for one in groups for each in _traced_optimizer(one, problem, stage)]


def _at(factory: Any, rate: float, traced_rate: Any) -> Any:
    """The transformation of one rate, whatever is traced."""
    del traced_rate
    return factory(rate)


def _traced_optimizer(group: Group, problem: Problem, stage: Stage) -> Iterator[Program]:
    def optimizer(rate: Any) -> Any:
        return clipped(lambda rate: accepting(group.factory(rate)), stage.clip)(rate)  # pyright: ignore[reportCallIssue, reportArgumentType]

    rates = jax.ShapeDtypeStruct(_AXES[1:], problem.dtype)
    models = _repeated(stage.parameters, _AXES)
    losses = jax.ShapeDtypeStruct(_AXES, problem.dtype)
    prompts = _repeated(stage.prompts(stage.batch), _AXES[:1])
    over_both = functools.partial(_over_both, rates=(0, None))

    init = program(over_both(lambda rate, model: optimizer(rate).init(model), 2), rates, models)
    yield init

    def update(rate: Any, data: Any, gradient: Any, state: Any, model: Any, loss: Any) -> Any:
        keywords = problem.keywords(model, data, loss, gradient)
        updates, state = optimizer(rate).update(gradient, state, model, **keywords)
        return optax.apply_updates(model, updates), state

    vectorised = jax.vmap(jax.vmap(update, (0, None, 0, 0, 0, 0)), (None, 0, 0, 0, 0, 0))
    yield program(vectorised, rates, prompts, models, init.results, models, losses)
    first = optimizer(np.array(group.learning_rates, problem.dtype)[0])
    if isinstance(first, EvaluatedElsewhere):
        point = jax.vmap(jax.vmap(first.evaluation_point))
        yield program(point, init.results, models)
    if isinstance(first, Preconditioned):
        yield program(jax.vmap(jax.vmap(first.preconditioner)), init.results)


def _over_both(function: Any, arguments: int, rates: Any) -> Any:
    rest = (0,) * (arguments - 1)
    return jax.vmap(jax.vmap(function, (rates[0], *rest)), (rates[1], *rest))


def of_model(stage: Stage) -> Identity:
    """Of a model: its init, call, gradient and Hessian-vector product on the prompts' shapes.

    Raises:
        UsageError: If it cannot be traced.
    """
    if is_own(stage.make):
        return Identity(spec.describe(stage.make))
    with stage.scene():
        return _by_programs("model", stage.make, lambda: list(_model_programs(stage)))


def _model_programs(stage: Stage) -> Iterator[Program]:
    def init(key: Any) -> Any:
        return eqx.filter(_astype(stage.precision, stage.make(key)), eqx.is_inexact_array)

    yield program(jax.vmap(init), _repeated(_key(), _AXES[:1]))
    first = stage.make(jax.random.key(0))  # what no parameter is may be another one by now
    static = eqx.partition(_astype(stage.precision, first), eqx.is_inexact_array)[1]
    kinds = ("float64",) if stage.double else ()
    for dtype in dict.fromkeys((stage.precision, *kinds)):
        with jax.enable_x64(True) if dtype == "float64" else contextlib.nullcontext():
            parameters = _shapes_as(dtype, stage.parameters)
            for batch in dict.fromkeys((stage.batch, stage.evaluation_batch)):
                data = _shapes_as(dtype, stage.prompts(batch))
                yield from _derivatives(static, parameters, data)
                if isinstance(data, Prompts):
                    call = _on_models(lambda model, data: model(data), static)
                    yield program(call, _repeated(parameters, _AXES), _repeated(data, _AXES[:1]))


def _derivatives(static: Any, parameters: Any, data: Any) -> Iterator[Program]:
    models, batches = _repeated(parameters, _AXES), _repeated(data, _AXES[:1])
    yield program(_on_models(objective.value_and_gradient, static), models, batches)

    def hvp(model: Any, direction: Any, data: Any) -> Any:
        model, direction = eqx.combine(model, static), eqx.combine(direction, static)
        product = objective.hvp(model, data, direction)
        return eqx.filter(product, eqx.is_inexact_array)

    vectorised = jax.vmap(jax.vmap(hvp, (0, 0, None)), (0, 0, 0))
    yield program(vectorised, models, models, batches)


def _on_models(function: Any, static: Any) -> Any:
    def on_parameters(parameters: Any, data: Any) -> Any:
        result = function(eqx.combine(parameters, static), data)
        return jax.tree.map(lambda a: a if eqx.is_array(a) else None, result)

    return jax.vmap(jax.vmap(on_parameters, (0, None)), (0, 0))


def of_task(stage: Stage) -> Identity:
    """Of a task: what it draws for the model, in every precision that is asked for.

    Raises:
        UsageError: If it cannot be traced, or draws without its key.
    """
    if is_own(stage.task):
        return Identity(_declared(stage.task))
    with stage.scene():
        check_draws(stage.draw, stage.batch)
        return _by_programs("task", stage.task, lambda: list(_task_programs(stage)))


def _task_programs(stage: Stage) -> Iterator[Program]:
    keys = _repeated(_key(), _AXES[:1])
    draws = {stage.precision: stage.draw} | (
        {"float64": stage.draw.double()} if stage.double else {}
    )
    for dtype, draw in draws.items():
        with jax.enable_x64(True) if dtype == "float64" else contextlib.nullcontext():
            yield program(jax.vmap(lambda key, draw=draw: draw(key, stage.batch)), keys)
            yield program(lambda key, draw=draw: draw(key, stage.evaluation_batch), _key())


def check_draws(draw: Draw, batch: int) -> None:
    """Raises UsageError if a task's prompts do not come from its key, and so never change.

    What is drawn with numpy while JAX traces a law becomes a constant of the program.
    """
    task = draw.task
    if is_own(task):
        return
    laws = []
    if isinstance(task, RegressionTask):
        sizes = {"covariates": task.context + 1, "weights": 1}
        laws = [(n, law, size) for n, size in sizes.items() if not is_own(law := getattr(task, n))]
    for name, law, size in laws:
        frozen = _is_frozen(functools.partial(_call_law, law, size, task.dim), batch)
        if frozen:
            raise UsageError(
                f"The law of the {name} ({_place(law)}) {frozen}; draw all of it with jax.random "
                "from the key that it is given."
            )
    if frozen := _is_frozen(draw, batch):
        raise UsageError(
            f"The task ({_place(task)}) {frozen}; draw all of it with jax.random from the key that "
            "it is given."
        )


def _call_law(law: Any, size: int, dim: int, key: Any, batch: int) -> Any:
    return law(key, batch, size, dim)


def _is_frozen(draw: Callable[[Any, int], Any], batch: int) -> str:
    """How it does without its key, in words; empty if it does not."""
    first, second = (program(lambda key: draw(key, batch), _key()) for _ in range(2))
    if first.digest != second.digest:
        return (
            "draws numbers otherwise than from its key: JAX would take them as constants, the same "
            "at every step"
        )
    if any(first.used) or first.outside:
        return ""
    few = jax.device_get(draw(jax.random.key(0), 8))
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(few)]
    if isinstance(few, np.ndarray) and all((leaf == leaf[:1]).all() for leaf in leaves):
        return ""  # the same for every prompt, on purpose
    return "does not depend on its key: every batch would be the same"


def of_measure(
    measure: Measure, optimizers: Mapping[str, Any], steps: int, stage: Stage
) -> Identity:
    """Of a measure: what it takes of a run, its schedule and its labels.

    Raises:
        UsageError: If it cannot be traced.
    """
    # What steps by named optimizers rests on optax: its program says which.
    own = is_own(measure) and not hasattr(measure, "optimizers")
    if own and (not measure.needs_draw or (is_own(stage.task) and is_own(stage.make))):
        return Identity(_declared(measure))
    with stage.scene():
        labels = {
            "name": name_of(type(measure)),
            "steps": measure.schedule.within(steps),
            "variables": measure.variables(),
            "evaluations": measure.evaluations,
            "coordinates": measure.coordinates(stage.model),
        }
        identity = _by_programs(
            name_of(type(measure)),
            measure,
            lambda: list(_measure_programs(measure, optimizers, stage)),
        )
    return Identity({"labels": spec.describe(labels), **identity.content}, identity.reasons)


def _measure_programs(
    measure: Measure, optimizers: Mapping[str, Any], stage: Stage
) -> Iterator[Program]:
    states = {"": None}
    if measure.needs_state:
        states = {name: _state(factory, stage) for name, factory in optimizers.items()}
    dtype = measure.precision or stage.precision
    draw = stage.draw.double() if dtype == "float64" else stage.draw
    evaluation = _shapes_as(dtype, stage.prompts(stage.evaluation_batch))
    training = _repeated(_shapes_as(dtype, stage.prompts(stage.batch)), _AXES[:1])
    models = _repeated(_shapes_as(dtype, stage.parameters), _AXES)

    def one(model: Any, state: Any, update: Any, training: Any, key: Any, evaluation: Any) -> Any:
        return measure(
            Iterate(
                eqx.combine(model, stage.static),
                training if measure.needs_training else None,
                evaluation,
                key,
                draw if measure.needs_draw else None,
                state,
                update if measure.needs_update else None,
                update if measure.needs_preconditioner else None,
            )
        )

    over_rates = jax.vmap(one, (0, 0, 0, None, None, None))
    vectorised = jax.vmap(over_rates, (0, 0, 0, 0, 0, None))
    keys = _repeated(_key(), _AXES[:1])
    with jax.enable_x64(True) if dtype == "float64" else contextlib.nullcontext():
        for state in states.values():
            yield program(vectorised, models, state, models, training, keys, evaluation)


def _state(factory: Any, stage: Stage) -> Any:
    """Shapes and dtypes of an optimizer's state."""
    if isinstance(factory, Outside):
        return ()
    state = jax.eval_shape(lambda model: factory(1.0).init(model), stage.parameters)
    return _repeated(state, _AXES)


def _declared(value: Any) -> Any:
    """What a part of attnscape's own declares, what its laws become, and what its class says."""
    return {"own": spec.describe(value), "laws": _tables(value), "class": _attributes(type(value))}


def _tables(value: Any) -> list[str]:
    """Hashes of the tables that laws of scipy's become."""
    from attnscape.tasks.covariates import Radial, radius_table

    laws = (value, getattr(value, "covariates", None), getattr(value, "weights", None))
    return [
        spec.digest(spec.describe(radius_table(law.squared_radius)))
        for law in laws
        if isinstance(law, Radial)
    ]


def _attributes(kind: type) -> dict[str, Any]:
    """What is set on a class beside its fields: numbers and words."""
    fields = {field.name for field in dataclasses.fields(kind)}
    return {
        name: value
        for base in reversed(kind.__mro__[:-1])
        for name, value in vars(base).items()
        if not (name.startswith("_") or name in fields)
        and isinstance(value, bool | int | float | str | None)
    }


def _by_programs(name: str, thing: Any, trace: Callable[[], list[Program]]) -> Identity:
    """By the programs it becomes twice over, and by its files where they call Python back."""
    first, second = trace(), trace()
    digests = [each.digest for each in first]
    if digests != [each.digest for each in second]:
        reason = "becomes another program each time it is traced"
        return _identified(name, thing, {"programs": []}, [reason])
    outside = sorted({words for each in first for words in each.outside})
    content: dict[str, Any] = {"programs": digests}
    unpinned = [words for words in outside if "foreign" in words]
    if outside:
        content["files"], depends = pinned_by(thing)
        unpinned += [f"{outside[0]}, and depends on {words}" for words in depends]
    return _identified(name, thing, content, unpinned)


def _identified(name: str, thing: Any, content: Any, unpinned: Sequence[str]) -> Identity:
    if not unpinned:
        return Identity(content)
    place = _place(thing)
    return Identity(
        {**content, "process": _token(thing)},
        (
            f"{name}{f' ({place})' if place else ''} depends on more than its code: "
            f"{unpinned[0]}. Its results are kept, but not found again by another command.",
        ),
    )


_tokens: dict[int, tuple[Any, str]] = {}


def _token(thing: Any) -> str:
    """Of this object in this process alone."""
    return _tokens.setdefault(id(thing), (thing, uuid.uuid4().hex))[1]


def _place(thing: Any) -> str:
    """Where a part is defined, as far as that is known."""
    while isinstance(thing, functools.partial):
        thing = thing.func
    inner = getattr(thing, "make", None)
    return (
        source_of(thing)
        or (source_of(inner) if callable(inner) else "")
        or name_of(thing if isinstance(thing, type) else type(thing))
    )


def _key() -> Any:
    return jax.eval_shape(lambda: jax.random.key(0))


def _is_trained(leaf: Any) -> bool:
    """Whether it is an array of floating-point numbers, or stands for one."""
    return isinstance(leaf, jax.ShapeDtypeStruct | jax.Array | np.ndarray) and jnp.issubdtype(
        leaf.dtype, jnp.inexact
    )


def _shapes(tree: Any) -> Any:
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), tree)


def _shapes_as(dtype: str, tree: Any) -> Any:
    def of(leaf: Any) -> Any:
        if not hasattr(leaf, "dtype"):
            return leaf
        inexact = jnp.issubdtype(leaf.dtype, jnp.inexact)
        return jax.ShapeDtypeStruct(leaf.shape, jnp.dtype(dtype) if inexact else leaf.dtype)

    return jax.tree.map(of, tree)


def _repeated(tree: Any, axes: tuple[int, ...]) -> Any:
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct((*axes, *a.shape), a.dtype), tree)


def _astype(dtype: str, tree: Any) -> Any:
    kind = jnp.dtype(dtype)
    return jax.tree.map(lambda a: a.astype(kind) if eqx.is_inexact_array(a) else a, tree)
