"""What a page opens on: what holds and what does not, and three figures, for a minute's reading."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from attnscape.paper.verdict import WORDS, Verdict
from attnscape.report.contents import Picture
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
    def of(cls, verdicts: Iterable[Verdict], shown: Sequence[tuple[Manifest, Picture]]) -> Summary:
        """The summary of a folder.

        Args:
            verdicts: What was judged.
            shown: The artifacts with pictures, and these.
        """
        by_word = {word: [each for each in verdicts if each.verdict == word] for word in WORDS}
        telling = sorted(shown, key=_place)[:_FIGURES] if len(shown) > _FIGURES else ()
        return cls(
            [(word, those) for word, those in by_word.items() if those],
            [(manifest, picture.small()) for manifest, picture in telling],
        )


def _place(shown: tuple[Manifest, Picture]) -> int:
    name = shown[0].name
    return _TELLING.index(name) if name in _TELLING else len(_TELLING)
