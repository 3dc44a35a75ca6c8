"""Parameters saved along a run, selected by a text such as `result.nc:step=500,optimizer=adam`."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import xarray as xr

from attnscape import loading
from attnscape.errors import UsageError
from attnscape.experiments.store import load


@dataclasses.dataclass(frozen=True)
class _Choice:
    optimizer: str | None = None
    learning_rate: float | None = None
    batch: int | None = None
    seed: int | None = None
    step: int | None = None


def saved_parameters(text: str) -> xr.DataArray:
    """The parameters that `attnscape.measures.Parameters` stored in a result.

    Args:
        text: The path of the result, and after a colon a choice of optimizer, learning_rate, batch,
            seed and step. An optimizer's label goes on until the next of these words, as in
            `result.nc:optimizer=adam@cosine:warmup=100,end=0.1,step=500`. The step is by default
            the last at which they were stored; without a seed, all are returned; the others can
            be left out if there is only one.

    Returns:
        The dims are (seed, parameter), or (parameter,) if the seed was chosen.

    Raises:
        UsageError: If there are no such parameters.

    Examples:
        >>> from attnscape.experiments.saved import saved_parameters
        >>> start = saved_parameters("result.nc:step=500,optimizer=adam")  # doctest: +SKIP
    """
    path, words = _split(text)
    choice = _Choice(**loading.read_fields(path, _Choice, words))
    dataset = load(path)
    if "parameters" not in dataset:
        raise UsageError(f"{path} holds no parameters; train it with --measure parameters.")
    found = dataset["parameters"]
    _check(path, found)
    if "step" in found.dims:
        found = found.isel(step=found.notnull().any([d for d in found.dims if d != "step"]).values)
    for dim, wanted in dataclasses.asdict(choice).items():
        if dim not in found.dims and wanted is None:
            continue
        if dim not in found.dims:
            raise UsageError(f"{path} has one {dim} only; leave {dim}={wanted} out.")
        labels = found[dim].values
        listed = ", ".join(str(label) for label in labels.tolist())
        if dim == "step" and wanted is None and labels.size:
            wanted = labels[-1]
        if wanted is None and dim == "seed":
            continue
        if wanted is None and labels.size > 1:
            raise UsageError(
                f"{path} holds parameters of several: {dim} {listed}; choose one, as in "
                f"{path}:{dim}={labels[0]}."
            )
        # A learning rate's text may have fewer digits than the number in the file.
        at = [
            index
            for index, label in enumerate(labels.tolist())
            if wanted is None
            or label == wanted
            or (isinstance(label, float) and np.isclose(label, wanted, rtol=1e-6, atol=0))
        ]
        if len(at) != 1:
            raise UsageError(f"{path} holds no parameters of {dim} {wanted}; it has {listed}.")
        found = found.isel({dim: at[0]})
        if dim == "optimizer" and "learning_rate" in found.dims:
            was_run = found.notnull().any([d for d in found.dims if d != "learning_rate"])
            found = found.isel(learning_rate=was_run.values)
    return found


_KEYS = "|".join(field.name for field in dataclasses.fields(_Choice))
_LABEL = re.compile(rf"(?<=[:,]optimizer=).*?(?=,(?:{_KEYS})=|$)")


def _split(text: str) -> tuple[str, loading.Words]:
    """The path, and the words of the choice; those of the optimizer are its label as it stands."""
    label = _LABEL.search(text)
    if label is None:
        return loading.split_fields(text)
    # A label may have the signs that separate fields.
    path, words = loading.split_fields(f"{text[: label.start()]}label{text[label.end() :]}")
    return path, {**words, "optimizer": (label[0],)}


def _check(path: str, found: xr.DataArray) -> None:
    """Raises UsageError unless these are parameters as a training stores them."""
    dims = [str(dim) for dim in found.dims]
    known = {field.name for field in dataclasses.fields(_Choice)}
    if found.dtype.kind != "f" or "parameter" not in dims or {*dims} - known - {"parameter"}:
        raise UsageError(
            f"{path} holds parameters of type {found.dtype} with the dims {', '.join(dims)}; take "
            "a result that train has written with --measure parameters."
        )
