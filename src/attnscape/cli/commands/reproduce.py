"""`attnscape reproduce`: artifacts of the paper, the page, and the verdicts."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from attnscape.cli._options import Reproduce
from attnscape.cli.commands._again import command_line
from attnscape.errors import UsageError
from attnscape.experiments.setting import FULL, QUICK, Plan
from attnscape.loading import load_object, user_errors
from attnscape.models import as_model
from attnscape.paper.artifacts import ARTIFACTS
from attnscape.paper.catalog import ARTIFACTS as CATALOG
from attnscape.paper.catalog import BENCH, EXTENDED
from attnscape.paper.verdict import Verdict
from attnscape.report.manifest import read_all
from attnscape.tasks import as_task
from attnscape.workflows import pipeline
from attnscape.workflows.open_cluster import opened


def run(options: Reproduce) -> None:
    """Makes the artifacts in `options`, or all of them, then judges the claims about them.

    Raises:
        UsageError: If an option or the folder cannot be used; or, after the other artifacts were
            made, if an artifact could not be made.
    """
    plan = dataclasses.replace(
        QUICK if options.quick else FULL,
        recipe=options.recipe,
        tune=options.tune,
        all_steps=options.all_steps,
        data=options.data,
    )
    if options.small:
        plan = dataclasses.replace(plan, network_size="small")
    if options.seeds is not None:
        plan = dataclasses.replace(plan, seeds=options.seeds)
    plan = _with_own_parts(plan, options)
    artifacts = []
    names = (*options.artifacts, *(EXTENDED if options.extended else ()))
    for name in dict.fromkeys(names or CATALOG):
        obstacle = ARTIFACTS[name].obstacle(plan)
        if obstacle and name in options.artifacts:
            raise UsageError(obstacle)
        if obstacle:
            print(f"Left out: {obstacle}", flush=True)
        else:
            artifacts.append(ARTIFACTS[name])
    with user_errors(), opened(options.cluster) as cluster:
        reproduced = pipeline.reproduce(
            artifacts,
            options.out,
            plan,
            functools.partial(command_line, options),
            # Flushed, so that each line is seen at once, also through a pipe.
            functools.partial(print, flush=True),
            cluster,
        )
    if reproduced.verdicts:
        Console().print(_verdict_table(reproduced.verdicts))
    print(reproduced.page)
    if reproduced.failed:
        failed = ", ".join(reproduced.failed)
        raise UsageError(f"These could not be made, for the reasons given above: {failed}.")


def _with_own_parts(plan: Plan, options: Reproduce) -> Plan:
    """The plan with the user's parts; refuses a folder with artifacts of other parts."""
    given = {"task": options.task, "model": options.model}
    own = " and ".join(f"{kind} {text}" for kind, text in given.items() if text is not None)
    for name, manifest in read_all(options.out).items():
        if name == BENCH or not manifest.was_made:
            continue
        if (before := manifest.plan.get("own", "")) != own:
            raise UsageError(
                f"{name} in {options.out} was made of {before or 'the paper'!r}, not of "
                f"{own or 'the paper'!r}; choose another folder with --out."
            )
    with user_errors():
        return dataclasses.replace(
            plan,
            own=own,
            task=None if options.task is None else as_task(load_object(options.task)),
            model=None if options.model is None else as_model(load_object(options.model)),
        )


def _verdict_table(verdicts: Sequence[Verdict]) -> Table:
    table = Table("", "claim", "verdict", "numbers")
    for verdict in verdicts:
        table.add_row(str(verdict.number), verdict.sentence, verdict.verdict, verdict.numbers)
    return table
