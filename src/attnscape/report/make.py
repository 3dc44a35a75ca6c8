"""Makes artifacts: obtains the runs, draws, writes PNG, PDF, CSV and caption."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import xarray as xr

from attnscape import results
from attnscape.paper import loss_curves
from attnscape.progress import ProgressBar
from attnscape.report import loss_curves as drawing


@dataclasses.dataclass(frozen=True)
class Scale:
    """How much to run.

    Attributes:
        seeds: Seeds 0, 1, ..., seeds - 1.
        steps: Of each run.
    """

    seeds: int
    steps: int


FULL = Scale(seeds=6, steps=10_000)
QUICK = Scale(seeds=3, steps=2_000)


def make(artifact: str, out: Path, scale: Scale, say: Callable[[str], None]) -> Path:
    """Makes one artifact in the folder `out` and returns its picture's path.

    Finished runs are found there and not repeated.

    Args:
        artifact: A name of `attnscape.paper.catalog`.
        out: A folder; runs go to its subfolder `runs`.
        scale: How much to run.
        say: Called with a line where runs start.

    Raises:
        UsageError: If the folder cannot be written, or a result in it cannot be read.
    """
    out = results.writable_directory(out)
    found: dict[str, xr.Dataset] = {}
    for experiment in loss_curves.experiments(scale.seeds, scale.steps):
        if results.find(experiment, out / "runs") is None:
            say(f"{artifact}: training {experiment.name}, {experiment.run_steps:,} run-steps")
        with ProgressBar(experiment.name) as bar:
            found[experiment.name] = results.obtain(experiment, out / "runs", bar)
    frame = loss_curves.tidy(found)
    figure = drawing.draw(frame, {name: s.title for name, s in loss_curves.SETTINGS.items()})
    with results.atomic(out / f"{artifact}.csv") as partial:
        frame.to_csv(partial, index=False)
    with results.atomic(out / f"{artifact}.txt") as partial:
        partial.write_text(loss_curves.caption(found) + "\n")
    with results.atomic(out / f"{artifact}.pdf") as partial:
        figure.savefig(partial, format="pdf", metadata={"CreationDate": None})
    picture = out / f"{artifact}.png"
    with results.atomic(picture) as partial:
        figure.savefig(partial, format="png")
    return picture
