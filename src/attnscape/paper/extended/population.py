"""Training with queries and weights integrated out exactly: which noise makes the gap?

A prompt is random in three ways: the covariates of its context, its query and its weights. In the
block form of linear attention the last two can be integrated out (`IntegratedPrompts`), and a fixed
set of such prompts leaves nothing random. Kunstner et al. (2023, "Noise is not the main factor
behind the gap between SGD and Adam on Transformers, but sign descent might be", arXiv 2304.13960)
compare stochastic and full-batch training of networks, where noise cannot be taken apart.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr

from attnscape.experiments.artifact import Analysis, Artifact, Results
from attnscape.experiments.captions import conventions, diverged_in_words, ends, rates_in_words
from attnscape.experiments.experiment import Experiment
from attnscape.experiments.setting import Plan, Setting
from attnscape.experiments.trials import evaluated_steps
from attnscape.experiments.tuning import final_losses
from attnscape.measures import EvaluationLoss, Measure, Schedule, at
from attnscape.paper.extended.base import WithoutOwnParts, first_seeds, shortened
from attnscape.paper.extended.on_task import GradientPairs, OnTask
from attnscape.paper.settings import MAIN
from attnscape.statistics import Interval, geometric_mean, mean_interval, no_interval
from attnscape.tasks import FixedPrompts, IntegratedPrompts
from attnscape.training import Status

FRESH, INTEGRATED, FIXED = "fresh", "integrated", "fixed"
PROMPTS: Mapping[str, str] = {
    FRESH: "fresh prompts",
    INTEGRATED: "query and weights integrated out",
    FIXED: "a fixed set, integrated out",
}
FIXED_CONTEXTS = 800
_EVALUATION_CONTEXTS = 1_000
_NOISE_CONTEXTS = 100  # of a stochastic gradient
_SEEDS, _STEPS = 6, 1_000
_CURVE = 25  # losses along a run


@dataclasses.dataclass(frozen=True)
class PopulationAnalysis(Analysis):
    """Gaps and noise with less and less that is random.

    Attributes:
        gaps: log10 of SGDM's final loss over Adam's, by setting and prompts: of the population
            loss or, with a fixed set, of the loss on the set.
        changes: How much larger this is than with fresh prompts, over the same seeds.
        beyond: log10 of the final population loss, SGDM over Adam, after training on the fixed set,
            by setting.
        shares: Squared noise of gradients with queries and weights integrated out over that of
            gradients of fresh prompts, by setting, optimizer and step.
    """

    gaps: Mapping[tuple[str, str], Interval]
    changes: Mapping[tuple[str, str], Interval]
    beyond: Mapping[str, Interval]
    shares: Mapping[tuple[str, str, int], Interval]


@dataclasses.dataclass(frozen=True)
class Population(WithoutOwnParts, Artifact[PopulationAnalysis]):
    """One column for each setting: losses, the gap, and the share of the contexts in the noise."""

    about = "integrates over queries and weights of the paper's settings"

    def obstacle(self, plan: Plan) -> str:
        if obstacle := super().obstacle(plan):
            return obstacle
        if any(setting.form[plan.recipe_of("form")] != "block" for setting in self.settings):
            return (
                f"{self.name} is exact only for the block form of P and Q, and this plan has the "
                "full form; take the recipe `code`."
            )
        return ""

    def experiments(self, plan: Plan) -> Mapping[str, Experiment]:
        """One experiment for each setting and each kind of prompts."""
        return {
            f"{setting.name}|{prompts}": _experiment(setting, plan, prompts)
            for setting in self.settings
            for prompts in PROMPTS
        }

    def analyse(self, results: Results) -> PopulationAnalysis:
        """The frame has one row for each run and measured step.

        The columns are setting, prompts, optimizer, learning_rate, seed, step, loss (population
        loss or, with a fixed set, the loss on the set), population_loss and noise_share (with fresh
        prompts, at some steps).
        """
        frame = pd.concat([_tidy(key, each) for key, each in results.items()], ignore_index=True)
        names = [setting.name for setting in self.settings]
        logs = {
            key: _log_gaps(each, "loss" if key.endswith(FIXED) else "population_loss")
            for key, each in results.items()
        }
        measured = frame[frame["noise_share"].notna()]
        shares = measured.groupby(["setting", "optimizer", "step"], sort=False)["noise_share"]
        return PopulationAnalysis(
            results,
            frame,
            {(n, p): _mean(logs[f"{n}|{p}"]) for n in names for p in PROMPTS},
            {
                (n, p): _mean(logs[f"{n}|{p}"] - logs[f"{n}|{FRESH}"])
                for n in names
                for p in (INTEGRATED, FIXED)
            },
            {n: _mean(_log_gaps(results[f"{n}|{FIXED}"], "population_loss")) for n in names},
            {
                (str(setting), str(optimizer), int(str(step))): geometric_mean(values.to_numpy())
                for (setting, optimizer, step), values in shares
            },
        )

    def comparison(self, analysis: PopulationAnalysis) -> pd.DataFrame:
        """The columns are setting, quantity, ours, low, high (95 % interval) and seeds."""
        gap = "log10 of the final loss, SGDM over Adam"
        rows = [(n, f"{gap}, {PROMPTS[p]}", r) for (n, p), r in analysis.gaps.items()]
        rows += [
            (n, f"{gap}, {PROMPTS[p]} minus {PROMPTS[FRESH]}", r)
            for (n, p), r in analysis.changes.items()
        ]
        rows += [
            (n, "log10 of the population loss after the fixed set, SGDM over Adam", r)
            for n, r in analysis.beyond.items()
        ]
        rows += [
            (n, f"squared noise, integrated out over fresh, {o}, step {step}", r)
            for (n, o, step), r in analysis.shares.items()
        ]
        columns = ["setting", "quantity", "ours", "low", "high", "seeds"]
        numbers = [(*words, r.estimate, r.low, r.high, r.n) for *words, r in rows]
        return pd.DataFrame(numbers, columns=columns)

    def caption(self, analysis: PopulationAnalysis, plan: Plan) -> str:
        gaps = "; ".join(
            f"{setting.name} "
            + ", ".join(f"{ends(analysis.gaps[setting.name, p])} ({w})" for p, w in PROMPTS.items())
            for setting in self.settings
        )
        changes = "; ".join(
            f"{name} {PROMPTS[prompts]} {ends(change)}"
            for (name, prompts), change in analysis.changes.items()
        )
        last = max(step for _, _, step in analysis.shares)
        shares = "; ".join(
            f"{name} {optimizer} at step {step:,} {ends(share)}"
            for (name, optimizer, step), share in analysis.shares.items()
            if step in (0, last)
        )
        beyond = "; ".join(f"{name} {ends(gap)}" for name, gap in analysis.beyond.items())
        fresh = {n.partition("|")[0]: d for n, d in analysis.results.items() if n.endswith(FRESH)}
        attributes = next(iter(fresh.values())).attrs
        steps, contexts = int(attributes["steps"]), int(attributes["batch"])
        first = f"log10 of SGDM's final loss over Adam's: {gaps}."
        details = [
            f"Minus the gap with fresh prompts, seed by seed: {changes}.",
            f"{steps:,} steps of {contexts:,} contexts. Fresh prompts have one query and one "
            "vector of weights for each context. Integrated out, the mean over all queries and "
            "weights is taken exactly, as d^2 prompts for each of the same contexts, so that only "
            f"the contexts are random. The fixed set has {FIXED_CONTEXTS} contexts, all of which "
            "every update uses, so that nothing is random.",
            "Losses: with fresh prompts and integrated out, the population loss on the same "
            f"{_EVALUATION_CONTEXTS:,} contexts, queries and weights integrated out; with the "
            "fixed set, the loss on the set. The final loss is the median over the last tenth of "
            "the steps. Upper row: median over seeds, bands from smallest to largest. Middle: mean "
            "over seeds with its 95 % interval; above 0 Adam wins. Hollow: the population loss "
            f"after training on the fixed set, which rare contexts outside of it decide: {beyond}.",
            "Lower row: half the squared distance of two stochastic gradients of "
            f"{_NOISE_CONTEXTS} contexts, the median over {GradientPairs.pairs} pairs, with "
            "queries and weights integrated out over that with fresh prompts, at the same models "
            "along the runs with fresh prompts. With means in place of medians it would be the "
            "share of the contexts in the trace of the noise covariance, and the rest that of "
            "queries and weights; but traces of such heavy-tailed gradients do not settle with any "
            "number of samples that is affordable. Geometric mean over seeds with its 95 % "
            f"interval: {shares}.",
            conventions(plan, self.settings),
            rates_in_words(fresh) + " The same for all prompts.",
            diverged_in_words(analysis.results).replace("|", ", "),
            self.remark,
        ]
        return f"{first}\n\n{' '.join(filter(None, details))}"


def _experiment(setting: Setting, plan: Plan, prompts: str) -> Experiment:
    steps = shortened(_STEPS, setting, plan)
    integrated = IntegratedPrompts(setting.task)
    each = setting.task.dim**2  # prompts of a context
    along = Schedule(every=max(1, steps // _CURVE), steps=evaluated_steps(steps))
    batch = _EVALUATION_CONTEXTS * each
    measures: list[Measure] = [OnTask(along, EvaluationLoss(), integrated, "population", batch)]
    changes = {}
    if prompts == FRESH:
        when = at(*np.linspace(0, steps, 5).astype(int).tolist())
        one = GradientPairs(when, batch=_NOISE_CONTEXTS)
        whole = GradientPairs(batch=_NOISE_CONTEXTS * each)
        measures += [one, OnTask(when, whole, integrated, INTEGRATED, batch=each)]
    elif prompts == INTEGRATED:
        changes = {"task": integrated, "batch": setting.batch * each}
    else:
        size = FIXED_CONTEXTS * each
        measures.append(EvaluationLoss(along))
        changes = {"task": FixedPrompts(integrated, size), "batch": size, "evaluation_batch": size}
    return setting.experiment(
        plan,
        name=f"{setting.name}-population-{prompts}",
        seeds=first_seeds(_SEEDS, plan),
        steps=steps,
        measures=tuple(measures),
        evaluation_seeds=(0,),
        **changes,
    )


def _tidy(key: str, dataset: xr.Dataset) -> pd.DataFrame:
    """The rows of one experiment."""
    setting, _, prompts = key.partition("|")
    loss = population = dataset["population_loss"]
    share = xr.full_like(population, np.nan)
    if prompts == FRESH:
        noise = [dataset[f"{each}squared_noise"].median("pair") for each in (f"{INTEGRATED}_", "")]
        share = noise[0] / noise[1]
    elif prompts == FIXED:
        loss = dataset["loss"].isel(evaluation=0, drop=True)
    columns = {"loss": loss, "population_loss": population, "noise_share": share}
    frame = xr.Dataset({**columns, "status": dataset["status"]}).to_dataframe().reset_index()
    frame = frame[frame["status"] != Status.not_run].assign(setting=setting, prompts=prompts)
    runs = ["setting", "prompts", "optimizer", "learning_rate", "seed", "step"]
    return frame[[*runs, *columns]]


def _log_gaps(dataset: xr.Dataset, variable: str) -> np.ndarray:
    """log10 of SGDM's final loss over Adam's, by seed; NaN if a run diverged."""
    last = evaluated_steps(int(dataset.attrs["steps"]))
    chosen = xr.Dataset({"loss": dataset[variable].sel(step=list(last)), "status": dataset.status})
    table = final_losses(chosen).pivot(index="seed", columns="optimizer", values="loss")
    logs = {name: np.log10(table[name].replace(np.inf, np.nan)) for name in ("sgdm", "adam")}
    return np.asarray(logs["sgdm"] - logs["adam"])


def _mean(values: np.ndarray) -> Interval:
    """The mean over seeds; no interval if a run diverged."""
    lost = not np.isfinite(values).all()
    return no_interval(np.nan, values.size) if lost else mean_interval(values)


POPULATION = Population(
    "population",
    "Adam and SGDM with queries and weights integrated out exactly",
    "Noise is not the main factor behind the gap between SGD and Adam on Transformers (Kunstner et "
    "al., 2023).",
    MAIN,
)
