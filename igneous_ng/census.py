"""What is known of the labels of a layer, such as voxels: tables made by a shuffle in which no task holds all labels.

Level 0 looks at each cell. At each level above, a task takes the rows of up to 64 groups of the level below, but
only the labels of one part of the hashes; groups become fewer and parts more, until one group is left, whose parts
are the table. A task therefore holds about as much as one cell has labels, and reads 64 objects, whatever the size of
the layer.

A file holds the offsets and checksums of what each task of the next level reads, then rows of a label and its numbers.
"""

from __future__ import annotations

import itertools
import zlib
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import DataError
from igneous_ng.formats.fragments import bucket_of
from igneous_ng.geometry import ceil_div
from igneous_ng.io import IO

Array = npt.NDArray[Any]
_BITS = 6  # of the hash that a level takes: 64 groups become one
_WORD = 8  # bytes
_COPIES = 5  # of the rows held at once: as read, together, sorted, summed, packed
Reduction = Literal["sum", "or", "min", "max"]
_REDUCE: dict[Reduction, np.ufunc] = {"sum": np.add, "or": np.bitwise_or, "min": np.minimum, "max": np.maximum}
_NOTHING: dict[Reduction, int] = {"sum": 0, "or": 0, "min": (1 << 64) - 1, "max": 0}


@dataclass(frozen=True)
class Shuffle:
    """How the rows of ``cells`` cells become a table, of ``parts`` parts, a power of two; 0: about as many as cells."""

    cells: int
    parts: int = 0

    @property
    def top(self) -> int:
        """The level of the table; at least 1."""
        return max(1, *(ceil_div((count - 1).bit_length(), _BITS) for count in (self.cells, self.parts or 1)))

    def depth(self, level: int) -> int:
        """Bits of the hash that tell the parts of a level."""
        return min(_BITS * level, ((self.parts or self.cells) - 1).bit_length())

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

    def portions(self, level: int) -> int:
        """Tasks of the next level that read each file of a level."""
        return 1 << self.depth(level + 1) - self.depth(level)

    def homes(self, level: int, labels: Array) -> Array:
        """Which portion of its file each of ``labels`` is in, at a level."""
        depth = self.depth(level)
        found: Array = bucket_of(labels, self.portions(level) << depth) >> depth
        return found

    def below(self, level: int, unit: int) -> list[tuple[int, int, int, int]]:
        """What a task reads: level, group, part, and which portion of that file."""
        group, part = self.of(level, unit)
        depth = self.depth(level - 1)
        first = group << _BITS
        groups = range(first, min(first + (1 << _BITS), self.groups(level - 1)))
        return [(level - 1, one, part & ((1 << depth) - 1), part >> depth) for one in groups]


@dataclass(frozen=True)
class Census:
    """The tables in the folder ``url``; ``reductions`` say how each number of a label is put together, all uint64.

    ``maker`` is the command that writes them, for people.
    """

    io: IO
    url: str
    shuffle: Shuffle
    reductions: tuple[Reduction, ...] = ("sum",)
    maker: str = "image census"

    def store(self, level: int, unit: int, labels: Array, numbers: Array) -> None:
        """Write what a task found: ``labels`` without repeats, and the ``numbers`` [n, reductions] of each."""
        home = self.shuffle.homes(level, labels)
        order = np.lexsort((labels, home))
        rows = np.column_stack([labels.astype("<u8"), numbers.astype("<u8")])[order]
        ends = np.searchsorted(home[order], np.arange(self.shuffle.portions(level) + 1))
        crcs = [zlib.crc32(rows[a:b].tobytes()) for a, b in itertools.pairwise(ends)]
        head = np.concatenate([ends, crcs]).astype("<u8")
        self.io.put(self._name(level, *self.shuffle.of(level, unit)), head.tobytes() + rows.tobytes())
        self.io.note(labels=len(labels))

    def merge(self, level: int, unit: int) -> None:
        """Put together what the level below found of one part of the labels."""
        rows = np.concatenate([self._read(*place) for place in self.shuffle.below(level, unit)])
        rows = rows[np.argsort(rows[:, 0], kind="stable")]
        starts = np.flatnonzero(np.append(True, rows[1:, 0] != rows[:-1, 0])[: len(rows)])
        totals = np.empty((len(starts), len(self.reductions)), np.uint64)
        for column, how in enumerate(self.reductions):
            if len(starts):
                totals[:, column] = _REDUCE[how].reduceat(rows[:, 1 + column], starts)
        self.store(level, unit, rows[starts, 0], totals)

    def merge_bytes(self, level: int, unit: int) -> int:
        """The most bytes that :meth:`merge` holds."""
        spans = [self._span(*place) for place in self.shuffle.below(level, unit)]
        return _COPIES * sum(stop - start for start, stop, _ in spans)

    def of(self, labels: Array) -> Array:
        """The numbers of each of ``labels``, uint64 [n, reductions]; of one that is not in the layer, those of nothing.

        Reads only the parts that they are in.
        """
        wanted, which = np.unique(np.asarray(labels, np.uint64), return_inverse=True)
        nothing = [_NOTHING[how] for how in self.reductions]
        numbers = np.tile(np.array(nothing, np.uint64), (len(wanted), 1))
        home = bucket_of(wanted, self.parts)
        for part in np.unique(home).tolist():
            rows = self.part(part)
            mine = np.flatnonzero(home == part)
            at = np.searchsorted(rows[:, 0], wanted[mine])
            there = at < len(rows)
            there[there] = rows[at[there], 0] == wanted[mine][there]
            numbers[mine[there]] = rows[at[there], 1:]
        found: Array = numbers[which]
        return found

    @property
    def parts(self) -> int:
        """Parts of the table."""
        return 1 << self.shuffle.depth(self.shuffle.top)

    def part(self, part: int) -> Array:
        """The rows of a part of the table, a label and its numbers, ascending, uint64 [n, 1 + reductions]."""
        return self._read(self.shuffle.top, 0, part, 0)

    def part_bytes(self, part: int) -> int:
        """Bytes of what :meth:`part` gives."""
        start, stop, _ = self._span(self.shuffle.top, 0, part, 0)
        return stop - start

    def _span(self, level: int, group: int, part: int, portion: int) -> tuple[int, int, int]:
        """Where a portion of a file starts and stops, and its checksum."""
        portions = self.shuffle.portions(level)
        head = _WORD * (2 * portions + 1)
        url = self._name(level, group, part)
        words = np.frombuffer(self._get(url, (0, head)), "<u8").astype(np.int64)
        if len(words) != 2 * portions + 1:
            raise DataError(f"{url}: this table is damaged; run `{self.maker}` again")
        start, stop = head + self._width * words[portion : portion + 2]
        return int(start), int(stop), int(words[portions + 1 + portion])

    def _read(self, level: int, group: int, part: int, portion: int) -> Array:
        start, stop, crc = self._span(level, group, part, portion)
        url = self._name(level, group, part)
        data = self._get(url, (start, stop))
        if zlib.crc32(data) != crc:
            raise DataError(f"{url}: this table is damaged; run `{self.maker}` again")
        return np.frombuffer(data, "<u8").reshape(-1, self._width // _WORD)

    @property
    def _width(self) -> int:
        """Bytes of a row."""
        return _WORD * (1 + len(self.reductions))

    def _get(self, url: str, span: tuple[int, int]) -> bytes:
        data = self.io.get(url, span)
        if data is None:
            raise DataError(f"{url}: this table is missing; run `{self.maker}` with this layer and mip")
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
    found: Array = Census(io, url, Shuffle(int(done["cells"]))).of(labels)[:, 0].astype(np.int64)
    return found
