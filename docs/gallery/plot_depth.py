"""Deeper models
=============

The loss at the end, and by what factor Adam's is below that of SGD with momentum, against depth:
each optimizer at the better of three rates. With 300 steps and three seeds this is a sketch of the
paper's Figure 12, not a test of it.
"""

from functools import partial

import matplotlib.pyplot as plt

from attnscape import LinearTransformer, RegressionTask, train
from attnscape.measures import LargeBatchLoss, at

depths = (1, 2, 4, 6)
best = {"sgdm": [], "adam": []}
for depth in depths:
    result = train(
        RegressionTask(dim=5, context=20),
        partial(LinearTransformer.init, layers=depth, dim=5),
        ["sgdm", "adam"],
        learning_rates=[0.02, 0.05, 0.1],
        seeds=range(3),
        steps=300,
        batch=256,
        measures=[LargeBatchLoss(at(300), batch=10_000)],
    )
    final = result["large_batch_loss"].sel(step=300).median("seed").min("learning_rate")
    for name in best:
        best[name].append(float(final.sel(optimizer=name)))

figure, axes = plt.subplots(layout="constrained")
for name, losses in best.items():
    axes.plot(depths, losses, "o-", label=name)
axes.set(yscale="log", xticks=depths, xlabel="layers", ylabel="loss after 300 steps")
axes.legend()
plt.show()
