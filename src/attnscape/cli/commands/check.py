"""`attnscape check`: tests whether a user's part keeps its contract."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from attnscape.cli._options import Check
from attnscape.errors import UsageError
from attnscape.loading import load_object, user_errors
from attnscape.optimizers.references import get_optimizer
from attnscape.validation import (
    CheckResult,
    check_distribution,
    check_loss,
    check_measure,
    check_model,
    check_optimizer,
    check_response,
    check_task,
)


def run(options: Check) -> None:
    """Checks a user's part against the contract of its kind and prints the findings.

    Raises:
        UsageError: If the part cannot be loaded, or does not keep the contract.
    """
    if options.reference.startswith("torch:"):
        raise UsageError(
            f"{options.reference} is PyTorch's; the contract is that of optax's transformations: "
            "try it with train or bench instead."
        )
    if options.task is not None and options.kind not in ("model", "measure"):
        raise UsageError(
            "--task says whose prompts a model or measure is checked on; leave it out here."
        )
    if options.model is not None and options.kind != "measure":
        raise UsageError("--model says what a measure is checked on; leave it out here.")
    load = get_optimizer if options.kind == "optimizer" else load_object  # with a schedule behind @
    thing = load(options.reference)
    others = {
        name: load_object(reference)
        for name in ("task", "model")
        if (reference := getattr(options, name)) is not None
    }
    with user_errors():
        findings = _CHECKS[options.kind](thing, **others)
    table = Table("check", "", "finding")
    for finding in findings:
        kept = "warning" if finding.warning else "ok"
        table.add_row(finding.check, kept if finding.ok else "FAILS", Text(finding.sentence))
    Console().print(table)
    failed = [finding.check for finding in findings if not finding.ok]
    if failed:
        article = "an" if options.kind == "optimizer" else "a"
        raise UsageError(
            f"{options.reference} does not keep the contract of {article} {options.kind}: "
            f"{', '.join(failed)}."
        )


def _check_workload(thing: Any) -> list[CheckResult]:
    try:
        from attnscape.networks import check_workload
    except ImportError as error:
        raise UsageError(str(error)) from None
    return check_workload(thing)


_CHECKS: Mapping[str, Callable[..., list[CheckResult]]] = {
    "optimizer": check_optimizer,
    "model": check_model,
    "task": check_task,
    "measure": check_measure,
    "distribution": check_distribution,
    "response": check_response,
    "loss": check_loss,
    "workload": _check_workload,
}
