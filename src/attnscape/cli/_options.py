"""The options of the command line: one plain class per command.

The docstrings of classes and fields are the help. Nothing here computes or imports JAX.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import tyro


@dataclasses.dataclass(frozen=True)
class Reproduce:
    """Trains what artifacts of the paper need and makes them and the page `report.html`.

    Finished runs are found in the folder and not repeated.
    """

    artifacts: Annotated[
        tyro.conf.Positional[tuple[str, ...]],
        tyro.conf.arg(metavar="[ARTIFACT ...]", help_behavior_hint="(default: those of the paper)"),
    ] = ()
    """Which to make; `attnscape --help` lists them."""
    extended: bool = False
    """Make all artifacts beyond the paper's figures; alone, or with the named ones."""
    quick: bool = False
    """3 seeds and 2,000 steps or samples of gradient noise, instead of 6 to 24 and 10,000."""
    recipe: Literal["code", "paper"] = "code"
    """What the public code does, or what the text of the paper says."""
    seeds: Annotated[
        int | None,
        tyro.conf.arg(metavar="INT", help_behavior_hint="(default: 24 in Settings 1 to 3, else 6)"),
    ] = None
    """Seeds 0, 1, ..., seeds - 1 of every experiment."""
    tune: bool = False
    """Search for all learning rates first, instead of taking the published ones."""
    all_steps: bool = False
    """All 10,000 steps where the default is shortened for its cost."""
    small: bool = False
    """Real networks at a size that two processors train in a minute, instead of the published
    size; --quick takes a tiny one."""
    data: str = "packaged"
    """Where real networks' data come from: packaged, hub (Hugging Face), or a folder of files."""
    task: str | None = None
    """A task of your own, `my_file.py:task`, in place of every setting's."""
    model: str | None = None
    """A model of your own, `my_file.py:model`, in place of every setting's."""
    out: Path = Path("results")
    """Folder for figures, tables and runs."""
    cluster: str | None = None
    """Where runs are computed: local:4 (processes of this machine), tcp://host:8786 (a Dask
    scheduler), or `my_cluster.py:factory`, which returns a cluster of `distributed`."""


@dataclasses.dataclass(frozen=True)
class Report:
    """Rebuilds the page `report.html` from what was made in a folder."""

    out: Path = Path("results")
    """The folder."""


@dataclasses.dataclass(frozen=True)
class Status:
    """Lists the runs of a folder: finished, under way with what is left, stopped, failed."""

    out: Path = Path("results")
    """The folder."""


@dataclasses.dataclass(frozen=True)
class Train:
    """Trains optimizers x learning rates x batch sizes x seeds on one task; writes the result."""

    name: str = "train"
    """Beginning of the result file's name."""
    dim: int = 5
    """d, dimension of the covariates."""
    context: int = 20
    """n, examples in a prompt."""
    covariates: str = "gaussian"
    """Distribution of x: gaussian, sphere, one-hot, radial, or `my_file.py:covariates`:
    (key, batch, n, d) -> x."""
    weights: str = "gaussian"
    """Distribution of w: as of x, called with n = 1."""
    squared_radius: str = "gamma(0.1, scale=10)"
    """For radial covariates: distribution of |x|^2, as scipy.stats writes it."""
    response: str = "linear"
    """What y is: linear (<w, x>), relu-network (<w, MLP(x)>, a fixed random network), or
    `my_file.py:response`: (x, w) -> y."""
    noise: float = 0.0
    """Standard deviation of noise on the responses."""
    table: Path | None = None
    """Covariates from the rows of this CSV or Parquet file, every column standardised."""
    target: str | None = None
    """The column of the table that holds the responses; without it they are those of --response."""
    task: str | None = None
    """A whole task of your own, `my_file.py:task`, instead of all the options above."""
    threshold: bool = False
    """Replace every response, in the context too, by its sign: in-context classification."""
    loss: str = "squared"
    """squared, absolute, huber, huber:delta=0.5, logistic (of the target's sign), or
    `my_file.py:loss`: (prediction, target) -> loss."""
    model: str | None = None
    """A model of your own, `my_file.py:model`, instead of linear attention."""
    layers: int = 3
    """L, layers of linear attention."""
    form: Literal["block", "full"] = "block"
    """What is trained of P and Q: their d x d blocks, or all of them."""
    scale: float = 0.05
    """Standard deviation of the initial entries."""
    optimizers: tuple[str, ...] = ("sgdm", "adam")
    """Names, or your own: my_file.py:factory, package.module:factory, torch:package.Class; with a
    schedule or weight decay of its own as in adam@cosine:warmup=100,weight_decay=0.1.

    Any of sgd, sgdm, nesterov, sign, signum, normalised, rmsprop, adagrad, adam, adamw, nadam,
    lion, adafactor, lamb, muon, sophia, schedule-free, schedule-free-adamw, prodigy, ademamix,
    newton, gauss-newton, newton-cg."""
    learning_rates: tuple[str, ...] = ("0.02",)
    """Numbers for all optimizers, or `sgdm=0.02,0.05 adam=0.005` for each."""
    schedule: str | None = None
    """Schedule of the learning rate: constant, cosine, linear or wsd (warm-up, stable, decay), with
    fields if wanted, as in cosine:warmup=100,end=0.1 or wsd:decay=0.2."""
    weight_decay: float | None = None
    """Decoupled weight decay, as AdamW's: each update takes rate x this of every parameter; of
    optimizers that have one by default, 0 takes it away."""
    seeds: int = 6
    """Seeds 0, 1, ..., seeds - 1 for each optimizer and learning rate."""
    steps: int = 10_000
    """Updates of each run."""
    batch: Annotated[
        tuple[int, ...],
        tyro.conf.arg(metavar="INT [INT ...]", help_behavior_hint="(default: 1000)"),
    ] = ()
    """Fresh prompts of each update; several numbers train everything with each of them, and give a
    result with the dim `batch`."""
    full_batch: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """Train and evaluate on a set of this many prompts, drawn once, the same for all seeds; every
    update uses all of them. Numbers of --batch add runs with random batches from this set."""
    clip: float = 1.0
    """Global norm that gradients are clipped to; 0 for no clipping."""
    measure_every: int = 50
    """Steps between measurements of the losses; the last step is always measured."""
    measure: Annotated[tuple[str, ...], tyro.conf.arg(metavar="[MEASURE ...]")] = ()
    """What else to measure: names, or your own my_file.py:Class, each with fields if wanted, as in
    curvature:every=250 noise:at=0,500,samples=1000. Keys are every, at and log_spaced (the steps),
    and the class's fields.

    Any of loss, training-loss, large-batch-loss, smoothness, pseudo-smoothness, curvature,
    gauss-newton, eigenvectors, block-heterogeneity, block-smoothness, loss-along-step,
    batch-sharpness, noise, noise-scale, parameters, attention-scores."""
    evaluation_batch: int = 1000
    """Prompts of the fixed batch that runs are evaluated on."""
    evaluation_seed: int = 0
    """Which fixed batch that is."""
    precision: Literal["float32", "float64"] = "float32"
    """Of parameters, losses and prompts."""
    start: str | None = None
    """Start from parameters that `--measure parameters` stored: `result.nc`, or with a choice, as
    in result.nc:step=500,optimizer=adam,learning_rate=0.02. Each seed has its own; `seed=0` takes
    one for all."""
    out: Path = Path("results")
    """Folder for the result."""
    cluster: str | None = None
    """Where runs are computed: local:4 (processes of this machine), tcp://host:8786 (a Dask
    scheduler), or `my_cluster.py:factory`, which returns a cluster of `distributed`."""


@dataclasses.dataclass(frozen=True)
class Bench:
    """Ranks optimizers, each at its best learning rate, against tuned SGDM and Adam.

    The folder remembers them: each call adds to its bench, and compares with all that were run
    there before on the same settings with as many seeds and steps.
    """

    optimizers: Annotated[
        tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="[OPTIMIZER ...]")
    ] = ()
    """Names, or your own: my_file.py:factory, package.module:factory, torch:package.Class."""
    all: bool = False
    """Every optimizer that has a name but newton, gauss-newton and newton-cg, whose steps take
    hundred times as long."""
    tune: Annotated[tuple[str, ...], tyro.conf.arg(metavar="[OPTIMIZER.ARGUMENT=VALUES ...]")] = ()
    """Tune more than the rate: adam.b2=0.9,0.99 or my_file.py:mine.warmup=0,100; of all optimizers
    weight_decay, and of those with a schedule its fields, as in adam@cosine.warmup=0,100. The
    optimizer is run with every combination of values, as a further row whose effort of tuning is
    shown."""
    schedule: str | None = None
    """Run the optimizers, sgdm and adam with this schedule of the learning rate, as rows of their
    own: constant, cosine, linear or wsd, as in cosine:warmup=100."""
    weight_decay: float | None = None
    """The same with decoupled weight decay, as AdamW's; with a schedule, both at once."""
    remove: Annotated[tuple[str, ...], tyro.conf.arg(metavar="[OPTIMIZER ...]")] = ()
    """Optimizers to take out of the folder's bench; their runs are kept."""
    settings: Annotated[
        tuple[str, ...],
        tyro.conf.arg(
            metavar="[SETTING ...]",
            help_behavior_hint="(default: those of the folder's bench; without one setting-1 to "
            "setting-3, or only your own)",
        ),
    ] = ()
    """Of setting-1, setting-2, setting-3, sphere, depth-2, depth-8, dim-20, softmax; or `all`."""
    task: str | None = None
    """A setting of your own, alone or beside the others, of this task: `my_file.py:task`."""
    model: str | None = None
    """The own setting's model, `my_file.py:model`, instead of linear attention with 3 layers."""
    table: Path | None = None
    """The own setting's prompts are 21 rows of this CSV or Parquet file, as `train` has it."""
    target: str | None = None
    """The column of the table that holds the responses; without it they are <w, x>."""
    loss: str | None = None
    """The own setting's loss, as `train` has it, instead of the squared error; alone it is that of
    Setting 1's prompts."""
    threshold: bool = False
    """The own setting's responses are replaced by their signs: in-context classification."""
    seeds: Annotated[
        int | None,
        tyro.conf.arg(metavar="INT", help_behavior_hint="(default: as the folder's bench, or 6)"),
    ] = None
    """Report seeds 0, 1, ..., seeds - 1; tuning has seeds of its own."""
    steps: Annotated[
        int | None,
        tyro.conf.arg(
            metavar="INT", help_behavior_hint="(default: as the folder's bench, or 2,000)"
        ),
    ] = None
    """The budget: updates of each run."""
    recipe: Annotated[
        Literal["code", "paper"] | None,
        tyro.conf.arg(
            metavar="{code,paper}", help_behavior_hint="(default: as the folder's bench, or code)"
        ),
    ] = None
    """Conventions of the public code, or of the text of the paper."""
    out: Path = Path("results")
    """Folder for the page, figures, tables and runs."""
    cluster: str | None = None
    """Where runs are computed: local:4 (processes of this machine), tcp://host:8786 (a Dask
    scheduler), or `my_cluster.py:factory`, which returns a cluster of `distributed`."""


@dataclasses.dataclass(frozen=True)
class Check:
    """Checks that a part of your own keeps its contract: what training asks for, and more.

    Of an optimizer, each argument of the factory is changed as well; one that changes no step, such
    as a weight decay that is never applied, gives a warning.
    """

    kind: tyro.conf.Positional[
        Literal[
            "optimizer", "model", "task", "measure", "distribution", "response", "loss", "workload"
        ]
    ]
    """What it is; a distribution is one of covariates or weights."""
    reference: tyro.conf.Positional[str]
    """`my_file.py:thing` or `package.module:thing`."""
    task: str | None = None
    """For a model or measure: the task, `my_file.py:task`, whose prompts it takes."""
    model: str | None = None
    """For a measure: the model, `my_file.py:model`, that it is checked on; linear attention by
    default."""


@dataclasses.dataclass(frozen=True)
class Doctor:
    """Shows versions, which path computes, and what the kernels reach on this machine."""
