"""What is measured: tasks, models and grids of runs, and how much time goes into it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import scipy.stats

from attnscape import LinearTransformer, RegressionTask, optimizers
from attnscape.tasks import Radial

SEEDS = 6
TASKS = {
    1: RegressionTask(),
    3: RegressionTask(covariates=Radial(scipy.stats.gamma(0.1, scale=10))),
}


@dataclasses.dataclass(frozen=True)
class Effort:
    """What the full and the quick benchmark differ in.

    Attributes:
        rounds: How often all that is compared is measured, in turns.
        seconds: Of one measurement.
        batch: Prompts of a batch, where it is not what varies.
        hessians: Repetitions of PyTorch's Hessian, which takes many seconds.
        training: (setting, layers, runs) of trainings that are timed.
        models: Names in `benchmarks.models.CASES` of those whose training is timed too.
        settings: Settings whose drawing is timed.
        kernels: (quantity, form, layers, dim, dtype) of kernels that are timed.
        contexts: n in the scaling tables.
        depths: L in the scaling tables.
        batches: Batch sizes in the scaling tables.
        widths: Runs in the scaling tables.
        peer_widths: Those of them that the peer in JAX trains too.
    """

    rounds: int = 9
    seconds: float = 0.1
    batch: int = 1000
    hessians: int = 2
    training: Sequence[tuple[int, int, int]] = (
        *((setting, 3, runs) for setting in (1, 3) for runs in (1, 12, 120)),
        *((1, 8, runs) for runs in (1, 12)),
    )
    models: Sequence[str] = ("softmax", "mlp")
    settings: Sequence[int] = (1, 3)
    kernels: Sequence[tuple[str, str, int, int, str]] = (
        ("gradient", "block", 3, 5, "float32"),
        ("gradient", "block", 3, 5, "float64"),
        ("gradient", "full", 3, 5, "float32"),
        ("gradient", "full", 3, 5, "float64"),
        ("gradient", "block", 8, 5, "float32"),
        ("gradient", "block", 8, 5, "float64"),
        ("gradient", "block", 8, 20, "float32"),
        ("gradient", "block", 8, 20, "float64"),
        ("hvp", "block", 3, 5, "float32"),
        ("hvp", "block", 3, 5, "float64"),
    )
    contexts: Sequence[int] = (5, 20, 60, 200)
    depths: Sequence[int] = (2, 4, 6, 8)
    batches: Sequence[int] = (250, 500, 1000, 2000, 4000)
    widths: Sequence[int] = (1, 12, 60, 120, 240)
    peer_widths: Sequence[int] = (1, 12, 60)


FULL = Effort()
QUICK = Effort(
    rounds=3,
    seconds=0.05,
    hessians=1,
    kernels=(
        ("gradient", "block", 3, 5, "float32"),
        ("gradient", "block", 8, 20, "float32"),
        ("hvp", "block", 3, 5, "float64"),
    ),
    contexts=(5, 200),
    depths=(2, 8),
    batches=(250, 4000),
    widths=(1, 120),
    peer_widths=(1,),
)


def model(
    layers: int, dim: int = 5, form: str = "block", dtype: str = "float32"
) -> Callable[..., LinearTransformer]:
    """Makes the initial models of the `code` recipe."""
    return functools.partial(LinearTransformer.init, layers=layers, dim=dim, form=form, dtype=dtype)


def grid(runs: int) -> dict[str, Any]:
    """Optimizers, seeds and learning rates of so many runs: 1 (Adam), or a multiple of 12."""
    if runs == 1:
        return {"optimizers": {"adam": optimizers.adam}, "learning_rates": [0.02], "seeds": [0]}
    rates = [a * 10**b for b in range(-3, 6) for a in (5.0, 10.0, 20.0)]  # 1-2-5, from .005 on
    return {
        "optimizers": {"sgdm": optimizers.sgdm, "adam": optimizers.adam},
        "learning_rates": rates[: runs // (2 * SEEDS)],
        "seeds": range(SEEDS),
    }


def segment(seconds: float, runs: int, layers: int, batch: int) -> int:
    """Training steps that take about so long, at most 500."""
    seeds = 1 if runs == 1 else SEEDS
    step = 5e-5 + batch * (2e-7 * seeds + 1e-8 * layers * runs)
    return max(1, min(500, round(seconds / step)))
