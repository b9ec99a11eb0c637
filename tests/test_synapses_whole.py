"""From evidence to the graph and its annotations: one digest whatever the cells and blocks, and what a redo leaves."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from igneous_ng import run
from igneous_ng.geometry import Box, Vec3
from igneous_ng.io import IO
from igneous_ng.redo import Redo, carried_out
from igneous_ng.stage import Layer
from igneous_ng.stages import annotate
from igneous_ng.stages.graph_build import Build
from igneous_ng.stages.synapse_assign import Assign
from igneous_ng.stages.synapse_detect import Detect
from igneous_ng.store import Store
from tests import annotated, assigned
from tests.assigned import FIRST, RESOLUTION, SHAPE, Scene
from tests.layers import create, files, whole

STORE = Store()
CHANGED = Box((32, 16, 32), (53, 35, 50))  # 1/64 of the volume
REACH = 24.0  # nm around clefts
CHUNKS: tuple[Vec3, ...] = ((12, 12, 12), (37, 53, 71), (13, 31, 29), SHAPE, (32, 16, 23), (71, 19, 11))


def digests(folder: Path, chunk: Vec3, number: int) -> tuple[str, str, str]:
    """Of the clefts, the rows and the graph, made in cells of about a chunk."""
    own = folder / str(number)
    both = np.stack([whole(folder / "pre"), whole(folder / "post")], axis=-1)[..., 0, :]
    create(own / "evidence", np.where(whole(folder / "clefts") > 0, 200, 9).astype(np.uint8), FIRST, chunk,
           resolution=RESOLUTION)  # fmt: skip
    create(own / "both", np.asfortranarray(both), FIRST, chunk, resolution=RESOLUTION)
    block, evidence = (32, 64, 128)[number % 3], f"{own}/evidence"
    for chain in (
        Detect(evidence=evidence, layer=f"{own}/clefts", cell=chunk, threshold=0.5),
        Assign(clefts=f"{own}/clefts", segmentation=f"{folder}/seg", table=f"{own}/table", cell=chunk, block=block,
               sides="channels", evidence=Layer.parse(f"{own}/both"), radius=40.0, polyadic=0.3, merge_distance=100.0),
        Build(table=f"{own}/table", graph=f"{own}/graph", cell=128, parts=4),
    ):  # fmt: skip
        for step in chain.steps(IO()):
            run.inline(step)
    graph = {name: data for name, data in files(own / "graph").items() if "/csr/" in name or ".parquet" in name}
    told = hashlib.sha256(b"".join(name.encode() + data for name, data in sorted(graph.items()))).hexdigest()
    clefts = hashlib.sha256(whole(own / "clefts").tobytes(order="F")).hexdigest()
    assert len(graph) > 20
    return clefts, assigned.sha(assigned.rows(f"file://{own}/table")), told


@pytest.mark.long
def test_one_digest_of_clefts_table_and_graph(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="the extra `parquet` is optional")
    scene = assigned.scene(tmp_path)
    assigned.image(tmp_path / "pre", scene.pre)
    assigned.image(tmp_path / "post", scene.post)
    found = [digests(tmp_path, chunk, number) for number, chunk in enumerate(CHUNKS)]
    assert set(found) == {found[0]}
    rows = assigned.found(assigned.rows(f"file://{tmp_path}/0/table"))
    assert {cleft: (pairs[0][0], {post for _, post in pairs}) for cleft, pairs in rows.items()} == scene.known


GIVEN = ("evidence", "seg", "both")


def inputs(place: Path, scene: Scene, changed: bool) -> Path:
    """Evidence and a segmentation; or those of which somebody changed a part, who keeps no records."""
    labels, found = scene.labels.copy(order="F"), np.where(scene.ids > 0, 200, 9).astype(np.uint8)
    if changed:
        part, middle = labels[CHANGED.slices()], found[CHANGED.slices()]
        part[part == part[9, 9, 9]] = 5
        part[:4] = 0
        middle[:16] = 9
    assigned.image(place / "evidence", found)
    assigned.segments(place / "seg", labels)
    assigned.image(place / "both", np.stack([scene.pre, scene.post], axis=-1))
    return place


def replace(place: Path, other: Path) -> None:
    """The layers in a folder become those of another: files that differ are replaced, and no others."""
    new = files(other)
    for name in {*new} - {name for name, data in files(place).items() if new.get(name) == data}:
        (other / name).replace(place / name)


def connectome(place: Path) -> list[str]:
    """All that follows from the layers in a folder, and where it is."""
    urls = [f"file://{place}/{name}" for name in ("clefts", "table", "graph", "annotations")]
    clefts, table, graph, annotations = urls
    chains: Sequence[Any] = (
        Detect(evidence=f"{place}/evidence", layer=clefts, cell=(16, 16, 16), threshold=0.5),
        Assign(clefts=clefts, segmentation=f"{place}/seg", table=table, cell=(16, 16, 16), block=32, sides="channels",
               evidence=Layer.parse(f"{place}/both"), radius=REACH, polyadic=0.3, merge_distance=20.0),
        Build(table=table, graph=graph, cell=32, parts=8),
        annotate.Build(source=table, layer=annotations, relationships=("pre", "post"), limit=40),
    )  # fmt: skip
    for chain in chains:
        for step in chain.steps(IO()):
            run.inline(step)
    return urls


def kept(place: Path) -> dict[str, bytes]:
    """The files that readers see of clefts, table, graph and annotations."""
    return {name: data for name, data in annotated.made(place).items() if name.split("/")[0] not in GIVEN}


def near(place: Path) -> dict[int, bytes]:
    """Rows whose clefts reach the part that changes, by id; and with them all others, under -1."""
    rows = assigned.rows(f"file://{place}/table")
    wide = CHANGED.grow((4, 4, 4), (4, 4, 4))
    low, high = (np.array(corner) + FIRST for corner in (wide.lo, wide.hi))
    reached = ((rows["hi"] > low) & (rows["lo"] < high)).all(axis=1)
    found = {-1: assigned.sha({name: column[~reached] for name, column in rows.items()}).encode()}
    for at in np.flatnonzero(reached):
        found[int(rows["id"][at])] = b"".join(column[at].tobytes() for column in rows.values())
    return found


@pytest.mark.long
def test_a_changed_part_changes_what_follows_from_it_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pyarrow", reason="the extra `parquet` is optional")
    monkeypatch.setattr("igneous_ng.annotating.SHARD", 2000)
    scene, place = assigned.scene(tmp_path), tmp_path / "place"
    inputs(place, scene, changed=True)
    connectome(place)
    anew, rows_anew = kept(place), near(place)
    shutil.rmtree(place)
    inputs(place, scene, changed=False)
    urls = connectome(place)
    before, rows_before = kept(place), near(place)
    replace(place, inputs(tmp_path / "other", scene, changed=True))
    ran: dict[str, int] = {}
    for wave, ready in carried_out(Redo(STORE, urls), lambda one: run.inline(one.stage, one.subset)):
        ran[ready.name] = len(wave.subset)
    assert kept(place) == anew != before
    cells, blocks = (int(np.prod([-(-n // side) for n in SHAPE])) for side in (16, 32))
    assert 0 < ran["synapse label"] <= ran["synapse contacts"] < cells / 3
    assert 0 < ran["synapse table"] < blocks / 2
    assert {"graph take", "annotate write"} <= ran.keys()
    assert rows_before[-1] == rows_anew[-1]
    assert set(rows_before) - set(rows_anew)
    assert any(rows_before[one] != rows_anew[one] for one in set(rows_before) & set(rows_anew))
    for what in ("clefts/", "table/rows/", "graph/", "annotations/"):
        of = {name for name in before if name.startswith(what)}
        same = {name for name in of if before[name] == anew.get(name)}
        assert len(of) > len(same) > len(of) / 3, what
    assert not list(carried_out(Redo(STORE, urls), lambda one: run.inline(one.stage, one.subset)))
