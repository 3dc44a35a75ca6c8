"""Memory does not grow with measurements or runs, but by what the result holds."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from attnscape.experiments import plain_file
from attnscape.measures import Variable
from attnscape.training._layout import Layout, Recorded
from attnscape.training._records import Records
from support import needs_kernels

ROOT = Path(__file__).parents[1]  # where `benchmarks` is
linux = pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="needs Linux")

# Trains twice, so that the second time nothing is compiled anew but the step, and prints by how
# much each training raised the largest memory.
TRAINING = """
import functools, sys
from attnscape import LinearTransformer, RegressionTask, train
from attnscape.measures import EvaluationLoss, TrainingLoss, every
from benchmarks.memory import peak

def peak_after(steps):
    train(
        RegressionTask(dim=2), functools.partial(LinearTransformer.init, layers=1, dim=2), ["sgd"],
        [0.01], [0], steps=steps, batch=8, evaluation_batch=8,
        measures=[EvaluationLoss(every(1)), TrainingLoss(every(1))],
    )
    return peak()

few = peak_after(1000)
few = peak_after(1000)
print(peak_after(int(sys.argv[1])) - few)
"""


@linux
def test_a_measurement_takes_the_memory_of_its_numbers():
    """Before, each took 4.5 kB: two arrays, with JAX's buffers behind them."""
    more = 10_000
    command = [sys.executable, "-c", TRAINING, str(1000 + more)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    grown = int(done.stdout)
    assert grown < 1000 * more


def layout(measures, seeds=(7, 3), evaluations=(0, 1)):
    rates = {"adam": (0.02, 0.01), "sgdm": (0.02, 0.5, 0.1)}
    stops = np.unique(np.concatenate([np.array(each.steps, int) for each in measures]))
    return Layout(rates, seeds, stops, evaluations, measures)


LOSS = Variable("loss", on_evaluation=True)
WEIGHTS = Variable("weights", ("parameter",))
MEASURES = [
    Recorded(np.array([0, 5, 10]), {"loss": LOSS}, 1, {}),
    Recorded(np.array([3, 4, 10]), {"loss": LOSS}, 2, {}),
    Recorded(np.array([0, 10]), {"weights": WEIGHTS}, 2, {"parameter": ["a", "b", "c"]}),
]


def taken(step, seed, evaluations):
    """Numbers that say which they are: (1, learning rate, evaluation) and (1, rate, parameter)."""
    found = []
    for index, count in enumerate((2, 3)):
        at = 1e4 * seed + 100 * step + 10 * index + np.arange(count)[None]
        found.append(
            {
                "loss": at[..., None] + np.arange(evaluations) / 10,
                "weights": at[..., None] - np.arange(3) / 10,
            }
        )
    return found


def recorded(until=100):
    records = Records(layout(MEASURES))
    for seed in (3, 7):
        for step in range(min(until, 11)):
            for measure in records.due(step):
                count = MEASURES[measure].evaluations
                records.add(seed, measure, step, taken(step, seed, count))
    return records


def test_what_was_taken_is_in_the_arrays_of_the_result():
    records = recorded()
    assert [records.due(step) for step in (0, 3, 10, 11)] == [[0, 2], [1], [0, 1, 2], []]
    loss, weights = records.arrays["loss"], records.arrays["weights"]
    assert (loss.shape, weights.shape) == ((2, 4, 2, 5, 2), (2, 4, 2, 5, 3))
    # Adam at 0.01 is its second rate and the first of all; seed 3 is the second; stops 0 3 4 5 10.
    np.testing.assert_array_equal(
        loss[0, 0, 1], 3e4 + 1 + np.array([[0, np.nan], [300, 300.1], [400, 400.1], [500, np.nan],
                                           [1000, 1000.1]])
    )  # fmt: skip
    np.testing.assert_array_equal(weights[1, 3, 0, 4], 7e4 + 1011 - np.arange(3) / 10)
    assert np.isnan(weights[1, 3, 0, 1:4]).all()
    assert np.isnan(loss[0, 2:]).all()  # rates that Adam does not have
    assert records.was_run[:, :, 0].tolist() == [[1, 1, 0, 0], [0, 1, 1, 1]]


@pytest.mark.parametrize("step", [None, 0, 4, 5, 10])
def test_records_are_read_as_they_were_written(tmp_path, step):
    """Numbers from the step on are not among them, and the numbers of each measure are."""
    records, again = recorded(100 if step is None else step), Records(layout(MEASURES))
    whole = recorded()
    for seed in (7, 3):
        whole.diverge(seed, [np.array([[2, -1]]), np.array([[-1, 4, -1]])])
        with (tmp_path / "one").open("w+b") as file:
            plain_file.write(whole.plain(seed, step), file)
            found = plain_file.read(file)
        counts = [len(of[0]["loss"]) if of else 0 for of in found["values"][:2]]
        until = np.inf if step is None else step
        assert counts == [sum(each.steps < until) for each in MEASURES[:2]]
        if counts[0]:
            assert found["values"][0][1]["loss"].shape == (counts[0], 1, 3, 1)
        again.read(seed, found)
    assert again.arrays.keys() == records.arrays.keys()
    for name, values in records.arrays.items():
        np.testing.assert_array_equal(again.arrays[name], values)
    np.testing.assert_array_equal(again.diverged_at, whole.diverged_at)


# Writes, or reads, a Dataset and prints by how much that raised the largest memory, and its bytes.
FILES = """
import sys
from pathlib import Path
import numpy as np
import xarray as xr
from attnscape.experiments import plain_file, store
from benchmarks.memory import peak

def grown(action):
    Path("/proc/self/clear_refs").write_text("5")  # the largest memory is the present one again
    before = peak()
    kept = action()
    return peak() - before

folder = Path(sys.argv[1])
attributes = {"schema_version": store.SCHEMA_VERSION}
small = xr.Dataset({"weights": ("step", np.zeros(9))}, attrs=attributes)
store.save(small, folder / "small.nc")
store.load(folder / "small.nc")
values = np.random.default_rng(0).normal(size=(100, 1, 1000, 100))
dataset = xr.Dataset({"weights": (("step", "seed", "rate", "parameter"), values)}, attrs=attributes)

def write():
    with (folder / "state").open("w+b") as file:
        plain_file.write({"values": [values]}, file)

def read():
    with (folder / "state").open("rb") as file:
        return plain_file.read(file)

print(values.nbytes, grown(lambda: store.save(dataset, folder / "large.nc")),
      grown(lambda: store.load(folder / "large.nc")), grown(write), grown(read))
assert store.load(folder / "large.nc").identical(dataset)
assert np.array_equal(read()["values"][0], values)
"""


@linux
def test_large_files_are_written_and_read_without_copies(tmp_path):
    """A copy of the file in memory would be as large as the numbers."""
    command = [sys.executable, "-c", FILES, tmp_path]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    size, saved, loaded, written, read = map(int, done.stdout.split())
    assert size == 8e7
    assert saved < 0.2 * size
    assert loaded < 1.3 * size
    assert written < 0.3 * size  # numpy writes in pieces of 16 MiB
    assert read < 1.3 * size


ESTIMATED = """
import sys
from benchmarks.memory import Case, measured

found = measured(Case(runs=int(sys.argv[1]), seeds=1, batch=int(sys.argv[2]), steps=2, every=2))
print(found["estimate"], found["memory"], found["before"])
"""


@linux
@needs_kernels
@pytest.mark.parametrize(("runs", "batch"), [(2, 8), (2, 500_000), (20_000, 8)])
def test_the_estimate_is_half_of_a_process_at_least_and_a_fifth_more_at_most(runs, batch):
    command = [sys.executable, "-c", ESTIMATED, str(runs), str(batch)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    estimate, memory, before = map(int, done.stdout.split())
    assert before < estimate
    assert memory / 2 < estimate < 1.2 * memory


FULL = """
import resource, signal, sys
from pathlib import Path
import numpy as np
import xarray as xr
from attnscape.errors import UsageError
from attnscape.experiments import store

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # so that a write beyond the limit fails
dataset = xr.Dataset({name: ("step", np.random.rand(20_000)) for name in "abc"})
store.save(dataset, Path(sys.argv[1]) / "whole.nc")
size = (Path(sys.argv[1]) / "whole.nc").stat().st_size
for limit in (0, 100, 200_000, 480_000, size - 100, size - 1):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        store.save(dataset, Path(sys.argv[1]) / "cut.nc")
    except UsageError as error:
        print(str(error).partition("cut.nc")[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
store.save(dataset, Path(sys.argv[1]) / "cut.nc")
"""


@linux
def test_a_disk_without_room_ends_no_process(tmp_path):
    """HDF5 crashes when it ends, if it has seen that a write failed."""
    command = [sys.executable, "-c", FULL, tmp_path]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    sentences = done.stdout.splitlines()
    assert len(sentences) == 6
    assert all(re.match(r" cannot be written \(File too large\); make", s) for s in sentences)
    whole, last = ((tmp_path / name).read_bytes() for name in ("whole.nc", "cut.nc"))
    assert whole == last
