"""Files of pictures in their standard forms: IDX (MNIST) and the pickled batches of CIFAR-10."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int64, UInt8

from attnscape.errors import UsageError
from attnscape.networks.data import sources

CIFAR_FOLDER = "cifar-10-batches-py"
_CIFAR_TRAIN = tuple(f"data_batch_{number}" for number in range(1, 6))
_IDX_BYTES = b"\x00\x00\x08"  # the start of an IDX file of unsigned bytes; then the number of axes


class Pictures(NamedTuple):
    """Pictures and their labels."""

    images: UInt8[np.ndarray, "n channels height width"]
    labels: Int64[np.ndarray, " n"]


def idx_pictures(folder: Path, part: str, *, what: str) -> Pictures:
    """Pictures from the two IDX files of a part, compressed or not.

    Args:
        folder: The folder with the files.
        part: "train" or "t10k", as their names begin.
        what: The name of the data set, for errors.

    Raises:
        UsageError: If a file is missing, or is no IDX file of 28x28 pictures or of their labels.
    """
    paths = [
        sources.in_folder(folder, f"{part}-{kind}-ubyte", what=what)
        for kind in ("images-idx3", "labels-idx1")
    ]
    images = _idx(paths[0], 3)
    labels = _idx(paths[1], 1)
    if images.shape[1:] != (28, 28):
        raise UsageError(
            f"{paths[0]} has pictures of shape {images.shape[1:]}; those of {what} are (28, 28)."
        )
    if len(labels) != len(images):
        raise UsageError(
            f"{paths[1]} has {len(labels):,} labels, but there are {len(images):,} pictures; it "
            "must have one for each."
        )
    _require_labels(labels, paths[1])
    return Pictures(images[:, None], labels.astype(np.int64))


def cifar_pictures(folder: Path) -> tuple[Pictures, Pictures]:
    """Training and test pictures of CIFAR-10, from the folder `cifar-10-batches-py` or around it.

    Raises:
        UsageError: If a file is missing, or is no batch of CIFAR-10.
    """
    if (folder / CIFAR_FOLDER).is_dir():
        folder = folder / CIFAR_FOLDER
    train = [_cifar_batch(sources.in_folder(folder, n, what="CIFAR-10")) for n in _CIFAR_TRAIN]
    test = _cifar_batch(sources.in_folder(folder, "test_batch", what="CIFAR-10"))
    return Pictures(*(np.concatenate(arrays) for arrays in zip(*train, strict=True))), test


def _idx(path: Path, axes: int) -> UInt8[np.ndarray, ...]:
    content = sources.read(path)
    start = 4 + 4 * axes
    shape = tuple(np.frombuffer(content[4:start], ">u4").tolist()) if len(content) >= start else ()
    known = content.startswith(_IDX_BYTES + bytes([axes])) and len(shape) == axes and 0 not in shape
    if not known or len(content) != start + np.prod(shape, dtype=np.int64):
        raise UsageError(
            f"{path} is not a whole IDX file of unsigned bytes with {axes} "
            f"{'axis' if axes == 1 else 'axes'}; copy it again."
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _cifar_batch(path: Path) -> Pictures:
    try:
        found = _Unpickler(io.BytesIO(sources.read(path)), encoding="bytes").load()
        data, labels = found[b"data"], np.asarray(found[b"labels"], np.int64)
        valid = data.dtype == np.uint8 and data.shape == (len(labels), 3 * 32 * 32) and len(labels)
    except UsageError:
        raise
    except Exception as error:  # a damaged pickle can raise any
        raise UsageError(
            f"{path} is not a batch of CIFAR-10 ({type(error).__name__}: {error}); it must be a "
            "file of the Python version of CIFAR-10."
        ) from error
    if not valid:
        raise UsageError(
            f"{path} has data of shape {data.shape} and {len(labels)} labels; a batch of CIFAR-10 "
            "has bytes of shape (n, 3072) and n labels."
        )
    _require_labels(labels, path)
    return Pictures(data.reshape(-1, 3, 32, 32), labels)


def _require_labels(labels: np.ndarray, path: Path) -> None:
    if labels.min() < 0 or labels.max() > 9:
        raise UsageError(
            f"{path} has labels from {labels.min()} to {labels.max()}; they must be from 0 to 9."
        )


class _Unpickler(pickle.Unpickler):
    """Reads arrays and plain values only, as a pickle could otherwise run any code."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        match module_name, global_name:
            case (("numpy.core.multiarray" | "numpy._core.multiarray"), "_reconstruct"):
                return _empty_array
            case "numpy", "ndarray":
                return np.ndarray
            case "numpy", "dtype":
                return _dtype
            case "_codecs", "encode":  # how Python 3 writes bytes in old protocols
                return _encoded
            case _:
                raise pickle.UnpicklingError(f"it contains {module_name}.{global_name}")


def _empty_array(kind: type[np.ndarray], shape: tuple[int, ...], dtype: str | bytes) -> np.ndarray:
    return np.ndarray.__new__(kind, shape, _dtype(dtype))


def _dtype(name: str | bytes, *_: object) -> np.dtype[Any]:
    """The type of that name; Python 2 wrote 0 and 1 for further arguments, which NumPy warns of."""
    return np.dtype(name if isinstance(name, str) else name.decode())


def _encoded(text: str, encoding: str) -> bytes:
    return text.encode(encoding)
