"""The measured numbers as tables for the terminal, beside what was aimed at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich import box
from rich.table import Table

# What the project aims at on a machine with two processors.
_RATIO_TARGETS = {1: 40, 12: 80, 120: 180}  # of Setting 1, L = 3, by runs
_SPEED_TARGET = 0.7  # of Setting 3, beside Setting 1
_SHARE_TARGET = 0.5  # of the peak: gradient, block form, L = 3, d = 5, float32
_HESSIAN_TARGET = 50


def tables(result: dict[str, Any]) -> Iterator[Table]:
    """One table for each part of the result; numbers in brackets span the middle 80 % of rounds."""
    yield _training(result["training"])
    if result["kernels"]:
        yield _kernels(result["kernels"])
    yield _hessian(result["hessian"])
    yield _drawing(result["drawing"])
    yield _scaling(result["scaling"])


def _training(part: dict[str, Any]) -> Table:
    threads = part["torch_threads"]
    note = "" if threads is None else (
        "PyTorch trains one run after another: its time for a run-step "
        f"({threads['used']} thread(s), the faster setting) times the number of runs."
    )  # fmt: skip
    columns = (
        "setting",
        "L",
        "runs",
        "ms a step",
        "PyTorch, ms a run-step",
        "times faster",
        "target",
    )
    table = _table("Training steps of 1,000 fresh prompts", columns, note)
    table.add_column("than eq. 7 as written", justify="right")
    table.add_column("speed beside Setting 1", justify="right")
    for row in part["rows"]:
        setting, layers, runs = row["setting"], row["layers"], row["runs"]
        target = _RATIO_TARGETS.get(runs) if (setting, layers) == (1, 3) else None
        theirs = row.get("tuned")
        speed = row.get("speed_of_setting_1") if setting == 3 else None
        table.add_row(
            str(setting),
            str(layers),
            str(runs),
            _spread(row["step"], 1e3, 3),
            _spread(theirs["run_step"], 1e3, 2) if theirs else "-",
            _spread(theirs["ratio"], 1, 0) if theirs else "-",
            f">= {target}" if target else "",
            _spread(row["as_written"]["ratio"], 1, 0) if theirs else "-",
            f"{_spread(speed, 1, 2)} (target {_SPEED_TARGET})" if speed else "",
        )
    return table


def _kernels(rows: list[dict[str, Any]]) -> Table:
    columns = (
        "kernel",
        "form",
        "L",
        "d",
        "dtype",
        "ns a prompt",
        "GFLOP/s",
        "% of FMA peak",
        "target",
    )
    table = _table("Kernels, drawing excluded", columns)
    for row in rows:
        case = [row[name] for name in ("quantity", "form", "layers", "dim", "dtype")]
        aimed = case == ["gradient", "block", 3, 5, "float32"]
        table.add_row(
            *map(str, case),
            _spread(row["seconds_per_prompt"], 1e9, 1),
            _spread(row["gflops"], 1, 1),
            _spread(row["share_of_peak"], 100, 0),
            f">= {_SHARE_TARGET:.0%}" if aimed else "",
        )
    return table


def _hessian(part: dict[str, Any]) -> Table:
    columns = ("attnscape, ms", "PyTorch, ms", "times faster", "target")
    size = part["parameters"]
    table = _table(f"Exact Hessian, {size} x {size}, float64, {part['batch']} prompts", columns)
    table.add_row(
        _spread(part["attnscape"], 1e3, 1),
        _spread(part["torch"], 1e3, 0) if "torch" in part else "-",
        _spread(part["ratio"], 1, 0) if "ratio" in part else "-",
        f">= {_HESSIAN_TARGET}",
    )
    return table


def _drawing(rows: list[dict[str, Any]]) -> Table:
    columns = ("setting", "attnscape", "XLA path", "PyTorch", "times faster than PyTorch")
    table = _table("Drawing, million prompts a second", columns)
    for row in rows:
        rates = [
            f"{1e-6 / row[path]['median']:.3g}" if path in row else "-"
            for path in ("attnscape", "xla", "torch")
        ]
        faster = _spread(row["ratio"], 1, 1) if "ratio" in row else "-"
        table.add_row(str(row["setting"]), *rates, faster)
    return table


def _scaling(rows: list[dict[str, Any]]) -> Table:
    columns = ("cost of a", "with", "=", "us", "us for each unit")
    table = _table("Growth (12 runs, L = 3, 1,000 prompts where they do not vary)", columns)
    names = {"context": "n", "layers": "L"}
    for before, row in zip([None, *rows], rows, strict=False):
        if before and before["of"] != row["of"]:
            table.add_section()
        unit = row["seconds"]["median"] / row["value"] * 1e6
        table.add_row(
            row["cost"],
            names.get(row["of"], row["of"]),
            str(row["value"]),
            _spread(row["seconds"], 1e6, 1),
            "" if row["of"] == "context" else f"{unit:.3g}",
        )
    return table


def _table(title: str, columns: tuple[str, ...], note: str = "") -> Table:
    table = Table(title=title, caption=note or None, box=box.SIMPLE_HEAD)
    for column in columns:
        table.add_column(column, justify="right")
    return table


def _spread(summary: dict[str, Any], factor: float, digits: int) -> str:
    low, middle, high = (factor * summary[name] for name in ("low", "median", "high"))
    return f"{middle:.{digits}f} [dim]({low:.{digits}f} to {high:.{digits}f})[/dim]"
