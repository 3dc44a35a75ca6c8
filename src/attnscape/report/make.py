"""Makes artifacts: obtains the runs, draws, writes PNG, PDF, CSV, LaTeX and caption."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import pandas as pd
import xarray as xr

from attnscape import effort, results
from attnscape.errors import UsageError
from attnscape.paper.artifact import Artifact, Results
from attnscape.paper.settings import Plan
from attnscape.progress import ProgressBar
from attnscape.report.cost import Cost
from attnscape.report.draw import draw
from attnscape.report.latex import latex
from attnscape.report.style import style
from attnscape.results import Computation


@dataclasses.dataclass(frozen=True)
class Made:
    """An artifact that was made.

    Attributes:
        artifact: Which.
        caption: What it shows.
        frame: Its numbers.
        comparison: Ours beside the printed ones, or None.
        files: What was written, by suffix (`png`, `pdf`, `csv`, `tex`, `txt`).
        results: What it was made from.
        runs: The files of `results`.
        tables: Rows for print, by the sentence that stands above them.
    """

    artifact: Artifact
    caption: str
    frame: pd.DataFrame
    comparison: pd.DataFrame | None
    files: dict[str, Path]
    results: Results
    runs: dict[str, Path]
    tables: Mapping[str, pd.DataFrame] = dataclasses.field(default_factory=dict)


def make(
    artifact: Artifact,
    out: Path,
    plan: Plan,
    say: Callable[[str], None],
    kept: Mapping[str, Path] = MappingProxyType({}),
) -> Made:
    """Makes one artifact in the folder `out`.

    Finished runs are found in its subfolder `runs` and not repeated.

    Args:
        artifact: What to make.
        out: A folder.
        plan: How much to run, and how.
        say: Called with a line where runs start.
        kept: Results that are taken as they lie in the folder, beside those of its experiments.

    Raises:
        UsageError: If the folder cannot be written, or a result in it cannot be read.
    """
    out = results.writable_directory(out)
    experiments = artifact.experiments(plan)
    found = {
        key: obtain(experiment, out / "runs", artifact.name, say)
        for key, experiment in experiments.items()
    }
    for key, path in kept.items():
        found[key] = results.load(out / path)
        if not path.stem.endswith(str(found[key].attrs.get("run_id"))[:16]):
            raise UsageError(f"{out / path} holds another run; delete it and run again.")
    runs = {key: results.find(experiment, out / "runs") for key, experiment in experiments.items()}
    runs |= {key: out / path for key, path in kept.items()}
    tables, caption = artifact.tables(found, plan), artifact.caption(found, plan)
    # What needs no runs has no numbers but those of its table.
    frame = artifact.frame(found) if found else next(iter(tables.values()))
    return Made(
        artifact,
        caption,
        frame,
        artifact.comparison(found),
        _write(artifact, out, frame, tables, caption),
        found,
        {key: path for key, path in runs.items() if path is not None},
        tables,
    )


def obtain(
    experiment: Computation, directory: Path, artifact: str, say: Callable[[str], None]
) -> xr.Dataset:
    """Runs the experiment of an artifact, or finds its result, and shows how far it is.

    What takes long says how long as soon as some steps were measured, and then how far it is.
    """
    if results.find(experiment, directory) is None:
        expected = effort.announced(experiment)
        say(f"{artifact}: running {experiment.name}, {experiment.run_steps:,} run-steps{expected}")
    cost = Cost(lambda words: say(f"{artifact}: {experiment.name} {words}"))
    with ProgressBar(experiment.name) as bar:

        def progress(done: int, total: int) -> None:
            bar(done, total)
            cost(done, total)

        return results.obtain(experiment, directory, progress)


def _write(
    artifact: Artifact,
    out: Path,
    frame: pd.DataFrame,
    tables: Mapping[str, pd.DataFrame],
    caption: str,
) -> dict[str, Path]:
    files = {suffix: out / f"{artifact.name}.{suffix}" for suffix in ("csv", "txt")}
    with results.atomic(files["csv"]) as partial:
        frame.to_csv(partial, index=False)
    with results.atomic(files["txt"]) as partial:
        partial.write_text(caption + "\n", "utf-8")
    if tables:
        files["tex"] = out / f"{artifact.name}.tex"
        with results.atomic(files["tex"]) as partial:
            partial.write_text("\n".join(latex(*table) for table in tables.items()), "utf-8")
    with style():
        figure = draw(artifact, frame)
        if figure is None:
            return files
        for suffix, metadata in (("png", None), ("pdf", {"CreationDate": None})):
            files[suffix] = out / f"{artifact.name}.{suffix}"
            with results.atomic(files[suffix]) as partial:
                figure.savefig(partial, format=suffix, metadata=metadata)
    return files
