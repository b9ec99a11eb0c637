"""Voxels per label of a whole layer: a table in parts, made by a shuffle in levels in which no task holds all labels.

Level 0 counts each cell. At each level above, a task takes the counts of up to 64 groups of the level below, but
only the labels of one part of the hashes; groups become fewer and parts more, until one group is left, whose parts
are the table. A task therefore holds about as much as one cell has labels, and reads 64 objects, whatever the size of
the layer.

A file holds the offsets and checksums of what each task of the next level reads, then pairs of label and count.
"""

from __future__ import annotations

import itertools
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import DataError
from igneous_ng.formats.fragments import bucket_of
from igneous_ng.geometry import ceil_div
from igneous_ng.io import IO

Array = npt.NDArray[Any]
_BITS = 6  # of the hash that a level takes: 64 groups become one
_WORD = 8  # bytes
_COPIES = 5  # of the pairs held at once: as read, together, sorted, summed, packed


@dataclass(frozen=True)
class Shuffle:
    """How the counts of ``cells`` cells become a table."""

    cells: int

    @property
    def top(self) -> int:
        """The level of the table; at least 1."""
        return max(1, ceil_div((self.cells - 1).bit_length(), _BITS))

    def depth(self, level: int) -> int:
        """Bits of the hash that tell the parts of a level; those of the table are about as many as the cells."""
        return min(_BITS * level, (self.cells - 1).bit_length())

    def groups(self, level: int) -> int:
        """Groups of cells at a level."""
        return ceil_div(self.cells, 1 << _BITS * level)

    def units(self, level: int) -> int:
        """Tasks of a level: each part of each group."""
        return self.groups(level) << self.depth(level)

    def of(self, level: int, unit: int) -> tuple[int, int]:
        """The group and the part of a task."""
        depth = self.depth(level)
        return unit >> depth, unit & ((1 << depth) - 1)


@dataclass(frozen=True)
class Census:
    """The counts that are kept in the folder ``url``."""

    io: IO
    url: str
    shuffle: Shuffle

    def store(self, level: int, unit: int, labels: Array, counts: Array) -> None:
        """Write what a task counted; ``labels`` without repeats."""
        depth = self.shuffle.depth(level)
        after = self.shuffle.depth(level + 1)
        home = bucket_of(labels, 1 << after) >> depth
        order = np.lexsort((labels, home))
        pairs = np.stack([labels.astype("<u8"), counts.astype("<u8")], axis=1)[order]
        ends = np.searchsorted(home[order], np.arange((1 << after - depth) + 1))
        crcs = [zlib.crc32(pairs[a:b].tobytes()) for a, b in itertools.pairwise(ends)]
        head = np.concatenate([ends, crcs]).astype("<u8")
        self.io.put(self._name(level, *self.shuffle.of(level, unit)), head.tobytes() + pairs.tobytes())
        self.io.note(labels=len(labels))

    def merge(self, level: int, unit: int) -> None:
        """Add up what the level below counted of one part of the labels."""
        pairs = np.concatenate([self._read(*place) for place in self._below(level, unit)])
        pairs = pairs[np.argsort(pairs[:, 0], kind="stable")]
        starts = np.flatnonzero(np.append(True, pairs[1:, 0] != pairs[:-1, 0])[: len(pairs)])
        totals = np.add.reduceat(pairs[:, 1], starts) if len(starts) else pairs[:, 1]
        self.store(level, unit, pairs[starts, 0], totals)

    def merge_bytes(self, level: int, unit: int) -> int:
        """The most bytes that :meth:`merge` holds."""
        spans = [self._span(*place) for place in self._below(level, unit)]
        return _COPIES * sum(stop - start for start, stop, _ in spans)

    def of(self, labels: Array) -> Array:
        """Voxels of each of ``labels``, int64, 0 for one that is not in the layer; reads only the parts they are in."""
        wanted, which = np.unique(np.asarray(labels, np.uint64), return_inverse=True)
        counts, top = np.zeros(len(wanted), np.int64), self.shuffle.top
        home = bucket_of(wanted, 1 << self.shuffle.depth(top))
        for part in np.unique(home).tolist():
            pairs = self._read(top, 0, part, 0)
            mine = np.flatnonzero(home == part)
            at = np.searchsorted(pairs[:, 0], wanted[mine])
            there = at < len(pairs)
            there[there] = pairs[at[there], 0] == wanted[mine][there]
            counts[mine[there]] = pairs[at[there], 1].astype(np.int64)
        found: Array = counts[which]
        return found

    def _below(self, level: int, unit: int) -> list[tuple[int, int, int, int]]:
        """What a task reads: level, group, part, and which portion of that file."""
        group, part = self.shuffle.of(level, unit)
        depth = self.shuffle.depth(level - 1)
        first = group << _BITS
        groups = range(first, min(first + (1 << _BITS), self.shuffle.groups(level - 1)))
        return [(level - 1, one, part & ((1 << depth) - 1), part >> depth) for one in groups]

    def _span(self, level: int, group: int, part: int, portion: int) -> tuple[int, int, int]:
        """Where a portion of a file starts and stops, and its checksum."""
        portions = 1 << self.shuffle.depth(level + 1) - self.shuffle.depth(level)
        head = _WORD * (2 * portions + 1)
        url = self._name(level, group, part)
        words = np.frombuffer(self._get(url, (0, head)), "<u8").astype(np.int64)
        if len(words) != 2 * portions + 1:
            raise DataError(f"{url}: this table of counts is damaged; count again")
        start, stop = head + 2 * _WORD * words[portion : portion + 2]
        return int(start), int(stop), int(words[portions + 1 + portion])

    def _read(self, level: int, group: int, part: int, portion: int) -> Array:
        start, stop, crc = self._span(level, group, part, portion)
        url = self._name(level, group, part)
        data = self._get(url, (start, stop))
        if zlib.crc32(data) != crc:
            raise DataError(f"{url}: this table of counts is damaged; count again")
        return np.frombuffer(data, "<u8").reshape(-1, 2)

    def _get(self, url: str, span: tuple[int, int]) -> bytes:
        data = self.io.get(url, span)
        if data is None:
            raise DataError(f"{url}: these counts are missing; run `image census` with this layer and mip")
        return data

    def _name(self, level: int, group: int, part: int) -> str:
        return f"{self.url}/level-{level}/{group}-{part}"


def folder(layer: str, mip: int) -> str:
    """Where the counts of a level of a layer are kept."""
    return f"{layer}/counts/{mip}"


def voxels(io: IO, layer: str, mip: int, labels: Array) -> Array:
    """Voxels of each of ``labels`` in the whole layer, int64; DataError where they are not counted."""
    url = folder(layer, mip)
    done = io.get_json(f"{url}/table.json")
    if done is None:
        raise DataError(f"{url}: there is no table; run `image census {layer} --mip {mip}`")
    return Census(io, url, Shuffle(int(done["cells"]))).of(labels)
