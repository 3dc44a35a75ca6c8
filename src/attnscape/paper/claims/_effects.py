"""Claims about what changes with the model, the data and the depth (6 to 9)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import xarray as xr

from attnscape.estimators import fourth_moment
from attnscape.estimators.condition import PUBLIC_CODE
from attnscape.estimators.intervals import FEWEST, no_interval
from attnscape.paper.artifact import Results
from attnscape.paper.claims import _statistics as statistics
from attnscape.paper.claims._comparisons import loss_parts
from attnscape.paper.claims._parts import Part, by_choice, in_words, together
from attnscape.paper.claims._tables import gap_part, noted, ratio_part, unpaired_part
from attnscape.paper.settings import CONDITION_STEPS
from attnscape.paper.verdict import Verdict

Made = Mapping[str, Results]
_LIVE = f"{PUBLIC_CODE}-live"
_OPTIMIZERS = ("sgdm", "adam")
_ALIKE = 2.0  # a factor
# A gap that is at least 1/1.25 of another has not shrunk beside it.
_SHRUNK = 1.25


def linear_attention_learns_faster(made: Made) -> Verdict:
    """Claim 6."""
    linear, softmax = made["fig7"]["linear"], made["fig7"]["softmax"]
    last = int(linear["step"][-1])
    parts = [
        ratio_part(
            f"{optimizer} at step {step:,}",
            *(statistics.loss_at(dataset, optimizer, step) for dataset in (softmax, linear)),
        )
        for optimizer in _OPTIMIZERS
        for step in (last // 10, last // 2, last)
    ]
    return Verdict(
        6,
        "The loss of linear attention falls much faster than that of softmax attention.",
        together(parts),
        "Loss of softmax attention over that of linear attention at the same step, geometric mean "
        f"over seeds and evaluation batches: {in_words(parts)}.",
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
    parts = [
        _enough(part, *(statistics.final_loss(dataset, o) for o in _OPTIMIZERS))
        for part, dataset in zip(loss_parts(gaps, "gap, "), gaps.values(), strict=True)
    ]
    for optimizer in _OPTIMIZERS:
        tables = [statistics.final_loss(dataset, optimizer) for dataset in (factored, base)]
        label = f"loss with separate Q, K over one Q, {optimizer}"
        parts.append(_enough(ratio_part(label, *tables, kind="alike", margin=_ALIKE), *tables))
    return Verdict(
        7,
        "Separate query and key matrices behave like one Q, and L = 8, d = 20, n = 60 like the "
        "base.",
        together(parts),
        f"Final loss of SGDM over Adam's, and likeness: {in_words(parts)}.",
        f"Alike means: Adam below SGDM, and final losses within a factor of {_ALIKE:g} of one Q's, "
        "by two one-sided tests.",
        ("fig8-left", "fig8-right"),
    )


def _enough(part: Part, first: statistics.Table, second: statistics.Table) -> Part:
    """The part, without an interval where it would rest on fewer than 5 pairs of finished runs."""
    finite = int((np.isfinite(first) & np.isfinite(second)).all(axis=1).sum())
    if finite >= FEWEST:
        return part
    part = dataclasses.replace(part, interval=no_interval(part.interval.estimate, finite))
    return noted(part, f"only {finite} pairs of finished runs")


def heavier_tails_make_it_harder(made: Made) -> Verdict:
    """Claim 8: heavy tails against the sphere, as the paper compares them."""
    losses, noise, condition = made["fig9"], made["fig10"], made["fig11"]
    light, heavy, gaussian = "sphere", "setting-3", "setting-1"

    def slower(other: str) -> list[Part]:
        return [
            unpaired_part(
                f"share of the first loss left, heavy over {other}, {optimizer}",
                *(_left(losses[name], optimizer) for name in (heavy, other)),
            )
            for optimizer in _OPTIMIZERS
        ]

    tail = unpaired_part(
        "exceedances of the noise, heavy over light",
        *(statistics.tail_excesses(noise[name])[:, None] for name in (heavy, light)),
    )
    gaps = [
        gap_part(
            f"gap in R at {step}, heavy over light",
            *(_conditions(condition[name], step, PUBLIC_CODE) for name in (heavy, light)),
        )
        for step in CONDITION_STEPS
        if step in condition[heavy]["step"].values
    ]
    kept = gap_part(
        "gap in loss, light over heavy",
        *(_losses(losses[name]) for name in (light, heavy)),
        kind="not beyond",
        margin=_SHRUNK,
    )
    parts = [tail, *gaps, *slower(light), kept]
    live = [
        gap_part(
            f"gap in R at {step}, heavy over light",
            *(_conditions(condition[name], step, _LIVE) for name in (heavy, light)),
        )
        for step in CONDITION_STEPS
        if step in condition[heavy]["step"].values
    ]
    return Verdict(
        8,
        "Heavier-tailed covariates: heavier-tailed noise, a larger gap in R, slower progress for "
        "both optimizers, while the relative gap between them does not shrink with light tails.",
        together(parts),
        f"Ratios of geometric means over seeds and evaluation batches: {in_words(parts)}. A gap is "
        f"SGDM's number over Adam's; one has not shrunk if it is at least {1 / _SHRUNK:g} of the "
        "other.",
        "Light is the sphere, which has the heavy tails' E|x|^2; Gaussian covariates have five "
        "times as much. Losses are compared as shares of the loss at initialisation. "
        f"{_on_kurtosis(noise)}",
        ("fig9", "fig10", "fig11"),
        by_choice(
            {
                "slower: against Gaussian covariates": slower(gaussian),
                "R without dead parameters": live,
                "R of the public code": gaps,
            }
        ),
    )


def deeper_means_harder(made: Made) -> Verdict:
    """Claim 9."""
    losses, noise, condition = made["fig12"], made["fig13"], made["fig14"]
    two, eight = "depth-2", "depth-8"

    def gaps(definition: str) -> list[Part]:
        return [
            gap_part(
                f"gap in R at {step}, L = {layers} over L = 2",
                *(
                    _conditions(condition[name], step, definition)
                    for name in (f"depth-{layers}", two)
                ),
                paired=True,
            )
            for layers in (4, 6, 8)
            for step in CONDITION_STEPS
            if step in condition[two]["step"].values
        ]

    # All depths have the task, the seeds and the batches in common.
    gap = gap_part(
        "gap in loss, L = 8 over L = 2", *(_losses(losses[n]) for n in (eight, two)), paired=True
    )
    falls = [
        ratio_part(
            f"loss, L = 8 over L = 2, {optimizer}",
            *(statistics.final_loss(losses[name], optimizer) for name in (eight, two)),
            above=False,
        )
        for optimizer in _OPTIMIZERS
    ]
    deep, shallow = (
        np.sqrt(np.prod([statistics.tail_excesses(noise[name]) for name in names], axis=0))[:, None]
        for names in (("depth-6", eight), (two, "depth-4"))
    )
    tail = ratio_part("exceedances of the noise, L = 6, 8 over L = 2, 4", deep, shallow)
    parts = [gap, *falls, tail, *gaps(_LIVE)]
    of_depths = ", ".join(
        f"{name} {np.exp(np.log(statistics.tail_excesses(dataset)).mean()):.3g}"
        for name, dataset in noise.items()
    )
    return Verdict(
        9,
        "Deeper: the gap between Adam and SGD grows, the loss falls for both, noise is more "
        "heavy-tailed for L = 6, 8 than 2, 4, and the gap in R is more pronounced for L = 4, 6, 8 "
        "than for 2.",
        together(parts),
        "Ratios of geometric means over seeds and evaluation batches (losses below 1 as claimed, "
        f"the others above): {in_words(parts)}.",
        "R without dead parameters, whose share falls with depth. Norms of the noise beyond the "
        f"Gaussian norm's 99.9 % quantile, over expected: {of_depths}. {_on_kurtosis(noise)}",
        ("fig12", "fig13", "fig14"),
        by_choice(
            {
                "R without dead parameters": gaps(_LIVE),
                "R of the public code, with them": gaps(PUBLIC_CODE),
            }
        ),
    )


def _losses(dataset: xr.Dataset) -> tuple[statistics.Table, statistics.Table]:
    sgdm, adam = (statistics.final_loss(dataset, optimizer) for optimizer in _OPTIMIZERS)
    return sgdm, adam


def _conditions(
    dataset: xr.Dataset, step: int, name: str
) -> tuple[statistics.Table, statistics.Table]:
    sgdm, adam = (statistics.condition(dataset, o, step, name) for o in _OPTIMIZERS)
    return sgdm, adam


def _left(dataset: xr.Dataset, optimizer: str) -> statistics.Table:
    """The final loss as a share of the first."""
    return statistics.final_loss(dataset, optimizer) / statistics.first_loss(dataset, optimizer)


def _on_kurtosis(noise: Results) -> str:
    """Excess kurtosis of the norms, and where it is no number to go by."""
    words = []
    for name, dataset in noise.items():
        middle = np.median(statistics.excess_kurtoses(dataset))
        norms = dataset["noise_norm"].isel(optimizer=0, learning_rate=0, step=0, batch_size=0)
        sure = sum(fourth_moment(of_seed).estimable for of_seed in norms.values)
        words.append(f"{name} {middle:.3g} (estimable for {sure} of {len(norms)} seeds)")
    return (
        f"Excess kurtosis of the norms, median over seeds: {', '.join(words)}; where the tail "
        "index is not known to be above 4, the law may have no kurtosis."
    )
