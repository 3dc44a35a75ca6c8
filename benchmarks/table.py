"""The measured numbers as tables for the terminal, beside what was aimed at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from rich import box
from rich.table import Table

from benchmarks.clock import summary
from benchmarks.scaling import RUNS

# What the project aims at on a machine with two processors.
_RATIO_TARGETS = {1: 40, 12: 80, 120: 180}  # of Setting 1, L = 3, by runs
_SPEED_TARGET = 0.7  # of Setting 3, beside Setting 1
_SHARE_TARGET = 0.5  # of the peak: gradient, block form, L = 3, d = 5, float32
_HESSIAN_TARGET = 50
_BRIDGE_TARGET = 0.4  # milliseconds a step and run
_RUN_STEP_TARGETS = {"softmax": 3, "mlp": 4}  # milliseconds


def tables(result: dict[str, Any]) -> Iterator[Table]:
    """One table for each part of the result; numbers in brackets span the middle 80 % of rounds."""
    batch = result["batch"]
    yield _training(result["training"], batch)
    yield _models(result["models"])
    if result["bridge"]:
        yield _bridge(result["bridge"])
    if result["kernels"]:
        yield _kernels(result["kernels"])
    yield _hessian(result["hessian"], batch)
    yield _drawing(result["drawing"])
    yield _scaling(result["scaling"], batch)


def _training(part: dict[str, Any], batch: int) -> Table:
    threads = part["torch_threads"]
    note = "" if threads is None else (
        "Times faster: PyTorch trains one run after another, so that it takes its time for a "
        f"run-step ({threads['used']} thread(s), the faster setting) times the number of runs."
    )  # fmt: skip
    columns = (
        "setting",
        "L",
        "runs",
        "ms a step",
        "PyTorch, ms\na run-step",
        "times faster",
        "aim",
        "than eq. 7\nas written",
        "speed, of\nSetting 1",
        "aim",
    )
    table = _table(f"Training steps of {batch:,} fresh prompts", columns, note)
    for row in part["rows"]:
        setting, layers, runs = row["setting"], row["layers"], row["runs"]
        aim = _RATIO_TARGETS.get(runs) if (setting, layers) == (1, 3) else None
        theirs = row.get("tuned")
        speed = row.get("speed_of_setting_1") if setting == 3 else None
        table.add_row(
            str(setting),
            str(layers),
            str(runs),
            _middle(row["step"], 1e3, 3),
            _middle(theirs["run_step"], 1e3, 2) if theirs else "-",
            _spread(theirs["ratio"], 1, 0) if theirs else "-",
            f">= {aim}" if aim else "",
            _middle(row["as_written"]["ratio"], 1, 0) if theirs else "-",
            _middle(speed, 1, 2) if speed else "",
            f">= {_SPEED_TARGET}" if speed else "",
        )
    return table


def _bridge(rows: list[dict[str, Any]]) -> Table:
    columns = (
        "optimizer",
        "optax,\nms a step",
        "PyTorch,\nms a step",
        "its own step\nalone, ms",
        "added,\nms a step",
        "aim",
    )
    table = _table("Steps of one run, by PyTorch's optimizer", columns)
    for row in rows:
        added = summary(np.subtract(row["outside"]["all"], row["inside"]["all"]).tolist())
        times = [_middle(row[name], 1e3, 2) for name in ("inside", "outside", "alone")]
        aim = f"<= {_BRIDGE_TARGET}"
        table.add_row(row["optimizer"], *times, _spread(added, 1e3, 2), aim)
    return table


def _models(rows: list[dict[str, Any]]) -> Table:
    columns = (
        "model",
        "prompts",
        "runs",
        "ms a run-step",
        "aim",
        "PyTorch, ms\na run-step",
        "threads",
        "times faster",
    )
    table = _table("Training steps of other models, fresh prompts, L = 3, d = 5", columns)
    for row in rows:
        theirs = row.get("torch")
        table.add_row(
            row["model"],
            f"{row['batch']:,}",
            str(row["runs"]),
            _spread(row["run_step"], 1e3, 2),
            f"<= {_RUN_STEP_TARGETS[row['model']]}",
            _spread(theirs["run_step"], 1e3, 1) if theirs else "-",
            str(theirs["threads"]) if theirs else "-",
            _spread(theirs["ratio"], 1, 1) if theirs else "-",
        )
    return table


def _kernels(rows: list[dict[str, Any]]) -> Table:
    columns = (
        "kernel",
        "form",
        "L",
        "d",
        "dtype",
        "operations\na prompt",
        "ns a prompt",
        "GFLOP/s",
        "% of FMA peak",
        "aim",
    )
    table = _table("Kernels, drawing excluded", columns)
    for row in rows:
        case = [row[name] for name in ("quantity", "form", "layers", "dim", "dtype")]
        aimed = case == ["gradient", "block", 3, 5, "float32"]
        table.add_row(
            *map(str, case),
            f"{row['operations_per_prompt']:,}",
            _middle(row["seconds_per_prompt"], 1e9, 1),
            _middle(row["gflops"], 1, 1),
            _spread(row["share_of_peak"], 100, 0),
            f">= {_SHARE_TARGET:.0%}" if aimed else "",
        )
    return table


def _hessian(part: dict[str, Any], batch: int) -> Table:
    columns = (
        "attnscape, ms",
        "PyTorch, ms",
        "times faster",
        "aim",
        "Mflop a prompt,\nrow by row",
        "these, % of\nFMA peak",
    )
    size = part["parameters"]
    note = "Row by row: a Hessian-vector product for each; the kernel goes layer by layer instead."
    table = _table(f"Exact Hessian, {size} x {size}, float64, {batch:,} prompts", columns, note)
    table.add_row(
        _spread(part["attnscape"], 1e3, 1),
        _spread(part["torch"], 1e3, 0) if "torch" in part else "-",
        _spread(part["ratio"], 1, 0) if "ratio" in part else "-",
        f">= {_HESSIAN_TARGET}",
        f"{1e-6 * part['operations_by_rows']:.2f}" if "share_by_rows" in part else "-",
        _spread(part["share_by_rows"], 100, 0) if "share_by_rows" in part else "-",
    )
    return table


def _drawing(rows: list[dict[str, Any]]) -> Table:
    columns = ("setting", "attnscape", "XLA path", "PyTorch", "times faster than PyTorch")
    table = _table("Drawing, million prompts a second", columns)
    for row in rows:
        rates = [
            f"{1e-6 / row[path]['median']:.3f}" if path in row else "-"
            for path in ("attnscape", "xla", "torch")
        ]
        faster = _spread(row["ratio"], 1, 1) if "ratio" in row else "-"
        table.add_row(str(row["setting"]), *rates, faster)
    return table


def _scaling(rows: list[dict[str, Any]], batch: int) -> Table:
    columns = ("cost of a", "with", "=", "us", "us for each")
    note = (
        f"A gradient is one run's on {batch:,} prompts, a step is of all runs, on fresh prompts. "
        f"Where they do not vary: {RUNS} runs, L = 3, n = 20, {batch:,} prompts."
    )
    table = _table("Growth", columns, note)
    names = {"context": "n", "layers": "L"}
    units = {"layers": "layer", "batch": "prompt", "runs": "run"}  # no growth with n: no unit
    for before, row in zip([None, *rows], rows, strict=False):
        of = row["of"]
        if before and before["of"] != of:
            table.add_section()
        each = row["seconds"]["median"] / row["value"] * 1e6
        table.add_row(
            row["cost"],
            names.get(of, of),
            str(row["value"]),
            _spread(row["seconds"], 1e6, 1),
            f"{each:,.1f} a {units[of]}" if of in units else "",
        )
    return table


def _table(title: str, columns: tuple[str, ...], note: str = "") -> Table:
    table = Table(title=title, caption=note or None, box=box.SIMPLE_HEAD, padding=(0, 0, 0, 1))
    for column in columns:
        table.add_column(column, justify="right")
    return table


def _middle(summary: dict[str, Any], factor: float, digits: int) -> str:
    return f"{factor * summary['median']:.{digits}f}"


def _spread(summary: dict[str, Any], factor: float, digits: int) -> str:
    low, high = (factor * summary[name] for name in ("low", "high"))
    return f"{_middle(summary, factor, digits)} [dim]({low:.{digits}f}-{high:.{digits}f})[/dim]"
