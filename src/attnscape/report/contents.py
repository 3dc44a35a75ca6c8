"""What the page embeds of an artifact's files, once it is sure that they are what was made."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import hashlib
import io
import warnings
from collections.abc import Generator
from pathlib import Path

import pandas as pd
from PIL import Image, UnidentifiedImageError

from attnscape.report.manifest import Manifest, Table

_LONGEST_TABLE = 40  # rows; longer tables are only linked as CSV


def content_of(manifest: Manifest, suffix: str, out: Path) -> bytes:
    """What is in one of the files of an artifact.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it lies elsewhere, behind a link, or is not what was made.
    """
    path = out / manifest.files[suffix]
    if not path.resolve().is_relative_to(out.resolve()):
        raise ValueError("it is a link that leads out of the folder")
    content = path.read_bytes()
    if manifest.digests.get(suffix) not in (None, hashlib.sha256(content).hexdigest()):
        raise ValueError("it was changed after it was made")
    return content


def short_table(content: bytes) -> Table | None:
    """A CSV as a table; None if it is long.

    Raises:
        ValueError: If it cannot be read.
    """
    frame = pd.read_csv(io.BytesIO(content))
    if len(frame) > _LONGEST_TABLE:
        return None
    if not isinstance(frame.index, pd.RangeIndex):
        raise ValueError("its rows have more cells than its header")
    return Table.of(frame)


@dataclasses.dataclass(frozen=True)
class Picture:
    """A PNG, with its size in pixels so that the layout is stable while it loads."""

    png: bytes
    width: int
    height: int

    @classmethod
    def of(cls, png: bytes) -> Picture:
        with _opened(png) as image:
            return cls(png, *image.size)

    @property
    def uri(self) -> str:
        """The picture as a data URI."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode()

    def small(self, width: int = 600) -> Picture:
        """A smaller copy, at most so wide."""
        copy = io.BytesIO()
        with _opened(self.png) as image:
            small = image.convert("RGB")
            small.thumbnail((width, image.height))
            small.quantize(256, dither=Image.Dither.NONE).save(copy, "PNG", optimize=True)
        return Picture(copy.getvalue(), *small.size)


@contextlib.contextmanager
def _opened(png: bytes) -> Generator[Image.Image]:
    """Context manager: the picture.

    Raises:
        ValueError: If it is none, or one that would fill the memory.
        OSError: If it is cut off.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(png), formats=["PNG"]) as image:
                yield image
    except UnidentifiedImageError as error:
        raise ValueError("it is no PNG") from error
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise ValueError("it claims to be too large for a picture") from error
