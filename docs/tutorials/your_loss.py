"""Train under a loss of your own.

A loss is a function of one prediction and its target, written in JAX. This one grows like the
logarithm of large errors, so outliers hardly count; the price is that it is not convex. Two
commands check it and train with it:

    attnscape check loss your_loss.py:cauchy
    attnscape train --steps 500 --loss your_loss.py:cauchy

Run as a script, this file compares it with the squared error and Huber's loss:

    python your_loss.py figures
"""

# %% The loss: two lines.
import jax.numpy as jnp


def cauchy(prediction, target):
    """log(1 + e^2 / 2) for the error e: e^2 / 2 for small errors."""
    return jnp.log1p((prediction - target) ** 2 / 2)


# %% Prompts carry the loss, so training, gradients and measures follow.
def main(folder):
    """Trains under three losses, prints the losses that are left, and draws them."""
    from functools import partial

    import matplotlib.pyplot as plt

    from attnscape import LinearTransformer, RegressionTask, train
    from attnscape.measures import EvaluationLoss, every
    from attnscape.tasks import Huber, SquaredError, WithLoss

    figure, axis = plt.subplots(figsize=(5, 3.6), layout="constrained")
    for name, loss in {"squared": SquaredError(), "Huber": Huber(), "Cauchy": cauchy}.items():
        result = train(
            WithLoss(RegressionTask(dim=5, context=20), loss),
            partial(LinearTransformer.init, layers=2, dim=5),
            ["adam"],
            learning_rates=0.02,
            seeds=range(3),
            steps=200,
            batch=200,
            measures=[EvaluationLoss(every(10))],
        )
        losses = result["loss"].squeeze().median("seed")
        left = losses / losses.isel(step=0)  # losses of different kinds are on different scales
        print(f"{name:>8} {float(left[-1]):.3f} of the initial loss is left")
        left.plot(x="step", yscale="log", label=name, ax=axis)
    axis.set(title="", ylabel="loss / initial loss")
    axis.legend()
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / "your_loss.png", dpi=150)
    print("Figure:", folder / "your_loss.png")


if __name__ == "__main__":
    import sys
    import tempfile
    from pathlib import Path

    main(Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()))
