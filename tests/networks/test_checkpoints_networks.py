"""A network's run that was stopped is continued to the bits of one that never was."""

import dataclasses
import functools
import os
import signal
import subprocess
import sys
import time

import pytest
import xarray as xr

from cluster_support import numbers_of
from support import needs_torch

pytestmark = needs_torch
torch = pytest.importorskip("torch")

from attnscape.experiments import checkpoints, store  # noqa: E402
from attnscape.networks import WORKLOADS, NetworkNoise, NetworkRun, Schedules, noise  # noqa: E402
from attnscape.networks.data import Examples  # noqa: E402
from attnscape.optimizers import NAMED  # noqa: E402
from attnscape.optimizers.pytorch import TorchOptimizer  # noqa: E402
from attnscape.optimizers.references import get_optimizer  # noqa: E402
from attnscape.training import Status  # noqa: E402
from attnscape.training.checkpoints import UnusedCheckpointWarning  # noqa: E402
from networks.toy import TOY, toy_data, toy_model  # noqa: E402
from tests.checkpoint_support import Recorder  # noqa: E402

SIZE = TOY.sizes["small"]
EVERYTHING = Schedules(loss=3, smoothness=2, noise=4, curvature=5, pseudo=3, sharpness=6)


class Remembers(torch.nn.Module):
    """Dropout, batch norm, and a count and a last output that only this class knows of."""

    def __init__(self, features):
        super().__init__()
        self.body = torch.nn.Sequential(
            torch.nn.Linear(features, 6), torch.nn.BatchNorm1d(6), torch.nn.Dropout(0.4)
        )
        self.head = torch.nn.Linear(6, 1)
        self.register_buffer("mean", torch.zeros(1), persistent=False)
        self.calls, self.last, self.settings = 0, None, frozenset({"constant"})

    def forward(self, inputs):
        hidden = self.body(inputs)
        if self.training:
            self.calls += 1
            self.mean = 0.9 * self.mean + hidden.detach().mean()
            if self.last is not None:
                hidden = hidden + 0.1 * self.last * self.mean / self.calls
            self.last = hidden.detach().clone()
        return self.head(hidden)


REMEMBERS = dataclasses.replace(TOY, model=lambda facts: Remembers(facts["features"]))


def with_scheduler(parameters, lr):
    optimizer = torch.optim.Adam(parameters, lr=lr)
    return optimizer, torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=7)


class Noisy(torch.optim.SGD):
    """Steps with noise from PyTorch's global generator."""

    def step(self, closure=None):
        loss = super().step(closure)
        with torch.no_grad():
            for parameter in self.param_groups[0]["params"]:
                parameter.add_(torch.randn_like(parameter), alpha=1e-3)
        return loss


OPTIMIZERS = {
    **{name: NAMED[name] for name in ("sgdm", "adam", "lion", "muon", "schedule-free")},
    **{f"torch:{name}": get_optimizer(f"torch:{name}") for name in ("NAdam", "LBFGS", "SGD")},
    "scheduled": TorchOptimizer(with_scheduler),
    "noisy": TorchOptimizer(Noisy),
}


def run(name, *, workload=REMEMBERS, steps=14, **changes):
    return NetworkRun(
        workload, False, toy_data("packaged"), SIZE, name, OPTIMIZERS[name], 0.02, 3, steps,
        **changes,
    )  # fmt: skip


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_kind_of_optimizer_is_continued_bit_for_bit(name):
    """Batches of four passes; buffers, dropout, and what the network's class keeps."""
    it = run(name, clip=1.0, schedules=Schedules(loss=3))
    whole = it.run(checkpoints=(recorder := Recorder()))
    assert it.run().identical(whole)
    assert [step for _, step, _ in recorder.offered] == list(range(1, 15))
    assert {part for part, _, _ in recorder.offered} == {"seed-3"}
    # What is special about the first state and the one after the end of a pass are the batches.
    for index in (0, 6, 7, 13) if name in ("sgdm", "torch:SGD") else (6, 13):
        state = recorder.offered[index][2]
        later = Recorder({"seed-3": state})
        assert it.run(checkpoints=later).identical(whole)
        assert len(later.offered) == 14 - state["step"]


@pytest.mark.parametrize("full_batch", [False, True])
def test_all_measures_are_continued(full_batch):
    pseudo = {name: NAMED[name] for name in ("sgdm", "adam")}
    it = run("adam", schedules=EVERYTHING, full_batch=full_batch, pseudo_optimizers=pseudo)
    whole = it.run(checkpoints=(recorder := Recorder()))
    assert {"noise_norm", "condition_number", "pseudo_smoothness", "sharpness"} <= set(whole)
    for *_, state in recorder.offered[1::3]:
        assert it.run(checkpoints=Recorder({"seed-3": state})).identical(whole)


def test_what_was_measured_so_far_is_shown(tmp_path, monkeypatch):
    """Numbers of the result up to the checkpoint, and NaN where it has numbers of later steps."""
    monkeypatch.setattr(checkpoints, "_TIMES", 1)
    pseudo = {name: NAMED[name] for name in ("sgdm", "adam")}
    it = run("adam", schedules=EVERYTHING, pseudo_optimizers=pseudo)
    whole = it.run(checkpoints=(recorder := Recorder()))
    with_names = {name for name in whole if {"parameter", "layer"} & {*whole[name].dims}}
    for step in 0, 1, 8, 14:
        kept = checkpoints.CheckpointFolder(
            tmp_path, "a" * 64, {}, {"name": it.name, "spec": "{}"}, seconds=0.0
        )
        kept.describe(["seed-3"], 14, recorder.outline)
        if step:
            kept.offer("seed-3", step, lambda step=step: recorder.offered[step - 1][2])
        so_far = store.load(tmp_path / f"run-{'a' * 16}.nc", partial=True)
        assert so_far["status"].values.tolist() == [[[Status.under_way if step else 2]]]
        assert so_far.attrs["partial_of"] == "a" * 64
        assert so_far["step"].isin(whole["step"]).all()
        for name in set(so_far) - {"status"}:
            seen = (
                whole[name].sel(step=so_far["step"]) if "step" in whole[name].dims else whole[name]
            )
            if "step" in seen.dims:
                seen = seen.where(seen["step"] < step)
            xr.testing.assert_identical(so_far[name].drop_attrs(), seen.drop_attrs())
        kept.remove()
    assert set(whole) - set(so_far) == with_names


@pytest.mark.parametrize("forgotten", ["own", "buffers"])
def test_what_only_the_network_knows_decides_how_it_goes_on(forgotten):
    """So the tests above would fail if it were not in the state."""
    it = run("adam", schedules=Schedules(loss=3))
    whole = it.run(checkpoints=(recorder := Recorder()))
    first, later = (recorder.offered[index][2] for index in (0, 6))
    of_module = later["state"]["parts"]["module"]
    of_module[forgotten] = first["state"]["parts"]["module"][forgotten]
    assert not it.run(checkpoints=Recorder({"seed-3": later})).identical(whole)


def test_sums_keep_the_number_of_threads_that_they_were_begun_with():
    """A run may be begun in a process with one thread, and continued in one with two."""
    it, before = run("adam"), torch.get_num_threads()
    whole = it.run(checkpoints=(recorder := Recorder()))
    torch.set_num_threads(before + 1)
    try:
        again = it.run(checkpoints=Recorder({"seed-3": recorder.offered[6][2]}))
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)
    assert again.attrs["torch_threads"] == before
    assert again.identical(whole)


@pytest.mark.parametrize("name", WORKLOADS)
def test_every_workload_is_continued_bit_for_bit(name):
    workload = WORKLOADS[name]
    size = workload.sizes["tiny"]
    data = workload.data("packaged", **size.data)
    schedules = Schedules(loss=2)
    it = NetworkRun(
        workload, True, data, size, "adam", NAMED["adam"], 1e-3, 0, 4, schedules=schedules
    )
    whole = it.run(checkpoints=(recorder := Recorder()))
    assert len(recorder.offered) == 4
    state = recorder.offered[1][2]
    assert it.run(checkpoints=Recorder({"seed-0": state})).identical(whole)


@pytest.mark.parametrize("room", [100, 5], ids=["kept", "made-twice"])
def test_noise_is_continued_gradient_by_gradient(monkeypatch, room):
    """Eight gradients of a pass, again if there is no room for them, and six fresh ones."""
    monkeypatch.setattr(noise, "_KEPT", room * 4 * 50)
    size = dataclasses.replace(SIZE, batch=8)
    it = NetworkNoise(REMEMBERS, False, toy_data("packaged"), size, seeds=(0, 3), samples=6)
    parameters = sum(p.numel() for p in Remembers(3).parameters())
    assert parameters <= 50
    told = []
    whole = it.run(checkpoints=(recorder := Recorder()), progress=lambda *both: told.append(both))
    assert it.run().identical(whole)
    of_seed = 14 if room == 100 else 22
    assert told[-1] == (2 * of_seed, 2 * of_seed)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    offered = [(part, step, state) for part, step, state in recorder.offered]
    steps = [step for part, step, _ in offered if part == "seed-3"]
    assert steps == [*range(1, of_seed + 1), of_seed]
    finished = {part: state for part, _, state in offered}
    for state in [state for part, _, state in offered if part == "seed-3"][::3]:
        kept = Recorder({"seed-0": finished["seed-0"], "seed-3": state})
        assert it.run(checkpoints=kept).identical(whole)
        assert all(part == "seed-3" or step == of_seed for part, step, _ in kept.offered)


def test_a_state_of_another_network_or_optimizer_is_told_and_not_used():
    it = run("adam", workload=TOY)
    it.run(checkpoints=(recorder := Recorder()))
    state = recorder.offered[6][2]
    wider = dataclasses.replace(TOY, model=functools.partial(toy_model, hidden=5))
    for other in run("adam", workload=wider), run("lion", workload=TOY):
        with pytest.warns(UnusedCheckpointWarning, match=r"of seed-3 cannot be used \(.*starts ag"):
            got = other.run(checkpoints=Recorder({"seed-3": state}))
        assert got.identical(other.run())


class Drawn(Examples):
    """Draws its order batch by batch from the global generator, which training seeds, too."""

    def batches(self, batch, seed):
        torch.manual_seed(seed)
        for _ in range(self.examples // batch):
            places = torch.randint(self.examples, (batch,))
            yield tuple(tensor[places] for tensor in self.train)


def test_data_whose_order_cannot_be_found_again_are_told():
    data = toy_data("packaged")
    drawn = Drawn(data.name, data.facts, train=data.train, test=data.test)
    it = dataclasses.replace(run("adam", workload=TOY), data=drawn)
    whole = it.run(checkpoints=(recorder := Recorder()))
    kept = Recorder({"seed-3": recorder.offered[6][2]})
    with pytest.warns(UnusedCheckpointWarning, match=r"\(the data give other batches than before"):
        assert it.run(checkpoints=kept).identical(whole)


class Counter:
    def __init__(self):
        self.calls = 0


class HidesACount(Remembers):
    """Its state is in an object of a class that nobody can save."""

    def __init__(self, features):
        super().__init__(features)
        self.counter = Counter()

    def forward(self, inputs):
        self.counter.calls += self.training
        return super().forward(inputs)


def test_a_network_that_cannot_be_saved_is_told_and_trained_on(tmp_path):
    hides = dataclasses.replace(TOY, model=lambda facts: HidesACount(facts["features"]))
    it = run("adam", workload=hides)
    kept = checkpoints.CheckpointFolder(tmp_path, "0" * 64, {}, {"name": "mine"}, seconds=0.0)
    sentence = r"of mine can be written: the network's attribute \.counter cannot be saved; so the"
    with pytest.warns(UnusedCheckpointWarning, match=sentence) as said:
        result = it.run(checkpoints=kept)
    assert len(said) == 1
    assert result.identical(it.run())


@pytest.fixture
def stopped(tmp_path, monkeypatch):
    """A run that was stopped at step 9 of 14, and the file of its checkpoint."""
    monkeypatch.setattr(checkpoints, "_SECONDS", 0.0)
    monkeypatch.setattr(checkpoints, "_TIMES", 1)
    size = WORKLOADS["softmax-regression"].sizes["tiny"]
    workload = WORKLOADS["softmax-regression"]
    data = workload.data("packaged", **size.data)
    it = NetworkRun(workload, True, data, size, "adam", NAMED["adam"], 0.01, 3, 14)

    def progress(done, total):
        if done == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.load_or_run(it, tmp_path, progress)
    (file,) = tmp_path.rglob("*.checkpoint")
    return it, file


def test_a_run_is_continued_from_its_file(stopped, tmp_path):
    it, _ = stopped
    told = []
    again = store.load_or_run(it, tmp_path, lambda done, total: told.append(done))
    assert told[:3] == [0, 9, 10]
    assert again.drop_attrs().identical(it.run().drop_attrs())
    assert [path.suffix for path in tmp_path.iterdir()] == [".nc"]


def test_a_damaged_checkpoint_is_told_and_not_used(stopped, tmp_path):
    it, file = stopped
    whole = file.read_bytes()
    file.write_bytes(whole[:500] + bytes([whole[500] ^ 1]) + whole[501:])
    told = []
    with pytest.warns(UnusedCheckpointWarning, match="checksum is not that of its content; what"):
        again = store.load_or_run(it, tmp_path, lambda done, total: told.append(done))
    assert told[:2] == [0, 1]
    assert again.drop_attrs().identical(it.run().drop_attrs())


# The command of users, but with a checkpoint at every tenth of a second.
COMMAND = """
from attnscape.cli import main
from attnscape.experiments import checkpoints
checkpoints._SECONDS, checkpoints._TIMES = 0.1, 1
main.main()
"""
WORDS = (
    *("networks", "train", "softmax-regression", "--size", "tiny", "--seeds", "1"),
    *("--optimizers", "adam", "--learning-rates", "0.01", "--steps", "500"),
)


@pytest.fixture
def one_thread(monkeypatch):
    """Of PyTorch's, here and in processes that are started: a result says how many it had."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.skipif(not hasattr(os, "kill"), reason="needs signals")
@pytest.mark.parametrize(
    "signals",
    [
        [signal.SIGKILL],
        pytest.param([signal.SIGKILL, signal.SIGTERM], marks=pytest.mark.slow),
    ],
    ids=["once", "twice"],
)
def test_a_command_killed_along_the_way_has_the_result_of_one_that_was_not(
    signals, attnscape, tmp_path
):
    out = tmp_path / "killed"
    for number, sent in enumerate(signals):
        words = [sys.executable, "-c", COMMAND, *WORDS, "--out", str(out)]
        child = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        begun = time.monotonic()
        before = {path: path.read_bytes() for path in out.rglob("*.checkpoint")}
        while {path: path.read_bytes() for path in out.rglob("*.checkpoint")} == before:
            assert child.poll() is None, child.communicate()
            assert time.monotonic() - begun < 240
            time.sleep(0.02)
        child.send_signal(sent)
        child.communicate()
        assert child.returncode == (-sent if sent == signal.SIGKILL else 128 + sent), number
        assert len(list(out.rglob("*.checkpoint"))) == 1
    for folder in out, tmp_path / "whole":
        attnscape(*WORDS, "--out", folder)
    (of_killed,) = (out / "networks").glob("*.nc")
    (of_whole,) = (tmp_path / "whole" / "networks").glob("*.nc")
    assert numbers_of(of_killed) == numbers_of(of_whole)
    assert not (out / "networks" / checkpoints.FOLDER).exists()
