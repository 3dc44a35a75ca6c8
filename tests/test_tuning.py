import dataclasses
import functools

import numpy as np
import pytest
import xarray as xr

from attnscape.experiments import tuning
from attnscape.experiments.experiment import Experiment
from attnscape.experiments.setting import Plan
from attnscape.experiments.trials import evaluated_steps
from attnscape.measures import EvaluationLoss, at
from attnscape.models import LinearTransformer
from attnscape.optimizers import PAPER
from attnscape.paper.extended.momentum import WITHOUT_MOMENTUM
from attnscape.paper.extended.rotation import ROTATION
from attnscape.paper.loss_curves import FIG2
from attnscape.tasks import RegressionTask
from attnscape.training import Status


@pytest.fixture(scope="module")
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


@pytest.fixture(scope="module")
def trained(experiment: Experiment) -> xr.Dataset:
    return experiment.run()


@pytest.fixture
def dataset(trained: xr.Dataset) -> xr.Dataset:
    """To be changed."""
    return trained.copy(deep=True)


def untrained(trial: Experiment) -> xr.Dataset:
    """A dataset of the form of `trial.run()`, where all losses are 1 (one test compares the two).

    The search looks at losses and statuses only, so nothing is compiled for it here.
    """
    (measure,) = trial.measures
    rates = sorted({rate for of_name in trial.learning_rates.values() for rate in of_name})
    ran = [[rate in trial.learning_rates[name] for rate in rates] for name in trial.optimizers]
    ran = np.repeat(np.array(ran)[..., None], len(trial.seeds), axis=2)
    coordinates = {
        "optimizer": list(trial.optimizers),
        "learning_rate": rates,
        "seed": list(trial.seeds),
        "step": list(measure.schedule.within(trial.steps)),
    }
    dims = tuple(coordinates)
    losses = np.where(ran[..., None], np.ones(len(coordinates["step"])), np.nan)
    status = np.where(ran, Status.finished, Status.not_run)
    return xr.Dataset({"loss": (dims, losses), "status": (dims[:3], status)}, coordinates)


def with_losses(loss_of):
    """Stands in for training: the loss is a function of optimizer, rate and seed."""

    def run(trial: Experiment):
        dataset = untrained(trial)
        for name in trial.optimizers:
            for rate in trial.learning_rates[name]:
                for seed in trial.seeds:
                    where = {"optimizer": name, "learning_rate": rate, "seed": seed}
                    dataset["loss"].loc[where] = loss_of(name, rate, seed)
        return dataset

    return run


def test_what_stands_in_for_training_has_the_form_of_a_training(experiment):
    measures = (EvaluationLoss(at(1, 3)),)
    rates = {"sgdm": (0.1, 0.02), "adam": (0.1, 0.5)}
    trial = dataclasses.replace(experiment, learning_rates=rates, measures=measures)
    trained, stand_in = trial.run(), untrained(trial)
    xr.testing.assert_equal(trained["status"], stand_in["status"])
    xr.testing.assert_equal(trained["loss"].notnull(), stand_in["loss"].notnull())
    assert trained["loss"].dims == stand_in["loss"].dims


def test_the_grid_is_the_1_2_5_sequence_and_neighbours_continue_it():
    for low, high in zip(tuning.GRID, tuning.GRID[1:], strict=False):
        assert tuning.neighbour(low, 1) == high
        assert tuning.neighbour(high, -1) == low
    assert tuning.neighbour(5.0, 1) == 10.0
    assert tuning.neighbour(0.005, -1) == 0.002


def test_a_rate_that_diverges_on_any_tuning_seed_is_out(experiment):
    def loss(name, rate, seed):
        if rate == 0.1:  # the best by far, on all seeds but one
            return np.nan if seed == 1005 else 1e-9
        return abs(np.log(rate / 0.2)) + 1e-3 * seed

    found = tuning.search(experiment, with_losses(loss))
    assert found.rates == {"sgdm": 0.2, "adam": 0.2}
    assert (found.extended, found.at_edge, found.unstable) == ((), (), ())
    assert found.warning() is None
    infinite = found.table[np.isinf(found.table["loss"])]
    assert infinite[["optimizer", "learning_rate", "seed"]].values.tolist() == [
        ["sgdm", 0.1, 1005],
        ["adam", 0.1, 1005],
    ]


def test_the_smallest_median_wins_whatever_single_seeds_do(experiment):
    def loss(name, rate, seed):
        if rate == 0.05:  # far better on two seeds, worse on four
            return 1e-6 if seed < 1002 else 3.0
        return 2 + abs(np.log(rate / 0.5))

    assert tuning.search(experiment, with_losses(loss)).rates == {"sgdm": 0.5, "adam": 0.5}


def test_the_neighbours_of_the_winner_are_shown_with_losses_and_divergences(experiment):
    def loss(name, rate, seed):
        if name == "sgdm" and rate == 0.5:
            return np.nan if seed in (1000, 1004) else 0.25
        return 1 + abs(np.log(rate / 0.2))

    found = tuning.search(experiment, with_losses(loss))
    table = found.neighbours().set_index(["optimizer", "place"])
    assert table.loc["sgdm", "learning_rate"].tolist() == [0.1, 0.2, 0.5]
    assert table.loc["sgdm", "diverged"].tolist() == [0, 0, 2]
    assert (table["runs"] == 6).all()
    assert table.loc[("sgdm", "found"), "loss"] == 1
    assert table.loc[("sgdm", "above"), "loss"] == 0.25
    assert found.beside("sgdm", "above") == "0.5: 0.25, 2 of 6 diverged"
    assert found.beside("adam", "below") == "0.1: 1.69"


def test_where_every_rate_diverges_the_steadiest_stands_in_and_is_said_to(experiment):
    def loss(name, rate, seed):
        lost = seed == 1000 if rate <= 0.01 else seed > 1000
        return np.nan if lost else rate

    found = tuning.search(experiment, with_losses(loss))
    lowest = found.table["learning_rate"].min()
    assert lowest == 0.00001  # the grid went on downwards
    assert found.rates == {"sgdm": lowest, "adam": lowest}
    assert found.unstable == ("adam", "sgdm")
    sentence = "the one with the fewest diverged runs stands in: adam 1e-05 (1 of 6 runs), sgdm"
    assert sentence in str(found.warning())
    assert "edge" not in str(found.warning())


def test_a_rate_that_stands_in_is_at_the_edge_only_if_it_lies_there(experiment):
    def loss(name, rate, seed):
        return np.nan if seed == 1000 or rate != 0.1 else rate

    found = tuning.search(experiment, with_losses(loss))
    assert found.rates == {"sgdm": 0.1, "adam": 0.1}
    assert found.at_edge == ()


def test_no_neighbour_is_made_up_at_the_edge(experiment):
    found = tuning.search(experiment, with_losses(lambda name, rate, seed: rate))
    assert found.beside("adam", "below") == ""
    assert found.neighbours().query("optimizer == 'adam'")["place"].tolist() == ["found", "above"]


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


def test_captions_tell_what_speaks_against_rates_that_were_found(experiment):
    found = tuning.search(experiment, with_losses(lambda name, rate, seed: rate))
    named, keyed = "setting-1", "setting-1, sgd and adam-no-momentum"
    for key, artifact in ((named, FIG2), (named, WITHOUT_MOMENTUM), (keyed, WITHOUT_MOMENTUM)):
        words = artifact.against_rates(Plan(tune=True, searches={key: found}))
        assert words == f"Search for {key}: {found.warning()}"
    assert ROTATION.against_rates(Plan(searches={named: found})) == ""  # it takes no such rates
    assert FIG2.against_rates(Plan(searches={"sphere": found})) == ""
    good = tuning.search(experiment, with_losses(lambda name, rate, seed: abs(rate - 0.1)))
    assert FIG2.against_rates(Plan(searches={named: good})) == ""


def test_tuning_seeds_are_not_report_seeds(experiment):
    seen = []

    def run(trial):
        seen.append(trial.seeds)
        return with_losses(lambda name, rate, seed: abs(np.log(rate / 0.1)))(trial)

    tuning.search(experiment, run)
    assert seen == [tuning.TUNING_SEEDS]
    assert len(tuning.TUNING_SEEDS) == 6
    assert not set(tuning.TUNING_SEEDS) & set(range(100))


def test_the_final_loss_is_the_median_of_evaluations_in_the_last_tenth(experiment):
    trials = []

    def run(trial):
        trials.append(trial)
        dataset = untrained(trial)
        steps = xr.DataArray(np.arange(dataset.sizes["step"], dtype=float), dims="step")
        optimum = abs(np.log(dataset["learning_rate"] / 0.1))
        loss = (1 + optimum) * xr.where(steps == steps[-1], 1e9, steps + 1)  # a spike at the end
        dataset["loss"] = loss.broadcast_like(dataset["loss"])
        return dataset

    found = tuning.search(dataclasses.replace(experiment, steps=200), run)
    (measure,) = trials[0].measures
    assert measure.schedule.within(200) == tuple(range(181, 201))
    assert found.rates == {"sgdm": 0.1, "adam": 0.1}
    at_best = found.table.query("learning_rate == 0.1")["loss"]
    assert at_best.tolist() == [10.5] * 12


def test_full_runs_are_judged_by_the_evaluations_that_claims_take():
    assert evaluated_steps(10_000) == tuple(range(9_050, 10_001, 50))
    assert evaluated_steps(0) == (0,)


def test_evaluation_batches_count_by_their_median_and_one_that_is_lost_loses_the_run(dataset):
    dataset = dataset.expand_dims(evaluation=3).copy(deep=True)
    dataset["status"] = dataset["status"].isel(evaluation=0)
    dataset["loss"][:] = 2.0
    dataset["loss"][0] = 1e12  # a rare prompt in one of three batches
    assert set(tuning.final_losses(dataset)["loss"]) == {2.0}
    dataset["loss"].loc[{"optimizer": "adam", "evaluation": 1}] = np.nan
    lost = tuning.final_losses(dataset).set_index("optimizer")["loss"]
    assert lost.to_dict() == {"sgdm": 2.0, "adam": np.inf}


def test_a_run_that_diverged_is_infinite_whatever_was_recorded(dataset):
    dataset["status"].loc[{"optimizer": "adam"}] = Status.diverged
    lost = tuning.final_losses(dataset).set_index("optimizer")["loss"]
    assert lost["adam"] == np.inf
    assert np.isfinite(lost["sgdm"])


def test_final_losses_leave_out_what_was_not_run(dataset):
    dataset["status"].loc[{"optimizer": "adam"}] = Status.not_run
    assert set(tuning.final_losses(dataset)["optimizer"]) == {"sgdm"}
