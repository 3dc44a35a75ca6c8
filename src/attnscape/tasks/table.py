"""Real data: prompts made of a table's rows, drawn at random with replacement."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from attnscape.errors import UsageError
from attnscape.prompts import Moments, Prompts
from attnscape.tasks._normals import derived_key, normals
from attnscape.tasks.protocol import Task
from attnscape.tasks.task import RegressionTask, check_batch, check_noise, check_size


@dataclasses.dataclass(frozen=True, eq=False)
class Empirical:
    """A law of covariates: the points of a sample, drawn at random with replacement.

    Attributes:
        points: The sample, (rows, d), as an array or nested sequences; kept in float32.

    Raises:
        UsageError: If it is not a table of finite numbers.
    """

    points: Any

    def __post_init__(self) -> None:
        object.__setattr__(self, "points", _finite("points", self.points, axes=2))

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
    """A prompt is n + 1 rows of a table, drawn at random with replacement; the last is the query.

    Attributes:
        points: Covariates, (rows, d), as an array or nested sequences; kept in float32.
        responses: The response of each row, (rows,); kept in float32.
        context: n, the number of examples in a prompt.
        noise: Standard deviation of Gaussian noise on every response, the target's included.

    Raises:
        UsageError: If points and responses are not finite numbers of fitting shapes, there are
            fewer rows than a prompt has, or a number is out of range.
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
    """Prompts from the rows of a CSV or Parquet file, every column standardised.

    Args:
        path: See `read_table`.
        target: The column that responses are taken from. Without one they are those of a
            `RegressionTask`, <w, x> with random w unless told otherwise.
        **options: Further fields of `TableTask` or, without a target, of `RegressionTask`.

    Raises:
        UsageError: As `read_table`, or if an option is out of range.
    """
    points, responses = read_table(path, target)
    if responses is not None:
        return TableTask(points, responses, **options)
    task = RegressionTask(dim=points.shape[1], covariates=Empirical(points), **options)
    _check_rows(len(points), task.context + 1)
    return task


def read_table(
    path: Path | str, target: str | None = None
) -> tuple[Float[np.ndarray, "rows d"], Float[np.ndarray, " rows"] | None]:
    """Covariates and, where a target is named, responses from a CSV or Parquet file.

    Every column is standardised: its mean is taken off, and it is divided by its standard deviation
    over the rows (root mean square), so that covariates are on the scale of N(0, 1).

    Args:
        path: A file that ends in .csv or .parquet (needs pyarrow). A CSV file is in UTF-8, and its
            first line holds the names. Columns are separated by semicolons or tabs where that line
            has any, else by commas; between semicolons or tabs, commas in numbers are decimal ones.
        target: The column of the responses; all others are covariates.

    Raises:
        UsageError: If the file cannot be read, its first line holds no names, or one twice, the
            first column only counts the rows, or a column is missing, not numeric, not finite or
            constant.
    """
    path = Path(path)
    frame = _read(path)
    names = [str(name) for name in frame.columns]
    if len(frame) == 0:
        raise UsageError(f"{path} has names of columns, but no rows; give a table with numbers.")
    if target is not None and target not in names:
        raise UsageError(f"{path} has no column {target!r}; it has {_listed(names)}.")
    columns = {}
    for name, (_, column) in zip(names, frame.items(), strict=True):
        values = _finite_column(path, name, column)
        if not columns and name != target and _is_index(values):
            raise UsageError(
                f"The column {name!r} of {path} only counts the rows, as an index does; remove it."
            )
        columns[name] = _standardised(path, name, values)
    responses = None if target is None else columns.pop(target)
    if not columns:
        raise UsageError(f"{path} has no column of covariates; give it at least one.")
    return np.stack(list(columns.values()), axis=1), responses


def _read(path: Path) -> Any:
    import pandas as pd  # late: only who reads a table waits for it

    if not path.is_file():
        raise UsageError(f"There is no table {path}; give the path of a CSV or Parquet file.")
    try:
        match path.suffix.lower():
            case ".csv" | ".tsv":
                return _read_csv(path)
            case ".parquet":
                return pd.read_parquet(path, engine="pyarrow")
    except ImportError:
        raise UsageError(
            f"{path} is a Parquet file, which pyarrow reads; install attnscape[parquet] or give "
            "a CSV file."
        ) from None
    except UsageError:
        raise
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not a text in UTF-8; save it as one.") from None
    except (ValueError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UsageError(f"{path} cannot be read as a table ({reason}); check the file.") from error
    raise UsageError(f"{path} is not a table; give a file that ends in .csv or .parquet.")


_MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "?", "-")
_DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}\b.*")
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}([ ,.']\d{3})+([.,]\d+)?")
_TRUTHS = {"true", "false", "yes", "no", "t", "f"}


def _read_csv(path: Path) -> Any:
    """Columns of numbers, NaN where a value is missing."""
    import pandas as pd

    with path.open(encoding="utf-8-sig") as file:
        first = re.sub('"[^"]*"', "", file.readline())
    # Where others separate, commas may be decimal ones.
    separator = next((each for each in (";", "\t") if each in first), ",")
    # Without a header of its own: pandas would make equal names different, and take a first row
    # that is shorter than the others for one without an index.
    frame = pd.read_csv(
        path,
        sep=separator,
        dtype=str,
        header=None,
        encoding="utf-8-sig",
        skipinitialspace=True,
        keep_default_na=False,
        na_values=list(_MISSING),
    )
    names = [str(name).strip() for name in frame.iloc[0].fillna("")]
    _check_names(path, names)
    texts = frame.iloc[1:]
    commas = separator != "," and _anywhere(texts, ",")
    if commas and _anywhere(texts, "."):
        raise UsageError(
            f"{path} has both decimal points and decimal commas; write all numbers in one way, and "
            "without separators of thousands."
        )
    columns = [_numbers(path, name, texts[i], commas) for i, name in enumerate(names)]
    return pd.DataFrame(dict(zip(names, columns, strict=True)))


def _anywhere(texts: Any, sign: str) -> bool:
    return any(texts[i].str.contains(sign, regex=False, na=False).any() for i in texts)


def _check_names(path: Path, names: list[str]) -> None:
    try:
        [float(name.replace(",", ".")) for name in names]
    except ValueError:
        pass
    else:
        raise UsageError(
            f"The first line of {path} holds numbers where the names of the columns must stand; "
            "add a line of names."
        )
    for number, name in enumerate(names, start=1):
        if not name:
            raise UsageError(
                f"Column {number} of {path} has no name, as an index has none; remove the column, "
                "or give it a name."
            )
        if name in names[: number - 1]:
            raise UsageError(f"{path} has two columns called {name!r}; give each its own name.")


def _numbers(path: Path, name: str, texts: Any, commas: bool) -> Float[np.ndarray, " rows"]:
    """The numbers that a column of texts stands for; with decimal commas if `commas`."""
    import pandas as pd

    pointed = texts.str.replace(",", ".", regex=False) if commas else texts
    numbers = pd.to_numeric(pointed, errors="coerce").to_numpy(float, na_value=np.nan)
    given = texts.notna().to_numpy()
    unread = np.flatnonzero(given & np.isnan(numbers))
    if commas and unread.size == 0:
        broken = texts[texts.str.contains(",", na=False)]
        if len(broken) and broken.str.fullmatch(_THOUSANDS).all():
            raise UsageError(
                f"The column {name!r} of {path} can be read in two ways (is {broken.iloc[0]!r} a "
                "thousand or a decimal number?); write decimal points."
            )
    if unread.size == 0:
        return numbers
    row = int(unread[0])
    text = str(texts.iloc[row])
    if set(texts.dropna().str.lower()) <= _TRUTHS:
        advice = "write 1 for true and 0 for false"
    elif _DATE.fullmatch(text):
        advice = "turn dates into numbers, for example days"
    elif _THOUSANDS.fullmatch(text):
        advice = "write numbers with a decimal point and without separators of thousands"
    elif re.fullmatch(r"[+-]?\d*,\d+", text):
        advice = "write decimal points, or separate the columns by semicolons"
    elif re.fullmatch(r"\S+([ |:]+\S+)+", name):
        advice = "separate the columns by commas, semicolons or tabs"
    else:
        advice = "remove the column, or turn it into numbers"
    raise UsageError(
        f"The column {name!r} of {path} is not numeric ({text!r} in row {row + 1}); {advice}."
    )


def _listed(names: list[str]) -> str:
    """Names for a sentence; those of a wide table are too many."""
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def _finite_column(path: Path, name: str, column: Any) -> Float[np.ndarray, " rows"]:
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    if not is_numeric_dtype(column.dtype) or is_bool_dtype(column.dtype):
        raise UsageError(
            f"The column {name!r} of {path} is not numeric ({column.dtype}); remove the column, or "
            "turn it into numbers."
        )
    values = column.to_numpy(float, na_value=np.nan)
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        raise UsageError(
            f"The column {name!r} of {path} has {bad.size} missing or infinite values, the first "
            f"in row {bad[0] + 1}; fill them in, or remove their rows."
        )
    return values


def _is_index(values: Float[np.ndarray, " rows"]) -> bool:
    """Whether it counts the rows, from 0 or 1 on."""
    return values.size > 2 and values[0] in (0, 1) and bool((np.diff(values) == 1).all())


def _standardised(
    path: Path, name: str, values: Float[np.ndarray, " rows"]
) -> Float[np.ndarray, " rows"]:
    if values.min() == values.max():
        raise UsageError(
            f"The column {name!r} of {path} has fewer than two different values, so it cannot be "
            "standardised; remove it."
        )
    # By a power of two, which costs no digit: squares of very large or small numbers leave double
    # precision.
    scaled = np.ldexp(values, -np.frexp(np.abs(values).max())[1])
    centred = scaled - scaled.mean()
    centred = np.ldexp(centred, -np.frexp(np.abs(centred).max())[1])
    return centred / np.sqrt(np.mean(centred**2))


def _rows(key: Array, batch: int, n: int, rows: int) -> Int[Array, "batch n"]:
    _check_rows(rows, n)
    # The type is fixed: the default would be another in double precision, and with it the rows.
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
