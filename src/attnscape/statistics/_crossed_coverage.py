"""The coverage of the interval of `crossed`, measured on stored values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtrit

from attnscape.statistics._check import at_least, fraction
from attnscape.statistics._crossed import as_table, components_of
from attnscape.statistics._interval import FEWEST


@dataclass(frozen=True)
class Coverage:
    """The coverage of an interval in a simulation.

    Attributes:
        share: Share of the trials in which the interval contained the truth.
        standard_error: Binomial Monte Carlo error of the share.
        trials: Number of simulated tables.

    Examples:
        >>> from attnscape.statistics import Coverage
        >>> print(Coverage(share=0.95, standard_error=(0.95 * 0.05 / 1900) ** 0.5, trials=1900))
        95.0% +- 0.5% of 1900
    """

    share: float
    standard_error: float
    trials: int

    def __str__(self) -> str:
        return f"{self.share:.1%} +- {self.standard_error:.1%} of {self.trials}"


def crossed_coverage(
    values: ArrayLike,
    *,
    seeds: int,
    evaluations: int,
    level: float = 0.95,
    trials: int = 4000,
    seed: int = 0,
) -> Coverage:
    """Coverage of `crossed` on stored values: how often its interval contains their mean.

    Each trial draws `seeds` rows and `evaluations` columns of the table with replacement, as Owen's
    pigeonhole bootstrap does (Annals of Applied Statistics 1, 2007). The table is thus the
    population, and its mean is the truth.

    Args:
        values: (rows, columns), a large table such as 100 seeds by 8 batches; rows with values
            that are not finite are ignored.
        seeds: Rows per trial.
        evaluations: Columns per trial.
        level: Nominal coverage.
        trials: Number of trials.
        seed: Seed of the resampling.

    Raises:
        ValueError: If `values` is not two-dimensional, no row is finite, `level` is not between 0
            and 1, or there are fewer than 5 seeds or evaluations per trial.

    Examples:
        >>> import numpy as np
        >>> from attnscape.statistics import crossed_coverage
        >>> values = np.random.default_rng(0).normal(size=(100, 50))
        >>> crossed_coverage(values, seeds=6, evaluations=8, trials=500).share > 0.9
        True
    """
    level, table = fraction("level", level), as_table(values)
    seeds, evaluations = at_least("seeds", seeds, FEWEST), at_least("evaluations", evaluations, 5)
    trials = at_least("trials", trials, 1)
    table = table[np.isfinite(table).all(axis=1)]
    if table.size == 0:
        raise ValueError("values has no row of finite values; there is nothing to resample.")
    rng, hits = np.random.default_rng(seed), 0
    batch = max(1, 2**22 // (seeds * evaluations))  # bounds memory at some 200 MB
    for start in range(0, trials, batch):
        size = min(batch, trials - start)
        rows = rng.integers(0, table.shape[0], (size, seeds, 1))
        columns = rng.integers(0, table.shape[1], (size, 1, evaluations))
        drawn = table[rows, columns]
        variance, _, freedom = components_of(drawn)
        half = stdtrit(freedom, (1 + level) / 2) * np.sqrt(variance)
        error = np.abs(drawn.mean(axis=(1, 2)) - table.mean())
        hits += int(np.count_nonzero(error <= half * (1 + 1e-12)))
    share = hits / trials
    return Coverage(share, float(np.sqrt(share * (1 - share) / trials)), trials)
