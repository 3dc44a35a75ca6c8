"""Gradient noise at initialisation (Fig. 3, 10, 13), compared with noise without heavy tails.

The paper infers heavy tails from a normal q-q plot of the noise's norms. A norm is right-skewed
even for Gaussian noise, so the norms are also compared with the norm of a Gaussian vector that has
the sampled covariance.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr

from attnscape.errors import UsageError
from attnscape.experiments.artifact import Analysis, Artifact, Results
from attnscape.experiments.captions import ends, initial_model
from attnscape.experiments.experiment import Experiment
from attnscape.experiments.setting import Plan
from attnscape.measures import GradientNoise
from attnscape.paper.claims._per_run import FAR_SHARE
from attnscape.paper.settings import DEPTHS, HEAVY_TAILED, MAIN, SETTING_1, SPHERE
from attnscape.statistics import (
    GaussianNorm,
    HillTail,
    Interval,
    TailExcess,
    excess_kurtosis,
    fourth_moment,
    hill,
    no_interval,
    normal_qq,
    plotting_positions,
    tail_excess,
)

_RESAMPLES = 200  # each bootstrap resample of 60,000 norms takes some milliseconds


@dataclasses.dataclass(frozen=True)
class Tails:
    """Tail weight of noise norms, and of Gaussian noise with the same covariance (the reference).

    Attributes:
        kurtosis: Excess kurtosis of the norms.
        gaussian_kurtosis: Excess kurtosis of the reference.
        hill: Hill's index of the norms; smaller means heavier.
        gaussian_hill: Hill's index of the reference, at the same k.
        excess: Norms beyond the reference's 99.9 % quantile.
    """

    kurtosis: Interval
    gaussian_kurtosis: float
    hill: HillTail
    gaussian_hill: float
    excess: TailExcess

    @property
    def _heavy(self) -> bool:
        return bool(np.isnan(self.kurtosis.low))

    def __str__(self) -> str:
        return (
            f"excess kurtosis {ends(self.kurtosis)} (Gaussian norm {self.gaussian_kurtosis:.2g}"
            + ("; not estimable: the tail index is not known to be above 4" * self._heavy)
            + "), "
            f"Hill index {ends(self.hill.alpha)} (Gaussian norm {self.gaussian_hill:.3g}), "
            f"{ends(self.excess.ratio)} times as many norms beyond the Gaussian norm's 99.9 % "
            f"quantile as expected ({self.excess.count} of {self.excess.n:,})"
        )


@dataclasses.dataclass(frozen=True)
class SeedNoise:
    """Noise at the initialisation of one seed, with the seed's covariance and reference.

    Attributes:
        seed: The seed.
        norms: (sample,) norms of the noise.
        gaussian: The norm of a Gaussian vector with the covariance of the noise: the reference.
        quantiles: (sample,) quantiles of the reference at the norms' plotting positions.
    """

    seed: int
    norms: np.ndarray
    gaussian: GaussianNorm
    quantiles: np.ndarray


def noise_of_seeds(noise: xr.Dataset) -> list[SeedNoise]:
    """The noise of each seed of one result.

    Args:
        noise: Result of a `GradientNoise` measurement; its first batch size is used.

    Raises:
        UsageError: If a gradient is not finite.
    """
    of_seeds = []
    runs = noise.isel(optimizer=0, learning_rate=0, step=0, batch_size=0)
    for seed in runs["seed"].values:
        run = runs.sel(seed=seed)
        norms = run["noise_norm"].values
        if not np.isfinite(norms).all():
            raise UsageError(
                f"Gradients of seed {seed} are not finite at initialisation, so there is no noise "
                "to show; choose another distribution or a smaller scale."
            )
        gaussian = GaussianNorm(run["noise_covariance_eigenvalues"].values)
        quantiles = gaussian.quantile(plotting_positions(norms.size))
        of_seeds.append(SeedNoise(int(seed), norms, gaussian, quantiles))
    return of_seeds


def noise_tails(of_seeds: Sequence[SeedNoise]) -> Tails:
    """Tail weight at initialisation, pooled over the seeds of one result.

    Every seed has its own initial model, and so its own covariance and reference. Its norms are
    compared with the quantile of its reference, and divided by the root mean square of its
    reference before they are pooled. The intervals are over samples, for these fixed models.
    """
    norms, references, beyond = [], [], []
    for each in of_seeds:
        unit = np.sqrt(each.gaussian.eigenvalues.sum())
        norms.append(each.norms / unit)
        references.append(each.quantiles / unit)
        beyond.append(each.norms / each.gaussian.quantile(1 - FAR_SHARE))
    pooled, reference = np.concatenate(norms), np.concatenate(references)
    tail = hill(pooled, resamples=_RESAMPLES)
    kurtosis = excess_kurtosis(pooled, resamples=_RESAMPLES)
    if not fourth_moment(pooled).estimable:
        kurtosis = no_interval(kurtosis.estimate, kurtosis.n)
    return Tails(
        kurtosis,
        excess_kurtosis(reference, resamples=2).estimate,
        tail,
        hill(reference, tail.k, resamples=2).alpha.estimate,
        tail_excess(np.concatenate(beyond), 1.0, share=FAR_SHARE),
    )


@dataclasses.dataclass(frozen=True)
class NoiseAnalysis(Analysis):
    """Norms of gradient noise, and their tails.

    Attributes:
        tails: The tails, by setting.
    """

    tails: Mapping[str, Tails]


@dataclasses.dataclass(frozen=True)
class NoiseHistograms(Artifact[NoiseAnalysis]):
    """One panel for each setting: histogram of the gradient noise's norms, with a q-q plot."""

    def experiments(self, plan: Plan) -> Mapping[str, Experiment]:
        return {setting.name: setting.noise_experiment(plan) for setting in self.settings}

    def analyse(self, results: Results) -> NoiseAnalysis:
        """The frame has one row for each stochastic gradient.

        The columns are setting, seed, sample, noise_norm, normal_quantile, gaussian_norm_quantile.
        Within setting and seed, rows are in ascending order of the norm. The two quantiles belong
        to the norm's rank: one of the standard normal distribution, the other of the norm of a
        Gaussian vector with the sampled covariance.
        """
        noise = {name: noise_of_seeds(dataset) for name, dataset in results.items()}
        frames = [
            pd.DataFrame(
                {
                    "setting": name,
                    "seed": each.seed,
                    "sample": np.argsort(each.norms, kind="stable"),
                    "noise_norm": np.sort(each.norms),
                    "normal_quantile": normal_qq(each.norms).theoretical,
                    "gaussian_norm_quantile": each.quantiles,
                }
            )
            for name, of_seeds in noise.items()
            for each in of_seeds
        ]
        tails = {name: noise_tails(of_seeds) for name, of_seeds in noise.items()}
        return NoiseAnalysis(results, pd.concat(frames, ignore_index=True), tails)

    def comparison(self, analysis: NoiseAnalysis) -> pd.DataFrame:
        """Tail statistics of each setting and of Gaussian noise.

        The columns are setting, quantity, ours, low, high (ends of the 95 % interval) and gaussian.
        """
        rows = []
        for name, tails in analysis.tails.items():
            for quantity, ours, gaussian in (
                ("excess kurtosis", tails.kurtosis, tails.gaussian_kurtosis),
                (f"Hill index, k = {tails.hill.k}", tails.hill.alpha, tails.gaussian_hill),
                ("norms beyond the 99.9 % quantile over expected", tails.excess.ratio, 1.0),
            ):
                rows.append((name, quantity, ours.estimate, ours.low, ours.high, gaussian))
        return pd.DataFrame(
            rows, columns=["setting", "quantity", "ours", "low", "high", "gaussian"]
        )

    def sentence(self, analysis: NoiseAnalysis) -> str:
        """One sentence on what is drawn."""
        dataset = next(iter(analysis.results.values()))
        return (
            f"Norms of {dataset.sizes['sample']:,} samples of the gradient noise |g_B - g| at "
            "initialisation (histogram), beside the norm of Gaussian noise with the same "
            "covariance (dashed) and a normal distribution (dotted)."
        )

    def shown(self, analysis: NoiseAnalysis) -> str:
        """Details of what is drawn, and the tails in numbers."""
        dataset = next(iter(analysis.results.values()))
        samples, seeds = dataset.sizes["sample"], dataset.sizes["seed"]
        batch = int(dataset["batch_size"][0])
        paper = GradientNoise.samples
        fewer = f" (fewer than the paper's {paper:,})" if samples < paper else ""
        statistics = "; ".join(
            f"{setting.title.partition(':')[0]}: {analysis.tails[setting.name]}"
            for setting in self.settings
        )
        return " ".join(
            [
                f"{samples:,} stochastic gradients{fewer} over all parameters, each of {batch} "
                f"fresh prompts, against a reference gradient of {GradientNoise.reference:,} "
                "prompts. Histogram: 100 bins, density, of seed 0. Dashed line: density of the "
                "norm of a Gaussian vector with the sampled covariance (all parameters), which is "
                "right-skewed without any heavy tail. Dotted line: normal distribution with mean "
                "and standard deviation of the norms. Inset: q-q plot of the norms (vertical) "
                "against both distributions, at the plotting positions of "
                "scipy.stats.probplot; points on the grey diagonal follow their distribution.",
                f"Tails, {seeds} seeds pooled, each in units of its own reference, with 95 % "
                f"intervals over samples, given these {seeds} initial models: {statistics}.",
            ]
        )

    def caption(self, analysis: NoiseAnalysis, plan: Plan) -> str:
        recipe = f"{initial_model(plan, self.settings)}."
        details = " ".join([self.shown(analysis), recipe, self.remark]).strip()
        return f"{self.sentence(analysis)}\n\n{details}"


FIG3 = NoiseHistograms(
    "fig3",
    "Gradient noise at initialisation (Fig. 3, right half)",
    "The stochastic gradient noise is heavy-tailed in all three settings.",
    MAIN,
)
FIG10 = NoiseHistograms(
    "fig10",
    "Gradient noise for covariates with light and heavy tails (Fig. 10)",
    "Heavier-tailed covariates make the gradient noise heavier-tailed.",
    (SPHERE, SETTING_1, HEAVY_TAILED),
    "E|x|^2 is 1 for spherical and heavy-tailed covariates and 5 for Gaussian ones: compare "
    "shapes, not scales.",
)
FIG13 = NoiseHistograms(
    "fig13",
    "Gradient noise for different numbers of layers (Fig. 13)",
    "The gradient noise is more heavy-tailed for L = 6 and 8 than for L = 2 and 4.",
    DEPTHS,
)
