"""The options of the command `networks`, as those of the others in `_options.py`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import tyro


@dataclasses.dataclass(frozen=True)
class Networks:
    """Lists real networks with their data, or trains one: `networks train ptb-transformer`.

    Finished runs are found in the folder and not repeated.
    """

    do: tyro.conf.Positional[Literal["list", "train"]] = "list"
    """List the workloads, or train one."""
    workload: Annotated[tyro.conf.Positional[str | None], tyro.conf.arg(metavar="[WORKLOAD]")] = (
        None
    )
    """A name from the list, or your own `my_file.py:thing`."""
    size: Literal["published", "small", "tiny"] = "small"
    """That of the source, one for two cores, or one for tests."""
    data: str = "packaged"
    """packaged (files of installed packages), hub (the Hugging Face hub), or a folder of files."""
    optimizers: tuple[str, ...] = ("sgdm", "adam")
    """Names, or your own: my_file.py:factory, package.module:factory, torch:package.Class."""
    learning_rates: tuple[str, ...] = ("0.001",)
    """Numbers for all optimizers, or `sgdm=0.1,0.3 adam=0.001` for each."""
    schedule: str | None = None
    """Schedule of the learning rate: constant, cosine, linear or wsd (warm-up, stable, decay), with
    fields if wanted, as in cosine:warmup=100,end=0.1 or wsd:decay=0.2."""
    weight_decay: float | None = None
    """Decoupled weight decay, as AdamW's: each update takes rate x this of every parameter; of
    optimizers that have one by default, 0 takes it away."""
    tune: bool = False
    """Search for the learning rates, on seeds of its own."""
    seeds: int = 3
    """Seeds 0, 1, ..., seeds - 1 for each optimizer and learning rate."""
    steps: Annotated[
        int | None, tyro.conf.arg(metavar="INT", help_behavior_hint="(default: the size's)")
    ] = None
    """Updates of each run."""
    clip: float = 0.0
    """Global norm that gradients are clipped to; 0 for no clipping."""
    full_batch: bool = False
    """Update by the mean gradient over all training examples."""
    measure_every: int = 50
    """Steps between measurements of loss and metric; the last step is always measured."""
    smoothness_every: int = 0
    """Steps between measurements of the step's smoothness; 0 for none."""
    pseudo_optimizers: tuple[str, ...] = ()
    """Optimizers whose updates are measured where the run is, and not made."""
    pseudo_every: int = 0
    """Steps between measurements of these pseudo-steps' smoothness; 0 for none."""
    noise_every: int = 0
    """Steps between measurements of gradient noise; 0 for none."""
    curvature_every: int = 0
    """Steps between measurements of the Hessian's diagonal; 0 for none."""
    sharpness_every: int = 0
    """Steps between measurements of the Hessian's largest eigenvalue; 0 for none."""
    out: Path = Path("results")
    """Folder for the results."""
    cluster: str | None = None
    """Where runs are computed: local:4 (processes of this machine), tcp://host:8786 (a Dask
    scheduler), or `my_cluster.py:factory`, which returns a cluster of `distributed`."""
