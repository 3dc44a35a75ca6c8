"""The paths of runs through the space of their parameters, from what measures recorded.

A measure sees one iterate at a time. What compares iterates is computed afterwards, from stored
parameters or eigenvectors, between the steps at which these were measured.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from attnscape.errors import UsageError
from attnscape.statistics import displacement_angles, distance_from_start, subspace_overlap


def trajectory(parameters: xr.DataArray) -> xr.Dataset:
    """Distances and angles along the path of each run.

    Args:
        parameters: Parameters of runs with the dims step, parameter and any others; steps at which
            none were measured are left out.

    Returns:
        By step, `distance_from_start` (from the first measured step), `distance_from_previous` and
        `displacement_angle` (in degrees, see `attnscape.statistics.displacement_angles`); NaN where
        there is no previous or next step.

    Raises:
        UsageError: If a dim is missing, or fewer than three steps were measured.

    Examples:
        >>> import xarray as xr
        >>> from attnscape.experiments.paths import trajectory
        >>> path = xr.DataArray([[0.0, 0.0], [1.0, 0.0], [1.0, 2.0]], dims=("step", "parameter"))
        >>> trajectory(path)["displacement_angle"].values.tolist()
        [nan, 90.0, nan]
        >>> trajectory(path)["distance_from_previous"].values.tolist()
        [nan, 1.0, 2.0]
    """
    path = _measured(parameters, "parameter", least=3)
    steps = np.linalg.norm(path.diff("step").values, axis=-1)
    dims = path.dims[:-1]

    def along(values: np.ndarray, before: int, after: int, name: str, unit: str) -> xr.Variable:
        widths = [(0, 0)] * (values.ndim - 1) + [(before, after)]
        padded = np.pad(values, widths, constant_values=np.nan)
        return xr.Variable(dims, padded, {"long_name": name, "units": unit})

    start, previous, angle = (
        along(distance_from_start(path.values), 0, 0, "distance from the start", ""),
        along(steps, 1, 0, "distance from the measured step before", ""),
        along(displacement_angles(path.values), 1, 1, "angle between displacements", "degree"),
    )
    return xr.Dataset(
        {
            "distance_from_start": start,
            "distance_from_previous": previous,
            "displacement_angle": angle,
        },
        {name: coord for name, coord in path.coords.items() if "parameter" not in coord.dims},
    )


def eigenvector_overlap(vectors: xr.DataArray) -> xr.DataArray:
    """How much the subspace of top eigenvectors is that of the measured step before.

    Args:
        vectors: `top_eigenvectors` of `attnscape.measures.TopEigenvectors`, or the first of them.

    Returns:
        `attnscape.statistics.subspace_overlap` by step, from the second measured one on.

    Raises:
        UsageError: If a dim is missing, or fewer than two steps were measured.

    Examples:
        >>> import numpy as np
        >>> import xarray as xr
        >>> from attnscape.experiments.paths import eigenvector_overlap
        >>> planes = np.stack([np.eye(3)[:2], np.eye(3)[1:]])
        >>> vectors = xr.DataArray(planes, dims=("step", "eigenvector", "parameter"))
        >>> eigenvector_overlap(vectors).values.tolist()
        [0.5]
    """
    path = _measured(vectors, "eigenvector", "parameter", least=2)
    overlaps = subspace_overlap(
        path.isel(step=slice(1, None)).values, path.isel(step=slice(-1)).values
    )
    labels = path.isel(step=slice(1, None), eigenvector=0, parameter=0, drop=True)
    return labels.copy(data=overlaps).assign_attrs(
        long_name="overlap with the eigenvectors of the measured step before"
    )


def _measured(values: xr.DataArray, *last: str, least: int) -> xr.DataArray:
    """The measured steps, with the dims step and `last` behind all others."""
    missing = {"step", *last} - set(values.dims)
    if missing:
        raise UsageError(
            f"The array has the dims {', '.join(map(str, values.dims))}; it must also have "
            f"{', '.join(sorted(missing))}."
        )
    measured = values.dropna("step", how="all").transpose(..., "step", *last)
    if measured.sizes["step"] < least:
        raise UsageError(
            f"{measured.sizes['step']} steps were measured; at least {least} are needed: measure "
            "more often."
        )
    return measured
