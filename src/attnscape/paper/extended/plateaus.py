"""One matrix Q against separate query and key matrices: one drop of the loss, or stairs.

Zhang, Singh, Latham and Saxe (2025, "Training dynamics of in-context learning in linear attention",
ICML, arXiv 2501.16265) study gradient flow of one layer of linear attention from a small start.
With key and query merged in one matrix the loss drops once. With separate matrices it stays at a
plateau after each principal component of the covariates that the model has learned.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Array
from scipy.signal import find_peaks, peak_prominences

from attnscape.experiments.artifact import Analysis, Artifact, Results
from attnscape.experiments.captions import diverged_in_words, ends
from attnscape.experiments.experiment import Experiment
from attnscape.experiments.runs import tidy
from attnscape.experiments.setting import Plan, RecipeName, Setting, rates_of
from attnscape.measures import EvaluationLoss, Schedule
from attnscape.models import FactoredLinearTransformer, Form, LinearTransformer
from attnscape.optimizers import NAMED
from attnscape.paper.extended.base import WithoutOwnParts, first_seeds
from attnscape.statistics import Interval, geometric_mean, proportion
from attnscape.tasks import FixedPrompts, Gaussian, RegressionTask
from attnscape.training import Status

MERGED, SEPARATE = "merged", "separate"
EIGENVALUES = (4.0, 2.0, 1.0, 0.5)  # of the covariates' covariance
FULL_BATCH = 2048  # prompts, drawn once for each seed
RATE = 0.001
_CONTEXT = 40
_SCALE = 1e-3  # of initial entries, small enough that plateaus show
_STEPS = 12_000
_SEEDS = 6
_SCHEDULE = Schedule(every=20, log_spaced=200)
# The rule for drops, fixed before any run of this artifact was analysed.
_GRID = 400  # steps, evenly spaced on a log axis
_STEEPEST = 0.2  # smallest slope, -d log(loss) / d log(step), at the peak of a drop
_BETWEEN = 0.5  # a drop ends where the slope is at most this share of its peak


def predicted_losses(eigenvalues: Sequence[float], context: int) -> np.ndarray:
    """Loss after 0, 1, ..., d principal components: Gaussian covariates, weights N(0, I).

    A model that predicts sum_i m_i c_i q_i in the covariance's eigenbasis, with c the cross moment
    of n examples, has the loss sum_i v_i (1 - 2 m_i v_i + m_i^2 E_i), where v_i are the eigenvalues
    and E_i = v_i^2 (1 + 1 / n) + v_i sum_j v_j / n is the second moment of c_i. The best m_i are
    v_i / E_i, and each component that the model has learned lowers the loss by v_i^3 / E_i.

    Args:
        eigenvalues: (d,) eigenvalues of the covariates' covariance, in the order of learning.
        context: n.

    Returns:
        (d + 1,) losses.
    """
    values = np.asarray(eigenvalues, np.float64)
    second = values**2 * (1 + 1 / context) + values * values.sum() / context
    return values.sum() - np.concatenate([[0.0], np.cumsum(values**3 / second)])


def merged(key: Array, **sizes: Any) -> LinearTransformer:
    """`LinearTransformer.init` with what mixes covariates and labels zero, as in the theory.

    The last row of P keeps only its last entry, and Q only its top-left d x d block.
    """
    model = LinearTransformer.init(key, **sizes)
    P = model.P.at[:, -1, :-1].set(0.0)
    Q = model.Q.at[:, -1, :].set(0.0).at[:, :, -1].set(0.0)
    return LinearTransformer(P, Q, model.form)


def separate(key: Array, **sizes: Any) -> FactoredLinearTransformer:
    """`FactoredLinearTransformer.init` with the same entries zero as in `merged`."""
    model = FactoredLinearTransformer.init(key, **sizes)
    P = model.P.at[:, -1, :-1].set(0.0)
    W_Q, W_K = (each.at[:, :, -1].set(0.0) for each in (model.W_Q, model.W_K))
    return FactoredLinearTransformer(P, W_Q, W_K, model.form)


def plateaus(steps: np.ndarray, losses: np.ndarray) -> np.ndarray:
    """Losses at the plateaus of a curve: before, between and after its drops.

    The slope is -d log(loss) / d log(step) on 400 log-spaced steps. A drop is a peak of the slope
    of at least 0.2 on both sides of which the slope falls to at most half of the peak before it
    rises above it. The plateau between two drops is where the slope is smallest; the first one is
    the first loss, and the last one the last loss.

    Args:
        steps: (t,) increasing steps of at least 1.
        losses: (t,) positive losses.

    Returns:
        One loss more than there are drops; none if a loss is not finite.
    """
    if not np.isfinite(losses).all():
        return np.empty(0)
    logs = np.linspace(np.log(steps[0]), np.log(steps[-1]), _GRID)
    curve = np.interp(logs, np.log(steps), np.log(losses))
    slope = -np.gradient(curve, logs)
    # Beyond both ends the curve counts as flat, so that a last drop that is cut off counts too.
    padded = np.pad(slope, 1)
    peaks, _ = find_peaks(padded, height=_STEEPEST)
    prominences, _, _ = peak_prominences(padded, peaks)
    drops = peaks[prominences >= _BETWEEN * padded[peaks]] - 1
    between = [
        lowest
        for low, high in itertools.pairwise(drops)
        for lowest in [low + int(slope[low:high].argmin())]
        # Always so but for peaks of equal height, which are one drop.
        if slope[lowest] <= _BETWEEN * min(slope[low], slope[high])
    ]
    return np.exp(curve[[0, *between, -1]]) if drops.size else np.exp(curve[:1])


@dataclasses.dataclass(frozen=True)
class PlateauAnalysis(Analysis):
    """Drops and plateaus.

    Attributes:
        drops: Number of drops of each seed, by setting and seed; -1 for a diverged run.
        as_predicted: Share of seeds with the predicted number (`merged`: one, `separate`: d).
        predicted: (d + 1,) losses after 0, 1, ..., d components.
        ratios: Loss at the plateau after k components over the predicted one, by setting and k;
            over the seeds with the predicted number of drops.
    """

    drops: Mapping[str, Mapping[int, int]]
    as_predicted: Mapping[str, Interval]
    predicted: np.ndarray
    ratios: Mapping[tuple[str, int], Interval]


@dataclasses.dataclass(frozen=True)
class Plateaus(WithoutOwnParts, Artifact[PlateauAnalysis]):
    """Loss curves of full-batch gradient descent with merged and separate matrices."""

    about = "is about two models on one task"

    def experiments(self, plan: Plan) -> Mapping[str, Experiment]:
        """One experiment for each setting and seed, because every seed has prompts of its own."""
        seeds = first_seeds(_SEEDS, plan)
        return {
            f"{setting.name}|{seed}": _full_batch(setting, plan, seed)
            for setting in self.settings
            for seed in seeds
        }

    def analyse(self, results: Results) -> PlateauAnalysis:
        """The frame has one row for each run and measured step: setting, seed, step, loss."""
        frame = tidy(results, ["loss"])
        frame = frame.assign(setting=frame["setting"].str.partition("|")[0])
        frame = frame[["setting", "seed", "step", "loss"]]
        predicted = predicted_losses(EIGENVALUES, _CONTEXT)
        drops, shares, ratios = {}, {}, {}
        for setting in self.settings:
            runs = frame[(frame["setting"] == setting.name) & (frame["step"] > 0)]
            of_seed = {
                int(str(seed)): plateaus(run["step"].to_numpy(float), run["loss"].to_numpy(float))
                for seed, run in runs.groupby("seed")
            }
            for seed in of_seed:  # a diverged run has no rows from there on
                if (results[f"{setting.name}|{seed}"]["status"] == Status.diverged).any():
                    of_seed[seed] = np.empty(0)
            drops[setting.name] = {seed: each.size - 1 for seed, each in of_seed.items()}
            stages = _stages(setting.name)
            complete = [each for each in of_seed.values() if each.size == len(stages)]
            shares[setting.name] = proportion(len(complete), len(of_seed))
            table = np.array(complete).reshape(-1, len(stages)) / predicted[stages]
            for k, column in zip(stages, table.T, strict=True):
                ratios[setting.name, k] = geometric_mean(column)
        return PlateauAnalysis(results, frame, drops, shares, predicted, ratios)

    def comparison(self, analysis: PlateauAnalysis) -> pd.DataFrame:
        """The columns are setting, quantity, predicted, ours, low, high and seeds."""
        rows = [
            (setting, f"share of runs with {_drops(setting)}", 1, share)
            for setting, share in analysis.as_predicted.items()
        ]
        rows += [
            (setting, f"loss after {k} components / predicted {analysis.predicted[k]:.4g}", 1, each)
            for (setting, k), each in analysis.ratios.items()
        ]
        columns = ["setting", "quantity", "predicted", "ours", "low", "high", "seeds"]
        numbers = [(*words, r.estimate, r.low, r.high, r.n) for *words, r in rows]
        return pd.DataFrame(numbers, columns=columns)

    def caption(self, analysis: PlateauAnalysis, plan: Plan) -> str:
        def ratios(setting: str) -> str:
            return "; ".join(
                f"{ends(analysis.ratios[setting, k])} after {k}" for k in _stages(setting)
            )

        first = (
            f"The share of runs whose loss drops as often as theory says is, with one matrix Q "
            f"({_drops(MERGED)}), {ends(analysis.as_predicted[MERGED])}, and with separate query "
            f"and key matrices ({_drops(SEPARATE)}), {ends(analysis.as_predicted[SEPARATE])}."
        )
        last = int(analysis.frame["step"].max())
        seeds = len(analysis.drops[MERGED])
        losses = ", ".join(f"{each:.3g}" for each in analysis.predicted)
        details = [
            *itertools.starmap(_drops_in_words, analysis.drops.items()),
            "Loss at the plateaus over the predicted one, by the number of components learned: "
            f"separate {ratios(SEPARATE)}; merged {ratios(MERGED)} (geometric means over the "
            "seeds with the predicted number of drops; brackets: 95 % intervals over seeds).",
            "Dashed: the predicted losses after 0, 1, ... principal components of the covariates, "
            f"{losses}, a closed form without a free parameter. Dots: the plateaus found. A drop "
            "is a peak of -d log(loss) / d log(step) of at least 0.2 that falls to half on both "
            "sides; a plateau is where the slope is smallest between two drops.",
            f"One layer in the full form, d = {len(EIGENVALUES)}, n = {_CONTEXT}, covariates "
            f"N(0, diag{EIGENVALUES}), weights N(0, I). Gradient descent at {RATE:g} for {last:,} "
            f"steps without clipping, full batch of {FULL_BATCH:,} prompts, on which the loss is "
            f"computed; {seeds} seeds, each with prompts of its own. Initial entries N(0, "
            f"{_SCALE:g}^2); those that mix covariates and labels start at zero, as in the theory.",
            diverged_in_words(analysis.results),
            self.remark,
        ]
        return f"{first}\n\n{' '.join(filter(None, details))}"


def _stages(setting: str) -> list[int]:
    """The numbers of components that a model has learned at its predicted plateaus."""
    every = list(range(len(EIGENVALUES) + 1))
    return every if setting == SEPARATE else [every[0], every[-1]]


def _drops_in_words(setting: str, drops: Mapping[int, int]) -> str:
    """Drops of each seed, and which of them are not as many as predicted."""
    predicted = len(_stages(setting)) - 1
    kinds = {
        "more often": [f"{seed} ({n})" for seed, n in drops.items() if n > predicted],
        "less often": [f"{seed} ({n})" for seed, n in drops.items() if 0 <= n < predicted],
        "diverged": [str(seed) for seed, n in drops.items() if n < 0],
    }
    words = "; ".join(f"{how}, seed {', '.join(who)}" for how, who in kinds.items() if who)
    counts = ", ".join(str(n) for n in drops.values() if n >= 0)
    return f"Drops of each seed, {setting}: {counts}; not as predicted: {words or 'none'}."


def _drops(setting: str) -> str:
    """The predicted number of drops in words."""
    count = len(_stages(setting)) - 1
    return "1 drop" if count == 1 else f"{count} drops"


def _full_batch(setting: Setting, plan: Plan, seed: int) -> Experiment:
    experiment = setting.experiment(plan)
    return dataclasses.replace(
        experiment,
        name=f"plateaus-{setting.name}-{seed}",
        task=FixedPrompts(setting.task, FULL_BATCH, seed=seed),
        optimizers={"sgd": NAMED["sgd"]},
        learning_rates={"sgd": (RATE,)},
        seeds=(seed,),
        steps=min(_STEPS, experiment.steps),
        batch=FULL_BATCH,
        clip=None,  # the theory is about gradient descent
        measures=(EvaluationLoss(_SCHEDULE),),
        evaluation_batch=FULL_BATCH,
        evaluation_seeds=(0,),
    )


_FULL_FORM: Mapping[RecipeName, Form] = MappingProxyType({"code": "full", "paper": "full"})
_setting = functools.partial(
    Setting,
    task=RegressionTask(
        dim=len(EIGENVALUES), context=_CONTEXT, covariates=Gaussian(np.diag(EIGENVALUES))
    ),
    rates=rates_of(RATE, RATE),
    published=False,
    layers=1,
    form=_FULL_FORM,
    scale=MappingProxyType({"code": _SCALE, "paper": _SCALE}),
    steps=_STEPS,
    all_steps=_STEPS,
)
PLATEAUS = Plateaus(
    "plateaus",
    "One matrix Q against separate query and key matrices: one drop of the loss, or stairs",
    "From a small start, the loss of merged linear attention drops once; that of separate query "
    "and key matrices drops once for each principal component (Zhang et al., 2025, arXiv "
    "2501.16265).",
    (
        _setting(MERGED, "One matrix Q", init=merged),
        _setting(SEPARATE, "Separate W_Q and W_K", init=separate),
    ),
)
