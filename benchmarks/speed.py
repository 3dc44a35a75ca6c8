"""The page on speed: `python -m benchmarks.speed` measures, `--page-only` only writes it.

What is measured is kept in docs/speed.json, and docs/explanations/speed.md is written from that and
from benchmarks/instructions.json alone.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import rich
import tyro

from attnscape import native
from benchmarks import instructions
from benchmarks.effort import FULL, QUICK, Effort
from benchmarks.engine import engine
from benchmarks.peers import peers

_DOCS = Path(__file__).parents[1] / "docs"
FILE, PAGE = _DOCS / "speed.json", _DOCS / "explanations" / "speed.md"

_CLOCKS = ("wall", "processor")
_PARTS_OF_ONE_THREAD = ("drawing", "kernel", "calls", "updates")
# What each row of the table is called, and where it is kept.
_OF_A_STEP = {
    "one thread": "processor",
    **{name: name for name in _PARTS_OF_ONE_THREAD},
    "wall": "step",
    "idle": "idle",
}
_PARTS: dict[str, Callable[[Effort], dict[str, Any]]] = {"engine": engine, "peers": peers}


def page(measured: dict[str, Any], counted: dict[str, Any]) -> str:
    """The page, from what docs/speed.json and benchmarks/instructions.json hold."""
    batch = measured["peers"]["batch"]
    return _PAGE.format(
        batch=f"{batch:,}",
        kernels=measured["kernels"],
        threads=measured["engine"]["rows"][0]["threads"],
        peers=_peers_table(measured["peers"]["rows"]),
        engine=_engine_table(measured["engine"]["rows"]),
        compiler=counted["compiler"],
        instructions=_instructions_table(counted["rows"]),
    )


def _peers_table(rows: Sequence[dict[str, Any]]) -> str:
    peers = [name for name in rows[0] if name not in ("runs", "attnscape")]
    lines = []
    for row, clock in itertools.product(rows, _CLOCKS):
        ours = _spread(row["attnscape"][clock], 1e6)
        theirs = [_spread(row[name][clock]) if name in row else "" for name in peers]
        lines.append(_row((f"{row['runs']:,}", clock, ours, *theirs)))
    return _table(("runs", "clock", "µs", *peers), lines)


def _engine_table(rows: Sequence[dict[str, Any]]) -> str:
    lines = []
    for name, key in _OF_A_STEP.items():
        cells = [_spread(row[key], 1e6) for row in rows]
        if key in _PARTS_OF_ONE_THREAD:
            shares = [row[key]["median"] / row["processor"]["median"] for row in rows]
            cells = [
                f"{cell} ({100 * share:.1f} %)" for cell, share in zip(cells, shares, strict=True)
            ]
        lines.append(_row((name, *cells)))
    runs = [f"{row['runs']:,} run{'s' * (row['runs'] > 1)}" for row in rows]
    return _table(("", *runs), lines)


def _instructions_table(rows: Sequence[dict[str, Any]]) -> str:
    lines = [
        _row((
            f"{row['kernel']}, {row['form']}",
            str(row["layers"] or ""),
            str(row["dim"]),
            row["dtype"],
            f"{row['instructions']:,.0f}",
            f"{row['each']:.2f}" if "each" in row else "",
            f"{row['code'] / 1000:.1f}",
        ))
        for row in rows
    ]  # fmt: skip
    names = ("kernel", "L", "d", "precision", "instructions", "for each multiply-add", "code, kB")
    return _table(names, lines)


def _table(names: Sequence[str], lines: Sequence[str]) -> str:
    return "\n".join([_row(names), "|---" * len(names) + "|", *lines])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _spread(summary: dict[str, Any], factor: float = 1) -> str:
    middle, low, high = (_number(factor * summary[name]) for name in ("median", "low", "high"))
    return f"{middle} [{low}, {high}]"


def _number(value: float) -> str:
    """Three digits, and thousands with a comma instead of a power of ten."""
    short = f"{value:.3g}"
    return f"{float(short):,.0f}" if "e+" in short else short


_PAGE = """# Speed

Written from `docs/speed.json`, which `python -m benchmarks.speed` measures, and from
`benchmarks/instructions.json`. Times are medians over rounds in which everything is measured once,
with the range of the middle 80 %; *processor* time does not count while other programs have the
processor. Setting 1, L = 3, {batch} fresh prompts a step, {threads} threads, kernels: {kernels}.

## Beside other programs

Microseconds of attnscape's step divided by the number of runs, and how many times as long others
take, each number from times of the same round. *PyTorch* is an eager loop over tokens and
*torch.compile* the same with its model compiled; both train one run after another, on as many
threads as are fastest. *JAX* is the model over tokens under `jit` and `vmap`, all runs in one
program, prompts drawn once for the runs of a seed.

{peers}

## Where a step goes

Microseconds of a step of all runs. *One thread* is the processor time of the step where every seed
has one thread; *drawing* and *kernel* grow with the prompts, *calls* is what their calls cost
besides, *updates* the optimizers and the loop; *wall* is the whole training on all threads, and
*idle* what its threads spend beyond the work of one.

{engine}

## Instructions

For 8 prompts, counted by callgrind in the kernels for AVX2, built by {compiler}. *Multiply-adds*
are those on whole registers that the formula needs at least; a Hessian's are reckoned as a
Hessian-vector product for each of its rows. *Code* is what runs for every group of prompts, beside
an instruction cache of 32 or 64 kB. A test fails if a count changes by more than 5 %.

{instructions}
"""


def main(
    page_only: Annotated[bool, tyro.conf.arg(help="measure nothing, only write the page")] = False,
    quick: Annotated[bool, tyro.conf.arg(help="fewer numbers of runs and rounds")] = False,
) -> None:
    """Measures the speed beside other programs, and what a step consists of."""
    if not page_only:
        content: dict[str, Any] = {"schema": 1, "kernels": _kernels()}
        for name, part in _PARTS.items():
            rich.print(name)
            content[name] = part(QUICK if quick else FULL)
        FILE.write_text(json.dumps(content, indent=1) + "\n")
    PAGE.write_text(page(json.loads(FILE.read_text()), instructions.stored()))
    print(PAGE)


def _kernels() -> str:
    return "none" if native.why_unavailable() else native.instruction_set()


if __name__ == "__main__":
    tyro.cli(main)
