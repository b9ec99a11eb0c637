"""Parquet files each byte of which is vouched for before it is decoded, and of which any columns are read alone.

A damaged file ends the process that decodes it, if it does not give wrong values. So between the data and the footer,
where readers of Parquet do not look, lie: a digest of each column chunk (BLAKE3, 8 bytes), in their order; a digest
of these digests and of the footer with all that follows it (16 bytes); how many bytes the digests take (uint32).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Mapping
from io import SEEK_CUR, SEEK_END, SEEK_SET, BytesIO, RawIOBase
from typing import Any, NamedTuple

from blake3 import blake3

from igneous_ng.errors import DataError
from igneous_ng.formats.arrow import arrow

Read = Callable[[int, int], bytes]
"""Gives the bytes ``[start, stop)`` of a file."""

_SHORT = 8  # bytes of the digest of a column chunk
_SEAL, _END = struct.Struct("<16sI"), struct.Struct("<I4s")
_TAIL = 1 << 16  # bytes that are read at first


def seal(sink: BytesIO) -> bytes:
    """The Parquet file in ``sink`` with its digests; its first column has statistics."""
    metadata, data = arrow().parquet.read_metadata(sink), sink.getbuffer()
    chunks = (chunk for group in range(metadata.num_row_groups) for chunk in _chunks(metadata, group))
    footer = bytes(data[-_END.size - _END.unpack(data[-_END.size :])[0] :])
    digests = b"".join(_short(data[chunk.start : chunk.stop]) for chunk in chunks)
    data.release()
    sink.seek(-len(footer), SEEK_END)
    sink.write(digests + _SEAL.pack(_long(digests + footer), len(digests)) + footer)
    return sink.getvalue()


def _short(data: bytes | memoryview) -> bytes:
    return blake3(data).digest(length=_SHORT)


def _long(data: bytes) -> bytes:
    return blake3(data).digest(length=16)


class _Chunk(NamedTuple):
    """A column chunk: the column of lines that it belongs to, its bytes, and its number in the file."""

    column: str
    start: int
    stop: int
    number: int


def _chunks(metadata: Any, group: int) -> list[_Chunk]:
    """The column chunks of a row group, in the order of the file; the first of all has the bytes before it, too."""
    row_group = metadata.row_group(group)
    chunks = [row_group.column(number) for number in range(row_group.num_columns)]
    starts = [chunk.dictionary_page_offset or chunk.data_page_offset for chunk in chunks]
    stops = [start + chunk.total_compressed_size for chunk, start in zip(chunks, starts, strict=True)]
    columns = [chunk.path_in_schema.partition(".")[0] for chunk in chunks]
    numbers = range(group * len(chunks), (group + 1) * len(chunks))
    if group == 0:
        starts[0] = 0
    return list(map(_Chunk, columns, starts, stops, numbers))


class Sealed:
    """A file of ``size`` bytes, of which ``read`` gives parts; DataError, naming ``where``, if it is damaged."""

    def __init__(self, read: Read, size: int, where: str) -> None:
        self._read, self._size, self._where, self._parquet = read, size, where, arrow().parquet
        footer, self._digests = self._open()
        self._metadata = self._parquet.read_metadata(BytesIO(footer))

    def _open(self) -> tuple[bytes, bytes]:
        """The footer and the digests, as they were written."""
        tail = self._last(_TAIL)
        if len(tail) >= _END.size:
            at = _END.size + _END.unpack(tail[-_END.size :])[0] + _SEAL.size
            tail = self._last(at, tail)
            if len(tail) >= at:
                seal, length = _SEAL.unpack(tail[-at : _SEAL.size - at])
                tail = self._last(at + length, tail)
                footer, digests = tail[_SEAL.size - at :], tail[-at - length : -at]
                if _long(digests + footer) == seal:
                    return footer, digests
        raise self.damaged("no digest of its footer")

    def _last(self, size: int, tail: bytes = b"") -> bytes:
        """The last ``size`` bytes of the file or more, as far as there are so many; ``tail`` is known of them."""
        start, stop = max(0, self._size - size), self._size - len(tail)
        return self._read(start, stop) + tail if start < stop else tail

    def damaged(self, found: str) -> DataError:
        """What is to be raised where something is not as it was written."""
        return DataError(f"{self._where}: damaged, or not a file of records ({found}); restore it")

    @property
    def groups(self) -> int:
        """How many row groups there are."""
        return int(self._metadata.num_row_groups)

    def ends(self, group: int) -> tuple[Any, Any]:
        """The least and the greatest value of the first column in a row group."""
        found = self._metadata.row_group(group).column(0).statistics
        return found.min, found.max

    def table(self, group: int, columns: Collection[str]) -> Any:
        """Some columns of a row group."""
        chunks = [chunk for chunk in _chunks(self._metadata, group) if chunk.column in columns]
        held = _Held(self._size, self._fetch(chunks))
        file = self._parquet.ParquetFile(held, metadata=self._metadata, pre_buffer=False)
        return file.read_row_group(group, columns=list(columns), use_threads=False)

    def _fetch(self, chunks: list[_Chunk]) -> dict[int, bytes]:
        """The bytes of ``chunks`` by their places; those that touch are read at once."""
        found: dict[int, bytes] = {}
        for run in _touching(chunks):
            start = run[0].start
            data = self._read(start, run[-1].stop)
            for chunk in run:
                found[chunk.start] = self._checked(chunk, data[chunk.start - start : chunk.stop - start])
        return found

    def _checked(self, chunk: _Chunk, data: bytes) -> bytes:
        if _short(data) != self._digests[chunk.number * _SHORT : (chunk.number + 1) * _SHORT]:
            raise self.damaged(f"not the bytes that were written, {chunk.start} to {chunk.stop - 1}")
        return data


def _touching(chunks: list[_Chunk]) -> list[list[_Chunk]]:
    """Those that follow one another without a gap, together."""
    runs: list[list[_Chunk]] = []
    for chunk in chunks:
        if runs and runs[-1][-1].stop == chunk.start:
            runs[-1].append(chunk)
        else:
            runs.append([chunk])
    return runs


class _Held(RawIOBase):
    """Parts of a file of ``size`` bytes, by their places, to be read as if all of it were there."""

    def __init__(self, size: int, parts: Mapping[int, bytes]) -> None:
        super().__init__()
        self._size, self._parts, self._at = size, parts, 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """The place from which is read."""
        return self._at

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        """Go to a place."""
        self._at = offset + {SEEK_SET: 0, SEEK_CUR: self._at, SEEK_END: self._size}[whence]
        return self._at

    def read(self, size: int = -1) -> bytes:
        """So many bytes of the part there."""
        start = max((place for place in self._parts if place <= self._at), default=0)
        data = self._parts[start][self._at - start :][: size if size >= 0 else None]
        self._at += len(data)
        return data
