from __future__ import annotations

import numpy as np
import pytest

from igneous_ng.errors import DataError
from igneous_ng.formats import skeleton
from igneous_ng.formats.skeleton import Graph

GRAPH = Graph(np.array([[0, -1, 2**30], [3, 4, 5]]), np.array([[0, 1]], np.uint32), np.array([1.5, 2], np.float32))


def test_a_piece_comes_back() -> None:
    again = skeleton.decode_piece(skeleton.encode_piece(GRAPH), "x")
    assert again.vertices.tolist() == GRAPH.vertices.tolist()
    assert again.edges.tolist() == [[0, 1]]
    assert again.radii.tolist() == [1.5, 2]


def test_pieces_that_are_none_are_refused() -> None:
    good = skeleton.encode_piece(GRAPH)
    beyond = skeleton.encode_piece(Graph(GRAPH.vertices, np.array([[0, 2]]), GRAPH.radii))
    for data, said in ((b"", "forge"), (good[:-1], "forge"), (b"\xff" + good[1:], "forge"), (beyond, "make")):
        with pytest.raises(DataError, match=f"^here: .*{said}"):
            skeleton.decode_piece(data, "here")


def test_the_layout_is_counts_positions_edges_radii() -> None:
    points = np.array([[1, 2, 3], [4, 5, 6.5]])
    data = skeleton.encode(points, GRAPH.edges, GRAPH.radii)
    parts = [points.astype("<f4"), np.array([0, 1], "<u4"), GRAPH.radii.astype("<f4")]
    assert data == b"\2\0\0\0\1\0\0\0" + b"".join(p.tobytes() for p in parts)
    vertices, edges, radii = skeleton.decode(data, "x")
    assert vertices.tolist() == points.tolist()
    assert edges.tolist() == [[0, 1]]
    assert radii.tolist() == [1.5, 2]


def test_cloudvolume_reads_the_same() -> None:
    from cloudvolume import Skeleton

    info = skeleton.info(1)
    assert info["@type"] == "neuroglancer_skeletons"
    data = skeleton.encode(np.array([[1, 2, 3], [4, 5, 6.5]]), GRAPH.edges, GRAPH.radii)
    read = Skeleton.from_precomputed(data, vertex_attributes=info["vertex_attributes"])
    assert read.vertices.tolist() == [[1, 2, 3], [4, 5, 6.5]]
    assert read.edges.tolist() == [[0, 1]]
    assert read.radius.tolist() == [1.5, 2]


@pytest.mark.parametrize("data", [b"", b"\1\0\0\0\0\0\0\0", skeleton.encode(np.zeros((1, 3)), GRAPH.edges, np.ones(1))])
def test_a_torn_skeleton_is_refused(data: bytes) -> None:
    with pytest.raises(DataError, match=r"^here: .*again"):
        skeleton.decode(data, "here")
