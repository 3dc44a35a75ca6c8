"""Claims about SGDM against Adam, and about the landscape that they see (1 to 5, and 10)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import xarray as xr

from attnscape.estimators import fourth_moment, mean_interval
from attnscape.estimators.condition import CONDITION_NUMBERS, PUBLIC_CODE
from attnscape.paper.artifact import Results
from attnscape.paper.claims import _statistics as statistics
from attnscape.paper.claims._parts import Part, by_choice, in_words, together
from attnscape.paper.claims._tables import excess_part, mean_part, noted, ratio_part
from attnscape.paper.settings import CONDITION_STEPS, MAIN
from attnscape.paper.verdict import Verdict

Made = Mapping[str, Results]
# Noise counts as heavy-tailed where its norm lies beyond the Gaussian reference's 99.9 % quantile
# at least twice as often as Gaussian noise would.
HEAVY = 2.0
# Shares of a run's steps that directional smoothness is compared over.
WINDOWS = ((0.0, 0.1), (0.1, 0.5), (0.5, 1.0))
Losses = Callable[[xr.Dataset, str], statistics.Table | None]


def adam_reaches_lower_loss(made: Made) -> Verdict:
    """Claim 1, at published and at searched learning rates, on fixed and on large batches."""
    published = "fig5" if "fig5" in made else "fig2"  # the same runs, with more seeds
    rates = {"published rates": published, "searched rates": "fig2-searched"}
    if _are_tuned(made[published]):
        rates = {"searched rates": published}
    there = {words: name for words, name in rates.items() if name in made}
    kinds: Mapping[str, Losses] = {
        "loss on batches of 1000": statistics.final_loss,
        "loss on 100,000 prompts": statistics.large_batch_loss,
        "loss on the first batch alone": _on_first_batch,
    }
    choices = {
        f"{words}, {kind}": loss_parts(made[name], loss=loss)
        for words, name in there.items()
        for kind, loss in kinds.items()
    }
    judged = [
        part
        for words, name in there.items()
        for kind in ("loss on batches of 1000", "loss on 100,000 prompts")
        for part in loss_parts(made[name], f"{words}, {kind}, ", kinds[kind])
    ]
    leads = "; ".join(
        f"{words}: {', '.join(f'{s} {_lead(d)}' for s, d in made[name].items())}"
        for words, name in there.items()
    )
    missing = {words: name for words, name in rates.items() if words not in there}
    unknown = "".join(f" Not judged at {words}: make {name}." for words, name in missing.items())
    return Verdict(
        1,
        "Adam reaches lower loss than SGD with momentum in Settings 1, 2 and 3.",
        together(judged),
        f"Final loss of SGDM over Adam's, geometric mean: {in_words(judged)}.{unknown}",
        "The final loss is the median of a run's last 20 evaluations (on 100,000 prompts: that at "
        "the last step, on one batch: those intervals speak for other seeds only). Rare prompts "
        "dominate the expected loss of Setting 3 and, late, of "
        f"Setting 2: the larger the batch, the more of them it holds. Adam's mean lies below "
        f"SGDM's from these steps on: {leads}.",
        tuple(there.values()),
        by_choice({choice: parts for choice, parts in choices.items() if parts}),
    )


def gradient_noise_is_heavy_tailed(made: Made) -> Verdict:
    """Claim 2."""
    parts = noise_parts(made["fig3"])
    kurtoses = "; ".join(f"{name} {_kurtosis(dataset)}" for name, dataset in made["fig3"].items())
    return Verdict(
        2,
        "The stochastic gradient noise is heavy-tailed in Settings 1, 2 and 3.",
        together(parts),
        "Norms beyond the 99.9 % quantile of the norm of a Gaussian vector with the noise's own "
        f"covariance, over the 0.1 % expected there: {in_words(parts)}. From {HEAVY:g} on it "
        "counts as heavy-tailed.",
        "The paper compares norms with a normal law, against which even Gaussian noise looks "
        f"heavy-tailed. Excess kurtosis of the norms (a normal law has 0): {kurtoses}.",
        ("fig3",),
    )


def adam_sees_better_condition(made: Made) -> Verdict:
    """Claim 3."""
    results = made["tab-condition"]
    parts = condition_parts(results)
    few = {name: dataset.isel(seed=slice(6)) for name, dataset in results.items()}
    first = {name: _first_batch(dataset) for name, dataset in few.items()}
    choices = {
        "first batch, first 6 seeds, as in print": condition_parts(first),
        "all batches, first 6 seeds": condition_parts(few),
    }
    choices |= {name: condition_parts(results, name) for name in CONDITION_NUMBERS}
    return Verdict(
        3,
        "The robust condition number is larger for SGD than for Adam at steps 750 and 1250 in "
        "Settings 1, 2 and 3.",
        together(parts),
        f"R of SGDM over R of Adam ({PUBLIC_CODE}), geometric mean over seeds and evaluation "
        f"batches: {in_words(parts)}.",
        "R turns with the evaluation batch as much as with the seed, and with its definition.",
        ("tab-condition",),
        by_choice(choices),
    )


def adam_moves_along_smoother_directions(made: Made) -> Verdict:
    """Claim 4, in windows of the training."""
    parts = smoothness_parts(made["fig5"])
    whole = {
        "whole training": smoothness_parts(made["fig5"], windows=((0.0, 1.0),)),
        "whole training, first batch": smoothness_parts(
            {name: _first_batch(dataset) for name, dataset in made["fig5"].items()},
            windows=((0.0, 1.0),),
        ),
    }
    return Verdict(
        4,
        "Adam's directional smoothness is below that of SGD with momentum.",
        together(parts),
        "Relative difference (s - a)/(|s| + |a|) of SGDM's and Adam's median smoothness s and a "
        f"over the steps of a window, 1/3 where s is twice a: {in_words(parts)}.",
        "Steps with negative smoothness count with their sign; a run that diverged has the worst "
        "smoothness there is.",
        ("fig5",),
        by_choice(whole),
    )


def smoothness_grows_with_the_gradient(made: Made) -> Verdict:
    """Claim 5."""
    parts = [
        mean_part(name, statistics.rank_correlations(dataset))
        for name, dataset in made["fig16"].items()
    ]
    return Verdict(
        5,
        "Along Adam's path smoothness grows with the gradient norm.",
        together(parts),
        "Spearman's correlation of gradient norm and directional smoothness over the steps of a "
        f"run, mean over seeds and evaluation batches: {in_words(parts)}.",
        "All steps count, those with negative smoothness too. Growth says nothing of a line: the "
        "fits of (L0, L1) stand with the figure, with what they miss.",
        ("fig16",),
    )


def nonlinear_regression_looks_the_same(made: Made) -> Verdict:
    """Claim 10."""
    results = made["fig15"]
    runs = {name: d for name, d in results.items() if "loss" in d}
    noise = {name: d for name, d in results.items() if "noise_norm" in d}
    parts = [
        *loss_parts(runs, "loss, "),
        *noise_parts(noise, "noise, "),
        *condition_parts(runs, label="condition, "),
        *smoothness_parts(runs, "smoothness, "),
    ]
    large = loss_parts(runs, "loss on 100,000 prompts, ", statistics.large_batch_loss)
    return Verdict(
        10,
        "Nonlinear regression with an MLP in front shows the same four features.",
        together(parts),
        f"The statistics of claims 1 to 4: {in_words(parts)}.",
        "As of claims 1 to 4."
        + (
            f" On one large batch, with intervals for other seeds only: {in_words(large)}."
            if large
            else ""
        ),
        ("fig15",),
    )


def loss_parts(
    results: Results, label: str = "", loss: Losses = statistics.final_loss, **changes: Any
) -> list[Part]:
    """Adam's final loss is lower: a part a setting."""
    parts = []
    for name, dataset in results.items():
        sgdm, adam = loss(dataset, "sgdm"), loss(dataset, "adam")
        if sgdm is not None and adam is not None:
            parts.append(ratio_part(f"{label}{name}", sgdm, adam, **changes))
    return parts


def noise_parts(results: Results, label: str = "") -> list[Part]:
    """The noise's tail is heavier than its Gaussian reference's: a part a setting."""
    return [
        excess_part(f"{label}{name}", statistics.tail_excesses(dataset), threshold=HEAVY)
        for name, dataset in results.items()
    ]


def condition_parts(results: Results, name: str = PUBLIC_CODE, label: str = "") -> list[Part]:
    """R is larger for SGDM: a part a setting and step."""
    return [
        ratio_part(
            f"{label}{setting} at {step}",
            *(statistics.condition(dataset, o, step, name) for o in ("sgdm", "adam")),
        )
        for setting, dataset in results.items()
        for step in CONDITION_STEPS
        if step in dataset["step"].values
    ]


def smoothness_parts(
    results: Results, label: str = "", windows: tuple[tuple[float, float], ...] = WINDOWS
) -> list[Part]:
    """Directional smoothness is larger for SGDM: a part a setting and window."""
    parts = []
    for name, dataset in results.items():
        end = int(dataset["step"][-1])
        for low, high in windows:
            first, last = round(low * end), round(high * end)
            tables = [statistics.smoothness(dataset, o, first, last) for o in ("sgdm", "adam")]
            where = f"{label}{name}, steps {first:,} to {last:,}"
            part = mean_part(where, statistics.relative_difference(*tables))
            lost = [int(np.isinf(table).any(axis=1).sum()) for table in tables]
            if any(lost):
                part = noted(
                    part,
                    f"diverged: {lost[0]} and {lost[1]} of {len(tables[0])} runs, which count as "
                    "1 and -1",
                )
            parts.append(part)
    return parts


def _are_tuned(results: Results) -> bool:
    """Whether the rates are of no recipe, so that a search found them."""
    settings = {setting.name: setting for setting in MAIN}
    return any(
        all(
            set(dataset["learning_rate"].values) != set(rates.values())
            for rates in settings[name].rates.values()
        )
        for name, dataset in results.items()
        if name in settings
    )


def _on_first_batch(dataset: xr.Dataset, optimizer: str) -> statistics.Table:
    return statistics.final_loss(dataset, optimizer)[:, :1]


def _first_batch(dataset: xr.Dataset) -> xr.Dataset:
    return dataset.isel(evaluation=[0]) if "evaluation" in dataset.dims else dataset


def _lead(dataset: xr.Dataset) -> str:
    """From which measured step on Adam's loss is lower, geometric mean over seeds and batches."""
    sgdm, adam = (statistics.losses(dataset, optimizer) for optimizer in ("sgdm", "adam"))
    with np.errstate(divide="ignore", invalid="ignore"):
        # A diverged run is the worst there is.
        logs = [np.log(np.where(np.isnan(each), np.inf, each)) for each in (sgdm, adam)]
        gap = (logs[0] - logs[1]).mean(axis=(0, 2))
    steps, ahead = sgdm["step"].values, gap > 0
    behind = np.flatnonzero(~ahead)
    if behind.size == 0:
        return f"{steps[0]:,}"
    return f"{steps[behind[-1] + 1]:,}" if behind[-1] + 1 < steps.size else "never"


def _kurtosis(dataset: xr.Dataset) -> str:
    """Excess kurtosis over seeds, or that a tail this heavy may have none."""
    norms = dataset["noise_norm"].isel(optimizer=0, learning_rate=0, step=0, batch_size=0)
    if not all(fourth_moment(of_seed).estimable for of_seed in norms.values):
        return "not estimable (the tail index is not known to be above 4)"
    return str(mean_interval(statistics.excess_kurtoses(dataset)))
