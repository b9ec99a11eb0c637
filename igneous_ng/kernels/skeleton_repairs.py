"""Objects made whole before their centre lines are drawn: holes filled, nuclei joined with the cells around them.

Both follow kimimaro (Silversmith et al. 2021): what lies in a hole of an object becomes part of it; an "avocado" is a
soma of which the nucleus is a label of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.geometry import Vec3f

Array = npt.NDArray[Any]
_NUCLEUS = 2.5  # a nucleus has more than the radius of a soma divided by this
_ROUNDS = 20  # of joining: avocados may be nested, never so deep
_SIDES = 4  # of the six ways out of a nucleus, those that must lead into the same object


@dataclass(frozen=True)
class Block:
    """Components of a block, 1 to n, uint32 [x, y, z] in Fortran order, the distance of each voxel to their boundaries
    in nm, and of each component, the background first: voxels, greatest distance, and box [n, 6].
    """

    components: Array
    distances: Array
    resolution: Vec3f
    voxels: Array
    deepest: Array
    boxes: Array

    @classmethod
    def of(cls, components: Array, resolution: Vec3f) -> Block:
        """Measure ``components``. Where the block ends is no boundary, but for a component that fills it."""
        from igneous_ng.native import edt, teasar

        alone = bool((components == components.flat[0]).all())
        distances = edt.distances(components, resolution, alone)
        return cls(components, distances, resolution, *teasar.measure(components, distances))

    def depth(self) -> Array:
        """The greatest distance in each component; infinite in one that fills the block, for it goes on."""
        return np.where(self.voxels == self.components.size, np.inf, self.deepest)

    def box(self, number: int, margin: int = 0) -> tuple[slice, slice, slice]:
        """Where a component lies, with ``margin`` voxels more on each side that has them."""
        low = np.maximum(self.boxes[number, :3] - margin, 0).tolist()
        high = np.minimum(self.boxes[number, 3:] + margin, self.components.shape).tolist()
        x, y, z = map(slice, low, high)
        return x, y, z

    def without_holes(self, number: int) -> tuple[Block | None, Array]:
        """A component alone, as number 1, without its holes, or None if it has none; the first voxel of its block."""
        from igneous_ng.native import holes

        box = self.box(number, 1)
        corner = np.array([side.start for side in box])
        mask = _mask(self.components[box] == number)
        if not holes.fill(mask):
            return None, corner
        return Block.of(mask.astype(np.uint32), self.resolution), corner


def _mask(where: Array) -> Array:
    return np.asfortranarray(where).view(np.uint8)


def fill_holes(block: Block) -> Block:
    """The block with the holes of each component filled, in the order of numbers; what was inside is gone."""
    from igneous_ng.native import holes

    components, filled = block.components.copy(order="F"), 0
    for number in np.flatnonzero(block.voxels).tolist():
        part = components[block.box(number)]
        mask = _mask(part == number)
        if number and mask.any() and (found := holes.fill(mask)):
            part[mask.view(bool)] = number
            filled += found
    return Block.of(components, block.resolution) if filled else block


def join_avocados(block: Block, thick: float) -> Block:
    """The block with each nucleus joined to the object around it, under the number of that object.

    Looked at are components deeper than ``thick`` nm over 2.5. From the deepest voxel one looks along the axes: where
    four ways or more end in objects, and all in the same, that object is the cell. Holes of all these are filled.
    """
    done: set[int] = set()
    for _ in range(_ROUNDS):
        deep = set(np.flatnonzero(block.deepest > thick / _NUCLEUS).tolist()) - done - {0}
        components = block.components.copy(order="F")
        changed = {number for pair in _pairs(block, components, sorted(deep)) for number in pair}
        done |= deep - changed
        if np.array_equal(components, block.components):
            break
        block = Block.of(components, block.resolution)
    return block


def _pairs(block: Block, components: Array, numbers: list[int]) -> Iterator[tuple[int, int]]:
    """Join what belongs together, in place; each nucleus and its cell."""
    from igneous_ng.native import holes

    for number in numbers:
        box = block.box(number)
        part = components[box]
        mask = _mask(part == number)
        if not mask.any():
            continue  # it was joined to another one already
        _close_walls(mask)
        point = np.unravel_index(np.argmax(mask * block.distances[box]), mask.shape)
        cell = _around(components, tuple(int(p) + side.start for p, side in zip(point, box, strict=True)), number)
        if cell != number:
            mask |= (part == cell).view(np.uint8)
            yield number, cell
        holes.fill(mask)
        part[mask.view(bool)] = cell


def _close_walls(mask: Array) -> None:
    """Fill holes in each of the six faces, so that holes that touch a face are filled as well."""
    from igneous_ng.native import holes

    for axis in range(3):
        for side in (slice(0, 1), slice(-1, None)):
            wall = tuple(side if a == axis else slice(None) for a in range(3))
            closed = np.asfortranarray(np.moveaxis(mask[wall], axis, 2))
            holes.fill_plane(closed)
            mask[wall] = np.moveaxis(closed, 2, axis)


def _around(components: Array, point: tuple[int, ...], number: int) -> int:
    """The object that lies around ``point`` of ``number``; ``number`` itself where none does."""
    met = []
    for axis in range(3):
        line = components[tuple(slice(None) if a == axis else point[a] for a in range(3))]
        for way in (line[point[axis] :], line[: point[axis]][::-1]):
            others = way[(way != number) & (way != 0)]
            met += others[:1].tolist()
    return int(met[0]) if len(met) >= _SIDES and len(set(met)) == 1 else number
