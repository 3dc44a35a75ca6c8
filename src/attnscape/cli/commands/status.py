"""`attnscape status`: what is finished, under way, stopped or failed in a folder."""

from __future__ import annotations

import time

from rich.console import Console
from rich.table import Column, Table

from attnscape.cli._options import Status
from attnscape.errors import UsageError
from attnscape.report.numbers import duration
from attnscape.workflows.status import Run, runs_in

_MOST = 30  # finished runs that are listed


def run(options: Status) -> None:
    """Prints a table of the runs in the folder, the latest first.

    Raises:
        UsageError: If there are none.
    """
    found = runs_in(options.out)
    if not found:
        raise UsageError(
            f"The folder {options.out} holds no runs; choose another with --out, or train "
            "something."
        )
    finished = [each for each in found if each.state == "finished"]
    others = [each for each in found if each.state != "finished"]
    table = Table("state", Column("run", overflow="fold"), "done", "left", "written")
    now = time.time()
    for each in [*others, *finished[:_MOST]]:
        table.add_row(*_cells(each, now))
    if len(finished) > _MOST:
        table.add_row("finished", f"{len(finished) - _MOST} further runs", "", "", "")
    console = Console()
    console.print(table)
    counts = {state: sum(each.state == state for each in found) for state in _SAYS}
    for state, count in counts.items():
        if count:
            console.print(f"{count} {state}{_SAYS[state]}", highlight=False)


# After the number of runs in a state.
_SAYS = {
    "finished": ".",
    "under way": ".",
    "stopped": ": the same command goes on from the checkpoints.",
    "elsewhere": ": under way, or stopped, on another machine or in another container.",
    "failed": ".",
}


def _cells(run: Run, now: float) -> tuple[str, ...]:
    done = f"{run.done:,} of {run.total:,} steps" if run.total else ""
    left = "" if run.seconds_left is None else f"about {duration(run.seconds_left)}"
    if run.why:
        done = run.why
    return run.state, run.name, done, left, f"{duration(max(0.0, now - run.written))} ago"
