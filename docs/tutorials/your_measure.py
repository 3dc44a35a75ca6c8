"""Record a quantity of your own along training runs.

A measure is a small class: when it is evaluated, what it computes of one run at one step, and what
its numbers are called. This one follows the norm of every layer's matrices. Three commands check
it, train with it, and train with another schedule:

    attnscape check measure your_measure.py:LayerNorms
    attnscape train --steps 500 --measure your_measure.py:LayerNorms
    attnscape train --steps 500 --measure your_measure.py:LayerNorms:every=10

Run as a script, this file draws how SGD with momentum and Adam let the layers grow:

    python your_measure.py figures
"""

# %% The measure: fifteen lines.
import dataclasses

import jax.numpy as jnp

from attnscape.measures import Measure, Schedule, Variable, every


@dataclasses.dataclass(frozen=True)
class LayerNorms(Measure):
    """Frobenius norm of P and Q together, for each layer of linear attention."""

    schedule: Schedule = every(25)

    needs_training = needs_draw = needs_state = False  # so it is fast: only the model is read

    def __call__(self, iterate):
        P, Q = iterate.model.P, iterate.model.Q  # each (L, d, d)
        return {"layer_norm": jnp.sqrt((P**2 + Q**2).sum((1, 2)))}

    def variables(self):
        return {"layer_norm": Variable("norm of a layer's matrices", ("layer",))}

    def coordinates(self, model):
        return {"layer": range(len(model.P))}


# %% Along runs of two optimizers: what a run is, and how it is mapped over, is not its concern.
def main(folder):
    """Trains, prints the layers' final norms, and draws them along training."""
    from functools import partial

    import matplotlib.pyplot as plt

    from attnscape import LinearTransformer, RegressionTask, train

    result = train(
        RegressionTask(dim=5, context=20),
        partial(LinearTransformer.init, layers=3, dim=5),
        ["sgdm", "adam"],
        learning_rates=0.02,
        seeds=range(3),
        steps=500,
        measures=[LayerNorms()],
    )
    norms = result["layer_norm"].squeeze("learning_rate").median("seed")
    for name in norms["optimizer"].values:
        final = norms.sel(optimizer=name, step=500).values
        print(f"{name:>5} norms of layers 1 to 3 after 500 steps: {final.round(2)}")
    panels = norms.plot(x="step", hue="layer", col="optimizer", figsize=(9, 3.6))
    folder.mkdir(parents=True, exist_ok=True)
    panels.fig.savefig(folder / "your_measure.png", dpi=150)
    plt.close(panels.fig)
    print("Figure:", folder / "your_measure.png")


if __name__ == "__main__":
    import sys
    import tempfile
    from pathlib import Path

    main(Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()))
