"""Gradient noise of a network at its initial weights, by two conventions."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
import xarray as xr

from attnscape import spec
from attnscape.errors import UsageError
from attnscape.identity import Identity
from attnscape.networks.generators import own_random_numbers
from attnscape.networks.gradients import InitialGradients
from attnscape.networks.noise_sums import Noise, SeedNoise
from attnscape.networks.resuming import Resuming
from attnscape.networks.run import how_made, of_network, of_parts, parameters_of
from attnscape.networks.workload import Data, Size, Workload
from attnscape.training import Checkpoints, Progress, check_seeds, part_of, processors, silent

CONVENTIONS = ("one-pass", "fresh")
_KEPT = 2**30  # bytes of gradients that are in memory at once


@dataclasses.dataclass(frozen=True)
class NetworkNoise:
    """Gradient noise at the initial weights, a computation that is found again like `NetworkRun`.

    A stochastic gradient g_B is one of training: in train mode, with dropout. Batch norm is frozen
    in the sense that its running averages stay those of the start: it normalises by the batch, as
    in train mode, and all buffers are restored after each gradient.

    - `one-pass` (Kunstner et al., 2023): all complete batches of the first pass of training. The
      full gradient g is the mean of exactly these n gradients, so that the mean of the squared
      norms of g_B - g is (n - 1)/n of the trace of the covariance. With `batches`, only that many
      of them, the first ones.
    - `fresh`: independent batches, each the first of a pass in an order of its own. The full
      gradient is that of `one-pass`.

    The conventions differ in what is random. For `fresh` it is the batch of b out of N examples:
    gradients are independent, given the data. For `one-pass` it is the examples, too: batches of a
    pass share none, so that they are independent if the examples are, and their covariance is that
    of a batch of b new examples. Its trace is larger by the factor 1 / (1 - b/N). The trace of its
    square is smaller if few examples dominate, because no two gradients have one in common.

    Attributes:
        workload: The workload.
        built_in: Whether the workload is built in; a user's is identified by its files.
        data: Its data, loaded.
        size: Its size; only its batch, model and data matter.
        seeds: Each determines weights, batches and dropout.
        samples: Fresh batches of each seed, at least 4.
        batches: The first batches of the pass that are used, at least 4; None for all of it. The
            full gradient is then the mean of fewer gradients, which makes squared norms of `fresh`
            larger by about 1/batches of the trace.

    Raises:
        UsageError: If seeds, samples or batches are out of range.

    Examples:
        >>> from dataclasses import replace
        >>> from attnscape.networks import WORKLOADS, NetworkNoise
        >>> workload = WORKLOADS["softmax-regression"]
        >>> size = replace(workload.sizes["tiny"], batch=4)
        >>> data = workload.data("packaged", **size.data)  # 24 examples
        >>> noise = NetworkNoise(workload, True, data, size, seeds=(0, 1), samples=10).run()
        >>> noise.noise_norm.sizes["sample"], noise.fresh_noise_norm.sizes["fresh_sample"]
        (6, 10)
        >>> noise.noise_trace.dims
        ('convention', 'seed')
    """

    workload: Workload
    built_in: bool
    data: Data
    size: Size
    seeds: tuple[int, ...]
    samples: int
    batches: int | None = None

    def __post_init__(self) -> None:
        check_seeds("seeds", self.seeds)
        for name, value in (("samples", self.samples), ("batches", self.batches)):
            if value is not None and value < 4:
                raise UsageError(
                    f"{name} is {value}; give at least 4, the fewest gradients from which the "
                    "square of a covariance can be estimated."
                )

    @property
    def name(self) -> str:
        """Start of the file name."""
        return f"{self.workload.name}-noise"

    @property
    def identity(self) -> Identity:
        """Everything that distinguishes its result from others; computed once."""
        return self._identity

    @functools.cached_property
    def _identity(self) -> Identity:
        network = of_network(self.workload, self.built_in, self.data, self.size)
        return of_parts({**network.content, "noise": self._numbers()}, [network])

    @property
    def run_id(self) -> str:
        """SHA-256 of the identity."""
        return spec.digest(self.identity.content)

    @property
    def run_steps(self) -> int:
        """Its gradients."""
        passes = 1 if self._used <= self._room else 2
        return len(self.seeds) * (passes * self._used + self.samples)

    @property
    def at_once(self) -> int:
        """One a processor: a second thread makes it little faster. 0 with a user's workload."""
        return processors() * self.built_in

    @property
    def precision(self) -> str:
        """Precision of the gradients."""
        return "float32"

    def spec(self) -> dict[str, Any]:
        """Description as JSON, for people."""
        return {
            "workload": self.workload.name,
            "data": self.data.name,
            "size": spec.describe(self.size),
            "steps": 0,
            **self._numbers(),
        }

    def run(
        self, progress: Progress = silent, checkpoints: Checkpoints | None = None
    ) -> xr.Dataset:
        """Computes the noise of every seed.

        If the gradients of one convention and seed take more than 2^30 bytes, those of the pass are
        computed twice, and only the first ones that fit enter `noise_trace_of_square` and
        eigenvalues (NaN if fewer than 4 fit). Beside them there are a few vectors of p numbers in
        memory.

        Returns:
            A Dataset with the dims convention (`one-pass`, `fresh`), seed, sample (a batch of the
            pass), fresh_sample and, up to 400 parameters, eigenvalue:

            - `noise_norm` |g_B - g|, (seed, sample); `fresh_noise_norm`, (seed, fresh_sample).
            - `noise_trace` of the covariance of g_B, (convention, seed), an unbiased estimate.
            - `noise_trace_of_square`, (convention, seed): an unbiased estimate of the trace of the
              squared covariance (`attnscape.networks.covariance.trace_of_square`).
            - `noise_covariance_eigenvalues`, (convention, seed, eigenvalue), of the sample
              covariance, ascending.
            - `covariance_samples`, (convention,): the gradients in the last two.

            The attribute `used_of_pass` says how many batches were used, if not all of the pass.

        Raises:
            UsageError: If the data give fewer than two batches.
        """
        total, of_seed = self.run_steps, self.run_steps // len(self.seeds)
        resuming = Resuming(checkpoints, [part_of(seed) for seed in self.seeds], of_seed)
        progress(0, total)
        with own_random_numbers(), resuming.threads():
            noises = [
                self._of_seed(
                    seed,
                    resuming,
                    lambda made, before=before: progress(made + before * of_seed, total),
                )
                for before, seed in enumerate(self.seeds)
            ]
            attributes = how_made(self.workload, self.data)

        def of(field: str, convention: int) -> np.ndarray:
            """Of all seeds, (seed, ...)."""
            return np.array([getattr(noise[convention], field) for noise in noises])

        def both(field: str) -> np.ndarray:
            """Of all conventions, (convention, seed, ...)."""
            return np.stack([of(field, convention) for convention in range(len(CONVENTIONS))])

        norm = {"long_name": "norm of a batch's gradient minus the full gradient"}
        traces = {
            "trace": "trace of the covariance",
            "trace_of_square": "trace of the squared covariance",
        }
        variables = {
            "noise_norm": (("seed", "sample"), of("norms", 0), norm),
            "fresh_noise_norm": (("seed", "fresh_sample"), of("norms", 1), norm),
            **{
                f"noise_{name}": (("convention", "seed"), both(name), {"long_name": words})
                for name, words in traces.items()
            },
            "covariance_samples": ("convention", both("kept")[:, 0]),
        }
        if (values := both("eigenvalues")).size:
            words = {"long_name": "eigenvalues of the sample covariance"}
            dims = ("convention", "seed", "eigenvalue")
            variables["noise_covariance_eigenvalues"] = (dims, values, words)
        labels = {"convention": list(CONVENTIONS), "seed": list(self.seeds)}
        if self._used < self._in_a_pass:
            attributes["used_of_pass"] = f"first {self._used} of {self._in_a_pass} batches"
        return xr.Dataset(variables, labels).assign_attrs(
            attributes,
            title=self.workload.title,
            batch=self.size.batch,
            parameters=self._size,
        )

    def _of_seed(
        self, seed: int, resuming: Resuming, progress: Callable[[int], None]
    ) -> tuple[Noise, Noise]:
        part = part_of(seed)

        def made() -> SeedNoise:
            gradients = InitialGradients(
                self.workload, self.data, self.size, seed, batches=self.batches
            )
            return SeedNoise(gradients, self._used, self.samples, self._room)

        def after() -> None:
            progress(noise.made)
            resuming.offer(part, noise.made, noise.save)

        noise = resuming.begun(part, made)
        if noise.made:
            progress(noise.made)
        batches = noise.batches(after)
        if batches < 2:
            raise UsageError(
                f"{self.data.name} gives {batches} batches of {self.size.batch} examples, but "
                "noise needs at least 2; give more data or a smaller batch."
            )
        found = noise.noises(after)
        resuming.finish(part, noise.made, noise.save)
        return found

    @property
    def _in_a_pass(self) -> int:
        return self.data.examples // self.size.batch

    @property
    def _used(self) -> int:
        """Batches of the pass that are used."""
        return self._in_a_pass if self.batches is None else min(self.batches, self._in_a_pass)

    @property
    def _room(self) -> int:
        """As many gradients as are kept."""
        of_one = sum(each.size * each.dtype.itemsize for each in self._parameters.values())
        return _KEPT // of_one

    @property
    def _parameters(self) -> Mapping[str, jax.ShapeDtypeStruct]:
        return parameters_of(self.workload, self.data, self.size)

    @property
    def _size(self) -> int:
        return sum(each.size for each in self._parameters.values())

    def _numbers(self) -> dict[str, Any]:
        numbers: dict[str, Any] = {"seeds": list(self.seeds), "samples": self.samples}
        if self.batches is not None:  # an option that is not used is left out
            numbers["batches"] = self.batches
        return numbers
