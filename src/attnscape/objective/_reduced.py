"""The reduced form in XLA: predictions of linear attention from moments (PAPER.md, section 1).

It is used if the native kernels cannot be (other backends, other dtypes, higher derivatives), and
is differentiated by JAX.

The prediction is exact whatever is done with it, so any loss of prediction and target can follow.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from attnscape.errors import UsageError
from attnscape.models import LinearTransformer
from attnscape.tasks import Moments, Prompts


def mean_loss(predictions: Float[Array, " batch"], data: Prompts | Moments) -> Float[Array, ""]:
    """The mean over the batch of the loss that the data carry.

    Raises:
        UsageError: If the loss does not give one number a prompt.
    """
    losses = jax.vmap(data.loss)(predictions, data.target)
    if jnp.shape(losses) != data.target.shape:
        raise UsageError(
            f"The loss gave shape {jnp.shape(losses)[1:]} for one prediction and its target; it "
            "must give one number, of shape ()."
        )
    return jnp.mean(losses)


def reduced_loss(model: LinearTransformer, moments: Moments) -> Float[Array, ""]:
    """The mean loss over the batch."""
    return mean_loss(reduced_predictions(model, moments), moments)


def reduced_predictions(model: LinearTransformer, moments: Moments) -> Float[Array, " batch"]:
    """The prediction for every prompt."""
    with jax.default_matmul_precision("highest"):
        predict = _block_predictions if model.form == "block" else _full_predictions
        return predict(model, moments)


def _next_layer(
    A: Float[Array, "batch m m"],
    P: Float[Array, "m m"],
    Q: Float[Array, "m m"],
    G: Float[Array, "batch m m"],
) -> Float[Array, "batch m m"]:
    """A_{l+1} = A_l + P_l (A_l G A_l^T) Q_l A_l."""
    return A + P @ (A @ G @ A.mT) @ Q @ A


def _block_predictions(model: LinearTransformer, moments: Moments) -> Float[Array, " batch"]:
    G, c, q = moments.gram, moments.cross, moments.query
    A = jnp.broadcast_to(jnp.eye(G.shape[-1], dtype=G.dtype), G.shape)
    s = jnp.zeros_like(c)
    for layer in range(len(model.P)):
        P, Q = model.P[layer], model.Q[layer]
        u = c + jnp.einsum("bij,bj->bi", G, s)
        s = s + jnp.einsum("bji,kj,bkl,bl->bi", A, Q, A, u)  # A^T Q^T A u
        if layer + 1 < len(model.P):  # the last layer's A is never used
            A = _next_layer(A, P, Q, G)
    return -jnp.einsum("bi,bi->b", s, q)


def _full_predictions(model: LinearTransformer, moments: Moments) -> Float[Array, " batch"]:
    c = moments.cross[:, :, None]
    G = jnp.block([[moments.gram, c], [c.mT, moments.square[:, None, None]]])
    q = jnp.pad(moments.query, ((0, 0), (0, 1)))
    A = jnp.broadcast_to(jnp.eye(G.shape[-1], dtype=G.dtype), G.shape)
    for P, Q in zip(model.P, model.Q, strict=True):
        A = _next_layer(A, P, Q, G)
    return -jnp.einsum("bj,bj->b", A[:, -1, :], q)
