"""The command line: reads the options and runs the command.

Only modules needed to show help are imported at the top; commands import JAX if they need it.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import sys
import warnings
from typing import Annotated, Any

import tyro

from attnscape.cli._combinations import check_artifacts, check_combination, check_numbers
from attnscape.cli._ending import orderly, to_its_end
from attnscape.cli._network_options import Networks
from attnscape.cli._options import (
    Bench,
    Check,
    Doctor,
    Report,
    Reproduce,
    Status,
    Train,
)
from attnscape.paper.catalog import ARTIFACTS, EXTENDED, NETWORKS
from attnscape.workflows import fork_server

_ARTIFACT_LIST = "\n".join(f"  {name}: {title}" for name, title in ARTIFACTS.items())
_EXTENDED_LIST = "\n".join(f"  {name}: {title}" for name, title in EXTENDED.items())
_NETWORK_LIST = "\n".join(f"  {name}: {title}" for name, title in NETWORKS.items())
_DESCRIPTION = f"""A wind tunnel for Transformer optimization.

`attnscape --version` shows the version.

Artifacts:
{_ARTIFACT_LIST}

Artifacts beyond the paper's figures, made by `reproduce --extended` or if they are named:
{_EXTENDED_LIST}

Artifacts on real networks, made if they are named:
{_NETWORK_LIST}"""

Command = (
    Annotated[Reproduce, tyro.conf.subcommand("reproduce")]
    | Annotated[Report, tyro.conf.subcommand("report")]
    | Annotated[Status, tyro.conf.subcommand("status")]
    | Annotated[Train, tyro.conf.subcommand("train")]
    | Annotated[Bench, tyro.conf.subcommand("bench")]
    | Annotated[Networks, tyro.conf.subcommand("networks")]
    | Annotated[Check, tyro.conf.subcommand("check")]
    | Annotated[Doctor, tyro.conf.subcommand("doctor")]
)


_format_any_warning = warnings.formatwarning


def _format_warning(message: Warning | str, category: type[Warning], *place: Any) -> str:
    """Shows attnscape's warnings as sentences, without the line of code that raised them."""
    if category.__module__.startswith("attnscape."):
        return f"attnscape: {message}\n"
    return _format_any_warning(message, category, *place)


def _computes_here(command: Reproduce) -> bool:
    """Whether processes of this machine will very likely compute runs."""
    several = (os.cpu_count() or 1) > 1
    built_in = command.task is None and command.model is None and command.cluster is None
    return several and built_in and not (command.out / "report.html").exists()


def main() -> None:
    """Reads the command line and runs the command."""
    with orderly():
        if sys.argv[1:] == ["--version"]:
            print(f"attnscape {importlib.metadata.version('attnscape')}")
            return
        command = tyro.cli(
            Command,  # pyright: ignore[reportArgumentType]
            prog="attnscape",
            config=(tyro.conf.FlagCreatePairsOff,),
            description=_DESCRIPTION,
        )
        check_combination(command, sys.argv[2:])
        check_numbers(command)
        check_artifacts(command)
        warnings.formatwarning = _format_warning
        # No window is opened, and the user's style does not change figures.
        os.environ |= {"MPLBACKEND": "agg", "MATPLOTLIBRC": os.devnull}
        if isinstance(command, Reproduce) and _computes_here(command):
            fork_server.start()  # while this process imports what it needs itself
        with to_its_end():
            name = type(command).__name__.lower()
            importlib.import_module(f"attnscape.cli.commands.{name}").run(command)
