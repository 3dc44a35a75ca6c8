"""Identities of results: parts are identified by the programs they become, not by their source.

Built-in parts are identified by their fields and by the version `NUMBERS`. User's parts are traced
by JAX as the engine traces them (over seeds and learning rates, in the same precisions and on the
same shapes), and identified by the operations and constants of the program. Code that a trace
cannot see (callbacks, PyTorch) is identified by the contents of its files when they were loaded,
and by the versions of packages. A result that depends on more than that, such as on the environment
or the time, is never found again. Settings that change numbers are part of the identity: see the
table in `attnscape.identity._settings`.
"""

from attnscape.identity._built_in import is_built_in as is_built_in
from attnscape.identity._identity import Identity as Identity
from attnscape.identity._identity import NotFoundAgainWarning as NotFoundAgainWarning
from attnscape.identity._identity import with_reasons as with_reasons
from attnscape.identity._measures import of_measure as of_measure
from attnscape.identity._models import of_model as of_model
from attnscape.identity._optimizers import of_module_optimizer as of_module_optimizer
from attnscape.identity._optimizers import of_optimizer as of_optimizer
from attnscape.identity._program import Program as Program
from attnscape.identity._program import program as program
from attnscape.identity._settings import NUMBERS as NUMBERS
from attnscape.identity._settings import OPTIMIZER_NUMBERS as OPTIMIZER_NUMBERS
from attnscape.identity._settings import settings as settings
from attnscape.identity._sources import pinned_by as pinned_by
from attnscape.identity._stage import Stage as Stage
from attnscape.identity._tasks import check_draws as check_draws
from attnscape.identity._tasks import of_task as of_task
from attnscape.identity._versions import version as version
