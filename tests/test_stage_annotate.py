"""Layers of annotations against a definition in plain Python and an independent reader; the same bytes in every way."""

from __future__ import annotations

import csv
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from igneous_ng import annotating, run
from igneous_ng.errors import DataError, IgneousError, SpecError
from igneous_ng.formats.annotation_columns import PLACES
from igneous_ng.formats.sharding import Layout, Spec
from igneous_ng.geometry import Box
from igneous_ng.io import IO
from igneous_ng.kernels import annotation_levels, locations
from igneous_ng.kernels.annotation_levels import Cells
from igneous_ng.redo import Redo, carried_out
from igneous_ng.stages import annotate
from igneous_ng.stages.annotate import Build
from igneous_ng.store import Store
from igneous_ng.synapses import DUPLICATE, Frame, Synapses, empty
from tests import synaptic
from tests.annotated import HIGH, KINDS, LOW, PROPERTIES, Read, build, drawn, made, read, stored, taken

Array = npt.NDArray[Any]
FIELDS: dict[str, Any] = {"properties": PROPERTIES, "relationships": ("pre", "post"), "limit": 40,
                          "bounds": Box(LOW, HIGH), "resolution": (8.0, 8.0, 30.0)}  # fmt: skip


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards and pieces so small that there are many."""
    monkeypatch.setattr(annotating, "SHARD", 4000)
    monkeypatch.setattr(annotate, "_ROWS", 100)
    monkeypatch.setattr(annotate, "_LOOKED", 2)


def write(folder: Path, rows: dict[str, Array], parts: int = 1) -> Path:
    """Some .npz files of the rows."""
    folder.mkdir(parents=True)
    for part, which in enumerate(np.array_split(np.arange(len(rows["id"])), parts)):
        np.savez(folder / f"{part:03}.npz", allow_pickle=False, **taken(rows, which))
    return folder


def shape(rows: dict[str, Array], kind: str, i: int) -> Array:
    if kind == "polyline":
        return np.split(rows["points"], rows["points_ends"][:-1])[i]
    names = next(names for one, names in PLACES.items() if one == kind)
    return np.array([rows[name][i] for name in names], np.float32).reshape(-1, 3)


def agree(found: Read, rows: dict[str, Array], kind: str) -> None:
    """All that was written is there, everywhere where it should be, and nothing else."""
    several = np.split(rows["post"], rows["post_ends"][:-1])
    ids = rows["id"].tolist()
    assert found.by_id.keys() == set(ids)
    for i, key in enumerate(ids):
        one = found.by_id[key]
        assert np.array_equal(one.points, shape(rows, kind, i))
        wanted = [rows["size"][i], np.float32(rows["sure"][i]), rows["kind"][i], rows["hue"][i].tolist()]
        assert list(one.values.values()) == wanted
        assert one.related == ((int(rows["pre"][i]),) if rows["pre"][i] else (), tuple(several[i].tolist()))
    of: list[dict[int, set[int]]] = [{}, {}]
    for key, pre, post in zip(ids, rows["pre"].tolist(), several, strict=True):
        for which, segments in enumerate(([pre] if pre else [], set(post.tolist()))):
            for segment in segments:
                of[which].setdefault(segment, set()).add(key)
    for lists, members in zip(found.related, of, strict=True):
        assert {segment: list(those) for segment, those in lists.items()} == {s: sorted(t) for s, t in members.items()}


def check_places(found: Read, kind: str) -> None:
    """Levels part the ids; each is in the cells that it crosses, in the order of ranks; limits are what they are."""
    extent = tuple(b - a for a, b in zip(LOW, HIGH, strict=True))
    grid, seen = Cells(LOW, extent, (8.0, 8.0, 30.0)), set[int]()  # type: ignore[arg-type]
    for raw, cells in zip(found.info["spatial"], found.spatial, strict=True):
        halved = next(h for h in grid.halvings if list(grid.shape(h)) == raw["grid_shape"])
        assert raw["chunk_size"] == list(grid.chunk(halved))
        here = sorted({key for those in cells.values() for key in those})
        assert not seen & set(here)
        seen |= set(here)
        assert raw["limit"] == max(map(len, cells.values()), default=1)
        layout, wanted = Layout(Spec(0, 0, 0), grid.shape(halved)), dict[int, set[int]]()
        for key in here:
            points = found.by_id[key].points
            _, places = annotation_levels.crossed(kind, points, np.array([0, len(points)]), grid, halved)
            for cell in layout.keys(places).tolist():
                wanted.setdefault(cell, set()).add(key)
        assert {cell: set(those) for cell, those in cells.items()} == wanted
        for those in cells.values():
            ranks = annotation_levels.ranks(np.array(list(those), np.uint64))
            assert (ranks[1:] > ranks[:-1]).all()
            assert all(np.array_equal(one.points, found.by_id[key].points) for key, one in those.items())
    assert seen == found.by_id.keys()


@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_holds_what_a_definition_says(tmp_path: Path, small: None, kind: str) -> None:
    rows = drawn(kind, 600)
    build(write(tmp_path / "rows", rows, 7), tmp_path / "layer", **FIELDS)
    found = read(tmp_path / "layer")
    agree(found, rows, kind)
    check_places(found, kind)
    assert len(found.spatial) > 2
    assert all(len(list((tmp_path / "layer" / key).glob("*.shard"))) > 2 for key in ("by_id", "rel_post"))


@pytest.mark.parametrize("kind", ["line", "polyline"])
def test_tensorstore_finds_the_same(tmp_path: Path, small: None, kind: str) -> None:
    tensorstore = pytest.importorskip("tensorstore")
    layer = tmp_path / "layer"
    build(write(tmp_path / "rows", drawn(kind, 400), 2), layer, **FIELDS)
    info = json.loads((layer / "info").read_text())
    for index in (info["by_id"], *info["relationships"], *info["spatial"]):
        spec = {
            "driver": "neuroglancer_uint64_sharded",
            "base": f"file://{layer}/{index['key']}/",
            "metadata": index["sharding"],
        }
        store = tensorstore.KvStore.open(spec).result()
        keys = [struct.unpack(">Q", key)[0] for key in store.list().result()]
        ours = stored(layer, index)
        assert sorted(keys) == sorted(ours)
        assert all(store.read(struct.pack(">Q", key)).result().value == data for key, data in ours.items())


def test_any_cut_of_the_rows_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(annotating, "SHARD", 4000)
    rows = drawn("line", 500)
    build(write(tmp_path / "whole", rows), tmp_path / "a", **FIELDS)
    mixed = np.random.default_rng(1).permutation(500)
    monkeypatch.setattr(annotate, "_ROWS", 150)
    monkeypatch.setattr(annotate, "_LOOKED", 3)
    build(write(tmp_path / "mixed", taken(rows, mixed), 11), tmp_path / "b", **FIELDS)
    assert made(tmp_path / "a") == made(tmp_path / "b")


def test_text_and_parquet_give_the_bytes_of_arrays(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet

    rows = drawn("polyline", 60)
    plain = {name: column.tolist() for name, column in rows.items() if not name.endswith("_ends")}
    for name in ("points", "post"):
        plain[name] = [part.ravel().tolist() for part in np.split(rows[name], rows[f"{name}_ends"][:-1])]
    plain["hue"] = ["#" + bytes(row).hex() for row in plain["hue"]]
    with (tmp_path / "t.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(plain)
        for row in zip(*plain.values(), strict=True):
            writer.writerow([" ".join(map(repr, cell)) if isinstance(cell, list) else cell for cell in row])
    types = {"id": arrow.uint64(), "pre": arrow.uint64(), "post": arrow.list_(arrow.uint64()), "size": arrow.uint16()}
    columns = {name: arrow.array(column, types.get(name)) for name, column in plain.items()}
    pyarrow.parquet.write_table(arrow.table(columns), tmp_path / "t.parquet", row_group_size=17)
    np.savez(tmp_path / "t.npz", allow_pickle=False, **rows)
    fields = {**FIELDS, "properties": ("size:uint16", *PROPERTIES[1:])}
    for kind in ("npz", "csv", "parquet"):
        build(tmp_path / f"t.{kind}", tmp_path / kind, **fields)
    assert made(tmp_path / "npz") == made(tmp_path / "csv") == made(tmp_path / "parquet")


def test_rows_without_ids_are_numbered(tmp_path: Path, small: None) -> None:
    rows = drawn("point", 90)
    ids = rows.pop("id")
    folder = tmp_path / "rows"
    folder.mkdir()
    for part, which in enumerate(np.array_split(np.arange(len(ids)), 5)):
        np.savez(folder / f"{part}.npz", x=rows["x"][which], y=rows["y"][which], z=rows["z"][which])
    build(folder, tmp_path / "layer")
    found = read(tmp_path / "layer")
    assert sorted(found.by_id) == list(range(1, 91))
    assert all(found.by_id[i + 1].points[0].tolist() == [rows[a][i] for a in "xyz"] for i in range(90))


def test_any_order_and_repetition_give_the_same_bytes(tmp_path: Path, small: None) -> None:
    source = write(tmp_path / "rows", drawn("box", 300), 5)
    build(source, tmp_path / "a", **FIELDS)
    for step in Build(source=str(source), layer=str(tmp_path / "b"), **FIELDS).steps(IO()):
        step.prepare(IO())
        for unit in [*reversed(step.units(IO())), *step.units(IO())]:
            step.execute(unit, IO())
        step.finish(IO())
        step.finish(IO())
    assert made(tmp_path / "a") == made(tmp_path / "b")


def test_synapses_are_lines_found_by_either_side(tmp_path: Path, small: None) -> None:
    rows = synaptic.table(f"file://{tmp_path}/table", 700)
    build(tmp_path / "table", tmp_path / "layer", limit=50, relationships=("pre", "post", "cleft"))
    found = read(tmp_path / "layer")
    own = (rows["flags"] & DUPLICATE) == 0
    assert sorted(found.by_id) == rows["id"][own].tolist()
    of = {int(key): i for i, key in enumerate(rows["id"])}
    for key, one in found.by_id.items():
        i = of[key]
        assert one.points.tolist() == [rows["pre_place"][i].tolist(), rows["post_place"][i].tolist()]
        assert one.values == {"confidence": rows["confidence"][i], "voxels": rows["voxels"][i], "kind": rows["kind"][i]}
        assert one.related[:2] == tuple((int(rows[side][i]),) if rows[side][i] else () for side in ("pre", "post"))
        assert one.related[2] == (int(locations.first(rows["id"][i])),)
    assert found.info["by_id"]["sharding"]["hash"] == "identity"
    names = [sorted(int(p.stem, 16) for p in (tmp_path / "layer" / "by_id").glob("*"))]
    assert len(names[0]) > 2
    assert found.info["properties"][2]["enum_labels"] == ["unknown", "excitatory", "inhibitory"]


@pytest.mark.long
def test_synapses_in_other_blocks_give_the_same_bytes(tmp_path: Path, small: None) -> None:
    for block in (16, 64, 256):
        synaptic.table(f"file://{tmp_path}/{block}/table", 300, block=block)
        build(tmp_path / str(block) / "table", tmp_path / str(block) / "layer", kind="point", limit=50)
    first, *others = (made(tmp_path / str(block) / "layer") for block in (16, 64, 256))
    assert all(other == first for other in others)


def test_no_rows_make_an_empty_layer(tmp_path: Path) -> None:
    rows = drawn("line", 3)
    build(write(tmp_path / "rows", taken(rows, np.arange(0))), tmp_path / "layer", **FIELDS)
    found = read(tmp_path / "layer")
    assert (found.by_id, found.related, found.spatial) == ({}, [{}, {}], [{}])
    assert found.info["spatial"][0]["limit"] == 1
    frame = Frame(Box((0, 0, 0), (9, 9, 9)), (8, 8, 8), 16, None, 0, {})
    table = Synapses(IO(), f"file://{tmp_path}/none")
    table.write((0, 0, 0), empty())
    table.finish(frame)
    build(tmp_path / "none", tmp_path / "nothing")
    assert read(tmp_path / "nothing").by_id == {}


@pytest.mark.parametrize(("change", "fields", "error", "said"), [
    ({}, {"properties": ("size", "wieght")}, SpecError, "no column 'wieght'; there are"),
    ({}, {"relationships": ("axon",)}, SpecError, "no column 'axon'"),
    ({}, {"properties": ("size:int8",)}, SpecError, "size:int16"),
    ({}, {"properties": ("size:uint8",)}, DataError, "is no uint8; ask for size:TYPE"),
    ({}, {"properties": ("pre",)}, DataError, "is no int32"),
    ({}, {"kind": "box"}, SpecError, "a box has the column lo_x"),
    ({}, {"bounds": Box((0, 0, 0), (9, 9, 9))}, DataError, "lies outside"),
    ({"x1": np.nan}, {}, DataError, "a point at \\[nan"),
    ({"id": 7}, {}, DataError, "the id 7 is there twice"),
    ({"sure": "high"}, {}, DataError, "colours|has no number"),
    ({}, {"limit": 0}, SpecError, "limit: 0"),
    ({}, {"resolution": (0.0, 1.0, 1.0)}, SpecError, "positive numbers"),
])  # fmt: skip
def test_what_is_wrong_is_said(
    tmp_path: Path, change: dict[str, Any], fields: dict[str, Any], error: type[IgneousError], said: str
) -> None:
    rows = drawn("line", 40)
    for name, value in change.items():
        rows[name] = (
            np.full(40, value)
            if name == "sure"
            else np.where(np.arange(40) < 2, value, rows[name]).astype(rows[name].dtype)
        )
    source = write(tmp_path / "rows", rows)
    with pytest.raises(error, match=said):
        build(source, tmp_path / "layer", **{**FIELDS, **fields})
    assert not (tmp_path / "layer" / "info").exists()


def test_another_request_in_its_place_is_refused(tmp_path: Path) -> None:
    source = write(tmp_path / "rows", drawn("point", 20))
    build(source, tmp_path / "layer", **FIELDS)
    with pytest.raises(SpecError, match="limit 40 there, 41 asked for"):
        build(source, tmp_path / "layer", **{**FIELDS, "limit": 41})
    with pytest.raises(SpecError, match="neither a table of synapses nor a file"):
        build(tmp_path, tmp_path / "other")


def test_lost_precision_is_said(tmp_path: Path) -> None:
    np.savez(tmp_path / "far.npz", x=[2.0**25 + 1], y=[0.0], z=[0.0])
    steps = list(Build(source=str(tmp_path / "far.npz"), layer=str(tmp_path / "layer")).steps(IO()))
    for step in steps:
        run.inline(step)
    assert "places to 4 units" in steps[-1].said(IO())


@pytest.mark.long
def test_a_changed_block_makes_again_only_what_it_touches(tmp_path: Path, small: None) -> None:
    layer = tmp_path / "layer"
    rows = synaptic.table(f"file://{tmp_path}/table", 900, block=32)
    build(tmp_path / "table", layer, limit=60)
    before, table = made(layer), Synapses(IO(), f"file://{tmp_path}/table")
    at = next(at for at in table.blocks() if len(table.rows(at)["id"]) > 3)
    block = {name: column.copy() for name, column in table.rows(at).items()}
    block["confidence"] ^= 1
    table.write(at, block)
    ran = {}
    for wave, _ in carried_out(Redo(Store(), [f"file://{layer}"]), lambda wave: run.inline(wave.stage, wave.subset)):
        ran[wave.stage.name] = len(wave.subset)
    after = made(layer)
    changed = {name for name in before if before[name] != after.get(name)}
    assert before.keys() == after.keys()
    build(tmp_path / "table", tmp_path / "anew", limit=60)
    assert after == made(tmp_path / "anew")
    ids = set(block["id"].tolist()) & set(rows["id"][(rows["flags"] & DUPLICATE) == 0].tolist())
    wanted = set()
    info = json.loads((layer / "info").read_text())
    for index in (info["by_id"], *info["relationships"], *info["spatial"]):
        spec = Spec.parse(index["sharding"])
        found = read(layer)
        which = [info["by_id"], *info["relationships"], *info["spatial"]].index(index)
        singles: dict[int, Any] = {key: {key} for key in found.by_id}
        lists: dict[int, Any] = [singles, *found.related, *found.spatial][which]
        keys = [key for key, those in lists.items() if ids & set(those)]
        wanted |= {f"{index['key']}/{spec.name(int(shard))}" for shard in spec.locate(np.array(keys, np.uint64))[0]}
    assert changed == wanted
    assert ran["annotate spread"] == 1
    assert "annotate frame" not in ran or ran["annotate frame"] == 1
    assert ran["annotate write"] == len(wanted) < len(before) - 1
