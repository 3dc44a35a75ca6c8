"""Trains one network by one optimizer: one run, with the measurements along it."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import random
from collections.abc import Generator, Iterator, Mapping, Sequence

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from attnscape.errors import UsageError
from attnscape.networks.steps import Steps, steps_of
from attnscape.networks.workload import Batch, Data, Size, Workload
from attnscape.optimizers import Factory
from attnscape.torch import Objective, Probe
from attnscape.training import Progress, Status, silent

_INIT, _BATCHES, _DROPOUT = range(3)  # streams of random numbers of a seed


@dataclasses.dataclass(frozen=True)
class Schedules:
    """Steps between measurements; 0 for none.

    Loss and metric are also measured at the last step. What belongs to an update is not: there is
    no update after the last step.

    Attributes:
        loss: Of `loss`, `metric` (on test examples), `training_loss` and `gradient_norm`.
        smoothness: Of the directional smoothness of the realised step.
        noise: Of gradient noise over fresh batches.
        curvature: Of the Hessian's diagonal and the robust condition number.

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
    progress: Progress = silent,
) -> xr.Dataset:
    """Trains one run; the Dataset has the dims (optimizer, learning_rate, seed, step).

    All runs of a seed start at the same weights and see the same batches and the same dropout, for
    every optimizer and learning rate.

    Args:
        workload: The workload.
        data: Its data.
        size: Its size.
        name: The optimizer's name.
        factory: The optimizer.
        learning_rate: The learning rate.
        seed: Determines weights, batches and dropout.
        steps: Updates.
        clip: Global norm that gradients are clipped to, or None.
        schedules: What is measured when.
        progress: Called with (steps done, steps in all).

    Returns:
        `loss` (mean over fixed batches of training examples) and `metric` (over fixed batches of
        test examples) in eval mode, `training_loss` and `gradient_norm` on the batch of the next
        update as it is trained, `status` and `diverged_at` as in `attnscape.train`, and what
        `attnscape.torch.Probe` measures.

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
    with own_random_numbers():
        module = initial_module(workload, data, size, seed)
        run = _Run(workload, data, size, module, seed, steps, schedules)
        parameters = {n: p for n, p in module.named_parameters() if p.requires_grad}
        return run.train(steps_of(name, factory, learning_rate, parameters, clip), progress).pipe(
            _labelled, name, learning_rate, seed
        )


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
    ) -> None:
        self._workload, self._data, self._module = workload, data, module
        self._batch, self._seed, self._steps, self._schedules = size.batch, seed, steps, schedules
        self._training = data.fixed(size.batch, size.evaluations)
        self._test = data.fixed(size.batch, size.evaluations, test=True)
        self._records: dict[int, dict[str, float]] = {}
        self._norm: float | None = None  # of the step's gradient, before clipping
        self._probe = self._made_probe()

    def train(self, stepper: Steps, progress: Progress) -> xr.Dataset:
        """Makes all steps, or those until the run diverges."""
        diverged_at = -1
        batches = self._batches()
        progress(0, self._steps)
        for step in range(self._steps + 1):
            batch = next(batches)
            due = _is_due(step, self._schedules.loss) or step == self._steps
            if due:
                with stepper.at_eval_params():
                    self._records[step] = self._evaluated()
                if not math.isfinite(self._records[step]["loss"]):
                    diverged_at = step
                    break
            if step == self._steps:
                break
            self._norm = None
            loss = stepper.step(lambda batch=batch, step=step: self._backward(batch, step))
            if due:
                norm = np.nan if self._norm is None else self._norm
                self._records[step] |= {"training_loss": loss, "gradient_norm": norm}
            if not math.isfinite(loss):
                diverged_at = step
                break
            if not self._is_finite():
                diverged_at = step + 1
                break
            if self._probe is not None:
                self._probe.step()
            progress(step + 1, self._steps)
        return self._dataset(diverged_at)

    def _batches(self) -> Iterator[Batch]:
        """Batches of one pass after the other."""
        passes = 0
        while True:
            empty = True
            for batch in self._data.batches(self._batch, _stream(self._seed, _BATCHES, passes)):
                empty = False
                yield batch
            if empty:
                raise UsageError(
                    f"{self._data.name} gives no batch of {self._batch} examples; give more data "
                    "or a smaller batch."
                )
            passes += 1

    def _backward(self, batch: Batch, step: int) -> Tensor:
        seed_all(_stream(self._seed, _DROPOUT, step))
        self._module.train()
        self._module.zero_grad()
        loss = self._workload.loss(self._module, batch)
        loss.backward()
        if self._norm is None:  # a closure may be called again, at other points
            norms = [p.grad.norm() for p in self._module.parameters() if p.grad is not None]
            self._norm = torch.stack(norms).norm().item()
        return loss

    def _evaluated(self) -> dict[str, float]:
        self._module.eval()
        with torch.no_grad():
            losses = [self._workload.loss(self._module, b).item() for b in self._training]
            values = [self._workload.metric.of(self._module, b).item() for b in self._test]
        return {"loss": float(np.mean(losses)), "metric": float(np.mean(values))}

    def _is_finite(self) -> bool:
        return all(bool(torch.isfinite(p).all()) for p in self._module.parameters())

    def _made_probe(self) -> Probe | None:
        chosen = self._schedules
        if not (chosen.smoothness or chosen.noise or chosen.curvature):
            return None
        objective = Objective(self._module, self._workload.loss, self._training, determinism="eval")
        return Probe(
            objective,
            every=chosen.smoothness,
            noise_every=chosen.noise,
            curvature_every=chosen.curvature,
        )

    def _dataset(self, diverged_at: int) -> xr.Dataset:
        steps = sorted({*self._records, *self._planned()})
        names = ("loss", "metric", "training_loss", "gradient_norm")
        lost = diverged_at if diverged_at >= 0 else math.inf
        variables = {
            name: (
                "step",
                [
                    self._records.get(step, {}).get(name, np.nan) if step < lost else np.nan
                    for step in steps
                ],
                {"long_name": words},
            )
            for name, words in zip(names, self._long_names(), strict=True)
        }
        dataset = xr.Dataset(variables, {"step": steps})
        if self._probe is not None:
            measured = self._probe.dataset()
            renamed = measured.rename({"loss": "probe_loss"}) if "loss" in measured else measured
            dataset = xr.merge([dataset, renamed], join="outer", combine_attrs="no_conflicts")
        status = Status.finished if diverged_at < 0 else Status.diverged
        return dataset.assign(status=np.int8(status), diverged_at=np.int32(diverged_at))

    def _planned(self) -> Sequence[int]:
        every = self._schedules.loss
        return [*(range(0, self._steps + 1, every) if every else ()), self._steps]

    def _long_names(self) -> tuple[str, str, str, str]:
        return (
            "loss on fixed training batches",
            f"{self._workload.metric.name} on test examples",
            "loss on the batch of the step",
            "norm of the gradient on the batch of the step",
        )


def _labelled(dataset: xr.Dataset, name: str, learning_rate: float, seed: int) -> xr.Dataset:
    labels: Mapping[str, Sequence[object]] = {
        "optimizer": [name],
        "learning_rate": [learning_rate],
        "seed": [seed],
    }
    return dataset.expand_dims({key: list(values) for key, values in labels.items()})


def _stream(seed: int, *path: int) -> int:
    """The seed of a stream of random numbers; different paths give independent streams."""
    return int(np.random.SeedSequence((seed, *path)).generate_state(1, np.uint64)[0] >> 1)


def _is_due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def initial_module(workload: Workload, data: Data, size: Size, seed: int) -> nn.Module:
    """The network of a seed at step 0; to be called inside `own_random_numbers`."""
    seed_all(_stream(seed, _INIT))
    return workload.model(data.facts, **size.model)


def seed_all(seed: int) -> None:
    """Seeds the generators that users' code may draw from: PyTorch's, numpy's and Python's."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    random.seed(seed)


@contextlib.contextmanager
def own_random_numbers() -> Generator[None]:
    """Context manager: afterwards the global generators are in the states of before."""
    before = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    try:
        yield
    finally:
        torch.set_rng_state(before[0])
        np.random.set_state(before[1])  # noqa: NPY002
        random.setstate(before[2])
