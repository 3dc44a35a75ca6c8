"""The records of all runs, kept in the arrays of the Dataset from the first measurement on.

So they take the memory of the result, however many measurements and runs it comes from.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int, Shaped

from attnscape.measures import Variable
from attnscape.training._layout import Layout
from attnscape.trees import Plain

# At one step, for each optimizer: names and arrays (1, learning rate, ...).
Taken = Sequence[dict[str, Shaped[np.ndarray, "1 _ ..."]]]


class Records:
    """What was measured of all runs; NaN where nothing was measured yet, or is not run.

    Threads may call its methods at once for different seeds, which have places of their own.

    Attributes:
        layout: Where records are in the Dataset.
        arrays: The variables of which something was measured: (optimizer, learning rate, seed,
            step, evaluation, ...), without evaluation if they are not on evaluation batches.
        diverged_at: The step at which a run diverged, or -1.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.arrays: dict[str, Shaped[np.ndarray, "optimizer rate seed step ..."]] = {}
        runs = len(layout.rates), len(layout.learning_rates), len(layout.seeds)
        self.diverged_at: Int[np.ndarray, "optimizer rate seed"] = np.full(runs, -1, np.int32)
        self._places = {int(seed): place for place, seed in enumerate(layout.seeds)}
        self._columns = [
            np.searchsorted(layout.learning_rates, own) for own in layout.rates.values()
        ]
        self._making = threading.Lock()

    @property
    def was_run(self) -> Bool[np.ndarray, "optimizer rate seed"]:
        """Which combinations are run."""
        found = np.zeros(self.diverged_at.shape, bool)
        for index, columns in enumerate(self._columns):
            found[index, columns] = True
        return found

    def due(self, step: int) -> list[int]:
        """The measures that are scheduled for a step, by their places in the layout."""
        measures = enumerate(self.layout.measures)
        return [index for index, each in measures if _count(each.steps, step + 1, since=step)]

    def add(self, seed: int, measure: int, step: int, taken: Taken) -> None:
        """Records what a measure has taken of a seed's runs at a step."""
        place, row = self._places[seed], _count(self.layout.stops, step)
        for name, variable in self.layout.measures[measure].variables.items():
            array = self._array(name, variable, taken[0][name][0])
            for index, columns in enumerate(self._columns):
                (values,) = taken[index][name]
                at_step = array[index, :, place, row]
                if variable.on_evaluation:
                    at_step = at_step[:, : values.shape[1]]
                at_step[columns] = values

    def diverge(self, seed: int, diverged_at: Sequence[Int[np.ndarray, "1 _"]]) -> None:
        """Records for each optimizer the steps at which a seed's runs diverged, or -1."""
        for index, columns in enumerate(self._columns):
            self.diverged_at[index, columns, self._places[seed]] = diverged_at[index][0]

    def plain(self, seed: int, step: int | None = None) -> Plain:
        """What was recorded of a seed before a step, or at all steps, as plain values.

        For each measure and optimizer there are names and arrays (step, 1, learning rate, ...),
        which are views where that is possible.
        """
        place, of_measures = self._places[seed], list[Plain]()
        for each in self.layout.measures:
            count = len(each.steps) if step is None else _count(each.steps, step)
            rows = _selection(np.searchsorted(self.layout.stops, each.steps[:count]))
            of_optimizers = [
                {
                    name: _steps_first(
                        self.arrays[name][index, :, place][_selection(columns)][:, rows],
                        each.evaluations if variable.on_evaluation else None,
                    )
                    for name, variable in each.variables.items()
                }
                for index, columns in enumerate(self._columns if count else ())
            ]
            of_measures.append(of_optimizers)
        diverged_at = [
            self.diverged_at[index, columns, place][None]
            for index, columns in enumerate(self._columns)
        ]
        return {"diverged_at": diverged_at, "values": of_measures}

    def read(self, seed: int, plain: Plain) -> None:
        """Records what `plain` has returned.

        Raises:
            ValueError: If it is of another layout; a part of it may be recorded then.
            KeyError: Likewise.
        """
        place = self._places[seed]
        self.diverge(seed, plain["diverged_at"])
        for each, of_optimizers in zip(self.layout.measures, plain["values"], strict=True):
            for index, found in enumerate(of_optimizers):
                for name, values in found.items():
                    variable = each.variables[name]
                    array = self._array(name, variable, values[0, 0])
                    rows = np.searchsorted(self.layout.stops, each.steps[: len(values)])
                    for own, column in enumerate(self._columns[index]):
                        of_run = array[index, column, place]
                        if variable.on_evaluation:
                            of_run = of_run[:, : values.shape[3]]
                        of_run[rows] = values[:, 0, own]

    def _array(
        self, name: str, variable: Variable, like: Shaped[np.ndarray, "_ ..."]
    ) -> Shaped[np.ndarray, "optimizer rate seed step ..."]:
        """The array of a variable; makes it for numbers like these if there is none."""
        with self._making:
            if name not in self.arrays:
                trailing = like.shape[1:]
                if variable.on_evaluation:
                    trailing = (len(self.layout.evaluation_seeds), *trailing[1:])
                shape = (*self.diverged_at.shape, len(self.layout.stops), *trailing)
                self.arrays[name] = np.full(shape, np.nan, like.dtype)
            return self.arrays[name]


def _count(steps: Int[np.ndarray, " scheduled"], end: int, since: int = 0) -> int:
    """How many of the steps, in order, are from `since` up to, but not including, `end`."""
    first, last = np.searchsorted(steps, (since, end))
    return int(last - first)


def _selection(indices: Int[np.ndarray, " chosen"]) -> slice | Int[np.ndarray, " chosen"]:
    """Indices in order as a slice, with which numpy makes a view, if they are evenly spaced."""
    if indices.size == 0:
        return slice(0)
    stride = int(indices[1] - indices[0]) if indices.size > 1 else 1
    if stride < 1 or (np.diff(indices) != stride).any():
        return indices
    return slice(int(indices[0]), int(indices[-1]) + 1, stride)


def _steps_first(
    values: Shaped[np.ndarray, "rate step ..."], evaluations: int | None
) -> Shaped[np.ndarray, "step 1 _ ..."]:
    if evaluations is not None:
        values = values[:, :, :evaluations]
    return np.moveaxis(values, 1, 0)[:, None]
