"""The plan for many runs: the simulation against closed forms, and the page against its numbers."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from benchmarks import memory
from benchmarks.simulation import Cluster, Simulation

EXACT = {"spread": 0.0, "glance": 0.0, "checkpoint": math.inf}


DOCS = Path(__file__).parents[1] / "docs"


@pytest.mark.skipif(
    not (DOCS / "plan.json").exists(), reason="python -m benchmarks.plan has not been run"
)
def test_the_page_is_written_from_the_stored_numbers():
    pytest.importorskip("distributed", reason="Dask is not installed")
    from benchmarks.plan_page import page

    assert (DOCS / "how_to" / "plan.md").read_text() == page(
        json.loads((DOCS / "plan.json").read_text())
    )


def test_the_page_on_sizes_is_written_from_the_stored_numbers():
    assert memory.PAGE.read_text() == memory.page(json.loads(memory.FILE.read_text())["rows"])


@pytest.mark.parametrize(("workers", "chunks"), [(1, 3), (4, 12), (5, 12)])
def test_equal_chunks_take_as_many_rounds_as_are_needed(workers, chunks):
    found = Simulation(Cluster(workers, 10.0, **EXACT), chunks).run()
    assert found.seconds == pytest.approx(10 * math.ceil(chunks / workers))
    assert found.efficiency == pytest.approx(chunks / workers / math.ceil(chunks / workers))
    assert (found.done, found.deaths, found.repeated) == (chunks, 0, 0)


def test_processes_are_replaced_and_their_first_chunks_take_longer():
    cluster = Cluster(1, 10.0, first=3.0, restart=5.0, served=2, **EXACT)
    assert Simulation(cluster, 6).run().seconds == pytest.approx(6 * 10 + 3 * 3 + 2 * 5)


def test_the_scheduler_starts_one_chunk_after_the_other():
    found = Simulation(Cluster(50, 10.0, dispatch=0.5, **EXACT), 50).run()
    assert found.seconds == pytest.approx(50 * 0.5 + 10)


def test_what_the_command_does_not_look_at_waits():
    """With nothing to spare a worker waits for the next look, which comes after half the pause."""
    cluster = Cluster(1, 10.0, spare=0, **{**EXACT, "glance": 4.0})
    assert Simulation(cluster, 3).run().seconds == pytest.approx(3 * 10 + 2 * 2)


def test_chunks_that_fail_or_kill_are_given_up_after_three_tries():
    plan = Simulation(Cluster(2, 10.0, **EXACT), 8, failing=frozenset({1}), deadly=frozenset({4}))
    found = plan.run()
    assert found.given_up == (1, 4)
    assert (found.done, found.deaths) == (6, 3)
    assert [plan.tries_of(chunk) for chunk in (0, 1, 4)] == [1, 3, 3]
    assert found.repeated == pytest.approx(6 / 12)


def test_a_killed_worker_costs_what_it_did_since_its_last_checkpoint():
    for checkpoint, lost in ((math.inf, 7.0), (2.0, 1.0)):
        cluster = Cluster(1, 10.0, restart=5.0, **{**EXACT, "checkpoint": checkpoint})
        found = Simulation(cluster, 1, kills={7.0: 0}).run()
        assert found.seconds == pytest.approx(10 + lost + 5)


def test_random_deaths_cost_what_renewal_theory_says():
    """A chunk of time T that begins anew at each death of rate r takes (1/r + R)(exp(rT) - 1)."""
    rate, restart, chunk, count = 1 / 20, 5.0, 10.0, 400
    cluster = Cluster(1, chunk, restart=restart, lifetime=1 / rate, tries=10**9, **EXACT)
    cluster = Cluster(**{**cluster.__dict__, "served": 10**9})
    means = [Simulation(cluster, count, seed).run().seconds / count for seed in range(20)]
    expected = (1 / rate + restart) * (math.exp(rate * chunk) - 1)
    # With the right mean, 5 standard errors are missed once in ten thousand sets of seeds.
    assert abs(np.mean(means) - expected) < 5 * np.std(means, ddof=1) / math.sqrt(len(means))


def test_chunks_meet_three_deaths_as_often_as_they_must():
    rate, chunk, count = 1 / 20, 10.0, 20_000
    found = Simulation(Cluster(50, chunk, lifetime=1 / rate, **EXACT), count).run()
    probability = (1 - math.exp(-rate * chunk)) ** 3
    error = math.sqrt(count * probability * (1 - probability))
    assert abs(len(found.given_up) - count * probability) < 5 * error
