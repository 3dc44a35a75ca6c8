"""The LSTM language model that Zhang et al. (2020a) train on Penn Treebank.

It is the AWD-LSTM of Merity et al. (2018) without dropout: the readout is the transposed embedding,
so that the last layer has the embedding's width.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from attnscape.errors import UsageError
from attnscape.networks.models._requirements import fact

_INITIAL_RANGE = 0.1


class LSTMLM(nn.Module):
    """An embedding, LSTM layers, and a readout with the embedding's weights and its own bias.

    Every sequence starts with zero states. The layers are loops over cells, because the fused
    kernels of `torch.nn.LSTM` have no second derivative.

    Args:
        vocabulary: Number of tokens.
        embedding: Width of the embedding and of the last layer.
        hidden: Width of the other layers.
        layers: Number of layers.
    """

    def __init__(self, vocabulary: int, embedding: int, hidden: int, layers: int) -> None:
        super().__init__()
        widths = [embedding, *[hidden] * (layers - 1), embedding]
        self.embedding = nn.Embedding(vocabulary, embedding)
        self.cells = nn.ModuleList(
            nn.LSTMCell(inputs, outputs) for inputs, outputs in itertools.pairwise(widths)
        )
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        nn.init.uniform_(self.embedding.weight, -_INITIAL_RANGE, _INITIAL_RANGE)

    def forward(
        self, tokens: Int[Tensor, "batch length"]
    ) -> Float[Tensor, "batch length vocabulary"]:
        """Logits of the next token after each position."""
        sequence = self.embedding(tokens).unbind(1)
        for cell in self.cells:
            state: tuple[Tensor, ...] = ()  # hidden and cell state; none before the first token
            outputs: list[Tensor] = []
            for inputs in sequence:
                state = cell(inputs, state or None)
                outputs.append(state[0])
            sequence = tuple(outputs)
        return nn.functional.linear(torch.stack(sequence, 1), self.embedding.weight, self.bias)


def make_lstm_lm(
    facts: Mapping[str, int], *, embedding: int = 200, hidden: int = 512, layers: int = 2
) -> LSTMLM:
    """The LSTM language model with the authors' initial weights.

    The embedding is uniform in [-0.1, 0.1], the readout's bias 0, and the layers are as PyTorch
    draws them, uniform in +-1/sqrt(width).

    Args:
        facts: Facts of the data: `vocabulary`.
        embedding: Width of the embedding and of the last layer.
        hidden: Width of the other layers.
        layers: Number of layers.

    Raises:
        UsageError: If there is no layer.
    """
    if layers < 1:
        raise UsageError(f"There are {layers} LSTM layers; give at least one.")
    return LSTMLM(fact(facts, "vocabulary", "the LSTM"), embedding, hidden, layers)
