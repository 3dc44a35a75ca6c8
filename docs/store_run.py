"""`python docs/store_run.py RESULTS...`: keeps what the pages on the paper need of results.

Those are manifests, verdicts, figures (with 256 colours, a third of the size) and short tables; the
runs themselves stay where they are.
"""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import sys
from pathlib import Path

from PIL import Image

from attnscape.identity import NUMBERS
from attnscape.report.contents import content_of, short_table
from attnscape.report.manifest import read_all

STORED = Path(__file__).parent / "stored_run"
VERSIONS = STORED.with_name("stored_numbers.json")  # of `NUMBERS` by artifact, as its runs had it


def store(results: Path, versions: dict[str, int]) -> None:
    """Adds the artifacts of a folder to the stored run, and the version of their numbers."""
    for manifest in read_all(results).values():
        if not manifest.was_made or manifest.failure:
            sys.exit(f"{manifest.name} in {results} was not made; make it, then store the folder.")
        kept = dict[str, str]()
        if "png" in manifest.files:
            kept["png"] = manifest.files["png"]
            with Image.open(results / kept["png"]) as image:
                image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(
                    STORED / kept["png"], optimize=True
                )
        elif "csv" in manifest.files and short_table(content_of(manifest, "csv", results)):
            kept["csv"] = manifest.files["csv"]
            shutil.copy(results / kept["csv"], STORED / kept["csv"])
        command = re.sub(r" --out ('[^']*'|\S+)", "", manifest.command)
        dataclasses.replace(manifest, files=kept, digests={}, command=command).save(STORED)
        versions[manifest.name] = NUMBERS
    if (results / "claims.json").exists():
        shutil.copy(results / "claims.json", STORED / "claims.json")


if __name__ == "__main__":
    STORED.mkdir(exist_ok=True)
    stored: dict[str, int] = json.loads(VERSIONS.read_text()) if VERSIONS.exists() else {}
    for folder in sys.argv[1:]:
        store(Path(folder), stored)
    VERSIONS.write_text(json.dumps(stored, indent=1, sort_keys=True) + "\n")
