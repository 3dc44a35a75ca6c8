"""The bench as an artifact: runs at searched rates, and a ranking with its intervals."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from attnscape.bench import captions, statistics, tables
from attnscape.bench.entries import Entry, Lineup, ResultKey
from attnscape.bench.suite import BASELINES, LOSS
from attnscape.experiments.artifact import Analysis, Artifact, Results
from attnscape.experiments.experiment import Experiment
from attnscape.experiments.runs import condition_numbers, of_optimizer
from attnscape.experiments.setting import Plan
from attnscape.experiments.tuning import final_losses
from attnscape.statistics import PUBLIC_CODE, Interval


@dataclasses.dataclass(frozen=True)
class BenchAnalysis(Analysis):
    """The losses of a bench's runs, and the ranks of its optimizers.

    Attributes:
        losses: (setting, optimizer, seed) losses at the budget.
        ranks: The mean rank of each optimizer, over settings.

    Examples:
        >>> import pandas as pd
        >>> from attnscape.bench import SUITE, Bench
        >>> settings, entries = (SUITE["setting-1"],), {"sgdm": (), "adam": ()}
        >>> bench = Bench("bench", "Bench", "", settings, entries=entries)
        >>> frame = pd.DataFrame({"optimizer": ["sgdm", "adam"], "loss": [0.2, 0.1], "seed": 0})
        >>> analysis = bench.ranked({}, frame.assign(setting="setting-1", phase="report"))
        >>> [round(rank.estimate, 1) for rank in analysis.ranks]
        [2.0, 1.0]
    """

    losses: np.ndarray
    ranks: Sequence[Interval]


@dataclasses.dataclass(frozen=True)
class Bench(Artifact[BenchAnalysis]):
    """Optimizers compared on settings.

    Attributes:
        entries: The entry for each of the settings, by the optimizer's label.
        marked: Labels of optimizers that have changed since they were run.

    Examples:
        >>> from attnscape.bench import SUITE, Bench, Entry
        >>> found = {"at_edge": False, "unstable": False, "warning": "", "run_id": ""}
        >>> entry = Entry("setting-1", 0.02, report="adam.nc", trials=("tuning.nc",), **found)
        >>> bench = Bench("bench", "Bench", "", (SUITE["setting-1"],), entries={"adam": (entry,)})
        >>> sorted(bench.files())
        ['setting-1|adam|report', 'setting-1|adam|tuning-0']
    """

    tables_on_page = True

    entries: Mapping[str, Sequence[Entry]] = dataclasses.field(default_factory=dict)
    marked: tuple[str, ...] = ()

    @property
    def optimizers(self) -> list[str]:
        """Labels, in the given order."""
        return self.lineup.optimizers

    @property
    def lineup(self) -> Lineup:
        """The optimizers and their entries."""
        return Lineup(tuple(s.name for s in self.settings), self.entries, self.marked)

    def experiments(self, plan: Plan) -> Mapping[str, Experiment]:
        """No experiments: the searches have run everything already; `files` names the results."""
        return {}

    def files(self) -> dict[str, Path]:
        """The files of its results, relative to the folder, by the results' keys."""
        found: dict[str, Path] = {}
        for optimizer, entries in self.entries.items():
            for entry in entries:
                report = ResultKey(entry.setting, optimizer, "report")
                found[str(report)] = Path(entry.report)
                for number, trial in enumerate(entry.trials):
                    tuning = ResultKey(entry.setting, optimizer, "tuning", number)
                    found[str(tuning)] = Path(trial)
        return found

    def analyse(self, results: Results) -> BenchAnalysis:
        """The frame has one row for each run, of tuning seeds and of report seeds.

        The columns are setting, optimizer, phase (`tuning`, `report`), learning_rate, seed, loss
        (tuning: the final loss; report: at the budget; infinite if the run diverged),
        `steps_to_sgdm`, `steps_to_adam` (steps to the loss that the baseline has at the budget,
        infinite if it is not reached).
        """
        rows = []
        for key, dataset in results.items():
            setting, optimizer, phase, _ = ResultKey.parse(key)
            if phase == "tuning":
                rows.append(
                    final_losses(dataset).assign(setting=setting, optimizer=optimizer, phase=phase)
                )
                continue
            losses, steps = _curves(dataset)
            row = {
                "setting": setting,
                "optimizer": optimizer,
                "phase": phase,
                "learning_rate": float(dataset["learning_rate"].values[0]),
                "seed": dataset["seed"].values,
                "loss": statistics.loss_at_budget(losses),
            }
            for baseline in BASELINES:
                theirs = _curves(results[str(ResultKey(setting, baseline, "report"))])[0]
                targets = statistics.loss_at_budget(theirs)
                row[f"steps_to_{baseline}"] = statistics.steps_to_reach(losses, steps, targets)
            rows.append(pd.DataFrame(row))
        columns = ["setting", "optimizer", "phase", "learning_rate", "seed", "loss"]
        columns += [f"steps_to_{baseline}" for baseline in BASELINES]
        return self.ranked(results, pd.concat(rows, ignore_index=True)[columns])

    def ranked(self, results: Results, frame: pd.DataFrame) -> BenchAnalysis:
        """The analysis of results, given their frame."""
        report = frame[frame["phase"] == "report"]
        table = report.pivot(index=["setting", "optimizer"], columns="seed", values="loss")
        losses = np.array(
            [[table.loc[(s.name, o)] for o in self.optimizers] for s in self.settings]
        )
        return BenchAnalysis(results, frame, losses, statistics.mean_ranks(losses))

    def landscape(self, results: Results) -> pd.DataFrame:
        """Curvature and smoothness along the report runs, at the measured steps.

        The columns are setting, optimizer, seed, step, condition_number (`diagonal-lower-median`),
        sharpness, preconditioned_sharpness (if the optimizer provides its preconditioner) and
        directional_smoothness.
        """
        frames = []
        for key, dataset in results.items():
            setting, optimizer, phase, _ = ResultKey.parse(key)
            if phase == "report":
                frames.append(_landscape(dataset).assign(setting=setting, optimizer=optimizer))
        columns = ["setting", "optimizer", "seed", "step", "condition_number", "sharpness"]
        columns += ["preconditioned_sharpness", "directional_smoothness"]
        return pd.concat(frames, ignore_index=True).reindex(columns=columns)

    def tables(self, analysis: BenchAnalysis, plan: Plan) -> Mapping[str, pd.DataFrame]:
        lineup, frame = self.lineup, analysis.frame
        ranking = tables.ranking(lineup, analysis.losses, analysis.ranks)
        found = {
            "Over all settings; intervals at 95 %.": ranking,
            "Report runs by setting; intervals at 95 %.": tables.by_setting(lineup, frame),
            "Searches by setting; intervals at 95 %.": tables.searches(lineup, frame),
        }
        if any(entry.combinations for _, _, entry in lineup.of_settings()):
            steps = {
                ResultKey.parse(key).setting: int(dataset["step"][-1])
                for key, dataset in analysis.results.items()
            }
            found["Effort of tuning, over all settings."] = tables.effort(lineup, frame, steps)
            found["Tuned arguments by setting."] = tables.combinations(lineup)
        return found

    def caption(self, analysis: BenchAnalysis, plan: Plan) -> str:
        return captions.caption(self.lineup, self.settings, analysis.results, plan)


def _curves(dataset: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Evaluation losses (seed, step) of the one optimizer and rate, and their steps."""
    # There may be no loss at the steps of other measures.
    steps = LOSS.schedule.within(int(dataset["step"][-1]))
    runs = of_optimizer(dataset, dataset["optimizer"].item())
    return runs["loss"].sel(step=list(steps)).values, np.array(steps, float)


def _landscape(dataset: xr.Dataset) -> pd.DataFrame:
    runs = dataset.isel(optimizer=0, learning_rate=0)
    columns = {"directional_smoothness": runs["directional_smoothness"]}
    if "hessian_eigenvalues" in runs:
        columns["sharpness"] = runs["hessian_eigenvalues"].isel(eigenvalue=-1)
        columns["preconditioned_sharpness"] = runs["preconditioned_sharpness"]
    frame = xr.Dataset(columns).to_dataframe().reset_index()
    frame = frame[["seed", "step", *columns]]
    if "hessian_eigenvalues" in runs:
        numbers = condition_numbers(dataset, [PUBLIC_CODE])[["seed", "step", "condition_number"]]
        frame = frame.merge(numbers, on=["seed", "step"], how="left")
    measured = frame.drop(columns=["seed", "step"]).notna().any(axis=1)
    return frame[measured]
