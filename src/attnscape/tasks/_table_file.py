"""Reads the columns of a CSV or Parquet file, each standardised."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from attnscape.errors import UsageError
from attnscape.tasks._csv import read_csv


def read_table(
    path: Path | str, target: str | None = None
) -> tuple[Float[np.ndarray, "rows d"], Float[np.ndarray, " rows"] | None]:
    """Reads covariates and, if a target is named, responses from a CSV or Parquet file.

    Every column is standardised: its mean is subtracted, and it is divided by its standard
    deviation over the rows (root mean square), so that covariates are on the scale of N(0, 1).

    Args:
        path: A file that ends in .csv, .tsv or .parquet (needs pyarrow). A CSV file is in UTF-8,
            and its first line holds the names. If that line has semicolons or tabs, these separate
            the columns, and commas in numbers are decimal; otherwise commas separate the columns.
        target: The column of the responses; all others are covariates.

    Returns:
        Covariates, (rows, d), and responses, (rows,), or None without a target.

    Raises:
        UsageError: If the file cannot be read; its first line holds no names, or one of them twice;
            its first column only counts the rows; or a column is missing, not numeric, not finite
            or constant.

    Examples:
        >>> from attnscape.tasks import read_table
        >>> points, responses = read_table("houses.csv", target="price")  # doctest: +SKIP
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
    """The file as a data frame."""
    import pandas as pd  # imported here, as it is slow and rarely needed

    if not path.is_file():
        raise UsageError(f"There is no table {path}; give the path of a CSV or Parquet file.")
    try:
        match path.suffix.lower():
            case ".csv" | ".tsv":
                return read_csv(path)
            case ".parquet":
                return pd.read_parquet(path, engine="pyarrow")
            case _:
                raise UsageError(
                    f"{path} is not a table; give a file that ends in .csv or .parquet."
                )
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


def _listed(names: list[str]) -> str:
    """Names for a sentence, shortened for a wide table."""
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def _finite_column(path: Path, name: str, column: Any) -> Float[np.ndarray, " rows"]:
    """The numbers of a column; raises UsageError if they are not all finite."""
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
    """Whether a column only counts the rows, from 0 or 1 on."""
    return values.size > 2 and values[0] in (0, 1) and bool((np.diff(values) == 1).all())


def _standardised(
    path: Path, name: str, values: Float[np.ndarray, " rows"]
) -> Float[np.ndarray, " rows"]:
    """The column with mean 0 and root mean square 1."""
    if values.min() == values.max():
        raise UsageError(
            f"The column {name!r} of {path} has fewer than two different values, so it cannot be "
            "standardised; remove it."
        )
    # First scaled by a power of two, which is exact: squares of very large or small numbers would
    # overflow or underflow.
    scaled = np.ldexp(values, -np.frexp(np.abs(values).max())[1])
    centred = scaled - scaled.mean()
    centred = np.ldexp(centred, -np.frexp(np.abs(centred).max())[1])
    return centred / np.sqrt(np.mean(centred**2))
