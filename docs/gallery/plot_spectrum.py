"""The spectrum along training
===========================

With 150 parameters the whole Hessian is at hand. Near initialisation about a third of its
eigenvalues are negative; exact zeros come from entries of the last P that never reach the loss.
"""

from functools import partial

import matplotlib.pyplot as plt
import numpy as np

from attnscape import LinearTransformer, RegressionTask, train
from attnscape.measures import Curvature, at

result = train(
    RegressionTask(dim=5, context=20),
    partial(LinearTransformer.init, layers=3, dim=5),
    ["sgdm", "adam"],
    learning_rates=0.02,
    seeds=[0],
    steps=1000,
    batch=256,
    measures=[Curvature(at(0, 100, 300, 1000))],
)

eigenvalues = result["hessian_eigenvalues"].squeeze(["learning_rate", "seed"])
figure, axes = plt.subplots(1, 2, layout="constrained", sharey=True, figsize=(8, 3.6))
for panel, name in zip(axes, ["sgdm", "adam"], strict=True):
    for step, shade in zip(eigenvalues.step.values, np.linspace(0.8, 0, 4), strict=True):
        values = np.sort(eigenvalues.sel(optimizer=name, step=step).values)[::-1]
        panel.plot(values, color=plt.cm.viridis(shade), label=f"step {step}")
    panel.set(title=name, xlabel="rank of the eigenvalue")
axes[0].set_yscale("symlog", linthresh=1e-3)
axes[0].set_ylabel("eigenvalue of the Hessian")
axes[1].legend()
plt.show()
