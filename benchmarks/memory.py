"""Time and memory against runs, L, d, n, batch and steps: `python -m benchmarks.memory`.

Each training has a process of its own, whose largest memory is read when its result is written and
loaded. One size varies at a time. What is measured is kept in docs/memory.json, and
docs/how_to/sizes.md is written from that alone.
"""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import rich
import tyro

from attnscape import Experiment, RegressionTask, native
from attnscape.experiments import effort, store
from attnscape.measures import EvaluationLoss, Parameters, TrainingLoss, every
from attnscape.optimizers import NAMED
from attnscape.training.sizes import in_bytes
from benchmarks.effort import model

_DOCS = Path(__file__).parents[1] / "docs"
FILE, PAGE = _DOCS / "memory.json", _DOCS / "how_to" / "sizes.md"


@dataclasses.dataclass(frozen=True)
class Case:
    """A training: SGDM and Adam at as many learning rates as its runs need.

    Attributes:
        runs: Runs in all; half of them, divided by the seeds, are an optimizer's.
        seeds: Seeds.
        layers: L.
        dim: d.
        context: n.
        batch: Prompts of an update.
        steps: Updates.
        every: Steps between two measurements of the losses.
        parameters: Steps between two records of all parameters; 0 for none.
    """

    runs: int = 12
    seeds: int = 2
    layers: int = 3
    dim: int = 5
    context: int = 20
    batch: int = 1000
    steps: int = 100
    every: int = 10
    parameters: int = 0

    @property
    def experiment(self) -> Experiment:
        """The training with all that determines it."""
        rates = np.geomspace(1e-4, 1e-2, self.runs // (2 * self.seeds))
        losses = EvaluationLoss(every(self.every)), TrainingLoss(every(self.every))
        parameters = (Parameters(every(self.parameters)),) if self.parameters else ()
        return Experiment(
            "memory",
            RegressionTask(dim=self.dim, context=self.context),
            model(self.layers, self.dim),
            {name: NAMED[name] for name in ("sgdm", "adam")},
            dict.fromkeys(("sgdm", "adam"), tuple(rates)),
            tuple(range(self.seeds)),
            self.steps,
            batch=self.batch,
            measures=(*losses, *parameters),
        )


_FEW = {"runs": 4, "layers": 1, "dim": 2, "batch": 8}
CASES = (
    Case(),
    *(Case(runs=runs) for runs in (120, 1200)),
    Case(runs=10_000, seeds=10, batch=8, steps=20),
    Case(runs=10_000, seeds=1000, batch=8, steps=20),
    *(Case(layers=layers) for layers in (1, 8)),
    *(Case(dim=dim, steps=20) for dim in (20, 60)),
    *(Case(context=context) for context in (200, 2000)),
    *(Case(batch=batch, steps=20) for batch in (10_000, 100_000)),
    *(Case(**_FEW, steps=steps) for steps in (1000, 10_000, 100_000)),
    Case(runs=120, steps=2000, parameters=10),
)


def measured(case: Case) -> dict[str, Any]:
    """What a training took, in this process, which must be fresh.

    Returns:
        `seconds` of a step of all runs, without compilation; `memory`: the largest in bytes;
        `before`: the largest before it began; `estimate` of both by `attnscape.training.sizes`;
        `result`: bytes of the Dataset; `file`: of its file.
    """
    reports = list[tuple[float, int]]()
    before, experiment = peak(), case.experiment
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        result = store.load_or_run(
            experiment, folder, lambda done, total: reports.append((time.perf_counter(), done))
        )
        path = store.find(experiment, folder)
        assert path is not None
        size = path.stat().st_size
    compiled = next(report for report in reports if report[1] > 0)
    steps = (reports[-1][1] - compiled[1]) / case.runs
    return {
        "seconds": (reports[-1][0] - compiled[0]) / steps,
        "memory": peak(),
        "before": before,
        "estimate": effort.estimated(experiment).needed,
        "result": result.nbytes,
        "file": size,
    }


def peak() -> int:
    """The largest memory of this process so far, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # on Linux, `ru_maxrss` begins with that of the process that started this
        return 1024 * int(status.read_text("ascii").partition("VmHWM:")[2].split()[0])
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def rows(cases: tuple[Case, ...]) -> Iterator[dict[str, Any]]:
    """Each case with what it took, in a process of its own."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, max_tasks_per_child=1) as pool:
        for case in cases:
            yield dataclasses.asdict(case) | pool.submit(measured, case).result()


def page(found: Sequence[Mapping[str, Any]]) -> str:
    """The page on sizes, from the rows alone."""
    names = {"layers": "L", "dim": "d", "context": "n", "parameters": "weights every"}
    sizes = [field.name for field in dataclasses.fields(Case)]
    heads = [*(names.get(size, size) for size in sizes), "ms a step", *_BYTES]
    lines = [_PAGE, f"| {' | '.join(heads)} |", f"| {' | '.join('---:' for _ in heads)} |"]
    for row in found:
        cells = [f"{row[size]:,}" for size in sizes]
        cells += [f"{1e3 * row['seconds']:.3g}", *(in_bytes(row[name]) for name in _BYTES)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


_BYTES = ("memory", "estimate", "result", "file")
_PAGE = """# Sizes: time and memory

What a training with SGDM and Adam takes, one size varied at a time; `python -m benchmarks.memory`
measures it and writes this page. *Memory* is the most that the process ever held, libraries
included (about 490 MB of it); *estimate* is what attnscape reckons with before it begins, and
refuses where less is free; *result* is the Dataset and *file* its file. A step is one of all runs,
on two processors. *Every* is the number of steps between two measurements of the losses, *weights
every* that between two records of all parameters.

The estimate is lower than what is taken, so that nothing is refused that fits: it counts 400 MB for
the libraries, and what the kernels hold. Where there are no kernels, as for another loss or a model
of yours, XLA keeps arrays in between, whose size is known only when it has compiled: the training
with n = 2,000 below takes 848 MB in XLA, where the estimate says 560 MB. Real networks are not
estimated at all. After a command ran out of memory, the same command goes on from its checkpoints.
"""


def main(
    page_only: Annotated[bool, tyro.conf.arg(help="measure nothing, only write the page")] = False,
) -> None:
    """Measures time and memory of trainings; takes some minutes."""
    if page_only:
        _write_page()
        return
    rich.print(native.why_unavailable() or "With the native kernels.")
    found = list[dict[str, Any]]()
    for row in rows(CASES):
        found.append(row)
        rich.print(f"{len(found)} of {len(CASES)}: {in_bytes(row['memory'])}")
    FILE.write_text(json.dumps({"schema": 1, "rows": found}, indent=1) + "\n")
    _write_page()


def _write_page() -> None:
    PAGE.write_text(page(json.loads(FILE.read_text())["rows"]))
    print(PAGE)


if __name__ == "__main__":
    tyro.cli(main)
