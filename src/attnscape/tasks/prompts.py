"""Prompts, and their moments, on which alone linear attention depends (PAPER.md, section 1)."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from attnscape.errors import UsageError
from attnscape.tasks.losses import Loss, SquaredError


class Prompts(eqx.Module):
    """A batch of regression problems, each given in context.

    Attributes:
        x: Covariates of the context.
        y: Responses of the context.
        query: The covariate whose response is to be predicted.
        target: The response to be predicted.
        loss: How a prediction is judged, see `attnscape.tasks.losses`.

    Raises:
        UsageError: If the shapes do not fit together.

    Examples:
        >>> import jax.numpy as jnp
        >>> from attnscape import Prompts
        >>> x, y = jnp.array([[[1.0, 0.0], [0.0, 1.0]]]), jnp.array([[2.0, 3.0]])
        >>> prompts = Prompts(x, y, query=jnp.array([[1.0, 1.0]]), target=jnp.array([5.0]))
        >>> prompts.tokens()[0].tolist()
        [[1.0, 0.0, 1.0], [0.0, 1.0, 1.0], [2.0, 3.0, 0.0]]
    """

    x: Float[Array, "batch n d"]
    y: Float[Array, "batch n"]
    query: Float[Array, "batch d"]
    target: Float[Array, " batch"]
    loss: Loss = eqx.field(static=True, default=SquaredError())

    def __check_init__(self) -> None:
        shapes = [jnp.shape(a) for a in (self.x, self.y, self.query, self.target)]
        if len(shapes[0]) != 3 or 0 in shapes[0][1:]:
            raise UsageError(
                f"x has shape {shapes[0]}; it must be (batch, n, d) with n and d at least 1."
            )
        batch, n, d = shapes[0]
        for name, given, allowed in (
            ("y", shapes[1], (batch, n)),
            ("query", shapes[2], (batch, d)),
            ("target", shapes[3], (batch,)),
        ):
            if given != allowed:
                raise UsageError(
                    f"{name} has shape {given}, but x of shape {shapes[0]} asks for {allowed}."
                )

    def moments(self) -> Moments:
        """The moments of every prompt; linear attention depends on nothing else."""
        n = self.x.shape[-2]
        return Moments(
            gram=jnp.einsum("bni,bnj->bij", self.x, self.x, precision="highest") / n,
            cross=jnp.einsum("bni,bn->bi", self.x, self.y, precision="highest") / n,
            square=jnp.einsum("bn,bn->b", self.y, self.y, precision="highest") / n,
            query=self.query,
            target=self.target,
            loss=self.loss,
        )

    def tokens(self) -> Float[Array, "batch d_plus_1 n_plus_1"]:
        """The input matrix Z_0: covariates above responses; the query is last, with response 0."""
        covariates = jnp.concatenate([self.x, self.query[:, None, :]], axis=1)
        responses = jnp.concatenate([self.y, jnp.zeros_like(self.y[:, :1])], axis=1)
        return jnp.concatenate([covariates, responses[:, :, None]], axis=2).mT


class Moments(eqx.Module):
    """Statistics of a batch of prompts that determine linear attention; their size is free of n.

    Attributes:
        gram: (1/n) sum x x^T.
        cross: (1/n) sum x y.
        square: (1/n) sum y^2 (used only by the full form of P and Q).
        query: The covariate whose response is to be predicted.
        target: The response to be predicted.
        loss: How a prediction is judged, see `attnscape.tasks.losses`.

    Examples:
        >>> import jax.numpy as jnp
        >>> from attnscape import Prompts
        >>> x, y = jnp.array([[[1.0], [3.0]]]), jnp.array([[2.0, 4.0]])
        >>> moments = Prompts(x, y, query=jnp.ones((1, 1)), target=jnp.ones(1)).moments()
        >>> moments.gram.tolist(), moments.cross.tolist(), moments.square.tolist()
        ([[[5.0]]], [[7.0]], [10.0])
    """

    gram: Float[Array, "batch d d"]
    cross: Float[Array, "batch d"]
    square: Float[Array, " batch"]
    query: Float[Array, "batch d"]
    target: Float[Array, " batch"]
    loss: Loss = eqx.field(static=True, default=SquaredError())

    def __check_init__(self) -> None:
        shape = jnp.shape(self.gram)
        if len(shape) != 3 or shape[1] != shape[2]:
            raise UsageError(f"gram has shape {shape}; it must be (batch, d, d).")
        batch, d, _ = shape
        for name, allowed in (
            ("cross", (batch, d)),
            ("square", (batch,)),
            ("query", (batch, d)),
            ("target", (batch,)),
        ):
            given = jnp.shape(getattr(self, name))
            if given != allowed:
                raise UsageError(
                    f"{name} has shape {given}, but gram of shape {shape} asks for {allowed}."
                )
