"""Integer boxes of voxels and the grids that tile them: frozen, exact, without I/O.

Axis order is x, y, z everywhere. A :class:`Box` is half open, ``[lo, hi)``, in voxels of one mip level.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import overload

from igneous_ng.errors import SpecError

Vec3 = tuple[int, int, int]
Vec3f = tuple[float, float, float]


def vec(values: Iterable[int]) -> Vec3:
    """Three plain integers, from anything that yields three numbers."""
    x, y, z = values
    return int(x), int(y), int(z)


def ceil_div(a: int, b: int) -> int:
    """The quotient of two integers, rounded up; exact for any size and sign."""
    return -(-a // b)


def exactly(number: float) -> Fraction:
    """The decimal fraction that is written for ``number``: 3.58 is 358 / 100."""
    return Fraction(repr(float(number)))


@dataclass(frozen=True, slots=True)
class Box:
    """A half-open box of voxels ``[lo, hi)``; a side may be empty, never negative."""

    lo: Vec3
    hi: Vec3

    def __post_init__(self) -> None:
        if any(b < a for a, b in zip(self.lo, self.hi, strict=True)):
            raise SpecError(f"box {self}: a side ends before it starts; write x0:x1,y0:y1,z0:z1")

    def __str__(self) -> str:
        return ",".join(f"{a}:{b}" for a, b in zip(self.lo, self.hi, strict=True))

    @classmethod
    def parse(cls, text: str) -> Box:
        """Read ``x0:x1,y0:y1,z0:z1``."""
        try:
            (x0, x1), (y0, y1), (z0, z1) = (map(int, part.split(":")) for part in text.split(","))
        except ValueError:
            raise SpecError(f"{text!r} is not a box; write x0:x1,y0:y1,z0:z1") from None
        return cls((x0, y0, z0), (x1, y1, z1))

    @classmethod
    def sized(cls, lo: Vec3, shape: Vec3) -> Box:
        """The box of ``shape`` that starts at ``lo``."""
        return cls(lo, vec(a + n for a, n in zip(lo, shape, strict=True)))

    @property
    def shape(self) -> Vec3:
        """Voxels along each axis."""
        return vec(b - a for a, b in zip(self.lo, self.hi, strict=True))

    @property
    def voxels(self) -> int:
        """Number of voxels."""
        return prod(self.shape)

    def slices(self, origin: Vec3 = (0, 0, 0)) -> tuple[slice, slice, slice]:
        """Indices of this box in an array whose first voxel is ``origin``."""
        x, y, z = (slice(a - o, b - o) for a, b, o in zip(self.lo, self.hi, origin, strict=True))
        return x, y, z

    def __and__(self, other: Box) -> Box:
        """The common part; empty (at a corner of both) where there is none."""
        lo = vec(map(max, self.lo, other.lo))
        return Box(lo, vec(map(max, lo, map(min, self.hi, other.hi))))

    def __or__(self, other: Box) -> Box:
        """The smallest box that holds both."""
        return Box(vec(map(min, self.lo, other.lo)), vec(map(max, self.hi, other.hi)))

    def __contains__(self, other: Box) -> bool:
        return all(a <= c and d <= b for a, b, c, d in zip(self.lo, self.hi, other.lo, other.hi, strict=True))

    def __floordiv__(self, factor: Vec3) -> Box:
        """The box at a coarser mip: every coarse voxel that this box touches."""
        return Box(
            vec(a // f for a, f in zip(self.lo, factor, strict=True)),
            vec(ceil_div(b, f) for b, f in zip(self.hi, factor, strict=True)),
        )

    def __mul__(self, factor: Vec3) -> Box:
        """The box at a finer mip: every fine voxel under this one."""
        return Box(
            vec(a * f for a, f in zip(self.lo, factor, strict=True)),
            vec(b * f for b, f in zip(self.hi, factor, strict=True)),
        )

    def shift(self, by: Vec3) -> Box:
        """This box moved by ``by`` voxels."""
        return Box(
            vec(a + d for a, d in zip(self.lo, by, strict=True)),
            vec(b + d for b, d in zip(self.hi, by, strict=True)),
        )

    def grow(self, low: Vec3, high: Vec3) -> Box:
        """This box with ``low`` voxels more before it and ``high`` voxels more after it (a halo)."""
        return Box(
            vec(a - d for a, d in zip(self.lo, low, strict=True)),
            vec(b + d for b, d in zip(self.hi, high, strict=True)),
        )


@dataclass(frozen=True, slots=True)
class Grid(Sequence[Box]):
    """``bounds`` cut into cells of shape ``cell``, anchored at ``bounds.lo``; only those that touch ``roi``.

    x runs fastest. A cell is the same box whatever the ``roi``, so a region redone later meets the
    cells that made it. Memory is constant.
    """

    bounds: Box
    cell: Vec3
    roi: Box | None = None

    def __post_init__(self) -> None:
        if min(self.cell) < 1:
            raise SpecError(f"a grid of cells {self.cell}: each side must be at least 1 voxel")

    def _cells(self) -> Box:
        """The touched cells, as a box of cell indices."""
        roi = self.bounds & self.roi if self.roi else self.bounds
        start = vec(-a for a in self.bounds.lo)
        return roi.shift(start) // self.cell if roi.voxels else Box((0, 0, 0), (0, 0, 0))

    @property
    def counts(self) -> Vec3:
        """Cells along each axis, all that there are."""
        return vec(ceil_div(n, c) for n, c in zip(self.bounds.shape, self.cell, strict=True))

    def at(self, cell: Box) -> Vec3:
        """The place of a cell among all, counted from 0 along each axis."""
        return vec((a - o) // c for a, o, c in zip(cell.lo, self.bounds.lo, self.cell, strict=True))

    def box(self, at: Vec3) -> Box:
        """The cell at a place."""
        lo = vec(o + i * c for o, i, c in zip(self.bounds.lo, at, self.cell, strict=True))
        return Box.sized(lo, self.cell) & self.bounds

    def __len__(self) -> int:
        return self._cells().voxels

    @overload
    def __getitem__(self, index: int) -> Box: ...
    @overload
    def __getitem__(self, index: slice) -> list[Box]: ...
    def __getitem__(self, index: int | slice) -> Box | list[Box]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        cells, i = self._cells(), index % len(self)
        nx, ny, _ = cells.shape
        return self.box((cells.lo[0] + i % nx, cells.lo[1] + i // nx % ny, cells.lo[2] + i // (nx * ny)))

    def __iter__(self) -> Iterator[Box]:
        return (self[i] for i in range(len(self)))
