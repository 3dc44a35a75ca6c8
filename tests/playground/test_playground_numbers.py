"""The playground computes what the package computes, from the same keys."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from scipy import stats

import browser
from attnscape import AttentionTransformer, LinearTransformer, RegressionTask, train
from attnscape.measures import Curvature, DirectionalSmoothness, EvaluationLoss, GradientNoise, at
from attnscape.measures import every as every_steps
from attnscape.optimizers import NAMED
from attnscape.statistics import CONDITION_NUMBERS, PUBLIC_CODE
from attnscape.tasks import Radial, Sphere
from playground.sources import losses, playground

pytestmark = pytest.mark.skipif(browser.binary() is None, reason="there is no Chromium here")

HEAVY = Radial(stats.gamma(0.1, scale=10))
LIGHTER = Radial(stats.gamma(0.5, scale=20**0.5))


def trained(methods, task=None, kind=LinearTransformer, steps=200, measures=(), **options):
    """The package's runs of the playground's defaults; `methods` are names with rates and keywords.

    The losses are measured at the playground's steps.
    """
    every = {200: 10, 50: 2}[steps]
    return train(
        task or RegressionTask(),
        partial(kind.init, layers=3, dim=5),
        {name: partial(NAMED[name], **keywords) for name, (_, keywords) in methods.items()},
        {name: [rate] for name, (rate, _) in methods.items()},
        range(2),
        steps=steps,
        batch=256,
        measures=[EvaluationLoss(every_steps(every)), *measures],
        **options,
    )


def assert_same_losses(tab, result, names, rtol=1e-5):
    shown = losses(tab)
    loss = result["loss"].dropna("step", how="all")
    assert list(shown) == list(loss["step"].values)
    ours = np.array(list(shown.values()))  # step, method, seed
    theirs = loss.sel(optimizer=names).max("learning_rate").transpose("step", "optimizer", "seed")
    np.testing.assert_allclose(ours, theirs, rtol=rtol)


@pytest.mark.parametrize(
    ("changes", "task"),
    [
        ({}, RegressionTask()),
        ({"context": 5}, RegressionTask(context=5)),
        ({"x": "sphere"}, RegressionTask(covariates=Sphere())),
        ({"x": "radial", "tail": 0.1}, RegressionTask(covariates=HEAVY)),
        ({"x": "radial", "tail": 0.5}, RegressionTask(covariates=LIGHTER)),
    ],
    ids=["setting-1", "setting-2", "sphere", "setting-3", "lighter-tail"],
)
def test_losses_of_sgdm_and_adam_are_the_packages(changes, task):
    result = trained({"sgdm": (0.02, {}), "adam": (0.02, {})}, task)
    with playground(seeds=2, steps=200, **changes) as tab:
        assert_same_losses(tab, result, ["sgdm", "adam"])


@pytest.mark.parametrize(
    ("a", "b", "methods"),
    [
        ("sgd:0.02", "muon:0.01:0.95", {"sgd": (0.02, {}), "muon": (0.01, {})}),
        (
            "normalised:0.01:0.8",
            "adam:0.01:0.8:0.99",
            {"normalised": (0.01, {"momentum": 0.8}), "adam": (0.01, {"b1": 0.8, "b2": 0.99})},
        ),
        (
            "sign:0.001",
            "lion:0.001:0.9:0.99",
            {"sign": (0.001, {}), "lion": (0.001, {})},
        ),
    ],
    ids=["sgd-muon", "normalised-adam", "sign-lion"],
)
def test_other_optimizers_are_the_packages(a, b, methods):
    result = trained(methods, steps=50)
    with playground(seeds=2, steps=50, a=a, b=b) as tab:
        assert_same_losses(tab, result, list(methods))


def test_softmax_attention_is_the_packages():
    result = trained({"sgdm": (0.5, {}), "adam": (0.02, {})}, kind=AttentionTransformer, steps=50)
    with playground(seeds=2, steps=50, softmax=1, a="sgdm:0.5:0.9") as tab:
        assert_same_losses(tab, result, ["sgdm", "adam"])


def test_the_same_address_gives_the_same_bits():
    curves = []
    for _ in range(2):
        with playground(seeds=2, steps=200) as tab:
            curves.append(losses(tab))
    assert curves[0] == curves[1]


def test_measures_are_the_packages():
    noise = GradientNoise(at(0), samples=1000, batch_sizes=(256,), reference=20_000)
    result = trained(
        {"sgdm": (0.02, {}), "adam": (0.02, {})},
        measures=[Curvature(at(0, 200)), DirectionalSmoothness(every_steps(10)), noise],
    )
    with playground(seeds=2, steps=200) as tab:
        tab.page.wait_for_function(
            "playground.picture.noise?.whole && playground.picture.spectrum.step === 200"
            " && playground.picture.spectrum.seeds.length === 2"
            " && playground.picture.smoothness.size === 20",
            timeout=120_000,
        )
        smoothness = dict(tab.page.evaluate("[...playground.picture.smoothness]"))
        conditions = tab.page.evaluate(
            "playground.picture.spectrum.seeds.map(({conditions}) => conditions)"
        )
        spectrum = tab.page.evaluate(
            "playground.picture.spectrum.seeds[0].eigenvalues.map(each => [...each])"
        )
        norms = tab.page.evaluate("[...playground.picture.noise.samples[0].norms]")
    runs = result.max("learning_rate")
    for step, values in smoothness.items():
        theirs = runs["directional_smoothness"].sel(step=step, optimizer=["sgdm", "adam"])
        np.testing.assert_allclose(values, theirs.transpose("optimizer", "seed"), rtol=1e-3)
    last = runs.sel(step=200, optimizer=["sgdm", "adam"])
    theirs = last["hessian_eigenvalues"].sel(seed=0).values
    scale = abs(theirs).max()
    np.testing.assert_allclose(spectrum, theirs, rtol=0, atol=1e-4 * scale)
    entries = {
        word: last[f"hessian_{name}"].transpose("seed", "optimizer", ...).values
        for word, name in (
            ("eigenvalues", "eigenvalues"), ("diagonal", "diagonal"), ("row_norm", "row_norm")
        )
    }  # fmt: skip
    robust = CONDITION_NUMBERS[PUBLIC_CODE](**entries)
    np.testing.assert_allclose(conditions, robust, rtol=1e-3)
    theirs = np.sort(result["noise_norm"].sel(step=0, seed=0).values[0, 0, 0])
    np.testing.assert_allclose(norms, theirs, rtol=1e-4)
