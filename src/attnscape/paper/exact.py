"""The table of Fig. 4 on the random numbers of the public code, as far as it can be reproduced."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import pandas as pd
import xarray as xr

from attnscape.experiments.artifact import Analysis, Artifact, Results
from attnscape.experiments.computation import Computation
from attnscape.experiments.runs import check_steps, listed
from attnscape.experiments.setting import Plan, Setting
from attnscape.optimizers import PAPER
from attnscape.paper.condition_table import TAB_CONDITION, ConditionTable, spread
from attnscape.paper.stream_runs import CHANGE, STARTS, StreamRuns
from attnscape.statistics import CONDITION_NUMBERS, PUBLIC_CODE, condition_number


def _elsewhere(setting: Setting) -> str:
    """The key of the result with the runs of the other table, `ExactTable.distribution`."""
    return f"{setting.name}, other seeds"


@dataclasses.dataclass(frozen=True)
class ExactAnalysis(Analysis):
    """The ratios on the public code's stream, beside those on our random numbers.

    Attributes:
        seeds: Number of seeds on the stream.
    """

    seeds: int


@dataclasses.dataclass(frozen=True)
class ExactTable(Artifact[ExactAnalysis]):
    """R_SGD / R_Adam on the prompts of the public code, beside its distribution on our prompts.

    Attributes:
        distribution: The same table on our random numbers; its settings, steps and printed numbers
            are used here too.
    """

    tables_on_page: ClassVar[bool] = True

    distribution: ConditionTable = TAB_CONDITION

    def obstacle(self, plan: Plan) -> str:
        if plan.own:
            return (
                f"{self.name} is about the public code's own prompts and model; leave --task and "
                "--model out."
            )
        if importlib.util.find_spec("torch") is None:
            return (
                f"{self.name} needs PyTorch, whose generator the prompts come from; install it "
                "with pip install 'attnscape[torch]'."
            )
        return ""

    def experiments(self, plan: Plan) -> Mapping[str, Computation]:
        """For each setting, runs on the public code's stream, and the runs of `distribution`.

        Runs on the stream follow the recipe `code`, with at most the printed number of seeds.
        """
        table = self.distribution
        check_steps(self.name, table.steps, plan)
        seeds = tuple(range(min(table.seeds, plan.seeds or table.seeds)))
        runs: dict[str, Computation] = {
            each.name: StreamRuns(each, seeds, table.steps) for each in table.settings
        }
        elsewhere = table.experiments(plan)
        return runs | {_elsewhere(each): elsewhere[each.name] for each in table.settings}

    def analyse(self, results: Results) -> ExactAnalysis:
        """The frame has the columns setting, start, step, seed, sgdm, adam, ratio, and distances.

        `start` is `drawn` or `changed` for runs on the public code's stream, and `other` for the
        runs of `distribution`, which have no distances and one row for each seed and batch.
        """
        frames = [_frame(results[each.name]).assign(setting=each.name) for each in self._settings]
        others = {each.name: results[_elsewhere(each)] for each in self._settings}
        other = self.distribution.analyse(others).frame
        other = other[other["convention"] == PUBLIC_CODE].assign(start="other")
        columns = ["setting", "start", "step", "seed", "sgdm", "adam", "ratio"]
        distances = [f"{optimizer}_distance" for optimizer in PAPER]
        rows = pd.concat([*frames, other], ignore_index=True)
        seeds = results[self._settings[0].name].sizes["seed"]
        return ExactAnalysis(results, rows[[*columns, *distances]], seeds)

    @property
    def _settings(self) -> tuple[Setting, ...]:
        return self.distribution.settings

    def tables(self, analysis: ExactAnalysis, plan: Plan) -> Mapping[str, pd.DataFrame]:
        frame, rows = analysis.frame, []
        elsewhere = f"middle 95 % of {self.distribution.name}"
        for setting in self._settings:
            for position, step in enumerate(self.distribution.steps):
                of_step = frame[(frame["setting"] == setting.name) & (frame["step"] == step)]
                ratio = of_step.set_index("start")["ratio"]
                drawn, changed, others = (ratio[[start]].dropna() for start in (*STARTS, "other"))
                low, high = np.quantile(others, (0.025, 0.975)) if len(others) else 2 * (np.nan,)
                rows.append(
                    {
                        "setting": setting.title,
                        "step": step,
                        "printed": spread(*self.distribution.printed[setting.name][position]),
                        "same prompts": spread(drawn.mean(), drawn.std()),
                        f"start {CHANGE:g} larger": spread(changed.mean(), changed.std()),
                        "SGDM differs by": _middle(of_step["sgdm_distance"]),
                        "Adam differs by": _middle(of_step["adam_distance"]),
                        elsewhere: f"{low:.3g} to {high:.3g}",
                    }
                )
        return {
            f"Ratio of robust condition numbers, SGDM over Adam, {CONDITION_NUMBERS[PUBLIC_CODE]}: "
            f"mean (n-1 standard deviation) over {analysis.seeds} seeds as printed, on the "
            "public code's own prompts, and on these from a changed start; by how much the change "
            "has moved the parameters (median over seeds, relative); and where single ratios of "
            "other seeds and evaluation batches lie.": pd.DataFrame(rows)
        }

    def caption(self, analysis: ExactAnalysis, plan: Plan) -> str:
        frame, last = analysis.frame, max(self.distribution.steps)
        growth, effects = [], []
        for setting in self._settings:
            at_end = frame[(frame["setting"] == setting.name) & (frame["step"] == last)]
            at_end = at_end[at_end["start"].isin(STARTS)]
            both = at_end.pivot(index="seed", columns="start", values="ratio")[list(STARTS)]
            moved = (both["changed"] / both["drawn"] - 1).abs()
            growth.append(
                f"{setting.name} {_middle(at_end['sgdm_distance'])} (SGDM) and "
                f"{_middle(at_end['adam_distance'])} (Adam)"
            )
            effects.append(f"{setting.name} {moved.max():.1g}")
        return (
            "Ratio of robust condition numbers of SGDM and Adam with the public code's own random "
            "numbers (black), from a start that differs by one part in ten million (white), and "
            "of other seeds and evaluation batches (blue).\n\n"
            f"At steps {listed(self.distribution.steps)}, on a log axis; grey band and line: the "
            "printed mean and standard deviation of six seeds. "
            f"Seeds 0 to {analysis.seeds - 1}: initial values and prompts are drawn by "
            "PyTorch (and numpy, for the gamma variables of setting-3) in the order of the public "
            "code, the evaluation batch likewise from seed 99; loss, gradient, clipping, "
            "optimizers and Hessian are ours, in double precision, with the recipe `code` and its "
            "published rates whatever else was asked for. "
            f"A start whose values are all larger by {CHANGE:g} of themselves, about a unit in the "
            "last place of single precision, tells which rows can be matched at all. By "
            f"step {last:,} it has moved the parameters, relative to their norm (median over "
            f"seeds), by {'; '.join(growth)}, and the ratio of a seed by up to, as a share: "
            f"{'; '.join(effects)}. Where the change does not grow, the printed row must come out; "
            "where it grows by orders of magnitude, training is chaotic: rounding, which differs "
            "between processors and libraries, decides the digits, and a printed row is one draw "
            "from the distribution over starts. "
            f"Blue: the ratios of {self.distribution.name}, every seed on every evaluation batch."
        )


def _frame(dataset: xr.Dataset) -> pd.DataFrame:
    """Runs on the stream: the columns start, step, seed, sgdm, adam, ratio, and distances."""
    eigenvalues, diagonal, row_norm = (
        dataset[name].transpose("optimizer", "start", "seed", "step", ...)
        for name in ("hessian_eigenvalues", "hessian_diagonal", "hessian_row_norm")
    )
    numbers = diagonal.isel(parameter=0, drop=True).copy(
        data=condition_number(
            PUBLIC_CODE, eigenvalues=eigenvalues, diagonal=diagonal, row_norm=row_norm
        )
    )
    columns = {name: numbers.sel(optimizer=name, drop=True) for name in PAPER}
    distances = {
        f"{name}_distance": dataset["distance"].sel(optimizer=name, drop=True) for name in PAPER
    }
    frame = xr.Dataset({**columns, **distances}).to_dataframe().reset_index()
    return frame.assign(ratio=frame["sgdm"] / frame["adam"])


def _middle(distances: pd.Series) -> str:
    return f"{distances.median():.1e}"


TAB_CONDITION_EXACT = ExactTable(
    "tab-condition-exact",
    "The same table on the public code's own prompts (needs torch)",
    TAB_CONDITION.statement,
    TAB_CONDITION.settings,
)
