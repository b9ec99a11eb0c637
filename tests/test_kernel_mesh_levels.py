from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igneous_ng.errors import DataError
from igneous_ng.geometry import Vec3f
from igneous_ng.kernels import mesh_levels
from igneous_ng.kernels.mesh_levels import Part
from igneous_ng.native.distance import distances
from tests.test_kernel_meshing import blob, closed, is_closed, spread, surfaces, volume

Array = npt.NDArray[Any]


def ball() -> tuple[Array, Array]:
    ((_, (vertices, faces)),) = closed(blob()).items()
    return vertices * 8.0 + [1e6, -2e6, 5], faces


def put_together(parts: list[Part], side: int) -> tuple[Array, Array]:
    """One mesh on the lattice of a level; points at one place are one."""
    points = np.concatenate([part.vertices.astype(np.int64) + side * np.array(part.place) for part in parts])
    starts = np.cumsum([0] + [len(part.vertices) for part in parts[:-1]])
    faces = np.concatenate([part.faces.astype(np.int64) + at for part, at in zip(parts, starts, strict=True)])
    distinct, index = np.unique(points, axis=0, return_inverse=True)
    return distinct, index.ravel()[faces]


@pytest.mark.long
@settings(deadline=None, max_examples=30)
@given(
    chunk=st.tuples(*[st.floats(20, 900)] * 3),
    bits=st.sampled_from([4, 10, 16]),
    level=st.integers(0, 2),
    at=st.integers(0, 9),
)
def test_boxes_put_together_are_the_closed_surface(chunk: Vec3f, bits: int, level: int, at: int) -> None:
    vertices, faces = ball()
    origin = mesh_levels.corner([(vertices - at, faces)])
    parts = mesh_levels.parts((vertices, faces), origin, chunk, level, bits)
    side = (1 << bits) - 1
    points, triangles = put_together(parts, side)
    assert is_closed(triangles)
    step = np.array(chunk) * 2**level / side
    placed = points * step + origin
    far = float(np.linalg.norm(step))
    assert distances(vertices[::5], placed, triangles, 100 + 2 * far).max() <= far
    if bits == 16:
        assert np.isclose(volume(placed - origin, triangles), volume(vertices - origin, faces), rtol=1e-3)
        assert surfaces(triangles) == surfaces(faces)
    for part in parts:
        assert part.vertices.max() <= side
        if level:
            high, low = (part.vertices[part.faces] > 1 << bits - 1), (part.vertices[part.faces] < 1 << bits - 1)
            assert not (high.any(axis=1) & low.any(axis=1)).any()


def test_boxes_come_in_the_order_of_a_z_curve_with_their_parents() -> None:
    vertices, faces = ball()
    meshes = [(vertices, faces), (vertices, faces)]
    origin, chunk = mesh_levels.corner(meshes), (40.0, 30.0, 50.0)
    places = [[p.place for p in mesh_levels.parts(m, origin, chunk, i, 10)] for i, m in enumerate(meshes)]
    assert len(places[0]) > 50
    assert mesh_levels.with_parents(places)[0] == places[0]
    codes = [sum((n >> bit & 1) << 3 * bit + axis for axis, n in enumerate(p) for bit in range(9)) for p in places[0]]
    assert codes == sorted(codes)
    assert len(set(codes)) == len(codes)
    assert mesh_levels.with_parents([[(5, 2, 1), (7, 0, 0)], [(0, 0, 0)]])[1] == [(0, 0, 0), (3, 0, 0), (2, 1, 0)]


def test_the_corner_is_a_single_precision_number_below_all() -> None:
    low = np.array([[1e7 + 0.3, -1e7 - 0.3, 0.1]])
    x, y, z = mesh_levels.corner([(low, low[:0])])
    assert (np.array([x, y, z]) <= low[0]).all()
    assert np.array([x, y, z]).astype(np.float32).tolist() == [x, y, z]


def test_levels_go_on_until_few_boxes_hold_an_object() -> None:
    mesh = ball()
    made = mesh_levels.levels(mesh, 8.0, (100.0, 100.0, 100.0), 0)
    assert len(made) == 1 + int(np.ceil(np.log2(np.ptp(mesh[0], axis=0).max() / 100)))
    assert all(len(a[1]) > len(b[1]) for a, b in itertools.pairwise(made))
    for i, (vertices, faces) in enumerate(made[1:], 1):
        assert surfaces(faces) == surfaces(mesh[1])
        assert distances(spread(vertices, faces), *mesh, 1e3).max() < 8 * 2 ** (i + 1)
    assert len(mesh_levels.levels(mesh, 8.0, (1e9, 1e9, 1e9), 0)) == 1
    assert len(mesh_levels.levels(mesh, 8.0, (1e9, 1e9, 1e9), 3)) == 3


def test_an_object_far_larger_than_its_boxes_is_refused() -> None:
    with pytest.raises(DataError, match="larger --chunk"):
        mesh_levels.parts(ball(), (0.0, -2e6, 0.0), (1.0, 1.0, 1.0), 0, 16)
