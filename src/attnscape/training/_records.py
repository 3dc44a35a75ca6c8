"""What is recorded of runs, where it is in the Dataset, and both as plain values."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import Int, PyTree, Shaped
from numpy.typing import DTypeLike

from attnscape.measures import Measure, Variable
from attnscape.trees import Plain

# At one step, for each optimizer: names and arrays (1, learning rate, ...).
Taken = list[dict[str, Shaped[np.ndarray, "1 _ ..."]]]


def part_of(seed: int) -> str:
    """The name of a seed's runs among the checkpoints.

    Examples:
        >>> from attnscape.training import part_of
        >>> part_of(3)
        'seed-3'
    """
    return f"seed-{seed}"


@dataclasses.dataclass(frozen=True)
class SeedRecord:
    """The records of the runs of one seed.

    Attributes:
        diverged_at: For each optimizer, an array (1, learning rate): the step at which a run
            diverged, or -1.
        values: For each measure, what was taken at each of its steps.
    """

    diverged_at: list[Int[np.ndarray, "1 _"]]
    values: list[list[Taken]]

    def plain(self) -> Plain:
        """The record as plain values, with one array for all steps."""
        stacked = [
            [
                {name: np.stack([step[index][name] for step in taken]) for name in of_optimizer}
                for index, of_optimizer in enumerate(taken[0])
            ]
            if taken
            else []
            for taken in self.values
        ]
        return {"diverged_at": list(self.diverged_at), "values": stacked}

    @classmethod
    def read(cls, plain: Plain) -> SeedRecord:
        """The record that `plain` has returned."""
        values = []
        for stacked in plain["values"]:
            count = len(next(iter(stacked[0].values()))) if stacked else 0
            values.append(
                [
                    [
                        {name: a[step] for name, a in of_optimizer.items()}
                        for of_optimizer in stacked
                    ]
                    for step in range(count)
                ]
            )
        return cls(list(plain["diverged_at"]), values)


@dataclasses.dataclass(frozen=True)
class Recorded:
    """What is recorded of one measure.

    Attributes:
        steps: Its steps.
        variables: Its variables.
        evaluations: The number of evaluation batches.
        labels: Labels along the dims that it adds.
    """

    steps: Sequence[int]
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
    stops: Sequence[int]
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
        due = [measure.schedule.within(steps) for measure in measures]
        stops = sorted({step for scheduled in due for step in scheduled} | {steps})
        recorded = [
            Recorded(
                scheduled,
                measure.variables(),
                measure.evaluations or len(evaluation_seeds),
                measure.coordinates(model) if scheduled else {},
            )
            for measure, scheduled in zip(measures, due, strict=True)
        ]
        return cls(rates, seeds, stops, evaluation_seeds, recorded)

    def plain(self) -> Plain:
        """The layout as plain values."""
        return {
            "rates": [[name, list(rates)] for name, rates in self.rates.items()],
            "seeds": [int(seed) for seed in self.seeds],
            "stops": [int(step) for step in self.stops],
            "evaluation_seeds": [int(seed) for seed in self.evaluation_seeds],
            "measures": [
                {
                    "steps": [int(step) for step in each.steps],
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
                each["steps"],
                {
                    name: Variable(long_name, tuple(dims), on_evaluation)
                    for name, (long_name, dims, on_evaluation) in each["variables"].items()
                },
                each["evaluations"],
                each["labels"],
            )
            for each in plain["measures"]
        ]
        rates, seeds, stops = dict(plain["rates"]), plain["seeds"], plain["stops"]
        return cls(rates, seeds, stops, plain["evaluation_seeds"], measures)

    def scatter(
        self,
        per_optimizer: Sequence[Shaped[np.ndarray, "seed _ ..."]],
        fill: float | int,
        dtype: DTypeLike,
    ) -> Shaped[np.ndarray, "optimizer rate seed ..."]:
        """One array (optimizer, learning rate, seed, ...) with `fill` for combinations not run.

        Args:
            per_optimizer: For each optimizer, an array (seed, its learning rates, ...).
            fill: The value for learning rates that an optimizer does not have.
            dtype: Type of the result.
        """
        rates = self.learning_rates
        trailing = np.shape(per_optimizer[0])[2:]
        grid = np.full((len(self.rates), len(rates), len(self.seeds), *trailing), fill, dtype)
        for index, (own, values) in enumerate(zip(self.rates.values(), per_optimizer, strict=True)):
            columns = [rates.index(rate) for rate in own]
            grid[index, columns] = np.moveaxis(np.asarray(values), 1, 0)
        return grid

    @property
    def learning_rates(self) -> list[float]:
        """The learning rates of all optimizers, ascending."""
        return sorted({rate for rates in self.rates.values() for rate in rates})


def _plain_label(label: object) -> Plain:
    value = label.item() if isinstance(label, np.generic) else label
    return value if isinstance(value, bool | int | float | str) else str(value)
