"""Optimizers: named ones, users' optimizers by reference, and their common contract.

    from attnscape.optimizers import adam, sgdm

A factory maps a learning rate to an optax transformation. An optimizer that JAX cannot trace, such
as one of PyTorch's, is an `ExternalOptimizer`.
"""

from attnscape.optimizers.named import NAMED as NAMED
from attnscape.optimizers.named import PAPER as PAPER
from attnscape.optimizers.named import adafactor as adafactor
from attnscape.optimizers.named import adagrad as adagrad
from attnscape.optimizers.named import adam as adam
from attnscape.optimizers.named import adamw as adamw
from attnscape.optimizers.named import ademamix as ademamix
from attnscape.optimizers.named import check_learning_rate as check_learning_rate
from attnscape.optimizers.named import lamb as lamb
from attnscape.optimizers.named import lion as lion
from attnscape.optimizers.named import muon as muon
from attnscape.optimizers.named import nadam as nadam
from attnscape.optimizers.named import nesterov as nesterov
from attnscape.optimizers.named import normalised as normalised
from attnscape.optimizers.named import prodigy as prodigy
from attnscape.optimizers.named import rmsprop as rmsprop
from attnscape.optimizers.named import schedule_free as schedule_free
from attnscape.optimizers.named import schedule_free_adamw as schedule_free_adamw
from attnscape.optimizers.named import sgd as sgd
from attnscape.optimizers.named import sgdm as sgdm
from attnscape.optimizers.named import sign as sign
from attnscape.optimizers.named import signum as signum
from attnscape.optimizers.named import sophia as sophia
from attnscape.optimizers.transformations import ExternalOptimizer as ExternalOptimizer
from attnscape.optimizers.transformations import ExternalRun as ExternalRun
from attnscape.optimizers.transformations import Factory as Factory
from attnscape.optimizers.transformations import LossAndGradient as LossAndGradient
from attnscape.optimizers.transformations import OptaxFactory as OptaxFactory
from attnscape.optimizers.transformations import Preconditioned as Preconditioned
from attnscape.optimizers.transformations import Transformation as Transformation
from attnscape.optimizers.transformations import WithEvalParams as WithEvalParams
from attnscape.optimizers.transformations import accepting as accepting
from attnscape.optimizers.transformations import clipped as clipped
from attnscape.optimizers.transformations import update_keywords as update_keywords
