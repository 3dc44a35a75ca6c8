"""Tasks: distributions of prompts, composed of covariates, weights, a response and noise."""

from attnscape.tasks._normals import derived_key as derived_key
from attnscape.tasks._table_file import read_table as read_table
from attnscape.tasks.covariates import Gaussian as Gaussian
from attnscape.tasks.covariates import Radial as Radial
from attnscape.tasks.covariates import Sphere as Sphere
from attnscape.tasks.fixed import FixedPrompts as FixedPrompts
from attnscape.tasks.prompts import Moments as Moments
from attnscape.tasks.prompts import Prompts as Prompts
from attnscape.tasks.protocol import Task as Task
from attnscape.tasks.protocol import as_task as as_task
from attnscape.tasks.regression import RegressionTask as RegressionTask
from attnscape.tasks.responses import Linear as Linear
from attnscape.tasks.responses import ReluNetwork as ReluNetwork
from attnscape.tasks.table import Empirical as Empirical
from attnscape.tasks.table import TableTask as TableTask
from attnscape.tasks.table import table_task as table_task
