"""Training of networks: the steps are those of a plain loop, runs share what they should."""

import dataclasses

import numpy as np
import optax
import pytest

from support import needs_torch, relative

pytestmark = needs_torch
torch = pytest.importorskip("torch")

from attnscape.errors import UsageError  # noqa: E402
from attnscape.networks import NetworkRun, Schedules, train_run, train_workload  # noqa: E402
from attnscape.networks.steps import steps_of  # noqa: E402
from attnscape.networks.streams import _BATCHES, _INIT, _stream  # noqa: E402
from attnscape.optimizers import NAMED  # noqa: E402
from attnscape.optimizers.pytorch import TorchOptimizer  # noqa: E402
from attnscape.optimizers.references import get_optimizer  # noqa: E402
from attnscape.training import Status  # noqa: E402
from networks.toy import TOY, toy_data, toy_model  # noqa: E402

SIZE = TOY.sizes["small"]
OFTEN = Schedules(loss=1)


def run(optimizer="adam", rate=0.05, seed=3, workload=TOY, **changes):
    factory = get_optimizer(optimizer)
    settings = {"steps": 12, "schedules": OFTEN} | changes
    data = toy_data("packaged")
    return train_run(workload, data, SIZE, optimizer, factory, rate, seed, **settings).squeeze(
        ("optimizer", "learning_rate", "seed"), drop=True
    )


def plain_loop(make, seed=3, steps=12, clip=None):
    """Losses and gradient norms on the batch of each step."""
    data = toy_data("packaged")
    torch.manual_seed(_stream(seed, _INIT))
    module = toy_model(data.facts)
    optimizer = make(module.parameters())
    batches = [b for i in range(9) for b in data.batches(16, _stream(seed, _BATCHES, i))]
    losses, norms = [], []
    for batch in batches[:steps]:
        optimizer.zero_grad()
        loss = TOY.loss(module, batch)
        loss.backward()
        norms.append(torch.cat([p.grad.flatten() for p in module.parameters()]).norm().item())
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(module.parameters(), clip)
        losses.append(loss.item())
        optimizer.step()
    return losses, norms


TWINS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.05),
    "sgdm": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9),
    "adam": lambda p: torch.optim.Adam(p, lr=0.05, betas=(0.9, 0.9)),
    "torch:RMSprop": lambda p: torch.optim.RMSprop(p, lr=0.05),
}


@pytest.mark.parametrize("name", TWINS)
def test_the_steps_are_those_of_a_plain_loop(name):
    got = run(name)
    losses, norms = plain_loop(TWINS[name])
    # The same gradients by the same code; optax and PyTorch round differently in 12 steps.
    tolerance = 0 if name.startswith("torch:") else 1e-5
    assert relative(got["training_loss"].values[:-1], losses) <= tolerance
    assert relative(got["gradient_norm"].values[:-1], norms) <= max(tolerance, 1e-6)


@pytest.mark.parametrize("name", ["sgdm", "torch:RMSprop"])
def test_gradients_are_clipped_before_the_optimizer(name):
    got = run(name, clip=0.1)
    losses, norms = plain_loop(TWINS[name], clip=0.1)
    assert relative(got["training_loss"].values[:-1], losses) < 1e-5
    assert relative(got["gradient_norm"].values[:-1], norms) < 1e-5
    assert max(norms) > 0.1  # measured before clipping


def test_runs_of_a_seed_share_weights_batches_and_dropout():
    drops = dataclasses.replace(TOY, model=lambda facts: toy_model(facts, hidden=50, dropout=0.5))
    first, other = (run(name, workload=drops) for name in ("sgdm", "adam"))
    assert first["loss"][0] == other["loss"][0]
    assert first["training_loss"][0] == other["training_loss"][0]
    still = [run(name, rate=1e-30, workload=drops)["training_loss"] for name in ("sgdm", "adam")]
    np.testing.assert_array_equal(*still)
    assert len(np.unique(still[0])) > 6  # dropout and batches change along the run
    assert run(seed=4)["loss"][0] != run()["loss"][0]


def test_the_same_run_gives_the_same_bits_and_leaves_pytorchs_generator_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, other = run(), run()
    assert one.identical(other)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("name", ["sgd", "torch:SGD"])
def test_a_diverged_run_ends_with_its_status(name):
    lost = run(name, rate=1e30)
    assert lost["status"] == Status.diverged
    at = int(lost["diverged_at"])
    assert 0 < at <= 12
    assert np.isnan(lost["loss"].sel(step=slice(at, None))).all()
    assert np.isfinite(lost["loss"].sel(step=0))


def test_optimizers_are_measured_where_they_evaluate():
    """Schedule-free SGD without momentum evaluates at the mean of its fast iterates."""
    factory = NAMED["schedule-free"]
    data = toy_data("packaged")
    module = toy_model(data.facts)
    steps = steps_of("schedule-free", factory, 0.02, dict(module.named_parameters()), None)

    def backward():
        module.zero_grad()
        loss = TOY.loss(module, data.fixed(16, 1)[0])
        loss.backward()
        return loss

    for _ in range(5):
        steps.step(backward)
    at_gradient = [p.detach().clone() for p in module.parameters()]
    optimizer = factory(0.02)
    wanted = optimizer.eval_params(steps._state, steps._values)
    with steps.at_eval_params():
        for name, parameter in module.named_parameters():
            np.testing.assert_allclose(parameter.detach(), wanted[name], rtol=1e-6)
        assert not all(map(torch.equal, module.parameters(), at_gradient))
    assert all(map(torch.equal, module.parameters(), at_gradient))


def test_closures_are_called_at_the_present_parameters():
    got = run("torch:LBFGS", rate=0.5, steps=6)
    assert got["loss"].values[-1] < 0.2 * got["loss"].values[0]


def test_an_optimizer_that_asks_for_further_losses_is_refused_in_one_sentence():
    def line_search(learning_rate):
        return optax.chain(optax.sgd(learning_rate), optax.scale_by_backtracking_linesearch(5))

    data = toy_data("packaged")
    module = toy_model(data.facts)
    steps = steps_of("mine", line_search, 0.1, dict(module.named_parameters()), None)

    def backward():
        loss = TOY.loss(module, data.fixed(16, 1)[0])
        loss.backward()
        return loss

    with pytest.raises(UsageError, match="mine asks for the loss, gradient or Hessian at further"):
        steps.step(backward)


def test_a_negative_schedule_is_refused():
    with pytest.raises(UsageError, match="The schedule of noise is -5"):
        Schedules(noise=-5)


def test_a_probe_measures_along_the_run():
    got = run(schedules=Schedules(loss=4, smoothness=4, noise=4, curvature=8))
    assert np.isfinite(got["directional_smoothness"].sel(step=[0, 4, 8])).all()
    assert np.isfinite(got["condition_number"].sel(step=[0, 8])).all()
    assert got["noise_norm"].sizes["sample"] == SIZE.evaluations
    plain = run(schedules=Schedules(loss=4))
    np.testing.assert_array_equal(got["loss"].sel(step=plain["step"]), plain["loss"])


def test_all_runs_stand_in_one_dataset():
    got = train_workload(
        TOY, ["sgdm", "adam"], {"sgdm": (0.01, 0.1), "adam": (0.01,)}, (0, 2), steps=5,
        schedules=Schedules(loss=5),
    )  # fmt: skip
    assert got["loss"].dims == ("optimizer", "learning_rate", "seed", "step")
    assert list(got["step"].values) == [0, 5]
    assert (got["status"].sel(optimizer="adam", learning_rate=0.1) == Status.not_run).all()
    assert got["loss"].sel(optimizer="adam", learning_rate=0.1).isnull().all()
    assert got["loss"].sel(optimizer="sgdm").notnull().all()
    alone = run("sgdm", rate=0.1, seed=2, steps=5, schedules=Schedules(loss=5))
    mine = got.sel(optimizer="sgdm", learning_rate=0.1, seed=2)
    np.testing.assert_array_equal(mine["loss"].values, alone["loss"].values)
    assert got.attrs["data"] == "toy data"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"workload": "nope"}, "There is no workload 'nope'; there are mnist-lenet5, "),
        ({"size": "published"}, "toy has no size 'published'; it has small."),
        ({"optimizers": ["nope"]}, "'nope' is no name of an optimizer; "),
        ({"optimizers": []}, "No optimizer was given"),
        ({"learning_rates": ()}, "No learning rate was given for sgdm"),
        ({"learning_rates": {"adam": (1.0,)}}, "Learning rates were given for"),
        ({"seeds": (1, 1)}, "give at least one, and none twice"),
        ({"steps": -1}, "steps is -1"),
        ({"clip": -1.0}, "clip is -1.0; it must be positive"),
        ({"seeds": (2**32,)}, "The seed 4294967296 is not usable"),
        ({"optimizers": ["sophia"]}, "sophia asks for the loss, gradient or Hessian at further"),
    ],
)
def test_mistakes_are_told_in_one_sentence(changes, sentence):
    arguments = {
        "workload": TOY,
        "optimizers": ["sgdm"],
        "learning_rates": (0.1,),
        "seeds": (0,),
    } | changes
    with pytest.raises(UsageError, match=sentence):
        train_workload(**arguments)


def computation(**changes):
    settings = {
        "workload": TOY,
        "built_in": True,
        "data": toy_data("packaged"),
        "size": SIZE,
        "optimizer": "adam",
        "factory": NAMED["adam"],
        "learning_rate": 0.1,
        "seed": 0,
        "steps": 10,
    } | changes
    return NetworkRun(**settings)


def test_equal_runs_have_equal_ids_and_others_do_not():
    same = computation().run_id
    assert computation().run_id == same
    others = [
        {"factory": NAMED["sgdm"]},
        {"learning_rate": 0.2},
        {"seed": 1},
        {"steps": 11},
        {"clip": 1.0},
        {"data": toy_data("packaged", examples=48)},
        {"size": dataclasses.replace(SIZE, batch=8)},
        {"schedules": Schedules(loss=1)},
        {"schedules": Schedules(sharpness=5)},
        {"workload": dataclasses.replace(TOY, name="other")},
        {"factory": get_optimizer("torch:Adam")},
    ]
    ids = {computation(**changes).run_id for changes in others}
    assert len(ids) == len(others)
    assert same not in ids


def test_a_finished_run_is_found_again(tmp_path):
    from attnscape.experiments import store

    first = store.load_or_run(computation(), tmp_path)
    assert store.find(computation(), tmp_path) is not None
    again = store.load_or_run(computation(), tmp_path, lambda done, total: pytest.fail("it runs"))
    assert again.identical(first)
    assert first.attrs["data"] == "toy data"


def test_a_run_is_found_under_another_name_of_the_same_optimizer(tmp_path):
    from attnscape.experiments import store

    def run_all(runs):
        return {key: store.load_or_run(run, tmp_path) for key, run in runs.items()}

    both = {"one": NAMED["sgd"], "other": NAMED["sgd"]}
    got = train_workload(TOY, both, (0.1,), (0,), steps=3, run_all=run_all)
    assert got["loss"].notnull().all()
    assert len(list(tmp_path.glob("*.nc"))) == 1


def test_what_a_diverged_run_lacks_the_others_keep():
    schedules = Schedules(loss=1, smoothness=1)
    got = train_workload(TOY, ["sgd"], (1e30, 0.01), (0,), steps=4, schedules=schedules)
    assert got["directional_smoothness"].sel(learning_rate=0.01, step=[0, 1, 2, 3]).notnull().all()
    assert got.attrs["condition"]


def test_pretrained_weights_are_part_of_a_runs_identity():
    def with_weights(value):
        def model(facts):
            module = toy_model(facts)
            with torch.no_grad():
                module[0].weight.fill_(value)
            return module

        return dataclasses.replace(TOY, model=model)

    ids = {computation(workload=with_weights(value)).run_id for value in (0.0, 1.0)}
    assert len(ids) == 2


class Moves(torch.optim.SGD):
    """Clears the gradient before it calls its closure."""

    def step(self, closure):
        self.zero_grad()
        loss = closure()
        super().step()
        return loss


def test_a_closure_fills_gradients_that_were_cleared():
    data = toy_data("packaged")
    module = toy_model(data.facts)
    steps = steps_of("mine", TorchOptimizer(Moves), 0.1, dict(module.named_parameters()), None)
    before = [p.detach().clone() for p in module.parameters()]

    def backward():
        module.zero_grad()
        loss = TOY.loss(module, data.fixed(16, 1)[0])
        loss.backward()
        return loss

    steps.step(backward)
    assert not any(map(torch.equal, module.parameters(), before))


def test_part_of_the_parameters_is_refused():
    module = toy_model({"features": 3})
    partly = TorchOptimizer(lambda parameters, lr: torch.optim.SGD(parameters[:1], lr=lr))
    with pytest.raises(UsageError, match="leave out parameters number"):
        steps_of("mine", partly, 0.1, dict(module.named_parameters()), None)


def test_double_precision_is_refused_where_it_would_be_lost():
    module = toy_model({"features": 3}).double()
    with pytest.raises(UsageError, match=r"parameters of torch\.float64, but sgd steps float32"):
        steps_of("sgd", NAMED["sgd"], 0.1, dict(module.named_parameters()), None)
