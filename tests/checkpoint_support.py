"""A computation without JAX that keeps checkpoints, and lives that end in the middle of a write."""

import contextlib
import errno
import functools
import io
import os
from pathlib import Path

import numpy as np
import xarray as xr

from attnscape import Experiment, LinearTransformer, RegressionTask, files, spec
from attnscape.experiments import plain_file
from attnscape.identity import Identity
from attnscape.measures import DirectionalSmoothness, EvaluationLoss, every
from attnscape.optimizers import adam, sgdm
from attnscape.training import silent
from attnscape.training.checkpoints import NoCheckpoints

# A training of a second.
SMALL = Experiment(
    name="small",
    task=RegressionTask(dim=2, context=3),
    model=functools.partial(LinearTransformer.init, layers=1, dim=2),
    optimizers={"adam": adam, "sgdm": sgdm},
    learning_rates={"adam": (0.01, 0.02), "sgdm": (0.1,)},
    seeds=(0, 1, 2),
    steps=400,
    batch=8,
    measures=(EvaluationLoss(every(50)), DirectionalSmoothness(every(70))),
    evaluation_batch=8,
)


def to_bytes(value):
    """The bytes of a file with a plain value."""
    file = io.BytesIO()
    plain_file.write(value, file)
    return file.getvalue()


def from_bytes(whole):
    """The value in a file with these bytes."""
    return plain_file.read(io.BytesIO(whole))


class Recorder(NoCheckpoints):
    """Keeps every state that is offered, as it would be read again from a file."""

    def __init__(self, states=None):
        self._copy = lambda state: from_bytes(to_bytes(state))
        self.states, self.offered = dict(states or {}), []

    def describe(self, parts, steps, outline):
        self.outline = self._copy(outline)

    def read(self, part):
        return self.states.get(part)

    def offer(self, part, step, state):
        self.offered.append((part, step, self._copy(state())))

    finish = offer


class Walk:
    """Two random walks of some steps: a computation whose every step depends on the last."""

    name, precision, at_once, run_steps = "walk", "float64", 0, 8
    steps = 4

    def __init__(self):
        self.made = 0

    @property
    def identity(self):
        return Identity({"walk": self.steps})

    @property
    def run_id(self):
        return spec.digest(self.identity.content)

    def spec(self):
        return {"steps": self.steps, "seeds": [0, 1]}

    def run(self, progress=silent, checkpoints=None):
        kept = checkpoints or NoCheckpoints()
        kept.describe(["walk-0", "walk-1"], self.steps, None)
        return xr.Dataset({"place": ("seed", [self._walk(seed, kept) for seed in (0, 1)])})

    def _walk(self, seed, kept):
        part = f"walk-{seed}"
        now = kept.read(part) or {"step": 0, "place": np.array(seed + 0.1)}
        if now.get("finished"):
            return float(now["place"])
        while now["step"] < self.steps:
            place = np.sin(1e3 * now["place"])
            now = {"step": now["step"] + 1, "place": place}
            self.made += 1
            kept.offer(part, now["step"], lambda now=now: now)
        kept.finish(part, self.steps, lambda: {**now, "finished": True})
        return float(now["place"])


class Killed(BaseException):
    """The process is gone."""


class Life:
    """A process that ends inside its n-th operation on files, or lacks room from there on.

    A file whose content was not synced has lost its tail after the end; a name that was not synced
    is the one before.

    Args:
        monkeypatch: Pytest's fixture.
        number: The life; two have different writers.
        last: The operation in which it ends, from 0 on; None if it lives on.
        how: What happens then: kill, cut, zero, or full.
    """

    def __init__(self, monkeypatch, number, last, how):
        self.operations, self.last, self.how, self.dead = 0, last, how, False
        self._unsynced, self._undo = set(), None
        this = files.Writer.this()
        writer = files.Writer(this.host, this.process, this.started + 1 + number)
        self._open, replace, unlink = Path.open, Path.replace, Path.unlink
        monkeypatch.setattr(files.Writer, "this", classmethod(lambda _: writer))
        monkeypatch.setattr(Path, "open", lambda p, *a, **k: self._opened(p, *a, **k))
        monkeypatch.setattr(Path, "replace", lambda p, to: self._replace(replace, p, Path(to)))
        monkeypatch.setattr(Path, "unlink", lambda p, **k: self._unlink(unlink, p, **k))
        monkeypatch.setattr(files.os, "fsync", self._fsync)

    def _is_last(self):
        if self.dead:
            raise Killed
        self.operations += 1
        if self.last is None or self.operations <= self.last:
            return False
        if self.how == "full":
            return True
        return self.operations == self.last + 1

    def _end(self):
        if self.how == "full":
            raise OSError(errno.ENOSPC, "no room")
        self.dead = True
        for path in self._unsynced:
            if path.exists() and self.how != "kill":
                with self._open(path, "rb") as file:
                    whole = file.read()
                half = whole[: len(whole) // 2]
                with self._open(path, "wb") as file:
                    file.write(half if self.how == "cut" else half + bytes(len(whole) - len(half)))
        if self._undo is not None and self.how != "kill":
            self._undo()
        raise Killed

    def _opened(self, path, mode="r", *arguments, **keywords):
        file = self._open(path, mode, *arguments, **keywords)
        return self._written(path, file) if "+" in mode else file

    @contextlib.contextmanager
    def _written(self, path, file):
        """A file that is written to while it is open; its process may end in the middle of that."""
        with file:
            yield file
            if self._is_last():
                file.truncate(os.fstat(file.fileno()).st_size // 2)
                self._end()
        self._unsynced.add(path)

    def _fsync(self, file):
        if self._is_last():
            self._end()
        name = Path(os.readlink(f"/proc/self/fd/{file}"))
        if name.is_dir():
            self._undo = None
        self._unsynced.discard(name)  # in truth it is not synced either, which takes time

    def _replace(self, replace, path, to):
        before = None
        if to.exists():
            with self._open(to, "rb") as file:
                before = file.read()
        if self._is_last():
            self._end()
        if path in self._unsynced:
            self._unsynced.add(to)

        def undo():
            if before is None:
                os.unlink(to)
            else:
                with self._open(to, "wb") as file:
                    file.write(before)

        self._undo = undo
        return replace(path, to)

    def _unlink(self, unlink, path, **keywords):
        if self.how != "full" and self._is_last():
            self._end()
        return unlink(path, **keywords)
