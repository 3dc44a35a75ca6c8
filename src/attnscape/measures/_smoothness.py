"""Directional smoothness u^T H u / |u|^2 along the actual step, or along other steps."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Key, PyTree

from attnscape import objective
from attnscape.measures._measure import Iterate, Measure, Variable
from attnscape.measures._schedule import Schedule, every
from attnscape.optimizers import NAMED, OptaxFactory, clipped
from attnscape.tasks import derived_key


@dataclasses.dataclass(frozen=True)
class DirectionalSmoothness(Measure):
    """Directional smoothness along the realised step x_{t+1} - x_t, on the evaluation batch.

    Its sign is kept. The norm of the step and the norm of the gradient on the same batch (for
    (L0, L1)-smoothness) are measured too.

    Attributes:
        schedule: The steps at which it is measured.
        evaluations: The number of evaluation batches; None for all.

    Examples:
        >>> import functools
        >>> from attnscape import LinearTransformer, RegressionTask, train
        >>> from attnscape.measures import DirectionalSmoothness, every
        >>> model = functools.partial(LinearTransformer.init, layers=1, dim=2)
        >>> smoothness = DirectionalSmoothness(every(2))
        >>> task = RegressionTask(dim=2, context=5)
        >>> result = train(task, model, ["adam"], 0.01, (0,), steps=4, measures=[smoothness])
        >>> result["directional_smoothness"].dims
        ('optimizer', 'learning_rate', 'seed', 'step')
    """

    schedule: Schedule = every(50)
    evaluations: int | None = None

    precision = "float64"
    needs_training = False
    needs_draw = False
    needs_state = False
    needs_update = True

    def __call__(self, iterate: Iterate) -> Mapping[str, Array]:
        _, gradient = objective.value_and_grad(iterate.model, iterate.evaluation)
        return {
            "directional_smoothness": along(iterate, iterate.update),
            "evaluation_gradient_norm": optax.tree.norm(gradient),
            "update_norm": optax.tree.norm(iterate.update),
        }

    def variables(self) -> Mapping[str, Variable]:
        return {
            "directional_smoothness": Variable(
                "directional smoothness of the step", on_evaluation=True
            ),
            "evaluation_gradient_norm": Variable(
                "norm of the gradient on the fixed batch", on_evaluation=True
            ),
            "update_norm": Variable("norm of the step"),
        }


@dataclasses.dataclass(frozen=True)
class PseudoStepSmoothness(Measure):
    """Directional smoothness along the steps that several optimizers would take at one iterate.

    Pan and Li (2023) compare optimizers this way. Each optimizer begins with a fresh state and gets
    `memory` stochastic gradients at the iterate; the step is its last update.

    Attributes:
        schedule: The steps at which it is measured.
        evaluations: The number of evaluation batches; None for all.
        optimizers: Names of `attnscape.optimizers.NAMED`.
        memory: Stochastic gradients at the iterate, at least 1.
        batch: Prompts of each stochastic gradient.
        clip: Global norm for clipping, or None.

    Examples:
        >>> import jax
        >>> from attnscape import LinearTransformer, RegressionTask
        >>> from attnscape.measures import Iterate, PseudoStepSmoothness
        >>> model = LinearTransformer.init(jax.random.key(0), layers=1, dim=1)  # only Q moves
        >>> iterate = Iterate.of(model, RegressionTask(dim=1), batch=10)
        >>> along = PseudoStepSmoothness(memory=2, batch=10)(iterate)["pseudo_step_smoothness"]
        >>> round(float(along[0] / along[1]), 3)  # SGD with momentum and Adam step along one line
        1.0
    """

    schedule: Schedule = every(250)
    evaluations: int | None = None
    optimizers: tuple[str, ...] = ("sgdm", "adam")
    memory: int = 30
    batch: int = 1000
    clip: float | None = 1.0

    precision = "float64"
    needs_training = False
    needs_state = False

    def __call__(self, iterate: Iterate) -> Mapping[str, Array]:
        keys = jax.vmap(lambda i: derived_key(iterate.key, i))(jnp.arange(self.memory))
        parameters = eqx.filter(iterate.model, eqx.is_inexact_array)
        values = [
            along(iterate, self._step(clipped(NAMED[name], self.clip), iterate, parameters, keys))
            for name in self.optimizers
        ]
        return {"pseudo_step_smoothness": jnp.stack(values)}

    def _step(
        self,
        factory: OptaxFactory,
        iterate: Iterate,
        parameters: PyTree[Float[Array, ...]],
        keys: Key[Array, " memory"],
    ) -> PyTree[Float[Array, ...]]:
        """The update after the stochastic gradients of all keys."""
        optimizer = factory(1.0)  # the rate scales the step, which is normalised

        def remember(state: PyTree, key: Key[Array, ""]) -> tuple[PyTree, PyTree]:
            prompts = iterate.draw(key, self.batch)
            gradient = objective.value_and_grad(iterate.model, prompts)[1]
            gradient = eqx.filter(gradient, eqx.is_inexact_array)
            updates, state = optimizer.update(gradient, state, parameters)
            return state, updates

        updates = jax.lax.scan(remember, optimizer.init(parameters), keys)[1]
        return jax.tree.map(lambda a: a[-1], updates)

    def variables(self) -> Mapping[str, Variable]:
        return {
            "pseudo_step_smoothness": Variable(
                "directional smoothness of a pseudo-step", ("pseudo_step",), on_evaluation=True
            )
        }

    def coordinates(self, model: Callable[..., PyTree]) -> Mapping[str, Sequence[object]]:
        return {"pseudo_step": self.optimizers}


def along(iterate: Iterate, direction: PyTree[Float[Array, ...]]) -> Float[Array, ""]:
    """u^T H u / |u|^2 on the evaluation batch; NaN if u is zero."""
    full = eqx.combine(direction, iterate.model)
    product = eqx.filter(
        objective.hvp(iterate.model, iterate.evaluation, full), eqx.is_inexact_array
    )
    return jnp.asarray(
        optax.tree.vdot(direction, product) / optax.tree.norm(direction, squared=True)
    )
