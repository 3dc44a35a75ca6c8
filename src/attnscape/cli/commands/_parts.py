"""Makes task, model, distributions and learning rates from the texts on the command line."""

from __future__ import annotations

import ast
import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from attnscape import optimizers
from attnscape.cli._network_options import Networks
from attnscape.cli._options import Bench, Train
from attnscape.errors import UsageError
from attnscape.loading import is_reference, load_object
from attnscape.models import LinearTransformer, ModelFactory, as_model
from attnscape.optimizers.references import read_options, split
from attnscape.tasks import (
    FixedPrompts,
    Gaussian,
    Huber,
    Linear,
    OneHot,
    Radial,
    RegressionTask,
    ReluNetwork,
    Sphere,
    SquaredError,
    Task,
    Thresholded,
    WithLoss,
    as_task,
    table_task,
)
from attnscape.tasks.losses import LOSSES, Loss
from attnscape.tasks.radius import radius_table


def task_of(options: Train) -> Task:
    task = _prompts_of(options)
    task = task if options.full_batch is None else FixedPrompts(task, options.full_batch)
    task = Thresholded(task) if options.threshold else task
    loss = loss_of(options.loss)
    return task if loss == SquaredError() else WithLoss(task, loss)


def loss_of(text: str) -> Loss:
    """The loss that a text such as `absolute`, `huber:delta=0.5` or `my_file.py:loss` names.

    Raises:
        UsageError: If there is no such loss, or its option cannot be read.
    """
    name, colon, option = text.partition(":")
    if name == "huber" and colon:
        key, _, number = option.partition("=")
        try:
            return Huber(**{key: float(number)})
        except (TypeError, ValueError) as error:
            if isinstance(error, UsageError):
                raise
            raise UsageError(f"--loss is {text!r}; write huber:delta=0.5.") from None
    return _part("--loss", text, LOSSES)


def _prompts_of(options: Train) -> Task:
    if options.task is not None:
        return as_task(load_object(options.task))
    fields: dict[str, Any] = {"context": options.context, "noise": options.noise}
    if options.target is None:
        fields["weights"] = _distribution("--weights", options.weights, options)
        fields["response"] = _part("--response", options.response, _RESPONSES)
    if options.table is not None:
        return table_task(options.table, options.target, **fields)
    covariates = _distribution("--covariates", options.covariates, options)
    return RegressionTask(dim=options.dim, covariates=covariates, **fields)


def model_of(options: Train, dim: int) -> ModelFactory:
    if options.model is not None:
        return as_model(load_object(options.model))
    return functools.partial(
        LinearTransformer.init,
        layers=options.layers,
        dim=dim,
        form=options.form,
        scale=options.scale,
    )


_RESPONSES: Mapping[str, Callable[[], Any]] = {"linear": Linear, "relu-network": ReluNetwork}


def _distribution(option: str, text: str, options: Train) -> Any:
    def radial() -> Radial:
        distribution = Radial(scipy_distribution(options.squared_radius))
        radius_table(distribution.squared_radius)  # refuses slow distributions early
        return distribution

    named = {"gaussian": Gaussian, "sphere": Sphere, "one-hot": OneHot, "radial": radial}
    return _part(option, text, named)


def _part(option: str, text: str, named: Mapping[str, Callable[[], Any]]) -> Any:
    """The built-in part with this name in `named`, or the user's part with this reference."""
    if is_reference(text):
        return load_object(text)
    if text not in named:
        raise UsageError(
            f"{option} is {text!r}; it must be {', '.join(named)}, or your own as my_file.py:thing."
        )
    return named[text]()


def scipy_distribution(text: str) -> Any:
    """The frozen distribution that a text such as `gamma(0.1, scale=10)` names.

    Raises:
        UsageError: If it is not a call of a scipy.stats distribution with plain numbers.
    """
    from scipy import stats  # imported here, as it takes half a second

    try:
        call = ast.parse(text.strip(), mode="eval").body
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name)):
            raise ValueError("it is not a call")
        distribution = getattr(stats, call.func.id, None)
        if not isinstance(distribution, stats.rv_continuous | stats.rv_discrete):
            raise ValueError(f"scipy.stats has no distribution {call.func.id!r}")
        arguments = [_number(argument) for argument in call.args]
        keywords = {str(k.arg): _number(k.value) for k in call.keywords}
        return distribution(*arguments, **keywords)
    except (SyntaxError, ValueError, TypeError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        reason = reason.removeprefix("_parse_args() ")  # scipy's internal function
        raise UsageError(
            f"The distribution {text!r} cannot be read ({reason}); write it as scipy.stats "
            "does, for example 'gamma(0.1, scale=10)'."
        ) from None


def _number(node: ast.expr) -> float:
    try:
        value = ast.literal_eval(node)
    except ValueError:
        value = node
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ValueError(f"{ast.unparse(node)} is not a plain number")
    return value


def with_schedule(references: Iterable[str], options: Train | Networks | Bench) -> list[str]:
    """References of optimizers, with the command's schedule and weight decay behind an @.

    Raises:
        UsageError: If they cannot be read, or a reference has some of its own.
    """
    parts = [] if options.weight_decay is None else [f"weight_decay={options.weight_decay}"]
    if options.schedule is not None:
        between = "," if ":" in options.schedule else ":"
        parts = [between.join([options.schedule, *parts])]
    if not parts:
        return list(references)
    (behind,) = parts
    read_options(behind)
    for reference in references:
        if split(reference)[1]:
            raise UsageError(
                f"{reference} has a schedule or weight decay of its own, but --schedule and "
                "--weight-decay give one to all; leave one of them out."
            )
    return [f"{reference}@{behind}" for reference in references]


def batch_sizes(options: Train) -> tuple[int, ...]:
    """The batch sizes to train with; the full batch is the last."""
    if options.full_batch is None:
        return options.batch or (1000,)
    return (*options.batch, options.full_batch)


def learning_rates(texts: tuple[str, ...], names: tuple[str, ...]) -> dict[str, tuple[float, ...]]:
    """Learning rates per optimizer from texts such as `0.02` (for all) or `sgdm=0.02,0.05`.

    What is given for `adam` is for every `adam@...`, unless there is a plain one.

    Raises:
        UsageError: If a text cannot be read or names an optimizer that is not among `names`.
    """
    rates: dict[str, list[float]] = {name: [] for name in names}
    for text in texts:
        name, equals, numbers = text.rpartition("=")
        owners = [each for each in names if each.partition("@")[0] == name]
        owners = [name] if name in names else owners if equals else names
        if not owners:
            raise UsageError(
                f"{text!r} gives rates for {name!r}, but the optimizers are {', '.join(names)}."
            )
        for number in numbers.split(","):
            try:
                rate = optimizers.check_learning_rate(float(number))
            except ValueError as error:
                if isinstance(error, UsageError):
                    raise
                raise UsageError(
                    f"The learning rate {number!r} is not a number; write 0.02 or sgdm=0.02,0.05."
                ) from None
            for owner in owners:
                rates[owner].append(rate)
    for name, given in rates.items():
        if not given:
            raise UsageError(f"No learning rate was given for {name}; add {name}=0.02.")
    return {name: tuple(given) for name, given in rates.items()}
