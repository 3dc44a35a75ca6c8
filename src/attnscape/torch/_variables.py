"""What a probe measures: names, long names and dims."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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


class Records(dict[int, Record]):
    """The measurements of a probe by step."""

    def variables(self) -> dict[str, tuple[tuple[str, ...], np.ndarray, dict[str, str]]]:
        """What was measured, each along the dim step; NaN if a number was not measured."""
        variables = {}
        for name, (long_name, dims) in VARIABLES.items():
            found = {s: np.asarray(r[name]) for s, r in self.items() if name in r}
            if found:
                missing = np.full_like(next(iter(found.values())), np.nan, dtype=np.float64)
                values = np.stack([found.get(step, missing) for step in self])
                variables[name] = (("step", *dims), values, {"long_name": long_name})
        return variables

    def plain(self) -> dict[str, Any]:
        """The records as plain values, with one array for all steps."""
        steps = {name: [s for s, r in self.items() if name in r] for name in VARIABLES}
        return {
            "steps": list(self),
            "values": {
                name: {"steps": of, "numbers": np.stack([np.asarray(self[s][name]) for s in of])}
                for name, of in steps.items()
                if of
            },
        }

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> Records:
        """The records that `plain` has returned."""
        records = cls({step: {} for step in plain["steps"]})
        for name, found in plain["values"].items():
            for step, numbers in zip(found["steps"], found["numbers"], strict=True):
                records[step][name] = numbers
        return records
