"""Claims about SGDM, Adam and the landscape along their runs (1 to 5, and 10)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from attnscape.experiments.artifact import Results
from attnscape.paper.claims import _per_run as per_run
from attnscape.paper.claims._features import (
    HEAVY,
    Losses,
    condition_comparisons,
    loss_comparisons,
    noise_comparisons,
    smoothness_comparisons,
)
from attnscape.paper.claims._from_tables import mean_comparison
from attnscape.paper.claims._outcomes import by_choice, in_counts, in_words, verdict_of_comparisons
from attnscape.paper.settings import MAIN
from attnscape.paper.verdict import Verdict
from attnscape.statistics import CONDITION_NUMBERS, PUBLIC_CODE, fourth_moment, mean_interval

Made = Mapping[str, Results]


def adam_reaches_lower_loss(made: Made) -> Verdict:
    """Claim 1, at published and at searched learning rates, on fixed and on large batches."""
    published = "fig5" if "fig5" in made else "fig2"  # the same runs, with more seeds
    rates = {"published rates": published, "searched rates": "fig2-searched"}
    if _are_tuned(made[published]):
        rates = {"searched rates": published}
    there = {words: name for words, name in rates.items() if name in made}
    kinds: Mapping[str, Losses] = {
        "loss on batches of 1000": per_run.final_loss,
        "loss on 100,000 prompts": per_run.large_batch_loss,
        "loss on the first batch alone": _on_first_batch,
    }
    choices = {
        f"{words}, {kind}": loss_comparisons(made[name], loss=loss)
        for words, name in there.items()
        for kind, loss in kinds.items()
    }
    judged = [
        comparison
        for words, name in there.items()
        for kind in ("loss on batches of 1000", "loss on 100,000 prompts")
        for comparison in loss_comparisons(made[name], f"{words}, {kind}, ", kinds[kind])
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
        verdict_of_comparisons(judged),
        "Final loss of SGDM over Adam's, geometric mean, in each setting, at "
        f"{' and at '.join(there)}, on batches of 1000 and on 100,000 prompts: "
        f"{in_counts(judged)}, judged together; the ratios stand by choice.{unknown}",
        "The final loss is the median of a run's last 20 evaluations (on 100,000 prompts: that at "
        "the last step, on one batch: those intervals speak for other seeds only). Rare prompts "
        "dominate the expected loss of Setting 3 and, late, of "
        f"Setting 2: the larger the batch, the more of them it holds. Adam's mean lies below "
        f"SGDM's from these steps on: {leads}.",
        tuple(there.values()),
        by_choice({choice: comparisons for choice, comparisons in choices.items() if comparisons}),
    )


def gradient_noise_is_heavy_tailed(made: Made) -> Verdict:
    """Claim 2."""
    comparisons = noise_comparisons(made["fig3"])
    kurtoses = "; ".join(f"{name} {_kurtosis(dataset)}" for name, dataset in made["fig3"].items())
    return Verdict(
        2,
        "The stochastic gradient noise is heavy-tailed in Settings 1, 2 and 3.",
        verdict_of_comparisons(comparisons),
        "Norms beyond the 99.9 % quantile of the norm of a Gaussian vector with the noise's own "
        f"covariance, over the 0.1 % expected there: {in_words(comparisons)}. From {HEAVY:g} on it "
        "counts as heavy-tailed.",
        "The paper compares norms with a normal distribution, against which even Gaussian noise "
        "looks heavy-tailed. Excess kurtosis of the norms (of a normal distribution 0): "
        f"{kurtoses}.",
        ("fig3",),
    )


def adam_sees_better_condition(made: Made) -> Verdict:
    """Claim 3."""
    results = made["tab-condition"]
    comparisons = condition_comparisons(results)
    few = {name: dataset.isel(seed=slice(6)) for name, dataset in results.items()}
    first = {name: _first_batch(dataset) for name, dataset in few.items()}
    choices = {
        "first batch, first 6 seeds, as in print": condition_comparisons(first),
        "all batches, first 6 seeds": condition_comparisons(few),
    }
    choices |= {name: condition_comparisons(results, name) for name in CONDITION_NUMBERS}
    return Verdict(
        3,
        "The robust condition number is larger for SGD than for Adam at steps 750 and 1250 in "
        "Settings 1, 2 and 3.",
        verdict_of_comparisons(comparisons),
        f"R of SGDM over R of Adam ({PUBLIC_CODE}), geometric mean over seeds and evaluation "
        f"batches: {in_words(comparisons)}.",
        "R turns with the evaluation batch as much as with the seed, and with its definition.",
        ("tab-condition",),
        by_choice(choices),
    )


def adam_moves_along_smoother_directions(made: Made) -> Verdict:
    """Claim 4, in windows of the training."""
    comparisons = smoothness_comparisons(made["fig5"])
    whole = {
        "whole training": smoothness_comparisons(made["fig5"], windows=((0.0, 1.0),)),
        "whole training, first batch": smoothness_comparisons(
            {name: _first_batch(dataset) for name, dataset in made["fig5"].items()},
            windows=((0.0, 1.0),),
        ),
    }
    return Verdict(
        4,
        "Adam's directional smoothness is below that of SGD with momentum.",
        verdict_of_comparisons(comparisons),
        "Relative difference (s - a)/(|s| + |a|) of SGDM's and Adam's median smoothness s and a "
        f"over the steps of a window, 1/3 where s is twice a: {in_words(comparisons)}.",
        "Steps with negative smoothness count with their sign; a run that diverged has the worst "
        "smoothness there is.",
        ("fig5",),
        by_choice(whole),
    )


def smoothness_grows_with_the_gradient(made: Made) -> Verdict:
    """Claim 5."""
    comparisons = [
        mean_comparison(name, per_run.rank_correlations(dataset))
        for name, dataset in made["fig16"].items()
    ]
    return Verdict(
        5,
        "Along Adam's path smoothness grows with the gradient norm.",
        verdict_of_comparisons(comparisons),
        "Spearman's correlation of gradient norm and directional smoothness over the steps of a "
        f"run, mean over seeds and evaluation batches: {in_words(comparisons)}.",
        "All steps count, those with negative smoothness too. Growth says nothing of a line: the "
        "fits of (L0, L1) stand with the figure, with what they miss.",
        ("fig16",),
    )


def nonlinear_regression_looks_the_same(made: Made) -> Verdict:
    """Claim 10."""
    results = made["fig15"]
    runs = {name: d for name, d in results.items() if "loss" in d}
    noise = {name: d for name, d in results.items() if "noise_norm" in d}
    comparisons = [
        *loss_comparisons(runs, "loss, "),
        *noise_comparisons(noise, "noise, "),
        *condition_comparisons(runs, label="condition, "),
        *smoothness_comparisons(runs, "smoothness, "),
    ]
    large = loss_comparisons(runs, "loss on 100,000 prompts, ", per_run.large_batch_loss)
    return Verdict(
        10,
        "Nonlinear regression with an MLP in front shows the same four features.",
        verdict_of_comparisons(comparisons),
        f"The statistics of claims 1 to 4: {in_words(comparisons)}.",
        "As of claims 1 to 4."
        + (
            f" On one large batch, with intervals for other seeds only: {in_words(large)}."
            if large
            else ""
        ),
        ("fig15",),
    )


def _are_tuned(results: Results) -> bool:
    """Whether a search found the rates: they belong to no recipe."""
    settings = {setting.name: setting for setting in MAIN}
    return any(
        all(
            set(dataset["learning_rate"].values) != set(rates.values())
            for rates in settings[name].rates.values()
        )
        for name, dataset in results.items()
        if name in settings
    )


def _on_first_batch(dataset: xr.Dataset, optimizer: str) -> per_run.Table:
    return per_run.final_loss(dataset, optimizer)[:, :1]


def _first_batch(dataset: xr.Dataset) -> xr.Dataset:
    return dataset.isel(evaluation=[0]) if "evaluation" in dataset.dims else dataset


def _lead(dataset: xr.Dataset) -> str:
    """In words, the first measured step from which Adam's mean log loss stays lower."""
    sgdm, adam = (per_run.losses(dataset, optimizer) for optimizer in ("sgdm", "adam"))
    with np.errstate(divide="ignore", invalid="ignore"):
        # A diverged run has the worst possible loss.
        logs = [np.log(np.where(np.isnan(each), np.inf, each)) for each in (sgdm, adam)]
        gap = (logs[0] - logs[1]).mean(axis=(0, 2))
    steps, ahead = sgdm["step"].values, gap > 0
    behind = np.flatnonzero(~ahead)
    if behind.size == 0:
        return f"{steps[0]:,}"
    return f"{steps[behind[-1] + 1]:,}" if behind[-1] + 1 < steps.size else "never"


def _kurtosis(dataset: xr.Dataset) -> str:
    """Mean excess kurtosis over seeds, or a note that the tail is too heavy to estimate it."""
    norms = dataset["noise_norm"].isel(optimizer=0, learning_rate=0, step=0, batch_size=0)
    if not all(fourth_moment(of_seed).estimable for of_seed in norms.values):
        return "not estimable (the tail index is not known to be above 4)"
    return str(mean_interval(per_run.excess_kurtoses(dataset)))
