"""The kernels: found, switched off, counted, and the same bits on any number of threads."""

import os
import shutil
import subprocess
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attnscape import RegressionTask, native, objective
from attnscape.errors import UsageError
from attnscape.native import _build
from attnscape.tasks._normals import normals
from support import TOLERANCE, make_case, needs_kernels, python, relative

two_cores = pytest.mark.skipif(
    shutil.which("taskset") is None or len(os.sched_getaffinity(0)) < 2,
    reason="needs taskset and a second core",
)


BUILT = {name: Path(name) for name in _build.INSTRUCTION_SETS}

HASH_EVERYTHING = """
import functools, hashlib, os
import jax, numpy as np
from attnscape import LinearTransformer, RegressionTask, objective, train
from attnscape.models import AttentionTransformer, WithMLP
from attnscape.optimizers import PAPER

task, model = RegressionTask(), LinearTransformer.init(jax.random.key(1))
prompts, whole = task.sample_moments(jax.random.key(2), 1001), task.sample(jax.random.key(3), 1111)
with_mlp = WithMLP.init(jax.random.key(0))
softmax = AttentionTransformer.init(jax.random.key(4), scale=0.3)
runs = train(
    task, functools.partial(LinearTransformer.init, layers=3, dim=5), PAPER, (0.02, 0.1), (0, 1),
    steps=50, batch=300,
)

@jax.jit
def derivatives(model, prompts):
    return objective.value_and_grad(model, prompts), objective.hvp(model, prompts, model)

arrays = [
    *jax.tree.leaves((prompts, whole)),
    *jax.tree.leaves((derivatives(model, prompts), derivatives(with_mlp, whole))),
    *jax.tree.leaves(derivatives(softmax, whole)),
    objective.hessian(model, prompts),
    *(runs[name].values for name in sorted(runs.data_vars)),
]
print(len(os.sched_getaffinity(0)))
print(*(hashlib.sha256(np.asarray(a).tobytes()).hexdigest() for a in arrays))
"""


@needs_kernels
@two_cores
def test_one_thread_and_three_on_two_cores_give_the_same_bits():
    """Each compiles its own programs, since XLA compiles for its number of threads (NPROC)."""
    first, second = sorted(os.sched_getaffinity(0))[:2]
    afresh = {"JAX_ENABLE_COMPILATION_CACHE": "false"}
    one = python(HASH_EVERYTHING, "taskset", "-c", f"{first}", **afresh).split()
    cores = f"{first},{second}"
    three = python(HASH_EVERYTHING, "taskset", "-c", cores, NPROC="3", **afresh).split()
    assert (one[0], three[0]) == ("1", "2")
    assert one[1:] == three[1:]


SUMS = """
import hashlib
import jax, jax.numpy as jnp, numpy as np
from attnscape.identity import settings

numbers = np.random.default_rng(0).normal(size=(2000, 400)).astype(np.float32)
sums = jax.jit(lambda a: (a.mean(0), a.mean(1), a.sum(), a.T @ a, a[:100].mean(0)))(numbers)
print(*(hashlib.sha256(np.asarray(a).tobytes()).hexdigest() for a in sums))
print(settings().get("xla_threads"))
"""


def test_xlas_sums_depend_only_on_whether_it_has_one_thread_which_identities_tell():
    afresh = {"JAX_ENABLE_COMPILATION_CACHE": "false"}
    # PJRT_NPROC counts where both are given.
    several = ({"NPROC": "1"}, {"NPROC": "1", "PJRT_NPROC": "2"}, {"NPROC": "7"})
    one, two, seven = (python(SUMS, **afresh, **each).splitlines() for each in several)
    assert two == seven
    assert (one[1], two[1]) == ("one", "None")


def test_switched_off_kernels_say_so_once_and_draw_the_same_prompts(tmp_path):
    program = f"""
import warnings
import jax, numpy as np
from attnscape import LinearTransformer, RegressionTask, native, objective

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    prompts = RegressionTask().sample_moments(jax.random.key(5), 77)
    objective.loss(LinearTransformer.init(jax.random.key(0)), prompts)
np.savez({str(tmp_path / "prompts.npz")!r}, *jax.tree.leaves(prompts))
(warning,) = [w for w in caught if w.category is native.MissingKernelsWarning]
print(warning.message)
print(native.why_unavailable())
"""
    said = python(program, ATTNSCAPE_KERNELS="off").splitlines()
    assert said[0].startswith("The native kernels are switched off by ATTNSCAPE_KERNELS.")
    assert said[1] == "The native kernels are switched off by ATTNSCAPE_KERNELS."
    with np.load(tmp_path / "prompts.npz") as stored:
        without = [stored[name] for name in stored.files]
    assert relative(RegressionTask().sample_moments(jax.random.key(5), 77), without) < 5e-6


@needs_kernels
def test_without_keys_nothing_is_drawn():
    """The kernel once divided by the number of keys, which ended the process."""
    keys = jax.random.split(jax.random.key(0), 3)[:0]
    assert jax.vmap(lambda key: normals(key, 4, 3))(keys).shape == (0, 4, 3)


def test_the_kernels_of_another_build_are_named_by_their_file(tmp_path, monkeypatch):
    monkeypatch.setenv("ATTNSCAPE_KERNELS", str(tmp_path / "other.so"))
    sentence = f"ATTNSCAPE_KERNELS names {tmp_path / 'other.so'}, where there is no file."
    assert native.why_unavailable() == sentence
    (tmp_path / "other.so").touch()
    assert _build.chosen_library() == tmp_path / "other.so"


@pytest.mark.parametrize(
    ("chosen", "best", "loaded"),
    [
        ("on", 2, "avx512"),
        ("on", 1, "avx2"),
        ("on", 0, "baseline"),
        ("", 1, "avx2"),
        ("avx2", 2, "avx2"),
        ("baseline", 1, "baseline"),
    ],
)
def test_the_best_instruction_set_of_the_processor_is_taken_or_a_lower_one_by_name(
    chosen, best, loaded, monkeypatch
):
    monkeypatch.setattr(_build, "_built", lambda: BUILT)
    monkeypatch.setattr(_build, "_best_of_processor", lambda baseline: best)
    monkeypatch.setenv("ATTNSCAPE_KERNELS", chosen)
    assert _build.chosen_library() == BUILT[loaded]


def test_kernels_that_cannot_run_here_are_refused_in_a_sentence(monkeypatch):
    monkeypatch.setattr(_build, "_built", lambda: BUILT)
    monkeypatch.setattr(_build, "_best_of_processor", lambda baseline: 1)
    allowed = "it must be on, off, baseline, avx2, or the file of another build (.so)."
    for chosen, why in [
        ("avx512", "which this processor does not have"),
        ("sse9", "for which there are no kernels"),
    ]:
        monkeypatch.setenv("ATTNSCAPE_KERNELS", chosen)
        assert native.why_unavailable() == f"ATTNSCAPE_KERNELS is {chosen}, {why}; {allowed}"
        native.library.cache_clear()
        assert native.library() is None
    native.library.cache_clear()


SAME_BY_ALL = """
import sys
import jax, numpy as np
from attnscape import LinearTransformer, RegressionTask, native, objective
from attnscape.identity import settings

prompts = RegressionTask().sample_moments(jax.random.key(2), 100)
model = LinearTransformer.init(jax.random.key(1))
gradient = objective.value_and_grad(model, prompts, path="native")
np.savez(sys.argv[1], *jax.tree.leaves((prompts, gradient)))
print(native.instruction_set(), settings()["kernels"])
"""


@needs_kernels
def test_the_baseline_computes_the_same_and_where_it_rounds_otherwise_says_so(tmp_path):
    got, wanted = [], []
    for name, arrays in (("baseline", got), (native.instruction_set(), wanted)):
        program = SAME_BY_ALL.replace("sys.argv[1]", repr(str(tmp_path / "arrays.npz")))
        said = python(program, ATTNSCAPE_KERNELS=name).split()
        with np.load(tmp_path / "arrays.npz") as stored:
            arrays += [stored[file] for file in stored.files]
        arrays.append(said)
    said, usual = got.pop(), wanted.pop()
    assert (said[0], usual[0]) == ("baseline", native.instruction_set())
    assert relative(got, wanted) < TOLERANCE["float32"]
    same_bits = [a.tobytes() for a in got] == [a.tobytes() for a in wanted]
    assert same_bits == (said[1] == usual[1])


@pytest.mark.skipif(shutil.which("c++") is None, reason="there is no C++ compiler")
def test_avx2_and_avx512_give_the_same_bits(tmp_path):
    """Random calls of every kernel, at random sizes: tests/kernels/random_calls.cpp."""
    built = _build._built()
    if "avx512" not in built or _build._best_of_processor(built["baseline"]) < 2:
        pytest.skip("no AVX-512 here")
    source = Path(__file__).parent / "kernels" / "random_calls.cpp"
    program = tmp_path / "random_calls"
    include = ["-isystem", jax.ffi.include_dir()]
    words = ["c++", "-std=c++17", *include, source, "-o", program, "-ldl", "-pthread"]
    subprocess.run(words, check=True)
    subprocess.run([program, built["avx512"], "1", "400", built["avx2"]], check=True)


@pytest.mark.parametrize("why", ["switched off", "not built"])
def test_without_kernels_the_native_path_says_why(why, monkeypatch):
    if why == "switched off":
        monkeypatch.setenv("ATTNSCAPE_KERNELS", "off")
    else:
        monkeypatch.delenv("ATTNSCAPE_KERNELS", raising=False)
        monkeypatch.setattr(_build, "_built", dict)
    monkeypatch.setattr(native, "library", lambda: None)
    assert why in native.why_unavailable()
    assert not native.usable("float32")
    model, prompts = make_case("block", 1, 2, 3, 4, dtype="float32")
    with pytest.raises(UsageError, match=why):
        objective.loss(model, prompts, path="native")
    assert objective.choose_path(model, prompts) == "reduced"
    for refused in (
        lambda: native.peak("float32", 1),
        lambda: native.gradient_operations("block", 1, 1),
        lambda: native.hvp_operations("block", 1, 1),
        native.instruction_set,
        native.fuses,
    ):
        with pytest.raises(RuntimeError, match=why):
            refused()


@needs_kernels
def test_other_number_types_take_the_path_through_xla():
    model, prompts = make_case("block", 2, 3, 4, 5, dtype="float32")
    half = jax.tree.map(lambda a: a.astype(jnp.bfloat16), model)
    assert objective.choose_path(half, prompts) == "reduced"
    with pytest.raises(UsageError, match=r"float32 or float64, model and prompts alike"):
        objective.loss(half, prompts, path="native")


@needs_kernels
def test_operations_are_those_of_the_formula():
    """One layer of the block form, by hand; a fused multiply-add is two operations.

    Setting A = I: m. u = c + G s, a = A u, b = A q, e = Q b, and the outer product of the gradient
    in Q: 2 m^2 each, and m for the sum with c. The residual t + q . s + e . a: 1 + 4 m. Its square
    2, its double 1. Two vectors scaled into the adjoints of a and e: 4 m.
    """
    for m in (1, 5, 9):
        assert native.gradient_operations("block", 1, m) == 10 * m**2 + 10 * m + 4


@needs_kernels
def test_operations_of_a_hessian_vector_product_are_those_of_the_formula():
    """The same layer with tangents: moments have none, and of the gradient only they are wanted.

    A product of two duals is six operations, of a dual and a moment four; both sum value and
    tangent. u and b: 4 m^2 each; a and e: 6 m^2 each; the gradient in Q: 4 m^2. A = I and the sum
    with c, where no tangents are added: m each. The residual t + q . s + e . a: 1 + 4 m + 6 m. Its
    square 6, its double 2. The two scaled vectors: 12 m.
    """
    for m in (1, 5, 9):
        assert native.hvp_operations("block", 1, m) == 24 * m**2 + 24 * m + 9


@needs_kernels
@pytest.mark.parametrize(("form", "dim"), [("block", 5), ("full", 3)])
def test_operations_grow_linearly_beyond_the_first_and_last_layer(form, dim):
    """A middle layer: 12 matrix products and X + X^T; the block form adds u and seven of 2 m^2.

    In a Hessian-vector product a middle layer has one matrix product with G and two into the
    gradient, of 4 m^3 operations, and nine of 6 m^3; the block form adds u and one product with G,
    of 4 m^2, and six of 6 m^2.
    """
    m = dim + 1 if form == "full" else dim
    block = form == "block"
    for count, layer in (
        (native.gradient_operations, 24 * m**3 + m * (m + 1) // 2 + block * (16 * m**2 + m)),
        (native.hvp_operations, 66 * m**3 + m * (m + 1) + block * (44 * m**2 + m)),
    ):
        assert set(np.diff([count(form, layers, dim) for layers in range(2, 9)])) == {layer}


@needs_kernels
def test_the_machine_is_described():
    assert native.instruction_set() in _build.INSTRUCTION_SETS
    for dtype in ("float32", "float64"):
        assert native.peak(dtype, 1, 0.01) > 1e8
