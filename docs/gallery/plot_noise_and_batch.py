"""Gradient noise against batch size
=================================

With finite variance, the norm of the noise falls like the root of the batch size in the end (grey).
With the heavy-tailed covariates of Setting 3, most small batches hold none of the rare prompts that
dominate the noise: its median falls more slowly than that, and its 99 % quantile faster.
"""

from functools import partial

import matplotlib.pyplot as plt
import numpy as np

from attnscape import LinearTransformer, train
from attnscape.measures import GradientNoise
from attnscape.paper.settings import SETTING_1, SETTING_3

sizes = (32, 128, 512, 2048)
figure, axes = plt.subplots(layout="constrained")
for setting, marker in ((SETTING_1, "o"), (SETTING_3, "s")):
    result = train(
        setting.task,
        partial(LinearTransformer.init, layers=3, dim=5),
        ["sgdm"],
        learning_rates=0.01,
        seeds=[0],
        steps=1,
        batch=32,
        measures=[GradientNoise(samples=500, batch_sizes=sizes, reference=100_000)],
    )
    norms = result["noise_norm"].sel(step=0).squeeze()
    for share, style in ((0.5, "-"), (0.99, ":")):
        line = norms.quantile(share, "sample")
        axes.plot(sizes, line, style, marker=marker, label=f"{setting.name}, quantile {share}")
start = float(norms.sel(batch_size=sizes[0]).median())
axes.plot(sizes, start * np.sqrt(sizes[0] / np.array(sizes)), color="grey", lw=0.8)
axes.set(xscale="log", yscale="log", xlabel="prompts of a gradient", ylabel="norm of the noise")
axes.legend()
plt.show()
