"""What was measured so far of a network's run, from the state in its checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from attnscape.networks.records import labelled, long_names, planned_steps
from attnscape.torch._variables import Records
from attnscape.training import Status
from attnscape.trees import Plain


def outline(
    optimizer: str, learning_rate: float, seed: int, steps: int, every: int, metric: str
) -> Plain:
    """What `dataset_so_far` must know of a run beside its state.

    Args:
        optimizer: The optimizer's name.
        learning_rate: The learning rate.
        seed: The seed.
        steps: Updates.
        every: Steps between two evaluations of the loss; 0 for the last one only.
        metric: The metric's name.
    """
    return {
        "run": [optimizer, learning_rate, seed],
        "planned": [steps, every],
        "metric": metric,
    }


def dataset_so_far(outline: Plain, states: Mapping[str, Plain]) -> xr.Dataset:
    """The Dataset of a run under way: NaN where nothing was measured yet.

    Measures with an entry for each parameter are left out, because the network names those.

    Args:
        outline: What the run has described its checkpoints with.
        states: The state of its seed, if that has begun.

    Examples:
        >>> from attnscape.networks.so_far import dataset_so_far, outline
        >>> begun = dataset_so_far(outline("adam", 0.1, 0, 100, 50, "accuracy"), {})
        >>> begun["step"].values.tolist(), int(begun["status"].squeeze())  # not run
        ([0, 50, 100], 2)
    """
    found = xr.Dataset(coords={"step": planned_steps(*outline["planned"])})
    status = Status.not_run
    for state in states.values():  # there is one
        status = Status.under_way
        parts = state["state"]["parts"]
        saved = parts["records"]
        variables = {
            name: ("step", saved[name], {"long_name": words})
            for name, words in long_names(outline["metric"]).items()
        }
        of_losses = xr.Dataset(variables, {"step": saved["step"]})
        found = xr.merge([found, of_losses, _probed(parts.get("probe"))], join="outer")
    found = found.assign(status=np.int8(status), diverged_at=np.int32(-1))
    return labelled(found, *outline["run"])


def _probed(saved: Mapping[str, Any] | None) -> xr.Dataset:
    """What the run's probe has measured."""
    if saved is None:
        return xr.Dataset()
    records = Records.read(saved["records"])
    variables = {
        "probe_loss" if name == "loss" else name: variable
        for name, variable in records.variables().items()
        if "parameter" not in variable[0]
    }
    coordinates: dict[str, Any] = {"step": np.array(list(records), np.int64)}
    if "pseudo_smoothness" in variables:
        coordinates["pseudo_optimizer"] = list(saved["pseudo_optimizers"])
    return xr.Dataset(variables, coordinates)
