from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import fragments, multires
from igneous_ng.formats.multires import Level

Array = npt.NDArray[Any]
places = st.lists(st.tuples(*[st.integers(0, 2**32 - 1)] * 3), max_size=4, unique=True)


@settings(deadline=None)
@given(data=st.data(), boxes=st.lists(places, max_size=3))
def test_a_manifest_comes_back(data: st.DataObject, boxes: list[Any]) -> None:
    levels = [
        Level(2.0**i, tuple(level), tuple(data.draw(st.binary(max_size=5)) for _ in level))
        for i, level in enumerate(boxes)
    ]
    manifest, body = multires.encode((-1.5, 2, 3), (4, 5, 6), levels)
    again = multires.decode(manifest, "x")
    assert (again.origin, again.chunk) == ((-1.5, 2, 3), (4, 5, 6))
    assert again.scales == tuple(level.scale for level in levels)
    assert again.bytes == len(body)
    for i, level in enumerate(levels):
        found = [(place, body[a:b]) for place, (a, b) in again.spans(i)]
        assert found == list(zip(level.places, level.fragments, strict=True))


@settings(deadline=None)
@given(cut=st.integers(0, 200), more=st.binary(max_size=3), flipped=st.integers(0, 60))
def test_a_damaged_manifest_is_refused_or_another(cut: int, more: bytes, flipped: int) -> None:
    good, _ = multires.encode((0, 0, 0), (1, 1, 1), [Level(1, ((0, 0, 0), (1, 0, 0)), (b"a", b"bc")), Level(2, (), ())])
    for bad in (good[:cut], good + more + b"x", good[:flipped] + b"\xff" + good[flipped + 1 :]):
        try:
            assert isinstance(multires.decode(bad, "here").bytes, int)
        except DataError as error:
            assert "here: not the manifest" in str(error)  # noqa: PT017 - it may be another manifest
    with pytest.raises(DataError):
        multires.decode(good[:-1], "here")


def test_a_fragment_comes_back_as_the_same_triangles() -> None:
    rng = np.random.default_rng(0)
    vertices = rng.integers(0, 65536, (30, 3))
    faces = rng.permuted(np.tile(np.arange(30, dtype=np.uint32), (20, 1)), axis=1)[:, :3]
    again, triangles = multires.decode_fragment(multires.encode_fragment(vertices, faces), "x")
    assert turned(again[triangles]) == turned(vertices[faces])
    assert [len(a) for a in multires.decode_fragment(b"", "x")] == [0, 0]
    with pytest.raises(DataError, match="^here: not a fragment"):
        multires.decode_fragment(b"DRACO and no more", "here")


def turned(triangles: Array) -> list[Any]:
    """Triangles from their least corner on, sorted: their order and where they begin mean nothing."""
    found = [tuple(map(tuple, t)) for t in triangles.tolist()]
    return sorted(min(t, t[1:] + t[:1], t[2:] + t[:2]) for t in found)


def test_info_says_what_readers_need() -> None:
    made = multires.info(2, fragments.shards(32))
    assert (made["@type"], made["vertex_quantization_bits"]) == ("neuroglancer_multilod_draco", 16)
    assert (made["sharding"]["shard_bits"], made["sharding"]["hash"]) == (5, "murmurhash3_x86_128")
    assert "sharding" not in multires.info(2, None)


@settings(deadline=None)
@given(labels=st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=20), bits=st.integers(0, 12))
def test_a_bucket_is_a_shard(labels: list[int], bits: int) -> None:
    keys = np.array(labels, np.uint64)
    assert fragments.bucket_of(keys, 1 << bits).tolist() == fragments.shards(1 << bits).locate(keys)[0].tolist()


def test_other_numbers_of_buckets_make_no_shards() -> None:
    with pytest.raises(SpecError, match="3 buckets.*power of two"):
        fragments.shards(3)
