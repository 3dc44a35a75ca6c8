"""Smoothness against the gradient norm of an LSTM (left of Fig. 16)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import pandas as pd
import xarray as xr

from attnscape.experiments.artifact import Analysis, Results
from attnscape.experiments.captions import ends
from attnscape.experiments.computation import Computation
from attnscape.experiments.network_tuning import RateSearch
from attnscape.experiments.setting import Plan
from attnscape.optimizers import NAMED
from attnscape.paper.networks import jobs
from attnscape.paper.networks.base import NetworkArtifact, rates
from attnscape.paper.networks.jobs import RunKey
from attnscape.paper.networks.landscape import growth_slopes, smoothness_frame
from attnscape.statistics import Interval, SmoothnessFit, fit_smoothness, mean_interval

_POINTS = 200
_CLIP = 0.25
_KEY = "ptb-lstm, clipped"
_MEASURES = {
    "directional": "directional_smoothness",
    "gradient difference": "gradient_difference_smoothness",
}


@dataclasses.dataclass(frozen=True)
class NetworkGrowth(Analysis):
    """Points (gradient norm, smoothness), and the fits to them.

    Attributes:
        made: The runs.
        fits: The lines through the points of the first seed, by the kind of smoothness.
        slopes: Log-log slope, mean over seeds, by the kind of smoothness.
    """

    made: Mapping[str, xr.Dataset]
    fits: Mapping[str, SmoothnessFit]
    slopes: Mapping[str, Interval]


@dataclasses.dataclass(frozen=True)
class NetworkSmoothness(NetworkArtifact[NetworkGrowth]):
    """Smoothness against gradient norm along SGD with clipping, measured in two ways."""

    def searches(self, plan: Plan) -> Mapping[str, RateSearch]:
        if not jobs.must_search(_KEY, plan):
            return {}
        (network,) = jobs.available(self.workloads, plan).values()
        return {_KEY: jobs.rate_search(network, {"sgd": NAMED["sgd"]}, clip=_CLIP)}

    def experiments(self, plan: Plan) -> Mapping[str, Computation]:
        from attnscape.networks import Schedules

        ((name, network),) = jobs.available(self.workloads, plan).items()
        rate = jobs.rates_of(_KEY, plan)["sgd"]
        schedules = Schedules(loss=network.every(), smoothness=network.every(_POINTS))
        return {
            str(RunKey(name, "sgd", seed)): network.run(
                "sgd", NAMED["sgd"], rate, seed, schedules, clip=_CLIP
            )
            for seed in jobs.seeds_of(plan)
        }

    def analyse(self, results: Results) -> NetworkGrowth:
        """The frame has one row for each seed and measured step.

        The columns are workload, data, seed, step, evaluation_gradient_norm,
        directional_smoothness and gradient_difference_smoothness.
        """
        made = jobs.by_workload(results)
        ((name, dataset),) = made.items()
        frame = smoothness_frame(dataset, "sgd")
        frame.insert(0, "workload", name)
        frame.insert(1, "data", dataset.attrs["data"])
        first = frame[frame["seed"] == frame["seed"].min()]
        norm = first["evaluation_gradient_norm"].to_numpy()
        fits = {kind: fit_smoothness(norm, first[c].to_numpy()) for kind, c in _MEASURES.items()}
        slopes = {
            kind: mean_interval(
                growth_slopes(
                    frame.assign(directional_smoothness=frame[column]), dataset["seed"].values
                )
            )
            for kind, column in _MEASURES.items()
        }
        return NetworkGrowth(results, frame, made, fits, slopes)

    def comparison(self, analysis: NetworkGrowth) -> pd.DataFrame:
        rows = []
        for kind, fit in analysis.fits.items():
            for quantity, each in (
                ("L0, least squares", fit.least_squares.L0),
                ("L1, least squares", fit.least_squares.L1),
                ("log-log slope, mean over seeds", analysis.slopes[kind]),
            ):
                rows.append((kind, quantity, each.estimate, each.low, each.high))
        return pd.DataFrame(rows, columns=["smoothness", "quantity", "ours", "low", "high"])

    def caption(self, analysis: NetworkGrowth, plan: Plan) -> str:
        (dataset,) = analysis.made.values()
        first = (
            f"Smoothness against the gradient norm along SGD on the {dataset.attrs['title']}, "
            f"natural logarithms: of one run, {dataset.attrs['data']}."
        )
        slopes = "; ".join(f"{kind} {ends(slope)}" for kind, slope in analysis.slopes.items())
        details = (
            "Directional smoothness is u^T H u (u: the step at unit length, H: Hessian); "
            "gradient difference is |g(middle of the step) - g(its start)| over half the step's "
            "length, after Zhang et al. (2020a), both on one fixed batch in eval mode (there: on a "
            "tenth of the data). Lines: L0 + L1 |gradient| by least squares. Log-log slope, mean "
            f"over {dataset.sizes['seed']} seeds with its 95 % interval: {slopes}. Gradients are "
            f"clipped at {_CLIP:g}. Size `{plan.network_size}`, data `{plan.data}`, "
            f"{int(dataset['step'][-1]):,} steps of {dataset.attrs['batch']}. "
            f"{rates(analysis.made)}"
        )
        return f"{first}\n\n{details}"


FIG16_LEFT = NetworkSmoothness(
    "fig16-left",
    "Smoothness against the gradient norm of an LSTM (Fig. 16, left)",
    "Smoothness grows with the gradient norm.",
    workloads=("ptb-lstm",),
)
