from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from igneous_ng.kernels import skeletonising as sk

Array = npt.NDArray[Any]
TEASAR = {
    "scale": 1.5,
    "const": 50.0,
    "pdrf_scale": 100_000.0,
    "pdrf_exponent": 4,
    "soma_detection_threshold": 750.0,
    "soma_acceptance_threshold": 3500.0,
    "soma_invalidation_scale": 2.0,
    "soma_invalidation_const": 300.0,
}


def line(*xs: float, y: float = 0) -> Array:
    return np.array([[x, y, 0] for x in xs], float)


def chain(count: int, start: int = 0) -> Array:
    return np.array([[start + i, start + i + 1] for i in range(count - 1)])


def length(points: Array, edges: Array) -> float:
    return float(np.linalg.norm(points[edges[:, 0]] - points[edges[:, 1]], axis=1).sum())


def test_a_tube_gives_its_centre_line() -> None:
    labels = np.zeros((40, 11, 9), np.uint64)
    labels[:, 3:8, 2:7] = 2**64 - 1
    ((label, (vertices, edges, radii)),) = sk.trace(labels, (4.0, 4.0, 4.0), TEASAR).items()
    assert label == 2**64 - 1
    assert vertices[:, 0].min() == 0
    assert vertices[:, 0].max() == 39
    assert len(edges) == len(vertices) - 1
    middle = vertices[(vertices[:, 0] > 4) & (vertices[:, 0] < 35)]
    assert (abs(middle[:, 1:] - [5, 4]) <= 1).all()
    assert radii.min() > 0


def test_arrays_that_share_a_plane_share_a_vertex() -> None:
    labels = np.zeros((41, 12, 12), np.uint32)
    for x in range(41):
        labels[x, 3 + x // 10 : 8 + x // 10, 3:9] = 5
    low, high = (
        sk.trace(labels[:21], (8.0, 8.0, 8.0), TEASAR)[5],
        sk.trace(labels[20:], (8.0, 8.0, 8.0), TEASAR)[5],
    )
    joined = sk.weld([low, (high[0] + [20, 0, 0], high[1], high[2])])
    assert len(joined[0]) == len(low[0]) + len(high[0]) - 1
    assert len(joined[1]) == len(joined[0]) - 1


def test_welding_is_blind_to_the_order_of_pieces_and_keeps_the_small_radius() -> None:
    a = (np.array([[0, 0, 0], [1, 0, 0]]), np.array([[0, 1]]), np.array([3.0, 9.0], np.float32))
    b = (np.array([[2, 0, 0], [1, 0, 0]]), np.array([[0, 1], [1, 0]]), np.array([4.0, 5.0], np.float32))
    one, other = sk.weld([a, b]), sk.weld([b, a])
    assert all(np.array_equal(x, y) for x, y in zip(one, other, strict=True))
    assert one[0].tolist() == [[0, 0, 0], [1, 0, 0], [2, 0, 0]]
    assert one[1].tolist() == [[0, 1], [1, 2]]
    assert one[2].tolist() == [3, 5, 4]


def test_a_loop_is_cut_where_it_is_thinnest() -> None:
    edges = np.array([[0, 1], [1, 2], [2, 3], [0, 3]])
    assert sk.cut_loops(edges, np.array([5, 5, 1, 4.0]), 4).tolist() == [[0, 1], [1, 2], [0, 3]]
    assert sk.cut_loops(edges, np.array([5, 5, 1, 0.5]), 4).tolist() != edges.tolist()
    assert len(sk.cut_loops(np.zeros((0, 2), np.int64), np.zeros(0), 0)) == 0


@pytest.mark.parametrize(("radius", "bridges"), [(2.4, []), (2.6, [[2, 3]])])
def test_parts_join_where_their_radii_reach(radius: float, bridges: list[list[int]]) -> None:
    points = np.concatenate([line(0, 1, 2), line(7, 8, 9)])
    edges = np.concatenate([chain(3), chain(3, 3)])
    joined = sk.join_touching(points, edges, np.full(6, radius))
    assert joined[4:].tolist() == bridges


def test_many_parts_join_to_one_tree() -> None:
    points = line(*range(0, 60, 2))
    joined = sk.join_touching(points, np.zeros((0, 2), np.int64), np.ones(30))
    assert sorted(np.sort(joined, axis=1).tolist()) == chain(30).tolist()


def test_the_shortest_twig_goes_first_and_the_trunk_stays() -> None:
    #  0-1-2-...-10 with twigs of 1 at vertex 5 and of 2.5 at vertex 8
    points = np.concatenate([line(*range(11)), [[5, 1, 0]], [[8, 2.5, 0]]])
    edges = np.concatenate([chain(11), [[5, 11]], [[8, 12]]])
    assert len(sk.without_twigs(points, edges, 0)) == 12
    assert (
        sk.without_twigs(points, edges, 1.5).tolist() == np.concatenate([chain(9), [[8, 9], [8, 12], [9, 10]]]).tolist()
    )
    # the end 8-9-10 (2.0) is shorter than the other twig (2.5): it goes, and then nothing branches
    assert sk.without_twigs(points, edges, 2.6).tolist() == np.concatenate([chain(9), [[8, 12]]]).tolist()
    assert sk.without_twigs(points, edges, 1e9).tolist() == np.concatenate([chain(9), [[8, 12]]]).tolist()


def test_a_twig_grows_when_its_branch_point_dissolves() -> None:
    #  a star: arms of 1, 2 and 9 meet at 0; without the first, the second and third are one path
    points = np.array([[0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, 9]], float)
    edges = np.array([[0, 1], [0, 2], [0, 3]])
    assert sk.without_twigs(points, edges, 5).tolist() == [[0, 2], [0, 3]]


def test_short_parts_go_and_no_bare_vertex_is_left() -> None:
    points = np.concatenate([line(0, 10, 20), line(0, 10, y=500), line(3, y=900)])
    edges = np.concatenate([chain(3), chain(2, 3)])
    kept, left, radii = sk.tidy(points, edges, np.ones(6), 0, 15)
    assert kept.tolist() == [[0, 0, 0], [10, 0, 0], [20, 0, 0]]
    assert left.tolist() == [[0, 1], [1, 2]]
    assert len(radii) == 3
    nothing = sk.tidy(points, edges, np.ones(6), 0, 1e6)
    assert [len(part) for part in nothing] == [0, 0, 0]


def test_tidying_a_mesh_of_lines_leaves_a_tree_of_whole_length() -> None:
    xy = np.argwhere(np.ones((6, 6)))
    points = np.column_stack([xy, np.zeros(36)]) * 10.0
    near = [(i, j) for i in range(36) for j in range(i) if np.abs(xy[i] - xy[j]).sum() == 1]
    kept, edges, _ = sk.tidy(points, np.array(near), np.arange(36) + 1.0, 0, 0)
    assert len(edges) == 35
    assert len(kept) == 36
    assert length(kept, edges) == pytest.approx(350)
