"""Pseudo-steps: the updates that other optimizers would make along a run (Pan and Li, 2023)."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import numpy as np
import torch
from jaxtyping import Array, Float, PyTree
from torch import Tensor

from attnscape.errors import UsageError
from attnscape.networks.steps import as_jax, optimizer_of
from attnscape.networks.torch_steps import Parameters, gradient_of
from attnscape.optimizers import ExternalOptimizer, Factory, OptaxFactory, keywords_of_step
from attnscape.trees import Plain, from_plain, to_plain


class PseudoSteps:
    """Optimizers that see every gradient of a run, and whose updates are never made.

    Each keeps its own state. Parameters and gradients that it sees are the run's.

    Args:
        optimizers: Factories of the engine, by name.
        learning_rate: The run's learning rate, which all of them get.
        parameters: The module's parameters; they are read only.
        clip: Global norm that gradients are clipped to, or None.

    Raises:
        UsageError: If an optimizer cannot step these parameters.

    Examples:
        >>> import torch
        >>> from attnscape.networks.pseudo import PseudoSteps
        >>> from attnscape.optimizers import sgd, sign
        >>> weight = torch.nn.Parameter(torch.tensor([3.0, -1.0]))
        >>> weight.grad = weight.detach().clone()
        >>> pseudo = PseudoSteps({"sgd": sgd, "sign": sign}, 0.5, {"weight": weight}, None)
        >>> pseudo.see(torch.tensor(5.0))
        >>> {name: update.tolist() for name, update in pseudo.updates().items()}
        {'sgd': [-1.5, 0.5], 'sign': [-0.5, 0.5]}
    """

    def __init__(
        self,
        optimizers: Mapping[str, Factory],
        learning_rate: float,
        parameters: Parameters,
        clip: float | None,
    ) -> None:
        self._parameters = parameters
        self._optimizers = {
            name: optimizer_of(name, _of_engine(name, factory), learning_rate, parameters, clip)
            for name, factory in optimizers.items()
        }
        values = {name: as_jax(p) for name, p in parameters.items()}
        self._states = jax.jit(
            lambda values: {name: each.init(values) for name, each in self._optimizers.items()}
        )(values)
        self._update = jax.jit(self._updated)
        self._updates: dict[str, dict[str, Float[Array, ...]]] = {}

    def see(self, loss: Tensor) -> None:
        """Gives all optimizers the gradients in `.grad`, before the run's update.

        Args:
            loss: The loss that the gradients belong to.
        """
        values = {name: as_jax(p) for name, p in self._parameters.items()}
        gradient = {name: as_jax(gradient_of(p)) for name, p in self._parameters.items()}
        self._updates, self._states = self._update(values, self._states, gradient, loss.item())

    def updates(self) -> dict[str, Float[Tensor, " p"]]:
        """Each optimizer's update of the last gradient, as a flat vector, (p,)."""
        return {
            name: torch.cat(
                # A copy: numpy's view of a JAX array cannot be written.
                [torch.from_numpy(np.array(update[key])).reshape(-1) for key in self._parameters]
            )
            for name, update in self._updates.items()
        }

    def save(self) -> Plain:
        """The optimizers' states."""
        return to_plain(self._states)

    def restore(self, saved: Plain) -> None:
        """Sets saved states; raises ValueError if they are those of other optimizers."""
        self._states = from_plain(self._states, saved)

    def _updated(
        self,
        values: dict[str, Float[Array, ...]],
        states: dict[str, PyTree],
        gradient: dict[str, Float[Array, ...]],
        loss: Float[Array, ""],
    ) -> tuple[dict[str, PyTree], dict[str, PyTree]]:
        updates, after = dict[str, PyTree](), dict[str, PyTree]()
        for name, optimizer in self._optimizers.items():
            keywords = keywords_of_step(name, loss, gradient)
            updates[name], after[name] = optimizer.update(  # pyright: ignore[reportCallIssue]
                gradient, states[name], values, **keywords
            )
        return updates, after


def check_pseudo(every: int, optimizers: Mapping[str, Factory]) -> None:
    """Raises UsageError unless pseudo-steps are wanted and can be made, or are not wanted.

    Args:
        every: Steps between measurements of pseudo-steps, or 0.
        optimizers: The optimizers that would make them.

    Raises:
        UsageError: If there is a schedule without optimizers, or the reverse, or an optimizer is
            not one of the engine.
    """
    if every and not optimizers:
        raise UsageError(
            f"Pseudo-steps are measured every {every} steps, but of no optimizer; give "
            "pseudo_optimizers, or Schedules(pseudo=0)."
        )
    if optimizers and not every:
        raise UsageError(
            f"Pseudo-steps of {', '.join(optimizers)} are asked for, but never measured; give "
            "Schedules(pseudo=...) the steps between measurements, or no pseudo_optimizers."
        )
    for name, factory in optimizers.items():
        _of_engine(name, factory)


def _of_engine(name: str, factory: Factory) -> OptaxFactory:
    if isinstance(factory, ExternalOptimizer):
        raise UsageError(
            f"{name} makes its updates outside of the engine, where they cannot be left undone; "
            "give pseudo_optimizers as optax factories, such as those of attnscape.optimizers."
        )
    return factory
