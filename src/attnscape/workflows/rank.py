"""Ranks optimizers: searches rates, then makes report runs; a failing optimizer stops no other."""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from attnscape import files
from attnscape.bench import BASELINES, Bench, Combination, Entry
from attnscape.bench.captions import title
from attnscape.bench.entries import alone
from attnscape.errors import UsageError
from attnscape.experiments import store
from attnscape.experiments.experiment import Experiment
from attnscape.experiments.setting import Plan, Setting
from attnscape.experiments.trials import GRID, TUNING_SEEDS, trial
from attnscape.experiments.tuning import Search, search
from attnscape.loading import user_errors
from attnscape.optimizers import Factory
from attnscape.optimizers.arguments import (
    Grid,
    combinations,
    read_grids,
    with_arguments,
    written,
)
from attnscape.optimizers.references import resolve
from attnscape.paper.catalog import BENCH
from attnscape.report.made import Made
from attnscape.report.manifest import Manifest
from attnscape.report.page import write_page
from attnscape.workflows.make import make
from attnscape.workflows.members import Budget, Member, Members, OwnParts
from attnscape.workflows.runs import one_by_one

if TYPE_CHECKING:
    from attnscape.workflows.clusters import Cluster


@dataclasses.dataclass(frozen=True)
class Ranked:
    """The outcome of `rank`.

    Attributes:
        made: The bench.
        notes: Sentences about optimizers whose code changed since they were run, and about those
            and settings that were left out.
        failures: Sentences about optimizers that could not be run.
    """

    made: Made
    notes: tuple[str, ...]
    failures: tuple[str, ...]


def rank(
    references: Sequence[str],
    settings: Sequence[Setting],
    out: Path,
    plan: Plan,
    command: Callable[[Sequence[str], Sequence[str]], str],
    log: Callable[[str], None],
    remove: Sequence[str] = (),
    own: OwnParts | None = None,
    tune: Sequence[str] = (),
    lost: Sequence[str] = (),
    cluster: Cluster | None = None,
) -> Ranked:
    """Adds optimizers to the bench of a folder and writes the page of the whole folder.

    Optimizers run earlier on the same settings and budget are shown with their old results.

    Args:
        references: Names or references of the optimizers to run, including the baselines.
        settings: The settings to run them on.
        out: The folder.
        plan: Seeds, steps and recipe.
        command: Returns the command line that makes a bench of given references and grids.
        log: Called with a line when runs start, and when an optimizer fails.
        remove: Labels or references of the members to remove first.
        own: The parts of the user's own setting, kept for the next call.
        tune: Grids of further arguments (`attnscape.optimizers.arguments`); each optimizer in them
            is run beside the others, under a label with a + and the arguments.
        lost: Sentences about settings of the folder's bench that are left out.
        cluster: Where runs are computed; by default on this machine.

    Raises:
        UsageError: If the folder cannot be written, a baseline cannot be run, or a member to
            remove does not exist.
        LostError: If the cluster cannot be reached any more.
    """
    members = Members.read(files.writable_directory(out))
    if remove:
        members = Members.update(out, lambda now: now.without(remove))
    budget = Budget.of(plan)
    chosen = candidates(references, tune)
    _announce(chosen, settings, plan, log)
    failures = list[str]()
    ahead = _first_trials(chosen, settings, plan)
    with one_by_one(out / "runs", BENCH, log, cluster, ahead) as run:
        for label, candidate in chosen.items():
            try:
                with user_errors():
                    entries = {
                        setting.name: _entry(setting, label, candidate, plan, out, run)
                        for setting in settings
                    }
            except UsageError as error:
                if label in BASELINES:
                    raise
                failures.append(f"{label} was left out: {error}")
                log(f"{BENCH}: {failures[-1]}")
                continue
            before = members.at(budget).get(label)
            if before is not None and before.reference != candidate.reference:
                changed = f"{candidate.reference} from now on, not {before.reference}"
                log(f"{BENCH}: {label} is {changed}.")
            reference, grid = candidate.reference, candidate.grid
            member = Member(label, reference, os.getcwd(), budget, entries, grid)
            # Saved now, so that it is not lost if the next one is interrupted; to what other
            # processes have saved.
            members = Members.update(out, lambda now, member=member: now.adding(member))
    shown, marked, notes = _shown(members, list(chosen), settings, out, plan)
    notes = [*lost, *notes]
    names = tuple(setting.name for setting in settings)
    shown_last = {"settings": names, "budget": budget, "own": own}
    Members.update(out, lambda now: dataclasses.replace(now, **shown_last))
    made = _made(shown, marked, settings, out, plan, log)
    manifest = Manifest.of(made, out, plan, _again(shown, command))
    dataclasses.replace(manifest, notes=(*notes, *failures)).save(out)
    write_page(out)
    return Ranked(made, tuple(notes), tuple(failures))


def _made(
    shown: Sequence[Member],
    marked: Sequence[str],
    settings: Sequence[Setting],
    out: Path,
    plan: Plan,
    log: Callable[[str], None],
) -> Made:
    """Makes the bench of these members, and the table of their losses at all rates."""
    bench = Bench(
        BENCH,
        title([member.label for member in shown]),
        "",
        tuple(settings),
        entries={member.label: member.on(settings) for member in shown},
        marked=tuple(marked),
    )
    made = make(bench, out, plan, log, bench.files())
    with files.atomic(out / "bench-landscape.csv") as partial:
        bench.landscape(made.results).to_csv(partial, index=False)
    return made


def _first_trials(
    chosen: Mapping[str, Candidate], settings: Sequence[Setting], plan: Plan
) -> Iterator[Experiment]:
    """The first trial of every search."""
    for label, each in chosen.items():
        for setting, values in itertools.product(settings, combinations(each.grid)):
            factory = with_arguments(label, each.factory, values)
            yield trial(alone(setting, label, factory, plan))


def _again(shown: Sequence[Member], command: Callable[[Sequence[str], Sequence[str]], str]) -> str:
    """The command line that makes the bench of these members again."""
    added = [member for member in shown if member.label not in BASELINES]
    plain = [member.reference for member in added if not member.grid]
    grids = [text for member in added for text in written(member.reference, member.grid)]
    return command(plain, grids)


@dataclasses.dataclass(frozen=True)
class Candidate:
    """An optimizer to run: its reference, its factory, and the values of arguments to try."""

    reference: str
    factory: Factory
    grid: Grid


def candidates(references: Sequence[str], tune: Sequence[str]) -> dict[str, Candidate]:
    """The optimizers to run, by label."""
    factories = resolve(references)
    found = {
        label: Candidate(reference, factories[label], {})
        for label, reference in zip(factories, references, strict=True)
    }
    for reference, grid in read_grids(tune).items():
        ((label, factory),) = resolve([reference]).items()
        for values in combinations(grid):
            with_arguments(label, factory, values)  # refuses arguments that it does not have
        label = "+".join([label, *sorted(grid)])
        if label in found:
            raise UsageError(
                f"Two optimizers are called {label}; give each once, and own ones other names."
            )
        found[label] = Candidate(reference, factory, grid)
    return found


def _announce(
    candidates: Mapping[str, Candidate],
    settings: Sequence[Setting],
    plan: Plan,
    log: Callable[[str], None],
) -> None:
    """Logs which runs will be made, before any is made."""
    runs = len(GRID) * len(TUNING_SEEDS) + (plan.seeds or 0)
    labels = [
        label + (f" ({count} times)" if (count := len(combinations(each.grid))) > 1 else "")
        for label, each in candidates.items()
    ]
    log(
        f"{BENCH}: {', '.join(labels)} on {', '.join(setting.name for setting in settings)}: at "
        f"least {runs} runs of {plan.steps:,} steps for each optimizer and setting; finished runs "
        "are not repeated."
    )


def _entry(
    setting: Setting,
    label: str,
    candidate: Candidate,
    plan: Plan,
    out: Path,
    run: Callable[[Experiment], xr.Dataset],
) -> Entry:
    """Searches for the rate of an optimizer on a setting and makes the report runs with it.

    With a grid, there is a search for each combination of values.
    """
    searches = list[tuple[tuple[float, float], Factory, Search, Combination]]()
    for values in combinations(candidate.grid):
        factory = with_arguments(label, candidate.factory, values)
        found = search(alone(setting, label, factory, plan), run)
        rate = found.rates[label]
        losses = found.table.loc[found.table["learning_rate"] == rate, "loss"].to_numpy()
        loss, diverged = float(np.median(losses)), int(np.isinf(losses).sum())
        words = f"{loss:.3g}" if np.isfinite(loss) else "diverged"
        tried = Combination(values, rate, words, diverged, len(found.table))
        searches.append(((diverged, loss), factory, found, tried))
    _, factory, found, chosen = min(searches, key=lambda each: each[0])
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
        chosen.values,
        tuple(each[-1] for each in searches) if candidate.grid else (),
    )


def _file(experiment: Experiment, out: Path) -> str:
    path = store.find(experiment, out / "runs")
    if path is None:
        raise UsageError(
            f"The result of {experiment.name} in {out / 'runs'} was deleted; run again."
        )
    return path.relative_to(out).as_posix()


def _shown(
    members: Members, given: Sequence[str], settings: Sequence[Setting], out: Path, plan: Plan
) -> tuple[list[Member], list[str], list[str]]:
    """The members to show, baselines first; labels of those whose code has changed; sentences."""
    budget = Budget.of(plan)
    by_label = members.at(budget)
    shown, marked, notes = list[Member](), list[str](), list[str]()
    for label in dict.fromkeys((*BASELINES, *by_label)):
        member = by_label[label]
        if why := member.lacks(settings, out):
            notes.append(f"{label} is left out: it {why}; name it again to run it.")
            continue
        shown.append(member)
        if label not in BASELINES and (change := member.change(settings, plan)):
            marked.append(label)
            notes.append(f"{label} * is shown as it was run: {change}; name it again to run it.")
    elsewhere = {m.label: m.budget for m in members.members if m.label not in by_label}
    notes += [
        f"{label} is left out: it was run with {other}, not with {budget}; name it again to run it."
        for label, other in elsewhere.items()
    ]
    return shown, marked, notes
