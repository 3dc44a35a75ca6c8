"""The registry of measures by name, and measures written as texts: `curvature:every=250`."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from attnscape import loading
from attnscape.errors import UsageError
from attnscape.measures._attention import AttentionScores
from attnscape.measures._batch_sharpness import BatchSharpness
from attnscape.measures._block_smoothness import BlockSmoothness
from attnscape.measures._curvature import Curvature
from attnscape.measures._eigenvectors import TopEigenvectors
from attnscape.measures._gauss_newton import GaussNewton
from attnscape.measures._heterogeneity import BlockHeterogeneity
from attnscape.measures._line import LossAlongStep
from attnscape.measures._loss import EvaluationLoss, LargeBatchLoss, TrainingLoss
from attnscape.measures._measure import Measure
from attnscape.measures._noise import GradientNoise
from attnscape.measures._noise_scale import NoiseScale
from attnscape.measures._parameters import Parameters
from attnscape.measures._schedule import Schedule
from attnscape.measures._smoothness import DirectionalSmoothness, PseudoStepSmoothness

NAMED_MEASURES: Mapping[str, type[Measure]] = MappingProxyType(
    {
        "loss": EvaluationLoss,
        "training-loss": TrainingLoss,
        "large-batch-loss": LargeBatchLoss,
        "smoothness": DirectionalSmoothness,
        "pseudo-smoothness": PseudoStepSmoothness,
        "curvature": Curvature,
        "gauss-newton": GaussNewton,
        "eigenvectors": TopEigenvectors,
        "block-heterogeneity": BlockHeterogeneity,
        "block-smoothness": BlockSmoothness,
        "loss-along-step": LossAlongStep,
        "batch-sharpness": BatchSharpness,
        "noise": GradientNoise,
        "noise-scale": NoiseScale,
        "parameters": Parameters,
        "attention-scores": AttentionScores,
    }
)

# The keys that say when, and the field of `Schedule` that each of them fills.
_WHEN = {"every": "every", "at": "steps", "log_spaced": "log_spaced"}
_WHEN_TYPES = {"every": int, "at": tuple[int, ...], "log_spaced": int}


def get_measure(text: str) -> Measure:
    """The measure that a text describes: `name`, or `name:key=value,key=value`.

    The name is one of `NAMED_MEASURES`, or a reference `my_file.py:Class` to a measure of your own.
    The keys `every`, `at` (steps, separated by commas) and `log_spaced` make its schedule, and
    replace the default; all other keys are fields of the class.

    Raises:
        UsageError: If there is no such measure or field, or a value does not suit the field.

    Examples:
        >>> from attnscape.measures import get_measure
        >>> get_measure("noise:at=0,500,samples=1000").schedule.within(1000)
        (0, 500)
        >>> get_measure("curvature:evry=250")
        Traceback (most recent call last):
            ...
        attnscape.errors.UsageError: curvature has no field 'evry'; it has evaluations, every, at
        and log_spaced.
    """
    name, words = loading.split_fields(text)
    if name in NAMED_MEASURES:
        thing: Any = NAMED_MEASURES[name]
    elif name.partition(":")[0] in NAMED_MEASURES:
        raise UsageError(f"{text!r} cannot be read; write fields as key=value after the colon.")
    elif loading.is_reference(name):
        thing = loading.load_object(name)
    else:
        raise UsageError(
            f"There is no measure {name!r}; there are {', '.join(NAMED_MEASURES)}, and your own as "
            "my_file.py:Class; fields follow a colon, as in curvature:every=250."
        )
    kind = _kind_of(thing)
    taken = sorted({field.name for field in dataclasses.fields(kind)} & _WHEN.keys())
    if taken:
        raise UsageError(
            f"{name} has a field {taken[0]}, a word that says when a measure is evaluated; give "
            "the field another name."
        )
    values = loading.read_fields(name, kind, words, replaced={"schedule": _WHEN_TYPES})
    when = {_WHEN[key]: values.pop(key) for key in _WHEN if key in values}
    if when:
        values["schedule"] = Schedule(**when)
    return as_measure(thing, **values)


def as_measure(thing: object, **values: object) -> Measure:
    """A measure from its class, or from an instance, with these fields.

    Raises:
        UsageError: If it is neither, a method is missing, a field has neither a value nor a
            default, or the class refuses the values.

    Examples:
        >>> from attnscape.measures import EvaluationLoss, as_measure
        >>> as_measure(EvaluationLoss) == as_measure(EvaluationLoss())
        True
    """
    kind = _kind_of(thing)
    instance: Any = thing
    made: Any = kind if thing is kind else functools.partial(dataclasses.replace, instance)
    if missing := sorted(kind.__abstractmethods__):
        raise UsageError(
            f"{kind.__name__} has no method {' and no '.join(missing)}; a measure has __call__ and "
            "variables, as in docs/tutorials/your_measure.py."
        )
    for field in dataclasses.fields(kind):
        default = field.default, field.default_factory
        lacking = field.init and field.name not in values and set(default) == {dataclasses.MISSING}
        if lacking and made is kind:
            raise UsageError(f"{kind.__name__} has no value for {field.name}; give it a default.")
    try:
        return made(**values)
    except UsageError:
        raise
    except Exception as error:  # of a user's class
        raise UsageError(
            f"{kind.__name__} cannot be made ({loading.format_user_error(error)}); give it fields "
            "that it takes."
        ) from error


def _kind_of(thing: object) -> Any:
    """The class of a measure; raises UsageError if it is none."""
    kind = thing if isinstance(thing, type) else type(thing)
    is_frozen = dataclasses.is_dataclass(kind) and kind.__hash__ is not None
    if not (issubclass(kind, Measure) and is_frozen):
        raise UsageError(
            f"{thing!r} is no measure; it must be a frozen dataclass that is a subclass of "
            "attnscape.measures.Measure, or an instance of one."
        )
    return kind
