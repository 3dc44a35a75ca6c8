"""Optimizers: named ones, users' optimizers by reference, and their common contract.

    from attnscape.optimizers import adam, sgdm

A factory maps a learning rate to an optax transformation. An optimizer that JAX cannot trace, such
as one of PyTorch's, is an `ExternalOptimizer`.
"""

from attnscape.optimizers.adaptive import adafactor as adafactor
from attnscape.optimizers.adaptive import adagrad as adagrad
from attnscape.optimizers.adaptive import adam as adam
from attnscape.optimizers.adaptive import adamw as adamw
from attnscape.optimizers.adaptive import ademamix as ademamix
from attnscape.optimizers.adaptive import lamb as lamb
from attnscape.optimizers.adaptive import nadam as nadam
from attnscape.optimizers.adaptive import preconditioned_by_adam as preconditioned_by_adam
from attnscape.optimizers.adaptive import prodigy as prodigy
from attnscape.optimizers.adaptive import rmsprop as rmsprop
from attnscape.optimizers.adaptive import schedule_free_adamw as schedule_free_adamw
from attnscape.optimizers.clipping import clipped as clipped
from attnscape.optimizers.momentum import lion as lion
from attnscape.optimizers.momentum import muon as muon
from attnscape.optimizers.momentum import nesterov as nesterov
from attnscape.optimizers.momentum import normalised as normalised
from attnscape.optimizers.momentum import schedule_free as schedule_free
from attnscape.optimizers.momentum import sgd as sgd
from attnscape.optimizers.momentum import sgdm as sgdm
from attnscape.optimizers.momentum import sign as sign
from attnscape.optimizers.momentum import signum as signum
from attnscape.optimizers.momentum import sophia as sophia
from attnscape.optimizers.named import NAMED as NAMED
from attnscape.optimizers.named import PAPER as PAPER
from attnscape.optimizers.named import check_learning_rate as check_learning_rate
from attnscape.optimizers.second_order import gauss_newton as gauss_newton
from attnscape.optimizers.second_order import newton as newton
from attnscape.optimizers.transformations import ExternalOptimizer as ExternalOptimizer
from attnscape.optimizers.transformations import ExternalRun as ExternalRun
from attnscape.optimizers.transformations import Factory as Factory
from attnscape.optimizers.transformations import LossAndGradient as LossAndGradient
from attnscape.optimizers.transformations import OptaxFactory as OptaxFactory
from attnscape.optimizers.transformations import Preconditioned as Preconditioned
from attnscape.optimizers.transformations import ResumableRun as ResumableRun
from attnscape.optimizers.transformations import Transformation as Transformation
from attnscape.optimizers.transformations import WithEvalParams as WithEvalParams
from attnscape.optimizers.transformations import accepting as accepting
from attnscape.optimizers.transformations import keywords_of_step as keywords_of_step
from attnscape.optimizers.transformations import update_keywords as update_keywords
