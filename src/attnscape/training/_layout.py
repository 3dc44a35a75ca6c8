"""Where the records of runs are in the Dataset, also as plain values."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import Int, PyTree

from attnscape.measures import Measure, Variable
from attnscape.trees import Plain


def part_of(seed: int) -> str:
    """The name of a seed's runs among the checkpoints.

    Examples:
        >>> from attnscape.training import part_of
        >>> part_of(3)
        'seed-3'
    """
    return f"seed-{seed}"


@dataclasses.dataclass(frozen=True)
class Recorded:
    """What is recorded of one measure.

    Attributes:
        steps: Its steps.
        variables: Its variables.
        evaluations: The number of evaluation batches.
        labels: Labels along the dims that it adds.
    """

    steps: Int[np.ndarray, " scheduled"]
    variables: Mapping[str, Variable]
    evaluations: int
    labels: Mapping[str, Sequence[object]]


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where records are in the Dataset.

    It has all combinations of optimizer, learning rate and seed; some of them are not run.

    Attributes:
        rates: The learning rates of each optimizer.
        seeds: The seeds.
        stops: All steps at which something is measured, and the last step.
        evaluation_seeds: Labels of the dim `evaluation`.
        measures: What is recorded of each measure.
    """

    rates: Mapping[str, Sequence[float]]
    seeds: Sequence[int]
    stops: Int[np.ndarray, " step"]
    evaluation_seeds: Sequence[int]
    measures: Sequence[Recorded]

    @classmethod
    def of(
        cls,
        rates: Mapping[str, Sequence[float]],
        seeds: Sequence[int],
        steps: int,
        evaluation_seeds: Sequence[int],
        measures: Sequence[Measure],
        model: Callable[..., PyTree],
    ) -> Layout:
        """The layout of a training; `model` is of one of its runs, for labels of measures' dims."""
        due = [np.array(measure.schedule.within(steps), np.int64) for measure in measures]
        stops = np.unique(np.concatenate([*due, [steps]]).astype(np.int64))
        recorded = [
            Recorded(
                scheduled,
                measure.variables(),
                measure.evaluations or len(evaluation_seeds),
                measure.coordinates(model) if scheduled.size else {},
            )
            for measure, scheduled in zip(measures, due, strict=True)
        ]
        return cls(rates, seeds, stops, evaluation_seeds, recorded)

    def plain(self) -> Plain:
        """The layout as plain values."""
        return {
            "rates": [[name, list(rates)] for name, rates in self.rates.items()],
            "seeds": [int(seed) for seed in self.seeds],
            "stops": self.stops,
            "evaluation_seeds": [int(seed) for seed in self.evaluation_seeds],
            "measures": [
                {
                    "steps": each.steps,
                    "variables": {
                        name: [variable.long_name, list(variable.dims), variable.on_evaluation]
                        for name, variable in each.variables.items()
                    },
                    "evaluations": int(each.evaluations),
                    "labels": {d: list(map(_plain_label, of)) for d, of in each.labels.items()},
                }
                for each in self.measures
            ],
        }

    @classmethod
    def read(cls, plain: Plain) -> Layout:
        """The layout that `plain` has returned."""
        measures = [
            Recorded(
                np.asarray(each["steps"], np.int64),
                {
                    name: Variable(long_name, tuple(dims), on_evaluation)
                    for name, (long_name, dims, on_evaluation) in each["variables"].items()
                },
                each["evaluations"],
                each["labels"],
            )
            for each in plain["measures"]
        ]
        rates, stops = dict(plain["rates"]), np.asarray(plain["stops"], np.int64)
        return cls(rates, plain["seeds"], stops, plain["evaluation_seeds"], measures)

    @property
    def learning_rates(self) -> list[float]:
        """The learning rates of all optimizers, ascending."""
        return sorted({rate for rates in self.rates.values() for rate in rates})


def _plain_label(label: object) -> Plain:
    value = label.item() if isinstance(label, np.generic) else label
    return value if isinstance(value, bool | int | float | str) else str(value)
