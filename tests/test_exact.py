# ruff: noqa: NPY002 - the public code seeds the global generators
"""The public code's random numbers, and the printed table that comes of them."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from attnscape import Prompts, value_and_grad
from attnscape.errors import UsageError
from attnscape.experiments.setting import Plan
from attnscape.models import LinearTransformer
from attnscape.paper.condition_table import TAB_CONDITION
from attnscape.paper.exact import TAB_CONDITION_EXACT
from attnscape.paper.settings import SETTING_1, SETTING_2, SETTING_3, SPHERE
from attnscape.paper.stream_runs import CHANGE, StreamRuns
from attnscape.tasks import Moments
from attnscape.training.checkpoints import UnusedCheckpointWarning
from attnscape.workflows.make import make
from tests.checkpoint_support import Recorder
from tests.support import TokenOracle, relative

_SMALL = {
    setting.name: dataclasses.replace(setting, batch=40) for setting in (SETTING_2, SETTING_3)
}
_STEPS = (10, 20)


@pytest.fixture
def torch():
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # many small operations, beside other tests
    yield torch
    torch.set_num_threads(threads)


def _stream(seed, setting=SETTING_2):
    from attnscape.paper._torch_stream import Stream

    return Stream(seed, setting.task, setting.batch)


def _plain_draw(torch, n, B, gamma=False):
    """w, x, query by plain calls of both global generators."""
    w, x, query = (torch.empty(shape).normal_(0, 1) for shape in ((B, 5), (B, n, 5), (B, 1, 5)))
    if gamma:
        for covariates in (x, query):
            squares = np.random.gamma(0.1, 10.0, covariates.shape[:-1])
            roots = torch.tensor(squares, dtype=torch.float32).sqrt()
            covariates.div_(covariates.norm(dim=2, keepdim=True)).mul_(roots[..., None])
    return w, x, query[:, 0]


@pytest.mark.parametrize("setting", [SETTING_1, SETTING_2, SETTING_3], ids=lambda s: s.name)
def test_the_stream_is_what_seeded_global_generators_give(torch, setting):
    torch.manual_seed(3)
    np.random.seed(3)
    allparam = torch.zeros(3, 1, 2, 5, 5).normal_(0, 0.05).numpy()
    stream = _stream(3, setting)
    P, Q = stream.matrices(3, 0.05)
    np.testing.assert_array_equal(P, allparam[:, 0, 0])
    np.testing.assert_array_equal(Q, allparam[:, 0, 1].swapaxes(1, 2))
    for _ in range(2):
        wanted = _plain_draw(torch, setting.task.context, setting.batch, setting is SETTING_3)
        for mine, theirs in zip(stream.draw(), wanted, strict=True):
            assert mine.dtype == np.float32
            np.testing.assert_allclose(mine, theirs.numpy(), rtol=3e-6 * (setting is SETTING_3))


def test_a_stream_leaves_the_global_generators_alone(torch):
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    _stream(0, SETTING_3).batches(1)
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_before)


@pytest.mark.parametrize("name", _SMALL)
def test_moments_and_gradient_are_those_of_the_token_form(torch, x64, name):
    setting = _SMALL[name]
    stream, again = _stream(1, setting), _stream(1, setting)
    model = LinearTransformer(*map(jnp.asarray, stream.matrices(3, 0.05)))
    again.matrices(3, 0.05)
    batches = stream.batches(2)
    for step in range(2):
        w, x, query = (a.astype(np.float64) for a in again.draw())
        y, target = np.einsum("bnd,bd->bn", x, w), np.einsum("bd,bd->b", query, w)
        oracle = TokenOracle(model, Prompts(*map(jnp.asarray, (x, y, query, target))))
        value, gradient = value_and_grad(model, Moments(*(jnp.asarray(a[step]) for a in batches)))
        assert value == pytest.approx(oracle.loss(), rel=1e-12)
        assert relative(gradient, oracle.gradient()) < 1e-12


def _plain_training(torch, setting, name, seed, steps):
    """A small PyTorch loop in float64: |H_ii| on the evaluation batch after `steps` updates."""
    n, B, rate = setting.task.context, setting.batch, setting.rates["code"][name]

    def objective(parameters, *drawn):
        w, x, query = (torch.from_numpy(a).double() for a in drawn)
        y = (x @ w[:, :, None])[..., 0]
        Z = torch.cat([torch.cat([x, y[..., None]], 2), torch.zeros(B, 1, 6).double()], 1)
        Z[:, -1, :5] = query
        mask = torch.eye(n + 1, dtype=torch.float64)
        mask[n, n] = 0
        for p, q in parameters[:, 0]:
            P = torch.block_diag(p, torch.ones(1, 1, dtype=torch.float64))
            Q = torch.block_diag(q, torch.zeros(1, 1, dtype=torch.float64))
            Z = Z + Z @ Q @ Z.mT @ mask @ Z @ P.T / n
        return ((Z[:, -1, -1] + (w * query).sum(1)) ** 2).mean()

    stream = _stream(seed, setting)
    P, Q = (torch.from_numpy(a.copy()) for a in stream.matrices(3, 0.05))
    parameters = torch.stack([P, Q.mT], 1)[:, None].clone().requires_grad_()
    optimizer = (
        torch.optim.SGD([parameters], lr=rate, momentum=0.9)
        if name == "sgdm"
        else torch.optim.Adam([parameters], lr=rate, betas=(0.9, 0.9))
    )
    for _ in range(steps):
        optimizer.zero_grad()
        objective(parameters, *stream.draw()).backward()
        norm = parameters.grad.norm()
        if norm > 1:
            parameters.grad /= norm
        optimizer.step()
    evaluation = _stream(99, setting).draw()
    hessian = torch.autograd.functional.hessian(
        lambda flat: objective(flat.reshape(parameters.shape), *evaluation),
        parameters.detach().ravel(),
    )
    return torch.diag(hessian).abs().numpy()


@pytest.mark.parametrize("setting", _SMALL)
def test_a_short_run_is_that_of_a_plain_pytorch_loop(torch, setting):
    result = StreamRuns(_SMALL[setting], (0, 4), _STEPS).run().sel(start="drawn", step=20)
    for name in ("sgdm", "adam"):
        mine = np.abs(result["hessian_diagonal"].sel(optimizer=name, seed=4).values)
        theirs = _plain_training(torch, _SMALL[setting], name, 4, 20)
        assert mine.max() == pytest.approx(theirs.max(), rel=1e-9)
        # Entries of Q are transposed between the two.
        np.testing.assert_allclose(np.sort(mine), np.sort(theirs), rtol=1e-9, atol=1e-12)


def test_the_changed_start_begins_at_the_stated_distance(torch):
    distance = StreamRuns(_SMALL["setting-2"], (0,), (0, 20)).run()["distance"]
    np.testing.assert_allclose(distance.sel(step=0), CHANGE, rtol=1e-6)
    assert (distance.sel(step=20) > 0).all()
    assert not np.allclose(distance.sel(step=20), CHANGE, rtol=1e-6)


def test_a_seed_does_not_depend_on_its_company(torch):
    alone = StreamRuns(_SMALL["setting-3"], (2,), (20,)).run()
    among = StreamRuns(_SMALL["setting-3"], (0, 1, 2), (20,)).run().sel(seed=[2])
    for name in alone.data_vars:
        np.testing.assert_array_equal(alone[name], among[name])


def test_what_changes_numbers_changes_the_id():
    runs = StreamRuns(SETTING_2, (0, 1), (20,))
    others = [
        dataclasses.replace(runs, seeds=(0,)),
        dataclasses.replace(runs, steps=(10, 20)),
        dataclasses.replace(runs, setting=SETTING_1),
        dataclasses.replace(runs, setting=dataclasses.replace(SETTING_2, batch=40)),
        dataclasses.replace(runs, setting=dataclasses.replace(SETTING_2, layers=2)),
    ]
    assert len({each.run_id for each in [runs, *others]}) == 1 + len(others)


def test_a_setting_that_the_public_code_draws_otherwise_is_refused(torch):
    with pytest.raises(UsageError, match="no stream"):
        StreamRuns(SPHERE, (0,), (1,)).run()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    pytest.importorskip("torch")
    distribution = dataclasses.replace(
        TAB_CONDITION, settings=(_SMALL["setting-2"],), steps=_STEPS, seeds=3
    )
    artifact = dataclasses.replace(
        TAB_CONDITION_EXACT, distribution=distribution, settings=distribution.settings
    )
    return make(
        artifact, tmp_path_factory.mktemp("exact"), Plan(seeds=3, many_seeds=4, steps=20), print
    )


def test_the_table_holds_ratios_of_the_stream_beside_the_printed_ones(made):
    dataset = made.results["setting-2"].sel(start="drawn", step=20)
    diagonal = np.sort(np.abs(dataset["hessian_diagonal"].transpose("optimizer", "seed", ...)))
    numbers = diagonal[..., -1] / diagonal[..., (diagonal.shape[-1] - 1) // 2]
    ratios = numbers[0] / numbers[1]
    frame = made.frame.query("start == 'drawn' and step == 20").sort_values("seed")
    np.testing.assert_allclose(frame["ratio"], ratios)
    (table,) = made.tables.values()
    row = table.iloc[-1]
    assert row["printed"] == "5.98 (2.86)"
    assert row["same prompts"] == f"{ratios.mean():.2f} ({ratios.std(ddof=1):.2f})"


def test_the_distribution_over_other_seeds_stands_beside_it(made):
    other = made.frame[made.frame["start"] == "other"]
    assert set(other["seed"]) == set(range(4))
    assert set(made.frame["start"]) == {"drawn", "changed", "other"}
    assert {"png", "pdf", "csv", "tex", "txt"} == set(made.files)


def test_the_caption_says_how_an_initial_change_grows(made):
    distance = made.results["setting-2"]["distance"].sel(step=20).median("seed")
    for name, word in (("sgdm", "SGDM"), ("adam", "Adam")):
        assert f"{float(distance.sel(optimizer=name)):.1e} ({word})" in made.caption


def test_without_torch_it_is_left_out_and_when_named_refused(attnscape, monkeypatch, tmp_path):
    monkeypatch.setattr("attnscape.paper.exact.importlib.util.find_spec", lambda name: None)
    assert "attnscape[torch]" in TAB_CONDITION_EXACT.obstacle(Plan())
    with pytest.raises(SystemExit, match=r"tab-condition-exact needs PyTorch.*attnscape\[torch\]"):
        attnscape("reproduce", "tab-condition-exact", "--out", tmp_path)


def test_without_torch_all_artifacts_are_made_but_this_one(attnscape, monkeypatch, tmp_path):
    monkeypatch.setattr("attnscape.paper.exact.importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr(
        "attnscape.cli.commands.reproduce.CATALOG", ("tab-condition-exact", "table1")
    )
    said = attnscape("reproduce", "--out", tmp_path)
    assert "Left out: tab-condition-exact needs PyTorch" in said
    assert (tmp_path / "table1.csv").is_file()
    assert not (tmp_path / "tab-condition-exact.json").exists()


def test_of_own_parts_it_says_nothing(torch):
    assert "--task" in TAB_CONDITION_EXACT.obstacle(Plan(own="task my_file.py:task"))
    assert TAB_CONDITION_EXACT.obstacle(Plan()) == ""


@pytest.mark.slow
def test_setting_2_gives_the_printed_row_to_its_last_digit(torch):
    result = StreamRuns(SETTING_2, tuple(range(6)), (750, 1250)).run().sel(start="drawn")
    diagonal = np.sort(np.abs(result["hessian_diagonal"].transpose(..., "parameter")))
    numbers = diagonal[..., -1] / diagonal[..., 74]
    ratios = numbers[0] / numbers[1]  # (seed, step)
    rows = zip(ratios.mean(0), ratios.std(0, ddof=1), strict=True)
    assert [f"{mean:.2f} ({std:.2f})" for mean, std in rows] == ["3.14 (0.97)", "5.98 (2.86)"]


@pytest.mark.parametrize("setting", _SMALL)
def test_runs_are_continued_bit_for_bit(torch, setting):
    """The radial setting draws from both generators."""
    runs = StreamRuns(_SMALL[setting], (0, 4), (0, 30, 60))
    whole = runs.run(checkpoints=(recorder := Recorder()))
    assert [step for _, step, _ in recorder.offered] == [0, 25, 30, 50, 60]
    for part, step, state in recorder.offered:
        later = Recorder({part: state})
        assert runs.run(checkpoints=later).identical(whole)
        assert all(then > step for _, then, _ in later.offered)


def test_a_state_of_other_runs_is_told(torch):
    runs = StreamRuns(_SMALL["setting-2"], (0,), (20,))
    runs.run(checkpoints=(recorder := Recorder()))
    other = StreamRuns(_SMALL["setting-2"], (0, 1), (20,))
    with pytest.warns(UnusedCheckpointWarning, match=r"of stream cannot be used \(the sa"):
        again = other.run(checkpoints=Recorder({"stream": recorder.offered[0][2]}))
    assert again.identical(other.run())
