"""`attnscape networks`: lists the workloads, and trains one."""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from rich import box
from rich.console import Console
from rich.table import Column, Table

from attnscape.cli._network_options import Networks
from attnscape.cli.commands._parts import learning_rates, with_schedule
from attnscape.errors import UsageError
from attnscape.experiments.network_tuning import search_networks
from attnscape.experiments.summary import summary
from attnscape.loading import is_reference, load_object, user_errors
from attnscape.optimizers import Factory
from attnscape.optimizers.references import resolve
from attnscape.training.sizes import in_words
from attnscape.workflows.open_cluster import opened
from attnscape.workflows.runs import load_or_run_all

if TYPE_CHECKING:
    from attnscape.networks import Workload
    from attnscape.workflows.clusters import Cluster


def run(options: Networks) -> None:
    """Lists the workloads, or trains one and prints a summary.

    Raises:
        UsageError: If PyTorch is missing, or an option cannot be used.
    """
    try:
        from attnscape import networks
    except ImportError as error:
        raise UsageError(str(error)) from None
    if not options.clip >= 0:
        raise UsageError(f"--clip is {options.clip}; it must be positive, or 0 for no clipping.")
    if options.do == "list":
        if options.workload is not None:
            raise UsageError(
                f"`networks list` shows all workloads; leave {options.workload!r} out, or write "
                "`networks train`."
            )
        _list(networks.WORKLOADS)
        return
    if options.workload is None:
        raise UsageError(
            "No workload was given; give a name that `attnscape networks` lists, or "
            "my_file.py:thing."
        )
    with user_errors(), opened(options.cluster) as cluster:
        _train(options, cluster)


def _list(workloads: Mapping[str, Workload]) -> None:
    from attnscape.networks import costs

    headings = (words for size in costs.SIZES for words in (size, "takes"))
    table = Table("workload", *headings, box=box.SIMPLE, collapse_padding=True, pad_edge=False)
    for name, workload in workloads.items():
        row = [name]
        for key in costs.SIZES:
            size = workload.sizes[key]
            seconds = size.steps * costs.step_seconds(name, key)
            row += [f"{size.steps:,} x {size.batch:,}", in_words(seconds, digits=2)]
        table.add_row(*row)
    Console().print(table)
    print(
        "Sizes are steps x batch. `takes`: the rough time of a run on two processors, without "
        "measurements.\nThe network, its packaged data, which may be a stand-in, and the source:"
    )
    for name, workload in workloads.items():
        print(f"{name}: {workload.title}; {workload.packaged}; {workload.reference}")


def _train(options: Networks, cluster: Cluster | None) -> None:
    from attnscape.networks import Schedules, train_workload

    workload = _workload(str(options.workload))
    factories = resolve(with_schedule(options.optimizers, options))
    source: Any = options.data if options.data in ("packaged", "hub") else Path(options.data)
    train = functools.partial(
        train_workload,
        workload,
        size=options.size,
        source=source,
        steps=options.steps,
        clip=options.clip or None,
        full_batch=options.full_batch,
    )
    run_all = functools.partial(
        load_or_run_all,
        directory=options.out / "networks",
        artifact=workload.name,
        log=_log,
        cluster=cluster,
    )
    schedules = Schedules(
        loss=options.measure_every,
        smoothness=options.smoothness_every,
        curvature=options.curvature_every,
        noise=options.noise_every,
        pseudo=options.pseudo_every,
        sharpness=options.sharpness_every,
    )
    rates = learning_rates(options.learning_rates, tuple(factories))
    if options.tune:
        # Only the last tenth of the steps decides.
        every = max(1, (options.steps or workload.sizes[options.size].steps) // 40)

        def train_for_search(
            chosen: Mapping[str, Factory],
            rates: Mapping[str, Sequence[float]],
            seeds: Sequence[int],
        ) -> xr.Dataset:
            trained = train(chosen, rates, seeds, schedules=Schedules(loss=every), run_all=run_all)
            last = int(trained["step"][-1])
            return trained.sel(step=trained["step"] >= 0.9 * last)

        found = search_networks(factories, train_for_search)
        rates = {name: (rate,) for name, rate in found.rates.items()}
        if warning := found.warning():
            print(f"attnscape: {warning}", file=sys.stderr)
    dataset = train(
        factories,
        rates,
        tuple(range(options.seeds)),
        schedules=schedules,
        pseudo_optimizers=resolve(options.pseudo_optimizers),
        run_all=run_all,
    )
    _show(dataset)


def _log(words: str) -> None:
    print(f"attnscape: {words}", file=sys.stderr, flush=True)


def _workload(name: str) -> Workload:
    from attnscape.networks import WORKLOADS, Workload

    if not is_reference(name):
        if name not in WORKLOADS:
            raise UsageError(
                f"There is no workload {name!r}; there are {', '.join(WORKLOADS)}, and your own as "
                "my_file.py:thing."
            )
        return WORKLOADS[name]
    thing: object = load_object(name)
    if not isinstance(thing, Workload):
        raise UsageError(
            f"{name} is {type(thing).__name__}; it must be an attnscape.networks.Workload."
        )
    return thing


def _show(dataset: xr.Dataset) -> None:
    """The final losses, with what the data really are above them."""
    print(f"{dataset.attrs['title']} on {dataset.attrs['data']}, {dataset.attrs['size']} size")
    metric = dataset.attrs["metric"]
    optimizer = Column("optimizer", overflow="fold")
    table = Table(optimizer, "learning rate", "median final loss", "95 % interval", metric, "runs")
    for row in summary(dataset).to_dict("records"):
        mine = dataset["metric"].sel(optimizer=row["optimizer"], learning_rate=row["learning_rate"])
        count = round(row["diverged"] * row["runs"])
        ends = f"{row['low']:.4g} to {row['high']:.4g}" if np.isfinite(row["low"]) else ""
        table.add_row(
            row["optimizer"],
            f"{row['learning_rate']:g}",
            f"{row['loss']:.4g}",
            ends,
            f"{float(mine.isel(step=-1).median(skipna=False)):.4g}",
            f"{row['runs']}" + (f", {count} diverged" if count else ""),
        )
    Console().print(table)
