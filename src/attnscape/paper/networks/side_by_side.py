"""The linear model beside real networks, feature by feature, each with a statistic of similarity.

The paper sets plots of Transformers beside plots of the linear model and compares by eye.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr

from attnscape.experiments.artifact import Analysis, Results
from attnscape.experiments.computation import Computation
from attnscape.experiments.setting import JUDGED, LOSSES, Plan, Setting
from attnscape.optimizers import PAPER
from attnscape.paper.networks import jobs, linear
from attnscape.paper.networks.base import NetworkArtifact, how_trained
from attnscape.paper.networks.base import titles as network_titles
from attnscape.paper.networks.landscape import landscape_runs
from attnscape.paper.networks.panels import Panels
from attnscape.paper.networks.panels import panels as panels_of
from attnscape.paper.networks.similarity import HEADINGS, ROWS, of_linear, of_network
from attnscape.paper.settings import MAIN
from attnscape.statistics import Closeness, Interval, closer_to, mean_interval, no_interval

_TRANSFORMER, _CONVOLUTIONAL = "ptb-transformer", "mnist-lenet5"
_NOISE = "noise of "
_MEASURES = (linear.LOSS, *(each for each in JUDGED if each not in LOSSES))
_WORDS = {
    "closer to A": "the Transformer",
    "closer to B": "LeNet5",
    "undecided": "undecided",
}


@dataclasses.dataclass(frozen=True)
class SideBySideAnalysis(Analysis):
    """The statistics of similarity, and what is drawn.

    Attributes:
        made: The runs of each workload.
        titles: The title of each system, in the order of the columns.
        intervals: The mean over seeds of each statistic, by (row, system).
        closeness: For each (row, setting), whether it is closer to the Transformer or to LeNet5.
        panels: What the figure draws.
    """

    made: Mapping[str, xr.Dataset]
    titles: Mapping[str, str]
    intervals: Mapping[tuple[str, str], Interval]
    closeness: Mapping[tuple[str, str], Closeness]
    panels: Panels


@dataclasses.dataclass(frozen=True)
class SideBySide(NetworkArtifact[SideBySideAnalysis]):
    """One row for each feature, one column for each network and each setting.

    Attributes:
        linear_settings: The linear model's settings. They are not `settings`, whose rates `--tune`
            searches on the grid of the paper's rates.
    """

    tables_on_page = True

    linear_settings: tuple[Setting, ...] = MAIN

    def experiments(self, plan: Plan) -> Mapping[str, Computation]:
        seeds = jobs.seeds_of(plan)
        networks = jobs.available(self.workloads, plan)
        runs = landscape_runs(networks, seeds, plan)
        runs |= {
            _NOISE + name: each.noise(seeds) for name, each in networks.items() if each.is_noisy
        }
        for setting in self.linear_settings:
            found = {name: (rate,) for name, rate in setting.found.items()}
            runs[setting.name] = linear.experiment(
                setting, plan, PAPER, found, seeds, measures=_MEASURES
            )
            noise = setting.noise_experiment(plan)
            runs[_NOISE + setting.name] = dataclasses.replace(noise, seeds=seeds)
        return runs

    def analyse(self, results: Results) -> SideBySideAnalysis:
        """The frame has one row for each statistic, system and seed.

        The columns are row, system, title, seed, value.
        """
        trained = {key: each for key, each in results.items() if "|" in key}
        made = jobs.by_workload(trained)
        titles = network_titles(made)
        titles |= {each.name: each.title.replace(": ", "\n") for each in self.linear_settings}
        values: dict[tuple[str, str], np.ndarray] = {}
        for name in titles:
            noise = results.get(_NOISE + name)  # none with full batches
            if name in made:
                numbers = of_network(made[name], noise)
            else:
                numbers = of_linear(results[name], results[_NOISE + name])
            values |= {(row, name): each for row, each in numbers.items()}
        frame = pd.DataFrame(
            [
                (row, name, titles[name].replace("\n", ", "), seed, value)
                for (row, name), each in values.items()
                for seed, value in enumerate(each)
            ],
            columns=["row", "system", "title", "seed", "value"],
        )
        settings = [each.name for each in self.linear_settings]
        both = {_TRANSFORMER, _CONVOLUTIONAL} <= set(made)
        closeness = {
            (row, name): _closer_to(
                *(values[row, each] for each in (name, _TRANSFORMER, _CONVOLUTIONAL))
            )
            for row in ROWS
            for name in settings
            if both
        }
        intervals = {key: _mean(each) for key, each in values.items()}
        noises = {name: results.get(_NOISE + name) for name in titles}
        runs = {name: made[name] if name in made else results[name] for name in titles}
        panels = panels_of(runs, noises)
        return SideBySideAnalysis(results, frame, made, titles, intervals, closeness, panels)

    def tables(self, analysis: SideBySideAnalysis, plan: Plan) -> Mapping[str, pd.DataFrame]:
        numbers, words = [], []
        for name, title in analysis.titles.items():
            system = title.partition("\n")[0]
            cells = {HEADINGS[row]: _in_words(analysis.intervals[row, name]) for row in ROWS}
            numbers.append({"system": system, **cells})
            if ("loss", name) in analysis.closeness:
                cells = {HEADINGS[row]: _closer(analysis.closeness[row, name]) for row in ROWS}
                words.append({"setting": system, **cells})
        found = {"Statistics of similarity: mean over seeds, 95 % interval.": pd.DataFrame(numbers)}
        if words:
            found[
                "What the linear model is closer to: distance to LeNet5 minus distance to the "
                "Transformer, with its 95 % interval."
            ] = pd.DataFrame(words)
        return found

    def caption(self, analysis: SideBySideAnalysis, plan: Plan) -> str:
        tally: dict[str, int] = {}
        for each in analysis.closeness.values():
            tally[each.word] = tally.get(each.word, 0) + 1
        counts = ", ".join(
            f"{count} {word if word == 'undecided' else f'closer to {_WORDS[word]}'}"
            for word, count in sorted(tally.items())
        )
        seeds = len(jobs.seeds_of(plan))
        first = (
            "Each feature of Transformer optimization by one instrument on real networks and on "
            f"the linear model; {seeds} seeds. Of {len(analysis.closeness)} statistics of the "
            f"linear model: {counts or 'none compared'}."
        )
        details = [
            "Rows: loss along training (median over seeds, smallest to largest); norms of the "
            "gradient noise at initialisation against quantiles of the norm of Gaussian noise with "
            "the same spread; robust condition number of SGDM over Adam's; directional smoothness "
            "along training; smoothness against the gradient norm along Adam's path. Last column: "
            "the statistic of each row, mean over seeds with its 95 % interval, for these data, "
            "rates and batches.",
            f"Statistics: {'; '.join(ROWS.values())}.",
            "Condition numbers: largest over median entry of the Hessian's diagonal; networks: "
            "estimated, on one fixed batch, after half of the steps; linear "
            "model: exact, at steps 750 and 1,250, median over batches. Final loss: median over "
            "the last tenth of the steps. A diverged run leaves no interval of its statistics.",
            "Linear model: searched learning rates, Adam with beta2 = 0.9 as in the paper.",
            how_trained(analysis.made, plan),
            self.left_out(analysis.made),
        ]
        return f"{first}\n\n{' '.join(filter(None, details))}"


def _mean(values: np.ndarray) -> Interval:
    """The mean over seeds; without an interval if a seed has no finite value."""
    if not np.isfinite(values).all():
        return no_interval(np.nan, values.size)
    return mean_interval(values)


def _closer_to(candidate: np.ndarray, one: np.ndarray, other: np.ndarray) -> Closeness:
    samples = (candidate, one, other)
    if not all(np.isfinite(each).all() for each in samples):
        return Closeness(no_interval(np.nan, min(each.size for each in samples)), "undecided")
    return closer_to(*samples)


def _closer(found: Closeness) -> str:
    return f"{_WORDS[found.word]}: {_in_words(found.interval)}"


def _in_words(interval: Interval) -> str:
    if np.isnan(interval.estimate):
        return "none"
    if np.isnan(interval.low):
        return f"{interval.estimate:.3g} (n = {interval.n})"
    return f"{interval.estimate:.3g} [{interval.low:.3g}, {interval.high:.3g}]"


SIDE_BY_SIDE = SideBySide(
    "side-by-side",
    "The linear model beside real networks (Fig. 1 to 5 and 16, in numbers)",
    "Shallow linear Transformers exhibit all the distinctive features of Transformer optimization.",
    workloads=(_CONVOLUTIONAL, _TRANSFORMER, "softmax-regression"),
)
