"""Edits of users' parts and of what surrounds them, and whether a result may then be found again.

A row gives files, an edit of them, and what must come of it: `changed` (another identity), `never`
(no other process finds the result), `refused` (a sentence) or `same`. Where the edit is not one of
a file, it is a function of the folder and of pytest's monkeypatch.
"""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import optax
from optax._src import alias, transform

IMPORTS = """\
import functools
import os
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
from scipy import stats

import attnscape
from attnscape import RegressionTask
from attnscape.tasks import Gaussian, Sphere
from attnscape.tasks.covariates import Radial
"""


@dataclasses.dataclass(frozen=True)
class Row:
    """One edit.

    Attributes:
        name: Of the row.
        kind: What `my.py:part` is: optimizer, torch, model, task, law, response or measure.
        files: Before the edit.
        edit: Texts in place of others in `my.py`, whole files by name, or a function.
        expected: What must come of it.
    """

    name: str
    kind: str
    files: Mapping[str, str]
    edit: Any
    expected: str


def _row(
    name: str,
    kind: str,
    my: str,
    edit: Any,
    expected: str = "changed",
    **files: str,
) -> Row:
    """`my` without its imports; other files by their names, with `__` for a slash."""
    texts = {name_of(key): textwrap.dedent(text) for key, text in files.items()}
    return Row(name, kind, {"my.py": IMPORTS + textwrap.dedent(my), **texts}, edit, expected)


def name_of(key: str) -> str:
    """`pkg__sub` stands for pkg/sub.py, `data_csv` for data.csv."""
    key = key.replace("__", "/") if not key.endswith("__") else key[:-2].replace("__", "/") + "/"
    if key.endswith("/"):
        return f"{key}__init__.py"
    for suffix in ("csv", "npy", "json", "txt"):
        if key.endswith(f"_{suffix}"):
            return f"{key.removesuffix(f'_{suffix}')}.{suffix}"
    return f"{key}.py"


def apply(edit: Any, folder: Path, monkeypatch: Any) -> Any:
    """Makes an edit; where it is an option of JAX, gives the context that it holds in."""
    if callable(edit):
        return edit(folder, monkeypatch)
    if isinstance(edit, tuple):
        edit = {"my.py": edit}
    for name, change in edit.items():
        path = folder / name
        if isinstance(change, str):
            path.write_text(textwrap.dedent(change))
            continue
        old, new = change
        text = path.read_text()
        assert old in text, f"{old!r} is not in {name}"
        path.write_text(text.replace(old, new))
    return None


def setenv(name: str, value: str) -> Callable[[Path, Any], None]:
    """Sets an environment variable."""
    return lambda folder, monkeypatch: monkeypatch.setenv(name, value)


ADAM = """
def part(rate):
    return optax.adam(rate)
"""
SCALED = """
def part(rate):
    return optax.chain(optax.scale(FACTOR), optax.adam(rate))
"""
UPDATE = """
def part(rate):
    def init(params):
        return jax.tree.map(jnp.zeros_like, params)

    def update(grads, state, params=None):
        state = jax.tree.map(lambda m, g: 0.9 * m + g, state, grads)
        return jax.tree.map(lambda m: -rate * m, state), state

    return optax.GradientTransformation(init, update)
"""
LAW = """
def part(key, batch, n, d):
    return jax.random.uniform(key, (batch, n, d), minval=-1.0)
"""
TORCH = """
import torch


class part(torch.optim.Optimizer):
    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                p -= group["lr"] * FACTOR * p.grad
        return loss
"""
MODEL = """
def predict(parameters, prompts):
    scores = jnp.einsum("bd,de,bne->bn", prompts.query, parameters["A"], prompts.x)
    return (scores * prompts.y).mean(1)


part = (predict, lambda key: {"A": 0.1 * jax.random.normal(key, (2, 2))})
"""
MODULE = """
class part(eqx.Module):
    w: jax.Array
    scale: float = eqx.field(static=True, default=2.0)

    @classmethod
    def init(cls, key):
        return cls(jax.random.normal(key, (2,)))

    def __call__(self, prompts):
        return self.scale * self.act(prompts.query @ self.w)

    def act(self, x):
        return jnp.tanh(x)
"""
TASK = """
class Task:
    dim, context = 2, 3
    scale = 1.0

    def sample(self, key, batch, dtype="float32"):
        x = jax.random.normal(key, (batch, 4, 2), "float32").astype(dtype) * self.scale
        y = x.sum(-1)
        return attnscape.Prompts(x[:, :-1], y[:, :-1], x[:, -1], y[:, -1])

    def sample_moments(self, key, batch, dtype="float32"):
        return self.sample(key, batch, dtype).moments()


def part():
    return Task()
"""
RESPONSE = """
def part(x, w):
    return jnp.sin(jnp.einsum("bnd,bd->bn", x, w))
"""
MEASURE = """
import dataclasses
from attnscape.measures import Measure, Schedule, Variable, every
from attnscape import objective


@dataclasses.dataclass(frozen=True)
class Mine(Measure):
    schedule: Schedule = every(5)
    needs_training = False
    needs_draw = False
    needs_state = False

    def __call__(self, iterate):
        return {"mine": 2 * objective.loss(iterate.model, iterate.evaluation)}

    def variables(self):
        return {"mine": Variable("twice the loss")}


part = Mine()
"""
CUSTOM_VJP = """
@jax.custom_vjp
def clip(x):
    return x

clip.defvjp(lambda x: (x, None), lambda _, g: (jnp.clip(g, -0.5, 0.5),))

def predict(parameters, prompts):
    return prompts.query @ clip(parameters["w"])

part = (predict, lambda key: {"w": jax.random.normal(key, (2,))})
"""
CUSTOM_JVP = """
@jax.custom_jvp
def f(x):
    return jnp.tanh(x)

@f.defjvp
def rule(primals, tangents):
    (x,), (t,) = primals, tangents
    return f(x), t * (1 - f(x) ** 2)

def predict(parameters, prompts):
    return f(prompts.query @ parameters["w"])

part = (predict, lambda key: {"w": jax.random.normal(key, (2,))})
"""
CALLBACK = """
def host(x):
    return np.asarray(x) * 2

def part(rate):
    def update(grads, state, params=None):
        def one(g):
            shape = jax.ShapeDtypeStruct(g.shape, g.dtype)
            return -rate * jax.pure_callback(host, shape, g, vmap_method="expand_dims")
        return jax.tree.map(one, grads), state
    return optax.GradientTransformation(lambda params: (), update)
"""


def _patch_optax(folder: Path, monkeypatch: Any) -> None:
    before = optax.scale_by_adam
    monkeypatch.setattr(optax, "adam", lambda rate, **_: optax.chain(before(), optax.scale(-rate)))


def _patch_deep(folder: Path, monkeypatch: Any) -> None:
    def trace(decay: float, nesterov: bool = False, accumulator_dtype: Any = None) -> Any:
        del decay, nesterov, accumulator_dtype
        return optax.scale(0.5)

    monkeypatch.setattr(alias.transform, "trace", trace)
    monkeypatch.setattr(transform, "trace", trace)


def _patch_jnp(folder: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(jax.numpy, "tanh", jax.numpy.sin)


def _patch_tree(folder: Path, monkeypatch: Any) -> None:
    before = jax.random.uniform
    monkeypatch.setattr(jax.random, "uniform", lambda *a, **k: 2 * before(*a, **k))


ROWS: list[Row] = [
    # --- optimizers: what is written in the file
    _row("a number in the factory", "optimizer", ADAM, ("adam(rate)", "adam(rate, b1=0.8)")),
    _row("another operation", "optimizer", UPDATE, ("0.9 * m + g", "0.9 * m - g")),
    _row("init alone", "optimizer", UPDATE, ("jnp.zeros_like", "jnp.ones_like")),
    _row("a global number", "optimizer", "FACTOR = 2.0" + SCALED, ("2.0", "3.0")),
    _row("a global array", "optimizer", """
        WEIGHTS = np.array([1.0, 2.0])
        def part(rate):
            return optax.sgd(rate * WEIGHTS[1])
        """, ("2.0])", "3.0])")),
    _row("a large global array, one entry in its middle", "optimizer", """
        WEIGHTS = jnp.arange(5000.0)
        WEIGHTS = WEIGHTS.at[2500].set(1.0)
        def part(rate):
            return optax.sgd(rate * WEIGHTS.sum())
        """, ("[2500].set(1.0)", "[2500].set(7.0)")),
    _row("a global dict", "optimizer", """
        OPTIONS = {"b1": 0.9}
        def part(rate):
            return optax.adam(rate, **OPTIONS)
        """, ("0.9}", "0.8}")),
    _row("a global list that is appended to later", "optimizer", """
        DECAYS = [0.9]
        def part(rate):
            return optax.chain(*(optax.trace(d) for d in DECAYS), optax.scale(-rate))
        DECAYS.append(0.5)
        """, ("append(0.5)", "append(0.6)")),
    _row("a global that is computed", "optimizer", """
        def _factor():
            return sum(k for k in range(4))
        FACTOR = _factor()
        """ + textwrap.indent(SCALED, " " * 8), ("range(4)", "range(5)")),
    _row("an optax schedule as a global", "optimizer", """
        SCHEDULE = optax.cosine_decay_schedule(1.0, 10)
        def part(rate):
            return optax.chain(optax.scale_by_schedule(SCHEDULE), optax.sgd(rate))
        """, ("decay_schedule(1.0, 10)", "decay_schedule(1.0, 20)")),
    _row("functools.wraps around an own body", "optimizer", """
        @functools.wraps(optax.adam)
        def part(rate):
            return optax.sgd(rate, momentum=0.5)
        """, ("momentum=0.5", "momentum=0.6")),
    _row("a closure's number", "optimizer", """
        def make(momentum):
            def factory(rate):
                return optax.sgd(rate, momentum=momentum)
            return factory
        part = make(0.9)
        """, ("make(0.9)", "make(0.8)")),
    _row("a closure's function", "optimizer", """
        def make(inner):
            return lambda rate: inner(rate)
        part = make(optax.adam)
        """, ("make(optax.adam)", "make(optax.sgd)")),
    _row("a default", "optimizer", """
        def part(rate, momentum=0.9):
            return optax.sgd(rate, momentum=momentum)
        """, ("=0.9", "=0.8")),
    _row("a keyword's default", "optimizer", """
        def part(rate, *, momentum=0.9):
            return optax.sgd(rate, momentum=momentum)
        """, ("=0.9", "=0.8")),
    _row("defaults set afterwards", "optimizer", """
        def part(rate, momentum=0.9):
            return optax.sgd(rate, momentum=momentum)
        part.__defaults__ = (0.5,)
        """, ("(0.5,)", "(0.6,)")),
    _row("code put in its place", "optimizer", """
        def part(rate):
            return optax.adam(rate)
        def other(rate):
            return optax.sgd(rate)
        part.__code__ = other.__code__
        """, ("return optax.sgd(rate)", "return optax.sgd(2 * rate)")),
    _row("a function's attribute", "optimizer", """
        def part(rate):
            return optax.sgd(rate * part.factor)
        part.factor = 2.0
        """, ("= 2.0", "= 3.0")),
    _row("a partial's keyword", "optimizer", """
        part = functools.partial(optax.adam, b1=0.9)
        """, ("b1=0.9", "b1=0.8")),
    _row("a partial of a partial", "optimizer", """
        part = functools.partial(functools.partial(optax.adam, b1=0.9), b2=0.99)
        """, ("b1=0.9", "b1=0.8")),
    _row("a decorator", "optimizer", """
        def slower(factory):
            return functools.wraps(factory)(lambda rate: factory(rate / 2))
        @slower
        def part(rate):
            return optax.adam(rate)
        """, ("rate / 2", "rate / 3")),
    _row("a cached helper", "optimizer", """
        @functools.lru_cache
        def factor(n):
            return n / 4
        def part(rate):
            return optax.sgd(rate * factor(3))
        """, ("n / 4", "n / 5")),
    _row("one of two lambdas of a line", "optimizer", """
        first, part = (lambda rate: optax.sgd(rate)), (lambda rate: optax.adam(rate))
        """, ("optax.adam(rate)", "optax.adamw(rate)")),
    _row("a nested function", "optimizer", """
        def part(rate):
            def inner():
                def innermost():
                    return rate * 2
                return innermost()
            return optax.sgd(inner())
        """, ("rate * 2", "rate * 3")),
    _row("exec of a text", "optimizer", """
        exec("def part(rate):\\n    return optax.sgd(rate, momentum=0.9)")
        """, ("momentum=0.9", "momentum=0.8")),
    _row("eval of a text", "optimizer", """
        part = eval("lambda rate: optax.sgd(rate, momentum=0.9)")
        """, ("momentum=0.9", "momentum=0.8")),
    _row("an instance's attribute", "optimizer", """
        class Factory:
            def __init__(self):
                self.momentum = 0.9
            def __call__(self, rate):
                return optax.sgd(rate, momentum=self.momentum)
        part = Factory()
        """, ("= 0.9", "= 0.8")),
    _row("an instance's attribute set afterwards", "optimizer", """
        class Factory:
            momentum = 0.9
            def __call__(self, rate):
                return optax.sgd(rate, momentum=self.momentum)
        part = Factory()
        part.momentum = 0.5
        """, ("= 0.5", "= 0.6")),
    _row("a class attribute set after the class", "optimizer", """
        class Factory:
            def __call__(self, rate):
                return optax.sgd(rate, momentum=self.momentum)
        Factory.momentum = 0.9
        part = Factory()
        """, ("= 0.9", "= 0.8")),
    _row("a base class's method", "optimizer", """
        class Base:
            def momentum(self):
                return 0.9
        class Factory(Base):
            def __call__(self, rate):
                return optax.sgd(rate, momentum=self.momentum())
        part = Factory()
        """, ("return 0.9", "return 0.8")),
    _row("a metaclass", "optimizer", """
        class Meta(type):
            @property
            def momentum(cls):
                return 0.9
        class Factory(metaclass=Meta):
            def __call__(self, rate):
                return optax.sgd(rate, momentum=type(self).momentum)
        part = Factory()
        """, ("return 0.9", "return 0.8")),
    _row("a property", "optimizer", """
        class Factory:
            @property
            def momentum(self):
                return 0.9
            def __call__(self, rate):
                return optax.sgd(rate, momentum=self.momentum)
        part = Factory()
        """, ("return 0.9", "return 0.8")),
    _row("__getattr__", "optimizer", """
        class Factory:
            def __getattr__(self, name):
                return {"momentum": 0.9}[name]
            def __call__(self, rate):
                return optax.sgd(rate, momentum=self.momentum)
        part = Factory()
        """, ('{"momentum": 0.9}', '{"momentum": 0.8}')),
    _row("a module's __getattr__", "optimizer", """
        import helper
        def part(rate):
            return optax.sgd(rate, momentum=helper.momentum)
        """, {"helper.py": ("return 0.9", "return 0.8")},
        helper="def __getattr__(name):\n    return 0.9\n"),
    _row("a static method", "optimizer", """
        class Factory:
            @staticmethod
            def part(rate):
                return optax.sgd(rate, momentum=0.9)
        part = Factory.part
        """, ("=0.9", "=0.8")),
    _row("a bound method", "optimizer", """
        class Factory:
            def __init__(self, momentum):
                self.momentum = momentum
            def make(self, rate):
                return optax.sgd(rate, momentum=self.momentum)
        part = Factory(0.9).make
        """, ("Factory(0.9)", "Factory(0.8)")),
    _row("a singledispatch function's branch", "optimizer", """
        @functools.singledispatch
        def factor(x):
            return 1.0
        @factor.register
        def _(x: int):
            return 2.0
        def part(rate):
            return optax.sgd(rate * factor(3))
        """, ("return 2.0", "return 3.0")),
    _row("an operator's method", "optimizer", """
        class Number:
            def __mul__(self, other):
                return 2.0 * other
        def part(rate):
            return optax.sgd(Number() * rate)
        """, ("2.0 * other", "3.0 * other")),
    _row("a descriptor", "optimizer", """
        class Momentum:
            def __get__(self, instance, owner):
                return 0.9
        class Factory:
            momentum = Momentum()
            def __call__(self, rate):
                return optax.sgd(rate, momentum=self.momentum)
        part = Factory()
        """, ("return 0.9", "return 0.8")),
    _row("a mask", "optimizer", """
        def part(rate):
            mask = lambda params: jax.tree.map(lambda a: a.ndim > 2, params)
            return optax.chain(optax.masked(optax.scale(0.5), mask), optax.sgd(rate))
        """, ("a.ndim > 2", "a.ndim > 3")),
    _row("a dtype", "optimizer", """
        def part(rate):
            return optax.sgd(rate, momentum=0.9, accumulator_dtype=jnp.float32)
        """, ("jnp.float32", "jnp.bfloat16")),
    _row("a branch of lax.cond", "optimizer", """
        def part(rate):
            def update(grads, state, params=None):
                scale = jax.lax.cond(state > 3, lambda: 1.0, lambda: 0.5)
                return jax.tree.map(lambda g: -rate * scale * g, grads), state + 1
            return optax.GradientTransformation(lambda params: jnp.zeros((), jnp.int32), update)
        """, ("lambda: 0.5", "lambda: 0.25")),
    _row("the body of a scan", "optimizer", """
        def part(rate):
            def update(grads, state, params=None):
                scale, _ = jax.lax.scan(lambda c, x: (c * 0.9, None), 1.0, jnp.arange(3))
                return jax.tree.map(lambda g: -rate * scale * g, grads), state
            return optax.GradientTransformation(lambda params: (), update)
        """, ("c * 0.9", "c * 0.8")),
    _row("a jitted helper's global", "optimizer", """
        FACTOR = 2.0
        @jax.jit
        def helper(g):
            return FACTOR * g
        def part(rate):
            def update(grads, state, params=None):
                return jax.tree.map(lambda g: -rate * helper(g), grads), state
            return optax.GradientTransformation(lambda params: (), update)
        """, ("FACTOR = 2.0", "FACTOR = 3.0")),
    _row("a keyword that the update asks for", "optimizer", """
        def part(rate):
            def update(grads, state, params=None, *, value, **_):
                return jax.tree.map(lambda g: -rate * g * value, grads), state
            return optax.GradientTransformationExtraArgs(lambda params: (), update)
        """, ("g * value", "g / value")),
    _row("the Hessian's diagonal", "optimizer", """
        def part(rate):
            def update(grads, state, params=None, *, hessian_diagonal_fn):
                h = hessian_diagonal_fn(params)
                return jax.tree.map(lambda g, h: -rate * g / (1 + h), grads, h), state
            return optax.GradientTransformationExtraArgs(lambda params: (), update)
        """, ("1 + h", "2 + h")),
    _row("the evaluation point", "optimizer", """
        from attnscape.optimizers import WithEvalParams
        def part(rate):
            inner = optax.sgd(rate)
            return WithEvalParams(inner.init, inner.update,
                                      lambda state, params: jax.tree.map(lambda p: p * 1.0, params))
        """, ("p * 1.0", "p * 2.0")),
    _row("a constant key", "optimizer", """
        def part(rate):
            def update(grads, state, params=None):
                noise = jax.random.normal(jax.random.key(1))
                return jax.tree.map(lambda g: -rate * (g + noise), grads), state
            return optax.GradientTransformation(lambda params: (), update)
        """, ("key(1)", "key(2)")),
    # --- optimizers: helpers
    _row("a helper beside it", "optimizer", "from helper import FACTOR" + SCALED,
         {"helper.py": "FACTOR = 3.0"}, helper="FACTOR = 2.0"),
    _row("a helper that imports another", "optimizer", "from helper import FACTOR" + SCALED,
         {"deeper.py": "FACTOR = 3.0"}, helper="from deeper import FACTOR", deeper="FACTOR = 2.0"),
    _row("import pkg.sub", "optimizer", """
        import pkg.sub
        def part(rate):
            return optax.sgd(rate * pkg.sub.FACTOR)
        """, {"pkg/sub.py": "FACTOR = 3.0"}, pkg__="", pkg__sub="FACTOR = 2.0"),
    _row("import pkg.sub as name", "optimizer", """
        import pkg.sub as it
        def part(rate):
            return optax.sgd(rate * it.FACTOR)
        """, {"pkg/sub.py": "FACTOR = 3.0"}, pkg__="", pkg__sub="FACTOR = 2.0"),
    _row("from pkg import sub", "optimizer", """
        from pkg import sub
        def part(rate):
            return optax.sgd(rate * sub.FACTOR)
        """, {"pkg/sub.py": "FACTOR = 3.0"}, pkg__="", pkg__sub="FACTOR = 2.0"),
    _row("a package without __init__", "optimizer", """
        from space.sub import FACTOR
        """ + textwrap.indent(SCALED, " " * 8), {"space/sub.py": "FACTOR = 3.0"},
        space__sub="FACTOR = 2.0"),
    _row("a relative import in a package", "optimizer", """
        from pkg import FACTOR
        """ + textwrap.indent(SCALED, " " * 8), {"pkg/sub.py": "FACTOR = 3.0"},
        pkg__="from .sub import FACTOR", pkg__sub="FACTOR = 2.0"),
    _row("a star import", "optimizer", "from helper import *" + SCALED,
         {"helper.py": "FACTOR = 3.0"}, helper="FACTOR = 2.0"),
    _row("a conditional import", "optimizer", """
        try:
            from fast import FACTOR
        except ImportError:
            from slow import FACTOR
        """ + textwrap.indent(SCALED, " " * 8), {"fast.py": "FACTOR = 3.0"}, slow="FACTOR = 2.0"),
    _row("an import inside the function", "optimizer", """
        def part(rate):
            from helper import FACTOR
            return optax.sgd(rate * FACTOR)
        """, {"helper.py": "FACTOR = 3.0"}, helper="FACTOR = 2.0"),
    _row("importlib", "optimizer", """
        import importlib
        FACTOR = importlib.import_module("helper").FACTOR
        """ + textwrap.indent(SCALED, " " * 8), {"helper.py": "FACTOR = 3.0"},
        helper="FACTOR = 2.0"),
    _row("importlib inside the function", "optimizer", """
        import importlib
        def part(rate):
            return optax.sgd(rate * importlib.import_module("helper").FACTOR)
        """, {"helper.py": "FACTOR = 3.0"}, helper="FACTOR = 2.0"),
    _row("__import__", "optimizer", """
        FACTOR = __import__("helper").FACTOR
        """ + textwrap.indent(SCALED, " " * 8), {"helper.py": "FACTOR = 3.0"},
        helper="FACTOR = 2.0"),
    _row("a helper that changes another's global", "optimizer", """
        import helper
        import other
        def part(rate):
            return optax.sgd(rate * helper.FACTOR)
        """, {"other.py": ("3.0", "4.0")}, helper="FACTOR = 2.0",
        other="import helper\nhelper.FACTOR = 3.0\n"),
    _row("a helper called as a module of Python", "optimizer", "from trace import FACTOR" + SCALED,
         {"trace.py": "FACTOR = 3.0"}, trace="FACTOR = 2.0"),
    _row("a helper that patches optax", "optimizer", """
        import helper
        def part(rate):
            return helper.wrapped(rate)
        """, {"helper.py": ("0.5", "0.6")}, helper="""
        import optax
        class wrapped:
            def __new__(cls, rate):
                return optax.chain(optax.scale(0.5), optax.adam(rate))
        """),
    # --- optimizers: surroundings
    _row("a data file read in the function", "optimizer", """
        def part(rate):
            return optax.sgd(rate * float((Path(__file__).parent / "data.txt").read_text()))
        """, {"data.txt": "3.0"}, data_txt="2.0"),
    _row("a data file read beside it", "optimizer", """
        FACTOR = float((Path(__file__).parent / "data.txt").read_text())
        """ + textwrap.indent(SCALED, " " * 8), {"data.txt": "3.0"}, data_txt="2.0"),
    _row("a JSON file", "optimizer", """
        import json
        OPTIONS = json.loads((Path(__file__).parent / "options.json").read_text())
        def part(rate):
            return optax.adam(rate, **OPTIONS)
        """, {"options.json": '{"b1": 0.8}'}, options_json='{"b1": 0.9}'),
    _row("an environment variable in the function", "optimizer", """
        def part(rate):
            return optax.sgd(rate * float(os.environ.get("OWN_FACTOR", "1")))
        """, setenv("OWN_FACTOR", "2")),
    _row("an environment variable beside it", "optimizer", """
        FACTOR = float(os.environ.get("OWN_FACTOR", "1"))
        """ + textwrap.indent(SCALED, " " * 8),
        setenv("OWN_FACTOR", "2")),
    _row("the time in the function", "optimizer", """
        import time
        def part(rate):
            return optax.sgd(rate * time.perf_counter())
        """, lambda *_: None, "never"),
    _row("numpy's random numbers in the update", "optimizer", """
        def part(rate):
            def update(grads, state, params=None):
                return jax.tree.map(lambda g: -rate * (g + np.random.normal()), grads), state
            return optax.GradientTransformation(lambda params: (), update)
        """, lambda *_: None, "never"),
    _row("random numbers in a jitted helper", "optimizer", """
        @jax.jit
        def noisy(g):
            return g + np.random.normal()
        def part(rate):
            def update(grads, state, params=None):
                return jax.tree.map(lambda g: -rate * noisy(g), grads), state
            return optax.GradientTransformation(lambda params: (), update)
        """, lambda *_: None, "never"),
    _row("a factory that counts its calls", "optimizer", """
        CALLS = []
        def part(rate):
            CALLS.append(None)
            return optax.sgd(rate * len(CALLS))
        """, lambda *_: None, "never"),
    _row("a random number beside it", "optimizer", """
        FACTOR = float(np.random.normal())
        """ + textwrap.indent(SCALED, " " * 8),
        lambda *_: None),
    _row("a seeded random number", "optimizer", """
        FACTOR = float(np.random.default_rng(0).normal())
        """ + textwrap.indent(SCALED, " " * 8), ("rng(0)", "rng(1)")),
    _row("optax replaced", "optimizer", ADAM, _patch_optax),
    _row("a named optimizer with optax replaced", "optimizer", """
        from attnscape.optimizers import sgdm as part
        """, _patch_deep),
    _row("jax.numpy replaced", "model", MODULE, _patch_jnp),
    _row("jax.random replaced", "law", LAW, _patch_tree),
    # --- callbacks and PyTorch
    _row("a callback's body", "optimizer", CALLBACK, ("x) * 2", "x) * 3")),
    _row("a callback's global", "optimizer", "FACTOR = 2\n" + CALLBACK.replace("* 2", "* FACTOR"),
         ("FACTOR = 2", "FACTOR = 3")),
    _row("a callback's helper", "optimizer",
         "from helper import FACTOR\n" + CALLBACK.replace("* 2", "* FACTOR"),
         {"helper.py": "FACTOR = 3"}, helper="FACTOR = 2"),
    _row("a callback that reads a file", "optimizer", CALLBACK.replace(
        "return np.asarray(x) * 2",
        'return np.asarray(x) * np.float32((Path(__file__).parent / "data.txt").read_text())'),
        {"data.txt": "3"}, "never", data_txt="2"),
    _row("a callback that asks the environment", "optimizer", CALLBACK.replace(
        "np.asarray(x) * 2", 'np.asarray(x) * np.float32(os.environ.get("OWN_FACTOR", "1"))'),
        setenv("OWN_FACTOR", "2"), "never"),
    _row("a callback with random numbers", "optimizer", CALLBACK.replace(
        "np.asarray(x) * 2", "np.asarray(x) * np.float32(np.random.normal())"),
        lambda *_: None, "never"),
    _row("PyTorch: a number", "torch", "FACTOR = 2.0\n" + TORCH, ("FACTOR = 2.0", "FACTOR = 3.0")),
    _row("PyTorch: the step", "torch", "FACTOR = 2.0\n" + TORCH, ("p -= group", "p += group")),
    _row("PyTorch: a helper", "torch", "from helper import FACTOR\n" + TORCH,
         {"helper.py": "FACTOR = 3.0"}, helper="FACTOR = 2.0"),
    _row("PyTorch: a helper's helper", "torch", "from helper import FACTOR\n" + TORCH,
         {"deeper.py": "FACTOR = 3.0"}, helper="from deeper import FACTOR", deeper="FACTOR = 2.0"),
    _row("PyTorch: a helper inside the step", "torch",
         TORCH.replace("loss = closure()", "loss = closure()\n        from helper import FACTOR"),
         {"helper.py": "FACTOR = 3.0"}, helper="FACTOR = 2.0"),
    _row("PyTorch: a partial's keyword", "torch", """
        import torch
        part = functools.partial(torch.optim.SGD, momentum=0.9)
        """, ("0.9", "0.8")),
    _row("PyTorch: the environment", "torch", """
        FACTOR = float(os.environ.get("OWN_FACTOR", "1"))
        """ + textwrap.indent(TORCH, " " * 8), setenv("OWN_FACTOR", "2"), "never"),
    _row("PyTorch: a file", "torch", """
        FACTOR = float((Path(__file__).parent / "data.txt").read_text())
        """ + textwrap.indent(TORCH, " " * 8), {"data.txt": "3"}, "never", data_txt="2"),
    _row("PyTorch: noise without a seed", "torch",
         "FACTOR = 2.0\n" + TORCH.replace("* p.grad", "* (p.grad + torch.randn_like(p))"),
         lambda *_: None, "never"),
    _row("PyTorch: the time", "torch",
         "import time\nFACTOR = 2.0\n" + TORCH.replace("* p.grad", "* p.grad * time.time()"),
         lambda *_: None, "never"),
    # --- models
    _row("a model's function", "model", MODEL, (".mean(1)", ".sum(1)")),
    _row("a model's init", "model", MODEL, ("0.1 * jax", "0.2 * jax")),
    _row("a model's given parameters", "model", MODEL.replace(
        'lambda key: {"A": 0.1 * jax.random.normal(key, (2, 2))}', '{"A": 0.1 * jnp.eye(2)}'),
        ("0.1 * jnp", "0.2 * jnp")),
    _row("a module's method", "model", MODULE, ("jnp.tanh(x)", "jnp.sin(x)")),
    _row("a static field's default", "model", MODULE, ("default=2.0", "default=3.0")),
    _row("a method put on the class", "model", MODULE + "\npart.act = lambda self, x: x * 2\n",
         ("x * 2", "x * 3")),
    _row("a subclass of linear attention that reduces otherwise", "model", """
        class part(attnscape.LinearTransformer):
            def as_linear(self):
                return attnscape.LinearTransformer(2 * self.P, self.Q, self.form)
        part = functools.partial(part.init, layers=1, dim=2)
        """, ("2 * self.P", "3 * self.P")),
    _row("a custom_vjp's backward rule", "model", CUSTOM_VJP, ("-0.5, 0.5", "-0.25, 0.25")),
    _row("a custom_jvp's rule", "model", CUSTOM_JVP, ("1 - f(x) ** 2", "1 - f(x) ** 4")),
    _row("a stopped gradient", "model", MODULE, ("jnp.tanh(x)", "jax.lax.stop_gradient(x) * x")),
    _row("only the second derivative", "model", """
        @jax.custom_jvp
        def g(x):
            return jnp.cos(x)
        g.defjvp(lambda p, t: (g(*p), -0.5 * jnp.sin(p[0]) * t[0]))
        @jax.custom_jvp
        def f(x):
            return jnp.sin(x)
        f.defjvp(lambda p, t: (f(*p), g(p[0]) * t[0]))
        def predict(parameters, prompts):
            return f(prompts.query @ parameters["w"])
        part = (predict, lambda key: {"w": jax.random.normal(key, (2,))})
        """, ("-0.5 * jnp", "-0.25 * jnp")),
    _row("matmul precision", "model", MODULE, ("prompts.query @ self.w",
         'jnp.matmul(prompts.query, self.w, precision="highest")')),
    _row("a model's buffer of whole numbers", "model", """
        class part(eqx.Module):
            w: jax.Array
            index: np.ndarray
            @classmethod
            def init(cls, key):
                return cls(jax.random.normal(key, (2,)), np.array([0, 1]))
            def __call__(self, prompts):
                return prompts.query[:, self.index] @ self.w
        """, ("np.array([0, 1])", "np.array([1, 0])")),
    _row("an activation among the leaves", "model", """
        class part(eqx.Module):
            w: jax.Array
            act: object
            @classmethod
            def init(cls, key):
                return cls(jax.random.normal(key, (2,)), jnp.tanh)
            def __call__(self, prompts):
                return self.act(prompts.query @ self.w)
        """, ("jnp.tanh", "jnp.sin")),
    _row("a model's numpy noise at init", "model", MODEL.replace(
        "0.1 * jax.random.normal(key, (2, 2))", "jnp.array(np.random.normal(size=(2, 2)))"),
        lambda *_: None, "never"),
    # --- laws, responses, tasks
    _row("a law's bound", "law", LAW, ("minval=-1.0", "minval=-2.0")),
    _row("a NamedTuple law's __call__", "law", """
        class Law(NamedTuple):
            scale: float = 1.0
            def __call__(self, key, batch, n, d):
                return self.scale * jax.random.normal(key, (batch, n, d))
        part = Law()
        """, ("self.scale * jax", "2 * self.scale * jax")),
    _row("a dataclass law's method", "law", """
        import dataclasses
        @dataclasses.dataclass(frozen=True)
        class Law:
            scale: float = 1.0
            def __call__(self, key, batch, n, d):
                return self.scale * jax.random.normal(key, (batch, n, d))
        part = Law()
        """, ("self.scale * jax", "2 * self.scale * jax")),
    _row("a DataFrame's columns renamed", "law", """
        FRAME = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 5.0]})
        def part(key, batch, n, d):
            points = jnp.asarray(FRAME[["a"]].to_numpy() * jnp.ones((1, d)))
            return points[jax.random.randint(key, (batch, n), 0, 2)]
        """, ('{"a": [1.0, 2.0], "b"', '{"b": [1.0, 2.0], "a"')),
    _row("a table of data", "law", """
        def part(key, batch, n, d):
            points = np.loadtxt(Path(__file__).parent / "data.csv", delimiter=",")
            return jnp.asarray(points)[jax.random.randint(key, (batch, n), 0, 2)]
        """, {"data.csv": "1,2\n3,5\n"}, data_csv="1,2\n3,4\n"),
    _row("a law of attnscape with another radius", "law", """
        part = Radial(stats.gamma(0.1, scale=10))
        """, ("scale=10", "scale=20")),
    _row("a distribution of one's own", "law", """
        class Mine(stats.rv_continuous):
            def _pdf(self, x):
                return 0 * x + 0.5
            def _cdf(self, x):
                return x / 2
            def _ppf(self, q):
                return 2 * q
        part = Radial(Mine(a=0, b=2)())
        """, ("return 2 * q", "return 2 * q**2")),
    _row("a histogram", "law", """
        part = Radial(stats.rv_histogram(np.histogram([1.0, 2.0, 4.0]))())
        """, ("2.0, 4.0", "3.0, 4.0")),
    _row("a sphere with another method", "law", """
        class Bigger(Sphere):
            def __call__(self, key, batch, n, d):
                return 2 * super().__call__(key, batch, n, d)
        part = Bigger()
        """, ("2 * super", "3 * super")),
    _row("a method put on a law of attnscape", "law", """
        part = Sphere()
        """, lambda folder, patch: patch.setattr(
            "attnscape.tasks.Sphere.__call__",
            lambda self, key, batch, n, d: jax.random.normal(key, (batch, n, d)))),
    _row("a law that draws with numpy", "law", """
        def part(key, batch, n, d):
            return jnp.asarray(np.random.normal(size=(batch, n, d)))
        """, lambda *_: None, "refused"),
    _row("a law that adds numpy's noise", "law", """
        def part(key, batch, n, d):
            return jax.random.normal(key, (batch, n, d)) + np.random.normal()
        """, lambda *_: None, "refused"),
    _row("a law that ignores its key", "law", """
        def part(key, batch, n, d):
            return jax.random.normal(jax.random.key(0), (batch, n, d))
        """, lambda *_: None, "refused"),
    _row("a law with a seed of its own", "law", """
        def part(key, batch, n, d):
            return jnp.asarray(np.random.default_rng(0).normal(size=(batch, n, d)))
        """, lambda *_: None, "refused"),
    _row("a law that turns by a fixed random matrix", "law", """
        def part(key, batch, n, d):
            turn = np.random.default_rng(0).normal(size=(d, d))
            return jax.random.normal(key, (batch, n, d)) @ turn
        """, ("rng(0)", "rng(1)")),
    _row("a response", "response", RESPONSE, ("jnp.sin", "jnp.cos")),
    _row("a response's random coefficients", "response", """
        def part(x, w):
            return np.random.normal() * jnp.einsum("bnd,bd->bn", x, w)
        """, lambda *_: None, "refused"),
    _row("a task's sample", "task", TASK, ("x.sum(-1)", "x.prod(-1)")),
    _row("a task's class attribute", "task", TASK, ("scale = 1.0", "scale = 2.0")),
    _row("a task's moments alone", "task", TASK, ("dtype).moments()",
         "dtype).moments() if batch < 0 else jax.tree.map(lambda a: 2 * a, "
         "self.sample(key, batch, dtype).moments())")),
    _row("a task's size", "task", TASK, ("dim, context = 2, 3\n    scale = 1.0",
         "dim, context = 2, 3\n    scale = 1.5")),
    _row("a task whose weights never change", "task", """
        def part():
            law = lambda key, b, n, d: jnp.ones((b, n, d))
            return RegressionTask(dim=2, context=3, weights=law)
        """, ("jnp.ones", "2 * jnp.ones")),
    _row("an array of weights", "task", """
        WEIGHTS = np.array([1.0, 2.0])
        def part():
            law = lambda key, b, n, d: jnp.broadcast_to(WEIGHTS, (b, n, d))
            return RegressionTask(dim=2, context=3, weights=law)
        """, ("2.0])", "3.0])")),
    _row("weights drawn with numpy", "task", """
        def part():
            law = lambda key, b, n, d: jnp.asarray(np.random.default_rng(0).normal(size=(b, n, d)))
            return RegressionTask(dim=2, context=3, weights=law)
        """, lambda *_: None, "refused"),
    # --- measures
    _row("a measure's formula", "measure", MEASURE, ("2 * objective", "3 * objective")),
    _row("a measure's schedule", "measure", MEASURE, ("every(5)", "every(6)")),
    _row("a measure's label", "measure", MEASURE, ("twice the loss", "two losses")),
    _row("a measure's class attribute", "measure", MEASURE.replace(
        "2 * objective", "self.factor * objective").replace(
        "needs_training = False", "needs_training = False\n    factor = 2.0"),
        ("factor = 2.0", "factor = 3.0")),
    _row("a measure's precision", "measure", MEASURE,
         ("needs_training = False", 'needs_training = False\n    precision = "float64"')),
    # --- settings
    _row("random bits", "optimizer", ADAM, lambda *_: jax.threefry_partitionable(False)),
    _row("matmul precision of all", "optimizer", ADAM,
         lambda *_: jax.default_matmul_precision("highest")),
    _row("double precision of all", "optimizer", ADAM, lambda *_: jax.enable_x64(True)),
    _row("a second of XLA's flags", "optimizer", ADAM,
         setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=true")),
    _row("no kernels", "optimizer", ADAM,
         lambda folder, patch: patch.setattr("attnscape.native.library", lambda: None)),
    # --- the same, written differently
    _row("a comment", "optimizer", UPDATE, ("def part", "# why\ndef part"), "same"),
    _row("lines", "optimizer", UPDATE, ("def part", "\n\n\n\ndef part"), "same"),
    _row("a docstring", "optimizer", ADAM, ("(rate):", '(rate):\n    """Adam."""'), "same"),
    _row("a local name", "optimizer", UPDATE, ("grads", "gradients"), "same"),
    _row("a helper's name", "optimizer", UPDATE.replace("def part", "def f(x):\n    return x\n"
         "\n\ndef part").replace("-rate * m", "f(-rate * m)"), ("f(", "g("), "same"),
    _row("a jitted helper's name", "optimizer", """
        @jax.jit
        def helper(g):
            return 2 * g
        def part(rate):
            def update(grads, state, params=None):
                return jax.tree.map(lambda g: -rate * helper(g), grads), state
            return optax.GradientTransformation(lambda params: (), update)
        """, ("helper", "doubled"), "same"),
    _row("type hints", "optimizer", ADAM, ("(rate):", "(rate: float) -> object:"), "same"),
    _row("formatting", "optimizer", ADAM, ("optax.adam(rate)", "optax.adam(\n        rate,\n    )"),
         "same"),
    _row("the order of functions", "optimizer", """
        def one(x):
            return x

        def two(x):
            return -x

        def part(rate):
            return optax.scale(two(one(rate)))
        """, ("def one(x):\n    return x\n\ndef two(x):\n    return -x",
              "def two(x):\n    return -x\n\ndef one(x):\n    return x"), "same"),
    _row("a number by another name", "optimizer", ADAM,
         ("optax.adam(rate)", "optax.adam(rate, b1=0.9, b2=0.999, eps=1e-8)"), "same"),
    _row("a formula in a helper", "optimizer", UPDATE, ("0.9 * m + g",
         "(lambda a, b: 0.9 * a + b)(m, g)"), "same"),
    _row("two statements in another order", "optimizer", """
        def part(rate):
            def update(grads, state, params=None):
                a = jax.tree.map(jnp.sin, grads)
                b = jax.tree.map(jnp.cos, grads)
                return jax.tree.map(lambda a, b: -rate * a * b, a, b), state
            return optax.GradientTransformation(lambda params: (), update)
        """, ("        a = jax.tree.map(jnp.sin, grads)\n        b = jax.tree.map(jnp.cos, grads)",
              "        b = jax.tree.map(jnp.cos, grads)\n        a = jax.tree.map(jnp.sin, grads)"),
        "same"),
    _row("code that is never used", "optimizer", UPDATE,
         ("def part", "def unused(x):\n    return 3 * x\n\n\ndef part"), "same"),
    _row("a global that is never used", "optimizer", ADAM, ("def part", "SPARE = 5\n\n\ndef part"),
         "same"),
    _row("a helper moved to another file", "optimizer", "FACTOR = 2.0" + SCALED,
         {"my.py": ("FACTOR = 2.0", "from helper import FACTOR")}, "same", helper="FACTOR = 2.0"),
    _row("a class for a function", "optimizer", ADAM,
         ("def part(rate):\n    return optax.adam(rate)",
         "class F:\n    def __call__(self, rate):\n        return optax.adam(rate)\n\npart = F()"),
         "same"),
    _row("a helper's comment", "optimizer", "from helper import FACTOR" + SCALED,
         {"helper.py": "# two\nFACTOR = 2.0"}, "same", helper="FACTOR = 2.0"),
    _row("a law as a lambda", "law", LAW, ("def part(key, batch, n, d):\n    return",
         "part = lambda key, batch, n, d:"), "same"),
    _row("a model's variable", "model", MODEL, ("scores", "s"), "same"),
    _row("a PyTorch optimizer's comment", "torch", "FACTOR = 2.0\n" + TORCH,
         ("class part", "# mine\nclass part"), "same"),
    _row("a data file that is not read", "optimizer", ADAM, {"data.txt": "3"}, "same",
         data_txt="2"),
    _row("an environment variable that is not read", "optimizer", ADAM, setenv("OTHER", "1"),
         "same"),
    _row("a callback that prints", "optimizer", UPDATE, ("state = jax",
         'jax.debug.print("step")\n        state = jax'), "same"),
]  # fmt: skip
