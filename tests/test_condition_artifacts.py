"""Tables and curves of robust condition numbers, and the ablation, on small runs."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from attnscape.errors import UsageError
from attnscape.experiments.setting import Plan
from attnscape.measures import Curvature, DirectionalSmoothness, EvaluationLoss, every
from attnscape.paper.ablation import ABLATION, DEFINITION_CHANGES
from attnscape.paper.condition_curves import FIG14
from attnscape.paper.condition_table import PRINTED, TAB_CONDITION
from attnscape.paper.settings import SETTING_2, SPHERE
from attnscape.report.made import Made
from attnscape.statistics import CONDITION_NUMBERS, PUBLIC_CODE
from attnscape.workflows.make import make

_SMALL = dataclasses.replace(SETTING_2, layers=2, batch=50)
_STEPS = (2, 4)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Made:
    artifact = dataclasses.replace(TAB_CONDITION, settings=(_SMALL,), steps=_STEPS, seeds=3)
    return make(artifact, tmp_path_factory.mktemp("table"), Plan(many_seeds=4, steps=4), print)


def test_the_table_compares_all_definitions_at_its_steps(table: Made):
    frame = table.frame
    assert set(frame["convention"]) == set(CONDITION_NUMBERS)
    assert set(frame["step"]) == set(_STEPS)
    assert set(frame["seed"]) == set(range(4))
    np.testing.assert_allclose(frame["ratio"], frame["sgdm"] / frame["adam"])


def test_the_number_of_the_public_code_is_largest_over_lower_median(table: Made):
    run = table.results["setting-2"].sel(optimizer="adam", step=4, seed=1, evaluation=5)
    diagonal = np.sort(np.abs(run["hessian_diagonal"].dropna("learning_rate").values[0]))
    by_hand = diagonal[-1] / diagonal[(diagonal.size - 1) // 2]
    frame = table.frame.query(
        "step == 4 and seed == 1 and evaluation == 5 and convention == @PUBLIC_CODE"
    )
    assert frame["adam"].item() == pytest.approx(by_hand)


def test_means_of_as_many_seeds_as_are_printed_stand_beside_the_printed_one(table: Made):
    frame = table.frame.query("convention == @PUBLIC_CODE and seed < 3")
    for position, step in enumerate(_STEPS):
        row = table.comparison.iloc[position]
        printed, _ = PRINTED["setting-2"][position]
        means = frame[frame["step"] == step].groupby("evaluation")["ratio"].mean()
        assert len(means) == 8
        # Eight means have no central 95 %.
        expected = [np.nan, np.median(means), np.nan]
        np.testing.assert_allclose(row[["low", "ours", "high"]].to_numpy(float), expected)
        assert row["printed"] == printed
        assert not row["inside"]


def test_all_files_are_written(table: Made):
    assert set(table.files) == {"csv", "txt", "tex", "png", "pdf"}
    assert "3.14 (0.97)" in table.files["tex"].read_text()
    assert "8 fixed batches of 1000 prompts" in table.caption


def test_a_plan_that_ends_too_early_is_refused():
    with pytest.raises(UsageError, match="at least 1250 steps"):
        TAB_CONDITION.experiments(Plan(steps=1000))


def test_curves_have_a_row_a_definition(tmp_path):
    small = dataclasses.replace(_SMALL, measures=(Curvature(every(2)),))
    artifact = dataclasses.replace(FIG14, settings=(small,))
    made = make(artifact, tmp_path, Plan(seeds=2, steps=4, evaluations=2), print)
    assert set(made.frame["convention"]) == {PUBLIC_CODE, f"{PUBLIC_CODE}-live"}
    assert set(made.frame["step"]) == {0, 2, 4}
    assert (made.frame["condition_number"] > 1).all()


def test_the_ablation_changes_one_convention_at_a_time():
    artifact = dataclasses.replace(ABLATION, settings=(SETTING_2, SPHERE), steps=_STEPS)
    experiments = artifact.experiments(Plan(seeds=3, steps=4))
    assert list(experiments) == [
        "setting-2|code",
        "setting-2|full form of P, Q",
        "setting-2|printed rates",  # swapped in print; the clip is 1 in both
        "setting-2|all of the text",
        "sphere|code",
        "sphere|full form of P, Q",
        "sphere|clip at 1",  # 0.1 in the public code; the rates are the same in both
        "sphere|all of the text",
    ]
    code, printed = (experiments[f"setting-2|{change}"] for change in ("code", "printed rates"))
    assert printed.learning_rates == {"sgdm": (0.01,), "adam": (0.02,)}
    # In all else the two are the same.
    fields = {"learning_rates": code.learning_rates, "measures": code.measures}
    assert dataclasses.replace(printed, **fields).run_id == code.run_id


@pytest.fixture(scope="module")
def ablation(tmp_path_factory: pytest.TempPathFactory) -> Made:
    measures = (EvaluationLoss(every(1)), Curvature(every(2)), DirectionalSmoothness(every(1)))
    small = dataclasses.replace(SPHERE, layers=2, batch=50, measures=measures)
    artifact = dataclasses.replace(ABLATION, settings=(small,), steps=_STEPS, measures=measures)
    plan = Plan(seeds=3, steps=4, evaluations=2)
    return make(artifact, tmp_path_factory.mktemp("ablation"), plan, print)


def test_the_ablation_has_a_row_a_change_definition_and_statistic(ablation: Made):
    assert set(ablation.frame["change"]) == {
        *("code", "full form of P, Q", "clip at 1", "all of the text"),
        *DEFINITION_CHANGES,
    }
    assert set(ablation.frame["statistic"]) == {
        "final loss",
        "R at step 2",
        "R at step 4",
        "directional smoothness",
    }


def test_the_ablation_reads_the_ratio_from_the_runs(ablation: Made):
    row = ablation.frame.query(
        "setting == 'sphere' and change == 'code' and statistic == 'final loss'"
    ).iloc[0]
    loss = ablation.results["sphere|code"]["loss"]
    final = {
        name: loss.sel(optimizer=name).dropna("learning_rate", how="all").median("step").values[0]
        for name in ("sgdm", "adam")
    }
    assert row["geometric_mean"] == pytest.approx(
        np.exp(np.log(final["sgdm"] / final["adam"]).mean()), rel=1e-5
    )
