"""Transformer-XL (Dai et al. 2019) as Kunstner et al. (2023) train it on WikiText-2.

They reset the memory at every batch, so that no hidden states are carried over and there is none
here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from attnscape.errors import UsageError
from attnscape.networks.models._requirements import fact
from attnscape.networks.models._transformer import (
    INITIAL_STD,
    causal_weights,
    draw_weights,
    feed_forward,
    join_heads,
    sinusoids,
    split_heads,
)


class RelativeAttention(nn.Module):
    """Causal attention whose scores depend on content and on the distance from query to key.

    The score of query i and key j is ((q_i + u) k_j + (q_i + v) r_{i-j}) / sqrt(head), with r the
    projected sinusoids of the distance and the vectors u and v shared by all layers (Dai et al.,
    section 3.3).

    Args:
        width: Width of the embedding.
        heads: Number of heads.
        head: Width of a head.
        dropout: Share of attention weights that are dropped in training.
    """

    def __init__(self, width: int, heads: int, head: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.projection = nn.Linear(width, 3 * heads * head, bias=False)  # queries, keys, values
        self.distance_projection = nn.Linear(width, heads * head, bias=False)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(heads * head, width, bias=False)

    def forward(
        self,
        inputs: Float[Tensor, "batch length width"],
        distances: Float[Tensor, "length width"],
        u: Float[Tensor, "heads head"],
        v: Float[Tensor, "heads head"],
    ) -> Float[Tensor, "batch length width"]:
        """Attends.

        Args:
            inputs: The embedded tokens.
            distances: Sinusoids of the distances length-1, ..., 1, 0.
            u: Added to queries that meet content.
            v: Added to queries that meet distances.
        """
        queries, keys, values = split_heads(self.projection(inputs), self.heads)
        projected = self.distance_projection(distances).unflatten(-1, (self.heads, -1))
        of_content = (queries + u[:, None]) @ keys.mT
        of_distance = _by_key((queries + v[:, None]) @ projected.transpose(0, 1).mT)
        scores = (of_content + of_distance) / math.sqrt(queries.shape[-1])
        weights = self.dropout(causal_weights(scores))
        return self.output(join_heads(weights @ values))


class RelativeLayer(nn.Module):
    """Attention and a feed-forward network, each added to its input and then normalized."""

    def __init__(
        self,
        width: int,
        heads: int,
        head: int,
        inner: int,
        dropout: float,
        attention_dropout: float,
    ) -> None:
        super().__init__()
        self.attention: RelativeAttention = RelativeAttention(width, heads, head, attention_dropout)
        self.dropout = nn.Dropout(dropout)
        self.attention_norm = nn.LayerNorm(width)
        self.feed_forward: nn.Sequential = feed_forward(width, inner, dropout)
        self.feed_forward_norm = nn.LayerNorm(width)

    def forward(
        self,
        inputs: Float[Tensor, "batch length width"],
        distances: Float[Tensor, "length width"],
        u: Float[Tensor, "heads head"],
        v: Float[Tensor, "heads head"],
    ) -> Float[Tensor, "batch length width"]:
        attended = self.dropout(self.attention(inputs, distances, u, v))
        attended = self.attention_norm(inputs + attended)
        return self.feed_forward_norm(attended + self.feed_forward(attended))


class TransformerXL(nn.Module):
    """Scaled embeddings, layers with relative positions, and an untied readout.

    Args:
        vocabulary: Number of tokens.
        width: Width of the embedding, even.
        heads: Heads of each layer.
        head: Width of a head.
        inner: Hidden width of the feed-forward networks.
        layers: Number of layers.
        dropout: Share that is dropped in training of embeddings, sinusoids and outputs of
            sublayers.
        attention_dropout: Share of attention weights that are dropped in training.
    """

    def __init__(
        self,
        vocabulary: int,
        width: int,
        heads: int,
        head: int,
        inner: int,
        layers: int,
        dropout: float,
        attention_dropout: float,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.dropout = nn.Dropout(dropout)
        self.u = nn.Parameter(torch.zeros(heads, head))
        self.v = nn.Parameter(torch.zeros(heads, head))
        self.layers = nn.ModuleList(
            RelativeLayer(width, heads, head, inner, dropout, attention_dropout)
            for _ in range(layers)
        )
        self.readout = nn.Linear(width, vocabulary)

    def forward(
        self, tokens: Int[Tensor, "batch length"]
    ) -> Float[Tensor, "batch length vocabulary"]:
        """Logits of the next token after each position."""
        embedded = self.embedding(tokens) * math.sqrt(self.embedding.embedding_dim)
        distances = self.dropout(_distances(embedded))
        hidden = self.dropout(embedded)
        for layer in self.layers:
            hidden = layer(hidden, distances, self.u, self.v)
        return self.readout(self.dropout(hidden))


def make_transformer_xl(
    facts: Mapping[str, int],
    *,
    width: int = 512,
    heads: int = 8,
    head: int = 64,
    inner: int = 2048,
    layers: int = 6,
    dropout: float = 0.1,
    attention_dropout: float = 0.0,
) -> TransformerXL:
    """Transformer-XL with the authors' initial weights, N(0, 0.02^2) also for u and v.

    Args:
        facts: Facts of the data: `vocabulary`.
        width: Width of the embedding.
        heads: Heads of each layer.
        head: Width of a head.
        inner: Hidden width of the feed-forward networks.
        layers: Number of layers.
        dropout: Share that is dropped in training.
        attention_dropout: Share of attention weights that are dropped in training.

    Raises:
        UsageError: If the width is odd.
    """
    if width % 2:
        raise UsageError(f"The width is {width}; sines and cosines need an even one.")
    vocabulary = fact(facts, "vocabulary", "Transformer-XL")
    network = TransformerXL(
        vocabulary, width, heads, head, inner, layers, dropout, attention_dropout
    )
    draw_weights(network)
    for vector in (network.u, network.v):
        nn.init.normal_(vector, 0.0, INITIAL_STD)
    return network


def _distances(embedded: Float[Tensor, "batch length width"]) -> Float[Tensor, "length width"]:
    """Sines, then cosines, of the distances length-1, ..., 1, 0."""
    _, length, width = embedded.shape
    distances = torch.arange(length - 1, -1, -1, dtype=embedded.dtype, device=embedded.device)
    return torch.cat(sinusoids(distances, width), dim=-1)


def _by_key(
    by_distance: Float[Tensor, "batch heads length length"],
) -> Float[Tensor, "batch heads length length"]:
    """Moves each query's scores from the columns of distances to those of keys.

    Column c belongs to the distance length-1-c, thus row i moves left by length-1-i places. With a
    column in front, that is a reshape (Dai et al., appendix B). Entries of later keys are those of
    other rows; the causal mask removes them.
    """
    length = by_distance.shape[-1]
    padded = nn.functional.pad(by_distance, (1, 0))
    return padded.flatten(-2).unflatten(-1, (length + 1, length))[..., 1:, :]
