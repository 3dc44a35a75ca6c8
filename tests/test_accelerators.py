"""What holds where JAX computes on an accelerator, tested without one."""

from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from attnscape import LinearTransformer, RegressionTask, identity, native, objective
from attnscape.cli.commands import doctor
from attnscape.measures import (
    BatchSharpness,
    BlockHeterogeneity,
    BlockSmoothness,
    Curvature,
    GaussNewton,
    GradientNoise,
    Iterate,
    NoiseScale,
    TopEigenvectors,
)
from attnscape.models import (
    AttentionTransformer,
    FactoredLinearTransformer,
    MultiHeadTransformer,
    WithMLP,
)
from attnscape.optimizers import NAMED, accepting
from attnscape.tasks import Gaussian, ReluNetwork
from attnscape.training.provenance import provenance
from support import make_case, needs_kernels, needs_torch, python

KEY = jax.random.key(0)
MODELS = {
    "block": LinearTransformer.init(KEY, dim=2),
    "full": LinearTransformer.init(KEY, dim=2, form="full"),
    "factored": FactoredLinearTransformer.init(KEY, dim=2),
    "softmax": AttentionTransformer.init(KEY, dim=2),
    "heads": MultiHeadTransformer.init(KEY, dim=2),
    "MLP": WithMLP.init(KEY, dim=2),
    "MLP and softmax": WithMLP(
        WithMLP.init(KEY, dim=2).mlp, AttentionTransformer.init(KEY, dim=2, form="full")
    ),
}
TASK = RegressionTask(dim=2, context=3)


class Accelerator:
    """What is asked of a device of JAX."""

    platform = "gpu"

    def __init__(self, device_kind="NVIDIA A100", platform_version="cuda 13000"):
        self.device_kind, self.client = device_kind, self
        self.platform_version = platform_version


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.setattr(native, "default_device", Accelerator)


def products(jaxpr):
    """The matrix products of a program and of the programs within."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            yield equation
        within = jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda p: hasattr(p, "eqns")
        )
        for each in within:
            each = getattr(each, "jaxpr", each)
            if hasattr(each, "eqns"):
                yield from products(each)


def of_fewer_bits(function, *arguments):
    """The products that an accelerator may compute with fewer bits than float32 has."""
    exact = (jax.lax.Precision.HIGHEST, jax.lax.Precision.HIGHEST)
    return [
        str(each)
        for each in products(jax.make_jaxpr(function)(*arguments).jaxpr)
        if each.outvars[0].aval.dtype == jnp.float32 and each.params["precision"] != exact
    ]


def test_products_of_fewer_bits_are_found():
    matrix = jnp.eye(2)
    assert of_fewer_bits(jax.jit(jnp.dot), matrix, matrix)
    assert not of_fewer_bits(lambda a: jnp.dot(a, a, precision="highest"), matrix)


@pytest.mark.parametrize("name", MODELS)
def test_models_and_their_derivatives_have_all_bits_of_float32(name):
    """By default JAX has accelerators round the factors of float32 products to 11 bits."""
    model, prompts = MODELS[name], TASK.sample(KEY, 4)
    paths = ["token", "reduced"] if objective._native.reducible(model) else ["token"]
    for path in paths:
        assert not of_fewer_bits(
            lambda m, p, path=path: (
                objective.value_and_grad(m, p, path=path),
                objective.hvp(m, p, m, path=path),
                objective.hessian(m, p, path=path),
            ),
            model,
            prompts,
        )


@pytest.mark.parametrize("name", NAMED)
def test_named_optimizers_have_all_bits_of_float32(name):
    method, point = accepting(NAMED[name](0.1)), {"P": jnp.ones((2, 3, 3)), "b": jnp.ones(3)}

    def update(point, gradient):
        keywords = {
            "value": jnp.float32(1),
            "grad": gradient,
            "obj_fn": lambda p: jnp.sum(p["P"] ** 2),
            "value_fn": lambda p: jnp.sum(p["P"] ** 2),
            "hessian_diagonal_fn": lambda p: p,
            "hessian_fn": lambda p: jnp.eye(21),
            "gauss_newton_fn": lambda p: jnp.eye(21),
        }
        return method.update(gradient, method.init(point), point, **keywords)

    assert not of_fewer_bits(update, point, point)


def test_draws_and_measures_have_all_bits_of_float32(gpu):
    for task in (
        TASK,
        RegressionTask(dim=2, context=3, covariates=Gaussian([[2.0, 1.0], [1.0, 2.0]])),
        RegressionTask(dim=2, context=3, response=ReluNetwork(hidden=3)),
    ):
        assert not of_fewer_bits(lambda key, task=task: task.sample_moments(key, 4), KEY)
    iterate = Iterate.of(MODELS["block"], TASK, batch=4)
    for measure in (
        GradientNoise(samples=3, batch_sizes=(2,), reference=1000),
        BatchSharpness(samples=2, batch=2),
        BlockHeterogeneity(),
        BlockSmoothness(),
        Curvature(),
        GaussNewton(),
        NoiseScale(samples=4, batch=2),
        TopEigenvectors(),
    ):
        assert not of_fewer_bits(lambda measure=measure: measure(iterate))


@needs_kernels
def test_kernels_are_for_the_cpu(gpu):
    model, prompts = make_case("block", 1, 2, 3, 4, dtype="float32")
    assert native.why_unavailable() == (
        "The native kernels are for the CPU, and JAX computes on gpu."
    )
    assert objective.choose_path(model, prompts) == "reduced"
    assert provenance()["kernels"] == "xla"


def test_doctor_names_the_accelerator(gpu, attnscape, monkeypatch):
    monkeypatch.setattr(doctor, "_seconds_a_gradient", lambda *_: 1e-5)
    shown = " ".join(attnscape("doctor").split())
    assert "device NVIDIA A100" in shown
    assert "path XLA" in shown
    assert "The XLA path takes 10 us" in shown


@needs_kernels
def test_the_users_default_device_decides_and_not_the_backend(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    with jax.default_device(jax.devices("cpu")[0]):
        assert native.usable("float32")
    with jax.default_device("cpu"):
        assert native.usable("float32")


def test_results_of_another_device_are_not_found(monkeypatch):
    on_cpu = identity.settings()
    with jax.default_device(jax.devices("cpu")[0]):
        assert identity.settings() == on_cpu
    found = [on_cpu]
    for device in (
        Accelerator(),
        Accelerator("NVIDIA H100"),
        Accelerator(platform_version="cuda 13010"),
    ):
        monkeypatch.setattr(native, "default_device", lambda device=device: device)
        assert identity.settings() not in found
        found.append(identity.settings())


@needs_torch
def test_the_engines_optimizers_step_networks_on_the_cpu():
    """Two devices of the CPU stand for a CPU and an accelerator, which JAX computes on."""
    program = """
import jax, torch
jax.config.update("jax_num_cpu_devices", 2)
cpu, other = jax.devices()
jax.config.update("jax_default_device", other)
from attnscape.networks.pseudo import PseudoSteps
from attnscape.networks.steps import steps_of
from attnscape.optimizers import adam

module = torch.nn.Linear(2, 3)
parameters = dict(module.named_parameters())

def backward():
    module.zero_grad()
    loss = module(torch.ones(4, 2)).square().mean()
    loss.backward()
    return loss

steps, pseudo = (
    steps_of("adam", adam, 0.1, parameters, 1.0), PseudoSteps({"adam": adam}, 0.1, parameters, 1.0)
)
for _ in range(2):
    steps.step(backward)
    pseudo.see(backward())
arrays = jax.tree.leaves((steps._values, steps._state, pseudo._states, pseudo._updates))
print({device == cpu for array in arrays for device in array.devices()})
"""
    assert python(program).strip() == "{True}"


def test_processes_that_compute_runs_leave_accelerators_alone():
    """Each that opened one would take most of its memory."""
    here = str(Path(__file__).parent)
    program = """
from attnscape.workflows.processes import Processes
from test_run_queue import _backend

if __name__ == "__main__":
    workers = Processes(1)
    print(workers.submit(_backend).future.result())
    workers.stop()
"""
    assert python(program, JAX_PLATFORMS="cuda", PYTHONPATH=here).strip() == "cpu"
