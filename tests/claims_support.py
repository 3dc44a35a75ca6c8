"""Results with known effects, of the form that claims read: what is claimed, its opposite, neither.

Nothing is drawn at random, so no verdict here turns on luck. Numbers differ over seeds by a factor
that goes up and down in turns, and whose logarithms add up to zero: where there is no effect, every
mean of log ratios and of differences is exactly that of no effect.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Literal

import numpy as np
import xarray as xr
from scipy import stats

from attnscape.training import Status

World = Literal["claimed", "reversed", "null"]
Results = Mapping[str, xr.Dataset]
Pair = tuple[float, float]  # of SGDM and Adam

SEEDS = 6
STEPS = np.arange(0, 2001, 50)
OPTIMIZERS = ("sgdm", "adam")
RUN = ("optimizer", "learning_rate", "seed")
SAMPLES, DIMENSIONS = 2_000, 10
# Log factors of single seeds: small beside every effect, and large beside every margin.
SMALL, LARGE = 0.05, 1.0


def runs(
    *,
    loss: Pair = (1.0, 1.0),
    condition: Pair = (10.0, 10.0),
    smoothness: Pair = (1.0, 1.0),
    trend: float = 1.0,
    spread: float = SMALL,
    evaluations: int | None = None,
) -> xr.Dataset:
    """Runs of SGDM and Adam with all that claims read of runs.

    Args:
        loss: Final losses; the first is 5.
        condition: The Hessian's largest over all its other diagonal entries.
        smoothness: Directional smoothness at each step.
        trend: The power of the gradient norm that smoothness goes with, beside its mean; 0: up in
            one seed and down in the next.
        spread: Log factor of a seed, for SGDM; its negative for Adam.
        evaluations: Batches of the dim `evaluation`; None for none.
    """
    count = evaluations or 1
    up_and_down = (-1.0) ** np.arange(SEEDS)
    of_batch = SMALL / 2 * (-1.0) ** np.arange(count) * (count > 1)
    # (optimizer, rate, seed, step, evaluation)
    signs = np.array([1.0, -1.0])[:, None] * up_and_down
    log = spread * signs[:, None, :, None, None] + of_batch
    shape = (len(OPTIMIZERS), 1, SEEDS, len(STEPS), count)

    def of(pair: Pair) -> np.ndarray:
        return np.array(pair)[:, None, None, None, None] * np.exp(log)

    fall = np.exp(-STEPS / 100)[:, None]
    losses = 5 * fall + of(loss) * (1 - fall)
    norms = np.exp(np.sin(STEPS))[:, None] * np.ones(shape)
    powers = up_and_down[:, None, None] if trend == 0 else trend
    largest = np.broadcast_to(of(condition), shape)
    diagonal = np.concatenate([largest[..., None], np.ones((*shape, 8))], axis=-1)
    variables = {
        "loss": losses,
        "evaluation_gradient_norm": norms,
        "directional_smoothness": of(smoothness) * norms**powers,
        "hessian_diagonal": diagonal,
        "hessian_row_norm": diagonal,
        "hessian_eigenvalues": np.sort(diagonal, axis=-1),
    }
    last = {
        name: "eigenvalue" if name == "hessian_eigenvalues" else "parameter"
        for name in variables
        if name.startswith("hessian")
    }
    dims = (*RUN, "step", "evaluation")
    dataset = xr.Dataset(
        {
            "status": (RUN, np.full(shape[:3], Status.finished, np.int8)),
            "diverged_at": (RUN, np.full(shape[:3], -1, np.int32)),
            **{
                name: ((*dims, *([last[name]] if name in last else [])), values)
                for name, values in variables.items()
            },
        },
        {
            "optimizer": list(OPTIMIZERS),
            "learning_rate": [0.1],
            "seed": range(SEEDS),
            "step": STEPS,
            "evaluation": range(count),
        },
    )
    return dataset if evaluations else dataset.isel(evaluation=0, drop=True)


def without_momentum(without: xr.Dataset, with_momentum: xr.Dataset) -> xr.Dataset:
    """Runs of SGDM and Adam, and others in place of theirs without momentum."""
    renamed = without.assign_coords(optimizer=["sgd", "adam-no-momentum"])
    return xr.concat([renamed, with_momentum], "optimizer")


def with_spectrum(dataset: xr.Dataset) -> xr.Dataset:
    """The same with Hessians whose spectral norm is twice the directional smoothness."""
    smoothness = dataset["directional_smoothness"].expand_dims(eigenvalue=2, axis=-1)
    spectrum = xr.DataArray([-2.0, 1.0], dims="eigenvalue")
    return dataset.drop_vars("hessian_eigenvalues").assign(
        hessian_eigenvalues=smoothness * spectrum
    )


def with_attention(dataset: xr.Dataset) -> xr.Dataset:
    """The same with the shares of one layer's attention, a tenth of the losses."""
    share = (dataset["loss"] / 10).expand_dims(layer=[1], axis=-1)
    return dataset.assign(attention_effective_share=share, attention_participation=share)


def around_rates(
    gap: float, speed_up: float, power: float, evaluations: int | None = None
) -> xr.Dataset:
    """Runs of SGDM and Adam at three rates each, where e^0.2 separates neighbours' speeds.

    Args:
        gap: SGDM's over Adam's directional smoothness at the middle rates.
        speed_up: Steps that SGDM needs over those that Adam needs, at the middle rates.
        power: Over the rates, smoothness goes with this power of the steps needed.
        evaluations: Batches of the dim `evaluation`; None for none.
    """
    middle = runs(evaluations=evaluations).sel(learning_rate=0.1)
    of_optimizer = xr.DataArray([0.5, -0.5], {"optimizer": list(OPTIMIZERS)})
    faster = xr.DataArray([-0.2, 0.0, 0.2], {"learning_rate": [0.01, 0.02, 0.05]})
    needed = 600 * np.exp(of_optimizer * np.log(speed_up) - faster)
    smoothness = np.exp(of_optimizer * np.log(gap) - power * faster)
    ones = xr.ones_like(middle["loss"])
    dataset = xr.Dataset(
        {
            "loss": ones * np.exp(-ones["step"] / needed),
            "directional_smoothness": ones * smoothness,
            "status": middle["status"] * xr.ones_like(faster, np.int8),
            "diverged_at": middle["diverged_at"] * xr.ones_like(faster, np.int32),
        }
    )
    return dataset.transpose(*RUN, ...)


def diverging(dataset: xr.Dataset, optimizer: str, seeds: int, step: int = 500) -> xr.Dataset:
    """The same, but the first `seeds` runs of an optimizer diverge at a step."""
    lost = (dataset["optimizer"] == optimizer) & (dataset["seed"] < seeds)
    changed = {
        name: values.where(~(lost & (dataset["step"] >= step)))
        for name, values in dataset.items()
        if "step" in values.dims
    }
    status = xr.where(lost, np.int8(Status.diverged), dataset["status"])
    at = xr.where(lost, np.int32(step), dataset["diverged_at"])
    order = {name: values.dims for name, values in dataset.items()}
    changed |= {"status": status, "diverged_at": at}
    return dataset.assign({name: v.transpose(*order[name]) for name, v in changed.items()})


def noise(outliers: int) -> xr.Dataset:
    """Gradient noise with so many outliers in 2,000 norms, two more or fewer in turns of the seeds.

    Without them norms are those of a Gaussian vector with the identity's covariance, quantile for
    quantile: 2 of 2,000 lie beyond its 99.9 % quantile. -1: all norms below that.
    """
    distribution = stats.chi(DIMENSIONS)
    norms = np.tile(distribution.ppf((np.arange(SAMPLES) + 0.5) / SAMPLES), (SEEDS, 1))
    for seed in range(SEEDS):
        if outliers < 0:
            norms[seed] = np.minimum(norms[seed], distribution.ppf(0.99) + 0.01 * (-1) ** seed)
        elif count := max(0, outliers + 2 * (-1) ** seed):
            norms[seed, -count:] = 3 * distribution.ppf(0.999)
    dims = (*RUN, "step", "batch_size")
    place = (None, None, slice(None), None, None)
    return xr.Dataset(
        {
            "status": (RUN, np.full((1, 1, SEEDS), Status.finished, np.int8)),
            "noise_norm": ((*dims, "sample"), norms[place]),
            "noise_covariance_eigenvalues": (
                (*dims, "eigenvalue"),
                np.ones((SEEDS, DIMENSIONS))[place],
            ),
        },
        {
            "optimizer": ["sgdm"],
            "learning_rate": [1.0],
            "seed": range(SEEDS),
            "step": [0],
            "batch_size": [1000],
        },
    )


MAIN = ("setting-1", "setting-2", "setting-3")
LIGHT, EQUAL, HEAVY = -1, 10, 40  # outliers
# Places of eight settings by speed-up, in the order of their gaps; null: Spearman's correlation 0.
PLACES: Mapping[World, tuple[int, ...]] = {
    "claimed": (0, 1, 2, 3, 4, 5, 6, 7),
    "reversed": (7, 6, 5, 4, 3, 2, 1, 0),
    "null": (4, 0, 5, 7, 3, 1, 6, 2),
}


@functools.cache
def made(world: World, evaluations: int | None = None) -> dict[str, Results]:
    """All artifacts that the claims read, in a world where all of them are true, or none."""

    def each(claimed: Pair, opposite: Pair) -> Pair:
        return {"claimed": claimed, "reversed": opposite, "null": (1.0, 1.0)}[world]

    def run(*, turned: bool = False, **effects: Pair | float) -> xr.Dataset:
        """Turned: seeds that are up elsewhere are down here."""
        spread = (LARGE if world == "null" else SMALL) * (-1 if turned else 1)
        return runs(**effects, spread=spread, evaluations=evaluations)  # pyright: ignore[reportArgumentType]

    def ordered(more: object, less: object, equal: object) -> tuple:
        """What the claim says has more of it, and what has less."""
        return {"claimed": (more, less), "reversed": (less, more), "null": (equal, equal)}[world]

    worse = each((2.0, 1.0), (1.0, 2.0))  # SGDM's and Adam's loss
    rough = each((4.0, 1.0), (1.0, 4.0))
    conditions = (10 * rough[0], 10 * rough[1])
    alone = noise({"claimed": HEAVY, "reversed": LIGHT, "null": 0}[world])
    trend = {"claimed": 1.0, "reversed": -1.0, "null": 0.0}[world]
    slow, fast = ordered((1.0, 1.0), (0.1, 0.1), (1.0, 1.0))
    wide, narrow = ordered((40.0, 10.0), (10.0, 10.0), (10.0, 10.0))
    tails, no_tails = (noise(count) for count in ordered(HEAVY, LIGHT, EQUAL))
    # More of the loss is left with heavy tails; SGDM over Adam is 8 with light ones, then 2.
    left, learned = ordered((2.0, 1.0), (0.08, 0.01), (1.0, 1.0))
    between = each((0.08, 0.01), (4.0, 4.0))
    # Deep models end lower, with SGDM over Adam at 8 instead of 2.
    deep, shallow = ordered((0.08, 0.01), (2.0, 1.0), (1.0, 1.0))
    apart = each((2.0, 1.0), (10.0, 20.0))  # unlike (2, 1) by more than a factor of two, or like it
    base = each((2.0, 1.0), (1.0, 2.0))
    return {
        "fig2": {name: run(loss=worse) for name in MAIN},
        "fig3": dict.fromkeys(MAIN, alone),
        "tab-condition": {name: run(condition=conditions) for name in MAIN},
        "fig5": {name: run(loss=worse, smoothness=rough) for name in MAIN},
        "fig16": {name: run(trend=trend) for name in MAIN},
        "fig7": {"softmax": run(loss=slow), "linear": run(loss=fast)},
        "fig8-left": {"factored": run(loss=apart), "setting-1": run(loss=base, turned=True)},
        "fig8-right": {"wide": run(loss=worse)},
        "fig9": {
            "sphere": run(loss=learned),
            "setting-1": run(loss=between),
            "setting-3": run(loss=left),
        },
        "fig10": {"sphere": no_tails, "setting-1": noise(EQUAL), "setting-3": tails},
        "fig11": {
            "sphere": run(condition=narrow),
            "setting-1": run(condition=(10.0, 10.0)),
            "setting-3": run(condition=wide),
        },
        "fig12": {
            "depth-2": run(loss=shallow),
            "depth-4": run(),
            "depth-6": run(),
            "depth-8": run(loss=deep),
        },
        "fig13": {
            "depth-2": no_tails,
            "depth-4": no_tails,
            "depth-6": tails,
            "depth-8": tails,
        },
        "fig14": {
            "depth-2": run(condition=narrow),
            **{f"depth-{layers}": run(condition=wide) for layers in (4, 6, 8)},
        },
        "fig15": {
            "nonlinear": run(loss=worse, condition=conditions, smoothness=rough),
            "nonlinear-noise": alone,
        },
        "fig16-spectral": {name: with_spectrum(run(trend=trend)) for name in MAIN},
        "smoothness-speed": {
            f"setting-{k}": around_rates(
                1.1 * 1.2**k,
                1.1 * 1.15**place,
                {"claimed": 1, "reversed": -1, "null": (-1) ** k}[world],
                evaluations,
            )
            for k, place in enumerate(PLACES[world])
        },
        "without-momentum": {
            name: without_momentum(
                run(loss=(worse[0], worse[0]), turned=True), run(loss=(worse[1], worse[1]))
            )
            for name in MAIN
        },
        "softmax-heads": {
            "linear-1-head": run(),
            # Another seed's factor, or ratios would be exactly one where there is no effect.
            "softmax-1-head": run(loss=each((2.0, 2.0), (1.0, 1.0)), turned=True),
            "softmax-2-heads": run(loss=each((1.0, 1.0), (2.0, 2.0)), turned=True),
        },
        "attention-scores": {
            f"{model}-{law}": with_attention(
                run(loss=each((0.5, 0.5), (2.0, 2.0)) if law == "orthonormal" else (1.0, 1.0))
            )
            for model in ("linear", "softmax")
            for law in ("gaussian", "sphere", "orthonormal")
        },
    }
