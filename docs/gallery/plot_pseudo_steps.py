"""Five optimizers at one iterate
==============================

How curved is the loss along the step that each optimizer *would* take from here? Pan and Li (2023)
ask this at the same iterates for all optimizers, so that none is favoured by where it walked. Here
Adam walks, and five optimizers are asked every 50 steps.
"""

from functools import partial

import matplotlib.pyplot as plt

from attnscape import LinearTransformer, RegressionTask, train
from attnscape.measures import PseudoStepSmoothness, every

asked = ("sgd", "sgdm", "adam", "sign", "lion")
result = train(
    RegressionTask(dim=5, context=20),
    partial(LinearTransformer.init, layers=3, dim=5),
    ["adam"],
    learning_rates=0.02,
    seeds=range(3),
    steps=500,
    batch=256,
    measures=[PseudoStepSmoothness(every(50), optimizers=asked, batch=256)],
)

along = result["pseudo_step_smoothness"].squeeze(["optimizer", "learning_rate"])
figure, axes = plt.subplots(layout="constrained")
for name in asked:
    of_name = along.sel(pseudo_step=name)
    (line,) = axes.plot(of_name.step, of_name.median("seed"), label=name)
    low, high = of_name.min("seed"), of_name.max("seed")
    axes.fill_between(of_name.step, low, high, color=line.get_color(), alpha=0.15, lw=0)
axes.set(yscale="symlog", xlabel="steps of Adam", ylabel="$u^T H u$ along the pseudo-step $u$")
axes.legend(ncols=5, loc="upper center")
plt.show()
