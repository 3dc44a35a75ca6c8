"""What tells results apart: the programs that parts become, not how they are written.

Attnscape's own parts are identified by what they declare and by the version of its numbers. All
else is traced by JAX as the engine traces it, and identified by the operations and constants of the
program (`program`). What a trace cannot see (callbacks, PyTorch) is identified by the files that
it was loaded from, as they were then, and by the versions of packages. What depends on more than
that, such as the environment or the time, is never found again. Settings that change numbers are
part of it: see the table in `attnscape.identity._settings`.
"""

from attnscape.identity._own import is_own as is_own
from attnscape.identity._parts import Identity as Identity
from attnscape.identity._parts import NotFoundAgainWarning as NotFoundAgainWarning
from attnscape.identity._parts import Stage as Stage
from attnscape.identity._parts import check_draws as check_draws
from attnscape.identity._parts import of_measure as of_measure
from attnscape.identity._parts import of_model as of_model
from attnscape.identity._parts import of_optimizer as of_optimizer
from attnscape.identity._parts import of_task as of_task
from attnscape.identity._program import Program as Program
from attnscape.identity._program import program as program
from attnscape.identity._settings import NUMBERS as NUMBERS
from attnscape.identity._settings import settings as settings
