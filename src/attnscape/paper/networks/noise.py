"""Gradient noise of real networks at initialisation (left half of Fig. 3, Fig. 6).

The reference without heavy tails is the norm of a Gaussian vector whose covariance has the same
trace and the same sum of squared eigenvalues. Networks have many more parameters than there are
samples, so the eigenvalues themselves cannot be estimated, but these two numbers can.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr

from attnscape.errors import UsageError
from attnscape.experiments.artifact import Analysis, Results
from attnscape.experiments.captions import ends
from attnscape.experiments.computation import Computation
from attnscape.experiments.network_tuning import RateSearch
from attnscape.experiments.setting import Plan
from attnscape.paper.networks import jobs
from attnscape.paper.networks.base import NetworkArtifact
from attnscape.statistics import (
    Interval,
    ScaledChi,
    excess_kurtosis,
    fourth_moment,
    mean_interval,
    no_interval,
    normal_qq,
    plotting_positions,
)

FAR = 0.99  # the quantile whose excess over the reference is a statistic of similarity
_RESAMPLES = 200


@dataclasses.dataclass(frozen=True)
class NetworkTails:
    """How heavy the tail of the noise's norm is, beside the reference.

    Attributes:
        kurtosis: Excess kurtosis of the norms, pooled over seeds in units of each seed's reference.
        far: log10 of the norms' 99 % quantile over the reference's: mean over seeds.
        samples: Norms of each seed.
    """

    kurtosis: Interval
    far: Interval
    samples: int


@dataclasses.dataclass(frozen=True)
class NetworkNoiseAnalysis(Analysis):
    """Norms of gradient noise, and their tails.

    Attributes:
        made: The noise of each workload.
        tails: The tails, by workload and convention.
    """

    made: Mapping[str, xr.Dataset]
    tails: Mapping[tuple[str, str], NetworkTails]


def reference(trace: float, trace_of_square: float) -> ScaledChi:
    """The norm of a Gaussian vector with this trace, and trace of the square, of its covariance."""
    return ScaledChi(scale=trace_of_square / trace, degrees=trace**2 / trace_of_square)


def far_excess(norms: np.ndarray, gaussian: ScaledChi) -> float:
    """log10 of the norms' 99 % quantile over the reference's; 0 without a heavy tail."""
    return float(np.log10(np.quantile(norms, FAR) / gaussian.quantile(FAR)))


@dataclasses.dataclass(frozen=True)
class NetworkNoiseHistograms(NetworkArtifact[NetworkNoiseAnalysis]):
    """One panel for each workload: a histogram of the noise's norms, with a q-q plot."""

    def searches(self, plan: Plan) -> Mapping[str, RateSearch]:
        return {}  # there are no steps

    def experiments(self, plan: Plan) -> Mapping[str, Computation]:
        networks = jobs.available(self.workloads, plan)
        return {name: each.noise(jobs.seeds_of(plan)) for name, each in networks.items()}

    def analyse(self, results: Results) -> NetworkNoiseAnalysis:
        """The frame has one row for each stochastic gradient.

        The columns are workload, data, convention (`fresh`: batches drawn anew; `one-pass`: the
        batches of one pass, whose mean is the full gradient, or, as it says then, the first ones),
        seed, noise_norm, normal_quantile, gaussian_norm_quantile; norms ascend within a seed. The
        quantiles belong to the norm's rank.
        """
        frames, tails = [], {}
        for name, dataset in results.items():
            for convention in ("fresh", "one-pass"):
                each = _of_seeds(dataset, convention)
                label = _label(dataset, convention)
                data = dataset.attrs["data"]
                frames.append(each.assign(workload=name, data=data, convention=label))
                tails[name, label] = _tails(each)
        columns = ["workload", "data", "convention", "seed", "noise_norm", "normal_quantile"]
        columns += ["gaussian_norm_quantile"]
        frame = pd.concat(frames, ignore_index=True)[columns]
        return NetworkNoiseAnalysis(results, frame, results, tails)

    def comparison(self, analysis: NetworkNoiseAnalysis) -> pd.DataFrame:
        rows = []
        for (name, convention), tails in analysis.tails.items():
            network = analysis.made[name].attrs["title"]
            for quantity, value in (
                ("excess kurtosis of the norms", tails.kurtosis),
                ("log10 of the 99 % quantile over the Gaussian norm's", tails.far),
            ):
                numbers = (value.estimate, value.low, value.high, tails.samples)
                rows.append((network, convention, quantity, *numbers))
        columns = ["network", "batches", "quantity", "ours", "low", "high", "samples"]
        return pd.DataFrame(rows, columns=columns)

    def caption(self, analysis: NetworkNoiseAnalysis, plan: Plan) -> str:
        names = ", ".join(each.attrs["title"] for each in analysis.made.values())
        first = (
            f"Norms of the gradient noise |g_B - g| of {names} at initialisation (histogram), "
            "beside the norm of Gaussian noise with the same spread (dashed) and a normal "
            "distribution (dotted)."
        )
        words = "; ".join(
            f"{analysis.made[name].attrs['title']}, {convention}: excess kurtosis "
            f"{ends(tails.kurtosis)}, log10 excess of the 99 % quantile {ends(tails.far)}, "
            f"{tails.samples} samples a seed"
            for (name, convention), tails in analysis.tails.items()
        )
        details = (
            "Shown: batches drawn anew, first seed. The full gradient is the mean of the batches "
            f"of one pass{self._of_first_batches(analysis)}. Networks are in train mode, with "
            "dropout. Gaussian noise: the same trace of the covariance and the same, unbiased, sum "
            "of squared eigenvalues, so its upper tail is somewhat too light if they differ. "
            "Intervals (95 %): kurtosis over samples, for these models; excess of the quantile "
            "over seeds. "
            f"Size `{plan.network_size}`, data `{plan.data}`. {words}."
        )
        return f"{first}\n\n{details} {self.left_out(analysis.made)}".strip()

    def _of_first_batches(self, analysis: NetworkNoiseAnalysis) -> str:
        """For which networks only the first batches of the pass were used; empty if for none."""
        parts = [
            f"; for {each.attrs['title']}, whose gradients take long, of the {used}, which makes "
            "fresh norms slightly larger"
            for each in analysis.made.values()
            if (used := each.attrs.get("used_of_pass"))
        ]
        return "".join(parts)


def seed_norms(dataset: xr.Dataset, convention: str) -> dict[int, tuple[np.ndarray, ScaledChi]]:
    """The norms of each seed, and their reference.

    Raises:
        UsageError: If a gradient is not finite.
    """
    found = {}
    chosen = dataset.sel(convention=convention)
    norms = "noise_norm" if convention == "one-pass" else "fresh_noise_norm"
    for seed in chosen["seed"].values:
        run = chosen.sel(seed=seed)
        values = run[norms].values
        if not np.isfinite(values).all():
            raise UsageError(f"Gradients of seed {seed} are not finite at initialisation.")
        gaussian = reference(float(run["noise_trace"]), float(run["noise_trace_of_square"]))
        found[int(seed)] = values, gaussian
    return found


def _label(dataset: xr.Dataset, convention: str) -> str:
    """The convention, and which batches of the pass were used if not all."""
    used = dataset.attrs.get("used_of_pass", "") if convention == "one-pass" else ""
    return f"{convention}, {used}" if used else convention


def _of_seeds(dataset: xr.Dataset, convention: str) -> pd.DataFrame:
    frames = []
    for seed, (norms, gaussian) in seed_norms(dataset, convention).items():
        frames.append(
            pd.DataFrame(
                {
                    "seed": seed,
                    "noise_norm": np.sort(norms),
                    "normal_quantile": normal_qq(norms).theoretical,
                    "gaussian_norm_quantile": gaussian.quantile(plotting_positions(norms.size)),
                    "unit": np.sqrt(gaussian.scale * gaussian.degrees),
                    "far": far_excess(norms, gaussian),
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def _tails(frame: pd.DataFrame) -> NetworkTails:
    pooled = (frame["noise_norm"] / frame["unit"]).to_numpy()
    kurtosis = excess_kurtosis(pooled, resamples=_RESAMPLES)
    if not fourth_moment(pooled).estimable:
        kurtosis = no_interval(kurtosis.estimate, kurtosis.n)
    of_seeds = frame.groupby("seed")
    samples = int(of_seeds.size().iloc[0])
    return NetworkTails(kurtosis, mean_interval(of_seeds["far"].first().to_numpy()), samples)


_HEAVY = "The stochastic gradient noise is heavy-tailed for Transformer optimization."
FIG3_LEFT = NetworkNoiseHistograms(
    "fig3-left",
    "Gradient noise of Transformers at initialisation (Fig. 3, left half)",
    _HEAVY,
    workloads=("ptb-transformer", "wikitext2-transformerxl", "squad-distilbert"),
)
FIG6 = NetworkNoiseHistograms(
    "fig6",
    "Gradient noise of convolutional networks and Transformers (Fig. 6)",
    "The heavy-tailed stochastic gradient noise is more pronounced for Transformers than for "
    "convolutional networks.",
    workloads=("mnist-lenet5", "cifar10-resnet18", "ptb-transformer", "squad-distilbert"),
)
