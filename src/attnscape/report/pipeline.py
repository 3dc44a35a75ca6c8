"""The pipeline: artifacts one after the other, the page refreshed after each, verdicts at the end.

It can be interrupted at any point and continued: finished runs are found, and the page is built
from what lies in the folder.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from attnscape import results, spec
from attnscape.errors import UsageError
from attnscape.paper import claims
from attnscape.paper.artifact import Artifact, Results
from attnscape.paper.own import run_ids, with_own_parts
from attnscape.paper.searches import with_searches
from attnscape.paper.settings import Plan
from attnscape.paper.verdict import Verdict
from attnscape.report.fresh import code, digests, is_fresh, origin
from attnscape.report.make import make, obtain
from attnscape.report.manifest import (
    Manifest,
    read_all,
    read_verdicts,
    save_verdicts,
    verdicts_origin,
)
from attnscape.report.numbers import duration
from attnscape.report.page import write_page


@dataclasses.dataclass(frozen=True)
class Reproduced:
    """What came of it.

    Attributes:
        verdicts: On the claims that all artifacts in the folder, old and new, allow to judge.
        failed: Names of the artifacts that could not be made.
        page: The report.
    """

    verdicts: list[Verdict]
    failed: list[str]
    page: Path


def reproduce(
    artifacts: Sequence[Artifact],
    out: Path,
    plan: Plan,
    command: Callable[[str], str],
    say: Callable[[str], None],
) -> Reproduced:
    """Makes artifacts in a folder and the page over all that was ever made in it.

    An artifact that cannot be made does not stop the others; the page says why.

    Args:
        artifacts: What to make, in this order.
        out: A folder.
        plan: How much to run, and how.
        command: The command line that makes the artifact of a given name again.
        say: Called with a line where an artifact starts and ends, and where runs start.

    Raises:
        UsageError: If the folder cannot be written.
    """
    results.writable_directory(out)
    failed, of_own = [], dict[Any, str]()
    for position, artifact in enumerate(artifacts, start=1):
        start = time.perf_counter()
        try:
            if plan.own:
                artifact = with_own_parts(artifact, plan)
                made_of = (type(artifact), run_ids(artifact, plan))
                if made_of in of_own:
                    say(f"{artifact.name}: with these parts it is the same as {of_own[made_of]}.")
                    continue
                of_own[made_of] = artifact.name
            say(f"{artifact.name} ({position} of {len(artifacts)}): {artifact.title}")
            run = functools.partial(obtain, directory=out / "runs", artifact=artifact.name, say=say)
            plan = with_searches(plan, artifact.settings, run, say)
            if is_fresh(artifact, plan, out, read_all(out).get(artifact.name)):
                say(f"{artifact.name}: is there already.")
                continue
            made = make(artifact, out, plan, say)
        except UsageError as error:
            failed.append(artifact.name)
            manifest = _failure(artifact, out, plan, command(artifact.name), str(error))
            say(f"{artifact.name}: not made. {error}")
        else:
            manifest = dataclasses.replace(
                Manifest.of(made, out, plan, command(artifact.name)),
                origin=origin(artifact, plan),
                digests=digests(made.files),
            )
            picture = made.files.get("png", made.files["csv"])
            say(f"{artifact.name}: {picture}, {duration(time.perf_counter() - start)}")
        manifest.save(out)
        write_page(out)
    # The claims are about the paper's parts.
    return Reproduced([] if plan.own else _judge(out), failed, write_page(out))


def _failure(artifact: Artifact, out: Path, plan: Plan, command: str, sentence: str) -> Manifest:
    """Keeps what was made before, and says that it could not be made anew."""
    blank = Manifest(artifact.name, artifact.title, artifact.statement, command, plan.as_json())
    return dataclasses.replace(read_all(out).get(artifact.name, blank), failure=sentence)


def _judge(out: Path) -> list[Verdict]:
    """Verdicts over all that lies in the folder, also from earlier calls; kept beside it."""
    manifests = read_all(out)
    runs = {name: {k: run.run_id for k, run in m.runs.items()} for name, m in manifests.items()}
    made_from = spec.digest({"code": code(), "runs": runs})
    if verdicts_origin(out) == made_from:
        with contextlib.suppress(ValueError):
            return read_verdicts(out, manifests)
    load = functools.cache(results.load_run)  # artifacts share runs
    loaded: dict[str, Results] = {}
    for name, manifest in manifests.items():
        try:
            found = {key: load(out / run.file, run.run_id) for key, run in manifest.runs.items()}
        except UsageError:  # its runs were deleted or damaged since: nothing can rest on them
            continue
        if found:
            loaded[name] = found
    verdicts = claims.all_verdicts(loaded)
    if verdicts:
        # With a run lost since, the verdicts are not all that these manifests allow.
        whole = all(name in loaded for name, manifest in manifests.items() if manifest.runs)
        save_verdicts(verdicts, manifests, out, made_from if whole else "")
    return verdicts
