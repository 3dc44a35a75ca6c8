"""Tasks: distributions of prompts."""

from attnscape.tasks._normals import derived_key as derived_key
from attnscape.tasks.covariates import Gaussian as Gaussian
from attnscape.tasks.covariates import Radial as Radial
from attnscape.tasks.covariates import Sphere as Sphere
from attnscape.tasks.responses import Linear as Linear
from attnscape.tasks.responses import ReluNetwork as ReluNetwork
from attnscape.tasks.task import RegressionTask as RegressionTask
