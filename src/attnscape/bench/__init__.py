"""The bench: optimizers against each other on a suite of settings, each at its best rate."""

from attnscape.bench.artifact import Bench as Bench
from attnscape.bench.artifact import Entry as Entry
from attnscape.bench.suite import BASELINES as BASELINES
from attnscape.bench.suite import DEFAULT as DEFAULT
from attnscape.bench.suite import SUITE as SUITE
