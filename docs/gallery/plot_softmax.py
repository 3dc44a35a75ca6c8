"""Softmax beside linear attention
===============================

The same task, optimizer and learning rate; the scores go through a softmax, or are divided by n. A
layer of linear attention can be a step of gradient descent on the context (von Oswald et
al., 2023). One rate for both is no fair race: ``attnscape reproduce fig7`` has searched ones.
"""

from functools import partial

import matplotlib.pyplot as plt

from attnscape import AttentionTransformer, LinearTransformer, RegressionTask, train
from attnscape.measures import EvaluationLoss, every

figure, axes = plt.subplots(layout="constrained")
for label, model in (
    ("linear", partial(LinearTransformer.init, layers=3, dim=5)),
    ("softmax", partial(AttentionTransformer.init, layers=3, dim=5, activation="softmax")),
):
    result = train(
        RegressionTask(dim=5, context=20),
        model,
        ["adam"],
        learning_rates=0.02,
        seeds=range(3),
        steps=400,
        batch=128,
        measures=[EvaluationLoss(every(20))],
    )
    loss = result["loss"].squeeze(["optimizer", "learning_rate"])
    (line,) = axes.plot(loss.step, loss.mean("seed"), label=label)
    low, high = loss.min("seed"), loss.max("seed")
    axes.fill_between(loss.step, low, high, color=line.get_color(), alpha=0.2, lw=0)
axes.set(yscale="log", xlabel="step", ylabel="loss on a fixed batch")
axes.legend()
plt.show()
