from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from igneous_ng.alignment import Alignment, Rough, decode_rough, encode_rough
from igneous_ng.errors import DataError
from igneous_ng.geometry import Box
from igneous_ng.io import IO
from igneous_ng.kernels import fields
from igneous_ng.warps import Warp
from igneous_ng.windows import CRACK, FOLD, TISSUE, VOID, Windows
from tests.alignments import begun, stack
from tests.alignments import fields as put
from tests.montages import scenery

TURNED = Rough(np.array([[0.0, -1.0], [1.0, 0.0]]), np.array([199.0, 0.0]), 1, 3, True)


def test_rough_maps_are_records_each_read_by_itself(tmp_path: Path) -> None:
    maps = [Rough(np.eye(2), np.array([1.5, -2.0]), source=7), TURNED]
    assert str(decode_rough(encode_rough(-4, maps), "here")) == str((-4, maps))
    home = f"file://{tmp_path}"
    io = IO()
    io.put(f"{home}/rough.affines", encode_rough(0, maps))
    made = Alignment(home, "", (8, 8, 30), Box((0, 0, 0), (9, 9, 2)))
    assert str(made.rough(io, 1)) == str(TURNED)
    assert [entry["span"] for entry in io.ledger.reads] == [[80, 144]]
    with pytest.raises(DataError, match="says nothing of section 2"):
        made.rough(io, 2)
    with pytest.raises(DataError, match="no file of rough maps"):
        decode_rough(b"x" * 100, "here")


def test_rough_maps_go_both_ways() -> None:
    points = np.random.default_rng(0).uniform(-50, 300, (7, 5, 2))
    assert np.allclose(TURNED.section(TURNED.aligned(points)), points, atol=1e-10)
    assert np.allclose(TURNED.aligned(np.array([3.0, 5.0])), [194.0, 3.0])


def test_fields_are_bilinear_and_held_beyond_their_border() -> None:
    nodes = fields.points((-2, 1), (3, 5), 40)
    assert nodes[2, 0].tolist() == [19.5, 59.5]
    linear = nodes @ np.array([[0.1, 0.5], [0.7, -0.2]]) + 3
    at = np.random.default_rng(1).uniform((-60.5, 59.5), (99.5, 179.5), (50, 2))
    assert np.allclose(fields.bilinear(linear, (-2, 1), fields.places(at, 40)), at @ [[0.1, 0.5], [0.7, -0.2]] + 3)
    far = fields.bilinear(linear, (-2, 1), fields.places(np.array([[-500.0, 59.5], [1e4, 1e4]]), 40))
    assert np.allclose(far, linear[[0, -1], [0, -1]])
    assert fields.around(fields.places(at, 40), (-2, 1, 3, 5)) == (-2, 1, 3, 5)
    one = np.ones((1, 1, 2))
    assert fields.bilinear(one, (0, 0), np.array([[5.0, -3.0]])).tolist() == [[1.0, 1.0]]


def test_a_point_is_the_same_whatever_is_asked_for_with_it(tmp_path: Path) -> None:
    layer = stack(tmp_path / "layer", np.zeros((400, 300, 2, 1), np.uint8))
    made = begun(f"file://{tmp_path}/alignment", layer)
    shape = made.new_round(IO(), 1, 0, 40).box.shape
    put(made, 1, 40, "inverse", np.random.default_rng(2).normal(size=(*shape, 2)))
    points = np.random.default_rng(3).uniform(-20, 420, (64, 2))
    whole = Warp(IO(), made, 1, 1).section(points)
    assert all((Warp(IO(), made, 1, 1).section(p) == w).all() for p, w in zip(points, whole, strict=True))


def test_a_window_shows_a_section_as_it_lies(tmp_path: Path) -> None:
    picture = scenery((200, 160))
    picture[100:120, 40:60] = 0  # no tissue
    voxels = np.stack([picture] * 2, axis=2)[..., np.newaxis]
    layer = stack(tmp_path / "layer", voxels, offset=(10, 20, 5))
    codes = np.zeros_like(voxels)
    codes[30:34, :, 0], codes[50:60, 50:60, 1] = FOLD, CRACK
    mask = stack(tmp_path / "mask", codes, offset=(10, 20, 5))
    maps = [Rough(np.eye(2), np.array([4.0, -3.0]), source=5), Rough(np.eye(2), np.zeros(2), source=-1)]
    made = begun(f"file://{tmp_path}/alignment", layer, maps, mask)
    seen = Windows(IO(), made, 0, 0).show(5, (0, 0, 230, 190))
    inner = seen.tissue[14:214, 17:177]
    same = seen.values[14:214, 17:177] == picture
    assert same[inner].all()
    assert not seen.tissue[:14].any()
    assert not seen.tissue[:, 177:].any()
    assert (seen.codes[14 + 30 : 14 + 34, 17:177] == FOLD).all()
    assert (seen.codes[114:134, 57:77] == VOID).all()
    assert 0.9 < inner.mean() < 1
    assert (Windows(IO(), made, 0, 0).show(6, (0, 0, 30, 20)).codes == VOID).all()
    part = Windows(IO(), made, 0, 0).show(5, (37, 41, 130, 99))
    assert (part.values == seen.values[37:130, 41:99]).all()
    assert (part.codes == seen.codes[37:130, 41:99]).all()
    assert (Windows(IO(), made, 0, 0).mask(5, (37, 41, 60, 99))[7:11] == FOLD).all()
    assert TISSUE == 0
