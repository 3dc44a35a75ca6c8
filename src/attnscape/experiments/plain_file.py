"""Plain values (`attnscape.trees.Plain`) written to a file, and read again, bit for bit.

The file is an archive of numpy arrays, none of which needs pickle, with the checksum of results at
its end. The first array is JSON, in which the others have their numbers. Arrays are written one
after the other and not copied before.
"""

from __future__ import annotations

import json
import threading
import zipfile
from collections.abc import Mapping
from typing import BinaryIO

import numpy as np

from attnscape.experiments.checksum import append_checksum, check
from attnscape.trees import NotSavableError, Plain

_ARRAY = "\0array"  # no text in plain values begins so
# Each seed's thread reads its own checkpoint. Numpy reads the heads of arrays with `ast`, and in
# early releases of Python 3.11 two threads in it may end with a SystemError (cpython#106905).
_READING = threading.Lock()


def write(value: Plain, file: BinaryIO) -> None:
    """Writes a value to an empty file that is open for reading too.

    Raises:
        NotSavableError: If it holds something that is not plain.

    Examples:
        >>> import io
        >>> import numpy as np
        >>> from attnscape.experiments import plain_file
        >>> file = io.BytesIO()
        >>> plain_file.write({"steps": [1, None], "loss": np.array([0.5, np.nan])}, file)
        >>> plain_file.read(file)
        {'steps': [1, None], 'loss': array([0.5, nan])}
    """
    arrays = list[np.ndarray]()
    try:
        text = json.dumps(_without_arrays(value, arrays))
        arrays.insert(0, np.frombuffer(text.encode(), np.uint8))
        named = {str(number): array for number, array in enumerate(arrays)}
        np.savez(file, allow_pickle=False, **named)
    except (TypeError, ValueError) as error:
        raise NotSavableError(f"a state is not plain values: {error}") from error
    append_checksum(file)


def read(file: BinaryIO) -> Plain:
    """The value that `write` was given.

    Raises:
        ValueError: If the file is not what `write` has written.
    """
    check(file)
    file.seek(0)
    try:
        with _READING, np.load(file, allow_pickle=False) as archive:
            text, *arrays = (archive[str(number)] for number in range(len(archive.files)))
            return _with_arrays(json.loads(text.tobytes()), arrays)
    except (KeyError, IndexError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(str(error)) from error


def _without_arrays(value: Plain, arrays: list[np.ndarray]) -> Plain:
    if isinstance(value, np.ndarray):
        name = value.dtype.name
        if value.dtype.kind == "V":  # bfloat16 and its like, which numpy would not know again
            value = value.view(f"u{value.dtype.itemsize}")
        arrays.append(value)
        return {_ARRAY: len(arrays) - 1, "dtype": name}
    if isinstance(value, Mapping):
        if unlike := [key for key in value if not isinstance(key, str)]:
            raise TypeError(f"the key {unlike[0]!r} is no text")  # JSON would make it one
        return {key: _without_arrays(each, arrays) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_arrays(each, arrays) for each in value]
    return value


def _with_arrays(value: Plain, arrays: list[np.ndarray]) -> Plain:
    if isinstance(value, list):
        return [_with_arrays(each, arrays) for each in value]
    if not isinstance(value, dict):
        return value
    if _ARRAY in value:
        array = arrays[value[_ARRAY]]
        return array if array.dtype.name == value["dtype"] else array.view(np.dtype(value["dtype"]))
    return {key: _with_arrays(each, arrays) for key, each in value.items()}
