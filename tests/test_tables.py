"""Prompts from real tables: rows of the table, standardised, the same in every precision."""

import csv
import dataclasses
import importlib.util

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays

from attnscape import Experiment, LinearTransformer, RegressionTask
from attnscape.errors import UsageError
from attnscape.optimizers import sgdm
from attnscape.tasks import Empirical, TableTask, Task, as_task, read_table, table_task
from support import relative

KEY = jax.random.key(3)


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    columns = {"a": rng.normal(size=50), "b": 7 + 5 * rng.normal(size=50), "c": np.arange(50)}
    return pd.DataFrame(columns).assign(y=lambda f: f.a - f.b)


@pytest.fixture
def table(frame, tmp_path):
    path = tmp_path / "data.csv"
    frame.to_csv(path, index=False)
    return path


def row_numbers(task, prompts):
    """Which row of the table each point of the prompts is."""
    points = jnp.concatenate([prompts.x, prompts.query[:, None]], axis=1).astype(jnp.float32)
    same = (np.asarray(points)[:, :, None] == np.asarray(task.points)).all(-1)
    assert (same.sum(-1) == 1).all()
    return same.argmax(-1)


def test_columns_are_standardised_over_the_rows(table, frame):
    points, responses = read_table(table, "y")
    wanted = (frame - frame.mean()) / frame.std(ddof=0)
    np.testing.assert_allclose(points, wanted[["a", "b", "c"]], atol=1e-12)
    np.testing.assert_allclose(responses, wanted["y"], atol=1e-12)


def test_a_point_and_its_response_are_of_one_row(table):
    task = table_task(table, "y", context=4)
    assert isinstance(task, TableTask)
    prompts = task.sample(KEY, 30)
    y = np.concatenate([prompts.y, prompts.target[:, None]], axis=1)
    np.testing.assert_array_equal(y, task.responses[row_numbers(task, prompts)])
    assert prompts.x.shape == (30, 4, 3)


def test_every_row_is_drawn_equally_often():
    task = TableTask(np.arange(5.0)[:, None], np.arange(5.0), context=4)
    drawn = np.bincount(row_numbers(task, task.sample(KEY, 4000)).ravel(), minlength=5)
    # Counts are binomial with mean 4000 and standard deviation 57; all five within 4 of them.
    assert np.abs(drawn - 4000).max() < 230


@pytest.mark.parametrize("target", ["y", None])
@pytest.mark.parametrize("jitted", [False, True])
def test_the_same_key_gives_the_same_rows_in_every_precision(table, target, jitted):
    task = table_task(table, target, context=4, noise=0.1)
    jit = jax.jit if jitted else lambda f, **_: f
    single = jit(task.sample, static_argnums=(1, 2))(KEY, 10, "float32")
    with jax.enable_x64(True):
        double = jit(task.sample, static_argnums=(1, 2))(KEY, 10, "float64")
        np.testing.assert_array_equal(single.x, double.x)  # both are drawn in float32
        assert relative(single, double) < 1e-6  # rounding of float32 in <w, x> and the noise
        moments = task.sample_moments(KEY, 10, "float64")
        assert relative(moments, double.moments()) < 1e-12
    assert relative(single, task.sample(jax.random.key(4), 10)) > 0.1


def test_without_a_target_rows_are_the_covariates_of_a_regression_task(table):
    task = table_task(table, context=4)
    assert isinstance(task, RegressionTask)
    assert (task.dim, task.context) == (4, 4)
    drawn = set(map(tuple, np.asarray(task.sample(KEY, 100).x).reshape(-1, 4).tolist()))
    assert drawn <= set(map(tuple, task.covariates.points.tolist()))


@pytest.mark.parametrize("rows", [50, 500], ids=["in full", "by a hash"])
def test_the_run_id_depends_on_the_content_and_not_on_the_path(tmp_path, rows):
    numbers = np.random.default_rng(0).normal(size=(rows, 4))

    def run_id(name, numbers, target):
        path = tmp_path / name
        pd.DataFrame(numbers, columns=list("abcy")).to_csv(path, index=False)
        task = table_task(path, target, context=4)
        return Experiment("e", task, LinearTransformer.init, {"sgdm": sgdm}, {"sgdm": [0.1]},
                          (0,), 1).run_id  # fmt: skip

    changed = numbers.copy()
    changed[-1, -1] += 0.01
    for target in ("y", None):
        first = run_id("first.csv", numbers, target)
        assert run_id("second.csv", numbers, target) == first
        assert run_id("first.csv", changed, target) != first
    assert run_id("first.csv", numbers, "y") != run_id("first.csv", numbers, None)


@given(arrays(np.float64, st.tuples(st.integers(3, 9), st.integers(1, 3)), elements=st.floats(
    -1e6, 1e6)))  # fmt: skip
def test_any_finite_points_can_be_drawn(points):
    task = TableTask(points, points[:, 0], context=2)
    prompts = task.sample(KEY, 4)
    np.testing.assert_array_equal(prompts.x[..., 0], prompts.y)
    known = set(map(tuple, points.astype(np.float32).tolist()))
    assert set(map(tuple, np.asarray(prompts.query).tolist())) <= known


def written(path, frame, *, separator=",", decimal=".", bom="", **options):
    text = bom + frame.to_csv(index=False, sep=separator, decimal=decimal, **options)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "way",
    [
        {"separator": ";", "decimal": ","},
        {"separator": ";"},
        {"separator": "\t"},
        {"separator": "\t", "decimal": ","},
        {"quoting": csv.QUOTE_ALL},
        {"bom": "\ufeff"},
        {"lineterminator": "\r\n"},
    ],
)
def test_one_table_written_in_different_ways_is_read_alike(table, frame, tmp_path, way):
    for one, other in zip(
        read_table(table, "y"),
        read_table(written(tmp_path / "other.csv", frame, **way), "y"),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("unit", [1e200, 1e-200, 1e-300])
def test_columns_in_any_unit_are_standardised_alike(table, frame, tmp_path, unit):
    other = written(tmp_path / "other.csv", frame.assign(b=frame.b * unit))
    for one, same in zip(read_table(table, "y"), read_table(other, "y"), strict=True):
        np.testing.assert_allclose(one, same, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("text", "target", "sentence"),
    [
        ("a,y\n1,x\n2,z\n", "y", "The column 'y' of .* is not numeric .'x' in row 1.; remove the"),
        ("a,y\n1,\n2,3\n", "y", "The column 'y' of .* has 1 missing or infinite values, .* row 1;"),
        ("a,y\n1,inf\n2,3\n", "y", "The column 'y' of .* has 1 missing or infinite values"),
        ("a,y\n1e400,1\n2,3\n", "y", "The column 'a' of .* has 1 missing or infinite values"),
        ("a,y\n1,2\n3,4\n", "z", ".* has no column 'z'; it has a, y."),
        ("a,y\n1,2\n1,4\n", "y", "The column 'a' of .* has fewer than two different values"),
        ("a,y\n", "y", ".* has names of columns, but no rows; give a table with numbers."),
        ("a,y\n1,2\n3,4\n", "y", "The table has 2 rows, but a prompt takes 21; give more rows"),
        ("a,y\n1,2\n3,4\n", None, "The table has 2 rows, but a prompt takes 21; give more rows"),
        ("y\n1\n2\n", "y", ".* has no column of covariates; give it at least one."),
        ("", None, ".* cannot be read as a table .*; check the file."),
        ("a,b\n1,2\n1,2,3,4\n", None, ".* cannot be read as a table .*; check the file."),
        ("a,b\n1,2,3\n4,5,7\n", None, ".* cannot be read as a table .*; check the file."),
        ("1.5,2\n3,4\n", None, "The first line of .* holds numbers where the names .* add a line"),
        ("1,5;2\n3,5;4\n", None, "The first line of .* holds numbers where the names .* add a li"),
        (",a\n0,1\n1,3\n2,4\n", None, "Column 1 of .* has no name, as an index has none; remove"),
        ("id,a\n1,1\n2,3\n3,4\n", None, "The column 'id' of .* only counts the rows, as an index"),
        ("a,a\n1,2\n3,4\n", None, ".* has two columns called 'a'; give each its own name."),
        ("a,b\nTrue,2\nFalse,4\n", None, "The column 'a' .*; write 1 for true and 0 for false."),
        ("a,b\n2020-01-02,2\n2020-02-02,4\n", None, "The column 'a' .*; turn dates into numbers"),
        ('a,b\n"1,234",2\n"2,345",4\n', None, "The column 'a' .* without separators of thousands"),
        ("a;b\n1,234;2\n2,345;4\n", None, "The column 'a' of .* can be read in two ways .is '1,2"),
        ("a;b\n1.234,5;2\n2.345,5;4\n", None, ".* has both decimal points and decimal commas; wr"),
        ('a,b\n"1,5",2\n"2,5",4\n', None, "The column 'a' .*; write decimal points, or separate"),
        ("a b\n1 2\n3 4\n", None, "The column 'a b' .*; separate the columns by commas, semicolo"),
        ("a|b\n1|2\n3|4\n", None, "The column 'a.b' .*; separate the columns by commas, semicolo"),
    ],
)
def test_a_table_that_cannot_be_used_gets_a_sentence(tmp_path, text, target, sentence):
    path = tmp_path / "data.csv"
    path.write_text(text)
    with pytest.raises(UsageError, match=sentence) as raised:
        table_task(path, target)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_a_text_in_another_encoding_gets_a_sentence(tmp_path, encoding):
    path = tmp_path / "data.csv"
    path.write_text("größe,y\n1,2\n3,4\n", encoding)
    with pytest.raises(UsageError, match="is not a text in UTF-8; save it as one"):
        read_table(path)


def test_a_missing_file_and_an_unknown_format_get_a_sentence(tmp_path):
    with pytest.raises(UsageError, match=r"There is no table .*none.csv; give the path of a CSV"):
        read_table(tmp_path / "none.csv")
    (tmp_path / "data.xls").touch()
    with pytest.raises(UsageError, match=r"data.xls is not a table; give a file that ends in .csv"):
        read_table(tmp_path / "data.xls")


@pytest.mark.skipif(importlib.util.find_spec("pyarrow") is not None, reason="pyarrow is there")
def test_without_pyarrow_a_parquet_file_gets_a_sentence(tmp_path):
    (tmp_path / "data.parquet").touch()
    with pytest.raises(UsageError, match=r"which pyarrow reads; install attnscape\[parquet\] or"):
        read_table(tmp_path / "data.parquet")


@pytest.mark.skipif(importlib.util.find_spec("pyarrow") is None, reason="needs pyarrow")
def test_a_parquet_file_is_read_as_its_csv(table, frame):
    frame.to_parquet(table.with_suffix(".parquet"))
    for one, other in zip(
        read_table(table, "y"), read_table(table.with_suffix(".parquet"), "y"), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-12)
    table.with_suffix(".parquet").write_text("not parquet")
    with pytest.raises(UsageError, match="cannot be read as a table"):
        read_table(table.with_suffix(".parquet"))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Empirical([1.0, 2.0]), "points must be finite numbers of shape"),
        (lambda: Empirical([[1.0], ["a"]]), "points must be finite numbers of shape"),
        (lambda: Empirical([[1.0], [np.nan]]), "points must be finite numbers of shape"),
        (lambda: TableTask(np.ones((30, 1)), np.ones(29)), "There are 29 responses for 30 points"),
        (lambda: TableTask(np.ones((30, 1)), np.ones(30), context=0), "context is 0; it must be"),
        (lambda: TableTask(np.ones((30, 1)), np.ones(30), noise=-1), "noise is -1; it must be"),
        (lambda: RegressionTask(2, 3, Empirical(np.ones((9, 1)))).sample(KEY, 2), "have 1 columns"),
        (lambda: RegressionTask(1, 9, Empirical(np.ones((9, 1)))).sample(KEY, 2), "has 9 rows"),
    ],
)
def test_arguments_that_do_not_fit_get_a_sentence(make, sentence):
    with pytest.raises(UsageError, match=sentence):
        make()


def test_a_task_may_be_given_as_itself_or_as_what_makes_it():
    task = RegressionTask(dim=2)
    assert as_task(task) is task
    assert as_task(lambda: task) is task
    assert as_task(RegressionTask) == RegressionTask()
    for each in (task, TableTask(np.ones((30, 1)), np.ones(30))):
        assert isinstance(each, Task)


def test_what_is_no_task_gets_a_sentence():
    @dataclasses.dataclass
    class Half:
        dim: int = 2

        def sample(self, key, batch, dtype):
            return RegressionTask(dim=2).sample(key, batch, dtype)

    for thing in (Half, Half(), Half, lambda: Half()):
        with pytest.raises(UsageError, match=r"has no context and no sample_moments; give an obj"):
            as_task(thing)
