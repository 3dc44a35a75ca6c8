"""The bench: compares optimizers on a suite of settings, each at its best learning rate."""

from attnscape.bench.artifact import Bench as Bench
from attnscape.bench.artifact import BenchAnalysis as BenchAnalysis
from attnscape.bench.entries import Combination as Combination
from attnscape.bench.entries import Entry as Entry
from attnscape.bench.ranking import rank as rank
from attnscape.bench.suite import BASELINES as BASELINES
from attnscape.bench.suite import DEFAULT as DEFAULT
from attnscape.bench.suite import SUITE as SUITE
from attnscape.bench.suite import OwnSetting as OwnSetting
from attnscape.bench.suite import own_setting as own_setting
