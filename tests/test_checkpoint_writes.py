"""A writer that ends inside any write leaves whole files or none, and the next run has its bits."""

import contextlib
import gc
import itertools
import json
import os
import shutil
import sys
import threading
import time
import warnings

import numpy as np
import pytest

from attnscape import files
from attnscape.errors import UsageError
from attnscape.experiments import checkpoints, store
from attnscape.experiments.checkpoints import CheckpointFolder
from attnscape.training.checkpoints import UnusedCheckpointWarning
from attnscape.trees import NotSavableError
from tests.checkpoint_support import Killed, Life, Walk, from_bytes, to_bytes

pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="needs Linux")


@pytest.fixture
def at_every_offer(monkeypatch):
    monkeypatch.setattr(checkpoints, "_SECONDS", 0.0)
    monkeypatch.setattr(checkpoints, "_TIMES", 1)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The bytes of the result of a walk that was never stopped."""
    walk, folder = Walk(), tmp_path_factory.mktemp("whole")
    store.load_or_run(walk, folder)
    return store.find(walk, folder).read_bytes()


@pytest.mark.parametrize("how", ["kill", "cut", "zero"])
def test_a_writer_killed_in_any_operation_is_continued(
    tmp_path, monkeypatch, at_every_offer, whole, how
):
    made = []
    for last in itertools.count():
        folder, walk = tmp_path / str(last), Walk()
        with monkeypatch.context() as patch:
            life = Life(patch, last, last, how)
            try:
                store.load_or_run(walk, folder)
            except Killed:
                assert life.dead
        for path in folder.rglob("*"):
            if path.suffix == ".checkpoint":
                from_bytes(path.read_bytes())  # raises if it is not whole
            if path.suffix == ".nc":
                store.load(path)
        again = Walk()
        with monkeypatch.context() as patch:
            Life(patch, -1, None, how)
            store.load_or_run(again, folder)
        assert store.find(again, folder).read_bytes() == whole
        assert [path.name for path in folder.iterdir()] == [store.file_name(again)], last
        made.append((walk.made, again.made))
        if not life.dead:
            break
    assert len(made) > 40
    assert made[-1] == (8, 0)
    # At most one step is made twice: that whose write was interrupted.
    assert all(8 <= first + second <= 9 for first, second in made)
    assert {first for first, _ in made} == set(range(9))


@pytest.mark.parametrize("hours", [-30, 30])
def test_a_clock_that_jumps_between_two_lives_loses_nothing(
    tmp_path, monkeypatch, at_every_offer, whole, hours
):
    """Neither the clock nor the times of files say what is newer, or whose process is gone."""
    for last in range(0, 100, 5):
        folder, walk, again = tmp_path / str(last), Walk(), Walk()
        with monkeypatch.context() as patch:
            life = Life(patch, last, last, "kill")
            with contextlib.suppress(Killed):
                store.load_or_run(walk, folder)
        for number, path in enumerate(sorted(folder.rglob("*"))):
            os.utime(path, (0, time.time() + 3600 * (hours - number)))
        with monkeypatch.context() as patch:
            Life(patch, -1, None, "kill")
            patch.setattr(time, "time", lambda now=time.time: now() + 3600 * hours)
            store.load_or_run(again, folder)
        assert store.find(again, folder).read_bytes() == whole
        assert [path.name for path in folder.iterdir()] == [store.file_name(again)]
        assert 8 <= walk.made + again.made <= 9
        if not life.dead:
            break
    assert last > 30


def test_a_writer_killed_again_and_again_gets_to_the_end(
    tmp_path, monkeypatch, at_every_offer, whole
):
    """Each life has eleven operations, some of which remove what the one before has left."""
    for number in range(100):
        walk = Walk()
        with monkeypatch.context() as patch:
            Life(patch, number, 11, "kill")
            try:
                store.load_or_run(walk, tmp_path)
            except Killed:
                continue
        break
    assert 3 <= number < 50
    assert store.find(walk, tmp_path).read_bytes() == whole
    assert [path.name for path in tmp_path.iterdir()] == [store.file_name(walk)]


def test_a_disk_that_is_full_from_any_write_on_loses_nothing(
    tmp_path, monkeypatch, at_every_offer, whole
):
    cache = tmp_path / "cache"
    monkeypatch.setenv(files.CACHE_VARIABLE, str(cache))
    said = set()
    for last in itertools.count():
        folder, walk = tmp_path / str(last), Walk()
        with monkeypatch.context() as patch, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            life = Life(patch, last, last, "full")
            try:
                store.load_or_run(walk, folder)
            except UsageError as error:
                said.add(str(error).partition(": ")[2] or str(error)[-30:])
        assert all(each.category is UnusedCheckpointWarning for each in caught)
        assert walk.made in (0, 8)  # refused before the work, or done in spite of it
        again = Walk()
        with monkeypatch.context() as patch:
            Life(patch, -1, None, "full")
            store.load_or_run(again, folder)
        assert store.find(again, folder).read_bytes() == whole
        assert [path.name for path in folder.iterdir()] == [store.file_name(again)]
        if life.operations <= last:
            break
    assert last > 20
    assert len(said) == 1


def test_a_result_that_cannot_be_written_is_elsewhere(tmp_path, monkeypatch, whole):
    cache = tmp_path / "cache"
    monkeypatch.setenv(files.CACHE_VARIABLE, str(cache))
    walk, save = Walk(), store.save

    def only_there(dataset, path):
        if path.parent == tmp_path / "out":
            raise UsageError(f"{path} cannot be written (No space left on device); make room.")
        save(dataset, path)

    monkeypatch.setattr(store, "save", only_there)
    elsewhere = cache / "results" / store.file_name(walk)
    with pytest.raises(UsageError, match=rf"make room\. The finished .* it is {elsewhere}: move"):
        store.load_or_run(walk, tmp_path / "out")
    assert elsewhere.read_bytes() == whole
    elsewhere.rename(tmp_path / "out" / elsewhere.name)
    again = Walk()
    store.load_or_run(again, tmp_path / "out")
    assert again.made == 0


def test_a_folder_that_was_removed_meanwhile_is_made_again(tmp_path, whole):
    class Removing(Walk):
        def run(self, progress, checkpoints):
            shutil.rmtree(tmp_path / "out")
            return super().run(progress, checkpoints)

    walk = Removing()
    store.load_or_run(walk, tmp_path / "out")
    assert store.find(walk, tmp_path / "out").read_bytes() == whole


def test_a_name_too_long_for_the_disk_is_refused_before_the_work(tmp_path):
    walk = Walk()
    walk.name = "ü" * 120
    with pytest.raises(
        UsageError, match=r"cannot be written \(File name too long\); make room, or"
    ):
        store.load_or_run(walk, tmp_path)
    assert walk.made == 0


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def folder_with(tmp_path, clock, **attributes):
    folder = CheckpointFolder(tmp_path, "a" * 64, {"jax": "1", **attributes}, clock=clock)
    folder.describe(["a", "b"], 100, None)
    return folder


def test_it_writes_after_thirty_seconds_of_work_and_takes_two_percent_at_most(tmp_path):
    clock = Clock()
    folder, written = folder_with(tmp_path, clock), []

    def state():  # takes 1 second to write
        written.append(clock.now)
        clock.now += 1.0
        return {}

    for second in range(200):
        clock.now = max(clock.now, float(second))
        folder.offer("a", second, state)
    assert written == [30.0, 80.0, 130.0, 180.0]


def test_time_before_the_first_step_counts(tmp_path):
    """A process that compiles for long and lives shortly would else never get on."""
    clock = Clock()
    folder = folder_with(tmp_path, clock)
    path = tmp_path / ".checkpoints" / ("a" * 16) / "under-way-a.checkpoint"
    for now in (29.9, 30.0):
        assert not path.exists()
        clock.now = now
        folder.offer("a", 10, dict)
    assert path.exists()


def test_parts_that_finish_between_two_writes_are_written_together(tmp_path):
    clock = Clock()
    folder = folder_with(tmp_path, clock)
    folder.offer("a", 10, dict)
    for now, part in ((10.0, "a"), (20.0, "b")):
        clock.now = now
        folder.finish(part, 100, lambda part=part: {"is": part})
    assert not list(tmp_path.rglob("*.checkpoint"))
    clock.now = 30.0
    folder.offer("c", 1, lambda: {"is": "c"})
    of_run = tmp_path / ".checkpoints" / ("a" * 16)
    names = sorted(path.name for path in of_run.glob("*.checkpoint"))
    assert names == ["finished-0.checkpoint", "under-way-c.checkpoint"]
    again = folder_with(tmp_path, clock)
    assert [again.read(part) for part in "abc"] == [{"is": part} for part in "abc"]


def write_one(tmp_path, **attributes):
    clock = Clock()
    folder = folder_with(tmp_path, clock, **attributes)
    folder.offer("a", 10, dict)
    clock.now = 30.0
    folder.offer("a", 20, lambda: {"place": np.array(0.5)})
    (path,) = (tmp_path / ".checkpoints" / ("a" * 16)).glob("*.checkpoint")
    return path


def test_a_checkpoint_of_other_versions_is_not_used_and_replaced_when_the_next_is_written(tmp_path):
    path = write_one(tmp_path)
    clock = Clock()
    with pytest.warns(UnusedCheckpointWarning, match="it has jax 1, and now it is 2; what it held"):
        folder = CheckpointFolder(tmp_path, "a" * 64, {"jax": "2"}, clock=clock)
    assert folder.read("a") is None
    assert path.exists()
    folder.offer("b", 1, dict)
    clock.now = 30.0
    folder.offer("b", 1, dict)
    assert [each.name for each in path.parent.glob("*.checkpoint")] == ["under-way-b.checkpoint"]


def test_a_checkpoint_of_another_run_is_not_used(tmp_path):
    path = write_one(tmp_path)
    other = tmp_path / ".checkpoints" / ("b" * 16)
    path.parent.rename(other)
    with pytest.warns(UnusedCheckpointWarning, match="it is of the run aaaaaaaaaaaaaaaa; what"):
        folder = CheckpointFolder(tmp_path, "b" * 64, {"jax": "1"})
    assert folder.read("a") is None


def test_a_damaged_checkpoint_is_not_used(tmp_path):
    path = write_one(tmp_path)
    whole = path.read_bytes()
    generator = np.random.default_rng(0)
    for _ in range(100):
        damaged = bytearray(whole)
        damaged[generator.integers(len(whole))] ^= 1 << generator.integers(8)
        path.write_bytes(bytes(damaged))
        with pytest.warns(UnusedCheckpointWarning, match="its checksum is not that of its content"):
            assert folder_with(tmp_path, Clock()).read("a") is None
    for share in (0, 0.1, 0.5, 0.99):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.warns(UnusedCheckpointWarning, match="its checksum is not that of its content"):
            assert folder_with(tmp_path, Clock()).read("a") is None
    path.write_bytes(whole)
    assert folder_with(tmp_path, Clock()).read("a") == {"place": 0.5}


def test_plain_values_are_read_bit_for_bit():
    import ml_dtypes

    numbers = np.array([np.nan, -0.0, 5e-324, 1 / 3])
    numbers[:1].view(np.uint64)[:] |= 123  # a NaN of its own
    arrays = [
        numbers, numbers.astype(np.float32), np.arange(3, dtype=ml_dtypes.bfloat16), np.array(True),
        np.zeros((0, 3), np.int8), np.array(2**64 - 1, np.uint64), np.array(["ü", "long"]),
        np.arange(12).reshape(3, 4).T, numbers + 1j,
    ]  # fmt: skip
    value = {"": [None, True, 2**70, 0.1, float("inf"), "\0 ü", {"arrays": arrays}], "s": -0.0}
    found = from_bytes(to_bytes(value))
    for array, read in zip(arrays, found[""][-1].pop("arrays"), strict=True):
        assert (read.dtype, read.shape) == (array.dtype, array.shape)
        assert read.tobytes() == array.tobytes()
    del value[""][-1]["arrays"]
    assert json.dumps(found) == json.dumps(value)
    assert np.signbit(found["s"])


@pytest.fixture
def threads_in_haste():
    """Threads take turns after a microsecond, and garbage is often collected, which lets them."""
    interval, threshold = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(1e-6)
    gc.set_threshold(50)
    yield
    sys.setswitchinterval(interval)
    gc.set_threshold(*threshold)


@pytest.mark.usefixtures("threads_in_haste")
def test_threads_read_at_once():
    whole = to_bytes([np.zeros(2)] * 5)
    found = []

    def read(depth):
        if depth:
            read(depth - 1)  # each thread at a depth of its own
        else:
            found.extend(len(from_bytes(whole)) for _ in range(100))

    threads = [threading.Thread(target=read, args=(20 * number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [5] * 400


@pytest.mark.parametrize(
    "value",
    [object(), {1: 2}, np.float32(1), np.array([object()]), {"a": [{2.5}]}, 1j],
    ids=["object", "key", "scalar", "objects", "set", "complex"],
)
def test_what_is_not_plain_is_refused(tmp_path, value):
    with pytest.raises(NotSavableError, match="a state is not plain values: "):
        to_bytes(value)
    folder = CheckpointFolder(tmp_path, "a" * 64, {}, seconds=0.0)
    with pytest.warns(UnusedCheckpointWarning, match="can be written: a state is not plain values"):
        folder.offer("a", 1, lambda: value)  # ends no training
