"""Progress of a run: a bar on terminals, and lines if the run takes long."""

from __future__ import annotations

from collections.abc import Callable

import xarray as xr
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from attnscape.training import Progress as Report
from attnscape.workflows.cost import Cost


class _Speed(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f} run-steps/s", style="cyan")


class ProgressBar:
    """A context manager to be called with (run-steps done, run-steps in all).

    Args:
        description: The label of the bar.
        console: The console to draw on; standard error by default, so that output can be piped.
        unit: What is counted; empty if it is nothing that has a name.
    """

    def __init__(
        self, description: str, console: Console | None = None, unit: str = "run-steps"
    ) -> None:
        console = console or Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            *([_Speed()] if unit else []),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._task = self._progress.add_task(description, total=None)

    def __enter__(self) -> ProgressBar:
        """Shows the bar."""
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Removes the bar."""
        self._progress.stop()

    def describe(self, words: str) -> None:
        """Changes the label."""
        self._progress.update(self._task, description=words)

    def __call__(self, done: int, total: int) -> None:
        """Moves the bar."""
        self._progress.update(self._task, completed=done, total=total)


def with_progress(
    name: str,
    compute: Callable[[Report, Callable[[], None]], xr.Dataset],
    log: Callable[[str], None],
) -> xr.Dataset:
    """Loads or computes a result, with a progress bar and log lines.

    Args:
        name: The label of the bar.
        compute: Returns the result; it calls its first argument with (run-steps done, run-steps in
            all), and its second if another process is computing the result.
        log: Called with the estimated duration, and later with the progress.
    """
    cost = Cost(log)
    with ProgressBar(name) as bar:

        def progress(done: int, total: int) -> None:
            bar(done, total)
            cost(done, total)

        def waiting() -> None:
            log("is being computed by another process; waiting for it")

        return compute(progress, waiting)
