"""A real table instead of a law
=============================

Rows of a table can be the prompts: here the monthly changes of eight shares, which come with
matplotlib, and as the response that of the S&P 500 index. What can be learned is learned in a few
dozen steps, and SGD with momentum does it as well as Adam: not every task has a gap.
"""

from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.cbook import get_sample_data

from attnscape import LinearTransformer, train
from attnscape.measures import EvaluationLoss, every
from attnscape.tasks import TableTask

prices = pd.read_csv(get_sample_data("Stocks.csv", asfileobj=False), comment="#")
changes = np.log(prices.drop(columns=["Date", "^IXIC"])).diff().dropna()
changes = (changes - changes.mean()) / changes.std()
index = changes.pop("^GSPC")
task = TableTask(changes.to_numpy(), index.to_numpy(), context=20)

result = train(
    task,
    partial(LinearTransformer.init, layers=2, dim=task.dim),
    ["sgdm", "adam"],
    learning_rates=[0.002, 0.01],
    seeds=range(3),
    steps=400,
    batch=256,
    measures=[EvaluationLoss(every(20))],
)
figure, axes = plt.subplots(layout="constrained")
loss = result["loss"]
rates = loss.sel(step=400, drop=True).median("seed").idxmin("learning_rate")
for name in ("sgdm", "adam"):
    best = loss.sel(optimizer=name, learning_rate=rates.sel(optimizer=name))
    (line,) = axes.plot(best.step, best.mean("seed"), label=name)
    low, high = best.min("seed"), best.max("seed")
    axes.fill_between(best.step, low, high, color=line.get_color(), alpha=0.2, lw=0)
axes.set(yscale="log", xlabel="step", ylabel="loss on a fixed batch")
axes.legend()
plt.show()
