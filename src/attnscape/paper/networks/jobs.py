"""The runs of the networks' artifacts, at the size and with the data that a plan names.

Artifacts that need the same runs ask for them with the same schedules, so that each is made once.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import xarray as xr

from attnscape.errors import UsageError
from attnscape.experiments.artifact import Results
from attnscape.experiments.computation import Computation
from attnscape.experiments.network_tuning import RateSearch
from attnscape.experiments.setting import NetworkSize, Plan
from attnscape.optimizers import Factory
from attnscape.paper.networks.optimizers import FOUR
from attnscape.paper.networks.rates import FOUND

if TYPE_CHECKING:
    from attnscape.networks import NetworkRun, Schedules, Size, Workload
    from attnscape.networks.noise import NetworkNoise
    from attnscape.networks.workload import Data

SEEDS = 5  # the fewest that have an interval; Kunstner et al. have 3
POINTS = 60  # measurements of loss and smoothness along a run
_NOISE_SAMPLES = 1_000
# Noise where a gradient takes half a second, and those of the pass are made twice: so many first
# batches of the pass and fresh ones that five seeds take a quarter of an hour.
_FEWER_GRADIENTS: Mapping[tuple[str, str], tuple[int, int]] = MappingProxyType(
    {("squad-distilbert", "small"): (60, 150)}
)


class RunKey(NamedTuple):
    """A run of a workload; its string is the key of its result, such as `ptb-lstm|adam|0`."""

    workload: str
    optimizer: str
    seed: int

    def __str__(self) -> str:
        return "|".join(map(str, self))

    @classmethod
    def parse(cls, key: str) -> RunKey:
        """The inverse of `str`."""
        workload, optimizer, seed = key.split("|")
        return cls(workload, optimizer, int(seed))


class Network(NamedTuple):
    """A workload with its data, at one size."""

    workload: Workload
    data: Data
    size: Size
    size_name: str

    def run(
        self,
        optimizer: str,
        factory: Factory,
        rate: float,
        seed: int,
        schedules: Schedules,
        **options: Any,
    ) -> NetworkRun:
        """One run; `options` are further fields of `NetworkRun`."""
        from attnscape.networks import NetworkRun

        fields = {"steps": self.size.steps, "schedules": schedules} | options
        return NetworkRun(
            self.workload, True, self.data, self.size, optimizer, factory, rate, seed, **fields
        )

    def noise(self, seeds: Sequence[int]) -> NetworkNoise:
        """Gradient noise at initialisation."""
        from attnscape.networks.noise import NetworkNoise

        # No more than take as long as five runs.
        all_of_them = None, min(_NOISE_SAMPLES, 5 * self.size.steps)
        batches, samples = _FEWER_GRADIENTS.get((self.workload.name, self.size_name), all_of_them)
        return NetworkNoise(
            self.workload, True, self.data, self.size, tuple(seeds), samples, batches
        )

    @property
    def is_noisy(self) -> bool:
        """Whether an update uses so few examples that there is another batch."""
        return self.data.examples >= 2 * self.size.batch

    def every(self, points: int = POINTS) -> int:
        """Steps between measurements so that there are about `points` of them."""
        return max(1, self.size.steps // points)


def network(name: str, plan: Plan, part: Mapping[str, int] = MappingProxyType({})) -> Network:
    """The workload with the given name, with its data.

    Args:
        name: The workload's name.
        plan: Names the size, and where the data come from.
        part: Arguments of the data in place of the size's, for fewer data.

    Raises:
        UsageError: If the data are not there.
    """
    return _network(name, plan.network_size, plan.data, tuple(part.items()))


@functools.cache  # data are read once in a process
def _network(name: str, size: NetworkSize, data: str, part: tuple[tuple[str, int], ...]) -> Network:
    from attnscape.networks import WORKLOADS

    workload = WORKLOADS[name]
    chosen = workload.sizes[size]
    chosen = dataclasses.replace(chosen, data={**chosen.data, **dict(part)})
    # Drawn data have no other source.
    source: Any = data if data in ("packaged", "hub") else Path(data)
    if name == "softmax-regression":
        source = "packaged"
    return Network(workload, workload.data(source, **chosen.data), chosen, size)


def available(
    names: Sequence[str],
    plan: Plan,
    parts: Mapping[str, Mapping[str, int]] = MappingProxyType({}),
) -> dict[str, Network]:
    """The workloads whose data are there.

    Args:
        names: Their names.
        plan: Names the size, and where the data come from.
        parts: By workload, arguments of the data in place of the size's.

    Raises:
        UsageError: If there are none; the reason is that of the first.
    """
    found, reasons = dict[str, Network](), list[UsageError]()
    for name in names:
        try:
            found[name] = network(name, plan, parts.get(name, {}))
        except UsageError as error:
            reasons.append(error)
    if not found:
        raise reasons[0]
    return found


def obstacle(name: str, plan: Plan) -> str:
    """Why an artifact on networks cannot be made here with this plan; empty if it can."""
    if plan.own:
        return f"{name} is about real networks and the paper's model; leave --task and --model out."
    if importlib.util.find_spec("torch") is None:
        return f"{name} needs PyTorch; install the extra with pip install 'attnscape[networks]'."
    return ""


def seeds_of(plan: Plan) -> tuple[int, ...]:
    """The seeds of a plan."""
    return tuple(range(plan.seeds or SEEDS))


def rates_of(name: str, plan: Plan) -> Mapping[str, float]:
    """Learning rates of the four optimizers: those that a search found, or the recorded ones."""
    found = plan.searches.get(name)
    return found.rates if found else FOUND[name]


def searches(names: Sequence[str], plan: Plan) -> dict[str, RateSearch]:
    """A search for the learning rates of each workload that needs one."""
    found = available(names, plan).items()
    return {name: rate_search(each, FOUR) for name, each in found if must_search(name, plan)}


def must_search(key: str, plan: Plan) -> bool:
    """Whether learning rates must be searched for.

    They are recorded for some workloads at the small size. The tiny size takes the same, because
    nothing is concluded from it.
    """
    return plan.tune or plan.network_size == "published" or key not in FOUND


def rate_search(network: Network, optimizers: Mapping[str, Factory], **options: Any) -> RateSearch:
    """The search for learning rates on one network."""
    from attnscape.networks import Schedules, combined

    # Only the last tenth of the steps decides.
    steps = options.get("steps", network.size.steps)
    schedules = Schedules(loss=max(1, steps // 40))

    def trials(
        optimizers: Mapping[str, Factory],
        rates: Mapping[str, Sequence[float]],
        seeds: Sequence[int],
    ) -> Mapping[str, Computation]:
        return {
            f"{name}|{rate}|{seed}": network.run(name, factory, rate, seed, schedules, **options)
            for name, factory in optimizers.items()
            for rate in rates[name]
            for seed in seeds
        }

    def last_tenth(results: Sequence[xr.Dataset]) -> xr.Dataset:
        names = dict.fromkeys(str(each["optimizer"].item()) for each in results)
        seeds = dict.fromkeys(int(each["seed"].item()) for each in results)
        whole = combined(results, list(names), list(seeds))
        return whole.sel(step=whole["step"] >= 0.9 * int(whole["step"][-1]))

    return RateSearch(optimizers, trials, last_tenth)


def by_workload(results: Results) -> dict[str, xr.Dataset]:
    """The runs of each workload in one Dataset, from results with the keys of `RunKey`."""
    from attnscape.networks import WORKLOADS, combined

    groups: dict[str, dict[RunKey, xr.Dataset]] = {}
    for key, dataset in results.items():
        run = RunKey.parse(key)
        # A result that is found may have been stored under another name of the same optimizer.
        labelled = dataset.assign_coords(optimizer=[run.optimizer])
        groups.setdefault(run.workload, {})[run] = labelled
    made = {}
    for name, runs in groups.items():
        datasets = list(runs.values())
        optimizers = dict.fromkeys(key.optimizer for key in runs)
        seeds = dict.fromkeys(key.seed for key in runs)
        whole = combined(datasets, list(optimizers), list(seeds))
        described = json.loads(datasets[0].attrs["spec"])
        batch = f"{described['size']['fields']['batch']:,}"
        examples = f"{'all' if described.get('full_batch') else batch} examples"
        made[name] = whole.assign_attrs(title=WORKLOADS[name].title, batch=examples)
    return made
