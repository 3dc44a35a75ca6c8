"""Settings (task, model, learning rates) and plans (number of seeds and steps, recipe).

The paper's text and its public code differ. The recipe `code` follows the public code, which made
the figures. The recipe `paper` follows the text, and the code if the text says nothing.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal, get_args

from attnscape.errors import UsageError
from attnscape.experiments.experiment import Experiment
from attnscape.experiments.tuning import Search
from attnscape.measures import (
    Curvature,
    DirectionalSmoothness,
    EvaluationLoss,
    GradientNoise,
    LargeBatchLoss,
    Measure,
    TrainingLoss,
    at,
    every,
)
from attnscape.models import Form, LinearTransformer, ModelFactory
from attnscape.optimizers import NAMED
from attnscape.tasks import Task

RecipeName = Literal["code", "paper"]
RECIPES: tuple[RecipeName, ...] = get_args(RecipeName)
Convention = Literal["rates", "clip", "form", "scale"]
NetworkSize = Literal["published", "small", "tiny"]
CONVENTIONS: tuple[Convention, ...] = get_args(Convention)
CONDITION_STEPS = (750, 1250)  # steps of the table in Fig. 4, with Hessians on all batches
LOSSES: tuple[Measure, ...] = (EvaluationLoss(), TrainingLoss(), LargeBatchLoss(every(2500)))
# At all scheduled steps on the first batch; on all batches often enough for medians over steps.
_SMOOTHNESS = (DirectionalSmoothness(evaluations=1), DirectionalSmoothness(every(250)))
# The measures on which the claims are judged, on every evaluation batch.
JUDGED: tuple[Measure, ...] = (*LOSSES, Curvature(at(*CONDITION_STEPS)), *_SMOOTHNESS)
# The same with condition numbers along training, on the first batch as in the paper.
LANDSCAPE: tuple[Measure, ...] = (Curvature(every(250), evaluations=1), *JUDGED)


@dataclasses.dataclass(frozen=True)
class Plan:
    """How much to run, and by which recipe.

    Attributes:
        recipe: `code` or `paper`.
        seeds: Each experiment has the seeds 0, 1, ..., seeds - 1; None for each setting's default.
        steps: Largest number of updates of each run, and of samples of gradient noise; None for the
            paper's number.
        all_steps: Whether expensive settings that have fewer steps by default (Fig. 8 right) have
            all steps.
        tune: Whether learning rates are searched for and replace the published ones.
        searches: The searches done so far, by setting.
        overrides: Conventions that follow another recipe than `recipe`.
        many_seeds: Number of seeds in experiments that show a distribution over seeds.
        evaluations: Number of fixed batches, with the evaluation seeds 0, 1, ..., on which losses,
            curvature and smoothness are measured; the first is the paper's one batch.
        task: A user's task, which replaces the task of every setting.
        model: A user's model, which replaces the model of every setting.
        own: These two in words; empty if there is neither.
        network_size: Size of real networks.
        data: Where the data of real networks come from: `packaged`, `hub`, or a folder.

    Raises:
        UsageError: If `overrides` has an unknown convention or recipe, or a number is below 1.

    Examples:
        >>> from attnscape.experiments.setting import Plan
        >>> plan = Plan(seeds=3, steps=2000, overrides={"clip": "paper"})
        >>> plan.recipe_of("clip"), plan.recipe_of("form")
        ('paper', 'code')
    """

    recipe: RecipeName = "code"
    seeds: int | None = None
    steps: int | None = None
    all_steps: bool = False
    tune: bool = False
    searches: Mapping[str, Search] = dataclasses.field(default_factory=dict)
    overrides: Mapping[Convention, RecipeName] = dataclasses.field(default_factory=dict)
    many_seeds: int = 100
    evaluations: int = 8
    task: Task | None = None
    model: ModelFactory | None = None
    own: str = ""
    network_size: NetworkSize = "published"
    data: str = "packaged"

    def __post_init__(self) -> None:
        for name in ("seeds", "steps", "many_seeds", "evaluations"):
            number = getattr(self, name)
            if number is not None and number < 1:  # 0 would count as no number given
                raise UsageError(f"{name} is {number}; it must be at least 1.")
        for convention, recipe in self.overrides.items():
            if convention not in CONVENTIONS or recipe not in RECIPES:
                raise UsageError(
                    f"The override {convention!r}: {recipe!r} is not known; conventions are "
                    f"{', '.join(CONVENTIONS)}, recipes are {' and '.join(RECIPES)}."
                )

    @property
    def rates(self) -> dict[str, dict[str, float]]:
        """Learning rates that were found, by setting and optimizer."""
        return {setting: dict(search.rates) for setting, search in self.searches.items()}

    def as_json(self) -> dict[str, Any]:
        """All fields: searches as the rates that they found, user's parts only in words."""
        names = [field.name for field in dataclasses.fields(self)]
        fields = {name: getattr(self, name) for name in names if name not in ("task", "model")}
        return fields | {"overrides": dict(self.overrides), "searches": self.rates}

    def recipe_of(self, convention: Convention) -> RecipeName:
        """The recipe that a convention follows."""
        return self.overrides.get(convention, self.recipe)


_NOISE_SEEDS = 6  # each has 10,000 stochastic gradients
FULL = Plan()
QUICK = Plan(seeds=3, steps=2_000, many_seeds=12, evaluations=2, network_size="tiny")


def _by_recipe(code: Any, paper: Any) -> Any:
    """A field whose default differs between the recipes."""
    return dataclasses.field(default_factory=lambda: {"code": code, "paper": paper})


@dataclasses.dataclass(frozen=True)
class Setting:
    """A task, a model and the learning rates for it.

    Attributes:
        name: Name in file names.
        title: Title in figures.
        task: The task that prompts come from.
        rates: Learning rates of each recipe, by optimizer.
        published: Whether the paper states these rates; otherwise it states none.
        found: Learning rates from a search although others are published, by optimizer.
        init: Makes the model; called with key, layers, dim, form and scale.
        layers: L; None with a user's model, which may have none.
        clip: Global norm for clipping in each recipe.
        form: Form of P and Q in each recipe.
        scale: Standard deviation of their initial entries in each recipe.
        batch: Prompts per update.
        seeds: Default number of seeds; the paper has 6 (5 in App. B).
        steps: Default number of steps.
        all_steps: Number of steps in the paper.
        measures: The measures.

    Examples:
        >>> from attnscape import RegressionTask
        >>> from attnscape.experiments.setting import Plan, Setting, rates_of
        >>> rates = rates_of(sgdm=0.1, adam=0.02)
        >>> setting = Setting("small", "d = 2", RegressionTask(dim=2), rates)
        >>> experiment = setting.experiment(Plan(seeds=3, steps=100))
        >>> sorted(experiment.optimizers), experiment.run_steps
        (['adam', 'sgdm'], 600)
    """

    name: str
    title: str
    task: Task
    rates: Mapping[RecipeName, Mapping[str, float]]
    published: bool = True
    found: Mapping[str, float] = dataclasses.field(default_factory=dict)
    init: Callable[..., Any] = LinearTransformer.init
    layers: int | None = 3
    clip: Mapping[RecipeName, float] = _by_recipe(1.0, 1.0)
    form: Mapping[RecipeName, Form] = _by_recipe("block", "full")
    scale: Mapping[RecipeName, float] = _by_recipe(0.05, 0.05)
    batch: int = 1000
    seeds: int = 6
    steps: int = 10_000
    all_steps: int = 10_000
    measures: tuple[Measure, ...] = LANDSCAPE

    def experiment(self, plan: Plan, **changes: Any) -> Experiment:
        """The experiment with SGDM and Adam on this setting; `changes` replace its fields."""
        found = plan.searches.get(self.name)
        rates = found.rates if found else self.rates[plan.recipe_of("rates")]
        experiment = Experiment(
            name="-".join(self._name_parts(plan)),
            task=plan.task or self.task,
            model=plan.model or self.model(plan),
            optimizers={name: NAMED[name] for name in rates},
            learning_rates={name: (rate,) for name, rate in rates.items()},
            seeds=tuple(range(plan.seeds or self.seeds)),
            steps=self._steps(plan),
            batch=self.batch,
            clip=self.clip[plan.recipe_of("clip")],
            measures=self.measures,
            evaluation_seeds=tuple(range(plan.evaluations)),
        )
        return dataclasses.replace(experiment, **changes)

    def _steps(self, plan: Plan) -> int:
        """The plan's steps, shortened in the same proportion as the setting's default steps."""
        steps = min(self.all_steps, plan.steps or self.all_steps)
        return steps if plan.all_steps else max(1, steps * self.steps // self.all_steps)

    def noise_experiment(self, plan: Plan) -> Experiment:
        """The experiment that measures gradient noise at initialisation for each seed."""
        most = GradientNoise.samples
        measure = GradientNoise(samples=min(most, plan.steps or most), batch_sizes=(self.batch,))
        experiment = self.experiment(
            plan,
            seeds=tuple(range(plan.seeds or min(self.seeds, _NOISE_SEEDS))),
            optimizers={"sgdm": NAMED["sgdm"]},
            learning_rates={"sgdm": (1.0,)},  # the experiment has no steps
            steps=0,
            measures=(measure,),
        )
        return dataclasses.replace(experiment, name=f"{experiment.name}-noise")

    def _name_parts(self, plan: Plan) -> list[str]:
        """Setting (with user's parts it has another name), recipe unless `code`, overrides."""
        recipe = [] if plan.recipe == "code" else [plan.recipe]
        deviations = [f"{name}-{value}" for name, value in plan.overrides.items()]
        return [self.name, *recipe, *deviations]

    def model(self, plan: Plan) -> functools.partial[Any]:
        """Makes the initial model of a seed from a key."""
        return functools.partial(
            self.init,
            layers=self.layers,
            dim=(plan.task or self.task).dim,
            form=self.form[plan.recipe_of("form")],
            scale=self.scale[plan.recipe_of("scale")],
        )


def rates_of(
    sgdm: float, adam: float, paper: tuple[float, float] | None = None
) -> Mapping[RecipeName, Mapping[str, float]]:
    """Rates of SGDM and Adam in the code, and in print (`paper`) if those differ.

    Examples:
        >>> from attnscape.experiments.setting import rates_of
        >>> rates = rates_of(sgdm=0.1, adam=0.02, paper=(0.05, 0.01))
        >>> rates["code"]["adam"], rates["paper"]["adam"]
        (0.02, 0.01)
    """
    printed = paper or (sgdm, adam)
    return MappingProxyType(
        {
            "code": MappingProxyType({"sgdm": sgdm, "adam": adam}),
            "paper": MappingProxyType({"sgdm": printed[0], "adam": printed[1]}),
        }
    )
