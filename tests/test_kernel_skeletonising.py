from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from igneous_ng.kernels import skeletonising as sk

Array = npt.NDArray[Any]


def line(*xs: float, y: float = 0) -> Array:
    return np.array([[x, y, 0] for x in xs], float)


def chain(count: int, start: int = 0) -> Array:
    return np.array([[start + i, start + i + 1] for i in range(count - 1)])


def length(points: Array, edges: Array) -> float:
    return float(np.linalg.norm(points[edges[:, 0]] - points[edges[:, 1]], axis=1).sum())


def piece(vertices: list[list[int]], edges: list[list[int]], **values: list[float]) -> sk.Graph:
    return np.array(vertices), np.array(edges), {name: np.array(v, np.float32) for name, v in values.items()}


def test_welding_is_blind_to_the_order_of_pieces_and_keeps_the_right_values() -> None:
    a = piece([[0, 0, 0], [1, 0, 0]], [[0, 1]], radius=[3, 9], vertex_types=[1, 0], cross_sectional_area=[5, -8])
    b = piece(
        [[2, 0, 0], [1, 0, 0], [0, 0, 0]],
        [[0, 1], [1, 0]],
        radius=[4, 5, 6],
        vertex_types=[0, 2, 0],
        cross_sectional_area=[1, -9, -90],
    )
    one, other = sk.weld([a, b]), sk.weld([b, a])
    assert one[0].tolist() == other[0].tolist() == [[0, 0, 0], [1, 0, 0], [2, 0, 0]]
    assert one[1].tolist() == other[1].tolist() == [[0, 1], [1, 2]]
    assert {n: v.tolist() for n, v in one[2].items()} == {n: v.tolist() for n, v in other[2].items()}
    assert one[2]["radius"].tolist() == [3, 5, 4]
    assert one[2]["vertex_types"].tolist() == [1, 2, 0]
    assert one[2]["cross_sectional_area"].tolist() == [5, -9, 1]


def test_pieces_without_areas_leave_those_of_others() -> None:
    a = piece([[0, 0, 0], [1, 0, 0]], [[0, 1]], radius=[3, 9], cross_sectional_area=[-5, 8])
    b = piece([[0, 0, 0], [1, 0, 0], [2, 0, 0]], [[0, 1], [1, 2]], radius=[3, 9, 1])
    assert sk.weld([b, a])[2]["cross_sectional_area"].tolist() == [-5, 8, 0]


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


def test_twigs_of_seams_go_where_other_lines_cover_them() -> None:
    #  0-1-...-20 with a twig of 3 to a seam at vertex 5, one as long not to a seam at 10, one of 9 to a seam at 15
    twigs = [[5, 1, 0], [5, 2, 0], [5, 3, 0], [10, 1, 0], [10, 2, 0], [10, 3, 0], *[[15, i, 0] for i in range(1, 10)]]
    points = np.concatenate([line(*range(21)), np.array(twigs, float)])
    pairs = [[5, 21], [21, 22], [22, 23], [10, 24], [24, 25], [25, 26], [15, 27], *[[i, i + 1] for i in range(27, 35)]]
    edges = np.concatenate([chain(21), pairs])
    seams = np.zeros(36, bool)
    seams[[0, 23, 35]] = True
    kept = sk.without_seams(points, edges, np.full(36, 4.0), seams)
    assert sorted(map(tuple, edges.tolist())) == sorted([*map(tuple, kept.tolist()), (5, 21), (21, 22), (22, 23)])
    assert len(sk.without_seams(points, edges, np.full(36, 2.9), seams)) == len(edges)
    assert len(sk.without_seams(points, edges, np.full(36, 9.5), seams)) == len(edges) - 12
    assert sk.without_seams(points, edges, np.full(36, 9.5), np.zeros(36, bool)) is edges


def test_a_line_beside_a_line_goes_however_long_it_is() -> None:
    #  two lines 3 apart that are joined at one end; what covers a twig must not be gone itself
    points = np.concatenate([line(*range(30)), line(*range(30), y=3)])
    edges = np.concatenate([chain(30), chain(29, 30), [[5, 35]]])
    seams = np.arange(60) >= 30
    kept = sk.without_seams(points, edges, np.full(60, 4.0), seams)
    assert kept.tolist() == chain(30).tolist()
    both = sk.without_seams(points, edges, np.full(60, 4.0), np.ones(60, bool))
    assert len(np.unique(points[np.unique(both), 0])) == 30


def test_short_parts_go_and_no_bare_vertex_is_left() -> None:
    points = np.concatenate([line(0, 10, 20), line(0, 10, y=500), line(3, y=900)])
    edges = np.concatenate([chain(3), chain(2, 3)])
    kept, left = sk.tidy(points, edges, np.ones(6), np.zeros(6, bool), sk.Cleaning(min_length=15))
    assert kept.tolist() == [0, 1, 2]
    assert left.tolist() == [[0, 1], [1, 2]]
    nothing = sk.tidy(points, edges, np.ones(6), np.zeros(6, bool), sk.Cleaning(min_length=1e6))
    assert [len(part) for part in nothing] == [0, 0]


def test_tidying_a_mesh_of_lines_leaves_a_tree_of_whole_length() -> None:
    xy = np.argwhere(np.ones((6, 6)))
    points = np.column_stack([xy, np.zeros(36)]) * 10.0
    near = [(i, j) for i in range(36) for j in range(i) if np.abs(xy[i] - xy[j]).sum() == 1]
    kept, edges = sk.tidy(points, np.array(near), np.arange(36) + 1.0, np.zeros(36, bool), sk.Cleaning())
    assert len(edges) == 35
    assert len(kept) == 36
    assert length(points[kept], edges) == pytest.approx(350)
