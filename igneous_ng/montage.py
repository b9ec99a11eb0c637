"""The folder of all that is known of a set of tiles: its sections, what is in each, and where files lie.

``docs/design/019`` shows the folder. Sections are numbers, tiles are told by their place in the section's list.
"""

from __future__ import annotations

import bisect
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import DataError
from igneous_ng.formats import columns
from igneous_ng.formats.sections import name
from igneous_ng.formats.tiles import IDENTITY, Picture
from igneous_ng.io import IO

Array = npt.NDArray[Any]
BATCH = 150
"""Pairs that one task matches."""
_LEAST = 0.25  # of the shorter side of the smaller tile: how long the common border of a pair must be


@dataclass(frozen=True)
class Placed:
    """A tile of a section: where the stage put it, and its pictures, one a channel."""

    tile: str
    x: float
    """Where its (0, 0) is meant to lie, in pixels of the section."""
    y: float
    width: int
    height: int
    pictures: tuple[Picture, ...]
    matrix: tuple[float, float, float, float] = IDENTITY
    """Linear part ``a, b, c, d`` of the stage's map: x' = a x + b y, y' = c x + d y."""
    camera: str = ""
    row: int | None = None
    col: int | None = None

    @property
    def box(self) -> tuple[float, float, float, float]:
        """x0, y0, x1, y1 in the section, outer borders of its pixels."""
        a, b, c, d = self.matrix
        xs, ys = (-0.5, self.width - 0.5), (-0.5, self.height - 0.5)
        px = [a * x + b * y for x in xs for y in ys]
        py = [c * x + d * y for x in xs for y in ys]
        return self.x + min(px), self.y + min(py), self.x + max(px), self.y + max(py)


@dataclass(frozen=True)
class Section:
    """The tiles of a section that are used, in the order of their names."""

    z: int
    tiles: tuple[Placed, ...]
    dtype: str
    channels: int

    @cached_property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """Tiles ``(i, j)``, i < j, that the stage lets share a border: found by their boxes, in order.

        Their boxes overlap, and the longer side of what they share is at least a quarter of a tile's shorter side:
        corners that touch are no pair.
        """
        boxes = np.array([t.box for t in self.tiles]).reshape(-1, 4)
        least = np.array([_LEAST * min(t.width, t.height) for t in self.tiles])
        order = np.lexsort((np.arange(len(boxes)), boxes[:, 0]))
        found = []
        starts = boxes[order, 0]
        for n, i in enumerate(order):
            near = order[n + 1 : np.searchsorted(starts, boxes[i, 2])]
            low, high = np.maximum(boxes[i, :2], boxes[near, :2]), np.minimum(boxes[i, 2:], boxes[near, 2:])
            side = high - low
            take = (side.min(axis=1) > 0) & (side.max(axis=1) >= np.minimum(least[i], least[near]))
            found += [(min(i, j), max(i, j)) for j in near[take]]
        return tuple(sorted((int(i), int(j)) for i, j in found))

    @property
    def box(self) -> tuple[float, float, float, float]:
        """x0, y0, x1, y1 of all tiles, where the stage put them."""
        boxes = np.array([t.box for t in self.tiles])
        (x0, y0), (x1, y1) = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
        return float(x0), float(y0), float(x1), float(y1)

    def to_json(self) -> dict[str, Any]:
        """The section's file."""
        return {
            "z": self.z,
            "dtype": self.dtype,
            "channels": self.channels,
            "tiles": [
                {
                    "tile": t.tile,
                    "x": t.x,
                    "y": t.y,
                    "width": t.width,
                    "height": t.height,
                    "matrix": list(t.matrix),
                    "camera": t.camera,
                    "row": t.row,
                    "col": t.col,
                    "pictures": [[p.url, p.kind, p.part] for p in t.pictures],
                }
                for t in self.tiles
            ],
        }

    @classmethod
    def from_json(cls, raw: Any, where: str) -> Section:
        """The section of a file; DataError where it is none."""
        try:
            tiles = tuple(
                Placed(
                    **{
                        **one,
                        "matrix": tuple(one["matrix"]),
                        "pictures": tuple(Picture(*p) for p in one["pictures"]),
                    }
                )
                for one in raw["tiles"]
            )
            return cls(int(raw["z"]), tiles, str(raw["dtype"]), int(raw["channels"]))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{where}: is no section ({error!r}); run `ingest register` again") from None


@dataclass(frozen=True)
class Row:
    """A section, as the list of all sections has it."""

    z: int
    tiles: int
    pairs: int
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class Montage:
    """The folder ``home``: what can be stitched in it, and where things lie."""

    home: str
    pixel: float
    """Size of a pixel of the sections' frame, in nm."""
    dtype: str
    channels: int
    rows: tuple[Row, ...]
    """In the order of z."""

    @classmethod
    def open(cls, io: IO, home: str) -> Montage:
        """The montage whose tiles are registered; DataError where there is none.

        Its list enters no ledger: what units read of it are the sections' own files.
        """
        raw = io.peek(f"{home}/sections.json")
        if raw is None:
            raise DataError(f"{home}/sections.json: no tiles are registered here; run `ingest register` first")
        return cls.from_json(io.store.get_json(f"{home}/sections.json"), home)

    @classmethod
    def from_json(cls, raw: Any, home: str) -> Montage:
        """As it is stored."""
        rows = tuple(Row(r["z"], r["tiles"], r["pairs"], tuple(r["box"])) for r in raw["sections"])
        return cls(home, raw["pixel"], raw["dtype"], raw["channels"], rows)

    def to_json(self) -> dict[str, Any]:
        """To be stored as ``sections.json``."""
        rows = [{"z": r.z, "tiles": r.tiles, "pairs": r.pairs, "box": list(r.box)} for r in self.rows]
        return {"pixel": self.pixel, "dtype": self.dtype, "channels": self.channels, "sections": rows}

    @cached_property
    def zs(self) -> tuple[int, ...]:
        """The numbers of its sections, in order."""
        return tuple(row.z for row in self.rows)

    def row(self, z: int) -> Row:
        """What the list says of a section that it has."""
        return self.rows[bisect.bisect_left(self.zs, z)]

    def section(self, io: IO, z: int) -> Section:
        """The tiles of a section; DataError where it is not registered."""
        url = f"{self.home}/sections/{name(z)}.json"
        raw = io.get_json(url)
        if raw is None:
            raise DataError(f"{url}: this section is not registered; run `ingest register`")
        return Section.from_json(raw, url)

    def url(self, folder: str, z: int, suffix: str) -> str:
        """The file of a section in a folder, such as ``solutions/z000012.maps``."""
        return f"{self.home}/{folder}/{name(z)}{suffix}"

    def matched(self, z: int) -> list[str]:
        """The files with the matches of a section, a batch of pairs each."""
        return [self.match_url(z, batch) for batch in range(-(-self.row(z).pairs // BATCH))]

    def match_url(self, z: int, batch: int) -> str:
        """The file with the matches of a batch of pairs."""
        return f"{self.home}/matches/{name(z)}/{batch:03d}.cols"

    def matches(self, io: IO, z: int, names: Collection[str] | None = None) -> Iterator[dict[str, Array]]:
        """The matches of a section, batch by batch, all columns or those of ``names``; DataError if one is missing."""
        for url in self.matched(z):
            data = io.get(url)
            if data is None:
                raise DataError(f"{url}: these pairs are not matched; run `stitch match` first")
            yield columns.unpack(data, url, names)

    @cached_property
    def batches(self) -> Batches:
        """All batches of pairs, numbered through the sections."""
        return Batches([(row.z, -(-row.pairs // BATCH)) for row in self.rows])


class Batches(Sequence[tuple[int, int]]):
    """``(z, batch)`` for each batch of each section, in order."""

    def __init__(self, counts: Sequence[tuple[int, int]]) -> None:
        self._sections = [z for z, _ in counts]
        self._ends = np.cumsum([0, *(count for _, count in counts)]).tolist()

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: Any) -> Any:
        """One of them, or a list for a slice."""
        if isinstance(index, slice):
            return [self[n] for n in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        at = bisect.bisect_right(self._ends, index % len(self)) - 1
        return self._sections[at], index % len(self) - self._ends[at]
