"""Finds code that depends on the environment, the time, files or random numbers.

The names used in a source are compared with lists of names that indicate such a dependence.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterable

_TELLTALES = {
    "the environment": {"environ", "environb", "getenv", "argv", "gethostname", "getpid"},
    "the time": {
        *("time", "time_ns", "perf_counter", "perf_counter_ns", "monotonic", "monotonic_ns"),
        *("process_time", "clock", "now", "today", "utcnow", "localtime", "gmtime", "ctime"),
        *("default_timer", "strftime"),
    },
    "files": {
        *("open", "fdopen", "read_text", "read_bytes", "load", "loads", "loadtxt", "genfromtxt"),
        *("fromfile", "memmap", "safe_load", "load_file", "iterdir", "glob", "rglob", "listdir"),
        *("scandir", "getmtime", "getsize", "exists", "is_file", "input", "stdin"),
        *("read_csv", "read_parquet", "read_json", "read_excel", "read_table", "read_pickle"),
        *("read_feather", "read_hdf", "open_dataset", "load_dataset", "sqlite3", "h5py"),
    },
    "other programs": {
        *("subprocess", "Popen", "check_output", "popen", "system", "socket", "urlopen"),
        *("urlretrieve", "requests", "httpx", "CDLL", "ctypes"),
    },
    "random numbers without a seed": {
        *("urandom", "uuid1", "uuid4", "secrets", "SystemRandom", "getrandbits"),
        *("random", "rand", "randn", "randint", "randrange", "uniform", "gauss", "normal"),
        *("standard_normal", "choice", "choices", "shuffle", "sample", "permutation", "randperm"),
        *("rand_like", "randn_like", "randint_like", "normal_", "uniform_", "bernoulli"),
        *("bernoulli_", "random_", "exponential_", "cauchy_", "log_normal_", "geometric_"),
        *("multinomial", "dropout", "Dropout", "poisson", "normalvariate", "trunc_normal_"),
    },
    "the memory's addresses": {"id", "hash"},
}


def outside(tree: ast.AST) -> Iterable[tuple[str, str]]:
    """Pairs (outside dependence of a source in words, the name that indicates it)."""
    seeded = {
        node.func
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and any(k.arg == "generator" for k in node.keywords)
    }
    words = {
        getattr(node, field, None)
        for node in ast.walk(tree)
        for field in ("id", "attr", "name", "module")
        if isinstance(node, ast.Name | ast.Attribute | ast.alias | ast.ImportFrom)
        and node not in seeded
    }
    for what, telltales in _TELLTALES.items():
        if found := sorted(telltales & words):
            yield what, found[0]


def random_numbers(kind: type) -> Iterable[tuple[str, str]]:
    """Pairs (random numbers that an installed class draws, the name that indicates them)."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    except (OSError, TypeError, SyntaxError):
        return []
    return [(what, word) for what, word in outside(tree) if what.startswith("random")]
