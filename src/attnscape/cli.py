"""The command line: it reads what is asked for and computes nothing itself.

Only what is needed to show help is imported at the top; JAX comes with the command that needs it.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Annotated, Literal

import tyro

from attnscape.errors import UsageError
from attnscape.paper.catalog import ARTIFACTS

_ARTIFACT_LIST = "\n".join(f"  {name}: {title}" for name, title in ARTIFACTS.items())


@dataclasses.dataclass(frozen=True)
class Reproduce:
    """Trains what an artifact of the paper needs and draws it; finished runs are kept."""

    artifacts: tyro.conf.Positional[tuple[str, ...]] = ()
    """Which; all of them if none is named."""
    quick: bool = False
    """3 seeds and 2,000 steps instead of 6 and 10,000."""
    recipe: Literal["code", "paper"] = "code"
    """What the public code does, or what the text of the paper says."""
    seeds: int | None = None
    """Seeds 0, 1, ..., seeds - 1 of every experiment."""
    all_steps: bool = False
    """All 10,000 steps where the default is shortened for its cost."""
    out: Path = Path("results")
    """Folder for figures, tables and runs."""

    def __call__(self) -> None:
        """Makes the artifacts, one after the other."""
        unknown = [name for name in self.artifacts if name not in ARTIFACTS]
        if unknown:
            raise UsageError(
                f"There is no artifact {unknown[0]!r}; there are {', '.join(ARTIFACTS)}."
            )
        from attnscape.commands import reproduce

        reproduce(self)


@dataclasses.dataclass(frozen=True)
class Train:
    """Trains optimizers x learning rates x seeds on one task and writes the result."""

    name: str = "train"
    """Of the result file."""
    dim: int = 5
    """d, dimension of the covariates."""
    context: int = 20
    """n, examples in a prompt."""
    covariates: Literal["gaussian", "sphere", "radial"] = "gaussian"
    """Law of x."""
    squared_radius: str = "gamma(0.1, scale=10)"
    """For radial covariates: law of |x|^2, as scipy.stats writes it."""
    response: Literal["linear", "relu-network"] = "linear"
    """What y is, given x and w."""
    noise: float = 0.0
    """Standard deviation of noise on the responses."""
    layers: int = 3
    """L."""
    form: Literal["block", "full"] = "block"
    """Form of P and Q."""
    scale: float = 0.05
    """Standard deviation of the initial entries."""
    optimizers: tuple[str, ...] = ("sgdm", "adam")
    """By name."""
    learning_rates: tuple[str, ...] = ("0.02",)
    """Numbers for all optimizers, or `sgdm=0.02,0.05 adam=0.005` for each."""
    seeds: int = 6
    """Seeds 0, 1, ..., seeds - 1."""
    steps: int = 10_000
    """Updates of each run."""
    batch: int = 1000
    """Fresh prompts of each update."""
    clip: float = 1.0
    """Global norm that gradients are clipped to; 0 for no clipping."""
    measure_every: int = 50
    """Steps between measurements."""
    evaluation_batch: int = 1000
    """Prompts of the fixed batch that runs are evaluated on."""
    evaluation_seed: int = 0
    """Which fixed batch."""
    precision: Literal["float32", "float64"] = "float32"
    """Of the training."""
    out: Path = Path("results")
    """Folder for the result."""

    def __call__(self) -> None:
        """Trains, writes and says how it went."""
        from attnscape.commands import train

        train(self)


@dataclasses.dataclass(frozen=True)
class Doctor:
    """Shows versions, which path computes, and what the kernels reach on this machine."""

    def __call__(self) -> None:
        """Measures for a few seconds and prints a table."""
        from attnscape.commands import doctor

        doctor()


Command = (
    Annotated[Reproduce, tyro.conf.subcommand("reproduce")]
    | Annotated[Train, tyro.conf.subcommand("train")]
    | Annotated[Doctor, tyro.conf.subcommand("doctor")]
)


def main() -> None:
    """Entry point of the `attnscape` command."""
    command = tyro.cli(
        Command,  # pyright: ignore[reportArgumentType]
        prog="attnscape",
        description=f"A wind tunnel for Transformer optimization.\n\nArtifacts:\n{_ARTIFACT_LIST}",
    )
    try:
        command()
    except UsageError as error:
        sys.exit(f"attnscape: {error}")
    except KeyboardInterrupt:
        sys.exit("\nattnscape: interrupted; finished runs are kept, the one under way is not.")
