"""What tests of clusters share: the numbers of a result, and clusters of each kind."""

import contextlib
import socket
import subprocess
import sys
import time
import uuid

from attnscape.experiments import store

FACTORY = """
import distributed

def factory():
    return distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, dashboard_address=":0", memory_limit=0
    )
"""


def numbers_of(path):
    """Every bit of a result's numbers, and its attributes.

    Not the bytes of the file: where HDF5 puts an array depends on who else holds an object of the
    file at that moment, as the thread of a worker does that watches what the others do.
    """
    result = store.load(path)
    arrays = {
        name: (each.dims, each.dtype, each.values.tobytes(), each.attrs)
        for name, each in result.variables.items()
        if each.dtype.kind != "O"
    }
    texts = {n: each.values.tolist() for n, each in result.variables.items() if n not in arrays}
    assert arrays.keys() >= {"loss", "status", "seed"}
    return arrays, texts, result.attrs


@contextlib.contextmanager
def option_of(kind, folder):
    """A value of `--cluster`: `local`, a `factory` in this folder, or `tcp` of a scheduler."""
    if kind == "factory":
        file = folder / "my_cluster.py"
        file.write_text(FACTORY)
        yield f"{file}:factory"
    elif kind == "tcp":
        import distributed

        env = {"PJRT_NPROC": "2", "OMP_NUM_THREADS": "1", "JAX_PLATFORMS": "cpu"}
        with distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=":0", memory_limit=0, env=env
        ) as running:
            yield running.scheduler_address
    else:
        yield "local:2"


def equal_results(one, many):
    """Whether two folders hold the same results, of which there is one at least."""
    names = {path.name for path in one.glob("*.nc")}
    assert names
    assert {path.name for path in many.glob("*.nc")} == names
    return all(numbers_of(one / name) == numbers_of(many / name) for name in names)


def until(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@contextlib.contextmanager
def started(*words, env=None):
    command = [sys.executable, "-m", *words]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, env=env, **quiet) as process:
        try:
            yield process
        finally:
            process.kill()


def worker_of(address, env=None, name=None, nanny=False):
    """Context manager: a worker; with a nanny, another takes its place when it has ended."""
    words = ["distributed.cli.dask_worker", address, "--nthreads", "1", "--no-dashboard"]
    words += [] if name is None else ["--name", name]
    words += [] if nanny else ["--no-nanny"]
    return started(*words, "--memory-limit", "0", "--local-directory", "/tmp", env=env)


@contextlib.contextmanager
def stranger(cluster, env=None):
    """Context manager: a worker beside those that a cluster has made, and its address.

    It is known by its name: processes of the cluster get new addresses when they are replaced, and
    a stranger of before may live a little longer.
    """
    name = uuid.uuid4().hex
    client = cluster._client

    def addresses():
        workers = client.scheduler_info(n_workers=-1)["workers"]
        return {address for address, worker in workers.items() if worker["name"] == name}

    with worker_of(client.scheduler.address, env, name):
        until(lambda: addresses() & set(cluster._addresses()))
        (address,) = addresses()
        yield address


def free_port():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return bound.getsockname()[1]


def answers(port):
    with socket.socket() as asked:
        return asked.connect_ex(("127.0.0.1", port)) == 0
