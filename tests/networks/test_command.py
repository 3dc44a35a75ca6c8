"""`attnscape networks` from the command line."""

import re
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is not installed")

from attnscape import load
from attnscape.errors import UsageError
from attnscape.networks import costs, train_workload
from attnscape.optimizers.references import resolve
from networks.toy import TOY as TOY_WORKLOAD

TOY = f"{Path(__file__).parent / 'toy.py'}:TOY"


def train(attnscape, out, *words):
    quick = ("--steps", "20", "--seeds", "2", "--measure-every", "10")
    return attnscape("networks", "train", TOY, *quick, *words, "--out", out)


def test_the_list_names_workloads_and_what_their_packaged_data_are(attnscape):
    shown = attnscape("networks")
    assert "ptb-transformer: Transformer; State of the Union speeches; Kunstner" in shown
    (row,) = [line for line in shown.splitlines() if line.strip().startswith("ptb-transformer ")]
    small, published = (costs.step_seconds("ptb-transformer", size) for size in costs.SIZES)
    assert row.split() == [
        *("ptb-transformer", "400", "x", "16", f"{400 * small:.2g}", "seconds"),
        *("165,000", "x", "16", f"{165_000 * published / 3600:.2g}", "hours"),
    ]


def test_a_workload_is_trained_and_found_again(attnscape, tmp_path, monkeypatch):
    words = ("--optimizers", "sgdm", "torch:Adam", "--learning-rates", "0.01", "0.1")
    first = train(attnscape, tmp_path, *words)
    assert "Toy on toy data, small size" in first
    assert "torch.Adam" in first
    assert len(list((tmp_path / "networks").glob("*.nc"))) == 8
    monkeypatch.setattr("attnscape.networks.run.train_run", lambda *a, **k: pytest.fail("it runs"))
    assert train(attnscape, tmp_path, *words) == first


def test_rates_are_searched_on_seeds_of_their_own(attnscape, tmp_path):
    shown = train(attnscape, tmp_path, "--optimizers", "adam", "--tune")
    rate = float(shown.rpartition("adam")[2].split("│")[1])
    assert 0.001 < rate <= 1
    seeds = {path.stem.split("seed-")[1].partition("-")[0] for path in tmp_path.rglob("*.nc")}
    assert seeds == {"0", "1", "1000", "1001"}


def test_full_batches_and_pseudo_steps_are_asked_for_by_options(attnscape, tmp_path):
    pseudo = ("--pseudo-optimizers", "sgd", "adam", "--pseudo-every", "10")
    train(attnscape, tmp_path, "--optimizers", "sgd", "--full-batch", *pseudo)
    results = [load(path) for path in tmp_path.rglob("*.nc")]
    assert len(results) == 2
    for result in results:
        assert result["pseudo_smoothness"].sel(pseudo_optimizer="adam").notnull().any()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("networks", "train"), "No workload was given; give a name that `attnscape networks`"),
        (("networks", "train", "nope"), "There is no workload 'nope'; there are mnist-lenet5"),
        (("networks", "train", f"{TOY[:-4]}:toy_model"), "it must be an attnscape.networks.Workl"),
        (
            ("networks", "train", "mnist-lenet5", "--data", "/nowhere"),
            "must be 'packaged', 'hub' o",
        ),
        (("networks", "train", TOY, "--size", "published"), "toy has no size 'published'"),
        (("networks", "train", TOY, "--tune", "--learning-rates", "1"), "--tune replaces --learni"),
        (("networks", "train", TOY, "--noise-every", "-1"), "--noise-every is -1; it must be at"),
        (
            ("networks", "train", TOY, "--pseudo-every", "2"),
            "--pseudo-every has no effect without --pseudo-optimizers; add it.",
        ),
        (
            ("networks", "train", TOY, "--pseudo-optimizers", "sgd"),
            "--pseudo-optimizers has no effect without --pseudo-every; add it.",
        ),
    ],
)
def test_mistakes_are_told_in_one_sentence(words, sentence, attnscape, tmp_path):
    with pytest.raises((UsageError, SystemExit)) as raised:
        attnscape(*words, *(("--out", tmp_path) if len(words) > 2 else ()))
    assert sentence in str(raised.value)


OWN = """
import optax
import torch

def leaves(rate):
    return optax.GradientTransformation(
        lambda parameters: (), lambda gradient, state, parameters=None: (list(gradient), state)
    )

class Stuck(torch.optim.SGD):
    def step(self, closure=None):
        raise ValueError("no luck")
"""


@pytest.mark.parametrize(
    ("reference", "sentence"),
    [
        ("{}:leaves", "The optimizer leaves failed: "),
        ("torch:{}:Stuck", r"ValueError: no luck \(.*own.py, line 12"),
    ],
    ids=["leaves", "stuck"],
)
def test_a_broken_optimizer_is_refused_before_any_run(reference, sentence, attnscape, tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    reference = reference.format(tmp_path / "own.py")
    words = ("--optimizers", "sgdm", reference, "--learning-rates", "0.1")
    with pytest.raises((UsageError, SystemExit), match=sentence):
        train(attnscape, tmp_path, *words)
    assert list(tmp_path.rglob("*.nc")) == []
    begun = []
    with pytest.raises((UsageError, ValueError), match=r"leaves failed: |no luck"):
        train_workload(
            *(TOY_WORKLOAD, resolve(["sgdm", reference]), (0.1,), (0,)),
            steps=2,
            run_all=begun.append,
        )
    assert begun == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("loss=lambda module, batch: module(batch[0])", "The loss of toy is a tensor of shape (16"),
        ("metric=Metric('none', lambda *_: None)", "The metric of toy is None; it must be a tens"),
    ],
    ids=["loss", "metric"],
)
def test_a_loss_or_metric_that_is_no_number_is_told(change, sentence, attnscape, tmp_path):
    path = tmp_path / "own.py"
    path.write_text(
        "import dataclasses\nfrom attnscape.networks import Metric\nfrom networks.toy import TOY\n"
        f"mine = dataclasses.replace(TOY, {change})\n"
    )
    with pytest.raises((UsageError, SystemExit), match=re.escape(sentence)):
        attnscape("networks", "train", f"{path}:mine", "--steps", "2", "--out", tmp_path)
    with pytest.raises((UsageError, SystemExit), match=r"no 'other'; it defines TOY, mine\."):
        attnscape("networks", "train", f"{path}:other", "--out", tmp_path)


def test_without_pytorch_the_command_says_what_to_install(attnscape, monkeypatch):
    monkeypatch.delattr("attnscape.networks")
    for name in [name for name in sys.modules if name.startswith("attnscape.networks")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None, raising=True)
    with pytest.raises((UsageError, SystemExit), match=r"pip install 'attnscape\[networks\]'"):
        attnscape("networks")
