"""From optimizers to a bench: searches first, then report runs; one that fails stops no other."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from attnscape import results
from attnscape.bench import BASELINES, Bench, Entry
from attnscape.bench.artifact import alone, title
from attnscape.errors import UsageError
from attnscape.paper.catalog import BENCH
from attnscape.paper.settings import Plan, Setting
from attnscape.report.make import Made, make, obtain
from attnscape.report.manifest import Manifest
from attnscape.report.page import write_page
from attnscape.transformations import Factory
from attnscape.tuning import search


def rank(
    optimizers: Mapping[str, Factory],
    settings: Sequence[Setting],
    out: Path,
    plan: Plan,
    command: str,
    say: Callable[[str], None],
) -> Made:
    """Makes the bench in a folder, and the page over all that was ever made in it.

    Args:
        optimizers: By label; the baselines must be among them.
        settings: What to run them on.
        out: A folder.
        plan: Seeds, steps and recipe.
        command: The command line that makes it again.
        say: Called with a line where runs start, and where an optimizer fails.

    Raises:
        UsageError: If the folder cannot be written, or a baseline cannot be run.
    """
    run = functools.partial(obtain, directory=out / "runs", artifact=BENCH, say=say)
    entries, failures = list[Entry](), list[str]()
    for name, factory in optimizers.items():
        try:
            own = [
                Entry(setting, name, factory, search(alone(setting, name, factory, plan), run))
                for setting in settings
            ]
            for entry in own:
                run(entry.experiment(plan))
        except UsageError as error:
            if name in BASELINES:
                raise
            failures.append(f"{name} was left out: {error}")
            say(f"{BENCH}: {failures[-1]}")
        else:
            entries += own
    by_setting = sorted(entries, key=lambda entry: settings.index(entry.setting))
    bench = Bench(
        BENCH,
        title(list(optimizers)),
        "",
        tuple(settings),
        entries=tuple(by_setting),
        failures=tuple(failures),
    )
    made = make(bench, out, plan, say)
    with results.atomic(out / "bench-landscape.csv") as partial:
        bench.landscape(made.results).to_csv(partial, index=False)
    Manifest.of(made, out, plan, command).save(out)
    write_page(out)
    return made
