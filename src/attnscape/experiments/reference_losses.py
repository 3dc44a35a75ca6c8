"""Losses of predictors that are not trained, to hold a training curve against."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from attnscape import objective
from attnscape.experiments.fitted_predictors import (
    best_descent,
    best_penalty,
    in_coordinates,
    ridge,
)
from attnscape.identity import is_built_in
from attnscape.models import gradient_descent, optimal_preconditioner, optimal_rates
from attnscape.tasks import (
    Gaussian,
    Linear,
    Moments,
    Radial,
    RegressionTask,
    Sphere,
    SquaredError,
    Task,
)
from attnscape.training import Precision
from attnscape.trees import astype

_EIGENVALUES = 1_000_000  # of gram matrices, for the step sizes of gradient descent
_SEED = 200_000  # of their prompts; larger than those of runs
_FITTED, _JUDGED = 200_001, 200_002  # seeds of the prompts of fitted predictors
_NUMBERS = 20_000_000  # covariates, and entries of gram matrices, of such a sample: 160 MB
_MOST_PROMPTS = 100_000
_PROMPTS_A_NUMBER = 10  # at least so many for each number that is fitted
_EVALUATION_STREAM = 1  # as in the engine: the first fixed batch of a seed

_double = jax.jit(functools.partial(astype, "float64"))
_loss, _predictions = eqx.filter_jit(objective.loss), eqx.filter_jit(objective.predictions)


@dataclasses.dataclass(frozen=True)
class ReferenceLoss:
    """The loss of a predictor that is not trained.

    Attributes:
        name: The predictor, in a few words.
        loss: Its loss on the fixed batch that the runs are evaluated on.
        expected: If numbers of it were fitted to prompts: its mean loss on others, for which they
            were not chosen.
        standard_error: The standard error of that mean.
        prompts: Number of these others, and of those that the numbers were fitted to.
    """

    name: str
    loss: float
    expected: float = np.nan
    standard_error: float = np.nan
    prompts: int = 0


def reference_losses(
    task: Any, layers: int | None, *, evaluation_seed: int = 0, evaluation_batch: int = 1000
) -> tuple[ReferenceLoss, ...]:
    """Losses of predictors that are known for the task or can be fitted to it, the largest first.

    - Zero: predicts 0.
    - Gradient descent on the examples in the prompt, with as many steps as there are layers and the
      step sizes that are best on average over prompts (`attnscape.models.optimal_rates`): for
      isotropic covariates, normal weights and responses without noise.
    - Preconditioned gradient descent, for all other tasks: the best preconditioner that is the same
      in all steps, and the best step sizes. For one step on normal covariates with a linear
      response they are known (`attnscape.models.optimal_preconditioner`). Otherwise they are fitted
      numerically to a large fixed sample of prompts, and left out where the dimension is too large
      for one.
    - Bayes: the posterior mean, for normal weights and linear responses. With weights from N(0, I)
      it is ridge regression with the variance of the noise over n as penalty of the mean squared
      error, and without noise the least-squares solution of the smallest norm.
    - Ridge regression without intercept, where it is not Bayes: with the best penalty for such a
      sample.

    Args:
        task: The task, of any kind; with another loss than the squared error it has no references.
        layers: L, the number of steps of gradient descent; None for none.
        evaluation_seed: Seed of the fixed batch.
        evaluation_batch: Prompts of the fixed batch.

    Examples:
        >>> from attnscape import RegressionTask
        >>> from attnscape.experiments.reference_losses import reference_losses
        >>> [f"{each.name}: {each.loss:.2g}" for each in reference_losses(RegressionTask(), 3)]
        ['zero predictor: 5', '3 steps of gradient descent: 0.12', 'Bayes (least squares): 0']
    """
    if not isinstance(task, Task):
        return ()
    key = jax.random.fold_in(jax.random.key(evaluation_seed), _EVALUATION_STREAM)
    precision = _precision(task)
    with jax.enable_x64(precision == "float64"):
        # One program: compiled operation by operation, drawing takes seconds.
        draw = jax.jit(lambda key: task.sample(key, evaluation_batch, precision).moments())
        batch = draw(key)
    if batch.loss != SquaredError():
        return ()
    with jax.enable_x64(True):
        batch = _double(batch)
        found = [ReferenceLoss("zero predictor", float(jnp.mean(batch.target**2)))]
        if 0 < found[0].loss < np.inf:
            samples = _Samples(task)
            found += _of_descent(task, layers, batch, samples) if layers else []
            found += _of_regression(task, batch, samples)
    return tuple(sorted(found, key=lambda each: -each.loss))


class _Samples:
    """Two large fixed samples of prompts of a task, drawn only if a predictor is fitted."""

    def __init__(self, task: Task):
        self._task = task

    @functools.cached_property
    def fitted(self) -> Moments:
        """Those that numbers are fitted to."""
        return self._drawn(_FITTED)

    @functools.cached_property
    def judged(self) -> Moments:
        """Others, as many."""
        return self._drawn(_JUDGED)

    @functools.cached_property
    def usable(self) -> bool:
        """Whether numbers can be fitted: all moments are finite and not all covariates 0."""
        parts = (self.fitted.gram, self.fitted.cross, self.fitted.query, self.fitted.target)
        finite = all(bool(jnp.isfinite(part).all()) for part in parts)
        return finite and bool(self.fitted.gram.any())

    @property
    def count(self) -> int:
        """Number of prompts of either."""
        d, n = self._task.dim, self._task.context
        return min(_MOST_PROMPTS, max(2, _NUMBERS // (d * max(d, n + 1))))

    def _drawn(self, seed: int) -> Moments:
        precision = _precision(self._task)
        with jax.enable_x64(precision == "float64"):
            draw = jax.jit(lambda key: self._task.sample_moments(key, self.count, precision))
            sample = draw(jax.random.key(seed))
        return _double(sample)


def _of_descent(task: Task, layers: int, batch: Moments, samples: _Samples) -> list[ReferenceLoss]:
    """Gradient descent: known for isotropic tasks and for one step on normal covariates."""
    name = f"{layers} step{'s' * (layers > 1)} of gradient descent"
    known = _linear(task)
    if known and _is_isotropic(known[0]):
        count = max(1, _EIGENVALUES // task.dim)
        gram = jax.jit(lambda key: task.sample_moments(key, count).gram)(jax.random.key(_SEED))
        model = gradient_descent(optimal_rates(np.asarray(gram), layers).tolist(), task.dim)
        return [ReferenceLoss(name, float(_loss(model, batch)))]
    name = name.replace("gradient", "preconditioned gradient")
    if known and layers == 1 and type(covariates := known[0].covariates) is Gaussian:
        of_x, of_w = (each.second_moment(task.dim) for each in (covariates, known[1]))
        best = optimal_preconditioner(of_x, of_w, task.context, known[0].noise)
        model = gradient_descent([1.0], task.dim, best)
        return [ReferenceLoss(name, float(_loss(model, batch)))]
    if samples.count < _PROMPTS_A_NUMBER * (task.dim**2 + layers) or not samples.usable:
        return []
    model = best_descent(samples.fitted, layers)
    return [_judged(name, functools.partial(_predictions, model), batch, samples.judged)]


def _of_regression(task: Task, batch: Moments, samples: _Samples) -> list[ReferenceLoss]:
    """The posterior mean where it is known, and ridge regression where it is another predictor."""
    found = []
    if known := _linear(task):
        noise, weights = known[0].noise, known[1]
        root = np.linalg.cholesky(weights.second_moment(task.dim))
        errors = ridge(in_coordinates(root, batch), noise**2 / task.context) - batch.target
        loss = _rounded(float(jnp.mean(errors**2)))
        if weights == Gaussian():
            words = "ridge" if noise else "least squares"
            return [ReferenceLoss(f"Bayes ({words})", loss)]
        found.append(ReferenceLoss("Bayes", loss))
    if not samples.usable:
        return found
    penalty = best_penalty(samples.fitted)
    name = f"ridge with {_penalty_in_words(penalty)}"
    return [*found, _judged(name, lambda m: ridge(m, penalty), batch, samples.judged)]


def _linear(task: Task) -> tuple[RegressionTask, Gaussian] | None:
    """The task and its weights, if they are normal and responses linear; otherwise None."""
    # By the exact class, because a user's subclass may draw differently.
    if type(task) is not RegressionTask or task.response != Linear():
        return None
    return (task, task.weights) if type(task.weights) is Gaussian else None


def _judged(
    name: str, predict: Callable[[Moments], Array], batch: Moments, others: Moments
) -> ReferenceLoss:
    """A predictor's loss on the fixed batch, and its mean loss on other prompts."""
    loss, errors = (np.asarray(predict(each) - each.target) ** 2 for each in (batch, others))
    count, numbers = len(errors), (errors.mean(), errors.std(ddof=1) / np.sqrt(len(errors)))
    expected, error = (_rounded(float(number)) for number in numbers)
    return ReferenceLoss(name, _rounded(float(loss.mean())), expected, error, count)


def _precision(task: Task) -> Precision:
    """The precision in which a task draws what it draws in training; own parts may do so in one."""
    return "float64" if is_built_in(task) else "float32"


def _penalty_in_words(penalty: float) -> str:
    if penalty == 0:
        return "penalty 0 (least squares)"
    return "infinite penalty (zero)" if np.isinf(penalty) else f"penalty {penalty:.2g}"


def _is_isotropic(task: RegressionTask) -> bool:
    """Whether covariates and weights are isotropic, and there is no noise."""
    isotropic: tuple[Callable[..., Any], ...] = (Sphere, Radial)
    covariates = task.covariates == Gaussian() or type(task.covariates) in isotropic
    return covariates and task.weights == Gaussian() and not task.noise


def _rounded(loss: float) -> float:
    """0 in place of rounding errors of an exact solution."""
    return 0.0 if loss < 1e-12 else loss
