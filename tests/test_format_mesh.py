from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from igneous_ng.errors import DataError
from igneous_ng.formats import mesh

Array = npt.NDArray[Any]
vertices = hnp.arrays(np.int64, st.tuples(st.integers(1, 9), st.just(3)), elements=st.integers(-(2**29), 2**29))


@settings(deadline=None)
@given(vertices=vertices, data=st.data())
def test_a_piece_comes_back(vertices: Array, data: st.DataObject) -> None:
    shape = st.tuples(st.integers(0, 9), st.just(3))
    faces = data.draw(hnp.arrays(np.uint32, shape, elements=st.integers(0, len(vertices) - 1)))
    again = mesh.decode_piece(mesh.encode_piece(mesh.Lattice(vertices, faces)), "x")
    assert np.array_equal(again.vertices, vertices)
    assert np.array_equal(again.faces, faces)
    assert (again.vertices.dtype.name, again.faces.dtype.name) == ("int64", "uint32")


def test_pieces_that_are_none_are_refused() -> None:
    good = mesh.encode_piece(mesh.Lattice(np.zeros((2, 3), np.int64), np.zeros((1, 3), np.uint32)))
    beyond = mesh.encode_piece(mesh.Lattice(np.zeros((2, 3), np.int64), np.full((1, 3), 2, np.uint32)))
    for data in (b"", good[:-1], b"\xff" + good[1:], beyond):
        with pytest.raises(DataError, match=r"^here: .*forge this cell again"):
            mesh.decode_piece(data, "here")


def test_the_legacy_layout_is_count_positions_triangles() -> None:
    points = np.array([[1, 2, 3], [4, 5, 6.5]])
    data = mesh.encode(points, np.array([[0, 1, 0]]))
    assert data == b"\2\0\0\0" + points.astype("<f4").tobytes() + b"\0\0\0\0\1\0\0\0\0\0\0\0"
    again, faces = mesh.decode(data, "x")
    assert again.tolist() == points.tolist()
    assert faces.tolist() == [[0, 1, 0]]


@pytest.mark.parametrize("data", [b"", b"\1\0\0\0", b"\0\0\0\0abc"])
def test_a_torn_mesh_is_refused(data: bytes) -> None:
    with pytest.raises(DataError, match=r"^here: .*merge it again"):
        mesh.decode(data, "here")


def test_names_hold_every_bit_of_a_label() -> None:
    assert json.loads(mesh.manifest(2**64 - 1)) == {"fragments": [mesh.fragment_name(2**64 - 1)]}
    assert mesh.fragment_name(2**64 - 1) == "18446744073709551615.mesh"
    assert mesh.manifest_name(2**64 - 1) == "18446744073709551615:0"
    assert mesh.info(2) == {"@type": "neuroglancer_legacy_mesh", "mip": 2}
