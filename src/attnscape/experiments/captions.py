"""Sentences that captions of artifacts share: the recipe, seeds, batches, rates, divergence."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import xarray as xr

from attnscape.experiments.runs import Results
from attnscape.experiments.setting import Plan, Setting
from attnscape.statistics import Interval
from attnscape.training import Status


def conventions(plan: Plan, settings: Sequence[Setting]) -> str:
    """The recipe of these settings in words, for captions."""
    clip = _each(settings, lambda setting: f"{setting.clip[plan.recipe_of('clip')]:g}")
    return initial_model(plan, settings) + (
        f", {_each(settings, lambda setting: str(setting.batch))} fresh prompts a step, gradients "
        f"clipped by global norm at {clip} before the optimizer, SGD with momentum 0.9 (SGDM), "
        "Adam with beta1 = beta2 = 0.9."
    )


def initial_model(plan: Plan, settings: Sequence[Setting]) -> str:
    """The part of the recipe that matters before any step, in words without a full stop."""
    words = f"Recipe `{plan.recipe}`"
    for convention, recipe in plan.overrides.items():
        words += f", {convention} of `{recipe}`"
    if plan.own:
        words += f", {plan.own}"
    if plan.model is not None:
        return words
    form = _each(settings, lambda setting: setting.form[plan.recipe_of("form")])
    scale = _each(settings, lambda setting: f"{setting.scale[plan.recipe_of('scale')]:g}^2")
    return f"{words}: {form} form of P and Q, initial entries N(0, {scale})"


def _each(settings: Sequence[Setting], value: Callable[[Setting], str]) -> str:
    """The value that all settings share, or every value with the settings that have it."""
    names: dict[str, list[str]] = {}
    for setting in settings:
        names.setdefault(value(setting), []).append(setting.name)
    if len(names) == 1:
        return next(iter(names))
    return ", ".join(f"{each} ({', '.join(owners)})" for each, owners in names.items())


def ends(interval: Interval) -> str:
    """Estimate and ends of an interval, for captions that state the level once."""
    if np.isnan(interval.estimate):
        return f"none (n = {interval.n})"
    if np.isnan(interval.low):
        return f"{interval.estimate:.3g} [no interval, n = {interval.n}]"
    return f"{interval.estimate:.3g} [{interval.low:.3g}, {interval.high:.3g}] (n = {interval.n})"


def seeds_in_words(results: Results) -> str:
    """The number of seeds in the panels."""
    counts = {name: dataset.sizes["seed"] for name, dataset in results.items()}
    if len(set(counts.values())) == 1:
        return f"{next(iter(counts.values()))} seeds"
    each = ", ".join(f"{count} ({name})" for name, count in counts.items())
    return f"{each} seeds, so that bands of more seeds are wider"


def batches_in_words(dataset: xr.Dataset) -> str:
    """The fixed batches on which a result was evaluated."""
    count = dataset.sizes.get("evaluation", 1)
    if count == 1:
        return "one fixed batch of 1000 prompts that all runs share"
    return f"{count} fixed batches of 1000 prompts each that all runs share"


def diverged_in_words(results: Results) -> str:
    """The number of diverged runs in each panel; empty if there are none."""
    parts = []
    for name, dataset in results.items():
        lost = (dataset["status"] == Status.diverged).any("learning_rate").sum("seed")
        counts = {str(o): int(lost.sel(optimizer=o)) for o in dataset["optimizer"].values}
        words = ", ".join(f"{optimizer} {count}" for optimizer, count in counts.items() if count)
        if words:
            parts.append(f"{name} {words} of {dataset.sizes['seed']} seeds")
    return f"Diverged: {'; '.join(parts)}." if parts else ""


def rates_in_words(results: Results) -> str:
    """The learning rates of each panel."""
    parts = []
    for name, dataset in results.items():
        run = dataset["status"].isel(seed=0) != Status.not_run
        pairs = [
            f"{optimizer} {rate:g}"
            for optimizer in dataset["optimizer"].values
            for rate in dataset["learning_rate"].values
            if bool(run.sel(optimizer=optimizer, learning_rate=rate))
        ]
        parts.append(f"{name} " + ", ".join(pairs))
    return "Learning rates: " + "; ".join(parts) + "."
