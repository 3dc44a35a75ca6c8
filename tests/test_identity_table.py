"""Every edit that may change a result gives it another identity, or is refused; others do not."""

import contextlib
import functools

import pytest

from attnscape import LinearTransformer, RegressionTask, identity, loading, spec
from attnscape.errors import UsageError
from attnscape.identity import _settings
from attnscape.models import as_model
from attnscape.optimizers import sgdm
from attnscape.optimizers.references import get_optimizer
from attnscape.tasks import as_task
from identity_table import ROWS, apply
from support import needs_torch

STAGE = identity.Stage(
    make=functools.partial(LinearTransformer.init, layers=1, dim=2),
    task=RegressionTask(dim=2, context=3),
    batch=4,
    evaluation_batch=4,
    clip=None,  # it is traced with every optimizer, which takes a third of the time
    precision="float32",
    double=False,
)


def identified(folder, kind):
    """What a new process would find out about `my.py:part`."""
    loading._rooms.rooms.clear()
    _settings._fixed.cache_clear()
    reference = f"{folder / 'my.py'}:part"
    if kind in ("optimizer", "torch"):
        prefix = "torch:" if kind == "torch" else ""
        found = identity.of_optimizer("part", get_optimizer(prefix + reference), (0.1,), STAGE)
    elif kind == "model":
        found = identity.of_model(replaced(make=as_model(loading.load_object(reference))))
    elif kind == "measure":
        found = identity.of_measure(loading.load_object(reference), {"sgdm": sgdm}, 10, STAGE)
    else:
        part = loading.load_object(reference)
        fields = {"law": "covariates", "response": "response"}
        task = as_task(part) if kind == "task" else RegressionTask(2, 3, **{fields[kind]: part})
        found = identity.of_task(replaced(task=task))
    assert all(reason.endswith("another command.") for reason in found.reasons)
    content = {"settings": identity.settings(), "part": found.content}
    return "never" if found.reasons else spec.digest(content)


def replaced(**changes):
    fields = {field: getattr(STAGE, field) for field in STAGE.__dataclass_fields__}
    return identity.Stage(**fields | changes)


@pytest.fixture(autouse=True)
def settings_as_they_are():
    yield
    _settings._fixed.cache_clear()


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(row, id=row.name, marks=[needs_torch] if row.kind == "torch" else [])
        for row in ROWS
    ],
)
def test_an_edit_is_seen_or_refused_and_another_way_to_write_it_is_not(
    row, tmp_path, monkeypatch, unchecked
):
    for name, text in row.files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    if row.expected == "refused":
        with pytest.raises(UsageError, match=r"draw all of it with jax\.random from the key"):
            identified(tmp_path, row.kind)
        return
    before = identified(tmp_path, row.kind)
    with contextlib.ExitStack() as context:
        option = apply(row.edit, tmp_path, monkeypatch)
        if hasattr(option, "__enter__"):
            context.enter_context(option)
        after = identified(tmp_path, row.kind)
    if row.expected == "never":
        assert before == after == "never"
    else:
        assert "never" not in (before, after)
        assert (before == after) == (row.expected == "same")


def test_the_norm_to_which_gradients_are_clipped_is_seen(tmp_path, unchecked):
    (tmp_path / "my.py").write_text("import optax\n\npart = optax.sgd\n")
    factory = get_optimizer(f"{tmp_path / 'my.py'}:part")
    found = [
        identity.of_optimizer("part", factory, (0.1,), replaced(clip=clip))
        for clip in (None, 1.0, 2.0)
    ]
    assert not any(each.reasons for each in found)
    assert len({spec.digest(each.content) for each in found}) == 3


def test_the_table_is_as_long_as_the_audit_that_it_stands_for():
    assert len(ROWS) >= 116
    assert len({row.name for row in ROWS}) == len(ROWS)
