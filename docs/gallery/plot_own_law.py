"""A heavy-tailed law of your own
==============================

Covariates are any function ``(key, batch, n, d) -> x``. These are Student's t, with fewer and fewer
degrees of freedom and always unit variance, and the question is what the tail does to the
distance between Adam and SGD with momentum.
"""

from functools import partial

import jax
import matplotlib.pyplot as plt
import numpy as np

from attnscape import LinearTransformer, RegressionTask, train
from attnscape.measures import LargeBatchLoss, at


def student(key, batch, n, d, degrees):
    """Student's t with unit variance, for more than 2 degrees of freedom."""
    return jax.random.t(key, degrees, (batch, n, d)) * np.sqrt((degrees - 2) / degrees)


figure, axes = plt.subplots(layout="constrained")
for degrees in (3, 6, 12, 50):
    result = train(
        RegressionTask(dim=5, context=20, covariates=partial(student, degrees=degrees)),
        partial(LinearTransformer.init, layers=2, dim=5),
        ["sgdm", "adam"],
        learning_rates=[0.005, 0.02, 0.08],
        seeds=range(4),
        steps=300,
        batch=256,
        measures=[LargeBatchLoss(at(300), batch=10_000)],
    )
    final = np.log10(result["large_batch_loss"].sel(step=300)).min("learning_rate")
    gap = final.sel(optimizer="sgdm") - final.sel(optimizer="adam")
    axes.plot([degrees] * gap.size, gap, "o", color="tab:blue", alpha=0.5)
    axes.plot(degrees, gap.median(), "_", color="black", ms=18)
axes.axhline(0, color="grey", lw=0.8)
axes.set(xscale="log", xlabel="degrees of freedom of the covariates", ylabel="log10 SGDM / Adam")
plt.show()
