"""The synapses of a neuron of the MICrONS volume (CAVE), as a graph: exact against the tables that they come from."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from igneous_ng.geometry import Box, vec
from igneous_ng.graphs import Graph
from igneous_ng.io import IO
from igneous_ng.synapses import COLUMNS, Frame, Synapses, empty
from tests.data import data
from tests.test_stage_graph_build import built

RESOLUTION = (4.0, 4.0, 40.0)


def synapses() -> dict[str, Any]:
    """The columns of both tables, each synapse once."""
    feather = pytest.importorskip("pyarrow.feather")
    tables = [
        feather.read_table(data("synapse_tables", "cave_pcg_skel", f"{side}_syn.feather")) for side in ("pre", "post")
    ]
    names = ["id", "size", "pre_pt_root_id", "post_pt_root_id"]
    found = {name: np.concatenate([table[name].to_numpy() for table in tables]) for name in names}
    for name in ("ctr", "pre", "post"):
        places = [table[f"{name}_pt_position"].to_pylist() for table in tables]
        found[name] = np.array([place for part in places for place in part], np.int64)
    once = np.unique(found["id"], return_index=True)[1]
    return {name: column[once] for name, column in found.items()}


def test_a_real_neuron_has_the_partners_of_its_tables(tmp_path: Path) -> None:
    found = synapses()
    rows, box = empty(len(found["id"])), Box(vec(found["ctr"].min(axis=0) - 3), vec(found["ctr"].max(axis=0) + 5))
    frame = Frame(box, RESOLUTION, 4096, None, 0, {"by": "CAVE"})
    rows["id"] = frame.ids(found["ctr"])
    order = np.argsort(rows["id"], kind="stable")
    same = np.concatenate([[0], np.diff(rows["id"][order]) == 0])
    assert not same.any()
    rows["pre"], rows["post"] = found["pre_pt_root_id"], found["post_pt_root_id"]
    for name, column in (("place", "ctr"), ("pre_place", "pre"), ("post_place", "post")):
        rows[name] = np.rint(found[column] * RESOLUTION)
    rows["voxels"], rows["confidence"][:] = found["size"], 255
    rows = {name: rows[name][order].astype(kind) for name, kind in COLUMNS.items()}
    desk, blocks = Synapses(IO(), f"file://{tmp_path}/table"), frame.blocks_of(rows["id"])
    for one in frame.grid:
        inside = (blocks == frame.grid.at(one)).all(axis=1)
        desk.write(frame.grid.at(one), {name: column[inside] for name, column in rows.items()})
    desk.finish(frame)
    manifest = built(tmp_path, cell=8192)
    pairs = list(zip(found["pre_pt_root_id"].tolist(), found["post_pt_root_id"].tolist(), strict=True))
    edges = Counter((pre, post) for pre, post in pairs if pre != post and pre and post)
    assert (manifest["synapses"], manifest["edges"]) == (edges.total(), len(edges))
    assert manifest["autapses"] == sum(pre == post != 0 for pre, post in pairs)
    graph = Graph(f"{tmp_path}/graph")
    neuron = int(graph.top(1, "n_in")["segment"][0])
    assert neuron == 864691136040432126 > 2**53
    for way, side in (("in", 0), ("out", 1)):
        partners = graph.partners(neuron, way)  # type: ignore[arg-type]
        told = dict(zip(partners.segments.tolist(), partners.counts.tolist(), strict=True))
        assert told == {edge[side]: n for edge, n in edges.items() if edge[1 - side] == neuron}
    place = found["ctr"] * RESOLUTION
    middle = np.median(place, axis=0)
    lo, hi = middle - 20_000, middle + 20_000
    kept = np.array([edge in edges for edge in pairs])
    inside = ((place >= lo) & (place < hi)).all(axis=1) & kept
    assert len(graph.box((tuple(lo.tolist()), tuple(hi.tolist())))["id"]) == inside.sum() > 100
