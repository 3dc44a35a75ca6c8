"""What a page opens on: what holds and what does not, and three figures, for a minute's reading."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path

from attnscape.paper.verdict import WORDS, Verdict
from attnscape.report.contents import Picture, content_of
from attnscape.report.manifest import Manifest

# Those that say most, first; others follow in the order of the catalog.
_TELLING = ("fig2", "fig3", "fig5", "side-by-side", "transfer", "rotation", "batch-size")
_FIGURES = 3


@dataclasses.dataclass(frozen=True)
class Summary:
    """The opening of a page.

    Attributes:
        judged: The claims of each verdict, as far as there are any.
        figures: Artifacts with a small picture of each; none where the page has hardly more.
    """

    judged: Sequence[tuple[str, Sequence[Verdict]]]
    figures: Sequence[tuple[Manifest, Picture]]

    @classmethod
    def of(cls, verdicts: Iterable[Verdict], shown: Sequence[Manifest], out: Path) -> Summary:
        """The summary of a folder.

        Args:
            verdicts: What was judged.
            shown: The artifacts whose pictures the page can show.
            out: The folder.
        """
        by_word = {word: [each for each in verdicts if each.verdict == word] for word in WORDS}
        figures = sorted(shown, key=_place)[:_FIGURES] if len(shown) > _FIGURES else ()
        return cls(
            [(word, those) for word, those in by_word.items() if those],
            [(each, Picture.small(content_of(each, "png", out))) for each in figures],
        )


def _place(manifest: Manifest) -> int:
    name = manifest.name
    return _TELLING.index(name) if name in _TELLING else len(_TELLING)
