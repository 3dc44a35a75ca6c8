"""Ranks optimizers: searches rates, then makes report runs.

An optimizer that cannot be used is refused before any run; one that fails later stops no other.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from attnscape import files
from attnscape.bench import BASELINES, Bench
from attnscape.bench.captions import title
from attnscape.errors import UsageError
from attnscape.experiments.setting import Plan, Setting
from attnscape.experiments.trials import GRID, TUNING_SEEDS
from attnscape.optimizers.arguments import combinations, written
from attnscape.paper.catalog import BENCH
from attnscape.report.made import Made
from attnscape.report.manifest import Manifest
from attnscape.report.page import write_page
from attnscape.workflows.bench_entries import Candidate, candidates, check, entries
from attnscape.workflows.make import make
from attnscape.workflows.members import Budget, Member, Members, OwnParts

if TYPE_CHECKING:
    from attnscape.workflows.clusters import Cluster


@dataclasses.dataclass(frozen=True)
class Ranked:
    """The outcome of `rank`.

    Attributes:
        made: The bench.
        notes: Sentences about optimizers whose code changed since they were run, and about those
            and settings that were left out.
        failures: Sentences about optimizers that failed in their runs.
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
        UsageError: If the folder cannot be written, a part cannot be used, a baseline cannot be
            run, or a member to remove does not exist.
        LostError: If the cluster cannot be reached any more.
    """
    members = Members.read(files.writable_directory(out))
    chosen = candidates(references, tune)
    check(chosen, settings, plan)
    if remove:
        members = Members.update(out, lambda now: now.without(remove))
    budget = Budget.of(plan)
    _announce(chosen, settings, plan, log)
    failures = list[str]()
    for label, found in entries(chosen, settings, plan, out, log, cluster):
        if isinstance(found, UsageError):
            if label in BASELINES:
                raise found
            failures.append(f"{label} was left out: {found}")
            log(f"{BENCH}: {failures[-1]}")
            continue
        reference, grid = chosen[label].reference, chosen[label].grid
        before = members.at(budget).get(label)
        if before is not None and before.reference != reference:
            changed = f"{reference} from now on, not {before.reference}"
            log(f"{BENCH}: {label} is {changed}.")
        member = Member(label, reference, os.getcwd(), budget, found, grid)
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


def _again(shown: Sequence[Member], command: Callable[[Sequence[str], Sequence[str]], str]) -> str:
    """The command line that makes the bench of these members again."""
    added = [member for member in shown if member.label not in BASELINES]
    plain = [member.reference for member in added if not member.grid]
    grids = [text for member in added for text in written(member.reference, member.grid)]
    return command(plain, grids)


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
