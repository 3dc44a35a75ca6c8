"""Oracles and makers that several tests share."""

import functools
import importlib.util
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attnscape import LinearTransformer, Prompts, native
from attnscape.optimizers import ExternalOptimizer

TOLERANCE = {"float32": 5e-6, "float64": 1e-12}

needs_kernels = pytest.mark.skipif(
    native.why_unavailable() is not None, reason=native.why_unavailable() or ""
)
needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="torch is not installed"
)
# For large graphs that only serve as an oracle or around a kernel: compiles in half the time.
quick_jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})

FAST_PATHS = [pytest.param("native", marks=needs_kernels), "reduced"]
PATHS = [*FAST_PATHS, "token"]


def relative(got, wanted):
    """Norm of the difference over the norm of `wanted`; both are pytrees of arrays."""
    got, wanted = flat(got), flat(wanted)
    return np.linalg.norm(got - wanted) / np.linalg.norm(wanted)


def flat(tree):
    """All numbers of a pytree in one float64 vector."""
    return np.concatenate([np.asarray(a, np.float64).ravel() for a in jax.tree.leaves(tree)])


def python(program, *before, **environment):
    """The output of a program in a fresh interpreter, started through the command `before`."""
    done = subprocess.run(
        [*before, sys.executable, "-c", program],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def make_case(form, layers, dim, context, batch, *, dtype="float64", strength=0.3, seed=0):
    """A model and prompts whose layers change their input by at most about `strength`."""
    rng = np.random.default_rng(seed)
    size = dim + 1 if form == "full" else dim
    scale = np.sqrt(strength / size) / (2 + 2 * np.sqrt(size / context))
    P, Q = scale * rng.standard_normal((2, layers, size, size))
    x = rng.standard_normal((batch, context + 1, dim))
    w = rng.standard_normal((batch, dim)) / np.sqrt(dim)
    y = np.einsum("bnd,bd->bn", x, w) + 0.1 * rng.standard_normal((batch, context + 1))
    P, Q, x, y = (jnp.asarray(a.astype(dtype)) for a in (P, Q, x, y))
    return LinearTransformer(P, Q, form), Prompts(x[:, :-1], y[:, :-1], x[:, -1], y[:, -1])


def make_direction(model, seed=1):
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda a: jnp.asarray(rng.standard_normal(a.shape).astype(a.dtype)), model)


class TokenOracle:
    """Eq. 7 and 8 of the paper in numpy and float64, with a backward pass written by hand.

    With G = Z M Z^T of the tokens Z that enter a layer, eq. 7 is Z + P G Q Z / n: the same
    products, in the order that takes least. Hessian-vector products are complex steps of the
    gradient: exact to rounding, because the gradient is a polynomial.
    """

    def __init__(self, model, prompts):
        x, y, query, self.target = (
            np.asarray(a, np.float64) for a in (prompts.x, prompts.y, prompts.query, prompts.target)
        )
        self.form = model.form
        self.point = np.stack([np.asarray(model.P, np.float64), np.asarray(model.Q, np.float64)])
        self.n = x.shape[1]
        self.Z0 = np.zeros((len(x), x.shape[2] + 1, self.n + 1))
        self.Z0[:, :-1, :-1], self.Z0[:, :-1, -1] = x.transpose(0, 2, 1), query
        self.Z0[:, -1, :-1] = y

    def loss(self):
        _, residual = self._forward(self.point)
        return np.mean(residual**2)

    def sensitivity(self):
        """The relative change of the loss over a small relative change of all tokens."""
        tokens, change = self.Z0, 1e-6
        losses = []
        for factor in (1 - change, 1 + change):
            self.Z0 = factor * tokens
            losses.append(self.loss())
        self.Z0 = tokens
        return abs(losses[1] - losses[0]) / (2 * change * self.loss())

    def gradient(self):
        """Of P and Q, stacked."""
        return self._gradient(self.point)

    def hvp(self, direction):
        """The Hessian times a direction (P and Q, stacked)."""
        step = 1e-100
        return self._gradient(self.point + 1j * step * direction).imag / step

    def hessian(self):
        units = np.eye(self.point.size).reshape(-1, *self.point.shape)
        return np.stack([self.hvp(unit).ravel() for unit in units])

    def _forward(self, point):
        """Tokens that enter each layer and leave the last, and the residual of each prompt."""
        Z = [self.Z0]
        for p, q in zip(*self._bordered(point), strict=True):
            z = Z[-1]
            Z.append(z + (p @ self._gram(z) @ q / self.n) @ z)
        return Z, -Z[-1][:, -1, -1] - self.target

    def _gradient(self, point):
        Z, residual = self._forward(point)
        P, Q = self._bordered(point)
        Z_bar = np.zeros_like(Z[-1])
        Z_bar[:, -1, -1] = -2 * residual / len(residual)
        P_bar, Q_bar = np.zeros_like(P), np.zeros_like(Q)
        for layer in reversed(range(len(P))):
            p, q, z = P[layer], Q[layer], Z[layer]
            gram, product_bar = self._gram(z), Z_bar @ _t(z) / self.n
            P_bar[layer] = (product_bar @ q.T @ gram).sum(0)
            Q_bar[layer] = (gram @ p.T @ product_bar).sum(0)
            gram_bar = p.T @ product_bar @ q.T
            Z_bar = Z_bar + _t(p @ gram @ q / self.n) @ Z_bar
            Z_bar[..., :-1] += (gram_bar + _t(gram_bar)) @ z[..., :-1]
        gradient = np.stack([P_bar, Q_bar])
        return gradient[..., :-1, :-1] if self.form == "block" else gradient

    def _gram(self, z):
        """Z M Z^T: of all tokens but the query."""
        return z[..., :-1] @ _t(z[..., :-1])

    def _bordered(self, point):
        """P and Q of all layers as eq. 7 has them."""
        if self.form == "full":
            return point
        P, Q = np.pad(point, ((0, 0), (0, 0), (0, 1), (0, 1)))
        P[:, -1, -1] = 1
        return P, Q


def _t(a):
    return a.swapaxes(-1, -2)


class _PlainRun:
    """Gradient descent on arrays that are changed in place."""

    def __init__(self, rate, leaves):
        self.rate, self.leaves = rate, leaves

    def step(self, loss_and_gradient):
        _, gradient = loss_and_gradient()
        for leaf, slope in zip(self.leaves, gradient, strict=True):
            leaf -= np.asarray(self.rate * slope, leaf.dtype)

    def eval_params(self):
        return [np.array(leaf) for leaf in self.leaves]


class PlainExternal(ExternalOptimizer):
    """Gradient descent outside of JAX."""

    def start(self, learning_rate, leaves):
        return _PlainRun(learning_rate, leaves)
