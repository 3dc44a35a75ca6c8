"""Makes artifacts: loads or runs experiments, draws, writes PNG, PDF, CSV, LaTeX and caption."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import pandas as pd

from attnscape import spec
from attnscape.errors import UsageError
from attnscape.experiments import store
from attnscape.experiments.artifact import AnalysisT, Artifact
from attnscape.experiments.setting import Plan
from attnscape.files import atomic, writable_directory
from attnscape.report.latex import latex
from attnscape.report.made import Made
from attnscape.workflows.run_queue import RunQueue
from attnscape.workflows.runs import load_or_run_all


def make(
    artifact: Artifact[AnalysisT],
    out: Path,
    plan: Plan,
    log: Callable[[str], None],
    kept: Mapping[str, Path] = MappingProxyType({}),
    queue: RunQueue | None = None,
) -> Made:
    """Makes one artifact in the folder `out`.

    Finished runs in its subfolder `runs` are not repeated.

    Args:
        artifact: The artifact to make.
        out: The folder.
        plan: How much to run, and how.
        log: Called with a line when runs start.
        kept: Files of further results, relative to `out`; they are read and never run again.
        queue: The queue in which runs of further artifacts wait, if there are any.

    Raises:
        UsageError: If the folder cannot be written, or a result in it cannot be read.
    """
    # Here, because it takes half a second in which other processes compute by now.
    from attnscape.workflows.pictures import write_pictures

    out = writable_directory(out)
    experiments = artifact.experiments(plan)
    if queue is not None and not plan.own:  # otherwise nobody else computes
        artifact.prepare()
    found = load_or_run_all(experiments, out / "runs", artifact.name, log, queue)
    for key, path in kept.items():
        found[key] = store.load(out / path)
        if not path.stem.endswith(spec.short(str(found[key].attrs.get("run_id")))):
            raise UsageError(f"{out / path} holds another run; delete it and run again.")
    runs = {key: store.find(experiment, out / "runs") for key, experiment in experiments.items()}
    runs |= {key: out / path for key, path in kept.items()}
    analysis = artifact.analyse(found)
    tables = artifact.tables(analysis, plan)
    words = artifact.caption(analysis, plan), artifact.against_rates(plan)
    caption = " ".join(filter(None, words))
    files = _write(artifact, out, analysis, tables, caption)
    return Made(
        artifact,
        caption,
        analysis.frame,
        artifact.comparison(analysis),
        files | write_pictures(artifact, out, analysis),
        found,
        {key: path for key, path in runs.items() if path is not None},
        tables,
    )


def _write(
    artifact: Artifact[AnalysisT],
    out: Path,
    analysis: AnalysisT,
    tables: Mapping[str, pd.DataFrame],
    caption: str,
) -> dict[str, Path]:
    files = {suffix: out / f"{artifact.name}.{suffix}" for suffix in ("csv", "txt")}
    with atomic(files["csv"]) as partial:
        analysis.frame.to_csv(partial, index=False)
    with atomic(files["txt"]) as partial:
        partial.write_text(caption + "\n", "utf-8", errors="replace")
    if tables:
        files["tex"] = out / f"{artifact.name}.tex"
        with atomic(files["tex"]) as partial:
            text = "\n".join(latex(*table) for table in tables.items())
            partial.write_text(text, "utf-8", errors="replace")
    return files
