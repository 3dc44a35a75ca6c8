"""Language modelling data: a stream of token ids, cut into chunks with the next tokens as targets.

The chunks are shuffled, so a model keeps no state from one batch to the next.
"""

from __future__ import annotations

from collections.abc import Mapping

from jaxtyping import Int
from torch import Tensor

from attnscape.errors import UsageError
from attnscape.networks.data.examples import Examples


class Tokens(Examples):
    """Chunks of a training stream and of a test stream; a batch is (inputs, next tokens).

    Both tensors of a batch have the shape (batch, length). The tokens left over at the end of a
    stream are dropped.

    Args:
        name: What the data are, as figures and tables say it.
        facts: Numbers that a model needs; `length` is added.
        train: Token ids of the training stream, (tokens,).
        test: Token ids of the test stream, (tokens,).
        length: Tokens of a chunk.

    Raises:
        UsageError: If a stream is shorter than one chunk and its next token.
    """

    def __init__(
        self,
        name: str,
        facts: Mapping[str, int],
        *,
        train: Int[Tensor, " train_tokens"],
        test: Int[Tensor, " test_tokens"],
        length: int,
    ) -> None:
        super().__init__(
            name,
            {**facts, "length": length},
            train=_chunks(train, length, f"training tokens of {name}"),
            test=_chunks(test, length, f"test tokens of {name}"),
        )


def _chunks(
    stream: Int[Tensor, " tokens"], length: int, what: str
) -> tuple[Int[Tensor, "chunks length"], Int[Tensor, "chunks length"]]:
    most = len(stream) - 1  # the last token is only ever a target
    if not 1 <= length <= most:
        raise UsageError(
            f"length is {length:,}, but there are {len(stream):,} {what}; give a length from 1 to "
            f"{max(1, most):,}, or more tokens."
        )
    used = most // length * length
    return stream[:used].view(-1, length), stream[1 : used + 1].view(-1, length)
