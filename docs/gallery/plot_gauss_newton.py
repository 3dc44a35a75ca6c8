"""Gauss-Newton beside Adam
========================

Gauss-Newton solves with the exact matrix of each step's batch, which no other method here sees. The
rates are not tuned: ``attnscape reproduce second-order`` compares at searched ones.
"""

from functools import partial

import matplotlib.pyplot as plt

from attnscape import LinearTransformer, RegressionTask, train
from attnscape.measures import EvaluationLoss, every

rates = {"sgdm": [0.02], "adam": [0.02], "gauss-newton": [0.2]}
result = train(
    RegressionTask(dim=3, context=20),
    partial(LinearTransformer.init, layers=2, dim=3),
    list(rates),
    rates,
    seeds=range(3),
    steps=200,
    batch=512,
    measures=[EvaluationLoss(every(5))],
)
figure, axes = plt.subplots(layout="constrained")
for name, (rate,) in rates.items():
    loss = result["loss"].sel(optimizer=name, learning_rate=rate)
    (line,) = axes.plot(loss.step, loss.mean("seed"), label=name)
    low, high = loss.min("seed"), loss.max("seed")
    axes.fill_between(loss.step, low, high, color=line.get_color(), alpha=0.2, lw=0)
axes.set(yscale="log", xlabel="step", ylabel="loss on a fixed batch")
axes.legend()
plt.show()
