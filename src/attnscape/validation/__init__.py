"""Validation: checks that a user's optimizer, model or task keeps its contract.

`check_parts` runs quick checks before training and raises if training would fail; it traces shapes
only. `check_optimizer`, `check_model`, `check_task`, `check_measure`, `check_distribution`,
`check_response` and `check_loss` run the same checks and slower ones. They return a list of
`CheckResult` and never raise because of the part they check.
"""

from attnscape.validation._errors import callback_errors as callback_errors
from attnscape.validation._quick import check_parts as check_parts
from attnscape.validation._result import CheckResult as CheckResult
from attnscape.validation.distribution import check_distribution as check_distribution
from attnscape.validation.distribution import check_response as check_response
from attnscape.validation.loss import check_loss as check_loss
from attnscape.validation.measure import check_measure as check_measure
from attnscape.validation.model import check_model as check_model
from attnscape.validation.optimizer import check_optimizer as check_optimizer
from attnscape.validation.task import check_task as check_task
