"""Clefts, cell by cell, are those of the whole volume: label for label and row for row what the definition gives."""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

import cc3d
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igneous_ng import cleaning, run
from igneous_ng.clefts import COLUMNS, Clefts
from igneous_ng.errors import DataError, SpecError
from igneous_ng.geometry import Box, Vec3, vec
from igneous_ng.io import IO
from igneous_ng.kernels.cleft_parts import least, quantised
from igneous_ng.stage import Stage
from igneous_ng.stages import synapse_detect as stages
from igneous_ng.stages.synapse_detect import Detect
from igneous_ng.store import Store
from tests import synaptic
from tests.layers import create, files, notes, whole

Array = npt.NDArray[Any]
Row = dict[str, Any]


def detect(folder: Path, name: str = "out", **fields: Any) -> Path:
    """The clefts of ``folder/source``, in cells of a chunk by default, in a new layer."""
    chosen = {"evidence": f"{folder}/source", "layer": f"{folder}/{name}", "cell": (1, 1, 1), **fields}
    for stage in Detect(**chosen).steps(IO()):
        run.inline(stage)
    return folder / name


def rows(layer: Path) -> list[Row]:
    """All rows, ascending by key."""
    known = Clefts(IO(), f"file://{layer}")
    found = known.within(known.plan.bounds)
    order = np.argsort(found["key"])
    return [{name: found[name][n].tolist() for name in COLUMNS} for n in order]


def agree(layer: Path, labels: Array, wanted: list[Row]) -> None:
    """The layer and its rows are ``labels`` and ``wanted``."""
    found = whole(layer)
    assert found.dtype == np.uint64
    assert np.array_equal(found[..., 0], labels)
    assert rows(layer) == wanted


def kept(labels: Array, found: list[Row], wanted: Any) -> tuple[Array, list[Row]]:
    """What of a definition ``wanted``, a function of rows, keeps."""
    rest = [row for row in found if wanted(row)]
    return np.where(np.isin(labels, np.array([row["id"] for row in rest], np.uint64)), labels, 0), rest


@st.composite
def volumes(draw: st.DrawFn) -> Array:
    """Small volumes of evidence in lumps and in noise, [x, y, z, channel]."""
    shape = [draw(st.integers(1, 9)) for _ in range(3)]
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    lumps = rng.random((*shape, draw(st.integers(1, 3)))) ** draw(st.sampled_from([1, 3]))
    lumps = lumps.repeat(draw(st.integers(1, 2)), 0).repeat(draw(st.integers(1, 3)), 1)
    dtype = np.dtype(draw(st.sampled_from(["uint8", "uint16", "float32"])))
    top = {"uint8": 255, "uint16": 65535, "float32": 1}[dtype.name]
    return np.asfortranarray(lumps * top, dtype)


drawn: dict[str, Any] = {
    "array": volumes(),
    "lo": st.tuples(*[st.integers(-30, 30)] * 3),
    "cell": st.tuples(*[st.sampled_from([4, 8, 12])] * 3),
    "connectivity": st.sampled_from([6, 18, 26]),
    "threshold": st.sampled_from([0.2, 0.5, 0.8]),
    "split": st.booleans(),
    "min_size": st.sampled_from([0, 0, 3]),
}


def check(array: Array, lo: Vec3, split: bool, min_size: int, **fields: Any) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        create(folder / "source", array, lo)
        segments = np.random.default_rng(0).choice(np.array([0, 5, 2**63 + 1], np.uint64), (*array.shape[:3], 1))
        if split:
            create(folder / "segments", segments, lo, kind="segmentation")
            fields["split_by"] = f"{folder}/segments"
        evidence = quantised(array).max(axis=3)
        whole_volume = synaptic.clefts(evidence, lo, least(fields["threshold"]), fields["connectivity"],
                                       segments[..., 0] if split else None)  # fmt: skip
        layer = detect(folder, min_size=min_size, **fields)
        agree(layer, *kept(*whole_volume, lambda row: row["voxels"] >= min_size))


@settings(deadline=None, max_examples=6)
@given(**drawn)
def test_clefts_are_those_of_the_whole_volume(**fields: Any) -> None:
    check(**fields)


@pytest.mark.long
@settings(deadline=None, max_examples=100)
@given(**drawn)
def test_clefts_are_those_of_the_whole_volume_often(**fields: Any) -> None:
    check(**fields)


LO = (-61, 1000, -7)
SHAPE = (111, 90, 75)


def scene() -> Array:
    """Blobs, touching corners, single voxels, a sheet through the whole volume, at borders, and noise below all."""
    rng = np.random.default_rng(11)
    array = rng.integers(0, 100, SHAPE).astype(np.uint8)
    for corner in rng.integers(0, np.array(SHAPE) - 6, (120, 3)):
        size = rng.integers(1, 12, 3)
        box = tuple(slice(a, a + n) for a, n in zip(corner, size, strict=True))
        array[box] = rng.integers(100, 256, array[box].shape)
    array[55:58] = 200  # through all cells
    for n in range(0, 70, 2):
        array[n, n, n], array[n + 1, n + 1, n + 1] = 130, 131  # corners touch
    array[0, 0, 0], array[-1, -1, -1], array[0, -1, 40] = 255, 255, 255
    return array


def told(layer: Path) -> str:
    """One sha256 of all labels and rows."""
    return hashlib.sha256(whole(layer).tobytes(order="F") + json.dumps(rows(layer)).encode()).hexdigest()


@pytest.mark.long
def test_cells_of_any_shape_tell_the_same(tmp_path: Path) -> None:
    array = scene()
    segments = (np.indices(SHAPE).sum(axis=0) // 50).astype(np.uint32)[..., None]
    found: dict[tuple[bool, Vec3], str] = {}
    for chunk, cells in (((37, 53, 71), ((37, 53, 71), (74, 53, 71))), ((13, 31, 29), ((13, 31, 29), (26, 62, 29))),
                         ((32, 32, 32), ((64, 32, 96), (128, 128, 128)))):  # fmt: skip
        folder = tmp_path / str(chunk[0])
        create(folder / "source", array[..., None], LO, chunk, resolution=(4.0, 4.0, 40.0))
        create(folder / "segments", segments, LO, chunk, kind="segmentation")
        for cell in cells:
            for split in (False, True):
                more = {"split_by": f"{folder}/segments"} if split else {}
                layer = detect(folder, f"{cell}-{split}", cell=cell, threshold=0.5, min_size=2, **more)
                found[split, cell] = told(layer)
    assert [len({sha for (one, _), sha in found.items() if one == split}) for split in (False, True)] == [1, 1]
    inside = array >= 128
    for split, labels in ((False, inside), (True, np.where(inside, segments[..., 0] + 1, 0))):
        kernel: Any = cc3d.connected_components
        parts = kernel(np.asfortranarray(labels.astype(np.uint32)), connectivity=26)
        sizes = np.bincount(parts.ravel())
        layer = tmp_path / "32" / f"(64, 32, 96)-{split}"
        mine = whole(layer)[..., 0]
        assert len(rows(layer)) == np.count_nonzero(sizes[1:] >= 2) > 30
        assert sorted(row["voxels"] for row in rows(layer)) == sorted(sizes[1:][sizes[1:] >= 2].tolist())
        both = np.unique(np.stack([parts.ravel(), mine.ravel()]), axis=1)
        assert len(set(both[0].tolist())) == both.shape[1], "each of cc3d's components is one cleft, or none"
        assert (max(row["voxels"] for row in rows(layer)) > 3 * SHAPE[1] * SHAPE[2]) != split


def test_a_box_has_the_rows_of_clefts_that_begin_in_it(tmp_path: Path) -> None:
    array = scene()[:40, :40, :40]
    create(tmp_path / "source", array[..., None], LO, (8, 8, 8))
    layer = detect(tmp_path, cell=(16, 8, 24))
    known, every = Clefts(IO(), f"file://{layer}"), rows(layer)
    first = known.plan.voxels(np.array([row["key"] for row in every], np.uint64))
    assert np.array_equal(whole(layer)[tuple((first - LO).T)][:, 0], [row["id"] for row in every])
    for box in (Box((-61, 1000, -7), (-50, 1021, 5)), Box((-55, 1003, -1), (-54, 1040, 30)), known.plan.bounds,
                Box((-99, 0, -99), (99, 1011, 99)), Box((500, 500, 500), (510, 510, 510))):  # fmt: skip
        inside = [row["id"] for row, at in zip(every, first, strict=True) if Box.sized(vec(at), (1, 1, 1)) in box]
        assert known.within(box)["id"].tolist() == sorted(inside)
        assert known.within_bytes(box) >= sum(column.nbytes for column in known.within(box).values())


def test_whole_clefts_are_judged_and_reasons_counted(tmp_path: Path) -> None:
    array = np.zeros((40, 8, 8), np.uint8)
    array[1:9, 1, 1] = 200  # 8 voxels in three cells
    array[1:9, 3, 3] = 130
    array[7, 3, 3] = 255
    array[1:4, 5, 5] = 255
    array[12:39, 6, 6] = 255
    array[20, 1:5, 1] = 128
    create(tmp_path / "source", array[..., None], (0, 0, 0))
    every = synaptic.clefts(array, (0, 0, 0), 128, 26)
    assert len(every[1]) == 5
    layer = detect(tmp_path, min_size=4, max_size=26, min_score=0.57, min_peak=0.8)
    agree(layer, *kept(*every, lambda row: (row["voxels"], row["sum"]) == (8, 7 * 130 + 255)))
    counts = Clefts(IO(), f"file://{layer}").told
    assert counts["left_out"] == {"small": 1, "large": 1, "faint": 1, "low": 1}
    assert (counts["found"], counts["kept"]) == (5, 1)
    assert counts["per_um3"] == float(f"{1 / (array.size * 4 * 4 * 40 / 1e9):.6g}")
    assert counts["mean"] == float(f"{round((7 * 130 + 255) / 8) / 255:.6g}")
    last = stages.Tally(layer=str(layer), level=2)
    assert last.said(IO()).endswith("left out: 1 small, 1 large, 1 faint, 1 low")
    assert last.said(IO()).startswith("1 clefts")
    assert stages.Tally(layer=str(layer), level=1).said(IO()) == ""
    again = detect(tmp_path, "all", min_size=3, max_size=27, min_score=0.5, min_peak=0.5)
    agree(again, *every)


def test_one_channel_or_the_greatest_of_some(tmp_path: Path) -> None:
    array = np.random.default_rng(1).integers(0, 256, (9, 8, 7, 3)).astype(np.uint8)
    create(tmp_path / "source", array, (1, 2, 3))
    for channels in ((1,), (2, 0), ()):
        evidence = array[..., list(channels) or slice(None)].max(axis=3)
        layer = detect(tmp_path, f"out{len(channels)}", channel=channels, threshold=0.8, cell=(8, 4, 8))
        agree(layer, *synaptic.clefts(evidence, (1, 2, 3), 204, 26))


def test_a_mask_and_missing_chunks_are_no_evidence(tmp_path: Path) -> None:
    array = np.random.default_rng(2).integers(0, 256, (16, 12, 8, 1)).astype(np.uint8)
    create(tmp_path / "source", array, (-8, 4, 0))
    mask = np.zeros((8, 12, 8, 1), np.uint8)
    mask[:3], mask[6:] = 7, 7
    create(tmp_path / "mask", mask, (-4, 4, 0), resolution=(8.0, 4.0, 40.0))
    (tmp_path / "source" / "4_4_40" / "-8--4_8-12_4-8.gz").unlink()
    seen = np.where(mask.repeat(2, axis=0) > 0, array, 0)
    seen[:4, 4:8, 4:8] = 0
    fields: dict[str, Any] = {"mask": f"{tmp_path}/mask", "threshold": 0.7, "connectivity": 6}
    with pytest.raises(DataError, match="fill-missing"):
        detect(tmp_path, "strict", **fields)
    layer = detect(tmp_path, fill_missing=True, **fields)
    agree(layer, *synaptic.clefts(seen[..., 0], (-8, 4, 0), 179, 6))
    counts = Clefts(IO(), f"file://{layer}").told
    examined = np.count_nonzero(mask) * 2 * 4 * 4 * 40 / 1e9
    assert counts["per_um3"] == float(f"{counts['kept'] / examined:.6g}")


def test_no_evidence_is_a_layer_without_clefts(tmp_path: Path) -> None:
    create(tmp_path / "source", np.zeros((20, 9, 5, 1), np.float32), (-3, 0, 0))
    layer = detect(tmp_path)
    agree(layer, np.zeros((20, 9, 5), np.uint64), [])
    counts = Clefts(IO(), f"file://{layer}").told
    assert (counts["found"], counts["per_um3"], counts["mean"]) == (0, 0, 0)
    assert notes(layer) == [{"clefts": 0, "per_um3": 0.0, "mean": 0.0}]


def test_segments_that_split_are_read_only_where_there_is_evidence(tmp_path: Path) -> None:
    array = np.zeros((12, 8, 8, 1), np.uint8)
    array[2:6, 1:3, 1:3] = 255
    segments = np.zeros(array.shape, np.uint64)
    segments[3:, 2] = 2**64 - 2
    create(tmp_path / "source", array, (0, 0, 0))
    create(tmp_path / "segments", segments, (0, 0, 0), kind="segmentation")
    (tmp_path / "segments" / "4_4_40" / "8-12_0-4_0-4.gz").unlink()
    layer = detect(tmp_path, split_by=f"{tmp_path}/segments")
    agree(layer, *synaptic.clefts(array[..., 0], (0, 0, 0), 128, 26, segments[..., 0]))
    segments[4, 2, 2] = 2**64 - 1
    create(tmp_path / "wrong", segments, (0, 0, 0), kind="segmentation")
    with pytest.raises(DataError, match="renumber the segments"):
        detect(tmp_path, "other", split_by=f"{tmp_path}/wrong")


def phases(folder: Path) -> list[Stage]:
    out = f"{folder}/out"
    return [
        stages.Label(evidence=f"{folder}/source", layer=out, cell=(4, 4, 4)),
        stages.Join(layer=out, level=1),
        stages.Join(layer=out, level=2),
        stages.Spread(layer=out, level=1),
        stages.Relabel(layer=out, min_size=2),
        stages.Tally(layer=out, level=1),
        stages.Tally(layer=out, level=2),
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    create(tmp_path / "source", np.random.default_rng(3).integers(0, 160, (20, 6, 6, 1)).astype(np.uint8), (0, 0, 0))
    return tmp_path


def test_units_in_any_order_and_again_leave_the_same_bytes(folder: Path) -> None:
    for stage in phases(folder):
        run.inline(stage)
    before = files(folder / "out")
    for stage in phases(folder):
        io = IO()
        for unit in reversed(list(stage.units(io))):
            stage.execute(unit, io)
            stage.execute(unit, io)
        stage.finish(io)
    assert files(folder / "out") == before


def test_a_phase_before_the_one_below_it_is_refused(folder: Path) -> None:
    known = phases(folder)
    with pytest.raises(DataError, match="run `synapse detect`"):
        run.inline(known[1])
    for number, stage in enumerate(known):
        for later in known[number + 1 :]:
            with pytest.raises(DataError, match="run "):
                run.inline(later)
        with pytest.raises(DataError, match="run `synapse detect`|let `synapse detect` finish"):
            Clefts(IO(), f"file://{folder}/out").ready()
        run.inline(stage)
    Clefts(IO(), f"file://{folder}/out").ready()


def test_cleaning_leaves_the_layer_and_its_rows(folder: Path) -> None:
    for stage in phases(folder):
        run.inline(stage)
        found = list(cleaning.wastes(Store(), f"file://{folder}/out", 0.0))
        last = stage == phases(folder)[-1]
        assert [waste.place.rsplit("/", 2)[1:] for waste in found] == ([["synapse", "work"]] if last else [])
    before, labels = rows(folder / "out"), whole(folder / "out")
    cleaning.remove(Store(), found[0])
    assert (rows(folder / "out"), before == []) == (before, False)
    assert np.array_equal(whole(folder / "out"), labels)


def test_other_clefts_in_one_place_are_refused(folder: Path) -> None:
    label = phases(folder)[0]
    run.inline(label)
    before = files(folder / "out")
    for other in ({"cell": (8, 4, 4)}, {"connectivity": 6}, {"threshold": 0.6}, {"channel": (0,)}):
        fields: dict[str, Any] = {**vars(label), **other}
        if other == {"channel": (0,)}:
            run.inline(stages.Label(**fields))  # the only one
            continue
        with pytest.raises(SpecError, match="labelled otherwise"):
            run.inline(stages.Label(**fields))
    assert files(folder / "out") == before


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"threshold": 0.0}, "above 0, at most 1"),
        ({"threshold": 1.01}, "above 0, at most 1"),
        ({"connectivity": 8}, "6, 18 or 26"),
        ({"cell": (0, 1, 1)}, "at least 1"),
        ({"layer": "/a"}, "is read"),
        ({"split_by": "/b"}, "is read"),
        ({"min_size": -1}, "none below 0"),
        ({"min_size": 9, "max_size": 8}, "at least 9 voxels and at most 8"),
        ({"min_score": 1.5}, "min_score: 1.5"),
        ({"min_peak": -0.5}, "min_peak: -0.5"),
        ({"mask_mip": 1}, "give --mask"),
    ],
)
def test_senseless_fields_are_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        Detect(**{"evidence": "/a", "layer": "/b", **fields})


def test_layers_that_do_not_fit_are_refused(folder: Path) -> None:
    array = np.zeros((20, 6, 6, 1))
    create(folder / "wide", array.astype(np.uint32), (0, 0, 0), kind="segmentation")
    create(folder / "apart", array.astype(np.uint32), (100, 0, 0), kind="segmentation")
    create(folder / "less", array[:19].astype(np.uint32), (0, 0, 0), kind="segmentation")
    create(folder / "coarse", array.astype(np.uint32), (0, 0, 0), kind="segmentation", resolution=(8.0, 8.0, 40.0))
    create(folder / "real", array.astype(np.float32), (0, 0, 0))
    for fields, words in (
        ({"evidence": f"{folder}/wide"}, "holds uint32; evidence is uint8, uint16, float32"),
        ({"channel": (1,)}, r"channel: \[1\]; .* has channels 0 to 0"),
        ({"channel": (0, -1)}, "has channels 0 to 0"),
        ({"split_by": f"{folder}/apart"}, "give a segmentation of all of it"),
        ({"split_by": f"{folder}/less"}, "give a segmentation of all of it"),
        ({"split_by": f"{folder}/coarse"}, r"has no level of \(4.0, 4.0, 40.0\) nm"),
        ({"split_by": f"{folder}/real"}, r"holds 1 channel\(s\) of float32; give a segmentation"),
    ):
        with pytest.raises(SpecError, match=words):
            detect(folder, **fields)
    assert not (folder / "out").exists()


def test_noise_is_refused_before_it_fills_memory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "_PARTS", 0)
    array = np.zeros((8, 8, 8, 1), np.uint8)
    array[::2, ::2, ::2] = 255
    create(folder / "noise", array, (0, 0, 0), (8, 8, 8))
    detect(folder, "at-most", evidence=f"{folder}/noise")
    array[1, 1, 1:8:2] = 255
    create(folder / "more", array, (0, 0, 0), (8, 8, 8))
    with pytest.raises(DataError, match="higher --threshold than 0.5"):
        detect(folder, "over", evidence=f"{folder}/more", connectivity=6)
