"""Every network at the size `small`, on its packaged data: it learns, and measures are finite."""

import numpy as np
import pytest

from attnscape.errors import UsageError
from support import needs_torch

pytestmark = needs_torch
pytest.importorskip("torch")

from attnscape.networks import WORKLOADS, Schedules, train_run  # noqa: E402
from attnscape.networks.generators import own_random_numbers  # noqa: E402
from attnscape.networks.streams import initial_module  # noqa: E402
from attnscape.optimizers import NAMED  # noqa: E402
from attnscape.torch import Objective  # noqa: E402

# Steps and Adam's rate; DistilBERT's pretrained weights take smaller ones.
CHOSEN = dict.fromkeys(WORKLOADS, (30, 0.003)) | {
    "squad-distilbert": (6, 1e-4),
    "softmax-regression": (30, 0.03),
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name == "squad-distilbert" else [])
        for name in WORKLOADS
    ],
)
def test_learns_and_every_measure_is_finite(name):
    workload, (steps, rate) = WORKLOADS[name], CHOSEN[name]
    size = workload.sizes["small"]
    noise = 0 if size.evaluations == 1 else steps
    try:
        data = workload.data("packaged", **size.data)
    except UsageError as error:
        if "not installed" not in str(error):
            raise
        pytest.skip(str(error))
    run = train_run(
        workload, data, size, "adam", NAMED["adam"], rate, 0, steps=steps,
        schedules=Schedules(loss=steps, smoothness=steps, noise=noise),
    ).squeeze(("optimizer", "learning_rate", "seed"))  # fmt: skip
    assert run.status.item() == 0
    assert run.loss[-1] < run.loss[0]
    assert np.isfinite(run.metric[[0, -1]]).all()
    for variable in run.data_vars.values():
        if "step" in variable.dims and variable.dtype.kind == "f":
            assert np.isfinite(variable.sel(step=0)).all(), variable.name
    with own_random_numbers():
        module = initial_module(workload, data, size, seed=0)
    batches = data.fixed(size.batch, 1)
    diagonal = Objective(module, workload.loss, batches, determinism="eval").hessian_diagonal(
        probes=2
    )
    assert np.isfinite(diagonal.value).all()
    assert np.isfinite(diagonal.standard_error).all()
