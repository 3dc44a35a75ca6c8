"""Parts of users' own from files, through the command line."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from attnscape import RegressionTask
from attnscape.cli.commands import reproduce
from attnscape.experiments import store
from attnscape.experiments.setting import Plan
from attnscape.measures import Curvature, every
from attnscape.models import as_model
from attnscape.paper.artifacts import ARTIFACTS
from attnscape.paper.own import with_own_parts

TINY = ("--seeds", 2, "--steps", 5, "--batch", 8, "--evaluation-batch", 8)
SHALLOW = ("--layers", 1)
PARTS = """
import jax
import jax.numpy as jnp
from attnscape import RegressionTask


def law(key, batch, n, d):
    return jax.random.uniform(key, (batch, n, d), minval=-1, maxval=1)


def response(x, w):
    return jnp.sin(jnp.einsum("bnd,bd->bn", x, w))


def task():
    return RegressionTask(dim=2, context=3, covariates=law)


def predictions(parameters, prompts):
    return parameters["w"] * prompts.y.mean(1)


mean = (predictions, lambda key: {"w": 0.5})


def sizes(parameters, prompts):
    return parameters["w"] * prompts.y


too_many = (sizes, lambda key: {"w": 0.5})


def attends(parameters, prompts):
    scores = jnp.einsum("bd,de,bne->bn", prompts.query, parameters["A"], prompts.x)
    return (scores * prompts.y).mean(1) + parameters["b"]


attention = (attends, lambda key: {"A": 0.1 * jax.random.normal(key, (2, 2)), "b": 0.0})


def failing(key, batch, n, d):
    raise KeyError("luck")  # line 42


def wrong(key, batch, n, d):
    return jnp.zeros((batch, n - 1))
"""


@pytest.fixture
def parts(tmp_path):
    path = tmp_path / "parts.py"
    path.write_text(PARTS)
    return path


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "data.csv"
    numbers = np.random.default_rng(0).normal(size=(30, 3))
    pd.DataFrame(numbers, columns=["a", "b", "y"]).to_csv(path, index=False)
    return path


def trained(attnscape, tmp_path, *words):
    path = attnscape("train", *TINY, *words, "--out", tmp_path / "out").splitlines()[-1]
    dataset = store.load(path)
    assert np.isfinite(dataset.loss).all()
    return json.loads(dataset.attrs["spec"]), dataset


def test_train_takes_laws_and_responses_from_a_file(attnscape, tmp_path, parts):
    words = (*SHALLOW, "--dim", 2, "--covariates", f"{parts}:law", "--weights", f"{parts}:law")
    spec, own = trained(attnscape, tmp_path, *words, "--response", f"{parts}:response")
    fields = spec["task"]["fields"]
    assert fields["covariates"]["name"].endswith("parts.law")
    assert fields["weights"] == fields["covariates"]
    assert fields["response"]["name"].endswith("parts.response")
    _, linear = trained(attnscape, tmp_path, *words)
    assert (own.loss.isel(step=0) != linear.loss.isel(step=0)).all()


def test_train_takes_a_task_from_a_file(attnscape, tmp_path, parts):
    spec, whole = trained(attnscape, tmp_path, *SHALLOW, "--task", f"{parts}:task")
    words = ("--dim", 2, "--context", 3, "--covariates", f"{parts}:law")
    same, _ = trained(attnscape, tmp_path, *SHALLOW, *words)
    assert spec == same
    assert whole.sizes["step"] == 2


def test_train_takes_a_model_from_a_file(attnscape, tmp_path, parts):
    spec, dataset = trained(attnscape, tmp_path, "--model", f"{parts}:mean")
    assert spec["model"]["fields"]["function"]["name"].endswith("parts.predictions")
    assert (dataset.loss.isel(step=-1) != dataset.loss.isel(step=0)).all()


def test_train_takes_a_table_with_and_without_a_target(attnscape, tmp_path, table):
    words = (*SHALLOW, "--table", table)
    spec, _ = trained(attnscape, tmp_path, *words, "--target", "y")
    assert spec["model"]["keywords"]["dim"] == 2
    spec, _ = trained(attnscape, tmp_path, *words, "--response", "relu-network")
    assert spec["model"]["keywords"]["dim"] == 3


@pytest.mark.parametrize("artifact", ["fig3", "fig11"])
def test_artifacts_are_made_of_own_parts(attnscape, tmp_path, parts, monkeypatch, artifact):
    plan = Plan(seeds=2, steps=2, many_seeds=2, evaluations=2)
    monkeypatch.setattr(reproduce, "QUICK", plan)
    # Two settings, and of what their runs measure only what is shown: every program with own parts
    # is compiled anew, and traced anew for each experiment's identity.
    few = {name: ARTIFACTS[name].settings[:2] for name in ("fig3", "fig11", "fig13")}
    curvature = (Curvature(every(2)),)
    few["fig11"] = tuple(dataclasses.replace(each, measures=curvature) for each in few["fig11"])
    changed = {n: dataclasses.replace(ARTIFACTS[n], settings=few[n]) for n in few}
    monkeypatch.setattr(reproduce, "ARTIFACTS", {**ARTIFACTS, **changed})
    own = ("--task", f"{parts}:task", "--model", f"{parts}:attention")
    out = ("--out", tmp_path / "out")
    # With a model of one depth, noise at several depths is that of Figure 3.
    same = ["fig13"] if artifact == "fig3" else []
    said = attnscape("reproduce", artifact, *same, "--quick", *own, *out)
    assert "not made" not in said
    assert ("fig13: with these parts it is the same as fig3." in said) == bool(same)
    assert not (tmp_path / "out" / "fig13.json").exists()
    caption = (tmp_path / "out" / f"{artifact}.txt").read_text()
    assert f"task {parts}:task and model {parts}:attention" in caption
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    title = "<h1>Adam and SGD with momentum on parts of your own</h1>"
    assert title in page
    for words in ("form of P and Q", "Setting 1", "Setting 3", "The paper says", "setting-"):
        assert words not in caption
        assert words not in page
    for path in (tmp_path / "out" / "runs").glob("*.nc"):
        spec = json.loads(store.load(path).attrs["spec"])
        assert spec["task"]["fields"]["dim"] == 2
        assert spec["model"]["fields"]["function"]["name"].endswith("parts.attends")
    with pytest.raises(SystemExit) as end:
        attnscape("reproduce", artifact, "--quick", *out)
    assert "choose another folder with --out." in str(end.value.code)


OWN_PLAN = Plan(seeds=2, task=RegressionTask(dim=2, context=3), own="task a/b.py:mine")


def own_plan(**changes):
    return dataclasses.replace(OWN_PLAN, **changes)


def test_what_is_held_against_printed_numbers_has_no_own_parts():
    refused = [name for name, artifact in ARTIFACTS.items() if artifact.obstacle(OWN_PLAN)]
    assert {"tab-condition", "table1", "table2", "ablation"} <= set(refused)


@pytest.mark.parametrize("name", [n for n in ARTIFACTS if not ARTIFACTS[n].obstacle(OWN_PLAN)])
def test_nothing_of_the_papers_settings_is_left_where_own_parts_replace_them(name):
    artifact = with_own_parts(ARTIFACTS[name], own_plan())
    assert not artifact.statement
    titles = [setting.title for setting in artifact.settings]
    assert all(title.startswith("task mine of b.py") for title in titles)
    assert len(set(titles)) == len(titles)
    for text in (artifact.title, artifact.remark, *titles, *(s.name for s in artifact.settings)):
        for words in ("etting", "N(0, I)", "Fig", "paper", "covariates"):
            assert words not in text


def test_equal_experiments_of_own_parts_are_one_panel():
    noise = with_own_parts(ARTIFACTS["fig3"], own_plan())
    assert [setting.name for setting in noise.settings] == ["own"]
    # Setting 2's published rates differ; a search replaces them.
    losses = with_own_parts(ARTIFACTS["fig2"], own_plan())
    assert [setting.name for setting in losses.settings] == [
        "own",
        "own sgdm at 0.01 adam at 0.005",
    ]
    assert losses.settings[1].title == "task mine of b.py, sgdm at 0.01,\nadam at 0.005"
    searched = with_own_parts(ARTIFACTS["fig2"], own_plan(tune=True))
    assert [setting.title for setting in searched.settings] == ["task mine of b.py"]
    depths = with_own_parts(ARTIFACTS["fig12"], own_plan(tune=True))
    assert [setting.title for setting in depths.settings] == [
        f"task mine of b.py, L = {layers}" for layers in (2, 4, 6, 8)
    ]


def test_with_a_model_of_their_own_panels_are_titled_by_the_papers_tasks():
    model = as_model((lambda parameters, prompts: prompts.target, lambda key: {"w": 0.5}))
    plan = Plan(seeds=2, model=model, own="model b.py:mine", tune=True)
    settings = with_own_parts(ARTIFACTS["fig2"], plan).settings
    assert [setting.title.replace("\n", " ") for setting in settings] == [
        "model mine of b.py, d = 5, n = 20 N(0, I)",
        "model mine of b.py, d = 5, n = 5 N(0, I)",
        "model mine of b.py, d = 5, n = 20 heavy-tailed",
    ]


def test_tables_of_the_papers_settings_have_no_own_parts(attnscape, tmp_path, parts):
    with pytest.raises(SystemExit) as end:
        attnscape("reproduce", "table1", "--task", f"{parts}:task", "--out", tmp_path / "out")
    said = "table1 lists the paper's settings; leave --task and --model out."
    assert str(end.value.code).endswith(said)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--covariates cauchy", "--covariates is 'cauchy'; it must be gaussian, sphere, one-hot, "
         "radial, or your own as my_file.py:thing."),
        ("--response cubic", "--response is 'cubic'; it must be linear, relu-network, or your"),
        ("--covariates {parts}:low", "has no 'low'; it defines attends, attention, failing,"),
        ("--covariates {parts}:failing", "The distribution of covariates failed: KeyError: 'luck' "
         "({parts}, line 42)."),
        ("--covariates {parts}:wrong", "The covariates gave shape (8, 20); the task asks for"),
        ("--task {parts}:law", "made no task (TypeError: law() missing 4 required positional"),
        ("--task {parts}:task --noise 1", "--task replaces --noise, but both were given; leave"),
        ("--table {table} --covariates sphere", "--table replaces --covariates, but both were"),
        ("--table {table} --target y --weights sphere", "--target replaces --weights, but both"),
        ("--model {parts}:mean --layers 2", "--model replaces --layers, but both were given"),
        ("--model {parts}:too_many", "The model gave predictions of shape (8, 20) for 8 prompts"),
        ("--model {parts}:jax", "The model <module 'jax'"),
        ("--target y", "--target names the column 'y' of no table; add --table."),
        ("--table {table} --target z", "has no column 'z'; it has a, b, y."),
    ],
)  # fmt: skip
def test_mistakes_with_own_parts_get_one_sentence(
    attnscape, tmp_path, parts, table, unchecked, words, sentence
):
    files = {"parts": parts, "table": table}
    with pytest.raises(SystemExit) as end:
        attnscape("train", *TINY, *words.format(**files).split(), "--out", tmp_path / "out")
    assert sentence.format(**files) in str(end.value.code)
    assert "\n" not in str(end.value.code)
