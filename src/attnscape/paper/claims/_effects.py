"""Claims about what changes with the model, the data and the depth (6 to 9)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from attnscape.estimators import Interval, paired_ratio
from attnscape.estimators.condition import PUBLIC_CODE
from attnscape.paper.artifact import Results
from attnscape.paper.claims import _statistics as statistics
from attnscape.paper.claims._comparisons import STEPS, loss_parts
from attnscape.paper.claims._parts import Part, in_words, together
from attnscape.paper.verdict import Verdict

Made = Mapping[str, Results]
_LIVE = f"{PUBLIC_CODE}-live"


def linear_attention_learns_faster(made: Made) -> Verdict:
    """Claim 6."""
    results = made["fig7"]
    linear, softmax = results["linear"], results["softmax"]
    parts = []
    for optimizer in ("sgdm", "adam"):
        curves = [statistics.losses(d, optimizer) for d in (softmax, linear)]
        last = int(curves[0]["step"][-1])
        for step in (last // 10, last // 2, last):
            ratio = paired_ratio(*(c.sel(step=step, method="nearest").values for c in curves))
            parts.append(Part(f"{optimizer} at step {step}", ratio.geometric_mean))
    return Verdict(
        6,
        "The loss of linear attention falls much faster than that of softmax attention.",
        together(parts),
        "Loss of softmax attention over that of linear attention at the same step, geometric mean "
        f"over seeds: {in_words(parts)}.",
        "Learning rates of both come from the same search. Softmax runs over the keys before the "
        "mask, and is divided by n as the public code does; without that division it starts at a "
        "three times higher loss.",
        ("fig7",),
    )


def variants_behave_alike(made: Made) -> Verdict:
    """Claim 7."""
    factored, base = (made["fig8-left"][name] for name in ("factored", "setting-1"))
    parts = loss_parts({"separate Q, K": factored, **made["fig8-right"]}, "gap, ")
    for optimizer in ("sgdm", "adam"):
        ratio = paired_ratio(
            statistics.final_loss(factored, optimizer),
            statistics.final_loss(base, optimizer),
        ).geometric_mean
        label = f"loss with separate Q, K over one Q, {optimizer}"
        parts += [
            Part(f"{label}, above half", ratio, threshold=0.5),
            Part(f"{label}, below double", ratio, threshold=2.0, above=False),
        ]
    return Verdict(
        7,
        "Separate query and key matrices behave like one Q, and L = 8, d = 20, n = 60 like the "
        "base.",
        together(parts),
        f"Final loss of SGDM over Adam's, and likeness within a factor of 2: {in_words(parts)}.",
        "Alike means: Adam below SGDM, and final losses within a factor of 2 of one Q's.",
        ("fig8-left", "fig8-right"),
    )


def heavier_tails_make_it_harder(made: Made) -> Verdict:
    """Claim 8."""
    losses, noise, condition = made["fig9"], made["fig10"], made["fig11"]
    light, heavy = "sphere", "setting-3"
    parts = [
        Part(
            "tail of the noise, heavy over light",
            _log_ratio(*(statistics.excess_kurtoses(noise[name]) for name in (heavy, light))),
            threshold=0.0,
        ),
        *(
            Part(
                f"gap in R at {step}, heavy over light",
                _gap_ratio(condition[heavy], condition[light], step, PUBLIC_CODE),
                threshold=0.0,
            )
            for step in STEPS
            if step in condition[heavy]["step"].values
        ),
        *(
            Part(
                f"share of the first loss left, heavy over Gaussian, {optimizer}",
                statistics.log_ratio_of(
                    *(_left(losses[name], optimizer) for name in (heavy, "setting-1"))
                ),
                threshold=0.0,
            )
            for optimizer in ("sgdm", "adam")
        ),
        Part(
            "gap in loss, light over heavy",
            statistics.log_ratio_of(*(_loss_ratios(losses[name]) for name in (light, heavy))),
            threshold=0.0,
        ),
    ]
    return Verdict(
        8,
        "Heavier-tailed covariates: heavier-tailed noise, a larger gap in R, slower progress for "
        "both optimizers, while the relative gap between them does not shrink with light tails.",
        together(parts),
        "Logs of ratios, over seeds (above 0 as claimed): " + in_words(parts) + ".",
        "Cov(x) differs by a factor of 5 between Gaussian covariates and the others: losses are "
        "compared as shares of the loss at initialisation, tails by excess kurtosis of the norms.",
        ("fig9", "fig10", "fig11"),
    )


def deeper_means_harder(made: Made) -> Verdict:
    """Claim 9."""
    losses, noise, condition = made["fig12"], made["fig13"], made["fig14"]
    two, eight = "depth-2", "depth-8"
    parts = [
        Part(
            "gap in loss, L = 8 over L = 2",
            statistics.log_ratio_of(*(_loss_ratios(losses[name]) for name in (eight, two))),
            threshold=0.0,
        ),
        *(
            Part(
                f"loss, L = 8 over L = 2, {optimizer}",
                statistics.log_ratio_of(
                    *(statistics.final_loss(losses[name], optimizer) for name in (eight, two))
                ),
                threshold=0.0,
                above=False,
            )
            for optimizer in ("sgdm", "adam")
        ),
        Part(
            "tail of the noise, L = 6, 8 over L = 2, 4",
            _log_ratio(
                *(
                    np.concatenate([statistics.excess_kurtoses(noise[name]) for name in names])
                    for names in (("depth-6", eight), (two, "depth-4"))
                )
            ),
            threshold=0.0,
        ),
        *(
            Part(
                f"gap in R at {step}, L = {layers} over L = 2",
                _gap_ratio(condition[f"depth-{layers}"], condition[two], step, _LIVE),
                threshold=0.0,
            )
            for layers in (4, 6, 8)
            for step in STEPS
            if step in condition[two]["step"].values
        ),
    ]
    return Verdict(
        9,
        "Deeper: the gap between Adam and SGD grows, the loss falls for both, noise is more "
        "heavy-tailed for L = 6, 8 than 2, 4, and the gap in R is more pronounced for L = 4, 6, 8 "
        "than for 2.",
        together(parts),
        "Logs of ratios, over seeds (losses below 0 as claimed, the others above): "
        + in_words(parts)
        + ".",
        "R without dead parameters, whose share falls with depth. Tails by excess kurtosis.",
        ("fig12", "fig13", "fig14"),
    )


def _loss_ratios(dataset: xr.Dataset) -> np.ndarray:
    return statistics.final_loss(dataset, "sgdm") / statistics.final_loss(dataset, "adam")


def _left(dataset: xr.Dataset, optimizer: str) -> np.ndarray:
    """Of each seed: the final loss as a share of the first."""
    first = statistics.losses(dataset, optimizer).isel(step=0).values
    return statistics.final_loss(dataset, optimizer) / first


def _gap_ratio(first: xr.Dataset, second: xr.Dataset, step: int, name: str) -> Interval:
    gaps = []
    for dataset in (first, second):
        numbers = [
            statistics.robust_condition(dataset, optimizer, step, name)
            for optimizer in ("sgdm", "adam")
        ]
        gaps.append(numbers[0] / numbers[1])
    return statistics.log_ratio_of(*gaps)


def _log_ratio(first: np.ndarray, second: np.ndarray) -> Interval:
    """Of excess kurtoses, which are shifted by 3 (a normal law's kurtosis) to be positive."""
    return statistics.log_ratio_of(first + 3, second + 3)
