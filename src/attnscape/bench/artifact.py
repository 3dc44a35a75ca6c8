"""The bench as an artifact: runs at searched rates, a ranking, and how sure it is."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from attnscape.bench import statistics
from attnscape.bench.suite import BASELINES, LOSS, measures
from attnscape.bench.words import interval_in_words, speed_up_in_words
from attnscape.estimators import PUBLIC_CODE, median
from attnscape.experiment import Experiment
from attnscape.paper.artifact import Artifact, Results, conventions
from attnscape.paper.runs import condition_numbers, of_optimizer
from attnscape.paper.settings import Plan, Setting
from attnscape.transformations import Factory
from attnscape.tuning import final_losses

_BETWEEN = "|"
_TUNING = "tuning"
_REPORT = "report"
_MARK = " *"
_FEW = 4  # own optimizers that a title names


@dataclasses.dataclass(frozen=True)
class Entry:
    """An optimizer that was run on a setting, at the rate that a search found.

    Attributes:
        setting: Its name in the suite.
        rate: The learning rate.
        at_edge: Whether that is the first or last rate that was tried.
        unstable: Whether tuning runs diverged at every rate, at this one too.
        warning: Of the search, where the rate was not found as it should be.
        run_id: Of the report runs.
        report: The file of the report runs, relative to the folder.
        trials: The files of the search.
    """

    setting: str
    rate: float
    at_edge: bool
    unstable: bool
    warning: str
    run_id: str
    report: str
    trials: tuple[str, ...]


def alone(
    setting: Setting, optimizer: str, factory: Factory, plan: Plan, rate: float = 1.0
) -> Experiment:
    """The runs of one optimizer on a setting: alone, to be found again in any company."""
    experiment = setting.experiment(
        dataclasses.replace(plan, searches={}),
        optimizers={optimizer: factory},
        learning_rates={optimizer: (rate,)},
        measures=measures(setting),
        evaluation_seeds=0,  # one batch: optimizers are compared on the same prompts
    )
    return dataclasses.replace(experiment, name=f"{experiment.name}-{optimizer}")


@dataclasses.dataclass(frozen=True)
class Bench(Artifact):
    """Optimizers on settings.

    Attributes:
        entries: Of each optimizer, by its label, what was run on each of the settings.
        marked: Labels of those that are shown as they were run at another time.
    """

    tables_on_page = True

    entries: Mapping[str, Sequence[Entry]] = dataclasses.field(default_factory=dict)
    marked: tuple[str, ...] = ()

    @property
    def optimizers(self) -> list[str]:
        """Labels, in the order they were given."""
        return list(self.entries)

    def experiments(self, plan: Plan) -> Mapping[str, Experiment]:
        """None: the searches have run all that there is, see `files`."""
        return {}

    def files(self) -> dict[str, Path]:
        """The results that it is made from, relative to the folder, by their keys."""
        found: dict[str, Path] = {}
        for optimizer, entries in self.entries.items():
            for entry in entries:
                key = f"{entry.setting}{_BETWEEN}{optimizer}{_BETWEEN}"
                found[f"{key}{_REPORT}"] = Path(entry.report)
                for number, trial in enumerate(entry.trials):
                    found[f"{key}{_TUNING}-{number}"] = Path(trial)
        return found

    def frame(self, results: Results) -> pd.DataFrame:
        """A row a run, of tuning and of report seeds.

        The columns setting, optimizer, phase (`tuning`, `report`), learning_rate, seed, loss
        (tuning: the last one; report: at the budget; infinite where the run diverged),
        `steps_to_sgdm`, `steps_to_adam` (to the loss that the baseline has at the budget, infinite
        where it is not reached).
        """
        rows = []
        for key, dataset in results.items():
            setting, optimizer, phase = key.split(_BETWEEN)
            if phase.startswith(_TUNING):
                rows.append(
                    final_losses(dataset).assign(
                        setting=setting, optimizer=optimizer, phase=_TUNING
                    )
                )
                continue
            losses, steps = _curves(dataset)
            row = {
                "setting": setting,
                "optimizer": optimizer,
                "phase": _REPORT,
                "learning_rate": float(dataset["learning_rate"].values[0]),
                "seed": dataset["seed"].values,
                "loss": statistics.loss_at_budget(losses),
            }
            for baseline in BASELINES:
                targets = statistics.loss_at_budget(
                    _curves(results[f"{setting}{_BETWEEN}{baseline}{_BETWEEN}{_REPORT}"])[0]
                )
                row[f"steps_to_{baseline}"] = statistics.steps_to_reach(losses, steps, targets)
            rows.append(pd.DataFrame(row))
        columns = ["setting", "optimizer", "phase", "learning_rate", "seed", "loss"]
        columns += [f"steps_to_{baseline}" for baseline in BASELINES]
        return pd.concat(rows, ignore_index=True)[columns]

    def landscape(self, results: Results) -> pd.DataFrame:
        """Curvature and smoothness along the report runs, where they were measured.

        The columns setting, optimizer, seed, step, condition_number (`diagonal-lower-median`),
        sharpness, preconditioned_sharpness (where the optimizer says what its preconditioner is),
        directional_smoothness.
        """
        frames = []
        for key, dataset in results.items():
            setting, optimizer, phase = key.split(_BETWEEN)
            if phase == _REPORT:
                frames.append(_landscape(dataset).assign(setting=setting, optimizer=optimizer))
        columns = ["setting", "optimizer", "seed", "step", "condition_number", "sharpness"]
        columns += ["preconditioned_sharpness", "directional_smoothness"]
        return pd.concat(frames, ignore_index=True).reindex(columns=columns)

    def ranking(self, frame: pd.DataFrame) -> pd.DataFrame:
        """A row an optimizer, best first.

        The columns optimizer, mean rank, `loss / sgdm`, `loss / adam`, runs that diverged; the
        cells with their intervals and n. Where runs diverged there are also the ratios among the
        seeds on which all finished.
        """
        losses = self.losses(frame)
        ranks = statistics.mean_ranks(losses)
        lost = np.isinf(losses)
        rows = []
        for index in np.argsort([rank.estimate for rank in ranks], kind="stable"):
            row: dict[str, object] = {
                "optimizer": self._label(self.optimizers[index]),
                "mean rank": interval_in_words(ranks[index], losses.shape[2]),
            }
            ratios = {
                f"loss / {baseline}": statistics.loss_ratios(
                    losses[:, index], losses[:, self.optimizers.index(baseline)]
                )
                for baseline in BASELINES
            }
            for name, values in ratios.items():
                row[name] = interval_in_words(median(values), values.size)
            row["runs that diverged"] = f"{lost[:, index].sum()} of {lost[:, index].size}"
            if lost.any():
                for name, baseline in zip(ratios, BASELINES, strict=True):
                    either = lost[:, index] | lost[:, self.optimizers.index(baseline)]
                    finished = ratios[name][~either.any(axis=0)]
                    row[f"{name}, survivors"] = interval_in_words(median(finished), finished.size)
            rows.append(row)
        return pd.DataFrame(rows)

    def by_setting(self, frame: pd.DataFrame) -> pd.DataFrame:
        """A row a setting and optimizer: rate, loss and speed-ups of the report runs."""
        rows = []
        for setting, optimizer, entry in self._of_settings():
            report = _select(frame, setting, optimizer, _REPORT)
            losses = report["loss"].to_numpy()
            row: dict[str, object] = {
                "setting": setting,
                "optimizer": self._label(optimizer),
                "rate": f"{entry.rate:g}"
                + (" (edge)" if entry.at_edge else "")
                + (" (diverges)" if entry.unstable else ""),
                "loss at the budget": interval_in_words(median(losses), losses.size),
            }
            for baseline in BASELINES:
                column = f"steps_to_{baseline}"
                theirs = _select(frame, setting, baseline, _REPORT)
                row[f"speed-up over {baseline}"] = speed_up_in_words(
                    statistics.speed_ups(theirs[column].to_numpy(), report[column].to_numpy())
                )
            rows.append(row)
        return pd.DataFrame(rows)

    def searches(self, frame: pd.DataFrame) -> pd.DataFrame:
        """A row a setting and optimizer: what the search for its learning rate saw.

        The final loss, median over tuning seeds, at the rate that was found and at the next smaller
        and larger ones; the range of good rates; the share of all tuning runs that diverged.
        """
        rows = []
        for setting, optimizer, entry in self._of_settings():
            tuning = _select(frame, setting, optimizer, _TUNING)
            rates = sorted(tuning["learning_rate"].unique())
            place = int(np.argmin(np.abs(np.log(np.array(rates) / entry.rate))))
            around = {"next smaller": place - 1, "rate": place, "next larger": place + 1}
            seeds = tuning["seed"].nunique()
            lost = int(np.isinf(tuning["loss"]).sum())
            rows.append(
                {
                    "setting": setting,
                    "optimizer": self._label(optimizer),
                    **{
                        name: _at_rate(tuning, rates[at]) if 0 <= at < len(rates) else "not tried"
                        for name, at in around.items()
                    },
                    "good rates: factor": interval_in_words(statistics.good_range(tuning), seeds),
                    "diverged": f"{lost} of {len(tuning)}",
                }
            )
        return pd.DataFrame(rows)

    def _of_settings(self) -> list[tuple[str, str, Entry]]:
        """Setting, optimizer and entry, setting by setting."""
        return [
            (setting.name, optimizer, entry)
            for setting in self.settings
            for optimizer, entries in self.entries.items()
            for entry in entries
            if entry.setting == setting.name
        ]

    def _label(self, optimizer: str) -> str:
        return optimizer + _MARK * (optimizer in self.marked)

    def losses(self, frame: pd.DataFrame) -> np.ndarray:
        """Losses at the budget (setting, optimizer, seed)."""
        report = frame[frame["phase"] == _REPORT]
        table = report.pivot(index=["setting", "optimizer"], columns="seed", values="loss")
        return np.array([[table.loc[(s.name, o)] for o in self.optimizers] for s in self.settings])

    def tables(self, results: Results, plan: Plan) -> Mapping[str, pd.DataFrame]:
        frame = self.frame(results)
        return {
            "Over all settings; intervals at 95 %.": self.ranking(frame),
            "Report runs by setting; intervals at 95 %.": self.by_setting(frame),
            "Searches by setting; intervals at 95 %.": self.searches(frame),
        }

    def caption(self, results: Results, plan: Plan) -> str:
        dataset = next(iter(results.values()))
        trial = next(found for key, found in results.items() if f"{_BETWEEN}{_TUNING}" in key)
        count, settings = len(self.optimizers), len(self.settings)
        warnings = [
            f"{setting}: {entry.warning}"
            for setting, _, entry in self._of_settings()
            if entry.warning
        ]
        return "\n\n".join(
            [
                f"{count} optimizers on {settings} setting{'s' * (settings > 1)}, each at the "
                f"learning rate that the same search found for it: {dataset.sizes['seed']} seeds "
                f"of {int(dataset['step'][-1]):,} steps.",
                "Search: among the rates at which no run diverges that with the smallest median "
                f"final loss over {trial.sizes['seed']} tuning seeds (of a run: the median over "
                "its last tenth), on a 1-2-5 grid that goes on where the best lies on its edge. "
                "The loss is that on one fixed batch of 1000 prompts; at the "
                "budget: the median of its last 5 %. Panels of settings: that loss of the tuning "
                "runs against the learning rate, lines the median, bands smallest to largest, what "
                "is above 1000 times the smallest left out. Profile: share of runs whose loss is "
                "at most a factor times the best optimizer's on the same setting and seed.",
                "A run that diverged counts as the worst result: its loss is infinite. Mean rank: "
                "over settings, interval over seeds. Loss over a baseline's: geometric mean over "
                "settings on each seed, then the median over seeds; survivors: the same among the "
                "seeds on which both finished everywhere, which says nothing of those that did "
                "not. Speed-up: the steps that the baseline takes to its own loss at the budget "
                "over those that the optimizer takes, median over seeds; `not reached` on seeds "
                "where it never arrives. Good rates: the factor between the largest and the "
                f"smallest rate whose loss is at most {statistics.GOOD:g} times the best rate's. "
                "There is no interval where n is below 5.",
                conventions(plan, self.settings).replace(
                    ", SGD with momentum 0.9 (SGDM), Adam with beta1 = beta2 = 0.9", ""
                )
                + " Curvature and directional smoothness along the report runs are in "
                "`bench-landscape.csv`.",
                *([" ".join(warnings)] if warnings else []),
            ]
        )


def _select(frame: pd.DataFrame, setting: str, optimizer: str, phase: str) -> pd.DataFrame:
    mine = (frame["setting"] == setting) & (frame["optimizer"] == optimizer)
    return frame[mine & (frame["phase"] == phase)].sort_values("seed")


def _at_rate(tuning: pd.DataFrame, rate: float) -> str:
    """A rate, its median final loss and how many of its runs diverged."""
    losses = tuning[tuning["learning_rate"] == rate]["loss"]
    lost, count = int(np.isinf(losses).sum()), len(losses)
    loss = [f"{losses.median():.3g}"] if 2 * lost < count else []
    return f"{rate:g}: " + ", ".join(loss + [f"{lost} of {count} diverged"] * (lost > 0))


def _curves(dataset: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Evaluation losses (seed, step) of the one optimizer and rate, and their steps."""
    # Other measures have steps of their own, without a loss.
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


def title(optimizers: Sequence[str]) -> str:
    """Of the artifact, for people."""
    own = [name for name in optimizers if name not in BASELINES]
    words = f"{len(own)} optimizers" if len(own) > _FEW else ", ".join(own) or "the baselines"
    return f"Bench: {words} against SGDM and Adam"
