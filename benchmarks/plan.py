"""`python -m benchmarks.plan [--only PART ...] [--page]`: what 100 million runs take.

Measures on this machine, simulates a cluster of 10,000 workers, and keeps the numbers in
docs/plan.json, each part as soon as it is there; docs/how_to/plan.md is written from that alone.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import tyro

from attnscape.workflows.clusters import MESSAGES
from benchmarks import plan_check, plan_measured, plan_page, simulation

_DOCS = Path(__file__).parents[1] / "docs"
RUNS, STEPS = 100_000_000, 2_000
WORKERS = 10_000
CHUNK_RUNS = 2_400  # 2 optimizers, 20 rates, 60 seeds
_LIFETIMES = {"never": math.inf, "after 100 hours": 100.0, "after 10 hours": 10.0, "hourly": 1.0}
_SIZES = (0.3, 1, 3)  # of chunks, beside the plan's
_RESTART = 60.0  # seconds, as where another job of a batch system starts

_PARTS: Mapping[str, Callable[[], Any]] = {
    "steps": plan_measured.processor_seconds_a_step,
    "bytes": plan_measured.bytes_a_run,
    "folders": lambda: [plan_measured.folder(count) for count in (1_000, 10_000, 100_000)],
    "queues": lambda: [plan_measured.queue(count) for count in (1_000, 10_000)],
    "scheduler": plan_measured.scheduler,
    "check": plan_check.check,
}


def simulated(found: Mapping[str, Any]) -> dict[str, Any]:
    """The plan on many workers, with the times that were measured."""
    step, compilation = found["steps"]["seconds"], found["steps"]["compilation"]
    work = CHUNK_RUNS * STEPS * step
    base = simulation.Cluster(
        WORKERS,
        work + compilation,
        restart=_RESTART,
        dispatch=found["scheduler"]["chunk_seconds"],
        messages=found["scheduler"]["message_seconds"] * min(1, MESSAGES / WORKERS),
    )
    chunks = -(-RUNS // CHUNK_RUNS)
    lives = [
        {"dies": words, **_outcome(base, chunks, lifetime=3600 * hours)}
        for words, hours in _LIFETIMES.items()
    ]
    sizes = [
        {
            "runs": round(CHUNK_RUNS * factor),
            **_outcome(base, round(chunks / factor), chunk=work * factor + compilation),
        }
        for factor in _SIZES
    ]
    return {
        "chunks": chunks,
        "chunk_seconds": base.chunk,
        "restart": _RESTART,
        "lives": lives,
        "sizes": sizes,
    }


def _outcome(base: simulation.Cluster, chunks: int, **changes: float) -> dict[str, Any]:
    cluster = dataclasses.replace(base, **changes)  # type: ignore[arg-type]
    found = dataclasses.asdict(simulation.Simulation(cluster, chunks).run())
    found["given_up"] = len(found["given_up"])
    return {"chunks": chunks, "chunk_seconds": cluster.chunk, **found}


def main(
    only: Annotated[tuple[str, ...], tyro.conf.arg(help=f"of {', '.join(_PARTS)}")] = (),
    page: Annotated[bool, tyro.conf.arg(help="measure nothing, only write the page")] = False,
) -> None:
    """Measures, simulates, and writes docs/plan.json and docs/how_to/plan.md."""
    file = _DOCS / "plan.json"
    content: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    content["plan"] = {"runs": RUNS, "steps": STEPS, "workers": WORKERS, "chunk_runs": CHUNK_RUNS}
    found = content.setdefault("measured", {})
    for name in () if page else only or _PARTS:
        print(f"{name} ...", flush=True)
        found[name] = {"processors": os.cpu_count(), "value": _PARTS[name]()}
        file.write_text(json.dumps(content, indent=1) + "\n")
    values = {name: each["value"] for name, each in found.items()}
    if not page:
        print("simulation ...", flush=True)
        content["simulated"] = simulated(values)
        file.write_text(json.dumps(content, indent=1) + "\n")
    (_DOCS / "how_to" / "plan.md").write_text(plan_page.page(content))
    print(_DOCS / "how_to" / "plan.md")


if __name__ == "__main__":
    tyro.cli(main)
