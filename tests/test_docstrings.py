"""Each public function and class shows an example, and every example runs."""

import ast
import doctest
import importlib
import importlib.util
import inspect
import pkgutil

import pytest

import attnscape

# Rooms whose names users import; the other rooms are for those who change attnscape.
PUBLIC = (
    "attnscape",
    *(
        f"attnscape.{room}"
        for room in (
            *("identity", "loading", "measures", "models", "networks", "objective", "optimizers"),
            *("statistics", "steppers", "tasks", "torch", "training", "validation"),
        )
    ),
)
# Parts of attnscape that need no example: what goes wrong is shown by its sentence.
PLAIN = (Warning, Exception)
OPTIONAL = {
    "attnscape.torch": "torch",
    "attnscape.networks": "torch",
    "attnscape.optimizers.pytorch": "torch",
}
OPTIONAL |= {
    f"attnscape.workflows.{name}": "distributed"
    for name in ("clusters", "cluster_chunks", "cluster_worker")
}
OPTIONAL |= {"attnscape.optimizers._random_states": "torch", "attnscape._moved": ""}


def is_there(module):
    wanted = [need for name, need in OPTIONAL.items() if module.startswith(name)]
    return all(need and importlib.util.find_spec(need) is not None for need in wanted)


MODULES = [
    module.name
    for module in pkgutil.walk_packages(attnscape.__path__, "attnscape.")
    if is_there(module.name)
    and "._kernels_" not in module.name
    and not module.name.endswith("__main__")
]


def is_part(thing):
    """A function or class of attnscape, apart from warnings and errors."""
    if not (inspect.isroutine(thing) or inspect.isclass(thing)):
        return False
    is_plain = inspect.isclass(thing) and issubclass(thing, PLAIN)
    return getattr(thing, "__module__", "").startswith("attnscape") and not is_plain


@pytest.mark.parametrize("room", PUBLIC)
def test_every_public_name_has_an_example(room):
    if not is_there(room):
        pytest.skip(f"{room} needs {OPTIONAL[room]}")
    module = importlib.import_module(room)
    tree = ast.parse(inspect.getsource(module))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    exported = {alias.name for node in imports for alias in node.names if alias.asname}
    lacking = [
        name
        for name, thing in inspect.getmembers(module, is_part)
        if not name.startswith("_")
        and (name in exported or thing.__module__ == room)
        and ">>>" not in (inspect.getdoc(thing) or "")
    ]
    assert lacking == []


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_say(name):
    module = importlib.import_module(name)
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    finder = doctest.DocTestFinder(exclude_empty=True)
    for test in finder.find(module, name):
        if test.examples:
            result = doctest.DocTestRunner(optionflags=flags).run(test)
            assert result.failed == 0, test.name
