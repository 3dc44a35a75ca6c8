"""From optimizers to a bench: searches first, then report runs; one that fails stops no other."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import xarray as xr

from attnscape import results
from attnscape.bench import BASELINES, Bench, Entry
from attnscape.bench.artifact import alone, title
from attnscape.choosing import chosen
from attnscape.errors import UsageError
from attnscape.experiment import Experiment
from attnscape.loading import telling
from attnscape.paper.catalog import BENCH
from attnscape.paper.settings import Plan, Setting
from attnscape.report.make import Made, make, obtain
from attnscape.report.manifest import Manifest
from attnscape.report.members import Budget, Member, Members
from attnscape.report.page import write_page
from attnscape.transformations import Factory
from attnscape.tuning import GRID, TUNING_SEEDS, search


@dataclasses.dataclass(frozen=True)
class Ranked:
    """What came of it.

    Attributes:
        made: The bench.
        notes: Sentences on what is shown as it was run before, and on what is left out.
        failures: Sentences on optimizers that could not be run.
    """

    made: Made
    notes: tuple[str, ...]
    failures: tuple[str, ...]


def rank(
    references: Sequence[str],
    settings: Sequence[Setting],
    out: Path,
    plan: Plan,
    command: Callable[[Sequence[str]], str],
    say: Callable[[str], None],
    remove: Sequence[str] = (),
) -> Ranked:
    """Adds optimizers to the bench of a folder and makes the page over all that it holds.

    Optimizers that were run before, on the same settings and budget, are shown as they were run.

    Args:
        references: Names or references of what is run, with the baselines.
        settings: What to run them on.
        out: A folder.
        plan: Seeds, steps and recipe.
        command: The command line that makes a bench of these references.
        say: Called with a line where runs start, and where an optimizer fails.
        remove: Labels or references of those that are taken out first.

    Raises:
        UsageError: If the folder cannot be written, a baseline cannot be run, or there is nobody
            of a name to be taken out.
    """
    members = Members.read(results.writable_directory(out)).without(remove)
    budget = Budget.of(plan)
    factories = chosen(references)
    given = dict(zip(factories, references, strict=True))
    _announce(list(factories), settings, plan, say)
    run = functools.partial(obtain, directory=out / "runs", artifact=BENCH, say=say)
    failures = list[str]()
    for label, factory in factories.items():
        try:
            with telling():
                entries = {
                    setting.name: _entry(setting, label, factory, plan, out, run)
                    for setting in settings
                }
        except UsageError as error:
            if label in BASELINES:
                raise
            failures.append(f"{label} was left out: {error}")
            say(f"{BENCH}: {failures[-1]}")
            continue
        before = members.at(budget).get(label)
        if before is not None and before.reference != given[label]:
            say(f"{BENCH}: {label} is {given[label]} from now on; it was {before.reference}.")
        members = members.adding(Member(label, given[label], os.getcwd(), budget, entries))
        members.save(out)  # what was run is not lost if the next one is interrupted
    shown, marked, notes = _shown(members, list(given), settings, out, plan)
    names = tuple(setting.name for setting in settings)
    dataclasses.replace(members, settings=names, budget=budget).save(out)
    bench = Bench(
        BENCH,
        title([member.label for member in shown]),
        "",
        tuple(settings),
        entries={member.label: member.on(settings) for member in shown},
        marked=tuple(marked),
    )
    made = make(bench, out, plan, say, bench.files())
    with results.atomic(out / "bench-landscape.csv") as partial:
        bench.landscape(made.results).to_csv(partial, index=False)
    own = [member.reference for member in shown if member.label not in BASELINES]
    manifest = Manifest.of(made, out, plan, command(own))
    dataclasses.replace(manifest, notes=(*notes, *failures)).save(out)
    write_page(out)
    return Ranked(made, tuple(notes), tuple(failures))


def _announce(
    labels: Sequence[str], settings: Sequence[Setting], plan: Plan, say: Callable[[str], None]
) -> None:
    """What is ahead, before anything runs."""
    runs = len(GRID) * len(TUNING_SEEDS) + (plan.seeds or 0)
    say(
        f"{BENCH}: {', '.join(labels)} on {', '.join(setting.name for setting in settings)}: of "
        f"each optimizer and setting at least {runs} runs of {plan.steps:,} steps, unless they "
        "are found."
    )


def _entry(
    setting: Setting,
    label: str,
    factory: Factory,
    plan: Plan,
    out: Path,
    run: Callable[[Experiment], xr.Dataset],
) -> Entry:
    """Searches for the rate of an optimizer on a setting and runs what is reported."""
    found = search(alone(setting, label, factory, plan), run)
    report = alone(setting, label, factory, plan, found.rates[label])
    run(report)
    return Entry(
        setting.name,
        found.rates[label],
        bool(found.at_edge),
        bool(found.unstable),
        found.warning() or "",
        report.run_id,
        _file(report, out),
        tuple(_file(trial, out) for trial in found.trials),
    )


def _file(experiment: Experiment, out: Path) -> str:
    path = results.find(experiment, out / "runs")
    if path is None:
        raise UsageError(
            f"The result of {experiment.name} in {out / 'runs'} was deleted; run again."
        )
    return path.relative_to(out).as_posix()


def _shown(
    members: Members, given: Sequence[str], settings: Sequence[Setting], out: Path, plan: Plan
) -> tuple[list[Member], list[str], list[str]]:
    """Who is shown, the baselines first; labels of those that have changed since; sentences."""
    budget = Budget.of(plan)
    there = members.at(budget)
    shown, marked, notes = list[Member](), list[str](), list[str]()
    for label in dict.fromkeys((*BASELINES, *there)):
        member = there[label]
        if why := member.lacks(settings, out):
            notes.append(f"{label} is left out: it {why}; name it again to run it.")
            continue
        shown.append(member)
        if label not in BASELINES and (change := member.change(settings, plan)):
            marked.append(label)
            notes.append(f"{label} * is shown as it was run: {change}; name it again to run it.")
    elsewhere = {m.label: m.budget for m in members.members if m.label not in there}
    notes += [
        f"{label} is left out: it was run with {other}, not with {budget}; name it again to run it."
        for label, other in elsewhere.items()
    ]
    return shown, marked, notes
