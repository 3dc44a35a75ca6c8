"""A search over the 1-2-5 grid that waits to be run, by a plan or for an artifact."""

from __future__ import annotations

import dataclasses

from attnscape.experiments.experiment import Experiment
from attnscape.experiments.rounds import Rounds
from attnscape.experiments.tuning import Search, search_rounds


@dataclasses.dataclass(frozen=True)
class GridSearch:
    """A search for the learning rates of an experiment's optimizers, by `tuning.search`.

    Attributes:
        experiment: The experiment to tune; its learning rates, seeds and measures are not used.
    """

    experiment: Experiment

    def rounds(self) -> Rounds[Search]:
        """The search: it yields a trial by its name, and is sent the result."""
        rounds = search_rounds(self.experiment)
        try:
            due = next(rounds)
            while True:
                results = yield {due.name: due}
                due = rounds.send(results[due.name])
        except StopIteration as end:
            return end.value
