"""Steppers advance runs: all at once in one compiled loop, or one after the other outside of JAX.

Both steppers implement the protocol `Stepper` and share the `Problem` (loss, prompts, clipping).
The `Sampler` draws the prompts or moments that a model needs.
"""

from attnscape.steppers._compiled import CompiledStepper as CompiledStepper
from attnscape.steppers._external import ExternalStepper as ExternalStepper
from attnscape.steppers._one_matrix import decomposes as decomposes
from attnscape.steppers._one_matrix import one_matrix_at_a_time as one_matrix_at_a_time
from attnscape.steppers._problem import Group as Group
from attnscape.steppers._problem import Problem as Problem
from attnscape.steppers._problem import Runs as Runs
from attnscape.steppers._problem import Stepper as Stepper
from attnscape.steppers._sampler import Sampler as Sampler
