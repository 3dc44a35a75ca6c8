"""`attnscape report`: rebuilds the page of a folder."""

from __future__ import annotations

from attnscape import files
from attnscape.cli._options import Report
from attnscape.errors import UsageError
from attnscape.report.agenda import has_agenda
from attnscape.report.manifest import read_all
from attnscape.report.page import write_page


def run(options: Report) -> None:
    """Rebuilds the page of the folder in `options` and prints its path.

    Raises:
        UsageError: If nothing was made there, and nothing is under way.
    """
    if not read_all(options.out) and not has_agenda(options.out):
        raise UsageError(
            f"The folder {options.out} holds nothing that `attnscape reproduce` made; choose "
            "another with --out."
        )
    print(write_page(files.writable_directory(options.out)))
