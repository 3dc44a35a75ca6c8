"""The verdict on a claim of the paper, with its numbers and the choices it depends on."""

from __future__ import annotations

import dataclasses
from typing import Literal, get_args

VerdictLabel = Literal["holds", "holds in part", "mixed", "does not hold", "undecided"]
WORDS: tuple[VerdictLabel, ...] = get_args(VerdictLabel)


@dataclasses.dataclass(frozen=True)
class Choice:
    """A row of the table "verdict by choice": the verdict under one choice.

    Attributes:
        choice: The choice in words, such as "searched rates".
        verdict: The verdict under this choice.
        numbers: The statistics behind the verdict, in words.
    """

    choice: str
    verdict: VerdictLabel
    numbers: str


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The verdict on a claim of the paper.

    Attributes:
        number: The claim's number.
        sentence: The claim in words.
        verdict: The verdict; `attnscape.paper.claims` says what each label means.
        numbers: The statistics behind the verdict, with their intervals, in words.
        dependence: Sentences on how the verdict depends on definitions and conventions.
        artifacts: Names of the artifacts whose runs it is based on.
        choices: The verdict under each choice that it may depend on.
    """

    number: int
    sentence: str
    verdict: VerdictLabel
    numbers: str
    dependence: str
    artifacts: tuple[str, ...]
    choices: tuple[Choice, ...] = ()
