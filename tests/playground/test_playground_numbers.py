"""The playground computes what the package computes, from the same keys."""

from __future__ import annotations

import functools
from functools import partial

import jax
import numpy as np
import pytest
from scipy import stats

import browser
from attnscape import AttentionTransformer, LinearTransformer, RegressionTask, loss, train
from attnscape.measures import (
    Curvature,
    DirectionalSmoothness,
    EvaluationLoss,
    GradientNoise,
    Parameters,
    at,
)
from attnscape.measures import every as every_steps
from attnscape.optimizers import NAMED
from attnscape.statistics import CONDITION_NUMBERS, PUBLIC_CODE
from attnscape.steppers import Sampler
from attnscape.tasks import Radial, Sphere
from playground.sources import losses, playground

pytestmark = [
    pytest.mark.skipif(browser.binary() is None, reason="there is no Chromium here"),
    pytest.mark.usefixtures("one_browser"),
]

HEAVY = Radial(stats.gamma(0.1, scale=10))
LIGHTER = Radial(stats.gamma(0.5, scale=20**0.5))


PAPER = {"sgdm": (0.02, {}), "adam": (0.02, {})}
SETTINGS = {
    "setting-1": ({}, RegressionTask()),
    "setting-2": ({"context": 5}, RegressionTask(context=5)),
    "setting-3": ({"x": "radial", "tail": 0.1}, RegressionTask(covariates=HEAVY)),
    "lighter-tail": ({"x": "radial", "tail": 0.5}, RegressionTask(covariates=LIGHTER)),
    "sphere": ({"x": "sphere"}, RegressionTask(covariates=Sphere())),
}
SEEDS = 3


@pytest.fixture(scope="module")
def page_of(one_browser):
    """What the page shows in a setting: losses, and the first seed's parameters at some steps."""

    @functools.cache
    def page_of(name):
        parameters = {}
        with playground(seeds=SEEDS, steps=200, **SETTINGS[name][0]) as tab:
            shown = losses(tab)
            for step in list(shown)[::5]:
                tab.page.evaluate(f"playground.change({{at: {step}}})")
                tab.page.wait_for_function(f"playground.picture.iterate.step === {step}")
                parameters[step] = [
                    tab.page.evaluate(f"[...playground.picture.iterate.parameters[{method}]]")
                    for method in range(2)
                ]
        return shown, parameters

    return page_of


def trained(methods, task=None, kind=LinearTransformer, steps=200, measures=(), start=None):
    """The package's runs of the playground's defaults; `methods` are names with rates and keywords.

    The losses are measured at the playground's steps.
    """
    every = {200: 10, 50: 2}[steps]
    return train(
        task or RegressionTask(),
        partial(kind.init, layers=3, dim=5),
        {name: partial(NAMED[name], **keywords) for name, (_, keywords) in methods.items()},
        {name: [rate] for name, (rate, _) in methods.items()},
        range(SEEDS),
        steps=steps,
        batch=256,
        measures=[EvaluationLoss(every_steps(every)), *measures],
        start=start,
    )


def losses_of(result, names):
    """Losses of the package's runs, (step, method, seed)."""
    loss = result["loss"].dropna("step", how="all").max("learning_rate")
    return loss.sel(optimizer=names).transpose("step", "optimizer", "seed")


def deviations(shown, result, names):
    """Largest relative differences of the page's losses from the package's, (method, seed)."""
    theirs = losses_of(result, names)
    assert list(shown) == list(theirs["step"].values)
    return abs(np.array(list(shown.values())) / theirs.values - 1).max(axis=0)


def amplification(result, methods, task=None, steps=200):
    """How far one unit in the last place of initial weights moves losses, (method, seed).

    Adam and Muon amplify rounding errors, in some runs ten-thousandfold. Every step rounds again:
    of two correct implementations the root of their number times as much is to be expected.
    """
    initial = result["parameters"].sel(step=0).isel(optimizer=0, drop=True).max("learning_rate")
    nudged = initial.copy(data=np.nextafter(initial.values, np.float32(9))).drop_vars("step")
    names = list(methods)
    other = losses_of(trained(methods, task, steps=steps, start=nudged), names)
    return abs(other / losses_of(result, names).values - 1).max("step").values


@pytest.mark.parametrize("name", SETTINGS)
def test_losses_are_the_native_paths_for_the_same_prompts_and_parameters(name, page_of):
    _, task = SETTINGS[name]
    sampler = Sampler.for_model(LinearTransformer.init(jax.random.key(0)), task, "float32")
    fixed = sampler(jax.random.fold_in(jax.random.key(0), 1), 1000)
    native = jax.jit(lambda P, Q: loss(LinearTransformer(P, Q), fixed, path="native"))
    shown, parameters = page_of(name)
    assert list(parameters) == [0, 50, 100, 150, 200]
    for step, of_methods in parameters.items():
        for method, values in enumerate(of_methods):
            P, Q = np.float32(values).reshape(2, 3, 5, 5)
            np.testing.assert_allclose(shown[step][method][0], native(P, Q), rtol=1e-5)


@pytest.mark.parametrize("name", SETTINGS)
def test_the_same_keys_give_the_packages_curves(name, page_of):
    _, task = SETTINGS[name]
    names = list(PAPER)
    result = trained(PAPER, task, measures=[Parameters(at(0))])
    amplified = amplification(result, PAPER, task)
    sgdm, adam = deviations(page_of(name)[0], result, names)
    assert (sgdm <= 1e-5).all()
    assert (adam <= np.maximum(1e-5, 200**0.5 * amplified[1])).all()


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
    result = trained(methods, steps=50, measures=[Parameters(at(0))])
    expected = np.maximum(1e-5, 50**0.5 * amplification(result, methods, steps=50))
    with playground(seeds=SEEDS, steps=50, a=a, b=b) as tab:
        assert (deviations(losses(tab), result, list(methods)) <= expected).all()


def test_softmax_attention_is_the_packages():
    result = trained({"sgdm": (0.5, {}), "adam": (0.02, {})}, kind=AttentionTransformer, steps=50)
    with playground(seeds=SEEDS, steps=50, softmax=1, a="sgdm:0.5:0.9") as tab:
        assert (deviations(losses(tab), result, ["sgdm", "adam"]) <= 1e-5).all()


def test_measures_are_the_packages_and_the_same_address_gives_the_same_bits(page_of):
    noise = GradientNoise(at(0), samples=1000, batch_sizes=(256,), reference=20_000)
    result = trained(
        PAPER,
        measures=[Curvature(at(0, 200)), DirectionalSmoothness(every_steps(10)), noise],
    )
    with playground(seeds=SEEDS, steps=200) as tab:
        assert losses(tab) == page_of("setting-1")[0]
        tab.page.wait_for_function(
            "playground.picture.noise?.whole && playground.picture.spectrum.step === 200"
            " && playground.picture.spectrum.seeds.length === 3"
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
