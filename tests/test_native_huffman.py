"""Deflate without matches, read by zlib and libdeflate."""

from __future__ import annotations

import zlib

import deflate
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from igneous_ng.formats.compression import compressed, decompressed
from igneous_ng.native import huffman


def check(data: bytes) -> bytes:
    stream = huffman.deflate(data)
    assert zlib.decompress(stream, -15) == data
    assert deflate.deflate_decompress(stream, max(1, len(data))) == data
    return stream


@given(st.binary(max_size=2000))
def test_any_bytes_come_back(data: bytes) -> None:
    check(data)


@pytest.mark.parametrize("size", [0, 1, 2, 3, 65535, 65536, 65537, 200_001])
@pytest.mark.parametrize("values", [1, 2, 3, 50, 256])
def test_blocks_of_any_size_come_back(size: int, values: int) -> None:
    check(np.random.default_rng(size).integers(0, values, size).astype("uint8").tobytes())


def test_a_code_that_would_be_too_deep_is_flattened() -> None:
    counts = [1, 1]
    while len(counts) < 22:
        counts.append(counts[-1] + counts[-2])  # each twice as rare as the one before: a code as deep as there are
    data = b"".join(bytes([value]) * count for value, count in enumerate(counts))[: 1 << 16]
    assert len(check(data)) < len(data) / 3


def test_the_size_is_what_entropy_allows() -> None:
    grain = np.clip(np.random.default_rng(0).normal(128, 20, 1 << 18), 0, 255).astype("uint8")
    shares = np.bincount(grain) / len(grain)
    entropy = -np.sum(shares[shares > 0] * np.log2(shares[shares > 0])) * len(grain) / 8
    assert len(check(grain.tobytes())) < 1.01 * entropy


def test_only_grain_is_written_so() -> None:
    rng = np.random.default_rng(0)
    grain = np.clip(rng.normal(128, 20, 1 << 18), 0, 255).astype("uint8").tobytes()
    repeats = rng.integers(0, 256, 1 << 10).astype("uint8").tobytes() * (1 << 8)
    half = grain[: 1 << 17] + bytes(1 << 17)
    for data, own in ((grain, True), (repeats, False), (half, False), (grain[: (1 << 16) - 1], False)):
        stored = compressed(data, "gzip")
        assert (huffman.deflate(data) in stored) == own
        assert zlib.decompress(stored, 31) == decompressed(stored, "gzip", "x") == data
        assert len(stored) <= 1.04 * len(deflate.gzip_compress(data, 6))
