"""The spectral norm against the gradient norm: oracles, the bound on smoothness, what is drawn."""

import dataclasses
import functools

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from attnscape.experiments.setting import FULL, QUICK, Plan
from attnscape.paper.claims import _per_run as per_run
from attnscape.paper.claims._from_tables import mean_comparison
from attnscape.paper.claims._outcomes import verdict_of_comparisons
from attnscape.paper.extended.spectral import FIG16_SPECTRAL, KINDS
from attnscape.paper.settings import SETTING_2
from attnscape.report.draw import draw
from attnscape.report.made import Made
from attnscape.statistics import fit_smoothness
from attnscape.workflows.make import make
from claims_support import made

ARTIFACT = dataclasses.replace(
    FIG16_SPECTRAL, settings=(dataclasses.replace(SETTING_2, batch=20, layers=2),)
)


@pytest.fixture(autouse=True, scope="module")
def few_resamples():
    """Of intervals that no test here looks at: each resample is two linear programs."""
    with pytest.MonkeyPatch.context() as patch:
        few = functools.partial(fit_smoothness, resamples=20)
        patch.setattr("attnscape.paper.smoothness.fit_smoothness", few)
        yield


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Made:
    plan = Plan(seeds=2, steps=2_000, evaluations=2)  # 400 steps
    return make(ARTIFACT, tmp_path_factory.mktemp("spectral"), plan, print)


def test_the_spectral_norm_is_numpys_of_matrices_with_either_sign():
    rng = np.random.default_rng(0)
    matrices = rng.normal(size=(6, 4, 4)) + 3 * np.eye(4) * (-1.0) ** np.arange(6)[:, None, None]
    matrices = matrices + matrices.swapaxes(1, 2)
    dataset = xr.Dataset(
        {"hessian_eigenvalues": (("step", "eigenvalue"), np.linalg.eigvalsh(matrices))}
    )
    expected = np.linalg.norm(matrices, 2, axis=(1, 2))
    np.testing.assert_allclose(per_run.spectral_norm(dataset), expected, rtol=1e-12)
    assert (dataset["hessian_eigenvalues"].max("eigenvalue") < 0.99 * expected).any()


def test_directional_smoothness_is_at_most_the_spectral_norm(small: Made):
    # Two computations: Hessian-vector products, and eigenvalues of the dense Hessian, in float64.
    frame = small.frame
    assert (frame["directional_smoothness"].abs() <= frame["spectral_norm"] * (1 + 1e-9)).all()
    assert len(frame) == 2 * 21 * 2  # seeds, steps, batches
    assert frame["spectral_norm"].min() > 0


def test_the_numbers_are_correlations_along_each_run(small: Made):
    for column, words in KINDS.items():
        runs = small.frame.groupby(["seed", "evaluation"])
        correlations = [
            np.corrcoef(run["evaluation_gradient_norm"].rank(), run[column].rank())[0, 1]
            for _, run in runs
        ]
        assert small.comparison is not None
        quantity = f"{words}: rank correlation, mean over seeds and batches"
        row = small.comparison.set_index("quantity").loc[quantity]
        assert row["ours"] == pytest.approx(np.mean(correlations))
    assert {"csv", "txt", "png", "pdf"} <= set(small.files)
    assert small.caption.startswith("Spearman's correlation with the gradient norm")


def test_the_experiments_follow_adam_to_step_2000_on_all_batches():
    (experiment, *_) = FIG16_SPECTRAL.experiments(FULL).values()
    assert (experiment.steps, experiment.seeds) == (2_000, tuple(range(6)))
    assert list(experiment.optimizers) == ["adam"]
    assert experiment.evaluation_seeds == tuple(range(8))
    assert {each.steps for each in FIG16_SPECTRAL.experiments(QUICK).values()} == {400}


def test_both_kinds_are_drawn_over_the_same_axes():
    analysis = FIG16_SPECTRAL.analyse(made("claimed", 8)["fig16-spectral"])
    # Twice the smoothness at every step: the same order, a log distance of ln 2.
    assert analysis.shares == pytest.approx(dict.fromkeys(analysis.shares, 0.5))
    figure = draw(FIG16_SPECTRAL, analysis)
    assert isinstance(figure, Figure)
    above, below = figure.axes[0], figure.axes[3]
    heights = [np.asarray(axis.collections[0].get_offsets())[:, 1] for axis in (above, below)]
    np.testing.assert_allclose(heights[0] - heights[1], np.log(2))
    assert above.get_ylim() == below.get_ylim()


def test_unrelated_norms_are_said_to_grow_together_as_seldom_as_stated():
    # Two random walks correlate along a run, but with either sign. 3.3 standard errors of a share
    # of 5 % of 400 trials are 3.6 %.
    rng = np.random.default_rng(0)
    norms, spectra = rng.normal(size=(2, 400, 6, 60)).cumsum(axis=-1)
    dims = ("optimizer", "learning_rate", "seed", "step")
    rejected = 0
    for norm, spectrum in zip(norms, spectra, strict=True):
        dataset = xr.Dataset(
            {
                "status": (dims[:3], np.zeros((1, 1, 6), np.int8)),
                "evaluation_gradient_norm": (dims, norm[None, None]),
                "hessian_eigenvalues": (
                    (*dims, "eigenvalue"),
                    np.exp(spectrum)[None, None, ..., None],
                ),
            },
            {"optimizer": ["adam"], "learning_rate": [0.1]},
        )
        dataset = dataset.assign(spectral_norm=per_run.spectral_norm(dataset))
        table = per_run.rank_correlations(dataset, "adam", "spectral_norm")
        rejected += verdict_of_comparisons([mean_comparison("a", table)]) != "undecided"
    assert rejected / 400 <= 0.05 + 0.036


def test_users_own_parts_are_refused():
    assert "leave --task and --model out" in FIG16_SPECTRAL.obstacle(Plan(own="own task"))
