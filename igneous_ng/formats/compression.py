"""Compression of whole objects and of parts of shards: bytes to bytes, the same each time.

Deflate is written by libdeflate, and for grain by a kernel of our own: the same stream on every processor, in the
format of all readers of gzip, in less time than zlib takes. ``docs/design/009`` has the figures.
"""

from __future__ import annotations

import gzip
import struct
from typing import Literal

from igneous_ng.errors import DataError
from igneous_ng.native import huffman

Compression = Literal["gzip", "brotli", "zstd", "none"]
SUFFIXES: dict[Compression, str] = {"none": "", "gzip": ".gz", "brotli": ".br", "zstd": ".zstd"}
"""What the name of a file ends in: as CloudVolume and CloudFiles name and read them."""
ENCODINGS: dict[Compression, str | None] = {"none": None, "gzip": "gzip", "brotli": "br", "zstd": "zstd"}
"""Content encodings of HTTP, which object stores keep beside an object."""

_GZIP_MAGIC = b"\x1f\x8b\x08"
_GZIP_HEADER = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"  # deflate, neither name nor time, of no system
_SAMPLED, _SAMPLE = 1 << 16, 1 << 12  # of so many bytes, so many are looked at
_SLACK = 1.03
_DEFLATE_MOST = 1032  # bytes that one byte can stand for
_GZIP_LEVEL, _BROTLI_QUALITY, _ZSTD_LEVEL = 6, 5, 3


def compressed(data: bytes, how: Compression) -> bytes:
    """``data`` compressed; the same bytes every time (no clock in the gzip header)."""
    if how == "gzip":
        return _gzip(data)
    if how == "brotli":
        import brotli

        return bytes(brotli.compress(data, quality=_BROTLI_QUALITY))
    if how == "zstd":
        import zstandard

        return bytes(zstandard.ZstdCompressor(_ZSTD_LEVEL, write_checksum=True).compress(data))
    return data


def _gzip(data: bytes) -> bytes:
    """By libdeflate, or where looking for repeats would gain next to nothing, as in grain, by a Huffman code alone."""
    import deflate

    if len(data) < _SAMPLED or not _grainy(data):
        return bytes(deflate.gzip_compress(data, _GZIP_LEVEL))
    return _GZIP_HEADER + huffman.deflate(data) + struct.pack("<II", deflate.crc32(data), len(data) & 0xFFFFFFFF)


def _grainy(data: bytes) -> bool:
    """Whether a sample of ``data`` is hardly smaller with repeats than without."""
    import deflate

    sample = b"".join(data[at : at + _SAMPLE] for at in range(0, len(data), _SAMPLED))
    return len(huffman.deflate(sample)) <= _SLACK * len(deflate.deflate_compress(sample, _GZIP_LEVEL))


def decompressed(data: bytes, how: Compression, where: str) -> bytes:
    """What was compressed; DataError, naming ``where``, if it is torn."""
    try:
        if how == "gzip":
            return _gunzip(data)
        if how == "brotli":
            import brotli

            return bytes(brotli.decompress(data))
        return _unzstd(data) if how == "zstd" else data
    except Exception as error:  # brotli's own has no public base
        raise DataError(f"{where}: not a whole {how} stream ({error}); write it again") from error


def _gunzip(data: bytes) -> bytes:
    """By libdeflate, which trusts the length at the end and overlooks what follows the first member; else by zlib."""
    import deflate

    if not data:
        raise ValueError("it is empty")
    length = int.from_bytes(data[-4:], "little")
    if not _joined(data) and 0 < length <= _DEFLATE_MOST * len(data):  # 0: nothing, or a torn end
        content = bytes(deflate.gzip_decompress(data))
        if data[-8:-4] == deflate.crc32(content).to_bytes(4, "little"):
            return content
    return gzip.decompress(data)


def _joined(data: bytes) -> bool:
    """Whether there may be a second member: its head is looked for, in a fourth of the time that ``find`` takes."""
    import numpy as np  # the supervisor has none

    one, two, three = (np.frombuffer(data, np.uint8)[at:] for at in range(1, 4))
    return bool(((one[:-2] == _GZIP_MAGIC[0]) & (two[:-1] == _GZIP_MAGIC[1]) & (three == _GZIP_MAGIC[2])).any())


def _unzstd(data: bytes) -> bytes:
    import zstandard

    stream = zstandard.ZstdDecompressor().decompressobj()  # knows frames that do not tell their size, too
    content = bytes(stream.decompress(data))
    if not stream.eof or stream.unused_data:
        raise ValueError("it ends too early or too late")
    return content
