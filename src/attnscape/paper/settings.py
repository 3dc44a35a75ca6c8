"""The paper's settings and the recipe of its public code (PAPER.md, sections 2 and 3)."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from types import MappingProxyType

from scipy import stats

from attnscape.experiment import Experiment
from attnscape.models import Form, LinearTransformer
from attnscape.optimizers import NAMED
from attnscape.tasks import RegressionTask
from attnscape.tasks.covariates import Radial


@dataclasses.dataclass(frozen=True)
class Setting:
    """A task and a depth, with the learning rates that the public code uses.

    Attributes:
        name: As in file names.
        title: As in figures.
        task: Where prompts come from.
        learning_rates: By optimizer.
        layers: L.
        clip: Global norm for clipping.
    """

    name: str
    title: str
    task: RegressionTask
    learning_rates: Mapping[str, float]
    layers: int = 3
    clip: float = 1.0

    def experiment(
        self, *, seeds: int, steps: int, form: Form = "block", scale: float = 0.05
    ) -> Experiment:
        """SGDM and Adam on this setting, by the `code` recipe."""
        return Experiment(
            name=self.name,
            task=self.task,
            model=functools.partial(
                LinearTransformer.init,
                layers=self.layers,
                dim=self.task.dim,
                form=form,
                scale=scale,
            ),
            optimizers={name: NAMED[name] for name in self.learning_rates},
            learning_rates={name: (rate,) for name, rate in self.learning_rates.items()},
            seeds=tuple(range(seeds)),
            steps=steps,
            clip=self.clip,
        )


def _rates(sgdm: float, adam: float) -> Mapping[str, float]:
    return MappingProxyType({"sgdm": sgdm, "adam": adam})


SETTING_1 = Setting(
    "setting-1", "Setting 1: n = 20, N(0, I)", RegressionTask(context=20), _rates(0.02, 0.02)
)
SETTING_2 = Setting(
    "setting-2", "Setting 2: n = 5, N(0, I)", RegressionTask(context=5), _rates(0.01, 0.005)
)
SETTING_3 = Setting(
    "setting-3",
    "Setting 3: n = 20, heavy-tailed",
    RegressionTask(context=20, covariates=Radial(stats.gamma(0.1, scale=10))),
    _rates(0.02, 0.02),
)
