"""The JSON files of a folder: entries under a checksum, so that a changed file is noticed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attnscape.files import atomic
from attnscape.report.reading import read_json, typed

_SCHEMA_VERSION = 1
_CHECKSUM = "sha256"


def write_entries(path: Path, entries: Mapping[str, Any]) -> None:
    """Writes a JSON file with the schema version and a checksum; it is complete or not written."""
    entries = {"schema_version": _SCHEMA_VERSION, **entries}
    entries[_CHECKSUM] = _checksum(entries)
    text = json.dumps(entries, indent=1, ensure_ascii=False, allow_nan=False)
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        # Python's stand-ins for bytes of names that are not UTF-8, which UTF-8 has no place for.
        text = json.dumps(entries, indent=1, allow_nan=False)
    with atomic(path) as partial:
        partial.write_text(text + "\n", "utf-8")


def read_entries(path: Path) -> dict[str, Any]:
    """The entries of a JSON file that `write_entries` wrote.

    Files from before there were checksums have none.

    Raises:
        ValueError: If it cannot be read, or is not as it was written.
    """
    entries = dict(typed(Mapping[str, Any], read_json(path)))
    found = entries.pop(_CHECKSUM, None)
    try:
        changed = found is not None and found != _checksum(entries)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if changed:
        raise ValueError("it was changed after it was written")
    if entries.pop("schema_version", None) != _SCHEMA_VERSION:
        raise ValueError("another version of attnscape wrote it")
    return entries


def _checksum(entries: Mapping[str, Any]) -> str:
    as_read = json.loads(json.dumps(entries))  # keys are texts, tuples are lists
    return hashlib.sha256(json.dumps(as_read, sort_keys=True).encode()).hexdigest()
