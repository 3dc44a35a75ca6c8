import functools

import numpy as np
import pytest

from attnscape import tuning
from attnscape.experiment import Experiment
from attnscape.models import LinearTransformer
from attnscape.optimizers import PAPER
from attnscape.tasks import RegressionTask
from attnscape.training import Status


@pytest.fixture
def experiment() -> Experiment:
    return Experiment(
        name="tiny",
        task=RegressionTask(dim=2, context=4),
        model=functools.partial(LinearTransformer.init, layers=1, dim=2),
        optimizers=dict(PAPER),
        learning_rates=dict.fromkeys(PAPER, (1.0,)),
        seeds=(0,),
        steps=3,
        batch=8,
        evaluation_batch=8,
    )


def with_losses(loss_of):
    """Stands in for training: the loss is a function of optimizer, rate and seed."""

    def run(trial: Experiment):
        dataset = trial.run()
        for name in trial.optimizers:
            for rate in trial.learning_rates[name]:
                for seed in trial.seeds:
                    where = {"optimizer": name, "learning_rate": rate, "seed": seed}
                    dataset["loss"].loc[where] = loss_of(name, rate, seed)
        return dataset

    return run


def test_the_grid_is_the_1_2_5_sequence_and_neighbours_continue_it():
    for low, high in zip(tuning.GRID, tuning.GRID[1:], strict=False):
        assert tuning.neighbour(low, 1) == high
        assert tuning.neighbour(high, -1) == low
    assert tuning.neighbour(5.0, 1) == 10.0
    assert tuning.neighbour(0.005, -1) == 0.002


def test_the_rate_with_the_smallest_median_wins_and_divergence_counts_as_infinite(experiment):
    def loss(name, rate, seed):
        # The best mean is at 0.1, but two of three seeds diverge there.
        if rate == 0.1:
            return 0.0 if seed == 1000 else np.nan
        return abs(np.log(rate / 0.2))

    found = tuning.search(experiment, with_losses(loss))
    assert found.rates == {"sgdm": 0.2, "adam": 0.2}
    assert found.extended == ()
    assert found.at_edge == ()
    assert found.warning() is None
    infinite = found.table[np.isinf(found.table["loss"])]
    assert len(infinite) == 4
    assert set(infinite["learning_rate"]) == {0.1}


def test_a_best_rate_on_the_edge_extends_the_grid_for_that_optimizer_only(experiment):
    optimum = {"sgdm": 20.0, "adam": 0.02}
    found = tuning.search(
        experiment, with_losses(lambda name, rate, seed: abs(np.log(rate / optimum[name])))
    )
    assert found.rates == optimum
    assert found.extended == ("sgdm",)
    assert found.at_edge == ()
    tried = found.table.groupby("optimizer")["learning_rate"].max()
    assert tried["sgdm"] == 100.0  # 10, 20 and, since 20 was best so far, 50, 100
    assert tried["adam"] == 5.0


def test_a_search_without_end_stops_and_says_so(experiment):
    found = tuning.search(experiment, with_losses(lambda name, rate, seed: rate))
    assert set(found.at_edge) == {"sgdm", "adam"}
    warning = found.warning()
    assert warning is not None
    assert "edge" in warning


def test_tuning_seeds_are_not_report_seeds(experiment):
    seen = []

    def run(trial):
        seen.append(trial.seeds)
        return with_losses(lambda name, rate, seed: abs(np.log(rate / 0.1)))(trial)

    tuning.search(experiment, run)
    assert seen == [tuning.TUNING_SEEDS]
    assert not set(tuning.TUNING_SEEDS) & set(range(100))


def test_final_losses_leave_out_what_was_not_run(experiment):
    dataset = experiment.run()
    dataset["status"].loc[{"optimizer": "adam"}] = Status.not_run
    assert set(tuning.final_losses(dataset)["optimizer"]) == {"sgdm"}
