"""The kernels by themselves: operations a second, and the exact Hessian beside PyTorch's."""

from __future__ import annotations

import jax
import numpy as np

from attnscape import RegressionTask, hessian, hvp, native, value_and_grad
from benchmarks.clock import in_turns, ratio, seconds_of, summary
from benchmarks.effort import TASKS, Effort, model

try:
    import torch

    from benchmarks import eager_torch
except ImportError:
    torch = eager_torch = None

_MANY = 24  # runs of one call, so that what a call costs beside them does not show


def kernels(effort: Effort) -> list[dict]:
    """Operations a second of each kernel on all threads, and the share of the measured peak."""
    return [_kernel(*case, effort) for case in effort.kernels]


def _kernel(quantity, form, layers, dim, dtype, effort: Effort) -> dict:
    task = RegressionTask(dim=dim, context=20 if dim == 5 else 60)
    with jax.enable_x64(dtype == "float64"):
        timer = hvp_timer if quantity == "hvp" else gradient_timer
        start = model(layers, dim, form, dtype)
        seconds = in_turns(
            {
                "kernel": timer(task, start, dtype, effort.seconds, effort.batch),
                "peak": lambda: 1 / native.peak(dtype, native.xla_threads(), effort.seconds / 2),
            },
            effort.rounds,
        )
    count = native.hvp_operations if quantity == "hvp" else native.gradient_operations
    operations = count(form, layers, dim)
    rate = operations / np.array(seconds["kernel"])
    return {
        "quantity": quantity,
        "form": form,
        "layers": layers,
        "dim": dim,
        "dtype": dtype,
        "operations_per_prompt": operations,
        "seconds_per_prompt": summary(seconds["kernel"]),
        "gflops": summary(rate / 1e9),
        "peak_gflops": summary(1e-9 / np.array(seconds["peak"])),
        "share_of_peak": summary(rate * np.array(seconds["peak"])),
    }


def gradient_timer(task, start, dtype, budget, batch):
    """A function that measures seconds a prompt of loss and gradient: many runs see one batch."""
    models = jax.vmap(start)(jax.random.split(jax.random.key(0), _MANY))

    def gradients(models, moments):
        return jax.vmap(value_and_grad, (0, None))(models, moments)[1]

    return _timer(task, models, gradients, dtype, budget, batch, _MANY * batch)


def hvp_timer(task, start, dtype, budget, batch):
    """The same of a Hessian-vector product: one run sees many batches."""

    def product(model, moments):
        return hvp(model, moments, model)

    count = _MANY * batch
    return _timer(task, start(jax.random.key(0)), product, dtype, budget, count, count)


def _timer(task, models, derivative, dtype, budget, batch, prompts):
    moments = jax.block_until_ready(task.sample_moments(jax.random.key(1), batch, dtype))

    @jax.jit
    def repeat(models, moments, times):
        def turn(_, models):
            return jax.tree.map(lambda a, b: a - 1e-3 * b, models, derivative(models, moments))

        return jax.lax.fori_loop(0, times, turn, models)

    def seconds(times):
        return seconds_of(lambda: jax.block_until_ready(repeat(models, moments, times)), 0)

    seconds(1)
    times = max(1, round(8 * budget / seconds(8)))
    return lambda: seconds(times) / (times * prompts)


def dense_hessian(effort: Effort) -> dict:
    """The exact Hessian in float64, by attnscape and by `torch.autograd.functional.hessian`.

    Beside it the operations of a Hessian-vector product for each row, which is how it would be made
    without the kernel that goes layer by layer, and their share of the peak if all of them had been
    made in the time of the kernel.
    """
    with jax.enable_x64(True):
        start = model(3, dtype="float64")(jax.random.key(0))
        prompts = TASKS[1].sample(jax.random.key(1), effort.batch, "float64")
        moments = jax.jit(lambda prompts: prompts.moments())(prompts)
        compiled = jax.jit(hessian)
        matrix = compiled(start, moments)
        actions = {
            "attnscape": lambda: seconds_of(
                lambda: jax.block_until_ready(compiled(start, moments)), effort.seconds
            )
        }
        if native.why_unavailable() is None:
            actions["peak"] = lambda: (
                1 / native.peak("float64", native.xla_threads(), effort.seconds / 2)
            )
        if eager_torch:
            arguments = [torch.tensor(np.asarray(a)) for a in (start.P, start.Q)]
            arguments += eager_torch.from_prompts(prompts)
            actions["torch"] = lambda: seconds_of(lambda: eager_torch.hessian(*arguments), 0)
        seconds = in_turns(actions, effort.hessians)
    result = {"parameters": len(matrix), "attnscape": summary(seconds["attnscape"])}
    if "peak" in seconds:
        operations = len(matrix) * native.hvp_operations("block", 3, 5)
        rate = operations * effort.batch / np.array(seconds["attnscape"])
        result["operations_by_rows"] = operations
        result["share_by_rows"] = summary(rate * np.array(seconds["peak"]))
    if eager_torch:
        result["torch"] = summary(seconds["torch"])
        result["ratio"] = ratio(seconds["torch"], seconds["attnscape"])
    return result
