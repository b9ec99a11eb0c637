"""A stored object as a file: only what is read of it is asked for, and enters the ledger."""

from __future__ import annotations

import io as files
import os
from typing import Any

from igneous_ng import folders
from igneous_ng.errors import DataError
from igneous_ng.io import IO

_BLOCK = 1 << 14  # bytes that are asked for at once where few are wanted
_BLOCKS = 256  # that are kept


class Spanned(files.RawIOBase):
    """The object at ``url``, stored plain, on any store; DataError where there is none.

    Small reads are served from whole blocks, each asked for once; reads of a block and more go to the store.
    """

    def __init__(self, io: IO, url: str) -> None:
        super().__init__()
        size = folders.size(url)
        if size is None:
            raise DataError(f"{url}: the picture is not there; restore it, or leave it out with an override")
        self.name = url
        self.size = size
        self._io = io
        self._at = 0
        self._blocks: dict[int, bytes] = {}

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """The byte that is read next."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go on at another byte."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.size}[whence]
        if start + offset < 0:
            raise ValueError(f"{self.name}: there is no byte {start + offset}")
        self._at = start + offset
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        """The next ``size`` bytes, or all; fewer at the end."""
        left = max(0, self.size - self._at)
        wanted = left if size is None or size < 0 else min(size, left)
        if not wanted:
            return b""
        start, stop = self._at, self._at + wanted
        data = self._asked(start, stop) if wanted >= _BLOCK else self._kept(start, stop)
        self._at += len(data)
        return data

    def readinto(self, buffer: Any) -> int:
        """Fill ``buffer`` as far as the object goes."""
        room = memoryview(buffer).cast("B")
        data = self.read(len(room))
        room[: len(data)] = data
        return len(data)

    def _kept(self, start: int, stop: int) -> bytes:
        first = start // _BLOCK
        found = b"".join(self._block(block) for block in range(first, -(-stop // _BLOCK)))
        return found[start - first * _BLOCK : stop - first * _BLOCK]

    def _block(self, block: int) -> bytes:
        if block not in self._blocks:
            if len(self._blocks) == _BLOCKS:
                del self._blocks[next(iter(self._blocks))]
            self._blocks[block] = self._asked(block * _BLOCK, min((block + 1) * _BLOCK, self.size))
        return self._blocks[block]

    def _asked(self, start: int, stop: int) -> bytes:
        data = self._io.get(self.name, (start, stop))
        if data is None or len(data) != stop - start:
            raise DataError(f"{self.name}: has become shorter than {stop} bytes while it was read; read it again")
        return data
