"""Runs on a cluster: a real scheduler and real workers on this machine give the bits of one."""

import contextlib
import dataclasses
import functools
import os
import signal
import sys
import textwrap
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
import xarray as xr

pytest.importorskip("distributed", reason="Dask is not installed")

import distributed

from attnscape import LinearTransformer, RegressionTask, spec
from attnscape.errors import UsageError
from attnscape.experiments import checkpoints, store
from attnscape.experiments.experiment import Experiment
from attnscape.files import Writer
from attnscape.identity import Identity
from attnscape.loading import load_object
from attnscape.measures import EvaluationLoss, every
from attnscape.optimizers import adam, sgdm
from attnscape.training import Status
from attnscape.workflows.cluster_chunks import AgainError, Chunk, RefusedError, judge
from attnscape.workflows.cluster_worker import Message, Outcome, compute, setup
from attnscape.workflows.clusters import Cluster
from attnscape.workflows.open_cluster import opened, workers_abreast
from attnscape.workflows.places import Job, LostError, Submitted
from attnscape.workflows.run_queue import RunQueue
from attnscape.workflows.runs import load_or_run_all
from attnscape.workflows.sending import Sender
from cluster_support import (
    FACTORY,
    answers,
    equal_results,
    free_port,
    numbers_of,
    option_of,
    started,
    stranger,
    until,
    worker_of,
)

TINY = Experiment(
    "tiny",
    RegressionTask(dim=2, context=3),
    functools.partial(LinearTransformer.init, layers=1, dim=2),
    {"sgdm": sgdm, "adam": adam},
    {"sgdm": (0.1,), "adam": (0.01, 0.02)},
    seeds=(3, 0, 1, 7, 5),
    steps=6,
    batch=8,
    measures=(EvaluationLoss(every(2)),),
    evaluation_batch=8,
)
ONE_SEED = dataclasses.replace(TINY, seeds=(0,))
LONG = dataclasses.replace(TINY, name="long", seeds=(0, 1), steps=20_000)


@pytest.fixture(scope="module")
def cluster():
    with opened("local:2") as made:
        made._abreast = None  # cuts as if each worker had processors of its own
        yield made


@pytest.fixture(scope="module")
def alone():
    """A cluster of one worker."""
    with opened("local:1") as made:
        yield made


@pytest.fixture(scope="module")
def refused(alone):
    """Beside that worker another one, whose settings are not those of this process."""
    with stranger(alone, {**os.environ, "ATTNSCAPE_KERNELS": "off"}) as other:
        yield other


def silent(words):
    """Says nothing."""


def result_of(experiment, folder):
    return numbers_of(store.find(experiment, folder))


def test_a_job_is_cut_along_the_seeds_of_its_experiment(tmp_path):
    whole = Job(TINY, tmp_path)
    for pieces in (2, 3, 5, 9):
        cut = whole.cut(pieces)
        assert len(cut) == min(pieces, 5)
        assert sum((job.seeds for job in cut), ()) == TINY.seeds
        assert sum(job.run_steps for job in cut) == whole.run_steps
    assert whole.cut(1) == [whole]
    assert Job(SimpleNamespace(seeds=(0, 1)), tmp_path).cut(2)[0].seeds is None


@pytest.mark.parametrize(
    ("local", "processors", "abreast", "pieces"),
    [(2, 2, 1, 1), (2, 4, 2, 2), (4, 4, 2, 2), (2, 8, 2, 2), (8, 64, 8, 5), (1, 2, 1, 1)],
)
def test_local_processes_cut_an_experiment_only_if_processors_would_be_idle(
    local, processors, abreast, pieces, tmp_path, monkeypatch
):
    """A process has two threads at least, so two of them are too many for two processors."""
    monkeypatch.setattr("attnscape.workflows.open_cluster.processors", lambda: processors)
    monkeypatch.setattr("attnscape.workflows.open_cluster.xla_threads", lambda: processors)
    assert workers_abreast(f"local:{local}") == abreast
    sent = []
    addresses = [f"tcp://worker-{number}" for number in range(local)]
    client = SimpleNamespace(
        subscribe_topic=lambda topic, hear: None,
        nthreads=lambda: addresses,
        submit=lambda *args, **options: sent.append(options["key"]) or Future(),
        cancel=lambda tasks, force: None,
    )
    cluster = Cluster(client, abreast=abreast)
    cluster.submit(Job(TINY, tmp_path))
    assert len(sent) == pieces
    cluster.stop()
    # Each worker elsewhere has processors of its own.
    elsewhere = Cluster(client)
    elsewhere.submit(Job(TINY, tmp_path))
    assert len(sent) == pieces + min(local, 5)
    elsewhere.stop()


def test_a_cluster_writes_the_numbers_that_one_process_writes(cluster, tmp_path):
    """Of whole experiments, and of one that is cut."""
    others = [dataclasses.replace(TINY, steps=steps) for steps in (2, 4)]
    said = []
    wanted = dict(enumerate([*others, TINY]))
    load_or_run_all(wanted, tmp_path / "many", "trial", said.append, cluster=cluster)
    assert said[0] == "trial: running 3 runs on 2 workers, 180 run-steps"
    for each in wanted.values():
        store.load_or_run(each, tmp_path / "one")
        assert result_of(each, tmp_path / "many") == result_of(each, tmp_path / "one")
    # Neither checkpoints nor what was sent to the workers are left.
    cluster.stop()
    cluster._stopped = False
    assert {path.suffix for path in (tmp_path / "many").iterdir()} == {".nc"}


def test_an_experiment_alone_is_cut_and_seeds_that_are_finished_are_kept(cluster, tmp_path):
    first = Job(TINY, tmp_path, TINY.seeds[:2])
    first(lambda done, total: None)
    assert store.find(TINY, tmp_path) is None
    folder = checkpoints.folder_of(tmp_path, TINY.run_id)
    assert checkpoints.finished_parts(folder) == {"seed-3", "seed-0"}
    so_far = store.load(tmp_path / store.file_name(TINY), partial=True)
    assert so_far["seed"].values.tolist() == list(TINY.seeds)  # the outline of the whole
    assert (so_far["status"] == Status.finished).any(
        ["optimizer", "learning_rate"]
    ).values.tolist() == [True, True, False, False, False]
    with RunQueue(tmp_path, cluster) as queue:
        queue.compute([TINY], "trial", silent)
    store.load_or_run(TINY, tmp_path / "one")
    assert result_of(TINY, tmp_path) == result_of(TINY, tmp_path / "one")


def test_workers_wait_for_a_process_that_computes_the_same_run(cluster, tmp_path, monkeypatch):
    begun, go, of_class = threading.Event(), threading.Event(), Experiment.run

    def run(experiment, progress, checkpoints):
        begun.set()
        assert go.wait(60)
        return of_class(experiment, progress, checkpoints)

    monkeypatch.setattr(Experiment, "run", run)  # in this process
    with ThreadPoolExecutor(1) as pool:
        here = pool.submit(store.load_or_run, TINY, tmp_path)
        assert begun.wait(60)
        there = cluster.submit(Job(TINY, tmp_path)).future
        until(lambda: any(cluster._client.processing().values()))
        with pytest.raises(TimeoutError):
            there.result(2)
        assert not checkpoints.folder_of(tmp_path, TINY.run_id).exists()
        go.set()
        here.result(60)
        there.result(60)
    assert not checkpoints.folder_of(tmp_path, TINY.run_id).exists()


@dataclasses.dataclass(frozen=True)
class Trial:
    """A run that marks in a file when it begins; then it fails, or ends when there is a file."""

    name: str
    begun: Path
    go: Path | None = None
    error: type[Exception] = ValueError

    at_once, run_steps, precision = 1, 5, "float32"

    @property
    def identity(self):
        return Identity({"name": self.name})

    @property
    def run_id(self):
        return spec.digest(self.identity.content)

    def spec(self):
        return {"seeds": [0], "steps": 5}

    def run(self, progress, checkpoints):
        with self.begun.open("a") as marks:
            marks.write(f"{os.getpid()}\n")
        if self.go is None:
            raise self.error("The disk is on fire.")
        while not self.go.exists():
            time.sleep(0.05)
        return xr.Dataset({"loss": 1.0})


def test_a_chunk_that_fails_three_times_is_told_and_the_others_go_on(cluster, tmp_path):
    often, once = tmp_path / "often", tmp_path / "once"
    wanted = [Trial("broken", often), TINY, Trial("wrong", once, error=UsageError)]
    with RunQueue(tmp_path, cluster) as queue, pytest.raises(UsageError) as told:
        queue.compute(wanted, "trial", silent)
    sentence = (
        "broken was given up after 3 tries: A part of yours failed: ValueError: The disk is on"
    )
    assert sentence in str(told.value)
    assert "wrong: The disk is on fire." in str(told.value)
    assert len(often.read_text().splitlines()) == 3
    assert len(once.read_text().splitlines()) == 1  # a mistake is not repeated
    assert store.find(TINY, tmp_path) is not None


def test_two_commands_with_one_cluster_compute_each_run_once(cluster, tmp_path):
    """In one folder; and in another one the same run again, with the same bits."""
    gated = Trial("gated", tmp_path / "begun", tmp_path / "go")
    address = cluster._client.scheduler.address

    def command(folder, *wanted):
        with (
            distributed.Client(address, set_as_default=False) as client,
            RunQueue(folder, Cluster(client)) as queue,
        ):
            queue.compute(wanted, "trial", silent)

    with ThreadPoolExecutor(3) as pool:
        commands = [pool.submit(command, tmp_path, gated, TINY) for _ in range(2)]
        commands.append(pool.submit(command, tmp_path / "other", TINY))
        until(gated.begun.exists)
        gated.go.touch()
        for each in commands:
            each.result(120)
    assert len(lines_of(gated)) == 1
    assert len(list(tmp_path.glob("*.nc"))) == 2
    store.load_or_run(TINY, tmp_path / "one")
    for folder in (tmp_path, tmp_path / "other"):
        assert result_of(TINY, folder) == result_of(TINY, tmp_path / "one")
        assert not (folder / checkpoints.FOLDER).exists()


@dataclasses.dataclass(frozen=True)
class Blocks(Trial):
    """A run whose result cannot get its name."""

    def run(self, progress, checkpoints):
        (self.begun / store.file_name(self) / "in the way").mkdir(parents=True)
        return xr.Dataset({"loss": 1.0})


def test_a_result_that_is_elsewhere_is_told_by_the_worker_that_has_it(tmp_path, monkeypatch):
    """Another try would fail before its first step, and only say that there is no room."""
    worker = SimpleNamespace(address="tcp://a:1", log_event=lambda topic, event: None, nanny=None)
    monkeypatch.setattr("distributed.get_worker", lambda: worker)
    monkeypatch.setenv("ATTNSCAPE_CACHE", str(tmp_path / "cache"))
    run = Blocks("full", tmp_path)
    content, has_own = Sender(tmp_path).to_bytes(Job(run, tmp_path))
    outcome = compute(
        Message(content, run.run_id, has_own, setup(), tmp_path, "topic", "key", 1.0, 1_000)
    )
    kept = tmp_path / "cache" / "results" / store.file_name(run)
    assert kept.is_file()
    assert "cannot be written (Is a directory); make room" in outcome.failed
    assert f"result is not lost, it is {kept}: move it there" in outcome.failed
    assert outcome.failed.endswith("This is on the worker tcp://a:1.")


def test_own_parts_are_loaded_by_their_path(cluster, tmp_path):
    """A closure has no name that pickle knows, but the user has given it one."""
    file = tmp_path / "mine.py"
    file.write_text(
        "import optax\nfrom helper import RATE\n"
        "mine = (lambda factor: lambda rate: optax.sgd(factor * rate))(RATE)\n"
    )
    (tmp_path / "helper.py").write_text("RATE = 0.5\n")
    factory = load_object(f"{file}:mine")
    rates = {"mine": (0.1,)}
    own = dataclasses.replace(TINY, optimizers={"mine": factory}, learning_rates=rates)
    assert own.at_once == 0  # which a cluster does not mind
    with RunQueue(tmp_path, cluster) as queue:
        queue.compute([own], "trial", silent)
    store.load_or_run(own, tmp_path / "one")
    assert result_of(own, tmp_path) == result_of(own, tmp_path / "one")
    # A worker that finds another file there has another run.
    changed = dataclasses.replace(own, steps=7)
    (tmp_path / "helper.py").write_text("RATE = 0.25\n")
    with RunQueue(tmp_path, cluster) as queue:
        with pytest.raises(UsageError, match="other files than this process"):
            queue.compute([changed], "trial", silent)
        cluster._refusals.clear()
        file.unlink()
        with pytest.raises(UsageError, match=r"There is no file .*mine\.py"):
            queue.compute([changed], "trial", silent)


def test_data_of_commands_that_were_killed_are_removed(tmp_path):
    this = Writer.this()
    gone = dataclasses.replace(this, started=this.started + 1)
    elsewhere = dataclasses.replace(gone, host="0" * 8)
    kept = [tmp_path / f".cluster-{each}-b" for each in (this, elsewhere)]
    for folder in (*kept, tmp_path / f".cluster-{gone}-a_1"):
        folder.mkdir()
        (folder / "data-0.pickle").touch()
    sender = Sender(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([*kept, sender.folder])


def test_a_folder_keeps_the_name_that_other_machines_know(tmp_path):
    (tmp_path / "there").mkdir()
    (link := tmp_path / "link").symlink_to(tmp_path / "there")
    jobs = []

    def submit(job, waiting):
        jobs.append(job)
        job(lambda done, total: None)
        (done := Future()).set_result(None)
        return Submitted(done, lambda: (0, 0))

    place = SimpleNamespace(takes=lambda run: True, has_room=True, submit=submit)
    with RunQueue(link, place) as queue:
        queue.add([TINY])
    assert [job.directory for job in jobs] == [link]


def test_what_no_other_process_finds_is_left_to_this_one(cluster):
    unknown = SimpleNamespace(identity=Identity({}, ("it depends on the time",)))
    assert not cluster.takes(unknown)


def lines_of(trial):
    """The processes that have begun it."""
    return trial.begun.read_text().splitlines()


def pids(client):
    return client.run(os.getpid)


def goes_on_when_its_worker_is_killed(cluster, folder):
    trial = Trial("gated", folder / "begun", folder / "go")
    with RunQueue(folder, cluster) as queue:
        queue.add([trial])
        until(lambda: trial.begun.exists() and trial.begun.read_text())
        os.kill(int(trial.begun.read_text()), signal.SIGKILL)
        trial.go.touch()
        queue.compute([trial], "trial", silent)
    assert len(set(lines_of(trial))) == 2
    assert store.find(trial, folder) is not None


@pytest.mark.slow  # by day with a chunk that kills each of its workers
def test_a_worker_that_is_killed_is_replaced_and_its_chunk_computed_again(cluster, tmp_path):
    goes_on_when_its_worker_is_killed(cluster, tmp_path)


@pytest.mark.slow  # by day with one that waits beside it
def test_a_chunk_that_kills_its_workers_is_given_up(cluster, tmp_path):
    trial = Trial("deadly", tmp_path / "begun", tmp_path / "never")
    with RunQueue(tmp_path, cluster) as queue:
        queue.add([trial])
        for time_ in range(1, 4):
            until(lambda n=time_: trial.begun.exists() and trial.begun.read_text().count("\n") == n)
            os.kill(int(trial.begun.read_text().splitlines()[-1]), signal.SIGKILL)
        with pytest.raises(UsageError, match=r"deadly was given up after 3 tries: .* died"):
            queue.compute([trial], "trial", silent)


@pytest.mark.slow  # half a minute of training
def test_a_training_goes_on_after_its_worker_was_killed_with_the_same_bits(cluster, tmp_path):
    with RunQueue(tmp_path, cluster) as queue:
        queue.add([LONG])
        until(lambda: any(chunk.done for chunk in cluster._under_way.values()))
        os.kill(next(iter(pids(cluster._client).values())), signal.SIGKILL)
        queue.compute([LONG], "trial", silent)
    store.load_or_run(LONG, tmp_path / "one")
    assert result_of(LONG, tmp_path) == result_of(LONG, tmp_path / "one")


def test_a_chunk_that_waits_beside_a_deadly_one_is_not_given_up_for_it(alone, tmp_path):
    """Dask blames a worker's death on all that the worker held."""
    deadly = Trial("deadly", tmp_path / "begun", tmp_path / "never")
    beside = Trial("beside", tmp_path / "waited", tmp_path / "begun")
    with RunQueue(tmp_path, alone) as queue:
        queue.add([deadly, beside])
        assert len(alone._under_way) == 2
        for time_ in range(1, 4):
            until(lambda n=time_: deadly.begun.exists() and len(lines_of(deadly)) == n)
            os.kill(int(lines_of(deadly)[-1]), signal.SIGKILL)
        sentence = r"^deadly was given up after 3 tries: .* died"
        with pytest.raises(UsageError, match=sentence) as told:
            queue.compute([deadly, beside], "trial", silent)
    assert len(set(lines_of(deadly))) == 3  # a new process has taken the place of each
    assert "beside" not in str(told.value)
    assert store.find(beside, tmp_path) is not None


def test_deaths_count_only_if_the_chunk_got_no_further(tmp_path):
    task = SimpleNamespace(
        status="error", exception=lambda: distributed.KilledWorker("chunk", None, 2)
    )
    chunk = Chunk(Job(TINY, tmp_path), None)

    def dies(worker, *reports):
        chunk.tries += 1
        for done in (0, *reports):
            chunk.hear(done, worker)
        return judge(chunk, task)

    for life in range(10):  # each goes on from a checkpoint before the furthest step
        assert isinstance(dies(f"tcp://{life}", 5 * life, 5 * life + 8), AgainError)
    assert isinstance(dies("tcp://a", 50, 53), AgainError)
    assert isinstance(error := dies("tcp://b", 50, 53), UsageError)
    assert "was given up after 3 tries" in str(error)


def test_a_folder_that_was_removed_is_told_and_no_fault_of_the_worker(tmp_path):
    refused = SimpleNamespace(
        status="finished", result=lambda: Outcome("tcp://a", refused="it does not see the folder")
    )
    chunk = Chunk(Job(TINY, tmp_path), SimpleNamespace(token=tmp_path / ".cluster-0"))
    chunk.message.token.mkdir()
    assert isinstance(judge(chunk, refused), RefusedError)
    chunk.message.token.rmdir()
    assert isinstance(error := judge(chunk, refused), UsageError)
    assert f"tiny has lost its folder {tmp_path}, which was removed" in str(error)


def test_a_chunk_that_is_sent_again_while_its_last_try_ends_is_under_way(tmp_path):
    client = SimpleNamespace(
        subscribe_topic=lambda topic, hear: None,
        nthreads=lambda: ["tcp://worker"],
        submit=lambda *args, **options: Future(),
    )
    cluster = Cluster(client)
    cluster.submit(Job(TINY, tmp_path))
    (chunk,) = cluster._under_way.values()

    class Ends:
        status = "finished"

        def result(self):
            cluster._send(chunk)
            return Outcome("tcp://worker")

    chunk.task = Ends()
    cluster._ended(chunk, chunk.task)
    assert list(cluster._under_way.values()) == [chunk]
    assert not chunk.ended.done()


def test_a_worker_that_dies_before_its_outcome_is_read_has_lost_nothing(
    alone, tmp_path, monkeypatch
):
    """The task that Dask has called back for is then lost, and so is no scheduler."""
    seen = []

    def late(chunk, task):
        if not seen:
            (pid,) = pids(alone._client).values()
            os.kill(pid, signal.SIGKILL)
            until(lambda: task.status != "finished")
        seen.append(task.status)
        return judge(chunk, task)

    monkeypatch.setattr("attnscape.workflows.clusters.judge", late)
    with RunQueue(tmp_path, alone) as queue:
        queue.compute([TINY], "trial", silent)
    assert seen == ["lost", "finished"]
    assert store.find(TINY, tmp_path) is not None


@pytest.fixture
def workers(monkeypatch):
    """A cluster of workers that do nothing, how to set them, and who may compute what is sent."""
    monkeypatch.setattr("attnscape.workflows.roster.GLANCE", 0.05)
    there, sent = list[str](), []

    def are(*addresses):
        there[:] = addresses
        time.sleep(0.1)  # until the cluster asks anew

    client = SimpleNamespace(
        subscribe_topic=lambda topic, hear: None,
        nthreads=lambda: there,
        submit=lambda *args, **options: sent.append(options["workers"]) or Gone(),
        scheduler=SimpleNamespace(address="tcp://scheduler"),
        status="running",
    )
    return Cluster(client), are, sent


class Gone(Future):
    """A task of Dask's that nobody computes."""

    def cancel(self, force):
        return True


def refuse(cluster, worker):
    """Lets a worker refuse the only chunk that is under way."""
    (chunk,) = cluster._under_way.values()
    outcome = Outcome(worker, refused="its disk is full")
    chunk.task = SimpleNamespace(status="finished", result=lambda: outcome)
    cluster._ended(chunk, chunk.task)
    return chunk


def test_a_chunk_waits_for_the_process_that_takes_the_place_of_the_only_able_one(tmp_path, workers):
    """And is not sent meanwhile to workers that have refused others."""
    cluster, workers_are, sent = workers
    workers_are("able", "other")
    cluster._refusals["other"] = "its disk is full"
    assert cluster._able() == {"able"}
    workers_are("other")
    cluster.submit(Job(ONE_SEED, tmp_path))
    workers_are("other", "new")
    assert cluster.has_room
    assert sent == [["able"], ["new"]]


def test_a_worker_that_refuses_while_the_others_are_replaced_is_not_asked_again(
    tmp_path, workers, monkeypatch
):
    cluster, workers_are, sent = workers
    workers_are("able", "other")
    cluster.submit(Job(ONE_SEED, tmp_path))
    workers_are("other")
    chunk = refuse(cluster, "other")
    assert not chunk.ended.done()
    assert sent == [None, ["able"]]
    assert not cluster.lack
    monkeypatch.setattr("attnscape.workflows.clusters.LACKING", 0)
    assert "chunks wait for another worker" in cluster.lack
    assert "other refused: its disk is full" in cluster.lack
    workers_are("other", "new")
    assert cluster.has_room
    assert sent == [None, ["able"], ["new"]]
    assert not cluster.lack


def test_a_chunk_that_all_workers_refuse_is_given_up(tmp_path, workers):
    cluster, workers_are, sent = workers
    workers_are("able", "other")
    cluster.submit(Job(ONE_SEED, tmp_path))
    refuse(cluster, "other")
    assert sent == [None, ["able"]]
    workers_are("able")  # one that is gone says nothing of those that are there
    chunk = refuse(cluster, "able")
    with pytest.raises(UsageError, match=r"^No worker can compute tiny.*: able refused: its disk"):
        chunk.ended.result(0)


def test_a_process_is_replaced_when_it_has_served_often(alone, tmp_path):
    often = Cluster(alone._client, alone._made, served=1)
    before = set(pids(alone._client).values())

    def replaced():
        return (now := set(pids(alone._client).values())) and not now & before

    for cluster, steps in ((often, 1), (alone, 2)):
        each = dataclasses.replace(TINY, steps=steps)
        with RunQueue(tmp_path, cluster) as queue:
            queue.compute([each], "trial", silent)
        assert store.find(each, tmp_path) is not None
        until(replaced)
    often.stop()


def test_a_worker_with_other_settings_refuses(alone, refused, tmp_path):
    """Of two workers only the one that is like this process computes."""
    for steps in range(1, 5):
        with RunQueue(tmp_path, alone) as queue:
            queue.compute([dataclasses.replace(TINY, steps=steps)], "trial", silent)
    assert list(alone._refusals) == [refused]
    assert "kernels" in alone._refusals[refused]
    assert alone.words == "2 workers, 1 of them refused"


def test_a_chunk_does_not_wait_for_workers_that_are_gone(alone, refused, tmp_path):
    """Once a worker has refused, a chunk is for the others; new ones count when those are gone."""
    alone._refusals[refused] = "its disk is full"
    goes_on_when_its_worker_is_killed(alone, tmp_path)


def test_a_cluster_whose_processes_cannot_start_again_is_told(tmp_path):
    def lose():
        with opened("local:1") as made:
            for nanny in made._made.workers.values():
                made._client.sync(nanny.close)
            with RunQueue(tmp_path, made) as queue:
                queue.compute([TINY], "trial", silent)

    with pytest.raises(UsageError, match=r"^All processes of the cluster have ended"):
        lose()


def test_a_lost_scheduler_is_told_and_the_same_command_goes_on(tmp_path):
    address = f"tcp://127.0.0.1:{(port := free_port())}"
    words = ("distributed.cli.dask_scheduler", "--port", str(port), "--no-dashboard")
    trial = Trial("gated", tmp_path / "begun", tmp_path / "go")

    def lose(scheduler):
        with opened(address) as made, RunQueue(tmp_path, made) as queue:
            queue.compute([TINY], "trial", silent)
            queue.add([trial])
            until(trial.begun.exists)
            scheduler.kill()
            queue.compute([trial], "trial", silent)

    with started(*words, "--host", "127.0.0.1") as scheduler:
        until(lambda: answers(port))
        here = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}  # where `Trial` is
        with worker_of(address, here), pytest.raises(UsageError, match="does not answer any more"):
            lose(scheduler)
    assert store.find(TINY, tmp_path) is not None
    assert store.find(trial, tmp_path) is None


NO_ATTNSCAPE = """
import sys

class Missing:
    def find_spec(self, name, *_):
        if name.partition(".")[0] == "attnscape":
            raise ModuleNotFoundError(f"No module named {name!r}")

sys.meta_path.insert(0, Missing())
"""


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory):
    """The address of a scheduler without attnscape and without workers."""
    folder = tmp_path_factory.mktemp("without")
    (folder / "sitecustomize.py").write_text(NO_ATTNSCAPE)
    address = f"tcp://127.0.0.1:{(port := free_port())}"
    words = ("distributed.cli.dask_scheduler", "--port", str(port), "--no-dashboard")
    without = {**os.environ, "PYTHONPATH": str(folder)}
    with started(*words, "--host", "127.0.0.1", env=without):
        until(lambda: answers(port))
        yield address


def test_a_scheduler_needs_no_attnscape_and_workers_may_come_late(scheduler, tmp_path, monkeypatch):
    monkeypatch.setattr("attnscape.workflows.roster.LACKING", 0.5)
    said = []
    with contextlib.ExitStack() as workers:

        def log(sentence):
            said.append(sentence)
            if "no worker" in sentence:
                workers.enter_context(worker_of(scheduler))

        with opened(scheduler) as made, RunQueue(tmp_path, made) as queue:
            queue.compute([TINY], "trial", log)
    assert said[0] == "trial: running 1 run on 0 workers, 90 run-steps"
    assert f"chunks wait for one, as `dask worker {scheduler} --nthreads 1` starts it" in said[1]
    assert len([each for each in said if "no worker" in each]) == 1
    assert store.find(TINY, tmp_path) is not None


SLOW = pytest.mark.slow


@pytest.mark.parametrize("threads", [pytest.param(2, marks=SLOW), pytest.param(4, marks=SLOW), 7])
def test_workers_with_any_number_of_threads_write_the_same_bits(scheduler, tmp_path, threads):
    """Also with more than there are processors; kernels and XLA share sums among them."""
    run = dataclasses.replace(TINY, batch=3_000, evaluation_batch=3_000, steps=20)
    many = {"PJRT_NPROC": str(threads), "OMP_NUM_THREADS": "1"}
    compiled_anew = {"JAX_ENABLE_COMPILATION_CACHE": "false"}  # for this number of threads
    with (
        worker_of(scheduler, os.environ | many | compiled_anew),
        opened(scheduler) as made,
        RunQueue(tmp_path / "many", made) as queue,
    ):
        queue.compute([run], "trial", silent)
    store.load_or_run(run, tmp_path / "one")
    assert result_of(run, tmp_path / "many") == result_of(run, tmp_path / "one")


def test_a_queue_ends_although_its_cluster_is_lost(tmp_path):
    class Lost:
        taken = 0

        def takes(self, run):
            return True

        @property
        def has_room(self):
            if self.taken:
                raise LostError
            return True

        def submit(self, job, waiting):
            self.taken += 1
            return Submitted(Future(), lambda: (0, 0))

    def ends():
        with RunQueue(tmp_path, Lost()) as queue:
            queue.add([TINY])

    thread = threading.Thread(target=ends, daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("slurm", "give local:4"),
        ("local:0", "whole number of processes from 1"),
        ("local:two", "whole number of processes from 1"),
        ("nowhere.py:factory", "There is no file nowhere.py"),
        ("math:pi", "math:pi is 3.14.*must be a function"),
        ("math:nothing", "math has no 'nothing'"),
    ],
)
def test_mistakes_of_the_option_are_told(text, sentence):
    with pytest.raises(UsageError, match=sentence), opened(text):
        pass


def test_a_factory_that_returns_no_cluster_is_told(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("def factory():\n    return 5\n")
    wrong = pytest.raises(UsageError, match="returned int; it must return a cluster or client")
    with wrong, opened(f"{file}:factory"):
        pass


def test_no_scheduler_at_an_address_is_told(monkeypatch):
    monkeypatch.setattr("attnscape.workflows.open_cluster._PATIENCE", 1)
    address = f"tcp://127.0.0.1:{free_port()}"
    with pytest.raises(UsageError, match=f"No scheduler answers at {address}"), opened(address):
        pass


def test_processes_that_do_not_start_are_told(monkeypatch):
    """As when one is killed while it starts."""

    def start(**options):
        raise RuntimeError("Nanny failed to start.")

    monkeypatch.setattr("distributed.LocalCluster", start)
    sentence = r"^The processes of --cluster local:2 do not start \(Nanny failed to start.*memory"
    with pytest.raises(UsageError, match=sentence), opened("local:2"):
        pass


def test_a_scheduler_of_another_version_of_dask_is_told(monkeypatch):
    def client(*arguments, **options):
        raise TypeError("Scheduler.identity() got an unexpected keyword argument 'n_workers'")

    monkeypatch.setattr("distributed.Client", client)
    sentence = r"does not understand this process \(Scheduler.identity.*the same version of Dask's"
    with pytest.raises(UsageError, match=sentence), opened("tcp://127.0.0.1:1"):
        pass


def test_a_command_runs_on_the_cluster_of_a_factory(attnscape, tmp_path):
    (tmp_path / "mine.py").write_text(textwrap.dedent(FACTORY))
    words = ("train", "--dim", 2, "--context", 3, "--layers", 1, "--steps", 4, "--batch", 8)
    words = (*words, "--evaluation-batch", 8, "--seeds", 3)
    attnscape(*words, "--out", tmp_path / "many", "--cluster", f"{tmp_path / 'mine.py'}:factory")
    attnscape(*words, "--out", tmp_path / "one")
    (many,), (one,) = ((tmp_path / each).glob("*.nc") for each in ("many", "one"))
    assert numbers_of(many) == numbers_of(one)


@pytest.fixture(params=["tcp", *(pytest.param(each, marks=SLOW) for each in ("local", "factory"))])
def option(request, cluster, tmp_path):
    """A value of `--cluster`."""
    if request.param == "tcp":
        yield cluster._client.scheduler.address
    else:
        with option_of(request.param, tmp_path) as text:
            yield text


def test_a_bench_on_a_cluster_has_the_numbers_of_one_without(option, attnscape, tmp_path):
    (tmp_path / "mine.py").write_text("import optax\n\nmine = optax.sgd\n")
    words = ("bench", f"{tmp_path / 'mine.py'}:mine", "--settings", "setting-1", "--seeds", 2)
    words = (*words, "--steps", 4)
    attnscape(*words, "--out", tmp_path / "one")
    attnscape(*words, "--out", tmp_path / "many", "--cluster", option)
    assert equal_results(tmp_path / "one" / "runs", tmp_path / "many" / "runs")
    tables = [(tmp_path / each / "bench.csv").read_text() for each in ("one", "many")]
    assert tables[0] == tables[1]


def test_the_example_for_slurm_starts_workers_with_several_threads_of_xla(monkeypatch):
    """With a class that keeps its arguments in place of dask-jobqueue's, which needs SLURM."""
    made = SimpleNamespace(scale=lambda jobs: setattr(made, "jobs", jobs))

    def stand_in(**arguments):
        made.arguments = arguments
        return made

    monkeypatch.setitem(sys.modules, "dask_jobqueue", SimpleNamespace(SLURMCluster=stand_in))
    example = Path(__file__).parents[1] / "examples" / "slurm_cluster.py"
    assert load_object(f"{example}:factory")() is made
    assert made.jobs == 10
    assert made.arguments["cores"] == made.arguments["processes"] == 1
    assert "export PJRT_NPROC=8" in made.arguments["job_script_prologue"]
