"""Trains one network by one optimizer: one run, with the measurements along it."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from attnscape.errors import UsageError
from attnscape.networks.generators import own_random_numbers
from attnscape.networks.gradients import UpdateGradients
from attnscape.networks.module_state import ModuleState
from attnscape.networks.pseudo import PseudoSteps, check_pseudo
from attnscape.networks.records import Records, labelled, planned_steps
from attnscape.networks.resuming import Resuming, Savable
from attnscape.networks.steps import Steps, steps_of
from attnscape.networks.streams import Batches, initial_module
from attnscape.networks.workload import Batch, Data, Size, Workload
from attnscape.optimizers import Factory, _random_states, bound
from attnscape.torch import Objective, Probe
from attnscape.training import Progress, part_of, silent
from attnscape.trees import Plain


@dataclasses.dataclass(frozen=True)
class Schedules:
    """Steps between measurements; 0 for none.

    Loss and metric are also measured at the last step. What belongs to an update is not: there is
    no update after the last step.

    Attributes:
        loss: Of `loss`, `metric` (on test examples), `training_loss` and `gradient_norm`.
        smoothness: Of the smoothness of the realised step: directional, and by the difference of
            gradients.
        noise: Of gradient noise over the fixed training batches.
        curvature: Of the Hessian's diagonal and the robust condition number.
        pseudo: Of the directional smoothness of pseudo-steps, the updates that the run's
            `pseudo_optimizers` would make.
        sharpness: Of the largest eigenvalue of the Hessian.

    Raises:
        UsageError: If a schedule is negative.

    Examples:
        >>> from attnscape.networks import Schedules
        >>> Schedules(loss=10, smoothness=50).curvature  # not measured
        0
    """

    loss: int = 50
    smoothness: int = 0
    noise: int = 0
    curvature: int = 0
    pseudo: int = 0
    sharpness: int = 0

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value < 0:
                raise UsageError(
                    f"The schedule of {field.name} is {value}; it must be a number of steps, or 0 "
                    "for none."
                )


def train_run(
    workload: Workload,
    data: Data,
    size: Size,
    name: str,
    factory: Factory,
    learning_rate: float,
    seed: int,
    *,
    steps: int,
    clip: float | None = None,
    schedules: Schedules = Schedules(),
    full_batch: bool = False,
    pseudo_optimizers: Mapping[str, Factory] = MappingProxyType({}),
    progress: Progress = silent,
    resuming: Resuming | None = None,
) -> xr.Dataset:
    """Trains one run; the Dataset has the dims (optimizer, learning_rate, seed, step).

    All runs of a seed start at the same weights and see the same batches and the same dropout, for
    every optimizer and learning rate.

    A full batch is all complete batches of one pass over the training data, in an order that is
    the same for every step and seed. Their losses and gradients are averaged one after the other,
    so that only one is in memory. Dropout is that of the seed, the step and the batch's number.

    Args:
        workload: The workload.
        data: Its data.
        size: Its size.
        name: The optimizer's name.
        factory: The optimizer. If it asks for `batch` (`attnscape.optimizers.bound`), it gets the
            size of one batch, also if updates use full ones.
        learning_rate: The learning rate.
        seed: Determines weights, batches and dropout.
        steps: Updates.
        clip: Global norm that gradients are clipped to, or None.
        schedules: What is measured when.
        full_batch: Whether each update uses the mean gradient over a full batch (Kunstner et al.,
            2023), not that of one batch.
        pseudo_optimizers: Factories of the engine by name, whose updates are measured at the run's
            iterates (Pan and Li, 2023) and never made. Each gets the run's learning rate and
            clipping, and its state has seen all gradients of the run so far.
        progress: Called with (steps done, steps in all).
        resuming: Where its state is kept from time to time and found again, as the part of its
            seed (`attnscape.training.part_of`).

    Returns:
        `loss` (mean over fixed batches of training examples) and `metric` (over fixed batches of
        test examples) in eval mode, `training_loss` and `gradient_norm` on the batch, or full
        batch, of the next update as it is trained, `status` and `diverged_at` as in
        `attnscape.train`, and what `attnscape.torch.Probe` measures.

    Raises:
        UsageError: If pseudo-steps have optimizers and no schedule, or the reverse; or an optimizer
            cannot be used.

    Examples:
        >>> from attnscape.networks import WORKLOADS, train_run
        >>> from attnscape.optimizers import sgd
        >>> workload = WORKLOADS["softmax-regression"]
        >>> size = workload.sizes["tiny"]
        >>> data = workload.data("packaged", **size.data)
        >>> run = train_run(workload, data, size, "sgd", sgd, 0.1, 0, steps=5)
        >>> dict(run.loss.sizes)
        {'optimizer': 1, 'learning_rate': 1, 'seed': 1, 'step': 2}
    """
    check_pseudo(schedules.pseudo, pseudo_optimizers)
    of_run = functools.partial(bound, steps=steps, batch=size.batch)
    pseudo_optimizers = {each: of_run(made) for each, made in pseudo_optimizers.items()}
    resuming, part = resuming or Resuming(None, [part_of(seed)], steps), part_of(seed)

    def made() -> _Run:
        module = initial_module(workload, data, size, seed)
        parameters = {n: p for n, p in module.named_parameters() if p.requires_grad}
        pseudo = (
            PseudoSteps(pseudo_optimizers, learning_rate, parameters, clip)
            if pseudo_optimizers
            else None
        )
        run = _Run(workload, data, size, module, seed, steps, schedules, pseudo, full_batch)
        run.stepper = steps_of(name, of_run(factory), learning_rate, parameters, clip)
        return run

    with own_random_numbers():
        run = resuming.begun(part, made)
        dataset = run.train(progress, lambda: resuming.offer(part, run.step, run.save))
    return labelled(dataset, name, learning_rate, seed)


class _Run:
    """A run under way.

    Attributes:
        step: The updates made.
        stepper: What makes them.
    """

    stepper: Steps

    def __init__(
        self,
        workload: Workload,
        data: Data,
        size: Size,
        module: nn.Module,
        seed: int,
        steps: int,
        schedules: Schedules,
        pseudo: PseudoSteps | None,
        full_batch: bool,
    ) -> None:
        self.step = 0
        self._workload, self._module, self._pseudo = workload, module, pseudo
        self._gradients = UpdateGradients(workload, data, size, seed, module)
        self._steps, self._schedules = steps, schedules
        self._batches = None if full_batch else Batches(data, size.batch, seed)
        self._training = data.fixed(size.batch, size.evaluations)
        test = data.fixed(size.batch, size.evaluations, test=True)
        planned = planned_steps(steps, schedules.loss)
        self._records = Records(workload, module, self._training, test, planned)
        self._norm: float | None = None  # of the step's gradient, before clipping
        self._probe = self._made_probe()
        self._module_state = ModuleState(module)

    def _parts(self) -> dict[str, Savable]:
        parts = {
            "module": self._module_state,
            "stepper": self.stepper,
            "records": self._records,
            "batches": self._batches,
            "pseudo": self._pseudo,
            "probe": self._probe,
        }
        return {name: part for name, part in parts.items() if part is not None}

    def save(self) -> Plain:
        """All that the next updates and measurements depend on."""
        parts = {name: part.save() for name, part in self._parts().items()}
        generators = _random_states.plain(_random_states.now())
        return {"step": self.step, "parts": parts, "generators": generators}

    def restore(self, saved: Plain) -> None:
        """Sets the state that `save` has returned."""
        for name, part in self._parts().items():  # the module's first, which others read
            part.restore(saved["parts"][name])
        _random_states.set_to(_random_states.read(saved["generators"]))
        self.step = saved["step"]

    def train(self, progress: Progress, after_update: Callable[[], None]) -> xr.Dataset:
        """Makes all steps, or those until the run diverges."""
        progress(0, self._steps)
        if self.step:
            progress(self.step, self._steps)
        while (diverged_at := self._update()) is None:
            progress(self.step, self._steps)
            after_update()
        return self._records.dataset(diverged_at, self._probe)

    def _update(self) -> int | None:
        """Measures and makes one update; at the end the step where the run diverged, or -1."""
        step = self.step
        batch = None if self._batches is None else next(self._batches)
        due = _is_due(step, self._schedules.loss) or step == self._steps
        if due:
            with self.stepper.at_eval_params():
                evaluated = self._records.evaluate(step)
            if not math.isfinite(evaluated):
                return step
        if step == self._steps:
            return -1
        self._norm = None
        loss = self.stepper.step(lambda: self._backward(batch, step))
        if due:
            norm = np.nan if self._norm is None else self._norm
            self._records.add(step, training_loss=loss, gradient_norm=norm)
        if not math.isfinite(loss):
            return step
        if not self._is_finite():
            return step + 1
        if self._probe is not None:
            self._probe.step(self._pseudo_updates(step))
        self.step = step + 1
        return None

    def _backward(self, batch: Batch | None, step: int) -> Tensor:
        """Fills `.grad` from the batch, or from all batches for None; returns the loss."""
        loss = self._gradients.fill(batch, step)
        if self._norm is None:  # a closure may be called again, at other points
            norms = [p.grad.norm() for p in self._module.parameters() if p.grad is not None]
            self._norm = torch.stack(norms).norm().item()
            if self._pseudo is not None:
                self._pseudo.see(loss)
        return loss

    def _pseudo_updates(self, step: int) -> Mapping[str, Tensor]:
        if self._pseudo is None or not _is_due(step, self._schedules.pseudo):
            return {}
        return self._pseudo.updates()

    def _is_finite(self) -> bool:
        return all(bool(torch.isfinite(p).all()) for p in self._module.parameters())

    def _made_probe(self) -> Probe | None:
        chosen = self._schedules
        if not any(each for name, each in vars(chosen).items() if name != "loss"):
            return None
        objective = Objective(self._module, self._workload.loss, self._training, determinism="eval")
        return Probe(
            objective,
            every=chosen.smoothness,
            noise_every=chosen.noise,
            curvature_every=chosen.curvature,
            pseudo_every=chosen.pseudo,
            sharpness_every=chosen.sharpness,
        )


def _is_due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0
