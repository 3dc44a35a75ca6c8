"""Artifacts on real networks as their tests make them, and the numbers of their runs."""

import numpy as np

from attnscape.workflows import searches
from attnscape.workflows.make import make
from attnscape.workflows.runs import load_or_run_all


def searched(artifact, folder, plan):
    """The plan with the learning rates that the artifact needs."""

    def run_all(experiments):
        return load_or_run_all(experiments, folder / "runs", artifact.name, print)

    return searches.with_searches(plan, artifact, run_all, print)


def reproduce(artifact, folder, plan):
    """Makes an artifact, with the searches that it needs."""
    return make(artifact, folder, searched(artifact, folder, plan), print)


def losses_of(made, key):
    """The measured losses of a run."""
    return made.results[key]["loss"].dropna("step").values.ravel()


def final_loss(made, key):
    """The median loss over the last tenth of a run's steps."""
    run = made.results[key]
    measured = run["loss"].dropna("step")
    return float(measured.sel(step=measured["step"] >= 0.9 * int(run["step"][-1])).median())


def mean_ratio(made, workload, one, other):
    """Final loss with one optimizer over that with another, geometric mean over the seeds."""
    seeds = {key.split("|")[2] for key in made.results if key.startswith(f"{workload}|{one}|")}
    ratios = [
        final_loss(made, f"{workload}|{one}|{seed}")
        / final_loss(made, f"{workload}|{other}|{seed}")
        for seed in sorted(seeds)
    ]
    return float(np.exp(np.log(ratios).mean()))
