"""The random numbers of the public code for a seed: exactly its initial values and prompts.

Facts about the code (PAPER.md): a seed s sets `torch.manual_seed(s)` and `numpy.random.seed(s)`.
Normals are drawn by PyTorch on the CPU in float32: first the parameters (L, 1, 2, d, d), then for
every batch w (B, d), x (B, n, d) and the query (B, 1, d). If the squared radius has a gamma
distribution, covariates are normalised and multiplied by roots of numpy's gamma variables, which
are drawn first for x, then for the query. The batch on which Hessians are computed comes from seed
99, without parameters before it. Each optimizer of a seed starts from the same generator state.

The stream depends on PyTorch, which guarantees equal numbers only for one version on one kind of
processor: its kernels with and without AVX2 differ by up to 2e-6. numpy's generator does not change
(NEP 19).
"""

from __future__ import annotations

import importlib.util
from typing import NamedTuple

import numpy as np

from attnscape.errors import UsageError
from attnscape.tasks import Gaussian, Linear, Radial, RegressionTask
from attnscape.trees import Plain

if importlib.util.find_spec("torch") is None:
    raise UsageError(
        "PyTorch is not installed, but the prompts of the public code come from its generator; "
        "install the extra with pip install 'attnscape[torch]'."
    )
import torch

EVALUATION_SEED = 99


class Batches(NamedTuple):
    """The `attnscape.Moments` of successive batches, in float64.

    Attributes:
        gram: (steps, batch, d, d).
        cross: (steps, batch, d).
        square: (steps, batch).
        query: (steps, batch, d).
        target: (steps, batch).
    """

    gram: np.ndarray
    cross: np.ndarray
    square: np.ndarray
    query: np.ndarray
    target: np.ndarray


class Stream:
    """The generators of one seed; every call draws the next numbers.

    Args:
        seed: Seed of the public code.
        task: Dimension, context and distribution of covariates.
        batch: Prompts per batch, B.

    Raises:
        UsageError: If the public code has no such task.
    """

    def __init__(self, seed: int, task: RegressionTask, batch: int) -> None:
        self._shape = batch, task.context, task.dim
        self._gamma = _gamma_parameters(task)
        self._normals = torch.Generator().manual_seed(seed)
        self._gammas = np.random.RandomState(seed)

    def matrices(self, layers: int, scale: float) -> tuple[np.ndarray, np.ndarray]:
        """Initial P and Q (layers, d, d) of eq. 7; the public code writes Q transposed."""
        d = self._shape[-1]
        drawn = torch.empty(layers, 1, 2, d, d).normal_(0, scale, generator=self._normals)
        P, Q = np.moveaxis(drawn.numpy()[:, 0].astype(np.float64), 1, 0)
        return P, Q.swapaxes(-1, -2)

    def save(self) -> Plain:
        """The states of the generators."""
        _, keys, *numbers = self._gammas.get_state()
        return {
            "normals": self._normals.get_state().numpy(),
            "gammas": {"keys": keys, "numbers": numbers},
        }

    def restore(self, saved: Plain) -> None:
        """Sets states that `save` has returned."""
        self._normals.set_state(torch.from_numpy(saved["normals"].copy()))
        gammas = saved["gammas"]
        self._gammas.set_state(("MT19937", gammas["keys"], *gammas["numbers"]))

    def draw(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The next batch in float32: w (B, d), x (B, n, d) and the query (B, d)."""
        B, n, d = self._shape
        w, x, query = (
            torch.empty(shape).normal_(generator=self._normals).numpy()
            for shape in ((B, d), (B, n, d), (B, 1, d))
        )
        if self._gamma is not None:
            shape, scale = self._gamma
            for covariates in (x, query):
                squares = self._gammas.gamma(shape, scale, covariates.shape[:-1])
                covariates /= np.linalg.norm(covariates, axis=-1, keepdims=True)
                covariates *= np.sqrt(squares.astype(np.float32))[..., None]
        return w, x, query[:, 0]

    def batches(self, steps: int) -> Batches:
        """The next `steps` batches."""
        drawn = [_moments(*self.draw()) for _ in range(steps)]
        return Batches(*(np.stack(moments) for moments in zip(*drawn, strict=True)))


def _moments(w: np.ndarray, x: np.ndarray, query: np.ndarray) -> tuple[np.ndarray, ...]:
    n, d = x.shape[1:]
    w, query = w.astype(np.float64), query.astype(np.float64)
    tokens = np.empty((len(x), n, d + 1))
    tokens[..., :d] = x
    tokens[..., d:] = tokens[..., :d] @ w[..., None]
    gram = tokens.swapaxes(-1, -2) @ tokens / n
    target = np.einsum("bd,bd->b", w, query)
    return gram[:, :d, :d], gram[:, :d, d], gram[:, d, d], query, target


def _gamma_parameters(task: RegressionTask) -> tuple[float, float] | None:
    """Shape and scale of the gamma distribution of |x|^2; None for normal covariates."""
    plain = task.response == Linear() and task.weights == Gaussian() and task.noise == 0
    match task.covariates:
        case Gaussian(covariance=None) if plain:
            return None
        case Radial(squared_radius=distribution) if plain and distribution.dist.name == "gamma":
            (shape,), keywords = distribution.args, distribution.kwds
            return shape, keywords.get("scale", 1.0)
        case _:
            raise UsageError(
                f"The public code has no stream for {task!r}; it draws normal covariates, or "
                "radial ones with a gamma distribution of the squared radius, with <w, x> for "
                "responses."
            )


def capability() -> str:
    """The instruction set of this processor that PyTorch's kernels use."""
    return torch.backends.cpu.get_cpu_capability()
