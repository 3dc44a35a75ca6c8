"""What a claim of the paper comes to: a verdict, with its numbers and what it depends on."""

from __future__ import annotations

import dataclasses
from typing import Literal, get_args

Word = Literal["holds", "holds in part", "mixed", "does not hold", "undecided"]
WORDS: tuple[Word, ...] = get_args(Word)


@dataclasses.dataclass(frozen=True)
class Choice:
    """A row of the table "verdict by choice": what the claim comes to under one choice.

    Attributes:
        choice: What is chosen, such as "searched rates".
        verdict: The word under it.
        numbers: The statistics behind the word.
    """

    choice: str
    verdict: Word
    numbers: str


@dataclasses.dataclass(frozen=True)
class Verdict:
    """A claim of the paper, judged.

    Attributes:
        number: Of the claim, as people cite it.
        sentence: The claim in words.
        verdict: What it comes to; `attnscape.paper.claims` says what each word means.
        numbers: The statistic behind the verdict, with its interval, in words.
        dependence: How far the verdict depends on definitions and conventions.
        artifacts: Names of the artifacts whose runs it rests on.
        choices: The verdict under each choice, where it turns with one.
    """

    number: int
    sentence: str
    verdict: Word
    numbers: str
    dependence: str
    artifacts: tuple[str, ...]
    choices: tuple[Choice, ...] = ()
