"""Each claim where it is true, where it is reversed, and where nothing is so."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

from attnscape.paper.claims import CLAIMS
from claims_support import World, diverging, made

EVALUATIONS = (None, 8)


def _name(claim: Callable[..., Any]) -> str:
    return claim.__name__


@functools.cache
def judged(claim: Callable[..., Any], world: World, evaluations: int | None) -> Any:
    """The verdict, given no more than the artifacts that the claim needs."""
    everything = made(world, evaluations)
    return claim({name: everything[name] for name in CLAIMS[claim]})


@pytest.mark.parametrize("evaluations", EVALUATIONS)
@pytest.mark.parametrize("claim", CLAIMS, ids=_name)
def test_a_claim_holds_where_all_that_it_says_is_so(claim, evaluations):
    verdict = judged(claim, "claimed", evaluations)
    assert verdict.verdict == "holds", verdict.numbers


@pytest.mark.parametrize("evaluations", EVALUATIONS)
@pytest.mark.parametrize("claim", CLAIMS, ids=_name)
def test_a_claim_does_not_hold_where_all_that_it_says_is_reversed(claim, evaluations):
    verdict = judged(claim, "reversed", evaluations)
    assert verdict.verdict == "does not hold", verdict.numbers


@pytest.mark.parametrize("evaluations", EVALUATIONS)
@pytest.mark.parametrize("claim", CLAIMS, ids=_name)
def test_where_there_is_no_effect_nothing_is_decided(claim, evaluations):
    verdict = judged(claim, "null", evaluations)
    # Noise that is exactly Gaussian lacks the excess that is asked for: that may be said.
    gaussian = {"gradient_noise_is_heavy_tailed", "nonlinear_regression_looks_the_same"}
    allowed = {"undecided", "does not hold"} if claim.__name__ in gaussian else {"undecided"}
    assert verdict.verdict in allowed, verdict.numbers


def test_verdicts_are_numbered_as_the_paper_is_read_and_name_their_artifacts():
    for number, (claim, needed) in enumerate(CLAIMS.items(), start=1):
        verdict = judged(claim, "claimed", None)
        assert verdict.number == number
        assert set(verdict.artifacts) <= set(needed)


@pytest.mark.parametrize("evaluations", EVALUATIONS)
def test_a_claim_whose_parts_disagree_neither_holds_nor_fails(evaluations):
    claim = next(iter(CLAIMS))
    true, false = (made(world, evaluations)["fig2"] for world in ("claimed", "reversed"))
    verdict = claim({"fig2": {"setting-1": true["setting-1"], "setting-2": false["setting-2"]}})
    assert verdict.verdict in ("mixed", "holds in part")


@pytest.mark.parametrize("evaluations", EVALUATIONS)
def test_adam_does_not_win_where_most_of_its_runs_diverge(evaluations):
    claim = next(iter(CLAIMS))
    results = made("claimed", evaluations)["fig2"]
    lost = {name: diverging(dataset, "adam", seeds=5) for name, dataset in results.items()}
    assert claim({"fig2": lost}).verdict not in ("holds", "holds in part")
