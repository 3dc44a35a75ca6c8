"""What models ask of their data and of the installation, with sentences for what is missing."""

from __future__ import annotations

from collections.abc import Mapping

from attnscape.errors import UsageError


def fact(facts: Mapping[str, int], name: str, model: str) -> int:
    """The fact of the data with the given name.

    Raises:
        UsageError: If the data do not have it.
    """
    if name not in facts:
        raise UsageError(
            f"{model} needs {name!r} of its data, which have {', '.join(facts) or 'no facts'}; "
            "choose other data, or add it to their facts."
        )
    return facts[name]


def require_heads(width: int, heads: int) -> None:
    """Raises UsageError if the width is not a multiple of the number of heads."""
    if heads < 1 or width % heads:
        raise UsageError(
            f"The width is {width} and there are {heads} heads; give a width that is a multiple "
            "of the number of heads."
        )


def not_installed(package: str, command: str = "pip install 'attnscape[networks]'") -> UsageError:
    """The error for a missing package, with the command that installs it."""
    return UsageError(f"This network needs the package {package}; run {command}.")
