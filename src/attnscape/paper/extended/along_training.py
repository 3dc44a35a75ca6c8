"""How the loss landscape changes along training with SGDM and Adam, by measures beyond the paper's.

Blocks of the Hessian and their smoothness, its Gauss-Newton part, its top eigenvectors, and the
curvature of single batches; the definitions and their sources are in `attnscape.measures`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy.optimize import nnls

from attnscape.experiments.artifact import Analysis, Artifact, Results
from attnscape.experiments.captions import ends
from attnscape.experiments.experiment import Experiment
from attnscape.experiments.paths import eigenvector_overlap
from attnscape.experiments.runs import of_optimizer
from attnscape.experiments.setting import Plan
from attnscape.measures import (
    BatchSharpness,
    BlockHeterogeneity,
    BlockSmoothness,
    GaussNewton,
    TopEigenvectors,
    every,
)
from attnscape.paper.extended.base import WithoutOwnParts, first_seeds, shortened
from attnscape.paper.settings import SETTING_1, SETTING_3
from attnscape.statistics import Interval, median

HETEROGENEITY, GAUSS_NEWTON, OVERLAP = "heterogeneity", "gauss_newton_share", "overlap"
LOCALISATION, SHARPNESS = "localisation", "batch_sharpness"
QUANTITIES: Mapping[str, str] = {
    HETEROGENEITY: "Jensen-Shannon distance of blocks",
    GAUSS_NEWTON: "Gauss-Newton share of the sharpness",
    OVERLAP: "overlap with the top eigenvectors before",
    LOCALISATION: "inverse participation ratio",
    SHARPNESS: "batch sharpness",
}
_SEEDS, _STEPS = 6, 2_000
_MEASURED = 16  # times along a run, after its start
_BATCHES = 20  # of the batch sharpness


@dataclasses.dataclass(frozen=True)
class AlongAnalysis(Analysis):
    """Numbers along training.

    Attributes:
        stages: The median over seeds of each of `QUANTITIES`, by setting, optimizer, quantity and
            step: of the first measurement, one in the middle and the last.
        slopes: L1 of each block, median over seeds, by setting, optimizer and block.
        rates: Learning rates, by setting and optimizer.
        random: The inverse participation ratio of a random direction, by setting.
    """

    stages: Mapping[tuple[str, str, str, int], Interval]
    slopes: Mapping[tuple[str, str, str], Interval]
    rates: Mapping[tuple[str, str], float]
    random: Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class AlongTraining(WithoutOwnParts, Artifact[AlongAnalysis]):
    """Six panels for each setting."""

    about = "is about the paper's settings"

    def experiments(self, plan: Plan) -> Mapping[str, Experiment]:
        found = {}
        for setting in self.settings:
            steps = max(2, shortened(_STEPS, setting, plan))
            when = every(max(1, steps // _MEASURED))
            found[setting.name] = setting.experiment(
                plan,
                name=f"{setting.name}-along-training",
                seeds=first_seeds(_SEEDS, plan),
                steps=steps,
                measures=(
                    BlockHeterogeneity(when, evaluations=1),
                    GaussNewton(when, evaluations=1),
                    TopEigenvectors(when, evaluations=1),
                    BatchSharpness(when, samples=_BATCHES, batch=setting.batch),
                    BlockSmoothness(when, evaluations=1),
                ),
                evaluation_seeds=(0,),
            )
        return found

    def analyse(self, results: Results) -> AlongAnalysis:
        """The frame has one row for each run, measured step and quantity.

        The columns are setting, optimizer, learning_rate, seed, step, quantity and value (NaN once
        a run has diverged). The quantities are `QUANTITIES`.
        """
        frames, slopes, rates = [], {}, {}
        for setting, dataset in results.items():
            for name in dataset["optimizer"].values:
                runs = of_optimizer(dataset, str(name)).isel(evaluation=0, drop=True)
                rates[setting, str(name)] = float(runs["learning_rate"])
                frame = _quantities(runs).to_dataframe()[list(QUANTITIES)].reset_index()
                frame = frame.melt(["seed", "step"], var_name="quantity").assign(
                    setting=setting, optimizer=name, learning_rate=float(runs["learning_rate"])
                )
                frames.append(frame)
                for block, values in _slopes(runs).items():
                    slopes[setting, str(name), block] = median(values)
        columns = ["setting", "optimizer", "learning_rate", "seed", "step", "quantity", "value"]
        frame = pd.concat(frames, ignore_index=True)[columns]
        random = {s: 3 / (d.sizes["parameter"] + 2) for s, d in results.items()}
        return AlongAnalysis(results, frame, _stages(frame), slopes, rates, random)

    def comparison(self, analysis: AlongAnalysis) -> pd.DataFrame:
        """The columns are setting, optimizer, quantity, ours, low, high (95 % interval), seeds."""
        rows = [
            (setting, optimizer, f"{QUANTITIES[quantity]}, step {step:,}", r)
            for (setting, optimizer, quantity, step), r in analysis.stages.items()
        ]
        rows += [
            (setting, optimizer, f"L1 of block {block}", r)
            for (setting, optimizer, block), r in analysis.slopes.items()
        ]
        columns = ["setting", "optimizer", "quantity", "ours", "low", "high", "seeds"]
        numbers = [(*words, r.estimate, r.low, r.high, r.n) for *words, r in rows]
        return pd.DataFrame(numbers, columns=columns)

    def tables(self, analysis: AlongAnalysis, plan: Plan) -> Mapping[str, pd.DataFrame]:
        """Medians with intervals at the start, in the middle and at the end."""
        rows: dict[tuple[str, str, str], dict[str, Any]] = {}
        for (setting, optimizer, quantity, step), r in analysis.stages.items():
            row = rows.setdefault((setting, optimizer, QUANTITIES[quantity]), {})
            row[f"step {step:,}"] = f"{r.estimate:.3g} [{r.low:.3g}, {r.high:.3g}]"
        frame = pd.DataFrame.from_dict(rows, orient="index")
        frame.index = pd.MultiIndex.from_tuples(rows, names=["setting", "optimizer", "quantity"])
        sentence = "Median over seeds [95 % interval] at the start, in the middle and at the end"
        return {sentence: frame.reset_index()}

    def caption(self, analysis: AlongAnalysis, plan: Plan) -> str:
        last = int(analysis.frame["step"].max())
        first = "; ".join(
            f"{setting.name} {optimizer} "
            + ", ".join(
                f"{words} {ends(analysis.stages[setting.name, optimizer, quantity, last])}"
                for quantity, words in QUANTITIES.items()
            )
            for setting in self.settings
            for optimizer in ("sgdm", "adam")
        )
        details = [
            "Lines: median over seeds; bands: from smallest to largest. Brackets: exact intervals "
            "of the median over seeds at 95 % or a little more, for new seeds, given the one fixed "
            "batch of 1000 prompts on which all but the batch sharpness is measured, and, for the "
            f"batch sharpness, including the chance in its {_BATCHES} fresh batches.",
            "Jensen-Shannon distance: mean over pairs of blocks (P and Q of each layer) between "
            "the spectra of the Hessian's diagonal blocks on an axis of decades; 0 if they are "
            "equal, at most 1. Gauss-Newton share: u^T G u over the Hessian's largest eigenvalue, "
            "u its eigenvector, G the Gauss-Newton part; it is above 1 where the residual part is "
            "negative along u. Overlap: of the subspace of the three top eigenvectors with that at "
            "the measured step before; 1 if it stays, 3/p for random ones. Inverse participation "
            "ratio of the top eigenvector: 1 if it is one parameter; dotted: that of a random "
            "direction. Batch sharpness: mean of g_B^T H_B g_B / |g_B|^2 over fresh batches B; "
            "dotted: 2 / eta at the learning rate eta of the same colour, up to which plain SGD is "
            "said to raise it. That is no threshold for SGDM (with momentum 0.9 and a full batch "
            "it is 3.8 / eta), whose gradients are clipped, and none for Adam, which divides them. "
            "Where single prompts dominate a batch, as in Setting 3, its mean rests on a few "
            "batches.",
            "Bars: (L0, L1)-smoothness of each block in the Euclidean norm: L1 of the line L0 + L1 "
            "|g|, L0 and L1 >= 0, through the largest absolute eigenvalue of the block's Hessian "
            "against its gradient norm |g| by least squares in each run; median over seeds, "
            "95 % interval. P of the last layer has no gradient. The runs' steps are not "
            "independent, and a run is one path, so this is a description of paths and no bound.",
            "The gradient noise scale is left out: late in training a few prompts decide it, and "
            "no number of samples that is affordable settles it.",
            self.how_run(analysis.results, plan),
        ]
        return f"At step {last:,}: {first}.\n\n{' '.join(filter(None, details))}"


def _quantities(runs: xr.Dataset) -> xr.Dataset:
    """`QUANTITIES` by seed and step."""
    along = runs["curvature_along_sharpest"]
    whole = runs["curvature_largest_eigenvalue"].sel(curvature_part="hessian", drop=True)
    share = along.sel(curvature_part="gauss_newton", drop=True) / whole
    overlap = eigenvector_overlap(runs["top_eigenvectors"]).reindex(step=runs["step"])
    return xr.Dataset(
        {
            HETEROGENEITY: runs["block_heterogeneity"],
            GAUSS_NEWTON: share,
            OVERLAP: overlap,
            LOCALISATION: runs["inverse_participation_ratio"].sel(eigenvector=0, drop=True),
            SHARPNESS: runs["batch_sharpness"],
        }
    ).drop_vars(["optimizer", "learning_rate"])


def _slopes(runs: xr.Dataset) -> Mapping[str, np.ndarray]:
    """L1 of each block with a gradient, by seed, in the Euclidean norm; NaN if a run diverged."""
    measured = runs[["block_smoothness_bound", "block_gradient_norm"]].sel(geometry="l2")
    found = {}
    for block in measured["block"].values:
        table = measured.sel(block=block).transpose("seed", "step")
        norms, bounds = (
            table[each].values for each in ("block_gradient_norm", "block_smoothness_bound")
        )
        if np.nanmax(norms, initial=0.0) > 0:
            found[str(block)] = np.array([_slope(*run) for run in zip(norms, bounds, strict=True)])
    return found


def _slope(norms: np.ndarray, bounds: np.ndarray) -> float:
    """L1 of the least-squares line L0 + L1 |g| with L0, L1 >= 0."""
    if not (np.isfinite(norms).all() and np.isfinite(bounds).all()):
        return np.nan
    return float(nnls(np.stack([np.ones_like(norms), norms], axis=1), bounds)[0][1])


def _stages(frame: pd.DataFrame) -> dict[tuple[str, str, str, int], Interval]:
    """Medians at the first measurement, the middle one and the last."""
    found = {}
    keys = ["setting", "optimizer", "quantity"]
    for (setting, optimizer, quantity), rows in frame.groupby(keys, sort=False):
        steps = sorted(rows["step"].unique())
        if quantity == OVERLAP:  # there is nothing before the first step
            steps = steps[1:]
        for step in (steps[0], steps[len(steps) // 2], steps[-1]):
            values = rows.loc[rows["step"] == step, "value"].to_numpy()
            found[str(setting), str(optimizer), str(quantity), int(step)] = median(values)
    return found


ALONG_TRAINING = AlongTraining(
    "landscape-along-training",
    "The loss landscape along training: blocks, eigenvectors, Gauss-Newton part, single batches",
    "Adam and SGD visit different regions of the landscape; spectra of blocks differ where Adam "
    "wins (Zhang et al., 2024, arXiv 2402.16788).",
    (SETTING_1, SETTING_3),
)
