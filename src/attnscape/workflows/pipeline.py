"""The pipeline: makes one artifact after the other, updates the page after each, then judges.

While one artifact is drawn, runs of later ones are computed, unless they need a search first or
have parts of the user's. The pipeline can be interrupted at any point and continued: finished runs
are not repeated, and the page is built from the files in the folder.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnscape import files, spec
from attnscape.errors import UsageError
from attnscape.experiments import store
from attnscape.experiments.artifact import Artifact, Results
from attnscape.experiments.setting import Plan
from attnscape.paper import claims
from attnscape.paper.catalog import NETWORKS
from attnscape.paper.own import run_ids, with_own_parts
from attnscape.paper.verdict import Verdict
from attnscape.report.agenda import RUNS, AgendaFile
from attnscape.report.made import Made
from attnscape.report.manifest import (
    Manifest,
    read_all,
    read_verdicts,
    save_verdicts,
    verdicts_origin,
)
from attnscape.report.numbers import duration
from attnscape.report.page import write_page
from attnscape.workflows.fresh import code, is_fresh, origin
from attnscape.workflows.make import make
from attnscape.workflows.run_queue import RunQueue
from attnscape.workflows.runs import load_or_run_all
from attnscape.workflows.searches import are_due, with_searches

if TYPE_CHECKING:
    from attnscape.workflows.clusters import Cluster


@dataclasses.dataclass(frozen=True)
class Reproduced:
    """The outcome of `reproduce`.

    Attributes:
        verdicts: Verdicts on the claims whose artifacts are in the folder, old or new.
        failed: Names of the artifacts that could not be made.
        page: The file of the page.
    """

    verdicts: list[Verdict]
    failed: list[str]
    page: Path


def reproduce(
    artifacts: Sequence[Artifact[Any]],
    out: Path,
    plan: Plan,
    command: Callable[[str], str],
    log: Callable[[str], None],
    cluster: Cluster | None = None,
) -> Reproduced:
    """Makes artifacts in a folder, and the page of all artifacts in it.

    An artifact that cannot be made does not stop the others; the page says why.

    Args:
        artifacts: The artifacts to make, in this order.
        out: The folder.
        plan: How much to run, and how.
        command: Returns the command line that makes the artifact with a given name again.
        log: Called with a line when an artifact starts and ends, and when runs start.
        cluster: Where runs are computed; by default on this machine.

    Raises:
        UsageError: If the folder cannot be written.
        LostError: If the cluster cannot be reached any more.
    """
    files.writable_directory(out)
    failed, name_by_runs = [], dict[Any, str]()
    agenda = AgendaFile(out, [artifact.name for artifact in artifacts])
    with RunQueue(out / RUNS, cluster, agenda.add_and_save) as queue:
        _add_all(artifacts, plan, queue, agenda)
        for position, artifact in enumerate(artifacts, start=1):
            try:
                if plan.own:
                    artifact = with_own_parts(artifact, plan)
                    key = type(artifact), run_ids(artifact, plan)
                    if same := name_by_runs.get(key):
                        log(f"{artifact.name}: with these parts it is the same as {same}.")
                        continue
                    name_by_runs[key] = artifact.name
                log(f"{artifact.name} ({position} of {len(artifacts)}): {artifact.title}")
                run = functools.partial(
                    load_or_run_all,
                    directory=out / RUNS,
                    artifact=artifact.name,
                    log=log,
                    queue=queue,
                )
                plan = with_searches(plan, artifact, run, log, queue.add)
                if is_fresh(artifact, plan, out, read_all(out).get(artifact.name)):
                    log(f"{artifact.name}: is there already.")
                    continue
                start = time.perf_counter()
                made = make(artifact, out, plan, log, queue=queue)
            except UsageError as error:
                failed.append(artifact.name)
                manifest = _failure(artifact, out, plan, command(artifact.name), str(error))
                log(f"{artifact.name}: not made. {error}")
            else:
                manifest = _success(artifact, out, plan, command(artifact.name), made)
                picture = made.files.get("png", made.files["csv"])
                log(f"{artifact.name}: {picture}, {duration(time.perf_counter() - start)}")
            manifest.save(out)
            write_page(out)
    agenda.remove()
    # The claims are about the paper's parts.
    return Reproduced([] if plan.own else _judge(out), failed, write_page(out))


def _add_all(
    artifacts: Sequence[Artifact[Any]], plan: Plan, queue: RunQueue, agenda: AgendaFile
) -> None:
    """Lets the queue compute the runs of all artifacts that need no search first, in order."""
    for artifact in artifacts if not plan.own else ():
        with contextlib.suppress(UsageError):  # told when it is the artifact's turn
            if not are_due(plan, artifact):
                runs = artifact.experiments(plan).values()
                agenda.add(artifact.name, runs)
                queue.add(runs)
    agenda.save()


def _success(artifact: Artifact[Any], out: Path, plan: Plan, command: str, made: Made) -> Manifest:
    """The manifest of an artifact, with what tells whether it is up to date."""
    manifest = Manifest.of(made, out, plan, command)
    return dataclasses.replace(manifest, origin=origin(artifact, plan))


def _failure(
    artifact: Artifact[Any], out: Path, plan: Plan, command: str, sentence: str
) -> Manifest:
    """The earlier manifest, if any, with the reason why the artifact could not be made again."""
    blank = Manifest(artifact.name, artifact.title, artifact.statement, command, plan.as_json())
    return dataclasses.replace(read_all(out).get(artifact.name, blank), failure=sentence)


def _judge(out: Path) -> list[Verdict]:
    """Verdicts from all artifacts in the folder, also those of earlier calls; saved in it."""
    # No claim rests on real networks.
    manifests = {name: each for name, each in read_all(out).items() if name not in NETWORKS}
    runs = {name: {k: run.run_id for k, run in m.runs.items()} for name, m in manifests.items()}
    made_from = spec.digest({"code": code(), "runs": runs})
    if verdicts_origin(out) == made_from:
        with contextlib.suppress(ValueError):
            return read_verdicts(out, manifests)
    load = functools.cache(store.load_run)  # artifacts share runs
    loaded: dict[str, Results] = {}
    for name, manifest in manifests.items():
        try:
            found = {key: load(out / run.file, run.run_id) for key, run in manifest.runs.items()}
        except UsageError:  # its runs were deleted or damaged: no verdict is possible
            continue
        if found:
            loaded[name] = found
    verdicts = claims.all_verdicts(loaded)
    if verdicts:
        # If a run is missing, so are some verdicts; the empty origin makes the next call judge
        # again.
        whole = all(name in loaded for name, manifest in manifests.items() if manifest.runs)
        save_verdicts(verdicts, manifests, out, made_from if whole else "")
    return verdicts
