"""Searches that go on side by side: each round is asked for when the one before has ended."""

import pytest

from attnscape.errors import UsageError
from attnscape.experiments.rounds import driven, together
from attnscape.workflows.searches import side_by_side


def rounds(name, count):
    """Work of so many rounds, whose finding is what it was sent."""
    found = []
    for number in range(count):
        due = f"{name}{number}"
        found.append((yield {due: due})[due])
    return found


def answers(asked):
    def run_all(due):
        asked.extend(due.values())
        return {key: run.upper() for key, run in due.items()}

    return run_all


def test_without_workers_one_search_ends_before_the_next_begins():
    asked = []
    work = {"a": rounds("a", 2), "b": rounds("b", 1)}
    assert list(side_by_side(work, answers(asked))) == [("a", ["A0", "A1"]), ("b", ["B0"])]
    assert asked == ["a0", "a1", "b0"]


def test_workers_begin_with_the_next_round_of_every_search():
    """Nothing is waited for before all first rounds are known, and no search waits for another."""
    asked, seen = [], []
    work = {"a": rounds("a", 3), "b": rounds("b", 1), "c": rounds("c", 2)}
    found = side_by_side(work, answers(asked), lambda runs: seen.append((*runs, len(asked))))
    assert [key for key, _ in found] == ["b", "c", "a"]
    assert seen == [("a0", 0), ("b0", 0), ("c0", 0), ("a1", 1), ("c1", 3), ("a2", 4)]


def test_a_search_that_fails_is_told_and_the_others_go_on():
    def fails(due):
        if "b0" in due:
            raise UsageError("It was b.")
        return due

    work = {name: rounds(name, 1) for name in "abc"}
    told = dict(side_by_side(work, fails, lambda runs: None))
    assert told["a"] == ["a0"]
    assert told["c"] == ["c0"]
    assert str(told["b"]) == "It was b."


def test_what_is_wanted_no_more_is_not_run():
    asked = []
    work = {name: rounds(name, 2) for name in "ab"}
    found = side_by_side(work, answers(asked), wanted=lambda key: key == "b")
    assert list(found) == [("b", ["B0", "B1"])]
    assert asked == ["b0", "b1"]


@pytest.mark.parametrize("counts", [(1, 3, 2), (0, 1), ()])
def test_rounds_together_have_what_each_needs_next(counts):
    asked = []
    found = driven(together([rounds("x", count) for count in counts]), answers(asked))
    # The same names in several searches are not mixed up.
    assert found == [[f"X{number}" for number in range(count)] for count in counts]
    assert asked == [
        f"x{number}"
        for number in range(max(counts, default=0))
        for count in counts
        if number < count
    ]
