"""Segments under the rows of a table: those of the layer at their voxels, through a table of labels, of one version."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from igneous_ng import cli, run
from igneous_ng.annotation_lookups import Lookup
from igneous_ng.annotation_tables import Schema, Table
from igneous_ng.errors import DataError, SpecError
from igneous_ng.io import IO
from igneous_ng.renaming import Renaming
from igneous_ng.stages.annotate_lookup import Look, Place
from tests.layers import create, files, notes

pytest.importorskip("pyarrow")
LO, SHAPE, SIDE = (-5, 7, 100), (23, 17, 11), (8.0, 8.0, 30.0)
BIG = (1 << 63) + 1


@pytest.fixture
def labels() -> np.ndarray:
    found: np.ndarray = np.random.default_rng(3).integers(0, 9, (*SHAPE, 1)).astype(np.uint64)
    return np.where(found > 0, found + np.uint64(BIG), np.uint64(0))


@pytest.fixture
def layer(tmp_path: Path, labels: np.ndarray) -> Path:
    return create(tmp_path / "seg", labels, LO, kind="segmentation", resolution=SIDE)


def expected(labels: np.ndarray, nm: np.ndarray) -> list[int]:
    """The label at each place, 0 outside."""
    voxels = np.floor(nm / SIDE).astype(int) - LO
    return [int(labels[tuple(voxel)][0]) if all(0 <= a < n for a, n in zip(voxel, SHAPE, strict=True)) else 0
            for voxel in voxels]  # fmt: skip


def look_up(**fields: Any) -> None:
    for stage in (Place, Look):
        run.inline(stage(**fields))


def points(tmp_path: Path, nm: np.ndarray) -> Table:
    table = Table.create(str(tmp_path / "table"), Schema("point"))
    table.append(dict(zip("xyz", nm.T, strict=True)))
    return table


def places(count: int, seed: int = 0) -> np.ndarray:
    low = np.array(LO) * SIDE
    found: np.ndarray = np.random.default_rng(seed).uniform(low - 20, low + np.array(SHAPE) * SIDE + 20, (count, 3))
    return found


@pytest.mark.parametrize("block", [(13, 17, 5), (8, 16, 64), (2048, 2048, 2048)])
def test_each_row_gets_the_label_at_its_place(tmp_path: Path, layer: Path, labels: np.ndarray, block: Any) -> None:
    nm = places(300)
    table = points(tmp_path, nm)
    table.delete([4, 7])
    look_up(table=table.url, layer=str(layer), as_of=2, block=block)
    rows = table.read(2)
    kept = np.delete(nm, [3, 6], axis=0)
    found = Lookup(IO(), table.url, "default").of(rows["id"])
    assert found.keys() == {"segment"}
    assert found["segment"].tolist() == expected(labels, kept)
    told = notes(tmp_path / "table")  # of the last of the two
    outside = int(
        (np.floor(kept / SIDE) != np.clip(np.floor(kept / SIDE), LO, np.array(LO) + SHAPE - 1)).any(axis=1).sum()
    )
    assert 0 < outside < 300
    assert sum(one["rows"] for one in told) == 298 - outside
    assert sum(one["background"] for one in told) == expected(labels, kept).count(0) - outside


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_table_of_labels_gives_what_they_became(tmp_path: Path, layer: Path, labels: np.ndarray, kind: str) -> None:
    table = points(tmp_path, places(200))
    old = np.unique(labels)[1:5]
    new = old + np.uint64(1000)
    if kind == "file":
        remap = tmp_path / "roots.csv"
        remap.write_text("".join(f"{a},{b}\n" for a, b in zip(old, new, strict=True)))
    else:
        remap = tmp_path / "roots"
        Renaming(IO(), f"file://{remap}").split(old, new)
    look_up(table=table.url, layer=str(layer), as_of=1, remap=str(remap), block=(16, 16, 16), dir="proofread")
    found = Lookup(IO(), table.url, "proofread").of(table.read()["id"])
    before = expected(labels, places(200))
    became = dict(zip(old.tolist(), new.tolist(), strict=True))
    assert found["supervoxel"].tolist() == before
    assert found["segment"].tolist() == [became.get(label, label) for label in before]
    shown = CliRunner().invoke(cli.main, ["annotate", "table", "read", table.url, "--lookup", "proofread", "--json"])
    rows = json.loads(shown.output)
    assert [int(row["proofread_supervoxel"]) for row in rows] == before
    refused = CliRunner().invoke(
        cli.main, ["annotate", "table", "read", table.url, "--lookup", "proofread", "--as-of", "1"]
    )
    assert refused.exit_code == 2


def test_ends_of_lines_are_looked_up_in_voxels_too(tmp_path: Path, layer: Path, labels: np.ndarray) -> None:
    voxels = np.floor(places(40) / SIDE)
    ends = np.column_stack([voxels, voxels[::-1]])
    table = Table.create(str(tmp_path / "lines"), Schema("line", units="voxel", resolution=SIDE))
    table.append(dict(zip(table.schema.places, ends.T, strict=True)))
    for at, where in (("start", ends[:, :3]), ("end", ends[:, 3:]), ("centre", (ends[:, :3] + ends[:, 3:]) / 2)):
        look_up(table=table.url, layer=str(layer), as_of=1, at=at, dir=at, block=(16, 16, 16))
        found = Lookup(IO(), table.url, at).of(table.read()["id"])["segment"]
        assert found.tolist() == expected(labels, where * SIDE)


def test_later_versions_change_nothing_of_a_lookup(tmp_path: Path, layer: Path) -> None:
    table = points(tmp_path, places(50))
    asked: dict[str, Any] = {"table": table.url, "layer": str(layer), "as_of": 1, "block": (16, 16, 16)}
    look_up(**asked)
    before = files(tmp_path / "table" / "lookups")
    table.append(dict(zip("xyz", places(9, 1).T, strict=True)))
    table.compact()
    look_up(**asked)
    assert files(tmp_path / "table" / "lookups") == before
    with pytest.raises(SpecError, match="rows were looked up otherwise.*version 1 there, 2 asked for"):
        look_up(table=table.url, layer=str(layer), as_of=2, block=(16, 16, 16))


def test_a_table_of_no_rows_gives_an_empty_lookup(tmp_path: Path, layer: Path) -> None:
    table = points(tmp_path, places(3) + 1e9)
    for version in (0, 1):
        look_up(table=table.url, layer=str(layer), as_of=version, dir=f"v{version}")
        ids = table.read(version)["id"]
        assert Lookup(IO(), table.url, f"v{version}").of(ids)["segment"].tolist() == [0] * len(ids)


def test_what_is_wrong_is_said_before_anything_is_written(tmp_path: Path, layer: Path) -> None:
    table = points(tmp_path, places(3))
    before = files(tmp_path)
    image = str(create(tmp_path / "image", np.zeros((4, 4, 4, 1), np.uint8), (0, 0, 0)))
    for fields, error, said in (
        ({"as_of": 7}, SpecError, "has no version 7; there are 0 to 1"),
        ({"layer": image}, SpecError, "is of the type image; name a segmentation"),
        ({"at": "end"}, SpecError, "rows of the kind point have a centre, and no end"),
        ({"table": str(tmp_path / "no")}, DataError, "there is no annotation table"),
        ({"dir": "../x"}, SpecError, "names no folder"),
        ({"as_of": -1}, SpecError, "versions are numbers from 0 on"),
    ):
        with pytest.raises(error, match=said):
            look_up(**{"table": table.url, "layer": str(layer), "as_of": 1, **fields})
    assert {name: data for name, data in files(tmp_path).items() if not name.startswith("image/")} == before
    with pytest.raises(DataError, match="there is no finished lookup"):
        Lookup(IO(), table.url, "default").of(np.zeros(0, np.uint64))
