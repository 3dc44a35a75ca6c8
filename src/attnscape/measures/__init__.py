"""Measures: quantities recorded along runs, each with a schedule.

A measure is a small object with a schedule and a call that returns named numbers for one run at one
iterate. The engine maps it over all runs. `Iterate.of` makes an iterate from given parameters.
"""

from attnscape.measures._attention import AttentionScores as AttentionScores
from attnscape.measures._batch_sharpness import BatchSharpness as BatchSharpness
from attnscape.measures._block_smoothness import BlockSmoothness as BlockSmoothness
from attnscape.measures._curvature import Curvature as Curvature
from attnscape.measures._eigenvectors import TopEigenvectors as TopEigenvectors
from attnscape.measures._gauss_newton import GaussNewton as GaussNewton
from attnscape.measures._heterogeneity import BlockHeterogeneity as BlockHeterogeneity
from attnscape.measures._line import LossAlongStep as LossAlongStep
from attnscape.measures._line import loss_along_line as loss_along_line
from attnscape.measures._loss import EvaluationLoss as EvaluationLoss
from attnscape.measures._loss import LargeBatchLoss as LargeBatchLoss
from attnscape.measures._loss import TrainingLoss as TrainingLoss
from attnscape.measures._measure import Iterate as Iterate
from attnscape.measures._measure import Measure as Measure
from attnscape.measures._measure import Variable as Variable
from attnscape.measures._measure import check_measures as check_measures
from attnscape.measures._measure import quantity_of as quantity_of
from attnscape.measures._noise import GradientNoise as GradientNoise
from attnscape.measures._noise_scale import NoiseScale as NoiseScale
from attnscape.measures._parameters import Parameters as Parameters
from attnscape.measures._schedule import Schedule as Schedule
from attnscape.measures._schedule import at as at
from attnscape.measures._schedule import every as every
from attnscape.measures._schedule import log_spaced as log_spaced
from attnscape.measures._smoothness import DirectionalSmoothness as DirectionalSmoothness
from attnscape.measures._smoothness import PseudoStepSmoothness as PseudoStepSmoothness
from attnscape.measures.named import NAMED_MEASURES as NAMED_MEASURES
from attnscape.measures.named import as_measure as as_measure
from attnscape.measures.named import get_measure as get_measure
