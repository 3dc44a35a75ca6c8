"""Points of a uniform direction and any radius: exact in law, the same on every path.

Every statistic is a mean over independent prompts with a known expectation, or a law in closed
form; the file's tests together fail by chance once in a million suites. Seeds are fixed, so the
verdict never changes by itself.
"""

from __future__ import annotations

import itertools
import threading
import time

import jax
import numpy as np
import pytest
import scipy.stats

from attnscape.errors import UsageError
from attnscape.tasks import _radial_points
from attnscape.tasks.radius import radius_table
from support import needs_kernels

KEY = jax.random.key(5)
PROMPTS = 50_000
# Dimensions with no, one, two or more shared lengths, of every degree of their roots; odd and even.
DIMENSIONS = [1, 2, 3, 4, 5, 6, 7, 11]
LAW = scipy.stats.gamma(0.1, scale=10)  # Setting 3 of the paper
FAMILY_WISE_ERROR = 1e-6
COMPARISONS = 20_000  # more than the file makes
SMALLEST = FAMILY_WISE_ERROR / COMPARISONS
THRESHOLD = scipy.stats.norm.isf(SMALLEST / 2)


def points(d, n, table=None):
    return np.asarray(_radial_points.radial_points(KEY, PROMPTS, n, d, table), float)


def assert_means(samples, wanted):
    """Means over the first axis are those wanted, but for chance."""
    samples = np.asarray(samples, float).reshape(len(samples), -1)
    spread = samples.std(axis=0, ddof=1) / np.sqrt(len(samples))
    error = np.abs(samples.mean(axis=0) - np.broadcast_to(wanted, samples.shape[1:]))
    assert (error <= np.maximum(THRESHOLD * spread, 1e-6)).all()


@needs_kernels
@pytest.mark.parametrize("d", DIMENSIONS)
@pytest.mark.parametrize("of", ["sphere", "radial"])
def test_the_kernel_draws_the_reference_points(d, of):
    table = radius_table(LAW) if of == "radial" else None
    for batch, n in [(1, 1), (37, 4), (130, 7)]:

        @jax.jit
        def both(key, batch=batch, n=n):
            reference = _radial_points.reference_radial_points(key, batch, n, d, table)
            return _radial_points.radial_points(key, batch, n, d, table), reference

        for seed in (0, 12345, 2**32 - 1):
            drawn, reference = (np.asarray(a, float) for a in both(jax.random.key(seed)))
            length = np.linalg.norm(reference, axis=-1, keepdims=True)
            assert np.abs((drawn - reference) / np.where(length > 0, length, 1)).max() < 2e-6


@pytest.mark.parametrize("d", DIMENSIONS)
def test_directions_are_uniform_on_the_sphere(d):
    """Their length, the law of each coordinate and of any projection, and all fourth moments."""
    x = points(d, 2)
    np.testing.assert_allclose(np.linalg.norm(x, axis=-1), 1, rtol=1e-6)
    first = x[:, 0]
    if d > 1:
        along = np.random.default_rng(d).standard_normal((3, d))
        along /= np.linalg.norm(along, axis=1, keepdims=True)
        law = scipy.stats.beta((d - 1) / 2, (d - 1) / 2, loc=-1, scale=2)
        for projection in np.concatenate([first.T, along @ first.T]):
            assert scipy.stats.kstest(projection, law.cdf).pvalue > SMALLEST
    assert_means(first, 0)
    assert_means(np.einsum("bi,bj->bij", first, first), (np.eye(d) / d).ravel())
    several = list(itertools.combinations_with_replacement(range(d), 4))[:300]
    for indices in several:
        pairings = [(0, 1, 2, 3), (0, 2, 1, 3), (0, 3, 1, 2)]
        wanted = sum(
            indices[a] == indices[b] and indices[c] == indices[e] for a, b, c, e in pairings
        ) / (d * (d + 2))
        assert_means(np.prod(first[:, list(indices)], axis=1), wanted)


@pytest.mark.parametrize("d", DIMENSIONS)
def test_points_and_their_radii_are_independent(d):
    x = points(d, 4, radius_table(LAW))
    square = np.sum(x**2, axis=-1)
    for column in square.T:
        assert scipy.stats.kstest(column, LAW.cdf).pvalue > SMALLEST
    rank = LAW.cdf(square) - 0.5  # uniform, of mean 0
    unit = x / np.sqrt(square)[..., None]
    for p, q in itertools.combinations(range(4), 2):
        assert_means(rank[:, p] * rank[:, q], 0)
        assert_means(np.einsum("bi,bj->bij", unit[:, p], unit[:, q]), 0)
        along = np.sum(unit[:, p] * unit[:, q], axis=1)
        assert_means(along**2, 1 / d)
    for p, q in itertools.product(range(4), range(4)):
        assert_means(rank[:, p, None] * unit[:, q], 0)
        assert_means(rank[:, p, None] * (unit[:, q] ** 2 - 1 / d), 0)


def test_nothing_goes_on_after_a_law_was_too_slow(monkeypatch):
    class Slow:
        """As much of a frozen distribution of scipy as its table needs."""

        args, kwds, dist = (), {}, scipy.stats.norm
        calls = 0

        def ppf(self, probability):
            self.calls += 1
            time.sleep(0.02)
            return probability

        isf = ppf

    monkeypatch.setattr("attnscape.tasks.radius._PATIENCE", 0.1)
    law, before = Slow(), set(threading.enumerate())
    with pytest.raises(UsageError, match="is too slow to tabulate"):
        radius_table(law)
    for thread in set(threading.enumerate()) - before:
        thread.join(timeout=10)
        assert not thread.is_alive()
    assert 0 < law.calls < 50
