# ruff: noqa: B018, D100
# %% [markdown]
# # A first figure
#
# Twelve small linear Transformers, trained with SGD with momentum and with Adam on the same
# prompts, in a few seconds. Run the cells one after the other in an editor that knows `# %%`, or
# all of them: `python docs/tutorials/first_figure.py`.

# %%
from functools import partial

from attnscape import LinearTransformer, RegressionTask, train
from attnscape.optimizers import adam, sgdm

# %% [markdown]
# ## Train
#
# The task draws prompts: 20 examples (x, <w, x>) and a query, x and w from N(0, I) in five
# dimensions. The model is made from a key, so that every seed starts at another point. All
# optimizers and learning rates of one seed start at the same point and see the same prompts.

# %%
result = train(
    RegressionTask(dim=5, context=20),
    partial(LinearTransformer.init, layers=3, dim=5),
    {"sgdm": sgdm, "adam": adam},
    learning_rates=[0.01, 0.02],
    seeds=range(3),
    steps=1000,
)

# %% [markdown]
# ## Look
#
# The result is an xarray Dataset with the dims (optimizer, learning_rate, seed, step). Its summary
# has a row an optimizer and learning rate: the median over seeds of the last loss, with an exact
# interval over seeds. Three seeds say too little for one: it is given from 6 seeds on.

# %%
summary = result.attnscape.summary()
print(summary.to_string(index=False))
result.attnscape  # a table in a notebook

# %% [markdown]
# ## Draw

# %%
lines = result.loss.median("seed").sel(learning_rate=0.02).plot(hue="optimizer", yscale="log")
lines[0].figure.savefig("first_figure.png")
