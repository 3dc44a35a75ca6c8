"""Versions of installed packages."""

from __future__ import annotations

import functools
import importlib.metadata


@functools.cache  # a file is read, and results and identities ask often
def version(package: str) -> str | None:
    """The version of a package as pip names it; None if it is not installed.

    Examples:
        >>> from attnscape.identity import version
        >>> version("jax") is None, version("no-such-package")
        (False, None)
    """
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
