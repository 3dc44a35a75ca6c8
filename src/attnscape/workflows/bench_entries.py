"""What a bench is made of: for each optimizer and setting a search for its rate and report runs."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from attnscape.bench import Combination, Entry
from attnscape.bench.entries import alone
from attnscape.errors import UsageError
from attnscape.experiments import store
from attnscape.experiments.computation import Computation
from attnscape.experiments.experiment import Experiment
from attnscape.experiments.grid_search import GridSearch
from attnscape.experiments.rounds import Rounds, together
from attnscape.experiments.setting import Plan, Setting
from attnscape.experiments.trials import trial
from attnscape.experiments.tuning import Search
from attnscape.loading import user_errors
from attnscape.optimizers import Factory
from attnscape.optimizers.arguments import Grid, combinations, read_grids, with_arguments
from attnscape.optimizers.references import resolve
from attnscape.paper.catalog import BENCH
from attnscape.workflows.run_queue import RunQueue
from attnscape.workflows.runs import load_or_run, load_or_run_all
from attnscape.workflows.searches import side_by_side

if TYPE_CHECKING:
    from attnscape.workflows.clusters import Cluster


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


def check(chosen: Mapping[str, Candidate], settings: Sequence[Setting], plan: Plan) -> None:
    """Checks the users' parts of all searches, before any run is made.

    Raises:
        UsageError: If one cannot be used.
    """
    for label, candidate in chosen.items():
        for values in combinations(candidate.grid):
            with user_errors():
                factory = with_arguments(label, candidate.factory, values)
                for setting in settings:
                    trial(alone(setting, label, factory, plan)).check()


def entries(
    chosen: Mapping[str, Candidate],
    settings: Sequence[Setting],
    plan: Plan,
    out: Path,
    log: Callable[[str], None],
    cluster: Cluster | None,
) -> Iterator[tuple[str, dict[str, Entry] | UsageError]]:
    """The entries of each optimizer, by setting, or why it has none.

    Without a cluster one optimizer comes after the other, with all processors of this process; on a
    cluster all searches go on at once.
    """
    rounds = {
        (label, setting.name): _entry(setting, label, candidate, plan, out)
        for label, candidate in chosen.items()
        for setting in settings
    }
    found, failed = {label: dict[str, Entry]() for label in chosen}, set[str]()
    with contextlib.ExitStack() as stack:
        queue = stack.enter_context(RunQueue(out / "runs", cluster)) if cluster else None

        def run_all(due: Mapping[str, Computation]) -> Mapping[str, xr.Dataset]:
            with user_errors():
                if queue is not None:
                    return load_or_run_all(due, out / "runs", BENCH, log, queue)
                return {
                    key: load_or_run(each, out / "runs", BENCH, log) for key, each in due.items()
                }

        def ahead(runs: Iterable[Computation]) -> None:
            assert queue is not None
            with contextlib.suppress(UsageError), user_errors():  # told when it is its turn
                queue.add(runs)

        wanted = side_by_side(
            rounds, run_all, ahead if queue else None, lambda key: key[0] not in failed
        )
        for (label, name), entry in wanted:
            if isinstance(entry, UsageError):
                failed.add(label)
                yield label, entry
                continue
            found[label][name] = entry
            if len(found[label]) == len(settings):
                yield label, {setting.name: found[label][setting.name] for setting in settings}


def _entry(
    setting: Setting,
    label: str,
    candidate: Candidate,
    plan: Plan,
    out: Path,
) -> Rounds[Entry]:
    """Searches for the rate of an optimizer on a setting and makes the report runs with it.

    With a grid, there is a search for each combination of values.
    """
    tried = combinations(candidate.grid)
    with user_errors():
        factories = [with_arguments(label, candidate.factory, values) for values in tried]
        due = [GridSearch(alone(setting, label, factory, plan)) for factory in factories]
    found = yield from together([each.rounds() for each in due])
    searches = list[tuple[tuple[float, float], Factory, Search, Combination]]()
    for values, factory, search in zip(tried, factories, found, strict=True):
        rate = search.rates[label]
        losses = search.table.loc[search.table["learning_rate"] == rate, "loss"].to_numpy()
        loss, diverged = float(np.median(losses)), int(np.isinf(losses).sum())
        words = f"{loss:.3g}" if np.isfinite(loss) else "diverged"
        outcome = Combination(values, rate, words, diverged, len(search.table))
        searches.append(((diverged, loss), factory, search, outcome))
    _, factory, search, chosen = min(searches, key=lambda each: each[0])
    report = alone(setting, label, factory, plan, search.rates[label])
    yield {"report": report}
    return Entry(
        setting.name,
        search.rates[label],
        bool(search.at_edge),
        bool(search.unstable),
        search.warning() or "",
        report.run_id,
        _file(report, out),
        tuple(_file(trial, out) for trial in search.trials),
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
