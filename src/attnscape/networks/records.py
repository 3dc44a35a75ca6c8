"""What is recorded along a run: losses and metric on fixed batches, and the run's Dataset."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
import xarray as xr
from torch import nn

from attnscape.networks.curvature import layer_condition_numbers
from attnscape.networks.workload import Batch, Workload, loss_of, metric_of
from attnscape.torch import Probe
from attnscape.training import Status
from attnscape.trees import Plain


class Records:
    """Numbers of one run by step.

    Args:
        workload: The workload.
        module: Its network.
        training: The batches on which the loss is evaluated.
        test: The batches on which the metric is evaluated.
        planned: Steps that the Dataset has, also if the run ends before.
    """

    def __init__(
        self,
        workload: Workload,
        module: nn.Module,
        training: Sequence[Batch],
        test: Sequence[Batch],
        planned: Sequence[int],
    ) -> None:
        self._workload, self._module = workload, module
        self._training, self._test, self._planned = training, test, planned
        self._numbers: dict[int, dict[str, float]] = {}

    def evaluate(self, step: int) -> float:
        """Records loss and metric, in eval mode; returns the loss."""
        self._module.eval()
        with torch.no_grad():
            losses = [loss_of(self._workload, self._module, b).item() for b in self._training]
            values = [metric_of(self._workload, self._module, b).item() for b in self._test]
        loss = float(np.mean(losses))
        self._numbers[step] = {"loss": loss, "metric": float(np.mean(values))}
        return loss

    def add(self, step: int, **numbers: float) -> None:
        """Records further numbers of a step that was evaluated."""
        self._numbers[step] |= numbers

    def save(self) -> Plain:
        """All numbers so far."""
        of_steps = self._numbers.values()
        return {
            "step": np.array(list(self._numbers), np.int64),
            **{name: np.array([each.get(name, np.nan) for each in of_steps]) for name in _NAMES},
        }

    def restore(self, saved: Plain) -> None:
        """Sets numbers that were saved."""
        self._numbers = {
            int(step): {name: float(saved[name][place]) for name in _NAMES}
            for place, step in enumerate(saved["step"])
        }

    def dataset(self, diverged_at: int, probe: Probe | None) -> xr.Dataset:
        """All numbers along `step`, with what the probe measured.

        Args:
            diverged_at: The step from which on everything is NaN, or -1.
            probe: The run's probe, if it has one.
        """
        steps = sorted({*self._numbers, *self._planned})
        lost = diverged_at if diverged_at >= 0 else math.inf
        variables = {
            name: (
                "step",
                [
                    self._numbers.get(step, {}).get(name, np.nan) if step < lost else np.nan
                    for step in steps
                ],
                {"long_name": words},
            )
            for name, words in long_names(self._workload.metric.name).items()
        }
        dataset = xr.Dataset(variables, {"step": steps})
        if probe is not None:
            measured = with_layers(probe.dataset())
            renamed = measured.rename({"loss": "probe_loss"}) if "loss" in measured else measured
            dataset = xr.merge([dataset, renamed], join="outer", combine_attrs="no_conflicts")
        status = Status.finished if diverged_at < 0 else Status.diverged
        return dataset.assign(status=np.int8(status), diverged_at=np.int32(diverged_at))


def long_names(metric: str) -> Mapping[str, str]:
    """What is recorded of each run, in words.

    Args:
        metric: The metric's name.
    """
    return {
        "loss": "loss on fixed training batches",
        "metric": f"{metric} on test examples",
        "training_loss": "loss on the batch of the step",
        "gradient_norm": "norm of the gradient on the batch of the step",
    }


_NAMES = tuple(long_names(""))


def planned_steps(steps: int, every: int) -> list[int]:
    """The steps at which a run is evaluated, if it does not diverge.

    Args:
        steps: Its updates.
        every: Steps between two evaluations; 0 for the last step only.
    """
    return sorted({*(range(0, steps + 1, every) if every else ()), steps})


def with_layers(measured: xr.Dataset) -> xr.Dataset:
    """What a probe measured, with the condition number of each layer.

    An estimated diagonal is left out: along a run it would take more room than all else together,
    and the exact entries behind `condition_number` are not in it.
    """
    if "hessian_diagonal" not in measured:
        return measured
    taken = measured["hessian_diagonal"].notnull().any("parameter")
    numbers = layer_condition_numbers(measured.isel(step=taken.values))
    kept = ["layer_condition_number", "layer_largest", "layer_median", "layer_median_error"]
    if measured.attrs["curvature"] != "exact":
        measured = measured.drop_dims("parameter")
    return xr.merge(
        [measured, numbers[kept]], join="outer", compat="no_conflicts", combine_attrs="override"
    )


def labelled(dataset: xr.Dataset, name: str, learning_rate: float, seed: int) -> xr.Dataset:
    """The Dataset of a run with the dims optimizer, learning_rate and seed, each of length 1."""
    labels: Mapping[str, Sequence[object]] = {
        "optimizer": [name],
        "learning_rate": [learning_rate],
        "seed": [seed],
    }
    return dataset.expand_dims({key: list(values) for key, values in labels.items()})
