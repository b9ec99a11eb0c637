from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from igneous_ng.errors import DataError
from igneous_ng.formats import sharding, skeleton
from igneous_ng.formats.skeleton import Graph

VALUES: dict[str, npt.NDArray[Any]] = {
    "radius": np.array([1.5, 2], np.float32),
    "vertex_types": np.array([0, 1], np.uint8),
}
GRAPH = Graph(np.array([[0, -1, 2**30], [3, 4, 5]]), np.array([[0, 1]], np.uint32), VALUES)
POINTS = np.array([[1, 2, 3], [4, 5, 6.5]])
SKELETON = Graph(POINTS, GRAPH.edges, VALUES)
KNOWN = skeleton.info(0)["vertex_attributes"]


@pytest.mark.parametrize(
    "names", [("radius",), tuple(VALUES), ("vertex_types",), (), (*VALUES, "cross_sectional_area")]
)
def test_a_piece_comes_back(names: tuple[str, ...]) -> None:
    values = {**VALUES, "cross_sectional_area": np.array([-7, 2.5], np.float32)}
    graph = Graph(GRAPH.vertices, GRAPH.edges, {name: values[name] for name in names})
    again = skeleton.decode_piece(skeleton.encode_piece(graph), "x")
    assert again.vertices.tolist() == GRAPH.vertices.tolist()
    assert again.edges.tolist() == [[0, 1]]
    assert {name: a.tolist() for name, a in again.attributes.items()} == {n: values[n].tolist() for n in names}
    assert again.nbytes == 2 * 24 + 8 + sum(values[name].nbytes for name in names)


def test_pieces_that_are_none_are_refused() -> None:
    good = skeleton.encode_piece(GRAPH)
    beyond = skeleton.encode_piece(Graph(GRAPH.vertices, np.array([[0, 2]]), VALUES))
    for data, said in ((b"", "forge"), (good[:-1], "forge"), (b"\xff" + good[1:], "forge"), (beyond, "make")):
        with pytest.raises(DataError, match=f"^here: .*{said}"):
            skeleton.decode_piece(data, "here")


def test_the_layout_is_counts_positions_edges_attributes() -> None:
    data = skeleton.encode(SKELETON)
    parts = [POINTS.astype("<f4"), np.array([0, 1], "<u4"), *(a.astype("<f4") for a in VALUES.values())]
    assert data == b"\2\0\0\0\1\0\0\0" + b"".join(p.tobytes() for p in parts)
    again = skeleton.decode(data, "x", KNOWN)
    assert again.vertices.tolist() == POINTS.tolist()
    assert again.edges.tolist() == [[0, 1]]
    assert {name: a.tolist() for name, a in again.attributes.items()} == {n: a.tolist() for n, a in VALUES.items()}


def test_attributes_of_others_are_read() -> None:
    wide = np.arange(6, dtype=np.float32).reshape(2, 3)
    data = skeleton.encode(Graph(POINTS, GRAPH.edges, {"flow": wide}))
    described = [{"id": "flow", "data_type": "float32", "num_components": 3}]
    assert skeleton.decode(data, "x", described).attributes["flow"].tolist() == wide.tolist()
    with pytest.raises(DataError, match="names attributes that no skeleton can have"):
        skeleton.decode(data, "x", [{"id": "flow", "data_type": "float64", "num_components": 3}])


def test_cloudvolume_reads_the_same() -> None:
    from cloudvolume import Skeleton

    info = skeleton.info(1)
    assert info["@type"] == "neuroglancer_skeletons"
    assert [a["id"] for a in info["vertex_attributes"]] == ["radius", "vertex_types"]
    assert {a["data_type"] for a in info["vertex_attributes"]} == {"float32"}  # Neuroglancer draws no other
    read = Skeleton.from_precomputed(skeleton.encode(SKELETON), vertex_attributes=info["vertex_attributes"])
    assert read.vertices.tolist() == POINTS.tolist()
    assert read.edges.tolist() == [[0, 1]]
    assert read.radius.tolist() == [1.5, 2]
    assert read.vertex_types.tolist() == [0, 1]


def test_info_names_shards() -> None:
    spec = sharding.Spec(0, 3, 2, hash="murmurhash3_x86_128")
    assert sharding.Spec.parse(skeleton.info(0, sharding=spec)["sharding"]) == spec


BEYOND = skeleton.encode(Graph(np.zeros((1, 3)), GRAPH.edges, {name: a[:1] for name, a in VALUES.items()}))


@pytest.mark.parametrize("data", [b"", b"\1\0\0\0\0\0\0\0", BEYOND])
def test_a_torn_skeleton_is_refused(data: bytes) -> None:
    with pytest.raises(DataError, match=r"^here: .*again"):
        skeleton.decode(data, "here", KNOWN)
