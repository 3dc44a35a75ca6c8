"""`attnscape bench`: optimizers ranked on the suite."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table

from attnscape import optimizers
from attnscape.bench import BASELINES, DEFAULT, SUITE, OwnSetting, own_setting
from attnscape.cli._options import Bench, Train
from attnscape.cli.commands._again import command_line
from attnscape.cli.commands._parts import task_of, with_schedule
from attnscape.errors import UsageError
from attnscape.experiments.setting import Plan
from attnscape.loading import load_object, user_errors
from attnscape.models import as_model
from attnscape.optimizers.arguments import read_grids, written
from attnscape.report.page import NAME as PAGE
from attnscape.workflows.members import Budget, Members, OwnParts
from attnscape.workflows.open_cluster import opened
from attnscape.workflows.rank import rank

# Their steps with exact Hessians take hundred times as long as others: only if they are named.
_SLOW = ("newton", "gauss-newton", "newton-cg")
_OWN = ("task", "model", "table", "target", "loss", "threshold")  # options of the own setting


def run(options: Bench) -> None:
    """Ranks the optimizers in `options`, prints the tables, and updates the page.

    Raises:
        UsageError: If an option or a part cannot be used; or, after the other optimizers were
            ranked, if an optimizer failed in its runs.
    """
    unknown = [name for name in options.settings if name not in (*SUITE, "all")]
    if unknown:
        raise UsageError(
            f"There is no setting {unknown[0]!r} in the suite; there are {', '.join(SUITE)}, all."
        )
    before = Members.read(options.out)
    own = _own_parts(options, before)
    setting, lost = _own_setting_of(own, options, before)
    options = _as_before(options, before, None if setting is None else own)
    for name in ("seeds", "steps"):
        if getattr(options, name) < 1:
            raise UsageError(f"--{name} is {getattr(options, name)}; it must be at least 1.")
    named = [name for name in optimizers.NAMED if name not in _SLOW] if options.all else []
    references = dict.fromkeys((*named, *options.optimizers))
    tune = read_grids(options.tune)
    if options.schedule is not None or options.weight_decay is not None:
        # Beside the plain baselines, with which the folder's bench compares all.
        references = with_schedule(dict.fromkeys((*BASELINES, *references)), options)
        tune = dict(zip(with_schedule(tune, options), tune.values(), strict=True))
    with opened(options.cluster) as cluster:
        ranked = rank(
            list(dict.fromkeys((*BASELINES, *references))),
            [*(SUITE[name] for name in options.settings), *([setting] if setting else ())],
            options.out,
            Plan(recipe=options.recipe or "code", seeds=options.seeds, steps=options.steps),
            functools.partial(_bench_again, options),
            functools.partial(print, flush=True),
            options.remove,
            own,
            [text for reference, grid in tune.items() for text in written(reference, grid)],
            lost,
            cluster,
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


def _own_parts(options: Bench, before: Members) -> OwnParts | None:
    """The parts of the own setting: those given, or those of the folder's bench."""
    if not _gives_own(options):
        return None if options.settings else before.own
    given: dict[str, Any] = {name: getattr(options, name) for name in _OWN}
    given["table"] = None if options.table is None else str(options.table)
    return OwnParts(**given, folder=os.getcwd())


def _gives_own(options: Bench) -> bool:
    return any(getattr(options, name) for name in _OWN)


def _own_setting_of(
    own: OwnParts | None, options: Bench, before: Members
) -> tuple[OwnSetting | None, tuple[str, ...]]:
    """The own setting, and a sentence if the folder's bench has one that cannot be made any more.

    Raises:
        UsageError: If one that is given cannot be made, or there is no other setting.
    """
    if own is None:
        return None, ()
    try:
        return _own_setting(own), ()
    except (UsageError, OSError) as error:
        others = [name for name in before.settings if name in SUITE]
        if _gives_own(options):
            raise
        sentence = (
            f"The folder's own setting ({_title(own)}) is left out: it cannot be made any more "
            f"({error}); name other settings with --settings to leave it out from now on."
        )
        if not others:
            raise UsageError(f"{sentence} The folder's bench has no other setting.") from None
        return None, (sentence,)


def _own_setting(own: OwnParts) -> OwnSetting:
    """The setting of a user's own parts; they are read where they were first given."""
    names = [re.split(r"[/:]", text)[-1] for text in (own.task, own.table, own.model) if text]
    # A loss has its whole text, so that huber:delta=0.5 is told from huber:delta=2.
    names += [own.loss.rpartition("/")[2]] if own.loss else []
    label = re.sub(r"[^\w.]+", "_", "-".join([*names, *(["threshold"] if own.threshold else [])]))
    with user_errors(), contextlib.chdir(own.folder):
        table = None if own.table is None else Path(own.table)
        task = task_of(
            Train(
                task=own.task,
                table=table,
                target=own.target,
                loss=own.loss or "squared",
                threshold=own.threshold,
            )
        )
        model = None if own.model is None else as_model(load_object(own.model))
        return own_setting(label[:40].strip("._") or "own", _title(own), task, model)


def _title(own: OwnParts) -> str:
    """What the own setting is made of, without folders, so that titles are short."""
    texts = {"task": own.task, "table": own.table, "model": own.model, "loss": own.loss}
    parts = [f"{kind} {text.rpartition('/')[2]}" for kind, text in texts.items() if text]
    column = "" if own.target is None else f"{own.target} of "
    return column + ",\n".join([*parts, *(["signs as responses"] if own.threshold else [])])


def _as_before(options: Bench, before: Members, own: OwnParts | None) -> Bench:
    """The options, completed from the folder's bench or, if there is none, from the defaults."""
    budget = before.budget or Budget(seeds=6, steps=2_000, recipe="code")
    shown = tuple(name for name in before.settings if name in SUITE)
    settings = options.settings or shown or (() if own else DEFAULT)
    return dataclasses.replace(
        options,
        settings=tuple(SUITE) if "all" in settings else tuple(dict.fromkeys(settings)),
        seeds=budget.seeds if options.seeds is None else options.seeds,
        steps=budget.steps if options.steps is None else options.steps,
        recipe=options.recipe or budget.recipe,
        **({} if own is None else {name: getattr(own, name) for name in _OWN}),
    )


def _bench_again(options: Bench, references: Sequence[str], grids: Sequence[str]) -> str:
    """The command line that makes a bench of these optimizers, even in an empty folder."""
    again = dataclasses.replace(
        options, all=False, remove=(), tune=tuple(grids), schedule=None, weight_decay=None
    )
    return command_line(again, *references)


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
