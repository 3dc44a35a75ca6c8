"""Gradient noise at initialisation (Fig. 3, 10, 13), held against noise without heavy tails.

The paper reads a heavy tail off a normal q-q plot of the noise's norms. A norm is right-skewed even
for Gaussian noise, so the norm of a Gaussian vector with the sampled covariance stands beside it.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
import xarray as xr

from attnscape.errors import UsageError
from attnscape.estimators import (
    GaussianNorm,
    HillTail,
    Interval,
    TailExcess,
    excess_kurtosis,
    fourth_moment,
    hill,
    normal_qq,
    plotting_positions,
    tail_excess,
)
from attnscape.estimators.intervals import no_interval
from attnscape.experiment import Experiment
from attnscape.measures import GradientNoise
from attnscape.paper.artifact import Artifact, Results, ends, initial_model
from attnscape.paper.settings import DEPTHS, HEAVY_TAILED, MAIN, SETTING_1, SPHERE, Plan

FAR_SHARE = 0.001  # of the reference, beyond the quantile that counts as far
_RESAMPLES = 200  # of the bootstrap: each of 60,000 norms costs some milliseconds


@dataclasses.dataclass(frozen=True)
class Tails:
    """Tail weight of noise norms, beside that of Gaussian noise with the same covariance.

    Attributes:
        kurtosis: Excess kurtosis of the norms.
        gaussian_kurtosis: That of the reference.
        hill: Hill's index of the norms: the smaller, the heavier.
        gaussian_hill: That of the reference, at the same k.
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


def noise_tails(noise: xr.Dataset) -> Tails:
    """Tail weight at initialisation, pooled over the seeds of one result.

    Every seed has its own initial model, hence its own covariance: norms are divided by the root
    mean square of its reference before they are pooled, and counted beyond its own quantile. The
    intervals are about samples, given these models.

    Args:
        noise: Result of a `GradientNoise` measurement; its first batch size is taken.
    """
    norms, references, beyond = [], [], []
    for _, sample, eigenvalues in _of_seeds(noise):
        law = GaussianNorm(eigenvalues)
        unit = np.sqrt(law.eigenvalues.sum())
        norms.append(sample / unit)
        references.append(_gaussian_norms(sample.size, eigenvalues) / unit)
        beyond.append(sample / law.quantile(1 - FAR_SHARE))
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
class NoiseHistograms(Artifact):
    """A panel a setting: histogram of the norms of gradient noise, with a q-q plot."""

    def experiments(self, plan: Plan) -> Mapping[str, Experiment]:
        return {setting.name: setting.noise_experiment(plan) for setting in self.settings}

    def frame(self, results: Results) -> pd.DataFrame:
        """The columns setting, seed, sample, noise_norm, normal_quantile, gaussian_norm_quantile.

        A row a stochastic gradient, in ascending order of the norm within setting and seed. The
        quantiles are those of the standard normal law, and of the norm of a Gaussian vector with
        the sampled covariance, at the norm's rank.
        """
        frames = []
        for name, dataset in results.items():
            for seed, norms, eigenvalues in _of_seeds(dataset):
                frames.append(
                    pd.DataFrame(
                        {
                            "setting": name,
                            "seed": seed,
                            "sample": np.argsort(norms, kind="stable"),
                            "noise_norm": np.sort(norms),
                            "normal_quantile": normal_qq(norms).theoretical,
                            "gaussian_norm_quantile": _gaussian_norms(norms.size, eigenvalues),
                        }
                    )
                )
        return pd.concat(frames, ignore_index=True)

    def comparison(self, results: Results) -> pd.DataFrame:
        """Tail statistics of each setting beside those of Gaussian noise.

        The columns setting, quantity, ours, low, high (ends of the 95 % interval), gaussian.
        """
        rows = []
        for name, dataset in results.items():
            tails = noise_tails(dataset)
            for quantity, ours, gaussian in (
                ("excess kurtosis", tails.kurtosis, tails.gaussian_kurtosis),
                (f"Hill index, k = {tails.hill.k}", tails.hill.alpha, tails.gaussian_hill),
                ("norms beyond the 99.9 % quantile over expected", tails.excess.ratio, 1.0),
            ):
                rows.append((name, quantity, ours.estimate, ours.low, ours.high, gaussian))
        return pd.DataFrame(
            rows, columns=["setting", "quantity", "ours", "low", "high", "gaussian"]
        )

    def sentence(self, results: Results) -> str:
        """What is drawn, in one sentence."""
        dataset = next(iter(results.values()))
        return (
            f"Norms of {dataset.sizes['sample']:,} samples of the gradient noise |g_B - g| at "
            "initialisation (histogram), beside the norm of Gaussian noise with the same "
            "covariance (dashed) and a normal law (dotted)."
        )

    def shown(self, results: Results) -> str:
        """What is drawn, and the tails in numbers."""
        dataset = next(iter(results.values()))
        samples, seeds = dataset.sizes["sample"], dataset.sizes["seed"]
        batch = int(dataset["batch_size"][0])
        paper = GradientNoise.samples
        fewer = f" (fewer than the paper's {paper:,})" if samples < paper else ""
        statistics = "; ".join(
            f"{setting.title.partition(':')[0]}: {noise_tails(results[setting.name])}"
            for setting in self.settings
        )
        return " ".join(
            [
                f"{samples:,} stochastic gradients{fewer} over all parameters, each of {batch} "
                f"fresh prompts, against a reference gradient of {GradientNoise.reference:,} "
                "prompts. Histogram: 100 bins, density, of seed 0. Dashed line: density of the "
                "norm of a Gaussian vector with the sampled covariance (all parameters), which is "
                "right-skewed without any heavy tail. Dotted line: normal law with mean and "
                "standard deviation of the norms. Inset: q-q plot of the norms (vertical) against "
                "both laws, at the plotting positions of "
                "scipy.stats.probplot; points on the grey diagonal follow their law.",
                f"Tails, {seeds} seeds pooled, each in units of its own reference, with 95 % "
                f"intervals over samples, given these {seeds} initial models: {statistics}.",
            ]
        )

    def caption(self, results: Results, plan: Plan) -> str:
        recipe = f"{initial_model(plan, self.settings)}."
        details = " ".join([self.shown(results), recipe, self.remark]).strip()
        return f"{self.sentence(results)}\n\n{details}"


def _gaussian_norms(size: int, eigenvalues: np.ndarray) -> np.ndarray:
    """Quantiles of the norm of a Gaussian vector at the plotting positions of `size` draws."""
    return _quantiles(size, eigenvalues.astype(np.float64).tobytes())


@functools.lru_cache(maxsize=64)
def _quantiles(size: int, eigenvalues: bytes) -> np.ndarray:
    """Kept, as table, statistics and caption ask for the same and it takes a third of a second."""
    return GaussianNorm(np.frombuffer(eigenvalues)).quantile(plotting_positions(size))


def _of_seeds(noise: xr.Dataset) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Of each seed: the seed, its norms, the eigenvalues of its noise covariance."""
    runs = noise.isel(optimizer=0, learning_rate=0, step=0, batch_size=0)
    for seed in runs["seed"].values:
        run = runs.sel(seed=seed)
        if not np.isfinite(run["noise_norm"].values).all():
            raise UsageError(
                f"Gradients of seed {seed} are not finite at initialisation, so there is no noise "
                "to show; choose another law or a smaller scale."
            )
        yield int(seed), run["noise_norm"].values, run["noise_covariance_eigenvalues"].values


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
