"""What tasks that are made from another task share."""

from __future__ import annotations

import dataclasses

from attnscape.tasks.protocol import Task, as_task


@dataclasses.dataclass(frozen=True)
class MadeFrom:
    """A task with the sizes of another.

    Attributes:
        task: The other task, or a function that makes one.

    Raises:
        UsageError: If `task` is no task.
    """

    task: Task

    def __post_init__(self) -> None:
        object.__setattr__(self, "task", as_task(self.task))

    @property
    def dim(self) -> int:
        """d, the dimension of the covariates."""
        return self.task.dim

    @property
    def context(self) -> int:
        """n, the number of examples in a prompt."""
        return self.task.context
