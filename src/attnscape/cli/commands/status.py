"""`attnscape status`: what is finished, under way, stopped, left or failed in a folder."""

from __future__ import annotations

import time

from rich.console import Console
from rich.table import Column, Table

from attnscape.cli._options import Status
from attnscape.errors import UsageError
from attnscape.report.numbers import duration
from attnscape.workflows.status import Command, Run, command_in, runs_in

_MOST = 30  # runs that are listed of those that are finished, and of those that are left


def run(options: Status) -> None:
    """Prints tables of the artifacts that a command makes, and of the runs, the latest first.

    Raises:
        UsageError: If there are none, or the command's agenda cannot be read.
    """
    try:
        command = command_in(options.out)
    except ValueError as error:
        raise UsageError(
            f"The agenda of {options.out} cannot be read ({error}); run `attnscape reproduce` "
            "again, which writes it."
        ) from error
    found = runs_in(options.out, command.runs if command else None)
    if not found and command is None:
        raise UsageError(
            f"The folder {options.out} holds no runs; choose another with --out, or train "
            "something."
        )
    console = Console()
    if command is not None:
        failed = {each.name for each in found if each.state == "failed"}
        console.print(_table_of_artifacts(command, failed))
    of_state = {state: [each for each in found if each.state == state] for state in _SAYS}
    table = Table("state", Column("run", overflow="fold"), "done", "left", "written")
    for state, runs in of_state.items():
        most = _MOST if state in ("left", "finished") else len(runs)
        for each in runs[:most]:
            table.add_row(*_cells(each, time.time()))
        if len(runs) > most:
            table.add_row(state, f"{len(runs) - most} further runs", "", "", "")
    console.print(table)
    if command is not None:
        console.print(_of_command(command), highlight=False)
    for state, runs in of_state.items():
        if runs:
            console.print(f"{len(runs)} {state}{_SAYS[state]}", highlight=False)


# After the number of runs in a state, in the order in which they are listed.
_SAYS = {
    "under way": ".",
    "stopped": ": the same command goes on from the checkpoints.",
    "elsewhere": ": under way, or stopped, on another machine or in another container.",
    "failed": ".",
    "left": ".",
    "finished": ".",
}
_OF_COMMAND = {
    "under way": "under way",
    "stopped": "stopped; the same command goes on",
    "elsewhere": "under way, or stopped, on another machine or in another container",
}


def _of_command(command: Command) -> str:
    words = f"reproduce: {_OF_COMMAND[command.state]}, began {duration(command.seconds)} ago"
    if command.seconds_left is None:
        return f"{words}."
    unknown = sum(so_far is None for so_far in command.artifacts.values())
    without = f", without {unknown} artifacts whose runs are not known yet" if unknown else ""
    left = f"about {duration(command.seconds_left)} of runs left at the mean speed since then"
    return f"{words}; {left}{without}."


def _table_of_artifacts(command: Command, failed: set[str]) -> Table:
    table = Table("artifact", "finished runs", "state")
    for name, so_far in command.artifacts.items():
        done, runs = so_far or (0, 0)
        state = (
            "failed"
            if name in failed
            else "done"
            if name in command.made
            else "runs not known yet"
            if so_far is None
            else "not drawn yet"
            if done == runs
            else f"{runs - done} left"
        )
        table.add_row(name, "" if so_far is None else f"{done} of {runs}", state)
    return table


def _cells(run: Run, now: float) -> tuple[str, ...]:
    done = f"{run.done:,} of {run.total:,} steps" if run.total else ""
    left = "" if run.seconds_left is None else f"about {duration(run.seconds_left)}"
    if run.why:
        done = run.why
    ago = "" if run.written is None else f"{duration(max(0.0, now - run.written))} ago"
    return run.state, run.name, done, left, ago
