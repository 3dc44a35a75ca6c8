"""Claims on results whose answer is known: what is claimed, its opposite, and neither."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from attnscape.experiments.runs import tidy
from attnscape.paper import claims
from attnscape.paper.artifacts import ARTIFACTS
from attnscape.paper.claims import _optimizer_claims as optimizer_claims
from attnscape.paper.claims import _per_run as per_run
from attnscape.paper.claims import _variation_claims as variation_claims
from attnscape.training import Status
from tests.claims_support import diverging, runs

SEEDS = 6
STEPS = np.arange(0, 2001, 50)
RUN = ("optimizer", "learning_rate", "seed")
MAIN = ("setting-1", "setting-2", "setting-3")


def dataset(by_optimizer: dict[str, dict[str, np.ndarray]], lost: tuple[str, ...] = ()):
    """A result with variables (seed, step) or (seed, step, more) of each optimizer."""
    names = list(by_optimizer)
    variables = {}
    for name, values in by_optimizer[names[0]].items():
        stacked = np.stack([by_optimizer[optimizer][name] for optimizer in names])[:, None]
        variables[name] = ((*RUN, "step", *["parameter"] * (values.ndim - 2)), stacked)
    status = np.full((len(names), 1, SEEDS), Status.finished, np.int8)
    for name in lost:
        status[names.index(name), 0, 0] = Status.diverged
        for _, values in variables.values():
            values[names.index(name), 0, 0] = np.nan
    return xr.Dataset(
        {"status": (RUN, status), **variables},
        {"optimizer": names, "learning_rate": [0.1], "seed": range(SEEDS), "step": STEPS},
    )


def curves(scale: float, seed: int) -> dict[str, np.ndarray]:
    """Losses that fall to about `scale`, a little different for each seed."""
    rng = np.random.default_rng(seed)
    spread = np.exp(0.1 * rng.standard_normal((SEEDS, 1)))
    return {"loss": spread * (scale + 5 * np.exp(-STEPS / 200)[None])}


def losses(sgdm: float, adam: float, **changes) -> xr.Dataset:
    return dataset({"sgdm": curves(sgdm, 0), "adam": curves(adam, 1)}, **changes)


def noise(norms: np.ndarray) -> xr.Dataset:
    """Norms (seed, sample) of noise whose covariance is the identity of 10 dimensions."""
    place = (None, None, slice(None), None, None)
    dims = (*RUN, "step", "batch_size")
    return xr.Dataset(
        {
            "noise_norm": ((*dims, "sample"), norms[place]),
            "noise_covariance_eigenvalues": (
                (*dims, "eigenvalue"),
                np.ones((len(norms), 10))[place],
            ),
        }
    )


@pytest.mark.parametrize(
    ("sgdm", "adam", "verdict"),
    [(0.02, 0.01, "holds"), (0.01, 0.02, "does not hold"), (0.01, 0.01, "undecided")],
)
def test_adam_reaches_lower_loss(sgdm, adam, verdict):
    judged = optimizer_claims.adam_reaches_lower_loss(
        {"fig2": dict.fromkeys(MAIN, losses(sgdm, adam))}
    )
    assert judged.verdict == verdict
    assert judged.number == 1


def test_a_claim_that_is_reversed_in_one_setting_is_mixed():
    results = {"a": losses(0.02, 0.01), "b": losses(0.01, 0.02)}
    judged = optimizer_claims.adam_reaches_lower_loss({"fig2": results})
    assert judged.verdict == "mixed"
    assert "of 2 comparisons 1 hold, 1 are reversed, judged together" in judged.numbers
    assert "(reversed)" in judged.choices[0].numbers


def test_diverged_runs_count_as_the_worst_and_survivors_stand_apart():
    results = {"a": losses(0.02, 0.01, lost=("sgdm",))}
    judged = optimizer_claims.adam_reaches_lower_loss({"fig2": results})
    assert judged.verdict == "holds"
    assert "diverged: 1 and 0 of 6 runs" in judged.choices[0].numbers
    assert "survivors alone 1.78" in judged.choices[0].numbers


def test_gaussian_noise_is_not_called_heavy_tailed():
    rng = np.random.default_rng(0)
    gaussian = np.linalg.norm(rng.standard_normal((SEEDS, 5000, 10)), axis=-1)
    heavy = np.linalg.norm(rng.standard_t(3, (SEEDS, 5000, 10)) / np.sqrt(3), axis=-1)
    for norms, allowed in ((gaussian, {"undecided", "does not hold"}), (heavy, {"holds"})):
        judged = optimizer_claims.gradient_noise_is_heavy_tailed({"fig3": {"a": noise(norms)}})
        assert judged.verdict in allowed


@pytest.mark.parametrize(("factor", "verdict"), [(4, "holds"), (0.25, "does not hold")])
def test_condition_is_judged_by_every_definition(factor, verdict):
    result = runs(condition=(100.0 * factor, 100.0)).sel(step=[750, 1250])
    judged = optimizer_claims.adam_sees_better_condition({"tab-condition": {"a": result}})
    assert judged.verdict == verdict
    choices = {choice.choice: choice.verdict for choice in judged.choices}
    assert choices["eigenvalue-absolute"] == verdict
    assert choices["first batch, first 6 seeds, as in print"] == verdict


@pytest.mark.parametrize(
    ("sgdm", "adam", "verdict"), [(5, 1, "holds"), (-5, 1, "does not hold"), (1, 1, "undecided")]
)
def test_smoothness_counts_with_its_sign(sgdm, adam, verdict):
    rng = np.random.default_rng(0)
    values = {
        name: {"directional_smoothness": mean + rng.standard_normal((SEEDS, STEPS.size))}
        for name, mean in (("sgdm", sgdm), ("adam", adam))
    }
    judged = optimizer_claims.adam_moves_along_smoother_directions({"fig5": {"a": dataset(values)}})
    assert judged.verdict == verdict


def test_smoothness_is_compared_at_the_steps_that_all_batches_have():
    steps = np.arange(0, 1001, 50)
    values = np.full((1, 1, 2, steps.size, 3), 1.0)
    values[..., 0] = 9.0  # the first batch is looked at more often than the others
    shared = steps % 250 == 0
    values[..., shared, 0] = 5.0
    values[..., ~shared, 1:] = np.nan
    dims = ("optimizer", "learning_rate", "seed", "step", "evaluation")
    result = xr.Dataset(
        {
            "directional_smoothness": (dims, values),
            "status": (dims[:3], np.full((1, 1, 2), Status.finished)),
            "diverged_at": (dims[:3], np.full((1, 1, 2), -1)),
        },
        {"optimizer": ["adam"], "learning_rate": [0.1], "step": steps},
    )
    np.testing.assert_array_equal(per_run.smoothness(result, "adam"), [[5, 1, 1]] * 2)


@pytest.mark.parametrize(("slope", "verdict"), [(1, "holds"), (-1, "does not hold")])
def test_smoothness_grows_with_the_gradient(slope, verdict):
    norm = np.exp(np.random.default_rng(0).standard_normal((SEEDS, STEPS.size)))
    values = {"evaluation_gradient_norm": norm, "directional_smoothness": norm**slope}
    judged = optimizer_claims.smoothness_grows_with_the_gradient(
        {"fig16": {"a": dataset({"adam": values})}}
    )
    assert judged.verdict == verdict


def test_linear_attention_is_judged_at_the_same_step():
    made = {"fig7": {"linear": losses(0.01, 0.01), "softmax": losses(1, 1)}}
    assert variation_claims.linear_attention_learns_faster(made).verdict == "holds"
    made = {"fig7": {"linear": losses(1, 1), "softmax": losses(0.01, 0.01)}}
    assert variation_claims.linear_attention_learns_faster(made).verdict != "holds"


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "holds"), (10.0, "mixed")])
def test_alike_means_within_a_factor_of_two(factor, verdict):
    base = losses(0.02, 0.01)
    made = {
        "fig8-left": {"factored": losses(0.02 * factor, 0.01 * factor), "setting-1": base},
        "fig8-right": {"wide": base},
    }
    assert variation_claims.variants_behave_alike(made).verdict == verdict


def test_losses_end_where_every_run_diverged():
    result = runs(evaluations=2)
    for optimizer in ("sgdm", "adam"):
        result = diverging(result, optimizer, SEEDS, step=500)
    frame = tidy({"a": result}, ["loss"])
    assert frame["step"].max() == 450
    assert len(frame) == 2 * SEEDS * 10 * 2  # optimizers, seeds, steps, batches


def test_claims_are_judged_where_all_their_artifacts_are_there():
    assert claims.all_verdicts({}) == []
    (only,) = claims.all_verdicts({"fig2": {"a": losses(0.02, 0.01)}})
    assert only.number == 1


def test_every_artifact_that_a_claim_needs_is_made():
    needed = {name for names in claims.CLAIMS.values() for name in names}
    assert needed <= set(ARTIFACTS)
