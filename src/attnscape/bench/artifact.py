"""The bench as an artifact: runs at searched rates, a ranking, and how sure it is."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr

from attnscape.bench import statistics
from attnscape.bench.suite import BASELINES, LOSS, measures
from attnscape.estimators import PUBLIC_CODE, Interval, median, paired_ratio, proportion
from attnscape.experiment import Experiment
from attnscape.paper.artifact import Artifact, Results, conventions, ends
from attnscape.paper.runs import condition_numbers, of_optimizer
from attnscape.paper.settings import Plan, Setting
from attnscape.transformations import Factory
from attnscape.tuning import Search, final_losses

_BETWEEN = "|"
_TUNING = "tuning"
_REPORT = "report"


@dataclasses.dataclass(frozen=True)
class Entry:
    """An optimizer on a setting, at the rate that a search found."""

    setting: Setting
    optimizer: str
    factory: Factory
    search: Search

    def experiment(self, plan: Plan) -> Experiment:
        """The runs that are reported."""
        rate = self.search.rates[self.optimizer]
        return alone(self.setting, self.optimizer, self.factory, plan, rate)


def alone(
    setting: Setting, optimizer: str, factory: Factory, plan: Plan, rate: float = 1.0
) -> Experiment:
    """The runs of one optimizer on a setting: alone, to be found again in any company."""
    experiment = setting.experiment(
        dataclasses.replace(plan, searches={}),
        optimizers={optimizer: factory},
        learning_rates={optimizer: (rate,)},
        measures=measures(setting),
    )
    return dataclasses.replace(experiment, name=f"{experiment.name}-{optimizer}")


@dataclasses.dataclass(frozen=True)
class Bench(Artifact):
    """Optimizers on settings.

    Attributes:
        entries: What is compared; every optimizer on every setting.
        failures: Sentences on optimizers that could not be run.
    """

    tables_on_page = True

    entries: tuple[Entry, ...] = ()
    failures: tuple[str, ...] = ()

    @property
    def optimizers(self) -> list[str]:
        """Labels, in the order they were given."""
        return list(dict.fromkeys(entry.optimizer for entry in self.entries))

    def experiments(self, plan: Plan) -> Mapping[str, Experiment]:
        """Of each entry the report runs and the trials of its search, which were found already."""
        found: dict[str, Experiment] = {}
        for entry in self.entries:
            key = f"{entry.setting.name}{_BETWEEN}{entry.optimizer}{_BETWEEN}"
            found[f"{key}{_REPORT}"] = entry.experiment(plan)
            for number, trial in enumerate(entry.search.trials):
                found[f"{key}{_TUNING}-{number}"] = trial
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

        The columns optimizer, rank, `loss / SGDM`, `loss / Adam`, diverged; cells with the ends of
        their intervals.
        """
        losses = self.losses(frame)
        ranks = statistics.mean_ranks(losses)
        rows = []
        for index in np.argsort([rank.estimate for rank in ranks], kind="stable"):
            name = self.optimizers[index]
            row: dict[str, object] = {"optimizer": name, "mean rank": ends(ranks[index])}
            for baseline in BASELINES:
                row[f"loss / {baseline}"] = self._against(losses, index, baseline)
            lost = int(np.isinf(losses[:, index]).sum())
            row["runs that diverged"] = _share(proportion(lost, losses[:, index].size))
            rows.append(row)
        return pd.DataFrame(rows)

    def by_setting(self, frame: pd.DataFrame) -> pd.DataFrame:
        """A row a setting and optimizer: rate, loss, speed-ups, width of good rates, divergence."""
        rows = []
        for entry in self.entries:
            mine = (frame["setting"] == entry.setting.name) & (
                frame["optimizer"] == entry.optimizer
            )
            report = frame[mine & (frame["phase"] == _REPORT)].sort_values("seed")
            tuning = frame[mine & (frame["phase"] == _TUNING)]
            row: dict[str, object] = {
                "setting": entry.setting.name,
                "optimizer": entry.optimizer,
                "rate": f"{entry.search.rates[entry.optimizer]:g}"
                + (" (edge)" if entry.search.at_edge else "")
                + (" (diverges)" if entry.search.unstable else ""),
                "loss at the budget": _median(report["loss"].to_numpy()),
            }
            for baseline in BASELINES:
                column = f"steps_to_{baseline}"
                theirs = frame[
                    (frame["setting"] == entry.setting.name)
                    & (frame["optimizer"] == baseline)
                    & (frame["phase"] == _REPORT)
                ].sort_values("seed")
                row[f"speed-up over {baseline}"] = ends(
                    statistics.speed_up(theirs[column].to_numpy(), report[column].to_numpy())
                )
            row["good rates: factor"] = ends(statistics.good_range(tuning))
            row["tuning runs that diverged"] = _share(
                proportion(int(np.isinf(tuning["loss"]).sum()), len(tuning))
            )
            rows.append(row)
        return pd.DataFrame(rows)

    def losses(self, frame: pd.DataFrame) -> np.ndarray:
        """Losses at the budget (setting, optimizer, seed)."""
        report = frame[frame["phase"] == _REPORT]
        table = report.pivot(index=["setting", "optimizer"], columns="seed", values="loss")
        return np.array([[table.loc[(s.name, o)] for o in self.optimizers] for s in self.settings])

    def _against(self, losses: np.ndarray, index: int, baseline: str) -> str:
        """Ratio of losses, geometric mean over settings, paired over seeds."""
        theirs = losses[:, self.optimizers.index(baseline)]
        with np.errstate(invalid="ignore", divide="ignore"):
            logs = np.log(losses[:, index] / theirs).mean(axis=0)
        ratio = paired_ratio(np.exp(logs), np.ones_like(logs))
        words = ends(ratio.geometric_mean)
        return f"{words}, without {ratio.diverged} seeds" if ratio.diverged else words

    def tables(self, results: Results, plan: Plan) -> Mapping[str, pd.DataFrame]:
        frame = self.frame(results)
        return {
            "Optimizers over all settings; intervals at 95 %.": self.ranking(frame),
            "Optimizers by setting; intervals at 95 %.": self.by_setting(frame),
        }

    def caption(self, results: Results, plan: Plan) -> str:
        dataset = next(iter(results.values()))
        warnings = [
            f"{entry.setting.title}, {entry.optimizer}: {warning}"
            for entry in self.entries
            if (warning := entry.search.warning())
        ]
        return " ".join(
            [
                f"{len(self.optimizers)} optimizers, each at the learning rate with the smallest "
                "median final loss over tuning seeds of its own, among those at which none of "
                "these runs diverges, on a 1-2-5 grid that goes on where the best lies on its "
                f"edge; then {dataset.sizes['seed']} report seeds of "
                f"{int(dataset['step'][-1]):,} steps. The "
                "loss is that on one fixed batch of 1000 prompts; at the budget: the median of its "
                "last 5 %. Panels of settings: that loss of the tuning runs against the learning "
                "rate, lines the median, bands smallest to largest, what is above 1000 times the "
                "smallest left out. Mean rank: over settings, "
                "interval over seeds. Profile: share of runs whose loss is at most a factor times "
                "the best optimizer's on the same setting and seed. Speed-up: the steps that the "
                "baseline takes to its own loss at the budget over those that the optimizer takes, "
                "median over seeds; 0 where it never arrives. Good rates: the factor between the "
                f"largest and the smallest rate whose loss is at most {statistics.GOOD:g} times "
                "the best rate's. Curvature and directional smoothness along the report runs are "
                "in `bench-landscape.csv`.",
                conventions(plan, self.settings).replace(
                    ", SGD with momentum 0.9 (SGDM), Adam with beta1 = beta2 = 0.9", ""
                ),
                *warnings,
                *self.failures,
            ]
        )


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


def _median(values: np.ndarray) -> str:
    """Median over seeds; a diverged run has lost against every finished one."""
    if np.isfinite(values).all():
        return ends(median(values))
    return f"{np.median(values):.3g} [no interval: {np.isinf(values).sum()} diverged]"


def _share(share: Interval) -> str:
    return f"{100 * share.estimate:.0f} % [{100 * share.low:.0f}, {100 * share.high:.0f}]"


def title(optimizers: Sequence[str]) -> str:
    """Of the artifact, for people."""
    own = [name for name in optimizers if name not in BASELINES]
    return f"Bench: {', '.join(own) or 'the baselines'} against SGDM and Adam"
