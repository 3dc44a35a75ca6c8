from . import bench as bench
from . import measures as measures
from . import models as models
from . import objective as objective
from . import optimizers as optimizers
from . import paper as paper
from . import statistics as statistics
from . import tasks as tasks
from . import training as training
from .bench import rank as rank
from .experiments.experiment import Experiment as Experiment
from .experiments.store import load as load
from .experiments.store import save as save
from .models import AttentionTransformer as AttentionTransformer
from .models import LinearTransformer as LinearTransformer
from .objective import hessian as hessian
from .objective import hvp as hvp
from .objective import loss as loss
from .objective import value_and_grad as value_and_grad
from .tasks import Moments as Moments
from .tasks import Prompts as Prompts
from .tasks import RegressionTask as RegressionTask
from .training import train as train

__version__: str
