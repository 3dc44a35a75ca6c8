"""Trains one network by one optimizer: one run, with the measurements along it."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from attnscape.errors import UsageError
from attnscape.networks.generators import own_random_numbers, seed_all
from attnscape.networks.pseudo import PseudoSteps, check_pseudo
from attnscape.networks.records import Records, labelled
from attnscape.networks.steps import Steps, steps_of
from attnscape.networks.workload import Batch, Data, Size, Workload
from attnscape.optimizers import Factory, bound
from attnscape.torch import Objective, Probe
from attnscape.training import Progress, silent

_INIT, _BATCHES, _DROPOUT = range(3)  # streams of random numbers of a seed


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
    with own_random_numbers():
        module = initial_module(workload, data, size, seed)
        parameters = {n: p for n, p in module.named_parameters() if p.requires_grad}
        pseudo = (
            PseudoSteps(pseudo_optimizers, learning_rate, parameters, clip)
            if pseudo_optimizers
            else None
        )
        run = _Run(workload, data, size, module, seed, steps, schedules, pseudo)
        stepper = steps_of(name, of_run(factory), learning_rate, parameters, clip)
        return run.train(stepper, full_batch, progress).pipe(labelled, name, learning_rate, seed)


class _Run:
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
    ) -> None:
        self._workload, self._data, self._module, self._pseudo = workload, data, module, pseudo
        self._batch, self._seed, self._steps, self._schedules = size.batch, seed, steps, schedules
        self._training = data.fixed(size.batch, size.evaluations)
        test = data.fixed(size.batch, size.evaluations, test=True)
        self._records = Records(workload, module, self._training, test, self._planned())
        self._norm: float | None = None  # of the step's gradient, before clipping
        self._probe = self._made_probe()

    def train(self, stepper: Steps, full_batch: bool, progress: Progress) -> xr.Dataset:
        """Makes all steps, or those until the run diverges."""
        diverged_at = -1
        batches = itertools.repeat(None) if full_batch else self._batches()
        progress(0, self._steps)
        for step in range(self._steps + 1):
            batch = next(batches)
            due = _is_due(step, self._schedules.loss) or step == self._steps
            if due:
                with stepper.at_eval_params():
                    evaluated = self._records.evaluate(step)
                if not math.isfinite(evaluated):
                    diverged_at = step
                    break
            if step == self._steps:
                break
            self._norm = None
            loss = stepper.step(lambda batch=batch, step=step: self._backward(batch, step))
            if due:
                norm = np.nan if self._norm is None else self._norm
                self._records.add(step, training_loss=loss, gradient_norm=norm)
            if not math.isfinite(loss):
                diverged_at = step
                break
            if not self._is_finite():
                diverged_at = step + 1
                break
            if self._probe is not None:
                self._probe.step(self._pseudo_updates(step))
            progress(step + 1, self._steps)
        return self._records.dataset(diverged_at, self._probe)

    def _batches(self) -> Iterator[Batch]:
        """Batches of one pass after the other."""
        for number in itertools.count():
            yield from self._pass(order_of_pass(self._seed, number))

    def _pass(self, order: int) -> Iterator[Batch]:
        empty = True
        for batch in self._data.batches(self._batch, order):
            empty = False
            yield batch
        if empty:
            raise UsageError(
                f"{self._data.name} gives no batch of {self._batch} examples; give more data "
                "or a smaller batch."
            )

    def _backward(self, batch: Batch | None, step: int) -> Tensor:
        """Fills `.grad` from the batch, or from all batches for None; returns the loss."""
        self._module.zero_grad()
        loss = self._of_batch(batch, step) if batch is not None else self._of_all_batches(step)
        if self._norm is None:  # a closure may be called again, at other points
            norms = [p.grad.norm() for p in self._module.parameters() if p.grad is not None]
            self._norm = torch.stack(norms).norm().item()
            if self._pseudo is not None:
                self._pseudo.see(loss)
        return loss

    def _of_all_batches(self, step: int) -> Tensor:
        # The same order for all seeds: the batches, and the examples left over, define the loss.
        losses = [
            self._of_batch(batch, step, number).detach()
            for number, batch in enumerate(self._pass(order_of_pass(0, 0)))
        ]
        for parameter in self._module.parameters():
            if parameter.grad is not None:
                parameter.grad.div_(len(losses))
        return torch.stack(losses).mean()

    def _of_batch(self, batch: Batch, step: int, *number: int) -> Tensor:
        """Adds the gradient of a batch to `.grad`."""
        seed_dropout(self._seed, step, *number)
        self._module.train()
        loss = self._workload.loss(self._module, batch)
        loss.backward()
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

    def _planned(self) -> Sequence[int]:
        every = self._schedules.loss
        return [*(range(0, self._steps + 1, every) if every else ()), self._steps]


def _stream(seed: int, *path: int) -> int:
    """The seed of a stream of random numbers; different paths give independent streams."""
    return int(np.random.SeedSequence((seed, *path)).generate_state(1, np.uint64)[0] >> 1)


def order_of_pass(seed: int, number: int) -> int:
    """The seed of the order of a run's pass with the given number over the training data."""
    return _stream(seed, _BATCHES, number)


def seed_dropout(seed: int, step: int, *number: int) -> None:
    """Seeds all generators as for the update of a step, or for one of its batches."""
    seed_all(_stream(seed, _DROPOUT, step, *number))


def _is_due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def initial_module(workload: Workload, data: Data, size: Size, seed: int) -> nn.Module:
    """The network of a seed at step 0; to be called inside `own_random_numbers`."""
    seed_all(_stream(seed, _INIT))
    return workload.model(data.facts, **size.model)
