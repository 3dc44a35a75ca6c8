"""Broken parts of users' own: `check` finds them, and training refuses them in the same words."""

import functools
import re
import warnings

import pytest

from attnscape import LinearTransformer, RegressionTask, train
from attnscape.errors import UsageError
from attnscape.loading import load_object
from attnscape.models import as_model
from attnscape.optimizers import sgd
from attnscape.validation import (
    check_distribution,
    check_model,
    check_optimizer,
    check_response,
    check_task,
)

OPTIMIZERS = """
import sys
import typing

import jax
import jax.numpy as jnp
import numpy as np
import optax


def of(update, init=lambda parameters: ()):
    return optax.GradientTransformationExtraArgs(init, update)


def scaled(tree, factor=-0.01):
    return jax.tree.map(lambda g: factor * g, tree)


def string_in_state(rate):  # shapes and types: has str 'adam' at .*; it must be made of arrays
    return of(lambda g, s, p=None, **_: (scaled(g), s), lambda p: {"name": "adam"})


def function_in_state(rate):  # shapes and types: has a function at .*; it must be made of arrays
    return of(lambda g, s, p=None, **_: (scaled(g), s), lambda p: {"f": scaled})


def callback_raises(rate):  # callbacks: A callback of the optimizer .* failed: ValueError: no luck
    def luck(x):
        raise ValueError("no luck")

    def update(g, s, p=None, **_):
        call = lambda a: jax.pure_callback(luck, a, a, vmap_method="sequential")
        return jax.tree.map(call, g), s

    return of(update)


def callback_of_other_shape(rate):  # callbacks: Incorrect output shape .* Actual: \\(7,\\)
    def update(g, s, p=None, **_):
        call = lambda a: jax.pure_callback(lambda x: np.zeros(7), a, a, vmap_method="sequential")
        return jax.tree.map(call, g), s

    return of(update)


def callback_without_vmap(rate):  # update: failed: .*vmap
    def update(g, s, p=None, **_):
        return jax.tree.map(lambda a: jax.pure_callback(lambda x: x, a, a), g), s

    return of(update)


kept = []


def leaks(rate):  # update: failed: a number traced by JAX was kept outside of state and results
    def update(g, s, p=None, **_):
        kept.append(g)
        return jax.tree.map(lambda a: -0.01 * a, kept[0]), s

    return of(update)


def leaves(rate):  # makes a transformation: failed: SystemExit: 3
    sys.exit(3)


def leaves_in_update(rate):  # update: failed: SystemExit: 0
    def update(g, s, p=None, **_):
        sys.exit(0)

    return of(update)


class Stop(BaseException):
    pass


def stops(rate):  # update: failed: Stop: enough
    def update(g, s, p=None, **_):
        raise Stop("enough")

    return of(update)


def draws_with_numpy(rate):  # deterministic: gives other numbers when it is called again
    def update(g, s, p=None, **_):
        return jax.tree.map(lambda a: -0.01 * a + np.random.normal(size=a.shape), g), s

    return of(update)


def branches_on_gradient(rate):  # update: cannot be compiled: .*compute with jax.numpy
    def update(g, s, p=None, **_):
        if optax.tree.norm(g) > 1:
            g = scaled(g)
        return g, s

    return of(update)


def numpy_on_gradient(rate):  # update: cannot be compiled: .*compute with jax.numpy
    return of(lambda g, s, p=None, **_: (jax.tree.map(lambda a: np.sign(np.array(a)), g), s))


def one_result(rate):  # shapes and types: update must give \\(updates, state\\)
    return of(lambda g, s, p=None, **_: scaled(g))


def no_result(rate):  # shapes and types: gives NoneType None; update must give \\(updates, state\\)
    return of(lambda g, s, p=None, **_: None)


def complex_updates(rate):  # shapes and types: was float32.* and becomes complex64
    return of(lambda g, s, p=None, **_: (scaled(g, 1j), s))


def half_updates(rate):  # shapes and types: was float32.* and becomes bfloat16
    return of(lambda g, s, p=None, **_: (jax.tree.map(lambda a: a.astype("bfloat16"), g), s))


def text_updates(rate):  # shapes and types: has str 'down'; it must be made of arrays
    return of(lambda g, s, p=None, **_: ("down", s))


def no_updates(rate):  # shapes and types: updates of another form
    return of(lambda g, s, p=None, **_: ({}, s))


def growing(rate):  # shapes and types: another form of state after an update: .*\\[1\\] .*\\[2\\]
    return of(lambda g, s, p=None, **_: (scaled(g), jnp.append(s, 1.0)), lambda p: jnp.zeros(1))


def other_state(rate):  # shapes and types: another form of state after an update
    return of(lambda g, s, p=None, **_: (scaled(g), None), lambda p: jnp.zeros(1))


def preconditioned(rate):  # shapes and types: a preconditioner of another form
    from attnscape.optimizers import Preconditioned

    inner = of(lambda g, s, p=None, **_: (scaled(g), s))
    return Preconditioned(inner.init, inner.update, lambda state: 1.0)


class NotOptax(typing.NamedTuple):
    init: object
    update: object


def plain_class(rate):  # makes a transformation: gave NotOptax.*; it must give an optax.Gradient
    return NotOptax(lambda p: (), lambda g, s, p=None: (g, s))


def nothing(rate):  # makes a transformation: gave NoneType None; it must give an optax.Gradient
    optax.sgd(rate)


def no_rate():  # makes a transformation: failed: TypeError: .*takes 0 positional
    return optax.sgd(0.1)


def needs_vectors(rate):  # update: failed: .*
    return of(lambda g, s, p=None, **_: (jax.tree.map(lambda a: a @ jnp.ones(77), g), s))


def wrong_keyword(rate):  # update: failed: TypeError: .*'temperature'
    return of(lambda g, s, p=None, *, temperature: (g, s))


def infinite_recursion(rate):  # makes a transformation: failed: RecursionError
    return infinite_recursion(rate)


def elsewhere(rate):  # shapes and types: an evaluation point of another form than the parameters
    from attnscape.optimizers import WithEvalParams

    inner = of(lambda g, s, p=None, **_: (scaled(g), s))
    return WithEvalParams(inner.init, inner.update, lambda state, parameters: 1)
"""

MODELS = """
import dataclasses
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np


def mean(p, prompts):
    return p * prompts.y.mean(1)


class Base(eqx.Module):
    w: jax.Array

    @classmethod
    def init(cls, key):
        return cls(jax.random.normal(key))

    def __call__(self, prompts):
        return mean(self.w, prompts)


class ComplexOutput(Base):  # predictions: gave predictions of type complex64
    def __call__(self, prompts):
        return mean(self.w, prompts) * 1j


class TupleOutput(Base):  # predictions: gave tuple .*; they must be one float32 number a prompt
    def __call__(self, prompts):
        return mean(self.w, prompts), 0


class NoneOutput(Base):  # predictions: gave NoneType None for 8 prompts
    def __call__(self, prompts):
        pass


class WrongShape(Base):  # predictions: gave predictions of shape \\(8, 3\\) for 8 prompts
    def __call__(self, prompts):
        return self.w * prompts.y


class Column(Base):  # predictions: gave predictions of shape \\(8, 1\\) for 8 prompts
    def __call__(self, prompts):
        return mean(self.w, prompts)[:, None]


class OneNumber(Base):  # predictions: gave predictions of shape \\(\\) for 8 prompts
    def __call__(self, prompts):
        return self.w


class HalfOutput(Base):  # predictions: gave predictions of type float16
    def __call__(self, prompts):
        return mean(self.w, prompts).astype("float16")


class Integers(Base):  # makes a model: has no floating-point arrays: there is nothing to train
    @classmethod
    def init(cls, key):
        return cls(jnp.arange(3))


class PlainNumber(Base):  # makes a model: plain numbers and integers are constants
    @classmethod
    def init(cls, key):
        return cls(0.5)


class Empty(eqx.Module):  # makes a model: there is nothing to train
    @classmethod
    def init(cls, key):
        return cls()

    def __call__(self, prompts):
        return prompts.y[:, 0]


class ComplexParameters(Base):  # makes a model: has complex parameters
    @classmethod
    def init(cls, key):
        return cls(jnp.ones(3) * 1j)


class StaticFloat(Base):  # makes a model: cannot be compiled: .*compute with jax.numpy
    scale: float = eqx.field(static=True, default=1.0)

    @classmethod
    def init(cls, key):
        return cls(jax.random.normal(key), float(jax.random.normal(key)))


class StaticArray(Base):  # makes a model: has a static field that JAX cannot compare
    scale: np.ndarray = eqx.field(static=True, default=None)

    @classmethod
    def init(cls, key):
        return cls(jax.random.normal(key), np.ones(3))


class NoCall(eqx.Module):  # makes a model: which cannot be called with prompts
    w: jax.Array

    @classmethod
    def init(cls, key):
        return cls(jax.random.normal(key))


class InitWithoutKey(Base):  # makes a model: failed: TypeError: .*positional argument
    @classmethod
    def init(cls):
        return cls(jnp.ones(()))


@dataclasses.dataclass
class PlainDataclass:  # makes a model: into which JAX cannot see; make it an equinox.Module
    w: object

    @classmethod
    def init(cls, key):
        return cls(jax.random.normal(key))

    def __call__(self, prompts):
        return mean(self.w, prompts)


class PlainClass:  # makes a model: into which JAX cannot see; make it an equinox.Module
    def __init__(self, key):
        self.w = jax.random.normal(key)

    def __call__(self, prompts):
        return mean(self.w, prompts)


class Raises(Base):  # predictions: failed: KeyError: 'luck'
    def __call__(self, prompts):
        raise KeyError("luck")


class Exits(Base):  # predictions: failed: SystemExit
    def __call__(self, prompts):
        sys.exit()


class Branches(Base):  # predictions: cannot be compiled: .*compute with jax.numpy
    def __call__(self, prompts):
        return mean(self.w if self.w > 0 else -self.w, prompts)


class DrawsWithNumpy(Base):  # deterministic: gives other numbers when it is called again
    def __call__(self, prompts):
        return mean(self.w, prompts) + np.random.normal()


class NoGradient(Base):  # gradient: failed: .*
    def __call__(self, prompts):
        y = prompts.y.mean(1)
        shape = jax.ShapeDtypeStruct(y.shape, y.dtype)
        call = lambda w, y: (np.asarray(w)[..., None] * y).astype("float32")
        return jax.pure_callback(call, shape, self.w, y, vmap_method="expand_dims")


def not_random(key):  # deterministic: gives other numbers when it is called again
    return Base(jnp.asarray(np.random.normal()))


def gives_number(key):  # makes a model: gives int 3, which cannot be called
    return 3


pair_with_text = (lambda p, prompts: "w", lambda key: {"w": 0.5})  # predictions: gave str 'w'
"""

TASKS = """
import jax
import jax.numpy as jnp
import numpy as np

from attnscape import Prompts, RegressionTask

INNER = RegressionTask(dim=2, context=3)


class Own:
    dim, context = 2, 3

    def sample(self, key, batch, dtype="float32"):
        return INNER.sample(key, batch, dtype)

    def sample_moments(self, key, batch, dtype="float32"):
        return self.sample(key, batch, dtype).moments()


def changed(prompts, **fields):
    old = {name: getattr(prompts, name) for name in ("x", "y", "query", "target")}
    return Prompts(**(old | fields))


class ComplexTargets(Own):  # prompts: sample gives .*complex64.*; it must give float32
    def sample(self, key, batch, dtype="float32"):
        prompts = INNER.sample(key, batch, dtype)
        return changed(prompts, target=prompts.target * 1j)


class WrongShapes(Own):  # prompts: y has shape \\(8, 2\\), but x of shape \\(8, 3, 2\\) asks for
    def sample(self, key, batch, dtype="float32"):
        prompts = INNER.sample(key, batch, dtype)
        return changed(prompts, y=prompts.y[:, 1:])


class Longer(Own):  # prompts: it must give float32\\[8, 4, 2\\]
    context = 4


class Dictionary(Own):  # prompts: sample gives dict; it must give attnscape.tasks.Prompts
    def sample(self, key, batch, dtype="float32"):
        return vars(INNER.sample(key, batch, dtype))


class Nothing(Own):  # prompts: sample gives NoneType; it must give attnscape.tasks.Prompts
    def sample(self, key, batch, dtype="float32"):
        pass


class IntegerTargets(Own):  # prompts: sample gives .*int32.*; it must give float32
    def sample(self, key, batch, dtype="float32"):
        prompts = INNER.sample(key, batch, dtype)
        return changed(prompts, target=(prompts.target > 0).astype(int))


class OneBatch(Own):  # prompts: x has shape|gives .* it must give
    def sample(self, key, batch, dtype="float32"):
        return INNER.sample(key, 4, dtype)


class WrongMoments(Own):  # moments: sample_moments gives Prompts; it must give .*Moments
    def sample_moments(self, key, batch, dtype="float32"):
        return INNER.sample(key, batch, dtype)


class FrozenNumpy(Own):  # deterministic: gives other numbers when it is called again
    def sample(self, key, batch, dtype="float32"):
        prompts = INNER.sample(key, batch, dtype)
        return changed(prompts, x=jnp.asarray(np.random.normal(size=(batch, 3, 2)), dtype))


class NoKey(Own):  # deterministic: do not depend on the key
    def sample(self, key, batch, dtype="float32"):
        return INNER.sample(jax.random.key(0), batch, dtype)


class NumpyOfKey(Own):  # prompts: cannot be compiled: .*compute with jax.numpy
    def sample(self, key, batch, dtype="float32"):
        np.asarray(jax.random.key_data(key))
        return INNER.sample(key, batch, dtype)


class TextSize(Own):  # is a task: dim is str '2'; it must be a whole number from 1 on
    dim = "2"


class NoKeyword(Own):  # prompts: failed: TypeError: .*
    def sample(self, key):
        return INNER.sample(key, 8)


class NoMoments:  # is a task: has no sample_moments
    dim, context = 2, 3

    def sample(self, key, batch, dtype="float32"):
        return INNER.sample(key, batch, dtype)


def raises():  # is a task: failed: IndexError: .*
    return [][0]
"""

DISTRIBUTIONS = """
import jax
import jax.numpy as jnp
import numpy as np


def complex_draws(key, batch, n, d):  # shapes and types: gave complex64; it must give real numbers
    return jax.random.normal(key, (batch, n, d)) * 1j


def wrong_shape(key, batch, n, d):  # shapes and types: gave shape \\(8, 4\\); the task asks for
    return jax.random.normal(key, (batch, n))


def a_list(key, batch, n, d):  # shapes and types: gave list .*; it must give an array of shape
    return [1.0]


def frozen(key, batch, n, d):  # deterministic: gives other numbers when it is called again
    return jnp.asarray(np.random.normal(size=(batch, n, d)), "float32")


def seeded(key, batch, n, d):  # deterministic: do not depend on the key
    rng = np.random.default_rng(0)
    return jnp.asarray(rng.normal(size=(batch, n, d)), "float32")


def one_argument(key):  # shapes and types: failed: TypeError: .*
    return jax.random.normal(key)


over_batch = jax.vmap(one_argument)  # shapes and types: The distribution of covariates failed: .*


def raises(*given):  # shapes and types: The distribution of covariates failed: KeyError: 'luck'
    raise KeyError("luck")
"""

RESPONSES = """
import sys

import jax
import jax.numpy as jnp


def summed(x, w):  # shapes and types: The response gave shape \\(8,\\); the task asks for .* here
    return jnp.einsum("bnd,bd->b", x, w)


def complex_response(x, w):  # shapes and types: The response gave complex64; it must give real
    return jnp.einsum("bnd,bd->bn", x, w) + 1j


def text(x, w):  # shapes and types: The response gave str 'y'; it must give an array
    return "y"


def exits(x, w):  # shapes and types: The response failed: SystemExit
    sys.exit("no")


def branches(x, w):  # shapes and types: The response cannot be compiled: .*jax.numpy
    return x[..., 0] if x.sum() > 0 else -x[..., 0]


on_prompt = jax.vmap(lambda x: x)  # shapes and types: The response failed: .*
"""

TASK = RegressionTask(dim=2, context=3)
MODEL = functools.partial(LinearTransformer.init, layers=1, dim=2)
FILES = {
    "optimizer": OPTIMIZERS, "model": MODELS, "task": TASKS, "law": DISTRIBUTIONS,
    "response": RESPONSES,
}  # fmt: skip
_CASE = re.compile(r"^(?:def |class )?(\w+).*?# ([a-z ]+): (.+)$", re.MULTILINE)
CASES = [(kind, *found.groups()) for kind, text in FILES.items() for found in _CASE.finditer(text)]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    paths = {kind: folder / f"hostile_{kind}.py" for kind in FILES}
    for kind, path in paths.items():
        path.write_text(FILES[kind])
    return paths


def trained(kind, thing):
    """One step with the part in its place."""
    task, model, optimizer = TASK, MODEL, sgd
    match kind:
        case "optimizer":
            optimizer = thing
        case "model":
            model = as_model(thing)
        case "task":
            task = thing() if isinstance(thing, type) else thing
        case "law":
            task = RegressionTask(dim=2, context=3, covariates=thing)
        case "response":
            task = RegressionTask(dim=2, context=3, response=thing)
    return train(
        task, model, {"own": optimizer}, [0.01], (0,), steps=1, batch=8, evaluation_batch=8
    )


def checked(kind, thing):
    match kind:
        case "optimizer":
            return check_optimizer(thing)
        case "model":
            return check_model(thing, TASK)
        case "task":
            return check_task(thing)
        case "law":
            return check_distribution(thing)
        case _:
            return check_response(thing)


def in_sizes_of_check(sentence):
    """What is said of 8 prompts is said of 16 by `check`, which takes other sizes."""
    return re.split(r"\\[(\[]", sentence)[0].replace("for 8 prompts", "for 16 prompts")


@pytest.mark.parametrize(("kind", "name", "check", "sentence"), CASES)
def test_a_broken_part_is_found_and_refused(kind, name, check, sentence, files, unchecked):
    thing = load_object(f"{files[kind]}:{name}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # equinox warns of arrays in static fields
        found = [finding for finding in checked(kind, thing) if not finding.ok]
        assert found[0].check.split(",")[0] == check, found
        assert re.search(in_sizes_of_check(sentence), found[0].sentence), found
        with pytest.raises(UsageError) as caught:
            trained(kind, thing)
    said = str(caught.value)
    assert re.search(sentence, said), said
    assert "\n" not in said
    assert re.search(rf"{re.escape(str(files[kind]))}, line \d+\)", said), said


def test_there_are_many_cases():
    assert len(CASES) == sum(len(re.findall("  # [a-z ]+: ", text)) for text in FILES.values())
    assert len(CASES) > 70
