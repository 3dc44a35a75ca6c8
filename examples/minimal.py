"""Why is Adam faster than SGD on Transformers? A linear one, in plain JAX, shows it in a minute.

The task: in-context linear regression. A prompt holds n examples (x, <w, x>) and a query, with a
new w for every prompt. The model: L layers of linear attention (Ahn et al., ICLR 2024, eq. 7-8).
SGD with momentum and Adam train it from the same start on the same prompts. The loss curves come
first; then the Hessian along both ways, exactly, and its robust condition number.

    python examples/minimal.py [steps]        needs jax and numpy, and draws with matplotlib
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

LAYERS, DIM, CONTEXT, BATCH = 3, 5, 20, 256
LEARNING_RATES = {"SGD with momentum": 0.02, "Adam": 0.02}


def draw(key, batch=BATCH):
    """Prompts as matrices Z (batch, d + 1, n + 1), a token a column, and the query's responses."""
    key_x, key_w = jax.random.split(key)
    x = jax.random.normal(key_x, (batch, CONTEXT + 1, DIM))
    w = jax.random.normal(key_w, (batch, DIM))
    y = jnp.einsum("bnd,bd->bn", x, w)
    hidden = y.at[:, -1].set(0)  # the query's response is what is asked for
    return jnp.concatenate([x, hidden[:, :, None]], axis=2).mT, y[:, -1]


def initial(key):
    """Small random P and Q, a d x d matrix of each a layer: 150 parameters."""
    key_P, key_Q = jax.random.split(key)
    shape = (LAYERS, DIM, DIM)
    return {
        "P": 0.05 * jax.random.normal(key_P, shape),
        "Q": 0.05 * jax.random.normal(key_Q, shape),
    }


def predict(parameters, Z):
    """Linear attention: Z <- Z + (1/n) P Z M (Z^T Q Z), and -[Z]_{d+1, n+1} is the prediction."""
    n = Z.shape[-1] - 1
    mask = jnp.append(jnp.ones(n), 0)  # M: the query gives no value to anyone
    border = ((0, 1), (0, 1))
    for P, Q in zip(parameters["P"], parameters["Q"], strict=True):
        # Only the d x d blocks are trained. P's last corner is 1: responses are passed on.
        P = jnp.pad(P, border).at[-1, -1].set(1)
        Q = jnp.pad(Q, border)
        Z = Z + P @ ((Z * mask) @ Z.mT) @ (Q @ Z) / n  # a sum over tokens first: no n x n matrix
    return -Z[:, -1, -1]


def loss(parameters, Z, target):
    """Mean squared error."""
    return jnp.mean((predict(parameters, Z) - target) ** 2)


def clip(gradient, most=1.0):
    """Scales the gradient down to a norm of at most 1: all its entries together."""
    norm = jnp.sqrt(sum(jnp.sum(g**2) for g in jax.tree.leaves(gradient)))
    return jax.tree.map(lambda g: g * jnp.minimum(1, most / norm), gradient)


def momentum_step(rate, gradient, state, step):
    """What SGD with momentum 0.9 subtracts, and its new state: the sum of past gradients."""
    total = jax.tree.map(lambda m, g: 0.9 * m + g, state, gradient)
    return jax.tree.map(lambda m: rate * m, total), total


def adam_step(rate, gradient, state, step):
    """What Adam (beta1 = beta2 = 0.9) subtracts: a mean gradient over its root mean square."""
    mean, square = state
    mean = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, mean, gradient)
    square = jax.tree.map(lambda v, g: 0.9 * v + 0.1 * g**2, square, gradient)
    started = 1 - 0.9 ** (step + 1.0)  # both means start at zero

    def subtracted(m, v):
        return rate * (m / started) / (jnp.sqrt(v / started) + 1e-8)

    return jax.tree.map(subtracted, mean, square), (mean, square)


def train(step_of, state, rate, steps, every):
    """Trains from the same start on the same prompts; the parameters after every `every` steps."""

    def step(number, now):
        parameters, state = now
        Z, target = draw(jax.random.fold_in(jax.random.key(1), number))
        gradient = clip(jax.grad(loss)(parameters, Z, target))
        change, state = step_of(rate, gradient, state, number)
        return jax.tree.map(jnp.subtract, parameters, change), state

    advance = jax.jit(lambda first, now: jax.lax.fori_loop(first, first + every, step, now))
    now = (initial(jax.random.key(0)), state)
    path = [now[0]]
    for first in range(0, steps, every):
        now = advance(first, now)
        path.append(now[0])
    return path


@jax.jit
def hessian(parameters, Z, target):
    """All second derivatives of the loss: with 150 parameters, a 150 x 150 matrix."""
    flat, unravel = ravel_pytree(parameters)
    return jax.hessian(lambda vector: loss(unravel(vector), Z, target))(flat)


def robust_condition_number(parameters, Z, target):
    """The largest |entry| of the Hessian's diagonal over their (lower) median."""
    diagonal = np.sort(np.abs(np.diag(hessian(parameters, Z, target))))
    return float(diagonal[-1] / diagonal[(len(diagonal) - 1) // 2])


def main(steps):
    """Trains both, prints the numbers and draws the curves."""
    every = max(1, steps // 20)
    fixed = draw(jax.random.key(2), 1000)  # one batch on which all are compared
    zeros = jax.tree.map(jnp.zeros_like, initial(jax.random.key(0)))
    ways = {"SGD with momentum": (momentum_step, zeros), "Adam": (adam_step, (zeros, zeros))}
    measure = jax.jit(loss)
    condition = {}
    curves = {}
    for name, (step_of, state) in ways.items():
        path = train(step_of, state, LEARNING_RATES[name], steps, every)
        curves[name] = [float(measure(parameters, *fixed)) for parameters in path]
        condition[name] = [
            robust_condition_number(path[i], *fixed) for i in (0, len(path) // 2, -1)
        ]
        print(f"{name}: loss {curves[name][0]:.3g} -> {curves[name][-1]:.3g}", end="; ")
        print("robust condition number", " -> ".join(f"{c:.3g}" for c in condition[name]))
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        return
    for name, curve in curves.items():
        plt.semilogy(every * np.arange(len(curve)), curve, label=name)
    plt.xlabel("step")
    plt.ylabel("loss on a fixed batch of 1000 prompts")
    plt.legend()
    plt.savefig("minimal.png")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
