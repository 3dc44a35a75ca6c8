"""Claims about SGDM against Adam, and about the landscape that they see (1 to 5, and 10)."""

from __future__ import annotations

from collections.abc import Mapping

from attnscape.estimators.condition import CONDITION_NUMBERS, PUBLIC_CODE
from attnscape.paper.artifact import Results
from attnscape.paper.claims import _statistics as statistics
from attnscape.paper.claims._parts import Part, in_words, together
from attnscape.paper.verdict import Verdict

Made = Mapping[str, Results]
STEPS = (750, 1250)  # of Fig. 4's table


def adam_reaches_lower_loss(made: Made) -> Verdict:
    """Claim 1."""
    parts = loss_parts(made["fig2"])
    return Verdict(
        1,
        "Adam reaches lower loss than SGD with momentum in Settings 1, 2 and 3.",
        together(parts),
        f"Final loss of SGDM over Adam's, geometric mean over seeds: {in_words(parts)}.",
        "The final loss is the median of a run's last 20 evaluations on the fixed batch. In "
        "Setting 3 and late in Setting 2 rare prompts dominate the loss: on another fixed batch, "
        "and on a larger one, single seeds differ by orders of magnitude.",
        ("fig2",),
    )


def gradient_noise_is_heavy_tailed(made: Made) -> Verdict:
    """Claim 2."""
    parts = noise_parts(made["fig3"])
    kurtoses = "; ".join(
        f"{name} {statistics.over_seeds(statistics.excess_kurtoses(dataset))}"
        for name, dataset in made["fig3"].items()
    )
    return Verdict(
        2,
        "The stochastic gradient noise is heavy-tailed in Settings 1, 2 and 3.",
        together(parts),
        "Norms beyond the 99.9 % quantile of the norm of a Gaussian vector with the noise's own "
        f"covariance, over the 0.1 % expected there: {in_words(parts)}.",
        "The paper compares norms with a normal law, against which even Gaussian noise looks "
        f"heavy-tailed. Excess kurtosis of the norms (a normal law has 0): {kurtoses}.",
        ("fig3",),
    )


def adam_sees_better_condition(made: Made) -> Verdict:
    """Claim 3."""
    results = _six_seeds(made["tab-condition"])
    parts = condition_parts(results)
    dependence = ", ".join(
        f"{name}: {together(condition_parts(results, name))}"
        for name in CONDITION_NUMBERS
        if name != PUBLIC_CODE
    )
    return Verdict(
        3,
        "The robust condition number is larger for SGD than for Adam at steps 750 and 1250 in "
        "Settings 1, 2 and 3.",
        together(parts),
        f"R of SGDM over R of Adam ({PUBLIC_CODE}), geometric mean over seeds: {in_words(parts)}.",
        f"With other definitions of R: {dependence}.",
        ("tab-condition",),
    )


def adam_moves_along_smoother_directions(made: Made) -> Verdict:
    """Claim 4."""
    parts = smoothness_parts(made["fig5"])
    return Verdict(
        4,
        "Adam's directional smoothness is below that of SGD with momentum.",
        together(parts),
        "Median over a run's steps, SGDM's minus Adam's, mean over seeds: " + in_words(parts) + ".",
        "Steps with negative smoothness count with their sign.",
        ("fig5",),
    )


def smoothness_grows_with_the_gradient(made: Made) -> Verdict:
    """Claim 5."""
    parts = [
        Part(name, statistics.smoothness_trend(dataset), threshold=0.0)
        for name, dataset in made["fig16"].items()
    ]
    return Verdict(
        5,
        "Along Adam's path smoothness grows with the gradient norm.",
        together(parts),
        "Spearman's correlation of gradient norm and directional smoothness over the steps of a "
        f"run, mean over seeds: {in_words(parts)}.",
        "All steps count, those with negative smoothness too. The fits of (L0, L1) stand with the "
        "figure.",
        ("fig16",),
    )


def nonlinear_regression_looks_the_same(made: Made) -> Verdict:
    """Claim 10."""
    results = made["fig15"]
    runs = {name: d for name, d in results.items() if "loss" in d}
    noise = {name: d for name, d in results.items() if "noise_norm" in d}
    parts = [
        *loss_parts(runs, "loss, "),
        *noise_parts(noise, "noise, "),
        *condition_parts(runs, label="condition, "),
        *smoothness_parts(runs, "smoothness, "),
    ]
    return Verdict(
        10,
        "Nonlinear regression with an MLP in front shows the same four features.",
        together(parts),
        f"The statistics of claims 1 to 4: {in_words(parts)}.",
        "As of claims 1 to 4.",
        ("fig15",),
    )


def loss_parts(results: Results, label: str = "") -> list[Part]:
    """Adam's final loss is lower: a part a setting."""
    parts = []
    for name, dataset in results.items():
        gap = statistics.loss_gap(dataset)
        note = f"{gap.diverged} of the pairs left out as diverged" if gap.diverged else ""
        parts.append(Part(f"{label}{name}", gap.geometric_mean, note=note))
    return parts


def noise_parts(results: Results, label: str = "") -> list[Part]:
    """The noise's tail is heavier than its Gaussian reference's: a part a setting."""
    return [
        Part(f"{label}{name}", statistics.tail_excess(dataset)) for name, dataset in results.items()
    ]


def condition_parts(results: Results, name: str = PUBLIC_CODE, label: str = "") -> list[Part]:
    """R is larger for SGDM: a part a setting and step."""
    return [
        Part(
            f"{label}{setting} at {step}",
            statistics.condition_gap(dataset, step, name).geometric_mean,
        )
        for setting, dataset in results.items()
        for step in STEPS
        if step in dataset["step"].values
    ]


def smoothness_parts(results: Results, label: str = "") -> list[Part]:
    """Directional smoothness is larger for SGDM: a part a setting."""
    return [
        Part(f"{label}{name}", statistics.smoothness_gap(dataset).mean, threshold=0.0)
        for name, dataset in results.items()
    ]


def _six_seeds(results: Results) -> Results:
    """The seeds of the printed table, without those that only show a distribution."""
    return {name: dataset.isel(seed=slice(6)) for name, dataset in results.items()}
