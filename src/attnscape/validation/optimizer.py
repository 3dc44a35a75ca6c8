"""The contract of an optimizer: a function from a learning rate to an optax transformation."""

from __future__ import annotations

import dataclasses
import io

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from attnscape.optimizers import OptaxFactory, bound
from attnscape.steppers import Group
from attnscape.tasks import RegressionTask
from attnscape.validation._effects import effects
from attnscape.validation._quick_model import require_model
from attnscape.validation._quick_optimizer import MAKES_OPTIMIZER, UPDATE, require_optimizer
from attnscape.validation._result import CheckResult, is_same, require, run_checks
from attnscape.validation._tracing import STATE, plain
from attnscape.validation._updates import (
    LEARNING_RATES,
    MODEL,
    QUADRATIC_STEPS,
    RUN,
    example,
    quadratic_losses,
    restored,
    start,
    update_of,
)

_QUADRATIC_FACTOR = 0.01  # largest share of the initial loss that may remain


def check_optimizer(factory: OptaxFactory) -> list[CheckResult]:
    """Checks an optimizer on the parameters of linear attention: arrays P and Q, each (L, d, d).

    Arguments of the factory with a default are changed, one at a time; one that changes nothing,
    such as a weight decay that is never applied, gives a result with a warning. A factory that asks
    for `steps` and `batch` (`attnscape.optimizers.bound`) gets 10,000 and 1000.

    Args:
        factory: Function from a learning rate, and further arguments with defaults, to an optax
            transformation.

    Examples:
        >>> from attnscape.optimizers import adam
        >>> from attnscape.validation import check_optimizer
        >>> results = check_optimizer(adam)
        >>> all(result.ok for result in results)
        True
        >>> results[-1].check, results[-1].warning  # the last argument, which has an effect
        ('argument eps', False)
    """
    checks = _Checks(bound(factory, **RUN))  # pyright: ignore[reportArgumentType]
    found = run_checks(
        lambda dtype: checks.quick(dtype, clip=1.0),
        {
            MAKES_OPTIMIZER: "A learning rate gives an optax.GradientTransformation.",
            UPDATE: "Its updates can be compiled.",
            STATE: "Updates have the form of parameters (L, d, d) and the state keeps its own, in "
            "both precisions.",
        },
        [
            ("learning rates", checks.rates),
            ("deterministic", checks.deterministic),
            ("converges", checks.converges),
            ("state can be saved", checks.saved),
        ],
    )
    return [*found, *(effects(factory) if all(result.ok for result in found) else ())]


@dataclasses.dataclass(frozen=True)
class _Checks:
    """The slow checks; each returns a sentence, or raises if the contract is broken."""

    factory: OptaxFactory

    def quick(self, dtype: str, clip: float | None = None) -> Group:
        """Runs the quick checks; the result says whether JAX may trace learning rates."""
        group = Group(getattr(self.factory, "__name__", "yours"), self.factory, (0.01, 0.1))
        problem = require_model(MODEL, RegressionTask(dim=3), clip, 16, jnp.dtype(dtype))
        return require_optimizer(group, *problem)

    def rates(self) -> str:
        group = self.quick("float32")
        if not group.traced_rates:
            return (
                "It needs learning rates as numbers, not traced by JAX: each rate is a program of "
                "its own, which takes longer to compile."
            )
        rates = jnp.array(group.learning_rates)
        parameters, gradient = example()

        def first(rate: float | Array) -> tuple[PyTree, PyTree]:
            state = start(self.factory, rate, parameters)
            return update_of(self.factory, rate)(gradient, state, parameters)

        apart = [first(rate)[0] for rate in rates]
        together = jax.jit(jax.vmap(first))(rates)[0]
        expected = jax.tree.map(lambda *a: jnp.stack(a), *apart)
        close = jax.tree.map(lambda a, b: np.allclose(a, b, rtol=1e-4), together, expected)
        require(
            all(jax.tree.leaves(close)),
            "Under jit and vmap over learning rates the updates are others than one by one.",
        )
        return "Learning rates may be traced: jit and vmap give the updates that they give singly."

    def deterministic(self) -> str:
        parameters, gradient = example()
        state = start(self.factory, 0.01, parameters)
        runs = [update_of(self.factory, 0.01)(gradient, state, parameters) for _ in range(3)]
        require(
            all(is_same(run, runs[0]) for run in runs),
            "The same gradient, state and parameters give different updates; draw random numbers "
            "with keys that are kept in the state.",
        )
        return "The same inputs give the same updates."

    def converges(self) -> str:
        traced_rates = self.quick("float32").traced_rates
        losses = quadratic_losses(self.factory, traced_rates=traced_rates)
        require(
            np.isfinite(losses).any(),
            f"On a quadratic in two matrices the loss is not finite at any of the learning rates "
            f"{LEARNING_RATES[0]:g} to {LEARNING_RATES[-1]:g}.",
        )
        best = int(np.nanargmin(losses))
        left = (
            f"{QUADRATIC_STEPS} steps on a quadratic in two matrices leave "
            f"{losses[best]:.2g} of the loss (learning rate {LEARNING_RATES[best]:g})"
        )
        require(losses[best] <= _QUADRATIC_FACTOR, f"{left}; {_QUADRATIC_FACTOR} is asked for.")
        return f"{left}."

    def saved(self) -> str:
        parameters, gradient = example()
        update = update_of(self.factory, 0.01)
        _, state = update(gradient, start(self.factory, 0.01, parameters), parameters)
        leaves, structure = jax.tree.flatten(state)
        file = io.BytesIO()
        np.savez(file, *map(plain, leaves))
        file.seek(0)
        with np.load(file) as arrays:
            loaded = [restored(arrays[f"arr_{i}"], leaf) for i, leaf in enumerate(leaves)]
        again = jax.tree.unflatten(structure, loaded)
        require(
            is_same(update(gradient, again, parameters), update(gradient, state, parameters)),
            "After its state was saved and read again, the next update is another.",
        )
        return "A state that was saved and read again gives the same next update."
