"""Questions on passages, cut into windows of tokens in which the answer is a span.

A window is `[CLS] question [SEP] part of the passage [SEP]`, padded. Parts of one passage overlap
by `stride` tokens. Windows without the whole answer are left out, as a network that is asked for a
span cannot be right on them.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from attnscape.networks.data.cache import Arrays

PADDING, START, SEPARATOR = "[PAD]", "[CLS]", "[SEP]"
_AT_ONCE = 1000


class Question(NamedTuple):
    """A question whose answer is `passage[start:end]`."""

    question: str
    passage: str
    start: int
    end: int


@runtime_checkable
class Encoded(Protocol):
    """Token ids of a text, and the characters from which each comes."""

    @property
    def ids(self) -> list[int]: ...
    @property
    def offsets(self) -> list[tuple[int, int]]: ...


@runtime_checkable
class Encoder(Protocol):
    """What is used of a tokenizer of the package `tokenizers`."""

    def encode_batch(
        self, input: list[str], is_pretokenized: bool = False, add_special_tokens: bool = True
    ) -> Sequence[Encoded]: ...
    def token_to_id(self, token: str) -> int | None: ...


class _Window(NamedTuple):
    """A window's tokens without padding, and the places of the answer's first and last."""

    ids: list[int]
    start: int
    end: int


def windows(questions: Sequence[Question], encoder: Encoder, length: int, stride: int) -> Arrays:
    """All windows that hold their answer, in the order of the questions.

    A question is cut so that at least half of what a window adds is of the passage.

    Args:
        questions: The questions.
        encoder: A tokenizer that neither cuts nor pads.
        length: Tokens of a window, at least stride + 5.
        stride: Tokens by which windows of one passage overlap.

    Returns:
        `ids` (n, length), `sizes` (n,): tokens that are not padding, `starts` and `ends` (n,):
        places of the answer's first and last token.
    """
    passages = _encode(encoder, [question.passage for question in questions])
    asked = _encode(encoder, [question.question for question in questions])
    padding, first, separator = (
        encoder.token_to_id(token) or 0 for token in (PADDING, START, SEPARATOR)
    )
    longest = (length - 3 - stride) // 2
    found: list[_Window] = []
    for question in questions:
        head = [first, *asked[question.question].ids[:longest], separator]
        for ids, start, end in _parts(question, passages, length - len(head) - 1, stride):
            found.append(_Window([*head, *ids, separator], len(head) + start, len(head) + end))
    table = np.full((len(found), length), padding, np.int32)
    for row, window in zip(table, found, strict=True):
        row[: len(window.ids)] = window.ids
    return {
        "ids": table,
        "sizes": np.array([len(window.ids) for window in found], np.int32),
        "starts": np.array([window.start for window in found], np.int32),
        "ends": np.array([window.end for window in found], np.int32),
    }


def _encode(encoder: Encoder, texts: Sequence[str]) -> dict[str, Encoded]:
    """Each different text without special tokens; many questions share a passage."""
    different = list(dict.fromkeys(texts))
    encoded: dict[str, Encoded] = {}
    for begin in range(0, len(different), _AT_ONCE):
        part = different[begin : begin + _AT_ONCE]
        encoded |= zip(part, encoder.encode_batch(part, add_special_tokens=False), strict=True)
    return encoded


def _parts(
    question: Question, passages: dict[str, Encoded], room: int, stride: int
) -> Iterator[tuple[list[int], int, int]]:
    """Parts of the passage that hold the answer, with the places of its first and last token."""
    encoded = passages[question.passage]
    first = bisect.bisect_right([end for _, end in encoded.offsets], question.start)
    last = bisect.bisect_left([start for start, _ in encoded.offsets], question.end) - 1
    if first > last:
        return  # the answer is white space
    for begin in range(0, max(1, len(encoded.ids) - stride), room - stride):
        if begin <= first and last < begin + room:
            yield encoded.ids[begin : begin + room], first - begin, last - begin
