"""Rows of bytes of different lengths, one after the other in one array."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.native import ragged

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Pieces:
    """Row i is ``data[ends[i] : ends[i + 1]]``; uint8, and int64 [n + 1] from 0 on."""

    data: Array
    ends: Array

    @classmethod
    def sized(cls, data: Array, sizes: Array) -> Pieces:
        """Rows of these ``sizes``."""
        return cls(data, ends_of(sizes))

    @classmethod
    def equal(cls, rows: Array) -> Pieces:
        """The bytes of each row of an array, [n, ...]."""
        plain = np.ascontiguousarray(rows)
        width = plain.dtype.itemsize * int(np.prod(plain.shape[1:], dtype=np.int64))
        return cls(plain.reshape(-1).view(np.uint8), np.arange(len(plain) + 1, dtype=np.int64) * width)

    def __len__(self) -> int:
        return len(self.ends) - 1

    @property
    def sizes(self) -> Array:
        """Bytes of each row."""
        return np.diff(self.ends)

    def __getitem__(self, row: int) -> bytes:
        return bytes(self.data[self.ends[row] : self.ends[row + 1]])

    def take(self, rows: Array) -> Pieces:
        """Some rows, in the order asked for."""
        sizes = self.sizes[rows]
        ends = ends_of(sizes)
        out = np.empty(ends[-1], np.uint8)
        ragged.copy(self.data, self.ends[:-1][rows], sizes, out, ends[:-1])
        return Pieces(out, ends)


@dataclass(frozen=True)
class Lists:
    """Numbers of rows that have several, or none: those of row i are ``values[ends[i] : ends[i + 1]]``."""

    values: Array
    ends: Array

    @classmethod
    def of_one(cls, values: Array) -> Lists:
        """One number each, or none where it is 0."""
        there = values != 0
        return cls(values[there], ends_of(there))

    def __len__(self) -> int:
        return len(self.ends) - 1

    @property
    def counts(self) -> Array:
        """Numbers of each row."""
        return np.diff(self.ends)

    @property
    def rows(self) -> Array:
        """The row of each number."""
        return np.repeat(np.arange(len(self)), self.counts)


def ends_of(sizes: Array) -> Array:
    """Where rows of ``sizes`` begin, and where the last ends, int64 [n + 1]."""
    ends = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes, out=ends[1:])
    return ends


def side_by_side(parts: Sequence[Pieces]) -> Pieces:
    """Each row of the first of ``parts``, then the same of the second, and so on."""
    ends = ends_of(sum((part.sizes for part in parts[1:]), parts[0].sizes))
    out, at = np.empty(ends[-1], np.uint8), ends[:-1].copy()
    for part in parts:
        ragged.copy(part.data, part.ends[:-1], part.sizes, out, at)
        at += part.sizes
    return Pieces(out, ends)


def one_after_another(parts: Sequence[Pieces]) -> Pieces:
    """All rows of the first of ``parts``, then those of the second, and so on."""
    if not parts:
        return Pieces(np.zeros(0, np.uint8), np.zeros(1, np.int64))
    return Pieces.sized(np.concatenate([part.data for part in parts]), np.concatenate([part.sizes for part in parts]))
