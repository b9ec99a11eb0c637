from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from igneous_ng.errors import DataError
from igneous_ng.geometry import Vec3, vec
from igneous_ng.kernels import meshing
from igneous_ng.native import simplify
from igneous_ng.native.distance import distances

Array = npt.NDArray[Any]
small = hnp.arrays(np.uint16, st.tuples(*[st.integers(1, 7)] * 3), elements=st.integers(0, 3))
relaxed = settings(deadline=None, max_examples=60)


def volume(vertices: Array, faces: Array) -> float:
    """Enclosed volume, by the divergence theorem."""
    a, b, c = (vertices[faces[:, i]].astype(float) for i in range(3))
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)


def directed_edges(faces: Array) -> Array:
    return np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).astype(np.int64)


def is_closed(faces: Array) -> bool:
    """Whether every edge is walked equally often both ways."""
    edges = directed_edges(faces)
    there, back = (
        np.unique(edges, axis=0, return_counts=True),
        np.unique(edges[:, ::-1], axis=0, return_counts=True),
    )
    return np.array_equal(there[0], back[0]) and np.array_equal(there[1], back[1])


def faces_per_edge(faces: Array) -> set[int]:
    return set(np.unique(np.sort(directed_edges(faces), axis=1), axis=0, return_counts=True)[1].tolist())


ENDS = (True, True, True)
INSIDE = (False, False, False)


def closed(labels: Array) -> dict[int, meshing.Mesh]:
    """Closed surfaces, in half voxels from the corner of the array."""
    found = meshing.march(labels, (0, 0, 0), shape(labels), ENDS, ENDS)
    return {one.label: meshing.join([one.piece]) for one in found}


def shape(labels: Array) -> Vec3:
    return vec(labels.shape)


def euler(vertices: Array, faces: Array) -> int:
    """Vertices - edges + faces: twice the number of closed parts less twice their holes."""
    return len(vertices) - len(np.unique(np.sort(directed_edges(faces), axis=1), axis=0)) + len(faces)


def blob(shape: tuple[int, int, int] = (44, 40, 24)) -> Array:
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(np.random.default_rng(3).normal(size=shape), (5, 5, 2))
    return np.asarray(noise > noise.std() * 0.5).astype(np.uint8)


def test_a_box_of_voxels_has_its_own_walls() -> None:
    labels = np.zeros((30, 30, 30), np.uint8)
    labels[10:20, 11:13, 4:9] = 7
    vertices, faces = closed(labels)[7]
    assert (vertices.min(axis=0) == [20, 22, 8]).all()
    assert (vertices.max(axis=0) == [40, 26, 18]).all()
    assert faces_per_edge(faces) == {2}
    assert 0.9 * 100 < volume(vertices / 2, faces) < 100  # corners are bevelled; outward is positive


@relaxed
@given(labels=small)
def test_every_label_has_a_manifold_surface_around_its_voxels(labels: Array) -> None:
    meshes = closed(labels)
    assert set(meshes) == set(np.unique(labels).tolist()) - {0}
    for label, (vertices, faces) in meshes.items():
        assert is_closed(faces)
        assert faces_per_edge(faces) == {2}
        where = np.argwhere(labels == label)
        assert (vertices.min(axis=0) == 2 * where.min(axis=0)).all()
        assert (vertices.max(axis=0) == 2 * where.max(axis=0) + 2).all()


def test_a_surface_parts_inside_from_outside_at_every_corner_of_every_cube() -> None:
    for inside in range(1, 255):
        labels = np.array([inside >> i & 1 for i in range(8)], np.uint8).reshape((2, 2, 2), order="F")
        vertices, faces = closed(labels)[1]
        _, parts = cc3d_parts(labels)
        assert faces_per_edge(faces) == {2}
        assert parts == surfaces(faces)  # corners that touch along an edge are one, others are not
        assert volume(vertices / 2, faces) > 0


def cc3d_parts(labels: Array) -> tuple[Array, int]:
    from scipy.ndimage import label

    found: tuple[Array, int] = label(labels)
    return found


def surfaces(faces: Array) -> int:
    """How many connected surfaces there are."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    edges = directed_edges(faces)
    graph = coo_array((np.ones(len(edges)), tuple(edges.T)))
    return int(connected_components(graph, directed=False)[0])


@relaxed
@given(labels=small, own=st.tuples(*[st.integers(0, 7)] * 3))
def test_voxels_are_counted_where_the_box_owns_them(labels: Array, own: Vec3) -> None:
    own = vec(min(a, b) for a, b in zip(own, labels.shape, strict=True))
    mine = labels[: own[0], : own[1], : own[2]]
    found = {one.label: one.voxels for one in meshing.march(labels, (0, 0, 0), own, INSIDE, INSIDE)}
    assert found == {label: int((mine == label).sum()) for label in np.unique(labels).tolist() if label}


@relaxed
@given(
    labels=small,
    cut=st.tuples(*[st.integers(1, 4)] * 3),
    at=st.tuples(*[st.integers(-9, 9)] * 3),
    seed=st.integers(0, 9),
)
def test_cells_join_to_the_mesh_of_the_whole(labels: Array, cut: Vec3, at: Vec3, seed: int) -> None:
    whole = np.pad(labels, 1)
    pieces: dict[int, list[meshing.Piece]] = {}
    for corner in np.ndindex(*(-(-n // c) for n, c in zip(whole.shape, cut, strict=True))):
        lo = vec(np.multiply(corner, cut).tolist())
        cell = whole[tuple(slice(a, a + c + 1) for a, c in zip(lo, cut, strict=True))]
        place = vec(a - 1 + b for a, b in zip(lo, at, strict=True))
        for one in meshing.march(cell, place, shape(cell), INSIDE, INSIDE):
            if one.piece.code:
                pieces.setdefault(one.label, []).append(one.piece)
    expected = closed(labels)
    assert set(pieces) == set(expected)
    for label, parts in pieces.items():
        np.random.default_rng(seed).shuffle(parts)
        vertices, faces = meshing.join(parts)
        assert np.array_equal(vertices - 2 * np.array(at), expected[label][0])
        assert np.array_equal(faces, expected[label][1])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.uint64])
@pytest.mark.parametrize("order", ["C", "F"])
def test_the_largest_labels_keep_their_names(dtype: type, order: Any) -> None:
    top = int(np.iinfo(dtype).max)
    labels: Array = np.zeros((5, 5, 5), dtype, order)
    labels[1, 1, 1], labels[3, 3, 3] = top, top - 1
    assert list(closed(labels)) == [top - 1, top]


def test_a_label_without_a_surface_has_voxels_and_no_code() -> None:
    (one,) = meshing.march(np.full((4, 4, 4), 5, np.uint32), (0, 0, 0), (4, 4, 3), INSIDE, INSIDE)
    assert (one.label, one.voxels, one.triangles, one.piece.code) == (5, 48, 0, b"")
    assert [len(a) for a in meshing.join([])] == [0, 0]


def test_triangles_are_counted() -> None:
    (one,) = meshing.march(blob(), (0, 0, 0), (0, 0, 0), ENDS, ENDS)
    assert one.triangles == len(meshing.join([one.piece])[1])


@pytest.mark.parametrize("code", [b"\x00", b"\x80", b"\x7f\x01", b"\xff" * 12, b"\x08\x01"])
def test_a_damaged_code_is_refused(code: bytes) -> None:
    with pytest.raises(DataError, match="damaged"):
        meshing.join([meshing.Piece((0, 0, 0), (2, 2, 2), code)])


@settings(deadline=None)
@given(code=st.binary(max_size=60), cubes=st.tuples(*[st.integers(-1, 5)] * 3), corner=st.integers(-(2**62), 2**62))
def test_any_code_is_a_mesh_or_refused(code: bytes, cubes: Vec3, corner: int) -> None:
    try:
        vertices, faces = meshing.join([meshing.Piece((corner, 0, 0), cubes, code)])
    except DataError:
        return
    assert faces.size == 0 or faces.max() < len(vertices)


def test_what_cannot_be_numbered_is_refused() -> None:
    far = [meshing.Piece((at, at, at), (1, 1, 1), b"\0\1") for at in (0, 1 << 22)]
    with pytest.raises(DataError, match="too many voxels"):
        meshing.join(far)


@pytest.mark.parametrize("max_error", [10.0, 40.0])
def test_simplification_keeps_the_surface_closed_and_near(max_error: float) -> None:
    resolution = np.array([16.0, 16.0, 40.0])
    ((_, (lattice, faces)),) = closed(blob()).items()
    vertices = lattice * resolution / 2 + [1e6, -2e6, 3e6]
    simple, fewer = meshing.simplify(vertices, faces, max_error, 100)
    assert len(fewer) < len(faces) / (2 if max_error == 10 else 8)
    assert faces_per_edge(fewer) == {2}
    assert is_closed(fewer)
    assert euler(simple, fewer) == euler(vertices, faces)
    assert surfaces(fewer) == surfaces(faces)
    assert abs(volume(simple, fewer) / volume(vertices, faces) - 1) < 0.02
    assert distances(vertices, simple, fewer, 10 * max_error).max() <= max_error
    assert distances(spread(simple, fewer), vertices, faces, 10 * max_error).max() <= max_error


def spread(vertices: Array, faces: Array, each: int = 8) -> Array:
    """Points all over the faces."""
    rays = np.random.default_rng(0).dirichlet([1, 1, 1], len(faces) * each)
    points: Array = np.einsum("ni,nij->nj", rays, np.repeat(vertices[faces], each, axis=0))
    return points


def test_a_spike_is_kept_where_it_is_longer_than_the_error() -> None:
    labels = np.zeros((60, 60, 40), np.uint8)
    labels[:, :, :20] = 1
    labels[30, 30, 20:30] = 1  # thin: next to nothing among the area around it
    ((_, (vertices, faces)),) = closed(labels).items()
    simple, fewer = meshing.simplify(vertices * 8.0, faces, 40, 1000)
    assert len(fewer) < 200
    assert simple[:, 2].max() > 30 * 16 - 40
    assert distances(vertices * 8.0, simple, fewer, 400).max() <= 40


@relaxed
@given(labels=hnp.arrays(np.uint8, st.tuples(*[st.integers(2, 9)] * 3), elements=st.integers(0, 1)))
def test_simplification_keeps_the_topology_of_anything(labels: Array) -> None:
    for vertices, faces in closed(labels).values():
        simple, fewer = meshing.simplify(vertices * 1.0, faces, 3, 1e6)
        assert faces_per_edge(fewer) == {2}
        assert is_closed(fewer)
        assert (euler(simple, fewer), surfaces(fewer)) == (euler(vertices, faces), surfaces(faces))
        assert len(np.unique(fewer)) == len(simple)


def test_what_forms_no_closed_fan_stays() -> None:
    ((_, (vertices, faces)),) = closed(blob()).items()
    points, cut = vertices * 1.0, faces[vertices[faces][..., 2].max(axis=1) <= 20]
    used = np.unique(cut)
    points, cut = points[used], np.searchsorted(used, cut)
    ends = np.unique(np.concatenate([edge for edge in directed_edges(cut) if not has(cut, edge[::-1])]))
    assert len(ends) > 10
    simple, fewer = meshing.simplify(points, cut, 10, 100)
    assert len(fewer) < len(cut) / 2
    assert {tuple(p) for p in points[ends].tolist()} <= {tuple(p) for p in simple.tolist()}
    twice = np.concatenate([faces, faces[:1]])  # an edge of three faces
    kept = {tuple(p) for p in vertices[faces[0]].tolist()}
    assert kept <= {tuple(p) for p in meshing.simplify(vertices * 1.0, twice, 10, 100)[0].tolist()}


def has(faces: Array, edge: Array) -> bool:
    return bool((directed_edges(faces) == edge).all(axis=1).any())


def test_simplification_stops_at_the_number_asked_for_and_repeats_itself() -> None:
    ((_, (vertices, faces)),) = closed(blob()).items()
    runs = [meshing.simplify(vertices * 1.0, faces, 1e3, 4) for _ in range(2)]
    assert len(runs[0][1]) in (len(faces) // 4, len(faces) // 4 - 1)
    assert all(np.array_equal(a, b) for a, b in zip(*runs, strict=True))


def test_simplification_never_loses_an_object() -> None:
    labels = np.zeros((3, 3, 3), np.uint8)
    labels[1, 1, 1] = 1
    ((_, (vertices, faces)),) = closed(labels).items()
    simple, left = meshing.simplify(vertices * 1.0, faces, 1e6, 1e6)
    assert len(left) >= 4
    assert volume(simple, left) > 0
    assert meshing.simplify(vertices, faces, 0, 100)[1] is faces


@pytest.mark.parametrize(
    ("vertices", "faces"),
    [(np.zeros((3, 2)), np.zeros((1, 3))), (np.zeros((3, 3)), np.full((1, 3), 3)), (np.zeros(3), np.zeros((1, 3)))],
)
def test_what_is_no_mesh_is_refused(vertices: Array, faces: Array) -> None:
    with pytest.raises(ValueError, match="vertices|no vertex"):
        simplify.simplify(vertices, faces.astype(np.uint32), 1.0, 4)


@pytest.mark.long
@relaxed
@given(seed=st.integers(0, 99), reach=st.floats(0.05, 3))
def test_distances_are_those_to_the_nearest_triangle(seed: int, reach: float) -> None:
    rng = np.random.default_rng(seed)
    vertices, faces = rng.normal(size=(30, 3)), rng.integers(0, 30, (12, 3)).astype(np.uint32)
    points = rng.normal(size=(40, 3)) * 2
    fine = rng.dirichlet([0.7, 0.7, 0.7], 4000)
    sampled = np.concatenate([fine @ vertices[face] for face in faces])
    near = np.sqrt(((points[:, np.newaxis] - sampled) ** 2).sum(axis=2)).min(axis=1)
    found = distances(points, vertices, faces, reach)
    inside = np.isfinite(found)
    assert (found[inside] <= near[inside] + 1e-9).all()
    assert (near[inside] - found[inside] < 0.2).all()
    assert (near[~inside] > reach - 1e-9).all()
