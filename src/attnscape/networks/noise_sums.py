"""Noise of one seed's stochastic gradients, summed one by one, so that it can be saved."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from attnscape.networks.covariance import centred_gram, eigenvalues, trace_of_square
from attnscape.networks.gradients import InitialGradients
from attnscape.optimizers._torch_saved import Decoder, Encoder
from attnscape.trees import Plain

_MOST_EIGENVALUES = 400


class Noise(NamedTuple):
    """What is known of the gradients of one convention."""

    norms: list[float]
    trace: float
    trace_of_square: float
    eigenvalues: Float64[np.ndarray, " eigenvalue"]  # none if there are many parameters
    kept: int


class SeedNoise:
    """The noise of both conventions of `attnscape.networks.NetworkNoise`, of one seed.

    Gradients are made in three rounds: of the pass, whose mean is the full gradient; of the pass
    again, unless all of them are kept; and fresh ones.

    Args:
        gradients: The gradients of the seed.
        in_a_pass: How many of a pass are used.
        samples: Fresh ones.
        room: As many are kept in memory.

    Attributes:
        made: Gradients made so far.
    """

    def __init__(
        self, gradients: InitialGradients, in_a_pass: int, samples: int, room: int
    ) -> None:
        self._gradients, self._samples, self._room = gradients, samples, room
        self._keeps_all = in_a_pass <= room
        self.made: int = 0
        self._total = torch.zeros(gradients.size, dtype=torch.float64)
        self._kept = list[Tensor]()
        self._batches = 0
        self._sums: _Sums | None = None
        self._found = list[Noise]()

    def batches(self, after: Callable[[], None]) -> int:
        """Makes the first round; returns its number of gradients.

        Args:
            after: Called after each gradient.
        """
        if self._sums is None and not self._found:
            for gradient in self._gradients.of_pass(self._batches):
                self._total += gradient
                if self._keeps_all:
                    self._kept.append(gradient)
                self._batches += 1
                self._count(after)
        return self._batches

    def noises(self, after: Callable[[], None]) -> tuple[Noise, Noise]:
        """Makes the other rounds, after the first; returns the noise of both conventions."""
        if not self._found:
            if self._keeps_all:
                sums = _Sums(self._mean, self._room)
                for gradient in self._kept:
                    sums.add(gradient)
                self._found.append(sums.noise())
            else:
                self._make_round(after)
            self._kept = []  # before as many others are kept
        if len(self._found) == 1:
            self._make_round(after)
        one_pass, fresh = self._found
        self._total = torch.zeros(0, dtype=torch.float64)  # needed no more
        return one_pass, fresh

    def _make_round(self, after: Callable[[], None]) -> None:
        self._sums = self._sums or _Sums(self._mean, self._room)
        first = len(self._sums.norms)
        rest = (
            self._gradients.fresh(self._batches, self._samples, first)
            if self._found
            else self._gradients.of_pass(first)
        )
        for gradient in rest:
            self._sums.add(gradient)
            self._count(after)
        self._found.append(self._sums.noise())
        self._sums = None

    @property
    def _mean(self) -> Float64[Tensor, " p"]:
        return self._total / self._batches

    def _count(self, after: Callable[[], None]) -> None:
        self.made += 1
        after()

    def save(self) -> Plain:
        """All that the next gradients and their sums depend on."""
        return {
            "made": self.made,
            "batches": self._batches,
            "total": _plain(self._total),
            "kept": [_plain(gradient) for gradient in self._kept],
            "sums": None if self._sums is None else self._sums.save(),
            "found": [each._asdict() for each in self._found],
            "module": self._gradients.state.save(),
        }

    def restore(self, saved: Plain) -> None:
        """Sets the state that `save` has returned."""
        self._total = _tensor(saved["total"])
        self._kept = [_tensor(each) for each in saved["kept"]]
        self.made, self._batches = saved["made"], saved["batches"]
        self._found = [Noise(**each) for each in saved["found"]]
        if saved["sums"] is not None:
            self._sums = _Sums(self._mean, self._room)
            self._sums.restore(saved["sums"])
        self._gradients.state.restore(saved["module"])


class _Sums:
    """Sums of the deviations of gradients from the full one."""

    def __init__(self, mean: Float64[Tensor, " p"], room: int) -> None:
        self._mean, self._room = mean, room
        self.norms = list[float]()
        self._kept = list[Tensor]()
        self._total = torch.zeros_like(mean)

    def add(self, gradient: Float[Tensor, " p"]) -> None:
        deviation = gradient.double() - self._mean
        self.norms.append(float(deviation.norm()))
        self._total += deviation
        if len(self._kept) < self._room:
            self._kept.append(gradient)

    def noise(self) -> Noise:
        count = len(self.norms)
        # Around the gradients' own mean, which is not exactly the full gradient if they are fresh.
        squares = float(np.square(self.norms).sum())
        trace = (squares - float(self._total.norm()) ** 2 / count) / (count - 1)
        few = len(self._mean) <= _MOST_EIGENVALUES
        return Noise(
            self.norms,
            trace,
            trace_of_square(centred_gram(self._kept)) if self._kept else float("nan"),
            eigenvalues(self._kept) if few else np.zeros(0),
            len(self._kept),
        )

    def save(self) -> Plain:
        return {
            "norms": list(self.norms),
            "total": _plain(self._total),
            "kept": [_plain(gradient) for gradient in self._kept],
        }

    def restore(self, saved: Plain) -> None:
        self.norms = list(saved["norms"])
        self._total = _tensor(saved["total"])
        self._kept = [_tensor(each) for each in saved["kept"]]


def _plain(tensor: Tensor) -> Plain:
    """A tensor of any type as plain values."""
    return Encoder(())(tensor, "a gradient")


def _tensor(plain: Plain) -> Tensor:
    return Decoder(())(plain)
