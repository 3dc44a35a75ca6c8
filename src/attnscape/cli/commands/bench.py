"""`attnscape bench`: optimizers ranked on the suite."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table

from attnscape import optimizers
from attnscape.bench import BASELINES, DEFAULT, SUITE
from attnscape.cli._options import Bench
from attnscape.cli.commands._again import command_line
from attnscape.errors import UsageError
from attnscape.experiments.setting import Plan
from attnscape.report.page import NAME as PAGE
from attnscape.workflows.members import Budget, Members
from attnscape.workflows.rank import rank


def run(options: Bench) -> None:
    """Ranks the optimizers in `options`, prints the tables, and updates the page.

    Raises:
        UsageError: If an option cannot be used; or, after the other optimizers were ranked, if an
            optimizer could not be run.
    """
    unknown = [name for name in options.settings if name not in (*SUITE, "all")]
    if unknown:
        raise UsageError(
            f"There is no setting {unknown[0]!r} in the suite; there are {', '.join(SUITE)}, all."
        )
    options = _as_before(options)
    for name in ("seeds", "steps"):
        if getattr(options, name) < 1:
            raise UsageError(f"--{name} is {getattr(options, name)}; it must be at least 1.")
    named = optimizers.NAMED if options.all else ()
    references = dict.fromkeys((*BASELINES, *named, *options.optimizers))
    ranked = rank(
        list(references),
        [SUITE[name] for name in options.settings],
        options.out,
        Plan(recipe=options.recipe or "code", seeds=options.seeds, steps=options.steps),
        functools.partial(_bench_again, options),
        functools.partial(print, flush=True),
        options.remove,
    )
    console = Console()
    for sentence, frame in ranked.made.tables.items():
        for table in narrow_tables(sentence, frame):
            console.print(table)
    for note in ranked.notes:
        print(note)
    print(options.out / PAGE)
    if ranked.failures:
        raise UsageError(" ".join(ranked.failures))


def _as_before(options: Bench) -> Bench:
    """The options, completed from the folder's bench or, if there is none, from the defaults."""
    before = Members.read(options.out)
    budget = before.budget or Budget(seeds=6, steps=2_000, recipe="code")
    settings = options.settings or before.settings or DEFAULT
    return dataclasses.replace(
        options,
        settings=tuple(SUITE) if "all" in settings else tuple(dict.fromkeys(settings)),
        seeds=budget.seeds if options.seeds is None else options.seeds,
        steps=budget.steps if options.steps is None else options.steps,
        recipe=options.recipe or budget.recipe,
    )


def _bench_again(options: Bench, references: Sequence[str]) -> str:
    """The command line that makes a bench of these optimizers, even in an empty folder."""
    return command_line(dataclasses.replace(options, all=False, remove=()), *references)


def narrow_tables(title: str, frame: pd.DataFrame) -> list[Table]:
    """The frame as tables that fit into 80 columns; one table per setting if it has settings.

    Long cells are wrapped, never cut.
    """
    if "setting" in frame:
        return [
            table
            for setting, rows in frame.groupby("setting", sort=False)
            for table in narrow_tables(f"{setting}: {title}", rows.drop(columns="setting"))
        ]
    table = Table(title=title, title_justify="left", box=box.HORIZONTALS, pad_edge=False)
    for name in frame.columns:
        table.add_column(str(name), overflow="fold")
    for row in frame.itertuples(index=False, name=None):
        # Intervals are put below their estimates, which makes columns narrow.
        table.add_row(*(str(cell).replace(" [", "\n[").replace(" (n", "\n(n") for cell in row))
    return [table]
