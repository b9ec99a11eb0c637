"""Components of a volume, cell by cell, are those of the whole: label for label what cc3d gives for it at once."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import cc3d
import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from igneous_ng import chains, cleaning, cli, run
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats.info import new_info
from igneous_ng.geometry import Box, Vec3, vec
from igneous_ng.io import IO
from igneous_ng.stages import ccl
from igneous_ng.store import Store
from igneous_ng.worker.policy import Policy
from tests.data import data

Array = npt.NDArray[Any]


def store(array: Array, layer: str, offset: Vec3 = (0, 0, 0), chunk: Vec3 = (4, 4, 4)) -> None:
    """Make ``array``, [x, y, z], a layer."""
    io, bounds = IO(), Box.sized(offset, vec(array.shape))
    info = new_info(kind="image", dtype=array.dtype.name, channels=1, bounds=bounds, resolution=(8, 8, 40),
                    chunk=chunk, encoding="raw")  # fmt: skip
    io.create_layer(layer, info)
    io.write(io.volume(layer, 0), bounds, array[..., None])


def load(layer: str, bounds: Box | None = None) -> Array:
    io = IO()
    volume = io.volume(layer, 0)
    return io.read(volume, bounds or volume.bounds)[..., 0]


def components(array: Array, folder: Path, offset: Vec3 = (0, 0, 0), **fields: Any) -> Array:
    """The components of ``array`` by all phases of ccl, in a new layer ``folder/out``."""
    source, out = f"file://{folder}/source", f"file://{folder}/out"
    store(array, source, offset)
    chosen: dict[str, Any] = {"chunk": (4, 4, 4), "encoding": "raw", "cell": (4, 4, 4), **fields}
    for stage in ccl.Auto(source=source, layer=out, **chosen).steps(IO()):
        run.inline(stage)
    return load(out, Box.sized(offset, vec(array.shape)))


def whole(array: Array, connectivity: int) -> Array:
    """The components of the whole volume at once."""
    kernel: Any = cc3d.connected_components
    found: Array = kernel(np.asfortranarray(array), connectivity=connectivity)
    return found


def dusted(labels: Array, dust: int) -> Array:
    """``labels`` without those of at most ``dust`` voxels, the others renumbered in their order."""
    sizes = np.bincount(labels.ravel())
    kept = sizes > dust
    kept[0] = False
    names = np.where(kept, np.cumsum(kept), 0)
    found: Array = names[labels]
    return found


@st.composite
def volumes(draw: st.DrawFn) -> Array:
    """Small volumes of few labels in lumps: some that fill many cells, some of one voxel."""
    shape = [draw(st.integers(1, 9)) for _ in range(3)]
    dtype = draw(st.sampled_from(["uint8", "uint32", "uint64", "int32"]))
    count = draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    lumps = rng.integers(0, count + 1, shape)
    lumps = lumps.repeat(draw(st.integers(1, 2)), 0).repeat(draw(st.integers(1, 3)), 1)
    noise = rng.random(lumps.shape) < draw(st.sampled_from([0.0, 0.3]))
    values = np.array([0, 1, 2, 100, 5]) * (-1 if dtype == "int32" else 1)
    found: Array = values[np.where(noise, 0, lumps)].astype(dtype)
    return found


def check(array: Array, offset: Vec3, cell: Vec3, connectivity: int, dust: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = components(array, Path(folder), offset, cell=cell, connectivity=connectivity, dust=dust)
    unsigned = array.view(array.dtype.str.replace("i", "u"))
    assert np.array_equal(found, dusted(whole(unsigned, connectivity), dust))


drawn: dict[str, Any] = {
    "array": volumes(),
    "offset": st.tuples(*[st.integers(-30, 30)] * 3),
    "cell": st.tuples(*[st.sampled_from([4, 8, 12])] * 3),
    "connectivity": st.sampled_from([6, 18, 26]),
    "dust": st.sampled_from([0, 0, 1, 5]),
}


@settings(deadline=None, max_examples=8)
@given(**drawn)
def test_labels_are_those_of_the_whole_volume(
    array: Array, offset: Vec3, cell: Vec3, connectivity: int, dust: int
) -> None:
    check(array, offset, cell, connectivity, dust)


@pytest.mark.long
@settings(deadline=None, max_examples=100)
@given(**drawn)
def test_labels_are_those_of_the_whole_volume_often(
    array: Array, offset: Vec3, cell: Vec3, connectivity: int, dust: int
) -> None:
    check(array, offset, cell, connectivity, dust)


def test_a_tree_of_two_levels_and_one_snake_through_all_cells(tmp_path: Path) -> None:
    array = np.zeros((24, 9, 5), np.uint8)
    array[::2] = 1
    array[1::4, -1], array[3::4, 0] = 1, 1
    array[0, 0, 0] = 0
    found = components(array, tmp_path, offset=(-7, 3, -2))
    assert (tmp_path / "out" / "ccl" / "tree" / "answer-2").exists()
    assert np.array_equal(found, array)


def test_negative_offsets_and_a_thin_last_cell(tmp_path: Path) -> None:
    array = np.ones((9, 8, 13), np.uint32)
    assert np.array_equal(components(array, tmp_path, offset=(-9, -100, -1), cell=(8, 8, 4)), array)


@pytest.mark.parametrize("connectivity", [6, 18, 26])
def test_cells_touch_by_faces_edges_and_corners(tmp_path: Path, connectivity: int) -> None:
    array = (np.random.default_rng(2).random((12, 12, 9)) < 0.2).astype(np.uint8)
    assert np.array_equal(components(array, tmp_path, connectivity=connectivity), whole(array, connectivity))


def test_labels_that_touch_stay_apart_and_one_label_has_many_components(tmp_path: Path) -> None:
    array = np.ones((8, 8, 8), np.uint64)
    array[3:6], array[:, 4] = 2**63 + 5, 0
    found = components(array, tmp_path)
    assert found.max() == 6
    assert found.dtype == np.uint32
    assert np.array_equal(found, whole(array, 6))


def test_thresholds_include_both_limits(tmp_path: Path) -> None:
    array = np.random.default_rng(1).integers(0, 9, (10, 9, 8)).astype(np.float32) / 4
    for name, low, high in (("both", 0.5, 1.5), ("low", 1.0, None), ("high", None, 0.75)):
        inside = (array >= (low or -np.inf)) & (array <= (high or np.inf))
        found = components(array, tmp_path / name, threshold_min=low, threshold_max=high, cell=(8, 4, 4))
        assert np.array_equal(found, whole(inside.astype(np.uint8), 6))


def test_dust_is_counted_over_the_whole_volume(tmp_path: Path) -> None:
    array = np.zeros((16, 4, 4), np.uint8)
    array[2:10, 0, 0], array[2:9, 3, 3], array[15, 0, 0] = 1, 1, 1
    found = components(array, tmp_path, dust=7)
    assert min(np.unique(found, return_counts=True)[1].tolist()) == 8
    assert (found[2:10, 0, 0] == 1).all()
    assert found.sum() == 8, "parts of a component are never dust by themselves"


def phases(layer: Path, dust: int = 0) -> list[Any]:
    out = f"file://{layer}/out"
    return [
        ccl.Label(source=f"file://{layer}/source", layer=out, cell=(4, 4, 4)),
        ccl.Join(layer=out, level=1),
        ccl.Join(layer=out, level=2),
        ccl.Spread(layer=out, level=1),
        ccl.Rank(layer=out, level=1, dust=dust),
        ccl.Rank(layer=out, level=2, dust=dust),
        ccl.Relabel(layer=out, dust=dust, chunk=(4, 4, 4)),
    ]


@pytest.mark.long
def test_real_tissue_in_two_grids(tmp_path: Path) -> None:
    with np.load(data("pinky40", "seg_mip1_16x16x40.npz")) as file:
        labels = file["labels"]
    store(labels, f"file://{tmp_path}/source", chunk=(64, 64, 64))
    expected = whole(labels, 6)
    for cell in ((256, 256, 256), (192, 512, 128)):
        out = f"file://{tmp_path}/{cell[0]}"
        for stage in ccl.Auto(source=f"file://{tmp_path}/source", layer=out, cell=cell).steps(IO()):
            run.inline(stage)
        assert np.array_equal(load(out), expected)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    store(np.random.default_rng(3).integers(0, 3, (20, 6, 6)).astype(np.uint8), f"file://{tmp_path}/source")
    return tmp_path


def tree(folder: Path) -> dict[str, bytes]:
    files = [p for p in sorted(folder.rglob("*")) if p.is_file() and "runs/2" not in str(p)]
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


def test_units_in_any_order_and_again_leave_the_same_bytes(folder: Path) -> None:
    for stage in phases(folder):
        run.inline(stage)
    before = tree(folder / "out")
    for stage in phases(folder):
        io = IO()
        for unit in reversed(list(stage.units(io))):
            stage.execute(unit, io)
            stage.execute(unit, io)
        stage.finish(io)
    assert tree(folder / "out") == before


def test_a_phase_before_the_one_below_it_is_refused(folder: Path) -> None:
    stages = phases(folder)
    for number, stage in enumerate(stages):
        for later in stages[number + 1 :]:
            with pytest.raises(DataError, match="run "):
                run.inline(later)
        run.inline(stage)


def test_other_cells_are_refused(folder: Path) -> None:
    label = phases(folder)[0]
    run.inline(label)
    before = tree(folder / "out")
    for other in ({"cell": (8, 4, 4)}, {"connectivity": 26}, {"threshold_min": 2.0}):
        fields: dict[str, Any] = {"source": label.source, "layer": label.layer, "cell": (4, 4, 4), **other}
        with pytest.raises(SpecError, match="labelled otherwise"):
            run.inline(ccl.Label(**fields))
    done = CliRunner().invoke(cli.main, ["ccl", "join", label.layer, "--cell", "8,4,4"])
    assert done.exit_code == 2, "no later phase takes a cell"
    assert tree(folder / "out") == before


def test_another_dust_is_not_mixed_with_the_one_before(folder: Path) -> None:
    for stage in phases(folder):
        run.inline(stage)
    with pytest.raises(DataError, match="`ccl rank` with --dust 3"):
        run.inline(ccl.Relabel(layer=f"file://{folder}/out", dust=3, chunk=(4, 4, 4)))
    for stage in phases(folder, dust=3)[4:]:
        run.inline(stage)
    array = load(f"file://{folder}/source")
    assert np.array_equal(load(f"file://{folder}/out"), dusted(whole(array, 6), 3))


@pytest.mark.parametrize(
    ("stage", "fields", "words"),
    [
        (ccl.Label, {"source": "/a", "cell": (0, 1, 1)}, "at least 1"),
        (ccl.Label, {"source": "/a", "connectivity": 8}, "6, 18 or 26"),
        (ccl.Label, {"source": "/a", "threshold_min": 2.0, "threshold_max": 1.0}, "nothing lies between"),
        (ccl.Label, {"source": "/b"}, "is the source"),
        (ccl.Auto, {"source": "/a", "cell": (96, 96, 96), "chunk": (64, 64, 64)}, "not whole chunks"),
        (ccl.Rank, {"level": 3}, "give 1, then 2"),
        (ccl.Relabel, {"chunk": (4, 0, 4)}, "at least 1 voxel"),
        (ccl.Relabel, {"dust": -1}, "0 or a positive"),
    ],
)
def test_senseless_fields_are_refused(stage: Any, fields: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        stage(layer="/b", **fields)


def test_what_cannot_be_labelled_or_written_is_refused(folder: Path) -> None:
    store(np.zeros((4, 4, 4), np.float32), f"file://{folder}/real")
    with pytest.raises(SpecError, match="give --threshold"):
        run.plan(ccl.Label(source=f"file://{folder}/real", layer=f"file://{folder}/x"))
    for stage in phases(folder)[:-1]:
        run.inline(stage)
    with pytest.raises(SpecError, match="not whole chunks"):
        run.plan(ccl.Relabel(layer=f"file://{folder}/out", chunk=(3, 4, 4)))
    with pytest.raises(SpecError, match="levels 1 to 2"):
        run.plan(ccl.Join(layer=f"file://{folder}/out", level=3))


def test_cleaning_takes_all_that_lay_between(folder: Path) -> None:
    for stage in phases(folder):
        run.inline(stage)
        found = list(cleaning.wastes(Store(), f"file://{folder}/out", 0.0))
        assert [waste.place.rsplit("/", 1)[1] for waste in found] == (["ccl"] if stage.name == "ccl relabel" else [])
    before = load(f"file://{folder}/out")
    cleaning.remove(Store(), found[0])
    assert not (folder / "out" / "ccl").exists()
    assert np.array_equal(load(f"file://{folder}/out"), before)


def test_auto_is_a_command_and_works_on_a_queue(folder: Path) -> None:
    words = ["ccl", "auto", str(folder / "source")]
    options = ["--cell", "8,8,8"]
    done = CliRunner().invoke(cli.main, [*words, str(folder / "here"), *options], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    queue = f"fq://{folder}/queue"
    chain = ccl.Auto(source=str(folder / "source"), layer=str(folder / "queued"), cell=(8, 8, 8),
                            chunk=(4, 4, 4))  # fmt: skip
    names = [one.name for one in chains.queued(chain, queue, sleep=lambda _: run.execute(queue, Policy(processes=1)))]
    assert names == ["ccl label", "ccl join", "ccl rank", "ccl rank", "ccl relabel"]
    array = load(f"file://{folder}/source")
    for name in ("here", "queued"):
        assert np.array_equal(load(f"file://{folder}/{name}"), whole(array, 6))


def test_a_chain_stops_where_a_stage_cannot_be_done(folder: Path) -> None:
    next((folder / "source" / "8_8_40").iterdir()).unlink()
    queue = f"fq://{folder}/queue"
    chain = ccl.Auto(source=str(folder / "source"), layer=str(folder / "out"), cell=(4, 4, 4), chunk=(4, 4, 4))

    def work(_seconds: float) -> None:
        with pytest.raises(run.DeadLetters):
            run.execute(queue, Policy(processes=1))

    with pytest.raises(run.DeadLetters, match="given up"):
        list(chains.queued(chain, queue, sleep=work))
    assert not (folder / "out" / "info").exists()
