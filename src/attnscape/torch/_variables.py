"""What a probe measures: names, long names and dims."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

# For each number: its long name in the Dataset, and its dims in addition to step. The names are the
# same as in `attnscape.measures`.
VARIABLES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "loss": ("loss on the evaluation batch", ()),
    "evaluation_gradient_norm": ("norm of the gradient on the evaluation batch", ()),
    "directional_smoothness": ("directional smoothness of the step", ()),
    "gradient_difference_smoothness": ("change of the gradient along half the step, by length", ()),
    "update_norm": ("norm of the step", ()),
    "pseudo_smoothness": ("directional smoothness of a pseudo-step", ("pseudo_optimizer",)),
    "noise_norm": ("norm of a batch's gradient minus the mean over batches", ("sample",)),
    "condition_number": ("robust condition number", ()),
    "condition_number_low": ("lower end of its 95 % interval", ()),
    "condition_number_high": ("upper end of its 95 % interval", ()),
    "hessian_diagonal": ("diagonal of the Hessian", ("parameter",)),
    "hessian_diagonal_error": ("standard error of the Hessian's diagonal", ("parameter",)),
    "hessian_row_norm": ("norms of the Hessian's rows", ("parameter",)),
    "sharpness": ("largest eigenvalue of the Hessian", ()),
    "sharpness_residual": ("distance of an exact eigenvalue from it, at most", ()),
    "hessian_eigenvalues": ("eigenvalues of the Hessian", ("eigenvalue",)),
}

# The measurements of one step, by name: numbers, and arrays with the dims above.
Record = dict[str, float | Float[np.ndarray, " _"]]
