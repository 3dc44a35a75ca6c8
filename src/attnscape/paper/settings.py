"""The paper's settings and the two recipes (PAPER.md, sections 2 and 3).

The text of the paper and its public code differ. `code` is what the public code does, which made
the figures; `paper` is what the text says, and the code's value where the text is silent.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal, get_args

from scipy import stats

from attnscape.errors import UsageError
from attnscape.experiment import Experiment
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
from attnscape.tasks import RegressionTask, Sphere, Task
from attnscape.tasks.covariates import Radial
from attnscape.tuning import Search

RecipeName = Literal["code", "paper"]
RECIPES: tuple[RecipeName, ...] = get_args(RecipeName)
Convention = Literal["rates", "clip", "form", "scale"]
CONVENTIONS: tuple[Convention, ...] = get_args(Convention)
CONDITION_STEPS = (750, 1250)  # of the table in Fig. 4: Hessians are taken on all batches there
LOSSES: tuple[Measure, ...] = (EvaluationLoss(), TrainingLoss(), LargeBatchLoss(every(2500)))
# What claims are judged by, on every evaluation batch.
JUDGED: tuple[Measure, ...] = (*LOSSES, Curvature(at(*CONDITION_STEPS)), DirectionalSmoothness())
# With it, condition numbers along training, on the first batch as in the paper.
LANDSCAPE: tuple[Measure, ...] = (Curvature(every(250), evaluations=1), *JUDGED)


@dataclasses.dataclass(frozen=True)
class Plan:
    """How much to run, and by which recipe.

    Attributes:
        recipe: `code` or `paper`.
        seeds: Seeds 0, 1, ..., seeds - 1 of every experiment; None for as many as the paper has.
        steps: At most so many updates of each run, and so many samples of gradient noise; None for
            as many as the paper has.
        all_steps: Also where the default is shortened for its cost (Fig. 8 right).
        tune: Whether learning rates are searched for, and replace the published ones.
        searches: By setting: what was found so far.
        overrides: Conventions that are taken from another recipe than `recipe`.
        many_seeds: As `seeds`, of experiments that show a distribution over seeds.
        evaluations: Fixed batches, with the evaluation seeds 0, 1, ..., that losses, curvature and
            smoothness are taken on; the first is the paper's one batch.
        task: A user's own, in place of every setting's.
        model: A user's own, in place of every setting's.
        own: What these two are, in words; empty where there is neither.

    Raises:
        UsageError: If `overrides` has an unknown convention or recipe.
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

    def __post_init__(self) -> None:
        for convention, recipe in self.overrides.items():
            if convention not in CONVENTIONS or recipe not in RECIPES:
                raise UsageError(
                    f"The override {convention!r}: {recipe!r} is not known; conventions are "
                    f"{', '.join(CONVENTIONS)}, recipes are {' and '.join(RECIPES)}."
                )

    @property
    def rates(self) -> dict[str, dict[str, float]]:
        """Learning rates that were found, by setting, then by optimizer."""
        return {setting: dict(search.rates) for setting, search in self.searches.items()}

    def as_json(self) -> dict[str, Any]:
        """All fields, the searches as the rates that they found; own parts in words only."""
        names = [field.name for field in dataclasses.fields(self)]
        fields = {name: getattr(self, name) for name in names if name not in ("task", "model")}
        return fields | {"overrides": dict(self.overrides), "searches": self.rates}

    def recipe_of(self, convention: Convention) -> RecipeName:
        """The recipe that a convention is taken from."""
        return self.overrides.get(convention, self.recipe)


_NOISE_SEEDS = 6  # each has 10,000 stochastic gradients
FULL = Plan()
QUICK = Plan(seeds=3, steps=2_000, many_seeds=12, evaluations=2)


def _by_recipe(code: Any, paper: Any) -> Any:
    """A field whose default differs between the recipes."""
    return dataclasses.field(default_factory=lambda: {"code": code, "paper": paper})


@dataclasses.dataclass(frozen=True)
class Setting:
    """A task, a model and the learning rates for it.

    Attributes:
        name: As in file names.
        title: As in figures.
        task: Where prompts come from.
        rates: Of each recipe: learning rates by optimizer.
        published: Whether the paper gives these rates; else they stand in for what it leaves out.
        found: Learning rates that a search found where others are published, by optimizer.
        init: Makes the model; called with key, layers, dim, form and scale.
        layers: L.
        clip: Of each recipe: global norm for clipping.
        form: Of each recipe: form of P and Q.
        scale: Of each recipe: standard deviation of their initial entries.
        batch: Prompts an update.
        seeds: As many as are run by default; the paper has 6 (5 in App. B).
        steps: Likewise.
        all_steps: As many as the paper has.
        measures: What is recorded.
    """

    name: str
    title: str
    task: RegressionTask
    rates: Mapping[RecipeName, Mapping[str, float]]
    published: bool = True
    found: Mapping[str, float] = dataclasses.field(default_factory=dict)
    init: Callable[..., Any] = LinearTransformer.init
    layers: int = 3
    clip: Mapping[RecipeName, float] = _by_recipe(1.0, 1.0)
    form: Mapping[RecipeName, Form] = _by_recipe("block", "full")
    scale: Mapping[RecipeName, float] = _by_recipe(0.05, 0.05)
    batch: int = 1000
    seeds: int = 6
    steps: int = 10_000
    all_steps: int = 10_000
    measures: tuple[Measure, ...] = LANDSCAPE

    def experiment(self, plan: Plan, **changes: Any) -> Experiment:
        """SGDM and Adam on this setting; `changes` replace fields of the experiment."""
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
        """The plan's, shortened in the proportion in which the setting is by default."""
        steps = min(self.all_steps, plan.steps or self.all_steps)
        return steps if plan.all_steps else max(1, steps * self.steps // self.all_steps)

    def noise_experiment(self, plan: Plan) -> Experiment:
        """Gradient noise at initialisation, of each seed."""
        most = GradientNoise.samples
        measure = GradientNoise(samples=min(most, plan.steps or most), batch_sizes=(self.batch,))
        experiment = self.experiment(
            plan,
            seeds=tuple(range(plan.seeds or min(self.seeds, _NOISE_SEEDS))),
            optimizers={"sgdm": NAMED["sgdm"]},
            learning_rates={"sgdm": (1.0,)},  # no step is taken
            steps=0,
            measures=(measure,),
        )
        return dataclasses.replace(experiment, name=f"{experiment.name}-noise")

    def _name_parts(self, plan: Plan) -> list[str]:
        """Setting (own parts have names of their own), recipe unless it is `code`, deviations."""
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
    """Rates of SGDM and Adam in the code; in print where that differs."""
    printed = paper or (sgdm, adam)
    return MappingProxyType(
        {
            "code": MappingProxyType({"sgdm": sgdm, "adam": adam}),
            "paper": MappingProxyType({"sgdm": printed[0], "adam": printed[1]}),
        }
    )


_HEAVY = Radial(stats.gamma(0.1, scale=10))
_MAIN_SEEDS = 24  # four times the paper's: here they cost seconds

SETTING_1 = Setting(
    "setting-1",
    "Setting 1: n = 20, N(0, I)",
    RegressionTask(context=20),
    # Adam's rates of Settings 1 and 2 are swapped in print.
    rates_of(0.02, 0.02, paper=(0.02, 0.005)),
    found=MappingProxyType({"sgdm": 0.2, "adam": 0.01}),
    seeds=_MAIN_SEEDS,
)
SETTING_2 = Setting(
    "setting-2",
    "Setting 2: n = 5, N(0, I)",
    RegressionTask(context=5),
    rates_of(0.01, 0.005, paper=(0.01, 0.02)),
    found=MappingProxyType({"sgdm": 0.02, "adam": 0.01}),
    seeds=_MAIN_SEEDS,
)
SETTING_3 = Setting(
    "setting-3",
    "Setting 3: n = 20, heavy-tailed",
    RegressionTask(context=20, covariates=_HEAVY),
    rates_of(0.02, 0.02),
    found=MappingProxyType({"sgdm": 0.05, "adam": 0.01}),
    seeds=_MAIN_SEEDS,
)
SPHERE = Setting(
    "sphere",
    "Spherical covariates",
    RegressionTask(context=20, covariates=Sphere()),
    rates_of(5.0, 0.1),
    clip=MappingProxyType({"code": 0.1, "paper": 1.0}),
)
HEAVY_TAILED = dataclasses.replace(SETTING_3, title="Heavy-tailed covariates")


def _depth(layers: int, sgdm: float, adam: float) -> Setting:
    return Setting(
        f"depth-{layers}",
        f"L = {layers}",
        RegressionTask(context=20),
        rates_of(sgdm, adam),
        layers=layers,
    )


DEPTHS = (
    _depth(2, 0.1, 0.1),
    _depth(4, 0.05, 0.05),
    _depth(6, 0.05, 0.05),
    _depth(8, 0.05, 0.02),
)
MAIN = (SETTING_1, SETTING_2, SETTING_3)
