"""Estimators: functions from arrays to numbers with intervals.

This room holds the statistics used by artifacts and claims: intervals of means, medians and shares,
over seeds alone or over seeds and evaluation batches; comparisons in which divergence counts;
ratios and differences paired over seeds; exact tests; q-q coordinates against normal and
norm-of-Gaussian references; tail weight (excess kurtosis, Hill's index, exceedances); robust
condition numbers; (L0, L1)-smoothness fits; and distances, angles and overlaps along paths of
parameters. It does not depend on runs or models and needs only numpy and scipy. Results are
deterministic: every function that resamples takes a seed.
"""

from attnscape.statistics._bootstrap import bootstrap as bootstrap
from attnscape.statistics._chi import ScaledChi as ScaledChi
from attnscape.statistics._chi import norm_of_gaussian_fit as norm_of_gaussian_fit
from attnscape.statistics._comparisons import PairedComparison as PairedComparison
from attnscape.statistics._comparisons import UnpairedComparison as UnpairedComparison
from attnscape.statistics._comparisons import paired_comparison as paired_comparison
from attnscape.statistics._comparisons import unpaired_comparison as unpaired_comparison
from attnscape.statistics._condition import CONDITION_NUMBERS as CONDITION_NUMBERS
from attnscape.statistics._condition import PUBLIC_CODE as PUBLIC_CODE
from attnscape.statistics._condition import ConditionNumber as ConditionNumber
from attnscape.statistics._condition import block_condition_numbers as block_condition_numbers
from attnscape.statistics._condition import condition_number as condition_number
from attnscape.statistics._condition import dead_parameters as dead_parameters
from attnscape.statistics._condition import negative_eigenvalues as negative_eigenvalues
from attnscape.statistics._condition import sharpness as sharpness
from attnscape.statistics._crossed import Crossed as Crossed
from attnscape.statistics._crossed import crossed as crossed
from attnscape.statistics._crossed import crossed_difference as crossed_difference
from attnscape.statistics._crossed_coverage import Coverage as Coverage
from attnscape.statistics._crossed_coverage import crossed_coverage as crossed_coverage
from attnscape.statistics._differences import PairedDifference as PairedDifference
from attnscape.statistics._differences import paired_difference as paired_difference
from attnscape.statistics._envelope import Line as Line
from attnscape.statistics._envelope import SmoothnessFit as SmoothnessFit
from attnscape.statistics._envelope import fit_smoothness as fit_smoothness
from attnscape.statistics._exact import median as median
from attnscape.statistics._exact import proportion as proportion
from attnscape.statistics._hill import HillPlot as HillPlot
from attnscape.statistics._hill import HillTail as HillTail
from attnscape.statistics._hill import hill as hill
from attnscape.statistics._hill import hill_plot as hill_plot
from attnscape.statistics._interval import FEWEST as FEWEST
from attnscape.statistics._interval import Interval as Interval
from attnscape.statistics._interval import no_interval as no_interval
from attnscape.statistics._means import geometric_mean as geometric_mean
from attnscape.statistics._means import mean_interval as mean_interval
from attnscape.statistics._norms import GaussianNorm as GaussianNorm
from attnscape.statistics._paths import displacement_angles as displacement_angles
from attnscape.statistics._paths import distance_from_start as distance_from_start
from attnscape.statistics._paths import subspace_overlap as subspace_overlap
from attnscape.statistics._quantiles import QQ as QQ
from attnscape.statistics._quantiles import fitted_norm_qq as fitted_norm_qq
from attnscape.statistics._quantiles import gaussian_norm_qq as gaussian_norm_qq
from attnscape.statistics._quantiles import normal_qq as normal_qq
from attnscape.statistics._quantiles import plotting_positions as plotting_positions
from attnscape.statistics._rank_correlation import RankCorrelation as RankCorrelation
from attnscape.statistics._rank_correlation import rank_correlation as rank_correlation
from attnscape.statistics._ratios import PairedRatio as PairedRatio
from attnscape.statistics._ratios import paired_ratio as paired_ratio
from attnscape.statistics._significance import permutation_test as permutation_test
from attnscape.statistics._significance import sign_test as sign_test
from attnscape.statistics._similarity import Closeness as Closeness
from attnscape.statistics._similarity import closer_to as closer_to
from attnscape.statistics._tail_weight import FourthMoment as FourthMoment
from attnscape.statistics._tail_weight import TailExcess as TailExcess
from attnscape.statistics._tail_weight import excess_kurtosis as excess_kurtosis
from attnscape.statistics._tail_weight import fourth_moment as fourth_moment
from attnscape.statistics._tail_weight import tail_excess as tail_excess
from attnscape.statistics._trend import Trend as Trend
from attnscape.statistics._trend import log_trend as log_trend
