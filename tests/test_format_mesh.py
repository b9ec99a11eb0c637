from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igneous_ng.errors import DataError
from igneous_ng.formats import mesh
from igneous_ng.geometry import Vec3

far = st.tuples(*[st.integers(-(2**63), 2**63 - 1)] * 3)


@settings(deadline=None)
@given(corner=far, cubes=far, code=st.binary())
def test_a_piece_comes_back(corner: Vec3, cubes: Vec3, code: bytes) -> None:
    assert mesh.decode_piece(mesh.encode_piece(corner, cubes, code), "x") == (corner, cubes, code)


def test_pieces_that_are_none_are_refused() -> None:
    good = mesh.encode_piece((0, 0, 0), (2, 2, 2), b"code")
    for data in (b"", good[:-1], good[:40]):
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
