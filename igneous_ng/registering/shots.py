"""The lines of a section with what was seen in their files, and the book in which findings are entered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from igneous_ng.formats.tiles import Tile
from igneous_ng.formats.verified import BAD, Finding, Seen

Array = npt.NDArray[Any]
Value = TypeVar("Value", bound=tuple[Any, ...])


@dataclass(frozen=True)
class Shot:
    """One picture: a line of the manifest, and what is in its file."""

    number: int
    """Its place among the lines of the section."""
    line: Tile
    seen: Seen

    @property
    def readable(self) -> bool:
        """Whether it has pixels."""
        return self.seen.width is not None

    @property
    def blank(self) -> bool:
        """Whether all pixels are alike, or none is a number."""
        return self.seen.min == self.seen.max

    @property
    def age(self) -> tuple[str, int, str, int]:
        """What orders repeated pictures of one place, the newest last: time, bytes of the file, name."""
        return self.line.time, self.seen.bytes or 0, self.line.url, self.number


@dataclass(frozen=True)
class Shots:
    """All pictures of a section."""

    z: int
    all: tuple[Shot, ...]

    @cached_property
    def by_tile(self) -> dict[str, list[Shot]]:
        """The pictures of each tile, by its name, in the order of names."""
        found: dict[str, list[Shot]] = {}
        for shot in sorted(self.all, key=lambda shot: (shot.line.tile, shot.number)):
            found.setdefault(shot.line.tile, []).append(shot)
        return found

    @cached_property
    def size(self) -> tuple[int, int]:
        """Pixels along x and y of most tiles."""
        return most((shot.seen.width or 1, shot.seen.height or 1) for shot in self.all if shot.readable) or (1, 1)

    @cached_property
    def type(self) -> tuple[str, int]:
        """Data type and values of a pixel of most pictures."""
        return most((shot.seen.dtype or "", shot.seen.depth or 0) for shot in self.all if shot.readable) or ("", 0)

    @cached_property
    def channels(self) -> tuple[int, ...]:
        """The channels that at least half of the tiles have."""
        count = Counter(c for shots in self.by_tile.values() for c in {shot.line.channel for shot in shots})
        return tuple(sorted(c for c, tiles in count.items() if 2 * tiles >= len(self.by_tile)))

    @cached_property
    def newest(self) -> dict[str, Shot]:
        """The picture of each tile that says where it lies: the newest."""
        return {tile: max(shots, key=lambda shot: shot.age) for tile, shots in self.by_tile.items()}

    @cached_property
    def extent(self) -> Array:
        """Width and height of a tile of the usual size, in nm."""
        pixel = float(np.median([shot.line.pixel for shot in self.all])) if self.all else 1.0
        return np.array(self.size) * pixel


def most(values: Iterable[Value]) -> Value | None:
    """The value that occurs most often, the largest of several; None of none."""
    count = Counter(values)
    return max(count, key=lambda value: (count[value], value)) if count else None


@dataclass
class Book:
    """What was found so far, and what the operator wants."""

    rows: list[Finding] = field(default_factory=list)
    bad: set[int] = field(default_factory=set)
    """Numbers of the pictures that cannot be used, unless they must."""
    forced: set[int] = field(default_factory=set)
    """Those that are to be used whatever is found."""
    dropped: set[int] = field(default_factory=set)
    """Those that are not to be used."""
    moved: set[str] = field(default_factory=set)
    """Tiles whose place the operator said."""

    def enter(self, shot: Shot, code: str, severity: str, said: str) -> None:
        """A finding of one picture."""
        self.rows.append(Finding(code, severity, said, shot.line.tile, shot.line.channel, shot.line.url))
        if severity == BAD:
            self.bad.add(shot.number)

    def enter_tile(self, shots: Iterable[Shot], code: str, severity: str, said: str) -> None:
        """A finding of a whole tile."""
        all_of_it = list(shots)
        self.rows.append(Finding(code, severity, said, all_of_it[0].line.tile))
        if severity == BAD:
            self.bad.update(shot.number for shot in all_of_it)

    def fit(self, shot: Shot) -> bool:
        """Whether a picture may be used."""
        return shot.number not in self.dropped and (shot.number not in self.bad or shot.number in self.forced)

    def sorted(self) -> tuple[Finding, ...]:
        """All rows: of the section, then of each tile."""
        return tuple(sorted(self.rows, key=lambda row: (row.tile, row.channel or 0, row.code, row.said, row.url)))
