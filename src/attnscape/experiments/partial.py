"""What was measured so far of a run under way, read from its checkpoints."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import xarray as xr

from attnscape.errors import UsageError
from attnscape.experiments import checkpoints
from attnscape.training import assemble_so_far
from attnscape.training.provenance import SCHEMA_VERSION
from attnscape.trees import Plain


def load_so_far(path: Path) -> xr.Dataset:
    """The measures so far of the run whose result will have this path; NaN where there are none.

    Variables of which nothing was measured are left out. The status of runs that have not ended is
    `under_way`, or `not_run` where their seed has not begun. Its attributes say `partial_of`
    instead of `run_id`, so that it is never taken for the result.

    Raises:
        UsageError: If there is no checkpoint of such a run, or none that shows its measures.
    """
    found = re.search(r"-([0-9a-f]{16})\.nc$", path.name)
    saved = checkpoints.read_folder(path.parent / checkpoints.FOLDER / found[1]) if found else []
    if not saved:
        raise UsageError(
            f"There is neither a result file {path} nor a checkpoint of it; `attnscape status` "
            "lists what is under way."
        )
    if saved[0].plan.get("outline") is None:
        raise UsageError(f"The checkpoints of {path} do not show its measures; let it finish.")
    states = dict[str, Plain]()
    for each in reversed(saved):
        if each.head == saved[0].head:  # those of other versions are not used
            states |= each.states
    try:
        so_far = _assembled(saved[0].plan["outline"], states)
        about = {key: str(saved[0].about[key]) for key in ("name", "spec")}
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(
            f"The checkpoints of {path} cannot be read ({error!r}): another version of attnscape, "
            "or another program, wrote them; let the run finish."
        ) from error
    return so_far.assign_attrs(
        about, partial_of=saved[0].head["run_id"], schema_version=SCHEMA_VERSION
    )


def _assembled(outline: Plain, states: Mapping[str, Plain]) -> xr.Dataset:
    if "layout" in outline:
        return assemble_so_far(outline, states)
    from attnscape.networks.so_far import dataset_so_far  # needs PyTorch

    return dataset_so_far(outline, states)
