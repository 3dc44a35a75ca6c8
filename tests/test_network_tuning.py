"""The search for learning rates on half-decades, where losses are functions of the rate."""

import numpy as np
import pytest
import xarray as xr

from attnscape.experiments.network_tuning import DECADES, SEEDS, search_networks
from attnscape.training import Status


def losses_around(best):
    """Losses with their minimum at 10 to the power of `best`."""
    return lambda rate, seed: (np.log10(rate) - best) ** 2


def diverging_from(first):
    """The larger the rate the better, but with the last seed runs diverge from one rate on."""
    return lambda rate, seed: np.inf if rate >= first and seed == SEEDS[-1] else -rate


def found(loss_of):
    """The outcome of a search with one optimizer, and the rates that it tried, round by round."""
    rounds = []

    def train(optimizers, rates, seeds):
        (name,) = optimizers
        rounds.append(rates[name])
        losses = np.array([[[loss_of(rate, seed) for seed in seeds] for rate in rates[name]]])
        status = np.where(np.isfinite(losses), Status.finished, Status.diverged)
        dims = ("optimizer", "learning_rate", "seed")
        coordinates = {"optimizer": [name], "learning_rate": list(rates[name]), "seed": list(seeds)}
        variables = {"loss": ((*dims, "step"), losses[..., None]), "status": (dims, status)}
        return xr.Dataset(variables, coordinates | {"step": [20]})

    return search_networks({"mine": lambda rate: rate}, train), rounds


@pytest.mark.parametrize(
    ("loss_of", "best", "more"),
    [
        (losses_around(-1.6), 0.032, [(0.0032, 0.032)]),
        (losses_around(-1.9), 0.01, [(0.0032, 0.032)]),
        (losses_around(1.2), 10.0, [(10.0,), (100.0,), (3.2, 32.0)]),
        (losses_around(-5.1), 1e-5, [(1e-5,), (1e-6,), (3.2e-6, 3.2e-5)]),
        (diverging_from(0.1), 0.032, [(0.0032, 0.032)]),
    ],
    ids=["beside a decade", "a decade", "above", "below", "diverging"],
)
def test_decades_come_first_then_decades_further_then_half_decades(loss_of, best, more):
    search, rounds = found(loss_of)
    assert search.rates == {"mine": best}
    assert rounds == [DECADES, *more]
    assert search.extended == (("mine",) if len(more) > 1 else ())
    assert search.at_edge == ()
    assert set(search.table["seed"]) == set(SEEDS)


def test_a_search_without_end_stops_and_says_so():
    search, rounds = found(lambda rate, seed: -rate)
    assert rounds == [DECADES, (10.0,), (100.0,), (1e3,), (1e4,), (1e5,)]
    assert search.rates == {"mine": 1e5}
    assert search.extended == search.at_edge == ("mine",)
