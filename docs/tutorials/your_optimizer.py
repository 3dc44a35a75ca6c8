"""Judge an optimizer of your own in two minutes.

An optimizer here is a function from a learning rate to an optax transformation. This one is Adam
that takes a coordinate's step only where the gradient of the moment agrees with it. One command
searches for its learning rate, trains it beside SGDM and Adam, and ranks the three:

    attnscape bench your_optimizer.py:cautious

Run as a script, this file compares it with Adam on Setting 1 and draws what happens:

    python your_optimizer.py figures
"""

# %% The optimizer: fifteen lines.
import jax
import optax


def cautious(learning_rate):
    """Adam without the part of its step that points up the gradient of the moment."""
    adam = optax.scale_by_adam(b1=0.9, b2=0.95)

    def update(gradient, state, params=None):
        step, state = adam.update(gradient, state, params)
        kept = jax.tree.map(lambda s, g: s * (s * g > 0), step, gradient)
        return jax.tree.map(lambda a: -learning_rate * a, kept), state

    return optax.GradientTransformation(adam.init, update)


# %% Beside Adam, on the same prompts: three seeds, three learning rates, 18 runs at once.
def main(folder):
    """Trains, prints median losses with their range, and draws."""
    from functools import partial

    import matplotlib.pyplot as plt

    from attnscape import LinearTransformer, RegressionTask, train
    from attnscape.measures import DirectionalSmoothness, EvaluationLoss, every
    from attnscape.optimizers import adam

    result = train(
        RegressionTask(dim=5, context=20),
        partial(LinearTransformer.init, layers=3, dim=5),
        {"adam": adam, "cautious": cautious},
        learning_rates=[0.01, 0.02, 0.05],
        seeds=range(3),
        steps=1000,
        measures=(EvaluationLoss(every(10)), DirectionalSmoothness(every(50))),
    )
    final = result["loss"].isel(step=slice(-10, None)).median("step")
    for optimizer in final["optimizer"].values:
        for rate in final["learning_rate"].values:
            losses = final.sel(optimizer=optimizer, learning_rate=rate).values
            print(f"{optimizer:>9} {rate:<5g} median {sorted(losses)[1]:.2e}, seeds {losses}")

    # %% The loss, and the curvature along the steps that each of them takes.
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for name, axis in zip(("loss", "directional_smoothness"), axes, strict=True):
        curves = result[name].sel(learning_rate=0.02).median("seed").dropna("step")
        curves.plot(hue="optimizer", yscale="log" if name == "loss" else "linear", ax=axis)
        axis.set_title("")
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / "your_optimizer.png", dpi=150)
    print("Figure:", folder / "your_optimizer.png")


if __name__ == "__main__":
    import sys
    import tempfile
    from pathlib import Path

    main(Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()))
