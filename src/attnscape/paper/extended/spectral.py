"""The Hessian's spectral norm against the gradient norm along Adam's path (beside Fig. 16).

Zhang et al. (2020a) define (L0, L1)-smoothness by the spectral norm: |H| <= L0 + L1 |gradient|. The
paper's Fig. 16 shows directional smoothness u^T H u instead, which is at most the spectral norm.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import pandas as pd

from attnscape.experiments.artifact import Analysis, Artifact, Results
from attnscape.experiments.captions import batches_in_words, ends, seeds_in_words
from attnscape.experiments.experiment import Experiment
from attnscape.experiments.runs import tidy
from attnscape.experiments.setting import Plan
from attnscape.measures import Curvature, DirectionalSmoothness, every
from attnscape.paper.claims import _per_run as per_run
from attnscape.paper.extended.base import WithoutOwnParts, shortened
from attnscape.paper.settings import MAIN
from attnscape.paper.smoothness import (
    DIRECTIONAL,
    LAST,
    Growth,
    along_adam,
    growth_by_setting,
    in_words,
    numbers_of,
)

SPECTRAL = "spectral_norm"
KINDS: Mapping[str, str] = {SPECTRAL: "spectral norm", DIRECTIONAL: "directional smoothness"}
_EVERY = every(20)  # steps; a Hessian with its spectrum takes as long as some ten steps
_MEASURES = (Curvature(_EVERY), DirectionalSmoothness(_EVERY))


@dataclasses.dataclass(frozen=True)
class SpectralAnalysis(Analysis):
    """Points (gradient norm, spectral norm, directional smoothness), and the fits to them.

    Attributes:
        growth: The growth of each of the columns `KINDS` by setting.
        shares: The median over all points of directional smoothness over spectral norm, by setting.
    """

    growth: Mapping[str, Mapping[str, Growth]]
    shares: Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class SpectralScatter(WithoutOwnParts, Artifact[SpectralAnalysis]):
    """Spectral norm (above) and directional smoothness (below) against the gradient norm."""

    about = "is about the paper's settings"

    def experiments(self, plan: Plan) -> Mapping[str, Experiment]:
        return {
            setting.name: dataclasses.replace(
                along_adam(setting, plan, "spectral", *_MEASURES),
                steps=shortened(LAST, setting, plan),
            )
            for setting in self.settings
        }

    def analyse(self, results: Results) -> SpectralAnalysis:
        """The frame has one row for each run, measured step and evaluation batch.

        The columns are setting, optimizer, learning_rate, seed, step, evaluation,
        evaluation_gradient_norm, spectral_norm and directional_smoothness, without logarithms.
        """
        with_norms = {
            name: dataset.assign({SPECTRAL: per_run.spectral_norm(dataset)})
            for name, dataset in results.items()
        }
        frame = tidy(with_norms, ["evaluation_gradient_norm", *KINDS])
        growth = {column: growth_by_setting(frame, column) for column in KINDS}
        share = frame[DIRECTIONAL] / frame[SPECTRAL]
        shares = {
            str(name): float(each)
            for name, each in share.groupby(frame["setting"]).median().items()
        }
        return SpectralAnalysis(results, frame, growth, shares)

    def comparison(self, analysis: SpectralAnalysis) -> pd.DataFrame:
        """The fits to the drawn seed, and the growth over all seeds.

        The columns are setting, quantity, ours, low, high (ends of the 95 % interval) and seeds.
        """
        rows = [
            (setting, f"{KINDS[column]}: {quantity}", *numbers)
            for column, by_setting in analysis.growth.items()
            for setting, growth in by_setting.items()
            for quantity, *numbers in numbers_of(growth)
        ]
        columns = ["setting", "quantity", "ours", "low", "high", "seeds"]
        return pd.DataFrame(rows, columns=columns)

    def caption(self, analysis: SpectralAnalysis, plan: Plan) -> str:
        means = "; ".join(
            f"{KINDS[column]} "
            + ", ".join(
                f"{name} {ends(growth.rank_correlation)}" for name, growth in by_setting.items()
            )
            for column, by_setting in analysis.growth.items()
        )
        sentence = (
            "Spearman's correlation with the gradient norm along Adam's path, mean over seeds and "
            f"evaluation batches: {means}."
        )
        dataset = next(iter(analysis.results.values()))
        shares = ", ".join(f"{name} {share:.2g}" for name, share in analysis.shares.items())
        runs = [
            f"{KINDS[column].capitalize()}, {setting.title.partition(':')[0]}: "
            f"{in_words(analysis.growth[column].get(setting.name))}"
            for column in KINDS
            for setting in self.settings
        ]
        last = int(analysis.frame["step"].max()) if len(analysis.frame) else 0
        details = [
            "Above: the largest absolute eigenvalue of the exact Hessian, which Zhang et al. "
            "(2020a) bound by L0 + L1 |gradient|; below: directional smoothness u^T H u (u: Adam's "
            f"step at unit length), at most the spectral norm. Every {_EVERY.every} steps up to "
            f"step {last:,} of seed 0 on the first of {batches_in_words(dataset)}; "
            f"{seeds_in_words(analysis.results)} count in the means. Natural logarithms; colour: "
            "step. Lines with L0, L1 >= 0: least squares on the values themselves (solid), least "
            "absolute deviations (dotted), and the line that 95 % of the points lie under "
            "(dashed). Ticks at the foot: gradient norms at which smoothness is negative. "
            "Brackets: 95 % intervals, of seed 0 by block bootstrap along the run, given this run "
            "and batch; of means crossed over seeds and batches. Median of directional smoothness "
            f"over spectral norm: {shares}.",
            *runs,
            self.how_run(analysis.results, plan),
        ]
        return f"{sentence}\n\n{' '.join(details)}"


FIG16_SPECTRAL = SpectralScatter(
    "fig16-spectral",
    "The Hessian's spectral norm against the gradient norm (beside Fig. 16)",
    "The spectral norm of the Hessian typically grows with the norm of the gradient.",
    MAIN,
)
