"""Where annotations come from: a table of synapses, a file, or a folder of files; block by block."""

from __future__ import annotations

import zipfile
from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from igneous_ng import folders
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import annotation_columns, parquet_lists
from igneous_ng.formats.pieces import Lists
from igneous_ng.geometry import Vec3
from igneous_ng.io import IO
from igneous_ng.kernels import locations
from igneous_ng.spanned import Spanned
from igneous_ng.synapses import COLUMNS, DUPLICATE, WIDE, Synapses

Array = npt.NDArray[Any]
Columns = dict[str, Array | Lists]
_KINDS = (".parquet", ".csv", ".npz")
_PLACES = {"place": ("x", "y", "z"), "pre_place": ("x1", "y1", "z1"), "post_place": ("x2", "y2", "z2")}
_HEAD = 1 << 20  # bytes of a text in which its first line lies
_TEXT = 20  # bytes in memory of one of text


class Source(ABC):
    """Rows in blocks. What is usual for it stands in place of what nobody asked for."""

    properties: ClassVar[tuple[str, ...]] = ()
    relationships: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def __len__(self) -> int:
        """How many blocks there are."""

    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """Its columns, by the first block."""

    @abstractmethod
    def read(self, block: int, names: Collection[str], lists: Collection[str]) -> Columns:
        """The columns of a block called ``names``, those that are there; those in ``lists`` may be lists."""

    @abstractmethod
    def size(self, block: int) -> int:
        """About how many bytes the columns of a block take."""

    @property
    def id_bits(self) -> int:
        """Bits of ids that tell places; 0 where ids tell nothing."""
        return 0

    @property
    def bounds(self) -> tuple[Vec3, Vec3] | None:
        """In what bounds all lies, in nm, if it is known."""
        return None


@dataclass(frozen=True)
class SynapseSource(Source):
    """The rows of a table of synapses, but for those that another stands for; places in nm."""

    properties: ClassVar[tuple[str, ...]] = ("confidence", "voxels", "kind:uint8:0=unknown|1=excitatory|2=inhibitory")
    relationships: ClassVar[tuple[str, ...]] = ("pre", "post")
    io: IO
    url: str

    @property
    def table(self) -> Synapses:
        """The table."""
        return Synapses(self.io, self.url)

    @cached_property
    def _blocks(self) -> list[Vec3]:
        return list(self.table.blocks())

    def __len__(self) -> int:
        return len(self._blocks)

    def names(self) -> tuple[str, ...]:
        """Those of rows, places apart, and ``cleft``."""
        return (
            *(name for name in COLUMNS if name not in WIDE),
            "cleft",
            *(axis for axes in _PLACES.values() for axis in axes),
        )

    def read(self, block: int, names: Collection[str], lists: Collection[str]) -> Columns:
        """The columns; ``cleft`` is the id of the cleft, which several rows may have."""
        del lists
        stored = {name for name in COLUMNS if name in names} | {"id", "flags"}
        stored |= {name for name, axes in _PLACES.items() if set(axes) & set(names)}
        rows = self.table.rows(self._blocks[block], sorted(stored))
        own = (rows["flags"] & DUPLICATE) == 0
        rows = {name: column[own] for name, column in rows.items()}
        found: Columns = {name: column for name, column in rows.items() if name not in WIDE}
        for name, axes in _PLACES.items():
            if name in rows:
                found |= {axis: rows[name][:, i] for i, axis in enumerate(axes)}
        found["cleft"] = locations.first(rows["id"])
        return {name: column for name, column in found.items() if name in names}

    def size(self, block: int) -> int:
        """As it is stored."""
        return self.table.size("rows", self._blocks[block])

    @property
    def id_bits(self) -> int:
        """Locations."""
        return len(locations.axes(self.table.frame.bounds.shape)) + locations.RANKS.bit_length()

    @property
    def bounds(self) -> tuple[Vec3, Vec3]:
        """Those of the table."""
        frame = self.table.frame
        low = [int(np.floor(a * r)) for a, r in zip(frame.bounds.lo, frame.resolution, strict=True)]
        high = [int(np.ceil(b * r)) for b, r in zip(frame.bounds.hi, frame.resolution, strict=True)]
        return (low[0], low[1], low[2]), (high[0], high[1], high[2])


@dataclass(frozen=True)
class FileSource(Source):
    """Files; a block is one, or of a Parquet file a row group."""

    io: IO
    parts: tuple[tuple[str, int, int], ...]

    def __len__(self) -> int:
        return len(self.parts)

    def names(self) -> tuple[str, ...]:
        """Those of the first file."""
        url = self.parts[0][0]
        if url.endswith(".csv"):
            head = (self.io.get(url, (0, _HEAD)) or b"").partition(b"\n")[0]
            return tuple(annotation_columns.parse_text(head, url, ()))
        file: Any = Spanned(self.io, url)
        if url.endswith(".parquet"):
            return parquet_lists.names(file, url)
        with zipfile.ZipFile(file) as arrays:
            return tuple(name.removesuffix(".npy") for name in arrays.namelist())

    def read(self, block: int, names: Collection[str], lists: Collection[str]) -> Columns:
        """The columns."""
        url, number, _ = self.parts[block]
        if url.endswith(".parquet"):
            file: Any = Spanned(self.io, url)
            return parquet_lists.group(file, number, names, url)
        data = self.io.get(url)
        if data is None:
            raise DataError(f"{url} is missing; restore it")
        text = url.endswith(".csv")
        found = annotation_columns.parse_text(data, url, lists) if text else annotation_columns.parse_arrays(data, url)
        return {name: column for name, column in found.items() if name in names}

    def size(self, block: int) -> int:
        """What was found when the files were listed."""
        return self.parts[block][2]


def parts_of(io: IO, url: str) -> tuple[tuple[str, int, int], ...]:
    """The parts of a file or a folder of files: URL, row group, bytes in memory; SpecError where there are none."""
    urls = [url] if url.endswith(_KINDS) else [f"{url}/{name}" for name in io.list(url) if name.endswith(_KINDS)]
    if not urls:
        raise SpecError(f"{url}: neither a table of synapses nor a file or folder of {', '.join(_KINDS)}")
    found = list[tuple[str, int, int]]()
    for one in urls:
        size = folders.size(one)
        if size is None:
            raise SpecError(f"{one}: there is no such file; check the path")
        if one.endswith(".parquet"):
            file: Any = Spanned(io, one)
            found += [(one, number, most) for number, (_, most) in enumerate(parquet_lists.groups(file, one))]
        else:
            found.append((one, 0, _TEXT * size if one.endswith(".csv") else _unpacked(io, one)))
    return tuple(found)


def _unpacked(io: IO, url: str) -> int:
    try:
        with zipfile.ZipFile(Spanned(io, url)) as file:
            return sum(info.file_size for info in file.infolist())
    except (zipfile.BadZipFile, OSError) as error:
        raise DataError(f"{url}: not a file of arrays of numpy ({error}); write it again") from error


def is_table(io: IO, url: str) -> bool:
    """Whether a table of synapses is there."""
    return not url.endswith(_KINDS) and io.exists(f"{url}/table.json")
