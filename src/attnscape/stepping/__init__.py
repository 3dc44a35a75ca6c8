"""How runs are stepped: compiled all at once for optax, one after the other outside of JAX.

Both kinds share the problem (initial models, prompts, clipping) and the contract of `Stepping`.
"""

from attnscape.stepping._inside import Inside as Inside
from attnscape.stepping._outside import OutsideJax as OutsideJax
from attnscape.stepping._problem import Group as Group
from attnscape.stepping._problem import Problem as Problem
from attnscape.stepping._problem import Runs as Runs
from attnscape.stepping._problem import Stepping as Stepping
