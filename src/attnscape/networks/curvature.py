"""Robust condition numbers of each layer, from a diagonal of the Hessian (Jiang et al., 2022)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr
from jaxtyping import Float64

from attnscape.errors import UsageError
from attnscape.statistics import PUBLIC_CODE, condition_number
from attnscape.torch import HessianDiagonal

_DIM = "parameter"
_LONG_NAMES = {
    "condition_number": "largest over lower median of absolute diagonal entries",
    "largest": "largest absolute diagonal entry",
    "largest_error": "standard error of the largest entry",
    "median": "lower median of absolute diagonal entries",
    "median_error": "change of the median if all entries change by their standard error",
    "reason": "why there is no condition number",
}


def layer_condition_numbers(
    of: xr.Dataset | HessianDiagonal,
    layers: Mapping[str, int] | None = None,
    *,
    errors: float = 2.0,
) -> xr.Dataset:
    """The largest over the median entry of the Hessian's diagonal, for each layer and over all.

    A layer is a parameter tensor. The number is that of `attnscape.statistics.PUBLIC_CODE`: the
    largest absolute entry over the lower median of absolute entries.

    An estimated diagonal has noise, which hides small entries: then the median is one of the noise.
    There is a number only if the median is above `errors` times its standard error, for which all
    entries are taken to err in the same direction; otherwise it is NaN, with a reason. For entries
    of normal distribution, noise makes a median at this limit too large by 6 % with 2 standard
    errors, by 35 % with 1. An exact diagonal has no error apart from rounding, which is not looked
    at.

    Args:
        of: A result with `hessian_diagonal` and `hessian_diagonal_error`, of a training with
            curvature or of a `Probe`; or what `Objective.hessian_diagonal` gives.
        layers: Names of the layers and how many entries each has, in the order of the diagonal;
            None for those that a result has as `layer` and `layer_size`.
        errors: Standard errors that a median must exceed, at least 0.

    Returns:
        A Dataset with the dims of the diagonal and `layer` in place of `parameter`:
        `layer_condition_number`, `layer_largest` and `layer_median` with their standard errors
        `layer_largest_error` and `layer_median_error`, and `layer_reason`, empty if there is a
        number. The same with `pooled_`, over the entries of all layers together, has no `layer`.

    Raises:
        UsageError: If there is no diagonal, or the layers do not fit it.

    Examples:
        >>> import torch
        >>> from attnscape.networks import layer_condition_numbers
        >>> from attnscape.torch import Objective
        >>> batch = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
        >>> loss = lambda module, x: (module(x) ** 2).mean()  # the diagonal is 1, 4 and 2
        >>> objective = Objective(torch.nn.Linear(2, 1), loss, [batch])
        >>> sizes = {name: p.numel() for name, p in objective.parameters.items()}
        >>> found = layer_condition_numbers(objective.hessian_diagonal(), sizes)
        >>> found["layer_condition_number"].to_series().to_dict()
        {'weight': 4.0, 'bias': 1.0}
        >>> float(found["pooled_condition_number"])
        2.0
    """
    if not errors >= 0:
        raise UsageError(f"errors is {errors}; it must be a number of at least 0.")
    dataset = _as_dataset(of) if isinstance(of, HessianDiagonal) else of
    for name in ("hessian_diagonal", "hessian_diagonal_error"):
        if name not in dataset:
            raise UsageError(
                f"The result has no {name}; train with Schedules(curvature=...), or give the "
                "Probe curvature_every."
            )
    sizes = _stored_layers(dataset) if layers is None else dict(layers)
    diagonal, error = (
        dataset[name].transpose(..., _DIM)
        for name in ("hessian_diagonal", "hessian_diagonal_error")
    )
    count = diagonal.sizes[_DIM]
    if min(sizes.values(), default=0) < 1 or sum(sizes.values()) != count:
        raise UsageError(
            f"The layers have {sum(sizes.values())} entries, each at least 1, but the diagonal has "
            f"{count}; give the names and sizes of all parameters, in the order of the diagonal."
        )
    ends = np.cumsum(list(sizes.values()))[:-1]
    blocks = [
        _of_block(*each, errors)
        for each in zip(
            np.split(diagonal.values, ends, axis=-1),
            np.split(error.values, ends, axis=-1),
            strict=True,
        )
    ]
    pooled = _of_block(diagonal.values, error.values, errors)
    dims = diagonal.dims[:-1]
    variables = {}
    for name, words in _LONG_NAMES.items():
        of_layers = np.stack([each[name] for each in blocks], axis=-1)
        variables[f"layer_{name}"] = ((*dims, "layer"), of_layers, {"long_name": words})
        variables[f"pooled_{name}"] = (dims, pooled[name], {"long_name": words})
    labels = {dim: diagonal[dim].variable for dim in dims if dim in diagonal.coords}
    own = {"layer": list(sizes), "layer_size": ("layer", np.array(list(sizes.values())))}
    return xr.Dataset(variables, {**labels, **own})


def _as_dataset(diagonal: HessianDiagonal) -> xr.Dataset:
    return xr.Dataset(
        {
            "hessian_diagonal": (_DIM, diagonal.value),
            "hessian_diagonal_error": (_DIM, diagonal.standard_error),
        }
    )


def _stored_layers(dataset: xr.Dataset) -> dict[str, int]:
    if "layer_size" not in dataset.coords:
        raise UsageError(
            "It is not known which entries of the diagonal belong to which layer; give `layers`, "
            "a dict from names of the parameters to their numbers of entries."
        )
    sizes = dataset["layer_size"]
    return {
        str(name): int(size) for name, size in zip(sizes["layer"].values, sizes.values, strict=True)
    }


def _of_block(
    diagonal: Float64[np.ndarray, "*runs m"], error: Float64[np.ndarray, "*runs m"], errors: float
) -> dict[str, np.ndarray]:
    """The numbers of one block of the diagonal, by the names of `_LONG_NAMES`."""
    values = np.abs(diagonal)
    measured = ~np.isnan(values).any(axis=-1)
    place = np.argmax(values, axis=-1)[..., None]
    largest, largest_error = (
        np.take_along_axis(each, place, axis=-1)[..., 0] for each in (values, error)
    )
    median = _lower_median(values)
    # Both ways: entries without error may stop the median in one of them.
    rise = _lower_median(values + error) - median
    fall = median - _lower_median(np.maximum(values - error, 0))
    median_error = np.maximum(rise, fall)
    number = condition_number(
        PUBLIC_CODE,
        eigenvalues=diagonal,  # neither these nor the row norms are used
        diagonal=diagonal,
        row_norm=values,
    )
    reason = np.select(
        [~measured, np.isnan(number), ~(median > errors * median_error)],
        [
            "not measured",
            "the median is zero, up to rounding",
            f"the median is not above {errors:g} standard errors",
        ],
        "",
    )
    numbers = {
        "condition_number": np.where(reason == "", number, np.nan),
        "largest": largest,
        "largest_error": largest_error,
        "median": median,
        "median_error": median_error,
    }
    return {
        **{name: np.where(measured, each, np.nan) for name, each in numbers.items()},
        "reason": reason,
    }


def _lower_median(values: Float64[np.ndarray, "*runs m"]) -> Float64[np.ndarray, "*runs"]:
    middle = (values.shape[-1] - 1) // 2
    return np.partition(values, middle, axis=-1)[..., middle]
