"""Contracts: what an optimizer, a model or a task must keep, so that everything here works on it.

`usable` raises where training would not do; it looks at shapes alone. The others, one function a
kind, run the same checks and slower ones: each gives a list of findings and never raises because of
what it checks.
"""

from attnscape.contracts._finding import Finding as Finding
from attnscape.contracts._telling import telling_callbacks as telling_callbacks
from attnscape.contracts._usable import usable as usable
from attnscape.contracts.law import check_law as check_law
from attnscape.contracts.law import check_response as check_response
from attnscape.contracts.model import check_model as check_model
from attnscape.contracts.optimizer import check_optimizer as check_optimizer
from attnscape.contracts.task import check_task as check_task
