"""Contracts: what an optimizer, a model or a task must keep, so that everything here works on it.

One function a kind; each gives a list of findings and never raises because of what it checks.
"""

from attnscape.contracts._finding import Finding as Finding
from attnscape.contracts.model import check_model as check_model
from attnscape.contracts.optimizer import check_optimizer as check_optimizer
from attnscape.contracts.task import check_task as check_task
