"""The largest eigenvalue along training, where the Hessian is known."""

import numpy as np
import pytest

from support import needs_torch

pytestmark = needs_torch
pytest.importorskip("torch")

from attnscape.networks import Schedules, train_run  # noqa: E402
from attnscape.optimizers import NAMED  # noqa: E402
from networks.linear import LEAST_SQUARES, hessian_of  # noqa: E402
from networks.toy import toy_data  # noqa: E402

SIZE = LEAST_SQUARES.sizes["small"]


def test_it_is_that_of_the_hessian_on_the_fixed_batch():
    got = train_run(
        LEAST_SQUARES, toy_data("packaged"), SIZE, "sgdm", NAMED["sgdm"], 0.05, 3, steps=4,
        schedules=Schedules(loss=1, sharpness=2),
    ).squeeze(drop=True)  # fmt: skip
    largest = np.linalg.eigvalsh(hessian_of(toy_data("packaged").fixed(16, 2)[0]))[-1]
    found = got["sharpness"].values
    assert np.isfinite(found).tolist() == [True, False, True, False, False]
    # The rounding of products of a batch of 16 is below 100 eps of single precision.
    rounding = 100 * float(np.finfo(np.float32).eps) * largest
    assert (abs(found[[0, 2]] - largest) < rounding).all()
    assert (got["sharpness_residual"].values[[0, 2]] < rounding).all()
