"""Tables 1 and 2, generated from the settings and their learning rates."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import equinox as eqx
import jax
import pandas as pd

from attnscape.experiments.artifact import Analysis, Artifact, Results
from attnscape.experiments.experiment import Experiment
from attnscape.experiments.setting import FULL, RECIPES, Plan, RecipeName, Setting
from attnscape.experiments.trials import TUNING_SEEDS
from attnscape.experiments.tuning import final_losses
from attnscape.paper.settings import DEPTHS, HEAVY_TAILED, MAIN, SPHERE
from attnscape.paper.variants import FACTORED, NONLINEAR, SOFTMAX, WIDE
from attnscape.tasks import Gaussian, Linear, OneHot, Radial, RegressionTask, Sphere


class TrialKey(NamedTuple):
    """A trial of a setting's search for learning rates; its string is the key of the result.

    Manifests hold the strings, such as `setting-1, trial 2`.
    """

    setting: str
    number: int

    def __str__(self) -> str:
        return f"{self.setting}, trial {self.number}"

    @classmethod
    def parse(cls, key: str) -> TrialKey:
        """The inverse of `str`."""
        setting, _, number = key.partition(", trial ")
        return cls(setting, int(number))


@dataclasses.dataclass(frozen=True)
class SettingsTable(Artifact[Analysis]):
    """A table about the settings."""

    @abc.abstractmethod
    def rows(self, plan: Plan) -> pd.DataFrame:
        """The table."""

    def obstacle(self, plan: Plan) -> str:
        if plan.own:
            return f"{self.name} lists the paper's settings; leave --task and --model out."
        return ""

    def experiments(self, plan: Plan) -> Mapping[str, Experiment]:
        return {}

    def analyse(self, results: Results) -> Analysis:
        """The frame is the table for the full plan; `tables` returns the table for a given plan."""
        return Analysis(results, self.rows(FULL))

    def tables(self, analysis: Analysis, plan: Plan) -> Mapping[str, pd.DataFrame]:
        return {self.title: self.rows(plan)}


class TableOfSettings(SettingsTable):
    """Table 1, with further numbers that the paper does not state."""

    def rows(self, plan: Plan) -> pd.DataFrame:
        """One row for each setting; `code / paper` if the recipes differ."""
        return pd.DataFrame([self._row(setting) for setting in self.settings])

    def _row(self, setting: Setting) -> dict[str, Any]:
        task = setting.task
        assert isinstance(task, RegressionTask)  # as all of the paper
        distribution, mean, variance = _distribution(task.covariates, task.dim)
        return {
            "setting": setting.title,
            "d": task.dim,
            "n": task.context,
            "L": setting.layers,
            "covariates": distribution,
            "E|x|^2": mean,
            "Var|x|^2": variance,
            "response": "<w, x>" if isinstance(task.response, Linear) else repr(task.response),
            "form": _both(setting.form),
            "parameters": _both({recipe: _parameters(setting, recipe) for recipe in RECIPES}),
            "initial std": _both(setting.scale),
            "batch": setting.batch,
            "steps": setting.all_steps,
            "seeds": setting.seeds,
            "clip": _both(setting.clip),
        }

    def caption(self, analysis: Analysis, plan: Plan) -> str:
        return (
            "What is run, setting by setting.\n\n"
            "d: dimension; n: examples in a prompt; L: layers; weights w ~ N(0, I). "
            "Two values are those of the recipes `code` / `paper`, what the public code does and "
            "what the text says. Clip: global norm that gradients are clipped to before the "
            "optimizer. Setting 3 and the heavy-tailed setting have one fifth of Setting 1's "
            "covariance and the same variance of |x|^2."
        )


class TableOfRates(SettingsTable):
    """Table 2: learning rates by setting and optimizer, and the results of searches."""

    def rows(self, plan: Plan) -> pd.DataFrame:
        """The columns setting, optimizer, printed, code, recorded; after searches also three more.

        These are `found`, `below` and `above`; the last two are results at the neighbouring rates.
        """
        table = pd.DataFrame(
            [
                {
                    "setting": setting.title,
                    "optimizer": optimizer,
                    "printed": setting.rates["paper"][optimizer] if setting.published else None,
                    "code": rate if setting.published else None,
                    "recorded": None if setting.published else rate,
                    "found": plan.rates.get(setting.name, {}).get(optimizer),
                    **self._beside(plan, setting, optimizer),
                }
                for setting in self.settings
                for optimizer, rate in setting.rates["code"].items()
            ]
        )
        return table if plan.searches else table.drop(columns=["found", "below", "above"])

    def _beside(self, plan: Plan, setting: Setting, optimizer: str) -> dict[str, str]:
        """The search's results at the rates next to the rate found."""
        found = plan.searches.get(setting.name)
        return {
            place: found.beside(optimizer, place) if found else "" for place in ("below", "above")
        }

    def experiments(self, plan: Plan) -> Mapping[str, Experiment]:
        """The trials of the plan's searches, which have already been run."""
        return {
            str(TrialKey(setting.name, number)): trial
            for setting in self.settings
            if setting.name in plan.searches
            for number, trial in enumerate(plan.searches[setting.name].trials, start=1)
        }

    def analyse(self, results: Results) -> Analysis:
        """The frame has the runs of the searches; without a search, it is the table.

        The columns are setting, optimizer, learning_rate, seed and loss (the final loss, infinite
        if the run diverged).
        """
        if not results:
            return super().analyse(results)
        frames = [
            final_losses(trial).assign(setting=TrialKey.parse(key).setting)
            for key, trial in results.items()
        ]
        columns = ["setting", "optimizer", "learning_rate", "seed", "loss"]
        return Analysis(results, pd.concat(frames, ignore_index=True)[columns])

    def against_rates(self, plan: Plan) -> str:
        return ""  # the caption says it by the settings' titles

    def caption(self, analysis: Analysis, plan: Plan) -> str:
        words = [
            "Learning rates of every setting.\n\n"
            "`printed` are those of the paper's Table 2, which the recipe `paper` uses; `code` "
            "those of the public code, which the recipe `code` uses; `recorded` what stands in "
            "where the paper gives none: rates found by a search, and those of Setting 1 for "
            "separate query and key matrices. Adam's rates of Settings 1 and 2 are swapped in "
            "print."
        ]
        if plan.searches:
            words.append(
                "`found` are those of a search of our own, which replace the others: the smallest "
                f"median final loss over {len(TUNING_SEEDS)} seeds that no result is reported on, "
                "among the rates at which none of them diverges, on a 1-2-5 grid of 10 values that "
                "goes on where the best is its first or last; `below` and `above`: the rates next "
                "to it, their median loss, and how many runs diverged there. Lines: that median; "
                "bands: smallest to largest of the seeds; dots: the rate found; dotted lines: the "
                "rates of the recipe."
            )
        for setting in self.settings:
            warning = setting.name in plan.searches and plan.searches[setting.name].warning()
            if warning:
                words.append(f"{setting.title}: {warning}")
        return " ".join(words)


def _distribution(covariates: Any, dim: int) -> tuple[str, float | None, float | None]:
    """The distribution of x in words, and mean and variance of |x|^2."""
    match covariates:
        case Gaussian(covariance=None):
            return "N(0, I)", float(dim), 2.0 * dim
        case Sphere():
            return "uniform on the unit sphere", 1.0, 0.0
        case OneHot():
            return "uniform on the unit vectors", 1.0, 0.0
        case Radial(squared_radius=distribution):
            arguments = [f"{a:g}" for a in distribution.args] + [
                f"{k}={v:g}" for k, v in distribution.kwds.items()
            ]
            words = f"|x|^2 ~ {distribution.dist.name}({', '.join(arguments)}), uniform direction"
            return words, float(distribution.mean()), float(distribution.var())
        case _:
            return repr(covariates), None, None


def _parameters(setting: Setting, recipe: RecipeName) -> int:
    model = eqx.filter_eval_shape(setting.model(Plan(recipe)), jax.random.key(0))
    return sum(leaf.size for leaf in jax.tree.leaves(model) if hasattr(leaf, "size"))


def _both(by_recipe: Mapping[RecipeName, Any]) -> str:
    return " / ".join(dict.fromkeys(f"{by_recipe[recipe]}" for recipe in RECIPES))


_ALL = (*MAIN, SPHERE, HEAVY_TAILED, *DEPTHS, SOFTMAX, FACTORED, WIDE, NONLINEAR)
TABLE1 = TableOfSettings(
    "table1",
    "The settings (Table 1)",
    "Three settings with different lengths of context and distributions of covariates.",
    _ALL,
)
TABLE2 = TableOfRates(
    "table2",
    "Learning rates (Table 2)",
    "The best of ten learning rates for each setting and optimizer.",
    _ALL,
)
