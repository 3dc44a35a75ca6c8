"""`--schedule` and `--weight-decay` on the command line: labels say them, mistakes get a line."""

import pytest

from attnscape import load
from attnscape.workflows.members import Members

TINY = ("--dim", 2, "--layers", 1, "--steps", 10, "--batch", 8, "--evaluation-batch", 8,
        "--seeds", 1)  # fmt: skip


def test_train_gives_a_schedule_to_all_and_labels_say_it(attnscape, tmp_path):
    rates = ("--learning-rates", "sgdm=0.05", "adam=0.02")
    words = ("--schedule", "cosine:warmup=2", "--weight-decay", 0.1, "--out", tmp_path)
    path = attnscape("train", *TINY, *rates, *words).split()[-1]
    labels = [f"{each}@cosine:warmup=2,weight_decay=0.1" for each in ("sgdm", "adam")]
    assert load(path)["optimizer"].values.tolist() == labels
    alone = attnscape("train", *TINY, "--optimizers", *labels, *rates, "--out", tmp_path)
    assert alone.split()[-1] == path  # the same run


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--schedule", "cosin"), "There is no schedule 'cosin'"),
        (("--schedule", "linear:warmup=10"), "The warm-up of 10 updates is not shorter"),
        (("--weight-decay", -1), "The weight decay -1.0 is not usable"),
        (("--schedule", "wsd", "--optimizers", "adam@linear"), "leave one of them out"),
        (("--learning-rates", "lion=0.1", "--schedule", "wsd"), "gives rates for 'lion'"),
    ],
)
def test_mistakes_get_one_sentence(attnscape, tmp_path, words, sentence):
    with pytest.raises(SystemExit) as end:
        attnscape("train", *TINY, *words, "--out", tmp_path)
    assert sentence in str(end.value.code)


def test_bench_has_scheduled_rows_beside_the_plain_baselines(attnscape, tmp_path):
    words = ("--settings", "setting-1", "--steps", 10, "--seeds", 1, "--out", tmp_path)
    attnscape("bench", "sign", *words, "--schedule", "linear")
    labels = [member.label for member in Members.read(tmp_path).members]
    assert labels == ["sgdm", "adam", "sgdm@linear", "adam@linear", "sign@linear"]
    assert "running" not in attnscape("bench", *words)
