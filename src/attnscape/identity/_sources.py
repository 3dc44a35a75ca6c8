"""The files that a part depends on, for code that a trace cannot see: callbacks and PyTorch.

User's modules that were loaded with the part count by their statements, without comments and
layout; installed packages count by their versions. Other dependences, such as on the environment,
the time or random numbers without a seed, are listed in words, because they cannot be pinned down.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.metadata
import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from attnscape.identity._graph import TRUSTED, PartContents
from attnscape.identity._outside import outside, random_numbers
from attnscape.identity._versions import version
from attnscape.loading import brought_in, is_installed, is_installed_file, known_as, name_of


def pinned_by(value: Any) -> tuple[dict[str, Any], list[str]]:
    """The content of a part's files as JSON data, and its other dependences in words.

    Examples:
        >>> from attnscape.identity import pinned_by
        >>> content, outside = pinned_by(3.0)
        >>> content["files"], outside
        ({}, [])
    """
    part = PartContents(value)
    sources: dict[str, bytes | None] = {}
    for name in part.modules:
        if name in sys.modules and not is_installed(name):
            sources |= brought_in(sys.modules[name])
    unpinned = [f"the state of a {kind}" for kind in sorted(part.unknown)]
    statements = dict[str, str]()
    read = {known_as(name).partition(".")[0] for name in sources}
    packages = {name.partition(".")[0] for name in part.modules if is_installed(name)}
    for name, source in sources.items():
        short = known_as(name)
        if source is None:
            unpinned.append(f"{short}, whose source is not known")
            continue
        tree = ast.parse(source)
        statements[short] = hashlib.sha256(ast.dump(tree).encode()).hexdigest()
        unpinned += [f"{what} ({word} in {short})" for what, word in outside(tree)]
        packages |= (imported := set(_imported(tree)))
        unpinned += [
            f"{name}, which {short} imports while it runs"
            for name in sorted(imported - read)
            if _is_users(name)
        ]
    for kind in part.classes:
        words = name_of(kind)
        unpinned += [f"{what} ({word} in {words})" for what, word in random_numbers(kind)]
    content = {
        "values": hashlib.sha256("\0".join(part.contents).encode()).hexdigest(),
        "files": statements,
        "packages": _versions(packages - TRUSTED),
        "torch": _torch_settings(),
    }
    return content, unpinned


def _imported(tree: ast.AST) -> Iterable[str]:
    """The top-level names of the modules that a source imports."""
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        yield from (name.partition(".")[0] for name in names)


def _is_users(name: str) -> bool:
    """Whether a module of that name would come from a user's file."""
    try:
        spec = importlib.util.find_spec(name) if name else None
    except (ImportError, ValueError):
        return False
    places = [spec.origin or "", *(spec.submodule_search_locations or ())] if spec else []
    return any(Path(place).is_absolute() and not is_installed_file(place) for place in places)


def _torch_settings() -> list[str]:
    """PyTorch's settings that change numbers; empty if it is not loaded."""
    torch = sys.modules.get("torch")
    if torch is None:
        return []
    names = ("get_default_dtype", "get_float32_matmul_precision")
    return [str(getattr(torch, name)()) for name in names]


@functools.cache
def _owners() -> dict[str, list[str]]:
    """The installed distributions that each top-level module comes from."""
    return {
        name: list(owners) for name, owners in importlib.metadata.packages_distributions().items()
    }


def _versions(packages: Iterable[str]) -> dict[str, str | None]:
    """The versions of the packages installed under these top-level names."""
    return {owner: version(owner) for package in packages for owner in _owners().get(package, ())}
