"""Real networks beside the linear model: workloads, their training, and what they must keep.

A `Workload` is a network with its data, loss and metric. `train_workload` trains it with any
optimizer of the engine or of PyTorch; the Dataset has the dims of `attnscape.train`.
`NetworkNoise` measures gradient noise at the initial weights, and `layer_condition_numbers` gives
the curvature of each layer from what a training has measured.
"""

import importlib.util

if importlib.util.find_spec("torch") is None:
    raise ImportError(
        "PyTorch is not installed, but attnscape.networks trains PyTorch modules; install the "
        "extra with pip install 'attnscape[networks]'.",
        name="torch",
    )

from attnscape.networks.contract import check_workload as check_workload
from attnscape.networks.curvature import layer_condition_numbers as layer_condition_numbers
from attnscape.networks.grid import combined as combined
from attnscape.networks.grid import train_workload as train_workload
from attnscape.networks.noise import NetworkNoise as NetworkNoise
from attnscape.networks.run import NetworkRun as NetworkRun
from attnscape.networks.training import Schedules as Schedules
from attnscape.networks.training import train_run as train_run
from attnscape.networks.workload import Data as Data
from attnscape.networks.workload import Metric as Metric
from attnscape.networks.workload import Size as Size
from attnscape.networks.workload import Workload as Workload
from attnscape.networks.workloads import WORKLOADS as WORKLOADS
