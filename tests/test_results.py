"""A result file is whole or not there, says what made it, and is found again."""

import dataclasses
import fcntl
import functools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from attnscape import Experiment, LinearTransformer, RegressionTask, files, spec
from attnscape.errors import UsageError
from attnscape.experiments import store
from attnscape.measures import EvaluationLoss, every
from attnscape.optimizers import sgdm

TINY = Experiment(
    name="tiny",
    task=RegressionTask(dim=2, context=3),
    model=functools.partial(LinearTransformer.init, layers=1, dim=2),
    optimizers={"sgdm": sgdm},
    learning_rates={"sgdm": (0.1,)},
    seeds=(0,),
    steps=2,
    batch=4,
    measures=(EvaluationLoss(every(1)),),
    evaluation_batch=4,
)
names = st.text("abcdefghijklmnopqrstuvwxyz", min_size=1)
values = st.sampled_from([np.float32, np.float64, np.int8, np.int32, np.int64]).flatmap(
    lambda dtype: arrays(dtype, array_shapes(max_dims=3, max_side=3))
)


@st.composite
def datasets(draw):
    given = draw(st.dictionaries(names, values, min_size=1, max_size=3))
    variables = {
        name: ([f"{name}_{i}" for i in range(value.ndim)], value, {"long_name": draw(names)})
        for name, value in given.items()
    }
    labels = st.text(min_size=1).filter(lambda text: "\0" not in text)
    return xr.Dataset(
        variables,
        coords={"optimizer": draw(st.lists(labels, min_size=1, max_size=3))},
        attrs=draw(st.dictionaries(names, labels)) | {"schema_version": store.SCHEMA_VERSION},
    )


@settings(deadline=None, max_examples=30)
@given(datasets())
def test_what_is_saved_is_loaded(tmp_path_factory, dataset):
    path = tmp_path_factory.mktemp("round") / "trip.nc"
    store.save(dataset, path)
    loaded = store.load(path)
    xr.testing.assert_identical(loaded, dataset)
    assert {n: v.dtype for n, v in loaded.items()} == {n: v.dtype for n, v in dataset.items()}
    assert [file.name for file in path.parent.iterdir()] == ["trip.nc"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A result in a folder of its own."""
    folder = tmp_path_factory.mktemp("finished")
    store.load_or_run(TINY, folder)
    return store.find(TINY, folder)


def test_a_result_says_what_made_it(finished):
    attributes = store.load(finished).attrs
    assert attributes["name"] == "tiny"
    assert attributes["run_id"] == TINY.run_id == spec.digest(json.loads(attributes["identity"]))
    assert json.loads(attributes["spec"])["steps"] == 2
    assert attributes["precision"] == "float32"
    assert attributes["schema_version"] == store.SCHEMA_VERSION
    assert json.loads(attributes["versions"]).keys() >= {"python", "attnscape", "jax", "numpy"}
    assert attributes["kernels"].partition(",")[0] in ("native", "xla")


def test_a_finished_result_is_found_under_any_name_and_not_trained_again(tmp_path, monkeypatch):
    trained = []

    def run(experiment, progress, checkpoints):
        trained.append(experiment.name)
        return xr.Dataset({"loss": float(len(trained))})

    monkeypatch.setattr(Experiment, "run", run)
    folder = tmp_path / "new" / "folder"
    first = store.load_or_run(TINY, folder)
    again = store.load_or_run(dataclasses.replace(TINY, name="other"), folder)
    xr.testing.assert_identical(first, again)
    assert trained == ["tiny"]
    store.load_or_run(dataclasses.replace(TINY, name="longer", steps=3), folder)
    assert trained == ["tiny", "longer"]


# Writes half of the file, or everything but the final renaming, and waits to be killed.
VICTIM = """
import sys, time
from pathlib import Path
from attnscape import files
from attnscape.experiments import netcdf, store

def wait(*_):
    print("ready", flush=True)
    time.sleep(600)

def half(file):
    file.truncate(file.seek(0, 2) // 2)
    wait()

dataset = store.load(sys.argv[1])
if sys.argv[2] == "half":
    netcdf.append_checksum = half
else:
    files.os.fsync = wait
store.save(dataset, Path(sys.argv[3]))
"""


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
@pytest.mark.parametrize("when", ["half", "unnamed"])
def test_a_killed_writer_leaves_no_result_and_the_next_one_cleans_up(finished, tmp_path, when):
    path = tmp_path / store.file_name(TINY)
    command = [sys.executable, "-c", VICTIM, finished, when, path]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as victim:
        assert victim.stdout.readline() == b"ready\n"
        victim.send_signal(signal.SIGKILL)
    (partial,) = tmp_path.iterdir()
    assert partial.suffix == ".partial"
    assert store.find(TINY, tmp_path) is None
    store.save(store.load(finished), path)
    assert list(tmp_path.iterdir()) == [path]


def test_only_what_a_dead_process_of_this_host_left_is_removed(finished, tmp_path):
    path, this = tmp_path / "a.nc", files.Writer.this()
    parent = dataclasses.replace(files.Writer.this(), process=os.getppid())
    parent = dataclasses.replace(parent, started=files._started(parent.process))
    with subprocess.Popen(["true"]) as ended:
        pass
    stay = [parent, dataclasses.replace(this, host="0" * 8, process=ended.pid)]
    stay += [f"{os.getppid()}", "", "x-y-z", "..", f"{this.host}-1-", f"{this.host}-²-1", "1" * 200]
    go = [
        dataclasses.replace(this, process=ended.pid),
        dataclasses.replace(this, started=this.started + 1),  # this number was given again
        dataclasses.replace(this, process=10**17),
    ]
    for writer in [*stay, *go]:
        (tmp_path / f".a.nc.{writer}.partial").touch()
    store.save(store.load(finished), path)
    left = {file.name for file in tmp_path.iterdir()}
    assert left == {"a.nc", *(f".a.nc.{writer}.partial" for writer in stay)}


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (KeyboardInterrupt, "^$"),
        (OSError(28, "a long story"), r"a\.nc cannot be written \(No space left on device\); make"),
    ],
)
def test_a_failed_write_leaves_the_old_result_and_nothing_else(tmp_path, error, sentence):
    def write(text, *errors):
        with files.atomic(tmp_path / "a.nc") as partial:
            partial.write_text(text)
            for error in errors:
                raise error

    write("whole")
    with pytest.raises((KeyboardInterrupt, UsageError), match=sentence):
        write("half", error)
    assert [file.read_text() for file in tmp_path.iterdir()] == ["whole"]


@pytest.mark.parametrize("share", [0, 1e-3, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(finished, tmp_path, share):
    path = tmp_path / finished.name
    whole = finished.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(UsageError, match=r"is damaged or not a NetCDF file .*; delete it and run"):
        store.load_or_run(TINY, tmp_path)


def test_a_flipped_bit_anywhere_is_noticed(finished, tmp_path):
    """In the checksum's own mark it may pass, for then the result itself is whole."""
    path, whole, result = tmp_path / finished.name, finished.read_bytes(), store.load(finished)
    bits = np.random.default_rng(0).integers(8 * len(whole), size=150)
    last = np.arange(8 * (len(whole) - 90), 8 * len(whole), 5)  # mark and digest
    refused = 0
    for bit in [*bits.tolist(), *last.tolist()]:
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(bytes(damaged))
        try:
            assert store.load(path).identical(result)
        except UsageError as error:
            assert "is damaged or not a NetCDF file" in str(error)  # noqa: PT017
            refused += 1
    assert refused >= len(bits)


def test_other_readers_take_no_notice_of_the_checksum(finished):
    assert xr.load_dataset(finished).identical(store.load(finished))


def test_a_file_without_a_checksum_is_read(finished, tmp_path):
    path = tmp_path / finished.name
    store.load(finished).to_netcdf(path, engine="h5netcdf")
    assert store.load(path).identical(store.load(finished))


def test_what_is_not_a_result_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"There is no result file .*missing\.nc; results end in"):
        store.load(tmp_path / "missing.nc")
    text = tmp_path / "text.nc"
    text.write_text("loss,1.0")
    with pytest.raises(UsageError, match=r"text\.nc is damaged or not a NetCDF file"):
        store.load(text)
    store.save(xr.Dataset({"loss": 1.0}), tmp_path / "foreign.nc")
    with pytest.raises(UsageError, match=r"foreign\.nc was not written by attnscape"):
        store.load(tmp_path / "foreign.nc")
    store.save(xr.Dataset(attrs={"schema_version": 999}), tmp_path / "future.nc")
    with pytest.raises(UsageError, match="schema version 999; this version of attnscape reads 2"):
        store.load(tmp_path / "future.nc")


def test_a_valid_result_under_anothers_name_is_refused(finished, tmp_path):
    other = dataclasses.replace(TINY, steps=3)
    path = tmp_path / store.file_name(other)
    path.write_bytes(finished.read_bytes())
    with pytest.raises(UsageError, match=r"holds \w{16}: it was renamed or copied; delete it and"):
        store.load_or_run(other, tmp_path)


@pytest.mark.parametrize("name", ["spec", "versions", "kernels"])
def test_a_result_that_lost_an_attribute_is_refused(finished, tmp_path, name):
    dataset = store.load(finished)
    del dataset.attrs[name]
    store.save(dataset, tmp_path / finished.name)
    with pytest.raises(UsageError, match=f"has lost its attribute '{name}'; delete it and run"):
        store.load_or_run(TINY, tmp_path)


def test_a_result_that_another_program_has_open_is_read(finished, tmp_path):
    path = tmp_path / finished.name
    path.write_bytes(finished.read_bytes())
    with path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(BlockingIOError):
            h5py.File(path, locking=True)
        assert store.load(path).identical(store.load(finished))


def test_a_result_that_may_not_be_read_is_not_called_damaged(finished, monkeypatch):
    def refuse(path, mode):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(UsageError, match=r"cannot be read \(Permission denied\); see who may"):
        store.load(finished)


def test_a_result_of_an_earlier_schema_is_refused(finished, tmp_path):
    path = tmp_path / finished.name
    store.save(store.load(finished).assign_attrs(schema_version=1), path)
    with pytest.raises(UsageError, match="has schema version 1; this version of attnscape reads 2"):
        store.load_or_run(TINY, tmp_path)


def test_a_folder_that_cannot_be_made_is_refused_before_training(tmp_path, monkeypatch):
    monkeypatch.setattr(Experiment, "run", lambda *_: pytest.fail("trained in vain"))
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"cannot be made \(.*\); choose another with --out\."):
        store.load_or_run(TINY, tmp_path / "file" / "below")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_refused_before_training(tmp_path, monkeypatch):
    monkeypatch.setattr(Experiment, "run", lambda *_: pytest.fail("trained in vain"))
    tmp_path.chmod(0o500)
    with pytest.raises(UsageError, match=r"cannot be written; choose another with --out\."):
        store.load_or_run(TINY, tmp_path)


@pytest.mark.parametrize("name", ["", "a/b", "../a", ".hidden", "a\n", "a" * 101])
def test_a_name_that_does_not_do_for_a_file_is_refused(name):
    with pytest.raises(UsageError, match="does not do for a file; give at most 100 letters"):
        dataclasses.replace(TINY, name=name)
