"""From evidence to the graph: one digest of clefts, table and graph, whatever the cells and blocks of every step."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from igneous_ng import run
from igneous_ng.geometry import Vec3
from igneous_ng.io import IO
from igneous_ng.stage import Layer
from igneous_ng.stages.graph_build import Build
from igneous_ng.stages.synapse_assign import Assign
from igneous_ng.stages.synapse_detect import Detect
from tests import assigned
from tests.assigned import FIRST, RESOLUTION, SHAPE
from tests.layers import create, files, whole

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
