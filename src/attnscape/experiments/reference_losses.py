"""Losses of predictors that are not trained, to hold a training curve against."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from attnscape import objective
from attnscape.models import gradient_descent, optimal_rates
from attnscape.tasks import Gaussian, Linear, Moments, Radial, RegressionTask, Sphere, SquaredError

_EIGENVALUES = 1_000_000  # of gram matrices, for the step sizes of gradient descent
_SEED = 200_000  # of their prompts; larger than those of runs
_EVALUATION_STREAM = 1  # as in the engine: the first fixed batch of a seed


@dataclasses.dataclass(frozen=True)
class ReferenceLoss:
    """The loss of a predictor that is not trained.

    Attributes:
        name: The predictor, in a few words.
        loss: Its loss on the fixed batch that the runs are evaluated on.
    """

    name: str
    loss: float


def reference_losses(
    task: Any, layers: int, *, evaluation_seed: int = 0, evaluation_batch: int = 1000
) -> tuple[ReferenceLoss, ...]:
    """Losses of predictors that are known for the task, the largest first.

    - Zero: predicts 0.
    - Gradient descent on the examples in the prompt, with as many steps as there are layers and the
      step sizes that are best on average over prompts (`attnscape.models.optimal_rates`): for
      isotropic covariates, normal weights and responses without noise.
    - Bayes: the posterior mean, for normal weights and linear responses. It is ridge regression
      with the variance of the noise over n as penalty of the mean squared error, and without noise
      the least-squares solution of the smallest norm.

    Args:
        task: The task; only a `RegressionTask` with the squared error has references.
        layers: L, the number of steps of gradient descent.
        evaluation_seed: Seed of the fixed batch.
        evaluation_batch: Prompts of the fixed batch.

    Examples:
        >>> from attnscape import RegressionTask
        >>> from attnscape.experiments.reference_losses import reference_losses
        >>> [f"{each.name}: {each.loss:.2g}" for each in reference_losses(RegressionTask(), 3)]
        ['zero predictor: 4.9', '3 steps of gradient descent: 0.14', 'Bayes: 0']
    """
    if not isinstance(task, RegressionTask):
        return ()
    key = jax.random.fold_in(jax.random.key(evaluation_seed), _EVALUATION_STREAM)
    with jax.enable_x64(True):
        batch = task.sample(key, evaluation_batch, "float64").moments()
        if batch.loss != SquaredError():
            return ()
        found = [ReferenceLoss("zero predictor", float(jnp.mean(batch.target**2)))]
        if task.weights == Gaussian() and task.response == Linear():
            if _descends(task):
                count = max(1, _EIGENVALUES // task.dim)
                gram = task.sample_moments(jax.random.key(_SEED), count).gram
                rates = optimal_rates(np.asarray(gram), layers).tolist()
                loss = objective.loss(gradient_descent(rates, task.dim), batch)
                words = f"{layers} step{'s' * (layers > 1)} of gradient descent"
                found.append(ReferenceLoss(words, float(loss)))
            errors = _posterior_mean(batch, task.noise**2 / task.context) - batch.target
            found.append(ReferenceLoss("Bayes", _rounded(float(jnp.mean(errors**2)))))
    return tuple(sorted(found, key=lambda each: -each.loss))


def _descends(task: RegressionTask) -> bool:
    """Whether the best step sizes are known: isotropic covariates and no noise."""
    isotropic: tuple[Callable[..., Any], ...] = (Sphere, Radial)
    return not task.noise and (task.covariates == Gaussian() or type(task.covariates) in isotropic)


def _posterior_mean(moments: Moments, penalty: float) -> Float[Array, " batch"]:
    """Predictions by ridge regression; by the pseudo-inverse without a penalty."""
    values, vectors = jnp.linalg.eigh(moments.gram)
    small = jnp.finfo(values.dtype).eps * moments.gram.shape[-1] * values[:, -1:]
    inverse = jnp.where(values > small, 1 / (values + penalty), 0.0)
    along = jnp.einsum("bij,bi->bj", vectors, moments.cross) * inverse
    return jnp.einsum("bij,bj,bi->b", vectors, along, moments.query)


def _rounded(loss: float) -> float:
    """0 in place of rounding errors of an exact solution."""
    return 0.0 if loss < 1e-12 else loss
