"""A cluster as discrete events: how long a plan takes on many workers, of which some die.

The policy is that of `attnscape.workflows.clusters` and of Dask beneath it. The command keeps one
chunk more than there are workers under way, and looks at them now and then. A chunk whose worker
dies or that fails is tried again, from its checkpoint, and given up after three deaths or three
failures. A process is replaced when it has served 20 chunks. The scheduler is one server: each
chunk costs it some time, and each worker's messages the rest. Not simulated: the network, the file
system, and a scheduler that dies.
"""

from __future__ import annotations

import dataclasses
import heapq
import math
from collections import Counter, deque
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np


@dataclasses.dataclass(frozen=True)
class Cluster:
    """What is simulated; times are in seconds.

    Attributes:
        workers: Processes that compute chunks.
        chunk: Median time of a chunk.
        spread: Standard deviation of the logarithm of that time.
        first: Time that the first chunk of a process takes longer (imports, compilation).
        restart: Time in which a new process takes a dead or served one's place.
        lifetime: Mean time until a worker dies.
        checkpoint: Time between two checkpoints of a chunk.
        dispatch: Time that a chunk costs the scheduler.
        messages: Share of its time that a busy worker's messages cost the scheduler.
        glance: Time between two looks of the command at what has ended.
        spare: Chunks under way beyond the number of workers.
        served: Chunks after which a process is replaced.
        tries: Deaths, or failures, after which a chunk is given up.
    """

    workers: int
    chunk: float
    spread: float = 0.3
    first: float = 0.0
    restart: float = 0.0
    lifetime: float = math.inf
    checkpoint: float = 30.0
    dispatch: float = 0.0
    messages: float = 0.0
    glance: float = 0.2
    spare: int = 1
    served: int = 20
    tries: int = 3


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of a plan.

    Attributes:
        seconds: Until all chunks had ended.
        efficiency: Share of all workers' time that went into chunks that ended well.
        tail: Share of the time after which less than half of the workers had a chunk.
        done: Chunks that ended well.
        given_up: Those that were given up.
        deaths: Workers that died.
        repeated: Share of the computing time that was spent again after a death or failure.
        scheduler: Share of the time that the scheduler was busy, if all workers are.
    """

    seconds: float
    efficiency: float
    tail: float
    done: int
    given_up: tuple[int, ...]
    deaths: int
    repeated: float
    scheduler: float


class _Worker:
    """A place for a process; `life` tells events of an earlier process from those of this one."""

    def __init__(self) -> None:
        self.life = self.served = 0
        self.up = False
        self.chunk: int | None = None
        self.began = 0.0


class Simulation:
    """A plan on a cluster.

    Args:
        cluster: The cluster.
        chunks: How many chunks.
        seed: Of the times that are drawn.
        failing: Chunks that always fail at their end.
        deadly: Chunks that kill their worker at their end.
        kills: Times at which the worker with this number dies, beside those that are drawn.
    """

    def __init__(
        self,
        cluster: Cluster,
        chunks: int,
        seed: int = 0,
        failing: frozenset[int] = frozenset(),
        deadly: frozenset[int] = frozenset(),
        kills: Mapping[float, int] = MappingProxyType({}),
    ) -> None:
        self.cluster, self.chunks, self.failing, self.deadly = cluster, chunks, failing, deadly
        self._random = np.random.default_rng(seed)
        self._takes = cluster.chunk * np.exp(cluster.spread * self._random.normal(size=chunks))
        self._left = self._takes.copy()
        self._workers = [_Worker() for _ in range(cluster.workers)]
        self._events = list[tuple[float, int, str, int, int]]()
        self._number = 0  # of events, so that equal times keep their order
        self._waiting, self._idle = deque[int](), deque[int]()
        self._submitted, self._ended, self._looks = 0, 0, False
        self._server_free = 0.0
        self._deaths, self._failures = Counter[int](), Counter[int]()
        self._given_up, self._died, self._spent, self._busy = list[int](), 0, 0.0, 0
        self._half = 0.0
        for when, worker in kills.items():
            self._at(when, "kill", worker)

    def run(self) -> Outcome:
        """Runs it to the end."""
        cluster, now = self.cluster, 0.0
        for number in range(cluster.workers):
            self._at(0.0, "up", number)
        self._at(0.0, "look")
        while self._ended < self.chunks:
            now, _, kind, number, life = heapq.heappop(self._events)
            if kind == "look":
                self._look(now)
            elif kind == "kill" or life == self._workers[number].life:
                getattr(self, f"_{kind}")(now, number)
        gone = set(self._given_up)
        useful = float(self._takes[[each for each in range(self.chunks) if each not in gone]].sum())
        load = cluster.workers * (cluster.dispatch / cluster.chunk + cluster.messages)
        return Outcome(
            float(now),
            float(useful / (cluster.workers * now)),
            float(1 - self._half / now),
            self.chunks - len(gone),
            tuple(sorted(gone)),
            self._died,
            max(0.0, float(1 - useful / self._spent)),  # not -0.0 by rounding
            load,
        )

    def tries_of(self, chunk: int) -> int:
        """How often a chunk was begun again, and once more."""
        return self._deaths[chunk] + self._failures[chunk] + (chunk not in self._given_up)

    def _at(self, when: float, kind: str, number: int = 0) -> None:
        self._number += 1
        life = self._workers[number].life
        heapq.heappush(self._events, (when, self._number, kind, number, life))

    def _look(self, now: float) -> None:
        """The command submits chunks."""
        self._looks = False
        most = self.cluster.workers + self.cluster.spare
        while self._submitted < self.chunks and self._submitted - self._ended < most:
            self._waiting.append(self._submitted)
            self._submitted += 1
        self._serve(now)

    def _serve(self, now: float) -> None:
        """The scheduler gives chunks that wait to workers that do."""
        while self._waiting and self._idle:
            number = self._idle.popleft()
            worker = self._workers[number]
            if not worker.up or worker.chunk is not None:
                continue
            share = 1 - min(0.999, self.cluster.messages * self._busy)  # left beside messages
            self._server_free = max(now, self._server_free) + self.cluster.dispatch / share
            worker.chunk = self._waiting.popleft()
            worker.began = self._server_free + (0.0 if worker.served else self.cluster.first)
            self._busy += 1
            self._at(worker.began + self._left[worker.chunk], "end", number)

    def _up(self, now: float, number: int) -> None:
        worker = self._workers[number]
        worker.up, worker.served = True, 0
        if math.isfinite(self.cluster.lifetime):
            self._at(now + self._random.exponential(self.cluster.lifetime), "kill_drawn", number)
        self._idle.append(number)
        self._serve(now)

    def _end(self, now: float, number: int) -> None:
        worker = self._workers[number]
        chunk = self._take_from(worker, now)
        if chunk in self.deadly:
            self._dies(now, number, chunk)
            return
        worker.served += 1
        if chunk in self.failing:
            self._failures[chunk] += 1
            self._again(now, chunk, self._failures[chunk])
        else:
            self._over(now)
        if worker.served >= self.cluster.served:
            self._replace(now, worker, number)
        else:
            self._idle.append(number)
        self._serve(now)

    def _kill(self, now: float, number: int) -> None:
        worker = self._workers[number]
        if worker.up:
            chunk = None if worker.chunk is None else self._take_from(worker, now)
            self._dies(now, number, chunk)

    _kill_drawn = _kill

    def _dies(self, now: float, number: int, chunk: int | None) -> None:
        self._died += 1
        self._replace(now, self._workers[number], number)
        if chunk is not None:
            self._deaths[chunk] += 1
            self._again(now, chunk, self._deaths[chunk])
        self._serve(now)

    def _replace(self, now: float, worker: _Worker, number: int) -> None:
        worker.up = False
        worker.life += 1
        self._at(now + self.cluster.restart, "up", number)

    def _take_from(self, worker: _Worker, now: float) -> int:
        """The chunk of a worker that ends or dies; what its checkpoints hold needs no repeat."""
        chunk, worker.chunk = worker.chunk, None
        assert chunk is not None
        self._busy -= 1
        spent = max(0.0, now - worker.began)
        self._spent += spent
        if math.isfinite(each := self.cluster.checkpoint):
            self._left[chunk] = max(0.0, self._left[chunk] - spent // each * each)
        if self._busy >= self.cluster.workers / 2:
            self._half = now
        return chunk

    def _again(self, now: float, chunk: int, times: int) -> None:
        if times >= self.cluster.tries:
            self._given_up.append(chunk)
            self._over(now)
        else:
            self._waiting.appendleft(chunk)

    def _over(self, now: float) -> None:
        self._ended += 1
        if not self._looks:
            self._looks = True
            self._at(now + self.cluster.glance / 2, "look")
