"""Parts that the Transformer language models share.

Initial weights are those of Kunstner et al. (2023). Attention is written out, because PyTorch's
fused kernels have no second derivative.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

INITIAL_STD = 0.02


def draw_weights(network: nn.Module) -> None:
    """Draws initial weights as Kunstner et al. (2023) do for their language models.

    Matrices of linear layers and embeddings are N(0, 0.02^2), gains of layer norms N(1, 0.02^2),
    and biases 0. Other parameters are left as they are.
    """
    for part in network.modules():
        match part:
            case nn.Linear() | nn.Embedding():
                nn.init.normal_(part.weight, 0.0, INITIAL_STD)
            case nn.LayerNorm():
                nn.init.normal_(part.weight, 1.0, INITIAL_STD)
            case _:
                continue
        if isinstance(bias := getattr(part, "bias", None), Tensor):
            nn.init.zeros_(bias)


def feed_forward(width: int, inner: int, dropout: float) -> nn.Sequential:
    """Two linear layers with a ReLU between them, and dropout after each."""
    return nn.Sequential(
        nn.Linear(width, inner),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(inner, width),
        nn.Dropout(dropout),
    )


def sinusoids(
    positions: Float[Tensor, " length"], width: int
) -> tuple[Float[Tensor, "length half"], Float[Tensor, "length half"]]:
    """Sines and cosines of the positions at falling frequencies (Vaswani et al. 2017, section 3.5).

    Args:
        positions: The positions, (length,).
        width: An even number, twice the number of frequencies.
    """
    exponents = torch.arange(0, width, 2, dtype=positions.dtype, device=positions.device) / width
    angles = positions[:, None] / 10_000**exponents
    return angles.sin(), angles.cos()


def split_heads(
    projected: Float[Tensor, "batch length three_widths"], heads: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values, each (batch, heads, length, head), from their joint projection."""
    split = projected.unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)
    return split[0], split[1], split[2]


def causal_weights(
    scores: Float[Tensor, "batch heads length length"],
) -> Float[Tensor, "batch heads length length"]:
    """Softmax of each query's scores (a row) over the keys up to its position."""
    length = scores.shape[-1]
    later = torch.ones(length, length, dtype=torch.bool, device=scores.device).triu(1)
    return scores.masked_fill(later, -math.inf).softmax(-1)


def join_heads(
    outputs: Float[Tensor, "batch heads length head"],
) -> Float[Tensor, "batch length width"]:
    """The heads' outputs beside each other."""
    return outputs.transpose(1, 2).flatten(2)
