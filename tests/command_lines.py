"""Strategies for command lines, built from what the parser itself reads, so that new options count.

An option's words are those that its help mentions, whatever they stand for, and hostile ones.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import re
import textwrap
import types
import typing
from pathlib import Path

import tyro
from hypothesis import strategies as st

from attnscape.cli import main
from attnscape.optimizers import NAMED
from attnscape.paper.catalog import ARTIFACTS, EXTENDED, NETWORKS

COMMANDS = {
    typing.get_args(each)[0].__name__.lower(): typing.get_args(each)[0]
    for each in typing.get_args(main.Command)
}
INTEGERS = ["0", "1", "2", "3", "7", "-1", "1000001", str(2**31), str(10**30), "1.5", "few", ""]
NUMBERS = ["0", "0.5", "1", "1e-320", "1e308", "-1", "nan", "inf", "-inf", "1_0", "0x1", "much"]
HOSTILE = [
    *("", " ", ":", "=", "@", ",", "a:", ":a", "a=", "=a", "a@", "@cosine", "adam@", "a:b=c,d=e"),
    *("..", "/", ".", "a/b", "~", "*", "-", "--", "\n", "\t", "é", "\udce9", "x" * 300),
    *("{{}}", "%s", "[red]", "[/]", "$HOME", "adam@cosine:warmup=nan", "adam@wsd:decay=2", "1"),
    *("math:pi", "math:sqrt", "math:nothing", "no.module:x", "os:path.sep", "this.py:x", ".:x"),
    *("torch:", "torch:Adam", "torch:no.Class", "torch:SGD@linear", "adam.b2=0.9,1", "adam.=1"),
    *("huber:delta=0", "huber:delta=nan", "huber:epsilon=1", "huber:", "gamma(", "norm()", "1 + 1"),
    *("gamma(1, scale=-1)", "beta(2, 2)", "nothing.nc", "nothing.nc:step=1", "nothing.csv"),
    *("curvature:every=0", "noise:at=1,samples=x", "noise:at=", "loss:every=1,every=2", "local:0"),
    *("local:x", "tcp://nowhere:1", "setting-1", "all", "0.1,0.2", "sgdm=", "sgdm=0.1,", "=0.1"),
    *("{own}:optimizer", "{own}:task", "{own}:model", "{own}:number", "{own}:nothing", "{own}"),
    *("{broken}:optimizer", "{table}", "{result}", "{result}:seed=0", "{folder}"),
    *NAMED, *ARTIFACTS, *EXTENDED, *NETWORKS,
]  # fmt: skip


def command_lines(name: str) -> st.SearchStrategy[list[str]]:
    """Words behind the name of a command: some of its options, in any order, with any values."""
    kinds = typing.get_type_hints(COMMANDS[name], include_extras=True)
    options, places = [], []
    for field in dataclasses.fields(COMMANDS[name]):
        if field.name == "out":  # the test's own
            continue
        kind = kinds[field.name]
        values = _values(kind, _mentioned(COMMANDS[name], field.name))
        if tyro.conf.Positional in _marks(kind):
            places.append(values)
        else:
            flag = f"--{field.name.replace('_', '-')}"
            options.append(values.map(lambda words, flag=flag: [flag, *words]))
    behind = st.lists(st.one_of(options), max_size=4) if options else st.just([])
    return st.tuples(st.tuples(*places), behind).map(lambda both: _joined([*both[0], *both[1]]))


def _marks(kind: typing.Any) -> tuple[object, ...]:
    return getattr(kind, "__metadata__", ())


def _values(kind: typing.Any, mentioned: list[str]) -> st.SearchStrategy[list[str]]:
    """The words of one value; several, or none, where the type has several."""
    if _marks(kind):
        return _values(typing.get_args(kind)[0], mentioned)
    arguments = typing.get_args(kind)
    if kind is bool:
        return st.just([])
    if kind is int:
        return _word(INTEGERS)
    if kind is float:
        return _word(NUMBERS)
    if kind in (str, Path):
        return _word([*mentioned, *mentioned, *HOSTILE])  # those that mean something more often
    if typing.get_origin(kind) is typing.Literal:
        return _word([*map(str, arguments), "other"])
    if typing.get_origin(kind) is tuple:
        return st.lists(_values(arguments[0], mentioned), max_size=3).map(_joined)
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return st.one_of([_values(each, mentioned) for each in arguments if each is not type(None)])
    raise TypeError(f"options of type {kind} have no strategy; write one")


def _joined(lists: list[list[str]]) -> list[str]:
    return list(itertools.chain.from_iterable(lists))


def _word(words: list[str]) -> st.SearchStrategy[list[str]]:
    return st.sampled_from(words).map(lambda word: [word])


def _mentioned(command: type, name: str) -> list[str]:
    """The words of an option's help: the names that it can have are among them."""
    return re.findall(r"[\w.][\w.:=@/-]*[\w)]", option_documentation(command, name))


def option_documentation(command: type, name: str) -> str:
    """The string below the field in the source."""
    body = ast.parse(textwrap.dedent(inspect.getsource(command))).body[0].body
    for field, below in itertools.pairwise(body):
        if isinstance(field, ast.AnnAssign) and field.target.id == name:
            return ast.literal_eval(below.value)
    return ""
