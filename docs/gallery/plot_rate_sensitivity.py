"""Sensitivity to the learning rate
================================

All rates of a seed see the same prompts, so a sweep costs little more than a run.
"""

from functools import partial

import matplotlib.pyplot as plt
import numpy as np

from attnscape import LinearTransformer, RegressionTask, train
from attnscape.measures import LargeBatchLoss, at

result = train(
    RegressionTask(dim=5, context=20),
    partial(LinearTransformer.init, layers=3, dim=5),
    ["sgdm", "adam", "lion", "muon"],
    learning_rates=np.geomspace(1e-4, 1, 9).tolist(),
    seeds=range(3),
    steps=300,
    batch=256,
    measures=[LargeBatchLoss(at(300), batch=10_000)],
)

final = result["large_batch_loss"].sel(step=300)
figure, axes = plt.subplots(layout="constrained")
for name in final.optimizer.values:
    of_name = final.sel(optimizer=name)
    (line,) = axes.plot(of_name.learning_rate, of_name.median("seed"), "o-", ms=3, label=name)
    low, high = of_name.min("seed"), of_name.max("seed")
    axes.fill_between(of_name.learning_rate, low, high, color=line.get_color(), alpha=0.15, lw=0)
axes.set(xscale="log", yscale="log", ylim=(None, 10))
axes.set(xlabel="learning rate", ylabel="loss after 300 steps, 10,000 prompts")
axes.legend()
plt.show()
