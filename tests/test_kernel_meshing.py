from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from igneous_ng.errors import DataError
from igneous_ng.kernels import meshing

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


def padded(labels: Array) -> dict[int, meshing.Mesh]:
    """Closed surfaces, in half voxels from the unpadded corner."""
    return {label: (v - 2, f) for label, (v, f) in meshing.march(np.pad(labels, 1))}


def blob(shape: tuple[int, int, int] = (44, 40, 24)) -> Array:
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(np.random.default_rng(3).normal(size=shape), (5, 5, 2))
    return np.asarray(noise > noise.std() * 0.5).astype(np.uint8)


def test_a_box_of_voxels_has_its_own_walls() -> None:
    labels = np.zeros((30, 30, 30), np.uint8)
    labels[10:20, 11:13, 4:9] = 7
    vertices, faces = dict(meshing.march(labels))[7]
    assert (vertices.min(axis=0) == [20, 22, 8]).all()
    assert (vertices.max(axis=0) == [40, 26, 18]).all()
    assert faces_per_edge(faces) == {2}
    assert 0.9 * 100 < volume(vertices / 2, faces) < 100  # corners are bevelled; outward is positive


@relaxed
@given(labels=small)
def test_every_label_has_a_closed_surface_around_its_voxels(labels: Array) -> None:
    meshes = padded(labels)
    assert set(meshes) == set(np.unique(labels).tolist()) - {0}
    for label, (vertices, faces) in meshes.items():
        assert is_closed(faces)
        where = np.argwhere(labels == label)
        assert (vertices.min(axis=0) == 2 * where.min(axis=0)).all()
        assert (vertices.max(axis=0) == 2 * where.max(axis=0) + 2).all()


@relaxed
@given(labels=small, cut=st.tuples(*[st.integers(1, 4)] * 3), seed=st.integers(0, 9))
def test_cells_join_to_the_mesh_of_the_whole(labels: Array, cut: tuple[int, int, int], seed: int) -> None:
    whole = np.pad(labels, 1)
    pieces: dict[int, list[meshing.Mesh]] = {}
    for corner in np.ndindex(*(-(-n // c) for n, c in zip(whole.shape, cut, strict=True))):
        lo = np.multiply(corner, cut)
        cell = whole[tuple(slice(a, a + c + 1) for a, c in zip(lo, cut, strict=True))]
        for label, (vertices, faces) in meshing.march(cell):
            pieces.setdefault(label, []).append((vertices + 2 * lo, faces))
    expected = dict(meshing.march(whole))
    assert set(pieces) == set(expected)
    for label, parts in pieces.items():
        np.random.default_rng(seed).shuffle(parts)
        joined = meshing.weld(parts)
        assert all(np.array_equal(a, b) for a, b in zip(joined, expected[label], strict=True))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint32, np.uint64])
def test_the_largest_labels_keep_their_names(dtype: type) -> None:
    top = int(np.iinfo(dtype).max)
    labels: Array = np.zeros((5, 5, 5), dtype)
    labels[1, 1, 1], labels[3, 3, 3] = top, top - 1
    assert [label for label, _ in meshing.march(labels)] == [top - 1, top]


def test_a_label_without_a_surface_is_left_out() -> None:
    assert list(meshing.march(np.full((4, 4, 4), 5, np.uint32))) == []


def test_canonical_welds_drops_and_sorts() -> None:
    vertices = np.array([[2, 0, 0], [0, 0, 0], [0, 2, 0], [0, 0, 0]])
    joined, faces = meshing.canonical(vertices, np.array([[0, 2, 1], [3, 0, 2], [1, 3, 0]]))
    assert joined.tolist() == [[0, 0, 0], [2, 0, 0], [0, 2, 0]]
    assert faces.tolist() == [[0, 1, 2], [0, 1, 2]]
    assert meshing.canonical(vertices, np.zeros((0, 3), np.uint32))[0].shape == (0, 3)


def test_what_cannot_be_numbered_is_refused() -> None:
    with pytest.raises(DataError, match="too large to join"):
        meshing.canonical(np.array([[0, 0, 0], [1 << 22] * 3, [1, 0, 0]]), np.array([[0, 1, 2]]))


@pytest.mark.parametrize("max_error", [10.0, 40.0])
def test_simplification_keeps_the_surface_closed_and_near(max_error: float) -> None:
    from scipy.spatial import cKDTree

    resolution = np.array([16.0, 16.0, 40.0])
    ((_, (lattice, faces)),) = padded(blob()).items()
    vertices = lattice * resolution / 2 + [1e6, -2e6, 3e6]
    simple, fewer = meshing.simplify(vertices, faces, max_error, 100)
    assert len(fewer) < len(faces) / 3
    assert is_closed(fewer)
    assert abs(volume(simple, fewer) / volume(vertices, faces) - 1) < 0.02
    centres = vertices[faces].mean(axis=1)
    rays = np.random.default_rng(0).dirichlet([1, 1, 1], len(fewer) * 8)
    points = np.einsum("ni,nij->nj", rays, np.repeat(simple[fewer], 8, axis=0))
    distance, _ = cKDTree(np.concatenate([vertices, centres])).query(points)
    assert distance.max() < max_error + 20  # the samples of the old surface are up to 20 nm apart


def test_simplification_stops_at_the_number_asked_for_and_repeats_itself() -> None:
    ((_, (vertices, faces)),) = padded(blob()).items()
    runs = [meshing.simplify(vertices * 1.0, faces, 1e3, 4) for _ in range(2)]
    assert len(faces) / 5 < len(runs[0][1]) < len(faces) / 2.5
    assert all(np.array_equal(a, b) for a, b in zip(*runs, strict=True))


def test_simplification_never_loses_an_object() -> None:
    labels = np.zeros((3, 3, 3), np.uint8)
    labels[1, 1, 1] = 1
    ((_, (vertices, faces)),) = meshing.march(labels)
    simple, left = meshing.simplify(vertices * 1.0, faces, 1e6, 1e6)
    assert len(left) >= 4
    assert volume(simple, left) > 0
    assert meshing.simplify(vertices, faces, 0, 100)[1] is faces


def test_fins_are_removed_in_pairs() -> None:
    faces = np.array([[0, 1, 2], [3, 4, 5], [4, 3, 5], [6, 7, 8]], np.uint32)
    assert meshing.without_fins(faces).tolist() == [[0, 1, 2], [6, 7, 8]]
    assert len(meshing.without_fins(np.array([[0, 1, 2], [1, 2, 0]]))) == 2
