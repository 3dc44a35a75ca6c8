"""The artifact on softmax attention with two heads: its models, and what its numbers say."""

from __future__ import annotations

import dataclasses

import jax
import pytest

from attnscape.experiments.setting import FULL, Plan
from attnscape.models import AttentionTransformer, LinearTransformer, MultiHeadTransformer
from attnscape.paper.extended.softmax_heads import SOFTMAX_HEADS
from attnscape.workflows.make import make
from claims_support import made as made_of_world


def test_models_have_one_linear_and_one_and_two_softmax_heads_in_the_full_form():
    models = [each.model(FULL)(jax.random.key(0)) for each in SOFTMAX_HEADS.settings]
    kinds = [LinearTransformer, AttentionTransformer, MultiHeadTransformer]
    assert list(map(type, models)) == kinds
    assert [model.P.shape for model in models] == [(1, 6, 6), (1, 6, 6), (1, 2, 6, 6)]


def test_it_is_made(tmp_path):
    settings = tuple(dataclasses.replace(each, batch=10) for each in SOFTMAX_HEADS.settings)
    artifact = dataclasses.replace(SOFTMAX_HEADS, settings=settings)
    made = make(artifact, tmp_path, Plan(seeds=2, steps=2, evaluations=2), print)
    assert {"png", "pdf", "csv", "txt"} <= set(made.files)
    assert made.frame["loss"].notna().all()
    assert "10 fresh prompts a step" in made.caption


def test_ratios_are_those_of_the_final_losses():
    analysis = SOFTMAX_HEADS.analyse(made_of_world("claimed")["softmax-heads"])
    table = SOFTMAX_HEADS.comparison(analysis).set_index("quantity")["ours"]
    assert table.filter(like="one head").tolist() == pytest.approx([2, 2], rel=1e-6)
    assert table.filter(like="two heads").tolist() == pytest.approx([1, 1], rel=1e-6)
    assert "one head, sgdm 2 [" in SOFTMAX_HEADS.sentence(analysis)
