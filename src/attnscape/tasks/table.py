"""Tasks on real data: prompts are rows of a table, drawn at random with replacement."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from attnscape.errors import UsageError
from attnscape.tasks._normals import derived_key, normals
from attnscape.tasks._table_file import read_table
from attnscape.tasks.prompts import Moments, Prompts
from attnscape.tasks.protocol import Task
from attnscape.tasks.regression import RegressionTask, check_batch, check_noise, check_size


@dataclasses.dataclass(frozen=True, eq=False)
class Empirical:
    """A distribution of covariates: points of a sample, drawn at random with replacement.

    Attributes:
        points: The sample, (rows, d), as an array or nested sequences; kept in float32.

    Raises:
        UsageError: If it is not a table of finite numbers.

    Examples:
        >>> import jax
        >>> from attnscape.tasks import Empirical
        >>> x = Empirical([[1.0, 0.0], [0.0, 1.0]])(jax.random.key(0), batch=20, n=2, d=2)
        >>> sorted(set(map(tuple, x.reshape(40, 2).tolist())))
        [(0.0, 1.0), (1.0, 0.0)]
    """

    points: Any  # converted to an array in __post_init__; the same below

    def __post_init__(self) -> None:
        object.__setattr__(self, "points", _finite("points", self.points, axes=2))

    def second_moment(self, d: int) -> np.ndarray:
        """E x x^T: the mean over the sample; the (d, d) of its columns, whatever `d`.

        Examples:
            >>> from attnscape.tasks import Empirical
            >>> Empirical([[2.0, 0.0], [0.0, 4.0]]).second_moment(2).tolist()
            [[2.0, 0.0], [0.0, 8.0]]
        """
        del d
        points = self.points.astype(np.float64)
        return points.T @ points / len(points)

    def __call__(self, key: Array, batch: int, n: int, d: int) -> Float[Array, "batch n d"]:
        rows, columns = self.points.shape
        if columns != d:
            raise UsageError(
                f"The points have {columns} columns, but the task has dimension {d}; give equal "
                "numbers."
            )
        return jnp.asarray(self.points)[_rows(key, batch, n, rows)]


@dataclasses.dataclass(frozen=True, eq=False)
class TableTask:
    """A task whose prompts are n + 1 rows of a table, drawn at random with replacement.

    The last row is the query.

    Attributes:
        points: Covariates, (rows, d), as an array or nested sequences; kept in float32.
        responses: The response of each row, (rows,); kept in float32.
        context: n, the number of examples in a prompt.
        noise: Standard deviation of Gaussian noise on every response, the target's included.

    Raises:
        UsageError: If points and responses are not finite or their shapes do not fit, there are
            fewer rows than a prompt needs, or a number is out of range.

    Examples:
        >>> import jax
        >>> from attnscape.tasks import TableTask
        >>> task = TableTask(points=[[1.0], [2.0], [3.0]], responses=[2.0, 4.0, 6.0], context=2)
        >>> prompts = task.sample(jax.random.key(0), batch=10)
        >>> prompts.x.shape, bool((prompts.target == 2 * prompts.query[:, 0]).all())
        ((10, 2, 1), True)
    """

    points: Any
    responses: Any
    context: int = 20
    noise: float | int = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "points", _finite("points", self.points, axes=2))
        object.__setattr__(self, "responses", _finite("responses", self.responses, axes=1))
        check_size("context", self.context)
        check_noise(self.noise)
        rows = len(self.points)
        if self.responses.size != rows:
            raise UsageError(
                f"There are {self.responses.size} responses for {rows} points; give one a point."
            )
        _check_rows(rows, self.context + 1)

    @property
    def dim(self) -> int:
        """d, the number of columns of `points`."""
        return self.points.shape[1]

    def sample(self, key: Array, batch: int, dtype: jax.typing.DTypeLike = jnp.float32) -> Prompts:
        """Draws `batch` prompts. The same key gives the same rows in every precision.

        Args:
            key: A JAX random key (Threefry).
            batch: Number of prompts.
            dtype: Type of the prompts.

        Raises:
            UsageError: If batch is below 1.
        """
        check_batch(batch)
        index = _rows(derived_key(key, 0), batch, self.context + 1, len(self.points))
        x = jnp.asarray(self.points)[index].astype(dtype)
        y = jnp.asarray(self.responses)[index].astype(dtype)
        if self.noise:
            y = y + self.noise * normals(derived_key(key, 2), *y.shape).astype(dtype)
        return Prompts(x=x[:, :-1], y=y[:, :-1], query=x[:, -1], target=y[:, -1])

    def sample_moments(
        self, key: Array, batch: int, dtype: jax.typing.DTypeLike = jnp.float32
    ) -> Moments:
        """The moments of `sample(key, batch, dtype)`."""
        return self.sample(key, batch, dtype).moments()


def table_task(path: Path | str, target: str | None = None, **options: Any) -> Task:
    """A task whose prompts are rows of a CSV or Parquet file, every column standardised.

    Args:
        path: The file, in a format of `read_table`.
        target: The column of the responses. Without one, responses are computed as in a
            `RegressionTask`: <w, x> with random w, unless `options` say otherwise.
        **options: Further fields of `TableTask` or, without a target, of `RegressionTask`.

    Raises:
        UsageError: As `read_table`, or if an option is out of range.

    Examples:
        >>> from attnscape.tasks import table_task
        >>> task = table_task("houses.csv", target="price", context=30)  # doctest: +SKIP
    """
    points, responses = read_table(path, target)
    if responses is not None:
        return TableTask(points, responses, **options)
    task = RegressionTask(dim=points.shape[1], covariates=Empirical(points), **options)
    _check_rows(len(points), task.context + 1)
    return task


def _rows(key: Array, batch: int, n: int, rows: int) -> Int[Array, "batch n"]:
    _check_rows(rows, n)
    # The type is fixed, because the default type, and so the rows, would differ in float64.
    return jax.random.randint(key, (batch, n), 0, rows, jnp.int32)


def _check_rows(rows: int, least: int) -> None:
    if rows < least:
        raise UsageError(
            f"The table has {rows} rows, but a prompt takes {least}; give more rows, or a shorter "
            "context."
        )


def _finite(name: str, values: Any, axes: int) -> np.ndarray:
    try:
        array = np.array(values, np.float32)
    except (ValueError, TypeError):
        array = np.full((), np.nan)
    if array.ndim != axes or array.size == 0 or not np.isfinite(array).all():
        shape = "(rows, d)" if axes == 2 else "(rows,)"
        raise UsageError(f"{name} must be finite numbers of shape {shape}.")
    array.flags.writeable = False
    return array
