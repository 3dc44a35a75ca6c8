"""Sentences of the paper without a figure (11 to 15)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import xarray as xr

from attnscape.experiments.artifact import Results
from attnscape.paper.claims import _per_run as per_run
from attnscape.paper.claims import _speed as speed
from attnscape.paper.claims._comparison import Comparison
from attnscape.paper.claims._features import momentum_comparisons
from attnscape.paper.claims._from_tables import (
    mean_comparison,
    ratio_comparison,
    unpaired_ratio_comparison,
)
from attnscape.paper.claims._outcomes import by_choice, in_words, verdict_of_comparisons
from attnscape.paper.verdict import Verdict
from attnscape.statistics import Interval

Made = Mapping[str, Results]
LINEAR, ONE_HEAD, TWO_HEADS = "linear-1-head", "softmax-1-head", "softmax-2-heads"
GAUSSIAN, SPHERE, ORTHONORMAL = "gaussian", "sphere", "orthonormal"  # after the model's name
_MATCH = 1.25  # losses match within this factor; one head must be worse by more


def momentum_helps_in_all_cases(made: Made) -> Verdict:
    """Claim 11."""
    results = made["without-momentum"]
    comparisons = momentum_comparisons(results)
    choices = {
        "loss on batches of 1000": comparisons,
        "loss on 100,000 prompts": momentum_comparisons(results, loss=per_run.large_batch_loss),
    }
    return Verdict(
        11,
        "SGD and Adam perform better with momentum than without in Settings 1, 2 and 3.",
        verdict_of_comparisons(comparisons),
        "Final loss without momentum over that with it, each at its own searched rate, geometric "
        f"mean over seeds and evaluation batches: {in_words(comparisons)}.",
        "The final loss is the median of a run's last 20 evaluations (on 100,000 prompts: that at "
        "the last step, on one batch: those intervals speak for other seeds only). Rates are the "
        "best of a 1-2-5 grid: neighbours differ by a factor of 2, so that small differences may "
        "come from the grid. In a steady direction, momentum 0.9 makes SGD's steps ten times as "
        "long: where SGD's best rate is ten times SGDM's, both move alike.",
        ("without-momentum",),
        by_choice({choice: each for choice, each in choices.items() if each}),
    )


def spectral_norm_grows_with_the_gradient(made: Made) -> Verdict:
    """Claim 12."""
    results = made["fig16-spectral"]
    comparisons = _growth(results, per_run.spectral_norm)
    choices = {
        "spectral norm": comparisons,
        "spectral norm, second half of the steps": _growth(
            {name: _second_half(dataset) for name, dataset in results.items()},
            per_run.spectral_norm,
        ),
        "largest eigenvalue, with its sign": _growth(results, _largest_eigenvalue),
        "directional smoothness at the same steps": _growth(
            results, lambda dataset: dataset["directional_smoothness"]
        ),
    }
    return Verdict(
        12,
        "Along Adam's path the spectral norm of the Hessian grows with the gradient norm.",
        verdict_of_comparisons(comparisons),
        "Spearman's correlation of gradient norm and spectral norm over the steps of a run, mean "
        f"over seeds and evaluation batches: {in_words(comparisons)}.",
        "Both also change with the step, so that a correlation along a run need not mean that one "
        "follows the other. Growth says nothing of a line: the fits of (L0, L1) stand with the "
        "figure, with what they miss.",
        ("fig16-spectral",),
        by_choice(choices),
    )


def smoothness_goes_with_the_speed_up(made: Made) -> Verdict:
    """Claim 13: settings are the units; pairs of rates within one share runs."""
    results = made["smoothness-speed"]
    across = speed.across(speed.at_own_rates(results))
    best = speed.across(speed.at_best_rates(results))
    within = _correlation("within settings, over rates", speed.mean_within(results))
    comparisons = [
        _correlation("across settings, own rates", across.over_optimizers),
        within,
    ]
    return Verdict(
        13,
        "The gap in directional smoothness between SGD with momentum and Adam correlates with the "
        "speed-up of Adam.",
        verdict_of_comparisons(comparisons),
        "Rank correlation of SGDM's over Adam's median smoothness with the steps that SGDM needs "
        f"over those that Adam needs to reach the same loss: {in_words(comparisons)}.",
        "Intervals hold for other settings of the same kind, if these are independent draws: there "
        "are few, and several are much alike. With these settings at their own rates and other "
        f"seeds: {across.over_seeds}. Smoothness and speed come from different seeds. Within a "
        "setting the rate changes both. Pairs of rates at which a run diverged are left out.",
        ("smoothness-speed",),
        by_choice(
            {
                "across settings, own rates": comparisons[:1],
                "across settings, best of three rates each, chosen on these seeds": [
                    _correlation("best of three rates", best.over_optimizers)
                ],
                "across settings, own rates, interval for other seeds": [
                    _correlation("own rates", across.over_seeds, unit="seeds")
                ],
                "within settings, over rates": [within],
            }
        ),
    )


def head_comparisons(results: Results) -> list[Comparison]:
    """Final losses of softmax attention over linear attention: two heads alike, one above."""
    comparisons = []
    for optimizer in ("sgdm", "adam"):
        two, one, linear = (
            per_run.final_loss(results[name], optimizer) for name in (TWO_HEADS, ONE_HEAD, LINEAR)
        )
        comparisons += [
            ratio_comparison(f"two heads, {optimizer}", two, linear, kind="alike", margin=_MATCH),
            ratio_comparison(f"one head, {optimizer}", one, linear, threshold=_MATCH),
        ]
    return comparisons


def two_softmax_heads_match_a_linear_one(made: Made) -> Verdict:
    """Claim 14: section 3.1, after von Oswald et al. (2023, App. A.9)."""
    comparisons = head_comparisons(made["softmax-heads"])
    return Verdict(
        14,
        "Two softmax heads match one linear head, and one softmax head does not.",
        verdict_of_comparisons(comparisons),
        "Final loss of softmax attention over that of linear attention, geometric mean over seeds "
        f"and evaluation batches: {in_words(comparisons)}.",
        f"Match means within a factor of {_MATCH:g}, by two one-sided tests. One layer, 2,000 "
        "steps; rates of all models come from the same search. Runs of one softmax model end on "
        "different plateaus, by seed: the verdict is about training from small random values, not "
        "about what heads can express.",
        ("softmax-heads",),
    )


def sparsity_comparisons(
    results: Results,
    number: Callable[[xr.Dataset, str], per_run.Table] = per_run.final_attention,
) -> list[Comparison]:
    """A number of attention scores for orthonormal covariates is below that for the others."""
    return [
        unpaired_ratio_comparison(
            f"{model}, {optimizer}, over {law}",
            number(results[f"{model}-{ORTHONORMAL}"], optimizer),
            number(results[f"{model}-{law}"], optimizer),
            above=False,
        )
        for model in ("linear", "softmax")
        for optimizer in ("sgdm", "adam")
        for law in (GAUSSIAN, SPHERE)
    ]


def orthonormal_covariates_make_attention_sparser(made: Made) -> Verdict:
    """Claim 15: section 3.1, after Huang et al. (2023)."""
    results = made["attention-scores"]
    comparisons = sparsity_comparisons(results)

    def learned(dataset: xr.Dataset, optimizer: str) -> per_run.Table:
        first = per_run.first_attention(dataset, optimizer)
        return per_run.final_attention(dataset, optimizer) / first

    choices = {
        "share from the entropy": comparisons,
        "share from the sum of squares": sparsity_comparisons(
            results, functools.partial(per_run.final_attention, name="attention_participation")
        ),
        "share from the entropy, relative to that at step 0": sparsity_comparisons(
            results, learned
        ),
    }
    return Verdict(
        15,
        "Orthonormal covariates lead to sparser attention scores of linear and softmax attention.",
        verdict_of_comparisons(comparisons),
        "Effective share of context tokens with the query's attention, for orthonormal covariates "
        "over Gaussian ones and over ones on the sphere, geometric mean over seeds and evaluation "
        f"batches: {in_words(comparisons)}.",
        "The share is exp(entropy) / n of absolute scores, normalised, as the median of a run's "
        "last 20 measurements. One layer, d = 5, n = 20, 2,000 steps; softmax's scores may become "
        "sparser with more steps. Where Q has become a multiple of the identity, tokens orthogonal "
        "to the query have no score: the same Q makes scores sparser for orthonormal covariates "
        "than for others. The size depends on d.",
        ("attention-scores",),
        by_choice(choices),
    )


def _correlation(label: str, interval: Interval, unit: str = "settings") -> Comparison:
    return Comparison(label, interval, 0.0, unit=unit)


def _growth(results: Results, smoothness: Callable[[xr.Dataset], xr.DataArray]) -> list[Comparison]:
    """The smoothness grows with the gradient norm: one comparison for each setting."""
    return [
        mean_comparison(
            name,
            per_run.rank_correlations(dataset.assign(chosen=smoothness(dataset)), "adam", "chosen"),
        )
        for name, dataset in results.items()
    ]


def _second_half(dataset: xr.Dataset) -> xr.Dataset:
    return dataset.isel(step=slice(dataset.sizes["step"] // 2, None))


def _largest_eigenvalue(dataset: xr.Dataset) -> xr.DataArray:
    return dataset["hessian_eigenvalues"].max("eigenvalue", skipna=False)
