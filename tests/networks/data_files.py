"""Writes small data sets in their standard forms, for the tests of the loaders."""

import gzip
import importlib.metadata
import json
import struct

import numpy as np
import pytest

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]


def needs_package(name):
    """Mark: the test reads a package's files."""
    try:
        importlib.metadata.version(name)
        missing = False
    except importlib.metadata.PackageNotFoundError:
        missing = True
    return pytest.mark.skipif(missing, reason=f"the package {name} is not installed")


def write_idx(folder, part, images, labels, *, compress=False):
    """Pictures (n, 28, 28) and labels as the two IDX files of MNIST."""
    for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
        content = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
        content += array.astype(np.uint8).tobytes()
        name = f"{part}-{kind}-ubyte"
        if compress:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)


def write_mnist(folder, *, train=12, test=5, seed=0, compress=False):
    """Random pictures as the four files of MNIST; returns them as (images, labels) of each part."""
    draw = np.random.default_rng(seed)
    parts = []
    for part, count in (("train", train), ("t10k", test)):
        images = draw.integers(0, 256, (count, 28, 28))
        labels = draw.integers(0, 10, count)
        write_idx(folder, part, images, labels, compress=compress)
        parts.append((images, labels))
    return parts


def _string(text):
    """A string as Python 2 pickled it."""
    short = len(text) < 256
    return (b"U" + bytes([len(text)]) if short else b"T" + struct.pack("<i", len(text))) + text


def python2_batch(images, labels):
    """A batch of CIFAR-10 (n, 3, 32, 32), as Python 2 pickled it with its arrays."""
    rows = images.reshape(len(images), -1).astype(np.uint8)
    dtype = b"cnumpy\ndtype\n" + _string(b"u1") + b"K\x00K\x01\x87R(K\x03" + _string(b"|")
    dtype += b"NNN" + 2 * b"J\xff\xff\xff\xff" + b"K\x00tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + _string(b"b")
    array += b"\x87R(K\x01" + b"".join(b"J" + struct.pack("<i", side) for side in rows.shape)
    array += b"\x86" + dtype + b"\x89" + _string(rows.tobytes()) + b"tb"
    numbers = b"".join(b"K" + bytes([label]) for label in labels)
    pairs = _string(b"data") + array + _string(b"labels") + b"](" + numbers + b"e"
    return b"\x80\x02}(" + pairs + b"u."


def write_cifar(folder, *, each=3, seed=0):
    """Random pictures as the six files of CIFAR-10; returns (images, labels) of each file."""
    inside = folder / "cifar-10-batches-py"
    inside.mkdir()
    draw = np.random.default_rng(seed)
    batches = []
    for name in [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]:
        images = draw.integers(0, 256, (each, 3, 32, 32))
        labels = draw.integers(0, 10, each)
        (inside / name).write_bytes(python2_batch(images, labels.tolist()))
        batches.append((images, labels))
    return batches


def squad_json(questions):
    """SQuAD's form of (id, context, question, [(answer, start), ...])."""
    paragraphs = [
        {
            "context": context,
            "qas": [
                {
                    "id": name,
                    "question": question,
                    "answers": [{"text": text, "answer_start": start} for text, start in answers],
                }
            ],
        }
        for name, context, question, answers in questions
    ]
    return json.dumps({"version": "1.1", "data": [{"title": "t", "paragraphs": paragraphs}]})


def tokenizer_json(words):
    """A tokenizer of whole words in lower case, like BERT's."""
    tokenizers = pytest.importorskip("tokenizers", reason="tokenizers is not installed")
    ids = {word: number for number, word in enumerate([*VOCABULARY, *words])}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = tokenizers.processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.enable_truncation(max_length=4)  # as packaged ones have; must not count
    tokenizer.enable_padding(length=4)
    return tokenizer.to_str()
