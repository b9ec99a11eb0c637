from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import fragments
from igneous_ng.formats.fragments import Piece

pieces = st.dictionaries(
    st.integers(1, 2**64 - 1),
    st.builds(Piece, st.integers(0, 2**40), st.integers(0, 2**40), st.binary(max_size=40)),
    max_size=12,
)


def read(data: bytes, buckets: int) -> dict[int, Piece]:
    """Everything in a container, through ranged reads, as merging does."""
    found = {}
    for bucket in range(buckets):
        a, b = fragments.table_span(bucket)
        a, b = fragments.index_span(data[a:b], "x")
        entries = fragments.read_index(data[a:b], bucket, buckets, "x")
        assert (np.diff(entries["label"].astype(object)) > 0).all()
        assert (fragments.bucket_of(entries["label"], buckets) == bucket).all()
        for entry in entries:
            a, b = fragments.payload_span(entry)
            payload = fragments.check_payload(data[a:b], entry, "x")
            found[int(entry["label"])] = Piece(int(entry["voxels"]), int(entry["size"]), payload)
    return found


@settings(deadline=None)
@given(pieces=pieces, buckets=st.integers(1, 9))
def test_pieces_come_back_and_order_does_not_matter(pieces: dict[int, Piece], buckets: int) -> None:
    data = fragments.pack(pieces, buckets)
    assert read(data, buckets) == pieces
    assert fragments.pack(dict(reversed(pieces.items())), buckets) == data


def test_buckets_are_about_equally_full() -> None:
    counts = np.bincount(fragments.bucket_of(np.arange(1, 20001), 16))
    assert counts.min() > 1100
    assert counts.max() < 1400


@settings(deadline=None)
@given(data=st.data())
def test_no_damage_passes_unseen(data: st.DataObject) -> None:
    whole = {7: Piece(3, 40, b"abcdef"), 2**64 - 1: Piece(0, 0, b""), 12: Piece(9, 8, b"ghi")}
    packed = bytearray(fragments.pack(whole, 3))
    at = data.draw(st.integers(16, len(packed) - 1))
    packed[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(DataError, match="forge this cell again"):
        read(bytes(packed), 3)


def test_another_number_of_buckets_and_a_short_file_are_refused() -> None:
    data = fragments.pack({1: Piece(1, 1, b"x")}, 4)
    with pytest.raises(DataError, match=r"x: .*forge this cell again"):
        read(data, 5)
    with pytest.raises(DataError, match="too short"):
        fragments.index_span(b"", "x")


@pytest.mark.parametrize("size", [0, 10**8, 10**12])
def test_several_shards_lie_in_one_bucket(size: int) -> None:
    labels = np.random.default_rng(1).integers(1, 2**64, 20_000, dtype=np.uint64)
    spec = fragments.spec_for(16, size)
    shards, homes = spec.locate(labels)[0], fragments.bucket_of(labels, 16)
    for shard in np.unique(shards):
        assert len(np.unique(homes[shards == shard])) == 1
    assert size / 2 < (32 << 20 << (spec.shard_bits - 4)) <= max(2 * size, 32 << 20)
    with pytest.raises(SpecError, match="power of two"):
        fragments.spec_for(12, size)
