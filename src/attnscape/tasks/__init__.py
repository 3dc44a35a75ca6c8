"""Tasks: distributions of prompts, made of covariates, weights, a response, noise and a loss."""

from attnscape.tasks._normals import derived_key as derived_key
from attnscape.tasks._table_file import read_table as read_table
from attnscape.tasks.covariates import Gaussian as Gaussian
from attnscape.tasks.covariates import OneHot as OneHot
from attnscape.tasks.covariates import Radial as Radial
from attnscape.tasks.covariates import Sphere as Sphere
from attnscape.tasks.fixed import FixedPrompts as FixedPrompts
from attnscape.tasks.integrated import IntegratedPrompts as IntegratedPrompts
from attnscape.tasks.losses import AbsoluteError as AbsoluteError
from attnscape.tasks.losses import Huber as Huber
from attnscape.tasks.losses import Logistic as Logistic
from attnscape.tasks.losses import SquaredError as SquaredError
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
from attnscape.tasks.with_loss import Thresholded as Thresholded
from attnscape.tasks.with_loss import WithLoss as WithLoss
from attnscape.tasks.with_loss import innermost as innermost
from attnscape.tasks.with_loss import loss_of as loss_of
