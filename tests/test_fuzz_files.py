"""Any damage to the files of a folder ends in a sentence, and takes nothing else away."""

import contextlib
import copy
import json
import os
import warnings
import zlib

import hypothesis
import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck
from hypothesis import strategies as st
from PIL import Image

from attnscape.errors import UsageError
from attnscape.experiments import checkpoints, plain_file, store
from attnscape.experiments.checkpoints import CheckpointFolder
from attnscape.experiments.saved import saved_parameters
from attnscape.files import sha256
from attnscape.paper.catalog import ARTIFACTS
from attnscape.paper.verdict import Verdict
from attnscape.report.entries import read_entries, write_entries
from attnscape.report.manifest import Manifest, Run, Table, read_all, save_verdicts
from attnscape.report.page import write_page
from attnscape.tasks import table_task
from attnscape.training.checkpoints import UnusedCheckpointWarning
from attnscape.workflows.members import NAME, Members
from attnscape.workflows.status import runs_in
from tests.checkpoint_support import Walk, from_bytes, to_bytes

FIRST, SECOND = list(ARTIFACTS)[:2]
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=[])), st.sampled_from([-1, 10**400, 1e308, "../x"]),
)  # fmt: skip
VALUES = st.recursive(
    LEAVES, lambda v: st.lists(v, max_size=2) | st.dictionaries(st.text(), v, max_size=2)
)
settings = hypothesis.settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@contextlib.contextmanager
def sentences():
    """Context manager: a mistake of the user may end the block, in one sentence."""
    said = "."
    try:
        yield
    except UsageError as error:
        said = str(error)
    assert said.endswith(".")
    assert "\n" not in said


@st.composite
def damaged(draw, whole):
    """The bytes of a file of which some are lost, changed, or were never there."""
    start = draw(st.integers(0, len(whole)))
    end = draw(st.integers(start, min(len(whole), start + 50)))
    put = draw(st.binary(max_size=20) | st.just(bytes(end - start)))
    rest = whole[end:] if draw(st.booleans()) else b""
    return whole[:start] + put + rest


@st.composite
def changed(draw, value):
    """The value with one of its parts lost, or another."""
    value = copy.deepcopy(value)
    part = value
    while True:
        key = draw(st.sampled_from(sorted(part) if isinstance(part, dict) else range(len(part))))
        if isinstance(part[key], dict | list) and part[key] and draw(st.integers(0, 3)):
            part = part[key]
            continue
        if draw(st.booleans()):
            del part[key]
        else:
            part[key] = draw(VALUES)
        return value


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What `reproduce` and `bench` leave: manifests, verdicts, figures, the bench's members."""
    out = tmp_path_factory.mktemp("made")
    run = Run("a", "0" * 64, "runs/a.nc", 2, 9, "float32", "native", {"jax": "1"})
    Image.new("RGB", (3, 2)).save(out / f"{FIRST}.png")
    (out / f"{SECOND}.csv").write_text("step,loss\n0,1\n")
    for name, suffix in ((FIRST, "png"), (SECOND, "csv")):
        Manifest(
            name, "A title", "It is so.", "attnscape reproduce", {"recipe": "code"}, "A caption.",
            files={suffix: f"{name}.{suffix}"},
            digests={suffix: sha256(out / f"{name}.{suffix}")},
            runs={"one": run},
            tables={"Numbers.": Table(("ours", "low", "high"), ((1.0, 0, None),))},
        ).save(out)  # fmt: skip
    verdict = Verdict(1, "A claim.", "holds", "1 [0, 2]", "So.", (FIRST,))
    save_verdicts([verdict], read_all(out), out)
    budget = {"seeds": 1, "steps": 2, "recipe": "code"}
    combination = {"values": {"b2": 0.9}, "rate": 0.1, "loss": "1", "diverged": 0, "runs": 1}
    entry = {
        "setting": "setting-1", "rate": 0.1, "at_edge": False, "unstable": False, "warning": "",
        "run_id": "0" * 64, "report": "runs/a.nc", "trials": ["runs/b.nc"], "chosen": {"b2": 0.9},
        "combinations": [combination],
    }  # fmt: skip
    member = {
        "label": "sgdm", "reference": "sgdm", "folder": str(out), "budget": budget,
        "entries": {"setting-1": entry}, "grid": {"b2": [0.9]},
    }  # fmt: skip
    own = dict.fromkeys(("task", "model", "table", "target", "loss")) | {"threshold": True}
    write_entries(
        out / NAME,
        {
            "members": [member], "settings": ["setting-1"], "budget": budget,
            "own": {**own, "folder": "/"},
        },
    )  # fmt: skip
    assert Members.read(out).members[0].label == "sgdm"
    return out


def read_everything(folder):
    """What reads these files: a fault gets a sentence on the page, or ends the command in one."""
    page = write_page(folder).read_text("utf-8")
    assert page.rstrip().endswith("</html>")
    runs_in(folder)
    with sentences():
        Members.read(folder)


JSON = [f"{FIRST}.json", f"{SECOND}.json", "claims.json", NAME]
FIGURES = [f"{FIRST}.png", f"{SECOND}.csv"]


@pytest.mark.parametrize("name", [*JSON, *FIGURES])
@settings
@hypothesis.given(data=st.data())
def test_damaged_bytes_of_a_folder(folder, name, data):
    path = folder / name
    whole = path.read_bytes()
    try:
        path.write_bytes(data.draw(damaged(whole)))
        read_everything(folder)
    finally:
        path.write_bytes(whole)


@pytest.mark.parametrize("name", FIGURES)
@settings
@hypothesis.given(data=st.data())
def test_damaged_figures_of_which_no_digest_is_known(folder, name, data):
    """Manifests from before there were digests have none."""
    figure = folder / name
    manifest = figure.with_suffix(".json")
    kept = {path: path.read_bytes() for path in (figure, manifest)}
    try:
        write_entries(manifest, read_entries(manifest) | {"digests": {}})
        figure.write_bytes(data.draw(damaged(kept[figure])))
        read_everything(folder)
    finally:
        for path, whole in kept.items():
            path.write_bytes(whole)


@pytest.mark.parametrize("name", JSON)
@settings
@hypothesis.given(data=st.data())
def test_entries_that_are_lost_or_others(folder, name, data):
    """As another version, or a person, might write them: their checksum is right."""
    path = folder / name
    whole, entries = path.read_bytes(), read_entries(path)
    entries = data.draw(changed(entries))
    text = json.dumps(entries)
    try:
        if data.draw(st.booleans()):
            path.write_text(text, "utf-8", errors="surrogatepass")
        else:
            hypothesis.assume(text.isascii())
            write_entries(path, entries)
        read_everything(folder)
    finally:
        path.write_bytes(whole)


@pytest.fixture
def checkpoint(tmp_path, monkeypatch):
    """A folder with the checkpoint of a walk that was stopped."""
    monkeypatch.setattr(checkpoints, "_SECONDS", 0.0)
    walk = Walk()
    kept = store.checkpoints_of(walk, tmp_path)
    kept.describe(["walk-0", "walk-1"], walk.steps, None)
    kept.offer("walk-0", 2, lambda: {"step": 2, "place": np.array(0.5)})
    (path,) = checkpoints.folder_of(tmp_path, walk.run_id).glob("*.checkpoint")
    content = from_bytes(path.read_bytes())
    content["states"]["walk-0"]["place"] = 0.5
    return path, content


@settings
@hypothesis.given(data=st.data())
def test_checkpoints_that_lack_something_or_have_something_else(checkpoint, data):
    """Their checksum is right. Without its checkpoint a run begins again, or goes on."""
    path, content = checkpoint
    out = path.parents[2]
    try:
        path.write_bytes(to_bytes(data.draw(changed(content))))
    except plain_file.NotSavableError:
        hypothesis.reject()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnusedCheckpointWarning)
        kept = CheckpointFolder(out, content["run_id"], content["attributes"])
        kept.read("walk-0")
        runs_in(out)
        checkpoints.finished_parts(path.parent)
        with sentences():
            store.load(out / f"walk-{path.parent.name}.nc", partial=True)


@pytest.fixture(scope="module")
def result():
    rng = np.random.default_rng(0)
    dims = ("optimizer", "learning_rate", "seed", "step", "parameter")
    return xr.Dataset(
        {"parameters": (dims, rng.normal(size=(1, 1, 2, 2, 3)).astype(np.float32))},
        {"optimizer": ["adam"], "learning_rate": [0.1], "seed": [0, 1], "step": [0, 9]},
        {"schema_version": store.SCHEMA_VERSION},
    )


@settings
@hypothesis.given(data=st.data())
def test_results_that_lost_dims_labels_or_type_are_no_start(result, tmp_path, data):
    lost = result
    for _ in range(data.draw(st.integers(1, 3))):
        dim = data.draw(st.sampled_from(list(lost.dims) or [None]))
        match data.draw(st.sampled_from(["dim", "labels", "empty", "nan", "type", "words"])):
            case "dim" if dim:
                lost = lost.isel({dim: 0}, drop=data.draw(st.booleans()))
            case "labels" if dim in lost.coords:
                lost = lost.drop_vars(dim)
            case "empty" if dim:
                lost = lost.isel({dim: slice(0)})
            case "nan":
                if "parameters" in lost:
                    lost = lost.where(xr.zeros_like(lost.parameters, bool))
            case "type":
                lost = lost.astype(data.draw(st.sampled_from(["int8", "float64", "U3"])))
            case "words" if dim in lost.coords:
                lost = lost.assign_coords({dim: [f"{label}" for label in lost[dim].values]})
            case _:
                lost = lost.drop_vars("parameters", errors="ignore")
    path = tmp_path / "result.nc"
    store.save(lost, path)
    choice = data.draw(st.sampled_from(["", ":seed=0", ":step=9", ":optimizer=adam", ":batch=3"]))
    with sentences():
        found = saved_parameters(f"{path}{choice}")
        assert found.dims in (("seed", "parameter"), ("parameter",))


@settings
@hypothesis.given(data=st.data())
def test_any_bytes_are_a_table_or_get_a_sentence(tmp_path, data):
    path = tmp_path / f"table.{data.draw(st.sampled_from(['csv', 'tsv']))}"
    path.write_bytes(data.draw(damaged(b"a,b,y\n1,2,3\n4,5,7\n-2,9e5,1\n") | st.binary()))
    with sentences():
        table_task(path, data.draw(st.sampled_from([None, "y", ""])))


# Faults that random examples, or the search for them, have found.


def test_names_that_are_not_utf8_are_kept_and_shown(tmp_path):
    name = os.fsdecode(b"caf\xe9")
    manifest = Manifest(FIRST, "A title", failure=f"{name} is lost.")
    manifest.save(tmp_path)
    assert read_all(tmp_path) == {FIRST: manifest}
    assert "caf? is lost." in write_page(tmp_path).read_text("utf-8")


def test_a_picture_that_claims_to_be_huge_is_not_shown(folder, tmp_path):
    png = bytearray((folder / f"{FIRST}.png").read_bytes())
    png[16:24] = (60_000).to_bytes(4, "big") * 2
    png[29:33] = zlib.crc32(png[12:29]).to_bytes(4, "big")
    (tmp_path / f"{FIRST}.png").write_bytes(png)
    Manifest(FIRST, "A title", files={"png": f"{FIRST}.png"}).save(tmp_path)
    sentence = f"{FIRST}.png cannot be shown (it claims to be too large for a picture); make it"
    assert sentence in write_page(tmp_path).read_text("utf-8")


def test_a_number_beyond_all_floats_is_no_number(folder, tmp_path):
    entries = read_entries(folder / NAME)
    entries["members"][0]["entries"]["setting-1"]["rate"] = 10**400
    write_entries(tmp_path / NAME, entries)
    with pytest.raises(UsageError, match=r"cannot be read \(rate is too large\); delete it to"):
        Members.read(tmp_path)


@pytest.mark.parametrize("part", ["steps", "parts"])
def test_a_checkpoint_without_its_plan_is_not_used(checkpoint, part):
    path, content = checkpoint
    del content["plan"][part]
    path.write_bytes(to_bytes(content))
    sentence = f"cannot be used: another program wrote it: it has no {part} of the right type; what"
    with pytest.warns(UnusedCheckpointWarning, match=sentence):
        kept = CheckpointFolder(path.parents[2], content["run_id"], content["attributes"])
    assert kept.read("walk-0") is None
    assert [run.done for run in runs_in(path.parents[2])] == [0]  # of the note that it has begun


def test_parameters_of_one_optimizer_are_a_start(result, tmp_path):
    path = tmp_path / "one.nc"
    store.save(result.isel(optimizer=0, learning_rate=0, drop=True), path)
    found = saved_parameters(f"{path}:seed=1")
    expected = result.parameters.isel(optimizer=0, learning_rate=0, seed=1, step=1)
    assert (found.values == expected.values).all()
    with pytest.raises(UsageError, match="has one optimizer only; leave optimizer=adam out"):
        saved_parameters(f"{path}:optimizer=adam")
    store.save(result.rename(parameter="weight"), path)
    with pytest.raises(
        UsageError, match=r"of type float32 with the dims .*, weight; take a result"
    ):
        saved_parameters(str(path))
