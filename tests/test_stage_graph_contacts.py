"""Contacts of a layer are those of the whole volume, whatever cells, parts, order and names of segments."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igneous_ng import cleaning, run
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import parquet_tables
from igneous_ng.formats.fragments import bucket_of
from igneous_ng.geometry import Box, Vec3
from igneous_ng.io import IO
from igneous_ng.renaming import Renaming
from igneous_ng.stages.graph_contacts import Areas, Contacts, Tally
from igneous_ng.store import Store
from tests.contact_pairs import blobs, defined, nm2
from tests.layers import create, files
from tests.test_stage_eval_segmentation import units_again

Array = npt.NDArray[Any]
RESOLUTION = (16.0, 16.0, 40.0)
LO = (7, -3, 100)


def layer(folder: Path, labels: Array, chunk: Vec3 = (4, 4, 4), name: str = "segments") -> str:
    """A layer of labels [x, y, z]."""
    return str(create(folder / name, labels[..., None], LO, chunk, kind="segmentation", resolution=RESOLUTION))


def touched(folder: Path, name: str = "graph", **fields: Any) -> dict[str, Any]:
    """The manifest of the contacts of the layer in a folder."""
    given = {"segmentation": f"{folder}/segments", "cell": (8, 8, 8), "parts": 4, **fields}
    chain = Contacts(graph=f"{folder}/{name}", **given)
    for step in chain.steps(IO()):
        run.inline(step)
    found: dict[str, Any] = json.loads((folder / name / "contacts" / chain.tag / "manifest.json").read_text())
    return found


def made(folder: Path, name: str = "graph", tag: str = "1") -> dict[str, bytes]:
    """The files of a version that stay, but for the plan, which names the cells."""
    found = files(folder / name / "contacts" / tag)
    return {name: data for name, data in found.items() if not name.startswith(("work/", "plan.json"))}


def table(folder: Path, what: str, name: str = "graph", tag: str = "1") -> dict[str, Array]:
    """All parts of a table, each of its own segments, in order."""
    paths = sorted((folder / name / "contacts" / tag / what).glob("*.parquet"))
    parts = [parquet_tables.read(str(path)) for path in paths]
    for path, part in zip(paths, parts, strict=True):
        assert (bucket_of(part["segment"], len(paths)) == int(path.stem.removeprefix("part-"))).all()
        assert (np.diff(part["segment"].astype(object)) >= 0).all()
    return {column: np.concatenate([part[column] for part in parts]) for column in parts[0]}


def check(folder: Path, labels: Array, manifest: dict[str, Any], name: str = "graph", tag: str = "1") -> None:
    """All tables against the definition."""
    every = defined(labels, LO, RESOLUTION)
    pairs = {pair: one for pair, one in every.items() if pair[0] and any(one["counts"][:3])}
    found = table(folder, "contacts", name, tag)
    rows = {(int(a), int(b)): row for row, (a, b) in enumerate(zip(found["segment"], found["partner"], strict=True))}
    assert rows.keys() == pairs.keys() | {(b, a) for a, b in pairs}
    for (a, b), one in pairs.items():
        sides = sum(c * s for c, s in zip(one["counts"][:3], (640, 640, 256), strict=True))
        for row in (rows[a, b], rows[b, a]):
            assert (found["area"][row], found["face_area"][row]) == (nm2(one["area"]), sides)
            assert [found[axis][row] for axis in "xyz"] == one["place"]
            assert [found[f"faces_{axis}"][row] for axis in "xyz"] == one["counts"][:3]
            assert [found[f"{end}_{axis}"][row] for end in ("lo", "hi") for axis in "xyz"] == one["lo"] + one["hi"]
    surfaces = table(folder, "surfaces", name, tag)
    for row, segment in enumerate(surfaces["segment"].tolist()):
        own = [one["area"] for pair, one in pairs.items() if segment in pair]
        none = every.get((0, segment), {"counts": [0], "area": 0})
        assert (surfaces["contacts"][row], surfaces["contact_area"][row]) == (len(own), nm2(sum(own)))
        assert surfaces["background_area"][row] == (nm2(none["area"]) if any(none["counts"][:3]) else 0)
    assert set(surfaces["segment"].tolist()) == {label for pair in every for label in pair} - {0}
    corners = {pair for pair in every if pair[0]} - pairs.keys()
    assert (manifest["contacts"], manifest["edges_or_corners_only"]) == (len(pairs), len(corners))
    assert manifest["segments"] == len(surfaces["segment"])


def test_contacts_are_those_of_the_whole_volume(tmp_path: Path) -> None:
    labels = blobs((15, 14, 12), 50, 1)
    layer(tmp_path, labels)
    manifest = touched(tmp_path)
    check(tmp_path, labels, manifest)
    assert int(table(tmp_path, "contacts")["segment"].max()) > 2**62
    assert manifest["flat"] == [0.86, 1.1]


@settings(max_examples=2, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    side=st.tuples(*[st.integers(3, 11)] * 3),
    parts=st.sampled_from([1, 2, 8]),
    count=st.integers(1, 25),
)
def test_any_cells(tmp_path_factory: pytest.TempPathFactory, seed: int, side: Vec3, parts: int, count: int) -> None:
    folder, labels = tmp_path_factory.mktemp("any"), blobs((11, 9, 7), count, seed)
    layer(folder, labels)
    check(folder, labels, touched(folder, cell=side, parts=parts))


def test_cells_order_and_repetition_leave_the_same_bytes(tmp_path: Path) -> None:
    layer(tmp_path, blobs((17, 14, 12), 40, 2))
    touched(tmp_path)
    same = made(tmp_path)
    for number, cell in enumerate([(17, 14, 12), (5, 7, 11)]):
        touched(tmp_path, f"other-{number}", cell=cell)
        assert made(tmp_path, f"other-{number}") == same
    for stage in Contacts(
        segmentation=f"{tmp_path}/segments", graph=f"{tmp_path}/graph", cell=(8, 8, 8), parts=4
    ).steps(IO()):
        io = IO()
        stage.prepare(io)
        for unit in [*reversed(stage.units(io)), *stage.units(io)]:
            stage.execute(unit, io)
        stage.finish(io)
    assert made(tmp_path) == same


@pytest.mark.long
def test_many_cells_take_several_levels(tmp_path: Path) -> None:
    labels = blobs((17, 14, 12), 40, 2)
    layer(tmp_path, labels)
    check(tmp_path, labels, touched(tmp_path, cell=(4, 3, 3)))  # 5 x 5 x 4 cells
    assert (tmp_path / "graph/contacts/1/work/done/level-1.json").exists()
    touched(tmp_path, "one", cell=(17, 14, 12))
    assert made(tmp_path) == made(tmp_path, "one")


@pytest.mark.parametrize("kind", ["json", pytest.param("folder", marks=pytest.mark.long)])
def test_proofreading_counts_no_voxel_again(tmp_path: Path, kind: str) -> None:
    labels = blobs((16, 15, 11), 45, 4)
    layer(tmp_path, labels)
    touched(tmp_path)
    names = [int(name) for name in np.unique(labels) if name]
    new = {name: names[k - k % 3] for k, name in enumerate(names[:-2])} | {names[-1]: 0, 12345: 6}
    path = tmp_path / f"proofread.{kind}"
    if kind == "json":
        path.write_text(json.dumps(new))
    else:
        old = np.array(sorted(new), np.uint64)
        Renaming(IO(), f"file://{path}").split(old, np.array([new[int(label)] for label in old], np.uint64))
    after = np.vectorize(lambda label: new.get(int(label), int(label)), otypes=[np.uint64])(labels)
    direct = touched(tmp_path, tag="direct", remap=str(path))
    check(tmp_path, after, direct, tag="direct")
    shutil.rmtree(tmp_path / "segments" / "16_16_40")  # no voxel is needed
    based = touched(tmp_path, tag="based", remap=str(path), base="1", parts=8)
    check(tmp_path, after, based, tag="based")
    assert touched(tmp_path, "again", tag="x", parts=4, base="", remap=None, fill_missing=True)["contacts"] == 0
    totals = ("contacts", "segments", "area", "face_area", "edges_or_corners_only")
    assert [based[name] for name in totals] == [direct[name] for name in totals]


def test_a_redo_gives_what_is_made_anew(tmp_path: Path) -> None:
    labels = blobs((24, 16, 8), 60, 6)
    layer(tmp_path, labels, (8, 8, 8))
    touched(tmp_path, parts=8)
    assert not units_again(f"file://{tmp_path}/graph")
    labels[9:15, 1:7, 1:6] = labels[9, 1, 1]
    io, box = IO(), Box((15, -3, 100), (23, 5, 108))
    io.write(io.volume(f"file://{tmp_path}/segments", 0), box, labels[8:16, :8, :, None])
    again = units_again(f"file://{tmp_path}/graph")
    assert again["graph touch", 0] == 2  # its cell, and the one that reads a voxel more there
    after = made(tmp_path)
    touched(tmp_path, "anew", parts=8)
    assert after == made(tmp_path, "anew")
    for waste in list(cleaning.wastes(Store(), f"file://{tmp_path}/graph", 0.0)):
        cleaning.remove(Store(), waste)
    assert not (tmp_path / "graph/contacts/1/work").exists()
    assert not units_again(f"file://{tmp_path}/graph")


def test_noise_and_wrong_requests_are_refused(tmp_path: Path) -> None:
    url = layer(tmp_path, blobs((9, 8, 7), 9, 1))
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"cell": (0, 8, 8)}, "at least 1"), ({"parts": 3}, "power of two"), ({"date": "July"}, "2026-07-01"),
        ({"tag": "a/b"}, "no name"), ({"base": "1", "remap": f"{tmp_path}/x.json"}, "other than 1"),
        ({"base": "2"}, "--remap"),
    ]  # fmt: skip
    for fields, message in wrong:
        with pytest.raises(SpecError, match=message):
            touched(tmp_path, **fields)
    with pytest.raises(DataError, match="missing"):
        touched(tmp_path, remap=f"{tmp_path}/no.json")
    with pytest.raises(DataError, match="there is none; run `graph contacts"):
        run.inline(Areas(graph=f"{tmp_path}/graph"))
    assert not (tmp_path / "graph" / "contacts").exists()
    touched(tmp_path)
    with pytest.raises(SpecError, match="parts 4 there, 8 asked for.*another --tag"):
        touched(tmp_path, parts=8)
    with pytest.raises(SpecError, match="has levels 1 to 0"):
        run.inline(Tally(graph=f"{tmp_path}/graph"))
    (tmp_path / "names.json").write_text("{}")
    with pytest.raises(SpecError, match="version 1 is of .*mip 0, and"):
        touched(tmp_path, segmentation=f"{url}-b", tag="2", base="1", remap=f"{tmp_path}/names.json")
    create(tmp_path / "grey", np.zeros((4, 4, 4, 2), np.uint8), (0, 0, 0))
    with pytest.raises(SpecError, match="no layer of labels"):
        touched(tmp_path, segmentation=f"{tmp_path}/grey", tag="3")
    noise = np.arange(1, 1 + 24**3, dtype=np.uint64).reshape(24, 24, 24)
    layer(tmp_path, noise, (24, 24, 24), "noise")
    with pytest.raises(DataError, match="that is noise, not a segmentation"):
        touched(tmp_path, segmentation=f"{tmp_path}/noise", cell=(24, 24, 24), tag="4")
