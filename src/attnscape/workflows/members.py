"""The members of a folder's bench: optimizers as they were run, kept in `bench-optimizers.json`.

Each call adds optimizers to the bench. Earlier optimizers are shown again from the results in the
folder, so no optimizer is run twice and its results stay those of the code that was run.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from attnscape.bench import BASELINES, Entry
from attnscape.bench.entries import alone
from attnscape.errors import UsageError
from attnscape.experiments import locks
from attnscape.experiments.setting import Plan, RecipeName, Setting
from attnscape.optimizers.arguments import Grid, with_arguments
from attnscape.optimizers.references import resolve
from attnscape.report.entries import read_entries, write_entries
from attnscape.report.reading import typed

NAME = "bench-optimizers.json"


@dataclasses.dataclass(frozen=True)
class Budget:
    """Effort spent on each optimizer; only optimizers run on the same budget are compared."""

    seeds: int
    steps: int
    recipe: RecipeName

    @classmethod
    def of(cls, plan: Plan) -> Budget:
        """The budget of a plan, which must set the numbers of seeds and steps."""
        assert plan.seeds is not None
        assert plan.steps is not None
        return cls(plan.seeds, plan.steps, plan.recipe)

    def __str__(self) -> str:
        seeds = f"{self.seeds} seed" + "s" * (self.seeds > 1)
        return f"{seeds} and {self.steps:,} steps by the recipe {self.recipe}"


@dataclasses.dataclass(frozen=True)
class OwnParts:
    """What the user's own setting of a bench is made of, as texts; None where not given.

    Attributes:
        task: Reference of a task.
        model: Reference of a model.
        table: Path of a table.
        target: The table's column of responses.
        folder: The folder that these are relative to.
    """

    task: str | None
    model: str | None
    table: str | None
    target: str | None
    folder: str


@dataclasses.dataclass(frozen=True)
class Member:
    """An optimizer that was run.

    Attributes:
        label: Its short name, for people.
        reference: The reference as the user gave it.
        folder: The folder that file references are relative to.
        budget: The budget of its runs.
        entries: Its finished runs, by setting.
        grid: Values of its arguments that were tried, by argument.
    """

    label: str
    reference: str
    folder: str
    budget: Budget
    entries: Mapping[str, Entry]
    grid: Grid = dataclasses.field(default_factory=dict)

    def on(self, settings: Sequence[Setting]) -> tuple[Entry, ...]:
        """Its entries on these settings."""
        return tuple(self.entries[setting.name] for setting in settings)

    def lacks(self, settings: Sequence[Setting], out: Path) -> str:
        """Why it cannot be shown on these settings; empty if it can."""
        missing = [setting.name for setting in settings if setting.name not in self.entries]
        if missing:
            return f"was not run on {', '.join(missing)}"
        entries = self.on(settings)
        files = [file for entry in entries for file in (entry.report, *entry.trials)]
        gone = [file for file in files if not os.path.isfile(out / file)]
        return f"has lost its runs ({gone[0]})" if gone else ""

    def change(self, settings: Sequence[Setting], plan: Plan) -> str:
        """How its reference now differs from the optimizer that was run; empty if it does not."""
        try:
            with contextlib.chdir(self.folder):
                (factory,) = resolve([self.reference]).values()
            setting, entry = settings[0], self.entries[settings[0].name]
            factory = with_arguments(self.label, factory, entry.chosen)
            experiment = alone(setting, self.label, factory, plan, entry.rate)
            if experiment.run_id == entry.run_id:
                return ""
            if experiment.identity.reasons:
                return f"{self.reference} depends on more than its code"
        except (UsageError, OSError, KeyError) as error:
            return f"{self.reference} cannot be loaded any more ({error})"
        return f"{self.reference} would give other numbers by now"


@dataclasses.dataclass(frozen=True)
class Members:
    """The bench of a folder.

    Attributes:
        members: All optimizers that were run, on any budget.
        settings: Names of the settings that were shown last; empty if none were shown yet.
        budget: The budget that was shown last.
        own: The parts of the user's own setting that was shown last.
    """

    members: tuple[Member, ...] = ()
    settings: tuple[str, ...] = ()
    budget: Budget | None = None
    own: OwnParts | None = None

    @classmethod
    def read(cls, out: Path) -> Members:
        """Reads the bench of a folder; without a file, the bench is empty.

        Raises:
            UsageError: If the file cannot be read.
        """
        path = out / NAME
        if not os.path.lexists(path):
            return cls()
        try:
            return typed(cls, read_entries(path))
        except ValueError as error:
            raise UsageError(
                f"{path}, which says who is in the bench, cannot be read ({error}); delete it to "
                "begin a new bench (runs are kept), or choose another folder with --out."
            ) from None

    @classmethod
    def update(cls, out: Path, change: Callable[[Members], Members]) -> Members:
        """Reads the bench, changes it and writes it, while no other process does so."""
        with locks.alone(out, NAME):
            members = change(cls.read(out))
            members.save(out)
        return members

    def save(self, out: Path) -> None:
        """Writes the file."""
        write_entries(out / NAME, dataclasses.asdict(self))

    def at(self, budget: Budget) -> dict[str, Member]:
        """The members with this budget, by label."""
        return {member.label: member for member in self.members if member.budget == budget}

    def adding(self, member: Member) -> Members:
        """The bench with one more member, which keeps earlier entries of the same reference."""
        before = self.at(member.budget).get(member.label)
        same = before is not None and before.reference == member.reference
        if before is not None and same and before.grid == member.grid:
            entries = {**before.entries, **member.entries}
            member = dataclasses.replace(member, entries=entries)
        others = tuple(m for m in self.members if m is not before)
        return dataclasses.replace(self, members=(*others, member))

    def without(self, names: Collection[str]) -> Members:
        """The bench without the members that have these labels or references.

        Raises:
            UsageError: If a name is not in the bench, or is a baseline.
        """
        for name in names:
            if name in BASELINES:
                raise UsageError(f"{name} is what all others are compared with; it stays.")
            if not any(name in (m.label, m.reference) for m in self.members):
                there = sorted({m.label for m in self.members} - set(BASELINES))
                raise UsageError(
                    f"{name!r} is not in the bench; there {'is' if len(there) == 1 else 'are'} "
                    f"{', '.join(there) or 'none but the baselines'}."
                )
        kept = tuple(m for m in self.members if m.label not in names and m.reference not in names)
        return dataclasses.replace(self, members=kept)
