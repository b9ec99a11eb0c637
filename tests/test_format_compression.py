"""Compression: the same bytes each time, in the formats of other readers, and tears that are noticed."""

from __future__ import annotations

import gzip
import os
import zlib
from typing import get_args

import brotli
import pytest
import zstandard
from cloudfiles.compression import decompress
from hypothesis import given, settings
from hypothesis import strategies as st

from igneous_ng.errors import DataError
from igneous_ng.formats.compression import ENCODINGS, SUFFIXES, Compression, compressed, decompressed

HOWS: tuple[Compression, ...] = get_args(Compression)
STREAMS: tuple[Compression, ...] = ("gzip", "brotli", "zstd")


@settings(deadline=None)
@given(st.binary(max_size=200) | st.builds(lambda b, n: b * n, st.binary(max_size=9), st.integers(0, 9999)))
def test_what_is_compressed_comes_back_here_and_elsewhere(data: bytes) -> None:
    for how in HOWS:
        stored = compressed(data, how)
        assert stored == compressed(data, how)
        assert decompressed(stored, how, "x") == data
        assert bytes(decompress(stored, ENCODINGS[how])) == data
    assert zlib.decompress(compressed(data, "gzip"), zlib.MAX_WBITS | 16) == data


def test_gzip_knows_neither_clock_nor_name() -> None:
    assert compressed(b"content", "gzip")[:10] == bytes.fromhex("1f8b08000000000000ff")


def test_streams_of_others_are_understood() -> None:
    data = os.urandom(50) * 50
    assert decompressed(gzip.compress(data, 1) + gzip.compress(data, 9), "gzip", "x") == 2 * data
    assert decompressed(2 * gzip.compress(data), "gzip", "x") == 2 * data
    assert decompressed(brotli.compress(data, quality=11), "brotli", "x") == data
    streamed = zstandard.ZstdCompressor(level=19).compressobj()  # it does not tell its size beforehand
    assert decompressed(streamed.compress(data) + streamed.flush(), "zstd", "x") == data


@pytest.mark.parametrize("how", STREAMS)
def test_a_torn_stream_is_bad_data(how: Compression) -> None:
    content = os.urandom(300)
    whole = compressed(content, how)
    for torn in [*(whole[:n] for n in (0, 1, 5, len(whole) // 2, len(whole) - 1)), whole + b"more"]:
        with pytest.raises(DataError, match=f"^file:///a: not a whole {how} stream"):
            decompressed(torn, how, "file:///a")
    if how != "brotli":  # the only one without a checksum
        flipped = bytearray(whole)
        flipped[100] ^= 1
        with pytest.raises(DataError, match=f"not a whole {how} stream"):
            decompressed(bytes(flipped), how, "x")


def test_suffixes_are_those_of_other_tools() -> None:
    from cloudfiles.interfaces import COMPRESSION_EXTENSIONS

    assert list(SUFFIXES) == list(ENCODINGS) == list(HOWS[-1:] + HOWS[:-1])
    assert set(SUFFIXES.values()) <= {"", *COMPRESSION_EXTENSIONS}


def test_an_end_of_zeros_is_no_empty_content() -> None:
    data = compressed(b"some content, and more of it", "gzip")
    with pytest.raises(DataError, match="here"):
        decompressed(data[:-8] + bytes(8), "gzip", "here")
    assert decompressed(compressed(b"", "gzip"), "gzip", "here") == b""
