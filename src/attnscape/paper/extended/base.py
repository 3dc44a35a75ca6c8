"""What artifacts beyond the paper's figures share: no parts of a user's, and their length."""

from __future__ import annotations

from typing import ClassVar

from attnscape.experiments.setting import Plan, Setting


class WithoutOwnParts:
    """For artifacts that a user's task or model would make pointless.

    Attributes:
        about: Why, as words after the artifact's name.
    """

    about: ClassVar[str] = "has the rates found for the paper's settings"
    name: str

    def obstacle(self, plan: Plan) -> str:
        """Why it cannot be made with this plan; empty if it can."""
        return f"{self.name} {self.about}; leave --task and --model out." if plan.own else ""


def shortened(steps: int, setting: Setting, plan: Plan) -> int:
    """The steps, shortened in the proportion in which the plan shortens the paper's runs."""
    return max(1, min(steps, (plan.steps or setting.steps) * steps // setting.steps))


def first_seeds(most: int, plan: Plan) -> tuple[int, ...]:
    """The seeds of a plan, at most so many."""
    return tuple(range(min(most, plan.seeds or most)))
