"""Recipes, seeds, steps and versions of what was run, in words for the page."""

from __future__ import annotations

import collections
from collections.abc import Iterable

from attnscape.report.manifest import Manifest, Run
from attnscape.report.numbers import count


def plans_in_words(manifests: Iterable[Manifest]) -> list[str]:
    """For each recipe: the recipe, seeds and steps of the artifacts' runs, in words."""
    made: dict[str, list[Manifest]] = {}
    for manifest in manifests:
        made.setdefault(str(manifest.plan.get("recipe", "unknown")), []).append(manifest)
    words = []
    for recipe, those in made.items():
        seeds = sorted({seeds for manifest in those for seeds in _seeds(manifest)})
        # 0 steps: at initialisation.
        steps = sorted({run.steps for each in those for run in each.runs.values()} - {0})
        parts = [f"recipe {recipe}"]
        if seeds:
            parts.append(f"{_range(seeds)} seed" + "s" * (seeds[-1] > 1))
        if steps:
            parts.append(f"{_range(steps)} step" + "s" * (steps[-1] > 1))
        words.append(", ".join(parts))
    return words


def _seeds(manifest: Manifest) -> set[int]:
    """How many seeds there are of each thing that was run.

    Where a run has one seed, as on real networks, its seed ends its key, behind a bar.
    """
    counts = collections.Counter[str]()
    for key, run in manifest.runs.items():
        start, _, end = key.rpartition("|")
        counts[start if start and end.isdigit() else key] += run.seeds
    return set(counts.values())


def _range(values: list[int]) -> str:
    return count(values[0]) if len(values) == 1 else f"{count(values[0])} to {count(values[-1])}"


def versions(runs: Iterable[Run]) -> dict[str, str]:
    """Versions, precision and path of the runs; several values if the runs differ."""
    seen: dict[str, set[str]] = {}
    for run in runs:
        facts = {**run.versions, "precision": run.precision, "kernels": run.kernels}
        for what, value in facts.items():
            seen.setdefault(what, set()).add(value)
    return {what: ", ".join(sorted(values)) for what, values in seen.items()}
