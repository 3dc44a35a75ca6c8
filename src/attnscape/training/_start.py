"""Saved parameters that runs start from."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float, PyTree

from attnscape import objective
from attnscape.errors import UsageError

_LARGEST = 2**31 - 2  # steps are counted in 32 bits


@dataclasses.dataclass(frozen=True, eq=False)
class Start:
    """The parameters that runs start from.

    Attributes:
        parameters: In the order of `attnscape.measures.Parameters`; one row for each of `seeds`, or
            one for all.
        seeds: The seeds of the rows; empty if all seeds have the same.
        step: Updates that were made before. Prompts go on after those of these updates.

    Examples:
        >>> import numpy as np
        >>> from attnscape.training import Start
        >>> Start.of(np.zeros(50)).parameters.shape
        (1, 50)
    """

    parameters: Float[np.ndarray, "row parameter"]
    seeds: tuple[int, ...] = ()
    step: int = 0

    @classmethod
    def of(cls, saved: Start | xr.DataArray | Any) -> Start:
        """The start from an array (parameter,) or a selection of saved parameters.

        Args:
            saved: An array with the axis (parameter,), or `result["parameters"]` at one step of one
                optimizer and learning rate, with the dim `parameter`, and `seed` if each seed has
                its own start.

        Raises:
            UsageError: If it has other dims, or numbers that are not finite.
        """
        if isinstance(saved, Start):
            return saved
        seeds, step = (), 0
        if isinstance(saved, xr.DataArray):
            further = sorted({str(dim) for dim in saved.dims} - {"seed", "parameter"})
            if further or "parameter" not in saved.dims:
                raise UsageError(
                    f"start has the dims {', '.join(map(str, saved.dims))}; select one of each but "
                    "seed and parameter, as in result['parameters'].sel(step=500, ...)."
                )
            if "seed" in saved.dims:
                seeds = tuple(int(seed) for seed in saved["seed"].values)
                saved = saved.transpose("seed", "parameter")
            counted = (saved.coords.get(name) for name in ("step", "start_step"))
            step = sum(int(each) for each in counted if each is not None)
        values = np.atleast_2d(np.asarray(saved))
        if values.dtype.kind in "iu":
            values = values.astype(np.float64)
        if values.ndim != 2 or len(values) != max(1, len(seeds)):
            raise UsageError(
                f"start has the shape {np.shape(saved)}; give one vector of parameters, or "
                "labelled ones for each seed."
            )
        if values.dtype.kind != "f" or not np.isfinite(values).all():
            raise UsageError(
                "start has numbers that are not finite: the run had diverged, or its parameters "
                "were not stored at this step."
            )
        return cls(values, seeds, step)

    def row(self, seed: int) -> Float[np.ndarray, " parameter"]:
        """The parameters of a seed."""
        return self.parameters[self.seeds.index(seed) if self.seeds else 0]

    def check(self, seeds: Sequence[int], model: Callable[..., PyTree], steps: int) -> None:
        """Raises UsageError unless all of the seeds have a start with the model's parameters."""
        parameters = len(objective.parameter_blocks(model))
        if (given := self.parameters.shape[1]) != parameters:
            raise UsageError(f"start has {given} parameters, and the model has {parameters}.")
        if self.seeds and (lacking := [seed for seed in seeds if seed not in self.seeds]):
            raise UsageError(
                f"start has no parameters of seed {lacking[0]}; it has those of "
                f"{', '.join(map(str, self.seeds))}: give one of these seeds for all."
            )
        if self.step + steps > _LARGEST:
            raise UsageError(f"start is at step {self.step}; give fewer steps.")

    def content(self, seeds: Sequence[int]) -> dict[str, Any]:
        """What of it the runs of these seeds depend on."""
        rows = self.parameters.astype(float)
        of_seed = dict(zip(self.seeds, rows, strict=True)) if self.seeds else {}
        # A seed without a row is refused by `check`.
        return {"step": self.step, "parameters": [of_seed.get(seed, rows[0]) for seed in seeds]}
