"""Users' updates that decompose matrices: the same numbers, one matrix at a time, no waiting."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attnscape.steppers import decomposes, one_matrix_at_a_time

_SHAPE = (2, 3, 4, 4)


def _matrices() -> jax.Array:
    return jax.random.normal(jax.random.key(0), _SHAPE) + 4 * jnp.eye(4)[None, None]


def _looped(a):
    """A decomposition within a loop with a loop, a choice and a function with a rule inside."""

    def body(carry, _):
        chosen = jax.lax.cond(carry.sum() > 0, jnp.linalg.inv, lambda b: b, carry)
        return jax.lax.fori_loop(0, 2, lambda i, b: b + 0.1 * jnp.linalg.qr(b)[0], chosen), None

    return jax.lax.scan(body, a, length=2)[0]


FUNCTIONS = {
    "cholesky": lambda a: jnp.linalg.cholesky(a @ a.mT),
    "eig": lambda a: jnp.linalg.eigvals(a).real,
    "eigh": lambda a: jnp.linalg.eigh(a + a.mT)[0],
    "expm": jax.scipy.linalg.expm,
    "norm": lambda a: jax.nn.relu(jnp.linalg.norm(a, 2, axis=(-2, -1))),
    "qr": lambda a: jnp.linalg.qr(a)[0],
    "solve": lambda a: jnp.linalg.solve(a, a.mT),
    "svd": lambda a: jnp.linalg.svd(a, compute_uv=False),
    "over runs": jax.vmap(jax.vmap(jnp.linalg.inv)),
    "in loops": _looped,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_numbers_are_the_same_and_no_batch_is_left(name):
    function, matrices = FUNCTIONS[name], _matrices()
    rewritten = one_matrix_at_a_time(function)
    before, after = (jax.make_jaxpr(each)(matrices) for each in (function, rewritten))
    assert decomposes(before, several=True)
    assert decomposes(after)
    assert not decomposes(after, several=True)
    # Each is computed backward stably; the matrices' condition numbers are below 100.
    np.testing.assert_allclose(
        jax.jit(rewritten)(matrices), jax.jit(function)(matrices), rtol=1e-4, atol=1e-4
    )


def test_a_program_without_decompositions_is_the_same():
    def function(a):
        return jax.nn.relu(a) @ a

    programs = [jax.make_jaxpr(f)(_matrices()) for f in (function, one_matrix_at_a_time(function))]
    assert str(programs[0]) == str(programs[1])
    assert not decomposes(programs[0])


_TRAINING = """
import functools, sys
import jax, jax.numpy as jnp, optax
from attnscape import LinearTransformer, RegressionTask, train

def svd(g):
    U, _, V = jnp.linalg.svd(g, full_matrices=False)
    return U @ V

def solve(g):
    return jnp.linalg.solve(g @ g.mT + jnp.eye(g.shape[-1]), g)

def mine(rate):
    def update(gradients, state, parameters=None):
        return jax.tree.map(lambda g: -rate * globals()[sys.argv[1]](g), gradients), state
    return optax.GradientTransformation(lambda parameters: (), update)

names = [f"mine-{number}" for number in range(int(sys.argv[3]))]
train(
    RegressionTask(dim=60), functools.partial(LinearTransformer.init, layers=3, dim=60),
    dict.fromkeys(names, mine), [1e-4, 1e-3], range(int(sys.argv[2])), steps=100, batch=8,
    evaluation_batch=8, measures=(),
)
"""


@pytest.mark.parametrize(
    ("decomposition", "seeds", "optimizers"),
    # Without the rewriting, each waited for ever on two cores, the second for threads of BLAS; the
    # first does so in nearly every try.
    [
        ("solve", 4, 1),
        pytest.param("svd", 1, 1, marks=pytest.mark.slow),
        pytest.param("solve", 1, 4, marks=pytest.mark.slow),
    ],
)
def test_a_training_that_decomposes_many_matrices_ends(decomposition, seeds, optimizers):
    command = [sys.executable, "-c", _TRAINING, decomposition, str(seeds), str(optimizers)]
    # XLA has as many threads as NPROC says; with many, few calls at once do no harm.
    two = {"NPROC": "2", "OPENBLAS_NUM_THREADS": "2"}
    subprocess.run(command, env={**os.environ, **two}, timeout=150, check=True)
