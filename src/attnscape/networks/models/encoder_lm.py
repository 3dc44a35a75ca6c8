"""The Transformer language model that Kunstner et al. (2023) train on Penn Treebank.

It is the encoder of Vaswani et al. (2017) with a causal mask.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from attnscape.errors import UsageError
from attnscape.networks.models._requirements import fact, require_heads
from attnscape.networks.models._transformer import (
    causal_weights,
    draw_weights,
    feed_forward,
    join_heads,
    sinusoids,
    split_heads,
)


class CausalSelfAttention(nn.Module):
    """Softmax attention of each position to itself and earlier ones.

    Args:
        width: Width of the embedding, a multiple of `heads`.
        heads: Number of heads.
        dropout: Share of attention weights that are dropped in training.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.projection = nn.Linear(width, 3 * width)  # queries, keys and values
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(width, width)

    def forward(
        self, inputs: Float[Tensor, "batch length width"]
    ) -> Float[Tensor, "batch length width"]:
        queries, keys, values = split_heads(self.projection(inputs), self.heads)
        scores = queries @ keys.mT / math.sqrt(queries.shape[-1])
        weights = self.dropout(causal_weights(scores))
        return self.output(join_heads(weights @ values))


class EncoderLayer(nn.Module):
    """Attention and a feed-forward network, each added to its input and then normalized."""

    def __init__(self, width: int, heads: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.attention: CausalSelfAttention = CausalSelfAttention(width, heads, dropout)
        self.dropout = nn.Dropout(dropout)
        self.attention_norm = nn.LayerNorm(width)
        self.feed_forward: nn.Sequential = feed_forward(width, inner, dropout)
        self.feed_forward_norm = nn.LayerNorm(width)

    def forward(
        self, inputs: Float[Tensor, "batch length width"]
    ) -> Float[Tensor, "batch length width"]:
        attended = self.attention_norm(inputs + self.dropout(self.attention(inputs)))
        return self.feed_forward_norm(attended + self.feed_forward(attended))


class EncoderLM(nn.Module):
    """Scaled embeddings with sinusoidal positions, encoder layers, and an untied readout.

    Args:
        vocabulary: Number of tokens.
        width: Width of the embedding, even and a multiple of `heads`.
        heads: Heads of each layer.
        inner: Hidden width of the feed-forward networks.
        layers: Number of layers.
        dropout: Share that is dropped in training of embeddings, attention weights and the outputs
            of sublayers.
    """

    def __init__(
        self, vocabulary: int, width: int, heads: int, inner: int, layers: int, dropout: float
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.Sequential(
            *(EncoderLayer(width, heads, inner, dropout) for _ in range(layers))
        )
        self.readout = nn.Linear(width, vocabulary)

    def forward(
        self, tokens: Int[Tensor, "batch length"]
    ) -> Float[Tensor, "batch length vocabulary"]:
        """Logits of the next token after each position."""
        embedded = self.embedding(tokens) * math.sqrt(self.embedding.embedding_dim)
        return self.readout(self.layers(self.dropout(embedded + self._positions(embedded))))

    def _positions(
        self, embedded: Float[Tensor, "batch length width"]
    ) -> Float[Tensor, "length width"]:
        """Sines in the even columns, cosines in the odd ones."""
        _, length, width = embedded.shape
        positions = torch.arange(length, dtype=embedded.dtype, device=embedded.device)
        return torch.stack(sinusoids(positions, width), dim=-1).flatten(1)


def make_encoder_lm(
    facts: Mapping[str, int],
    *,
    width: int = 200,
    heads: int = 2,
    inner: int = 200,
    layers: int = 2,
    dropout: float = 0.2,
) -> EncoderLM:
    """The language model with the authors' initial weights.

    Those are N(0, 0.02^2), except for the projections to queries, keys and values: these are
    Xavier-uniform and the same in all layers, because `torch.nn.TransformerEncoder` copies its
    first layer and the authors' initialization does not reach them.

    Args:
        facts: Facts of the data: `vocabulary`.
        width: Width of the embedding.
        heads: Heads of each layer.
        inner: Hidden width of the feed-forward networks.
        layers: Number of layers.
        dropout: Share that is dropped in training.

    Raises:
        UsageError: If the width is odd or no multiple of `heads`.
    """
    require_heads(width, heads)
    if width % 2:
        raise UsageError(f"The width is {width}; sines and cosines need an even one.")
    vocabulary = fact(facts, "vocabulary", "the Transformer language model")
    network = EncoderLM(vocabulary, width, heads, inner, layers, dropout)
    draw_weights(network)
    projections = [
        part.projection.weight
        for part in network.modules()
        if isinstance(part, CausalSelfAttention)
    ]
    with torch.no_grad():
        drawn = nn.init.xavier_uniform_(torch.empty(3 * width, width))
        for projection in projections:
            projection.copy_(drawn)
    return network
