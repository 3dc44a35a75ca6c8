"""The quick checks that training runs before anything is compiled.

There is one module for each kind of part (`_quick_model`, ...). All of them trace shapes only, and
call the parts as the engine does: under jit, mapped over runs.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from attnscape.measures import Measure
from attnscape.models import ModelFactory
from attnscape.steppers import Group
from attnscape.tasks import Task
from attnscape.validation._quick_measure import require_measure
from attnscape.validation._quick_model import require_model
from attnscape.validation._quick_optimizer import require_optimizer


def check_parts(
    task: Task,
    model: ModelFactory,
    groups: Sequence[Group],
    *,
    clip: float | None,
    batch: int,
    dtype: jax.typing.DTypeLike,
    measures: Sequence[Measure] = (),
) -> tuple[Group, ...]:
    """Checks that a task, a model, optimizers and measures work and fit together.

    Args:
        task: The task that prompts come from.
        model: Function from a key to a model.
        groups: Optimizers with their learning rates.
        clip: Global norm for clipping, or None.
        batch: Prompts of an update.
        dtype: Type of parameters and prompts.
        measures: Measures to check.

    Returns:
        The groups. Each says whether JAX may trace its learning rates (`Group.traced_rates`).

    Raises:
        UsageError: If a part breaks its contract, in a sentence with file and line.

    Examples:
        >>> from functools import partial
        >>> from attnscape import LinearTransformer, RegressionTask
        >>> from attnscape.optimizers import adam
        >>> from attnscape.steppers import Group
        >>> from attnscape.validation import check_parts
        >>> parts = RegressionTask(dim=2), partial(LinearTransformer.init, dim=2)
        >>> groups = [Group("adam", adam, (0.01, 0.02))]
        >>> check_parts(*parts, groups, clip=1.0, batch=8, dtype="float32")[0].traced_rates
        True
    """
    problem, data = require_model(model, task, clip, batch, jnp.dtype(dtype))
    checked = tuple(require_optimizer(group, problem, data) for group in groups)
    for measure in measures:
        require_measure(measure, problem, data, task, checked)
    return checked
