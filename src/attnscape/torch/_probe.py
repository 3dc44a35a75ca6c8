"""Measures a PyTorch module along the user's training loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from attnscape.errors import UsageError
from attnscape.statistics import PUBLIC_CODE, SmoothnessFit, fit_smoothness
from attnscape.torch._diagonal import condition_number
from attnscape.torch._objective import Objective
from attnscape.torch._variables import Record, Records


class Probe:
    """Measures an objective along a training loop; call `step` once after every update.

    Step t is the iterate x_t after t updates. It is measured in the call after the next update,
    when the step x_{t+1} - x_t is known: the module gets the parameters and buffers of x_t, which
    the previous call stored, is measured, and is restored bit for bit. Make the probe after the
    weights are initialised or loaded.

    - Every `every` steps: `loss`, `evaluation_gradient_norm`, the `directional_smoothness`
      u^T H u / |u|^2 of the step u, with its sign, `update_norm`, and
      `gradient_difference_smoothness` |g(x_t + u/2) - g(x_t)| / (|u|/2) (Zhang et al., 2020a),
      all on the evaluation batch. This takes two gradients and one Hessian-vector product. The
      difference of gradients has a rounding error of about eps |g| / |u|, eps = 1e-7 in float32.
    - Every `pseudo_every` steps: `pseudo_smoothness` v^T H v / |v|^2 of each update v that is
      given to `step` and not made (Pan and Li, 2023), on the evaluation batch. This takes one
      product for each.
    - Every `noise_every` steps: `noise_norm` of each batch's gradient minus the mean over the n
      batches. This keeps n gradients in memory. Because the mean is over the same batches, squared
      norms are (n - 1)/n of the squared distances to the true gradient.
    - Every `curvature_every` steps: `condition_number` with the ends of its 95 % interval, and
      `hessian_diagonal` with its standard error; if the Hessian is formed (up to the objective's
      `dense_limit` parameters) also `hessian_eigenvalues` and `hessian_row_norm`. This takes one
      product for each parameter or probe, and keeps 16 bytes for each parameter. Condition numbers
      of each layer follow from it: `attnscape.networks.layer_condition_numbers`.
    - Every `sharpness_every` steps: `sharpness`, the largest eigenvalue of the Hessian by Lanczos'
      method, and `sharpness_residual`, its error, as in `Objective.eigenpairs`. This takes some
      tens of products at any number of parameters.

    Args:
        objective: The objective to measure.
        every: Steps between measurements of loss and smoothness; 0 for none.
        noise_every: Steps between measurements of gradient noise, which needs at least two batches;
            0 for none.
        curvature_every: Steps between measurements of curvature, which takes long; 0 for none.
        pseudo_every: Steps between measurements of pseudo-steps; 0 for none.
        sharpness_every: Steps between measurements of the largest eigenvalue; 0 for none.
        start: Number of the present iterate, if training is continued.
        condition: Name of a robust condition number of `attnscape.statistics.CONDITION_NUMBERS`.
        probes: Probes of an estimate, as in `Objective.hessian_diagonal`.

    Raises:
        UsageError: If a schedule or the start is negative, all schedules are 0, the batches are too
            few, or the condition number is unknown or asks for eigenvalues of a Hessian that is not
            formed.

    Examples:
        >>> import torch
        >>> from attnscape.torch import Objective, Probe
        >>> module, batch = torch.nn.Linear(2, 1, bias=False), torch.eye(2)
        >>> loss = lambda module, x: (module(x) ** 2).mean()  # its Hessian is the identity
        >>> probe = Probe(Objective(module, loss, [batch]), every=1)
        >>> optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
        >>> for _ in range(3):
        ...     optimizer.zero_grad()
        ...     loss(module, batch).backward()
        ...     optimizer.step()
        ...     record = probe.step()
        >>> probe.dataset()["directional_smoothness"].values.round(3).tolist()
        [1.0, 1.0, 1.0]
    """

    def __init__(
        self,
        objective: Objective,
        every: int = 10,
        *,
        noise_every: int = 0,
        curvature_every: int = 0,
        pseudo_every: int = 0,
        sharpness_every: int = 0,
        start: int = 0,
        condition: str = PUBLIC_CODE,
        probes: int | None = None,
    ) -> None:
        schedules = (every, noise_every, curvature_every, pseudo_every, sharpness_every)
        if min(schedules) < 0 or not any(schedules):
            raise UsageError(
                f"every, noise_every, curvature_every, pseudo_every and sharpness_every are "
                f"{schedules}; give 0 or more, and at least one above 0."
            )
        if start < 0:
            raise UsageError(f"start is {start}; it must be 0 or the number of updates so far.")
        if noise_every and len(objective.batches) < 2:
            raise UsageError(
                "Gradient noise needs at least two batches, and the objective has one; give it "
                "more, or noise_every=0."
            )
        condition_number(condition, exact=objective.is_exact(probes))
        self.objective: Objective = objective
        self.condition: str = condition
        self.probes: int | None = probes
        self._schedules = schedules
        self._records = Records()
        self._pseudo_optimizers: tuple[str, ...] = ()
        self._step = start
        self._kept = objective.snapshot()

    def step(self, pseudo_updates: Mapping[str, Float[Tensor, " p"]] | None = None) -> Record:
        """Makes the measurements that are due; call it after every `optimizer.step()`.

        Args:
            pseudo_updates: The updates that other optimizers would have made in place of the last
                one, by name: flat vectors, (p,), like those of the objective. They are used where
                `pseudo_every` is due.

        Returns:
            The numbers measured at the iterate before that update, by name; empty if nothing was
            due. `dataset` contains them too.

        Raises:
            UsageError: If pseudo-steps are due and none are given, or others than before.
        """
        every, noise_every, curvature_every, pseudo_every, sharpness_every = self._schedules
        pseudo_updates = pseudo_updates or {}
        if _is_due(self._step, pseudo_every):
            self._name_pseudo_steps(tuple(pseudo_updates))
        step, kept, self._step = self._step, self._kept, self._step + 1
        self._kept = self.objective.snapshot() if self._due(self._step) else []
        if not self._due(step):
            return {}
        record: Record = {}
        update = torch.cat(
            [
                (now.detach() - before).reshape(-1)
                for now, before in zip(self.objective.parameters.values(), kept, strict=False)
            ]
        )
        with self.objective.at(kept):
            if _is_due(step, every):
                record |= self._smoothness(kept, update)
            if _is_due(step, noise_every):
                gradients = self.objective.batch_gradients()
                noise = gradients - gradients.mean(dim=0)
                record["noise_norm"] = noise.norm(dim=1).double().cpu().numpy()
            if _is_due(step, curvature_every):
                record |= self._curvature()
            if _is_due(step, sharpness_every):
                record |= self._sharpness()
            if _is_due(step, pseudo_every):
                record["pseudo_smoothness"] = np.array(
                    [
                        self._along(pseudo_updates[name].to(update))
                        for name in self._pseudo_optimizers
                    ]
                )
        self._records[step] = record
        return record

    def save(self) -> dict[str, Any]:
        """All that it has measured and will need: numbers, texts, arrays, lists and dicts."""
        return {
            "step": self._step,
            "pseudo_optimizers": list(self._pseudo_optimizers),
            "records": self._records.plain(),
            "kept": [t.cpu().reshape(-1).view(torch.uint8).numpy() for t in self._kept],
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Sets what `save` has returned, in a probe that was made in the same way."""
        self._step = saved["step"]
        self._pseudo_optimizers = tuple(saved["pseudo_optimizers"])
        self._records = Records.read(saved["records"])
        now = self.objective.snapshot() if saved["kept"] else []
        for tensor, each in zip(now, saved["kept"], strict=True):
            bits = torch.from_numpy(each.copy())
            tensor.copy_(bits.view(tensor.dtype).reshape(tensor.shape))
        self._kept = now

    def _due(self, step: int) -> bool:
        return any(_is_due(step, every) for every in self._schedules)

    def _name_pseudo_steps(self, names: tuple[str, ...]) -> None:
        before = self._pseudo_optimizers
        if not names:
            raise UsageError(
                f"Pseudo-steps are measured at step {self._step}, and none was given; give step() "
                "the updates of other optimizers by name, or the Probe pseudo_every=0."
            )
        if before and set(names) != set(before):
            raise UsageError(
                f"Pseudo-steps of {', '.join(names)} were given, and before of "
                f"{', '.join(before)}; give those of the same optimizers each time."
            )
        self._pseudo_optimizers = before or names

    def _smoothness(self, kept: Sequence[Tensor], update: Float[Tensor, " p"]) -> dict[str, float]:
        length, gradient = update.norm(), self.objective.gradient()
        halves = (update / 2).split([p.numel() for p in self.objective.parameters.values()])
        halfway = [old + half.view_as(old) for old, half in zip(kept, halves, strict=False)]
        with self.objective.at([*halfway, *kept[len(halfway) :]]):  # the rest are buffers
            change = self.objective.gradient() - gradient
        return {
            "loss": self.objective.loss(),
            "evaluation_gradient_norm": gradient.norm().item(),
            "directional_smoothness": self._along(update),
            # NaN if there is no step, like the directional smoothness.
            "gradient_difference_smoothness": (change.norm() / (length / 2)).item(),
            "update_norm": length.item(),
        }

    def _along(self, vector: Float[Tensor, " p"]) -> float:
        """v^T H v / |v|^2; NaN if v is zero."""
        unit = vector / vector.norm()
        return torch.dot(unit, self.objective.hvp(unit)).item()

    def _sharpness(self) -> Record:
        top = self.objective.eigenpairs()
        if not top.values.size:  # Lanczos' method did not converge
            return {"sharpness": np.nan, "sharpness_residual": np.nan}
        return {"sharpness": float(top.values[0]), "sharpness_residual": float(top.residuals[0])}

    def _curvature(self) -> Record:
        diagonal = self.objective.hessian_diagonal(self.probes)
        number = diagonal.condition_number(self.condition)
        record: Record = {
            "condition_number": number.estimate,
            "condition_number_low": number.low,
            "condition_number_high": number.high,
            "hessian_diagonal": diagonal.value,
            "hessian_diagonal_error": diagonal.standard_error,
        }
        if diagonal.row_norm is not None and diagonal.eigenvalues is not None:
            record["hessian_row_norm"] = diagonal.row_norm
            record["hessian_eigenvalues"] = diagonal.eigenvalues
        return record

    def dataset(self) -> xr.Dataset:
        """All measurements so far, along the dim `step`; NaN if a number was not measured.

        Further dims are sample (a batch), pseudo_optimizer, parameter (labelled with the
        parameter's name if the Hessian is formed) and eigenvalue (ascending). The arrays can be
        passed to functions of `attnscape.statistics`. With `hessian_diagonal` there are the
        coordinates `layer`, the names of the module's parameters, and `layer_size`: as many entries
        of the dim parameter belong to each layer, in this order.
        """
        variables = self._records.variables()
        coordinates: dict[str, np.ndarray | list[str] | tuple[str, np.ndarray]] = {
            "step": np.array(list(self._records), np.int64)
        }
        if "pseudo_smoothness" in variables:
            coordinates["pseudo_optimizer"] = list(self._pseudo_optimizers)
        if "hessian_row_norm" in variables:
            coordinates["parameter"] = [
                name for name, p in self.objective.parameters.items() for _ in range(p.numel())
            ]
        attributes = {"condition": self.condition, "attention": "MATH"}
        if "hessian_diagonal" in variables:
            exact = self.objective.is_exact(self.probes)
            attributes["curvature"] = "exact" if exact else "Hutchinson's estimate"
            layers = {name: p.numel() for name, p in self.objective.parameters.items()}
            coordinates["layer"] = list(layers)
            coordinates["layer_size"] = ("layer", np.array(list(layers.values()), np.int64))
        return xr.Dataset(variables, coordinates, attributes)

    def l0_l1(self, **options: Any) -> SmoothnessFit:
        """(L0, L1)-smoothness: a fit of smoothness to gradient norm along the run, with intervals.

        Args:
            options: Options of `attnscape.statistics.fit_smoothness`, which is called with
                `evaluation_gradient_norm` and `directional_smoothness` of the dataset.

        Raises:
            UsageError: If nothing has been measured yet.
            ValueError: As in `fit_smoothness`, for example with fewer than 3 finite points.
        """
        data = self.dataset()
        if "directional_smoothness" not in data:
            raise UsageError(
                "No directional smoothness has been measured; call step() after every update, "
                "with every above 0."
            )
        return fit_smoothness(
            data["evaluation_gradient_norm"].values,
            data["directional_smoothness"].values,
            **options,
        )


def _is_due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0
