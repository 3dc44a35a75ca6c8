"""Claims about what changes with the model, the data and the depth (6 to 9)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import xarray as xr

from attnscape.experiments.artifact import Results
from attnscape.experiments.setting import CONDITION_STEPS
from attnscape.paper.claims import _per_run as per_run
from attnscape.paper.claims._comparison import Comparison
from attnscape.paper.claims._features import loss_comparisons
from attnscape.paper.claims._from_tables import (
    gap_comparison,
    noted,
    ratio_comparison,
    unpaired_ratio_comparison,
)
from attnscape.paper.claims._outcomes import by_choice, in_words, verdict_of_comparisons
from attnscape.paper.verdict import Verdict
from attnscape.statistics import FEWEST, PUBLIC_CODE, fourth_moment, no_interval

Made = Mapping[str, Results]
_LIVE = f"{PUBLIC_CODE}-live"
_OPTIMIZERS = ("sgdm", "adam")
# Settings with light, heavy and Gaussian covariates.
_LIGHT, _HEAVY, _GAUSSIAN = "sphere", "setting-3", "setting-1"
_ALIKE = 2.0  # final losses are alike within this factor
_SHRUNK = 1.25  # a gap has not shrunk if it is at least 1/1.25 of the other gap


def linear_attention_learns_faster(made: Made) -> Verdict:
    """Claim 6."""
    linear, softmax = made["fig7"]["linear"], made["fig7"]["softmax"]
    last = int(linear["step"][-1])
    comparisons = [
        ratio_comparison(
            f"{optimizer} at step {step:,}",
            *(per_run.loss_at(dataset, optimizer, step) for dataset in (softmax, linear)),
        )
        for optimizer in _OPTIMIZERS
        for step in (last // 10, last // 2, last)
    ]
    return Verdict(
        6,
        "The loss of linear attention falls much faster than that of softmax attention.",
        verdict_of_comparisons(comparisons),
        "Loss of softmax attention over that of linear attention at the same step, geometric mean "
        f"over seeds and evaluation batches: {in_words(comparisons)}.",
        "Learning rates of both come from the same search. Softmax runs over the keys before the "
        "mask, and is divided by n as the public code does; without that division it starts at a "
        "three times higher loss.",
        ("fig7",),
    )


def variants_behave_alike(made: Made) -> Verdict:
    """Claim 7."""
    factored, base = (made["fig8-left"][name] for name in ("factored", "setting-1"))
    base = base.sel(seed=factored["seed"])
    gaps = {"separate Q, K": factored, **made["fig8-right"]}
    comparisons = [
        _enough(comparison, *(per_run.final_loss(dataset, o) for o in _OPTIMIZERS))
        for comparison, dataset in zip(loss_comparisons(gaps, "gap, "), gaps.values(), strict=True)
    ]
    for optimizer in _OPTIMIZERS:
        tables = [per_run.final_loss(dataset, optimizer) for dataset in (factored, base)]
        label = f"loss with separate Q, K over one Q, {optimizer}"
        comparisons.append(
            _enough(ratio_comparison(label, *tables, kind="alike", margin=_ALIKE), *tables)
        )
    return Verdict(
        7,
        "Separate query and key matrices behave like one Q, and L = 8, d = 20, n = 60 like the "
        "base.",
        verdict_of_comparisons(comparisons),
        f"Final loss of SGDM over Adam's, and likeness: {in_words(comparisons)}.",
        f"Alike means: Adam below SGDM, and final losses within a factor of {_ALIKE:g} of one Q's, "
        "by two one-sided tests.",
        ("fig8-left", "fig8-right"),
    )


def _enough(comparison: Comparison, first: per_run.Table, second: per_run.Table) -> Comparison:
    """The comparison, without its interval if fewer than 5 pairs of runs finished."""
    finite = int((np.isfinite(first) & np.isfinite(second)).all(axis=1).sum())
    if finite >= FEWEST:
        return comparison
    interval = no_interval(comparison.interval.estimate, finite)
    comparison = dataclasses.replace(comparison, interval=interval)
    return noted(comparison, f"only {finite} pairs of finished runs")


def heavier_tails_make_it_harder(made: Made) -> Verdict:
    """Claim 8: heavy tails compared with the sphere, as in the paper."""
    losses, noise, condition = made["fig9"], made["fig10"], made["fig11"]
    tail = unpaired_ratio_comparison(
        "exceedances of the noise, heavy over light",
        *(per_run.tail_excesses(noise[name])[:, None] for name in (_HEAVY, _LIGHT)),
    )
    gaps = _gaps_of_heavy_tails(condition, PUBLIC_CODE)
    kept = gap_comparison(
        "gap in loss, light over heavy",
        *(_losses(losses[name]) for name in (_LIGHT, _HEAVY)),
        kind="not beyond",
        margin=_SHRUNK,
    )
    comparisons = [tail, *gaps, *_slower_with_heavy_tails(losses, _LIGHT), kept]
    return Verdict(
        8,
        "Heavier-tailed covariates: heavier-tailed noise, a larger gap in R, slower progress for "
        "both optimizers, while the relative gap between them does not shrink with light tails.",
        verdict_of_comparisons(comparisons),
        f"Ratios of geometric means over seeds and evaluation batches: {in_words(comparisons)}. "
        "A gap is SGDM's number over Adam's; one has not shrunk if it is at least "
        f"{1 / _SHRUNK:g} of the other.",
        "Light is the sphere, which has the heavy tails' E|x|^2; Gaussian covariates have five "
        "times as much. Losses are compared as shares of the loss at initialisation. "
        f"{_on_kurtosis(noise)}",
        ("fig9", "fig10", "fig11"),
        by_choice(
            {
                "slower: against Gaussian covariates": _slower_with_heavy_tails(losses, _GAUSSIAN),
                "R without dead parameters": _gaps_of_heavy_tails(condition, _LIVE),
                "R of the public code": gaps,
            }
        ),
    )


def _slower_with_heavy_tails(losses: Results, other: str) -> list[Comparison]:
    """The remaining share of the loss is larger with heavy tails than in the setting `other`."""
    return [
        unpaired_ratio_comparison(
            f"share of the first loss left, heavy over {other}, {optimizer}",
            *(_left(losses[name], optimizer) for name in (_HEAVY, other)),
        )
        for optimizer in _OPTIMIZERS
    ]


def _gaps_of_heavy_tails(condition: Results, definition: str) -> list[Comparison]:
    """The gap in R is larger with heavy tails: one comparison for each step."""
    return [
        gap_comparison(
            f"gap in R at {step}, heavy over light",
            *(_conditions(condition[name], step, definition) for name in (_HEAVY, _LIGHT)),
        )
        for step in CONDITION_STEPS
        if step in condition[_HEAVY]["step"].values
    ]


def deeper_means_harder(made: Made) -> Verdict:
    """Claim 9."""
    losses, noise, condition = made["fig12"], made["fig13"], made["fig14"]
    two, eight = "depth-2", "depth-8"
    # All depths share the task, the seeds and the batches.
    gap = gap_comparison(
        "gap in loss, L = 8 over L = 2", *(_losses(losses[n]) for n in (eight, two)), paired=True
    )
    falls = [
        ratio_comparison(
            f"loss, L = 8 over L = 2, {optimizer}",
            *(per_run.final_loss(losses[name], optimizer) for name in (eight, two)),
            above=False,
        )
        for optimizer in _OPTIMIZERS
    ]
    deep, shallow = (
        np.sqrt(np.prod([per_run.tail_excesses(noise[name]) for name in names], axis=0))[:, None]
        for names in (("depth-6", eight), (two, "depth-4"))
    )
    tail = ratio_comparison("exceedances of the noise, L = 6, 8 over L = 2, 4", deep, shallow)
    gaps = _gaps_of_depths(condition, _LIVE)
    comparisons = [gap, *falls, tail, *gaps]
    of_depths = ", ".join(
        f"{name} {np.exp(np.log(per_run.tail_excesses(dataset)).mean()):.3g}"
        for name, dataset in noise.items()
    )
    return Verdict(
        9,
        "Deeper: the gap between Adam and SGD grows, the loss falls for both, noise is more "
        "heavy-tailed for L = 6, 8 than 2, 4, and the gap in R is more pronounced for L = 4, 6, 8 "
        "than for 2.",
        verdict_of_comparisons(comparisons),
        "Ratios of geometric means over seeds and evaluation batches (losses below 1 as claimed, "
        f"the others above): {in_words(comparisons)}.",
        "R without dead parameters, whose share falls with depth. Norms of the noise beyond the "
        f"Gaussian norm's 99.9 % quantile, over expected: {of_depths}. {_on_kurtosis(noise)}",
        ("fig12", "fig13", "fig14"),
        by_choice(
            {
                "R without dead parameters": gaps,
                "R of the public code, with them": _gaps_of_depths(condition, PUBLIC_CODE),
            }
        ),
    )


def _gaps_of_depths(condition: Results, definition: str) -> list[Comparison]:
    """The gap in R is larger than with 2 layers: one comparison for each depth and step."""
    return [
        gap_comparison(
            f"gap in R at {step}, L = {layers} over L = 2",
            *(
                _conditions(condition[name], step, definition)
                for name in (f"depth-{layers}", "depth-2")
            ),
            paired=True,
        )
        for layers in (4, 6, 8)
        for step in CONDITION_STEPS
        if step in condition["depth-2"]["step"].values
    ]


def _losses(dataset: xr.Dataset) -> tuple[per_run.Table, per_run.Table]:
    sgdm, adam = (per_run.final_loss(dataset, optimizer) for optimizer in _OPTIMIZERS)
    return sgdm, adam


def _conditions(dataset: xr.Dataset, step: int, name: str) -> tuple[per_run.Table, per_run.Table]:
    sgdm, adam = (per_run.condition(dataset, o, step, name) for o in _OPTIMIZERS)
    return sgdm, adam


def _left(dataset: xr.Dataset, optimizer: str) -> per_run.Table:
    """The final loss as a share of the loss at initialisation."""
    return per_run.final_loss(dataset, optimizer) / per_run.first_loss(dataset, optimizer)


def _on_kurtosis(noise: Results) -> str:
    """A sentence with the excess kurtosis of the norms, and for which seeds it can be estimated."""
    words = []
    for name, dataset in noise.items():
        middle = np.median(per_run.excess_kurtoses(dataset))
        norms = dataset["noise_norm"].isel(optimizer=0, learning_rate=0, step=0, batch_size=0)
        sure = sum(fourth_moment(of_seed).estimable for of_seed in norms.values)
        words.append(f"{name} {middle:.3g} (estimable for {sure} of {len(norms)} seeds)")
    return (
        f"Excess kurtosis of the norms, median over seeds: {', '.join(words)}; where the tail "
        "index is not known to be above 4, the distribution may have no kurtosis."
    )
