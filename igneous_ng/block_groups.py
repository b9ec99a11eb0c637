"""The blocks of a table of synapses in cubes of at most 1,024: what one task handles where a block would be little."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from igneous_ng.geometry import Box, Grid, Vec3
from igneous_ng.synapses import Frame

_MOST = 1024


def coarse(bounds: Box, side: int) -> Grid:
    """Cubes of the least side, ``side`` doubled and doubled again, of which at most 1,024 cover ``bounds``."""
    while len(grid := Grid(bounds, (side, side, side))) > _MOST:
        side *= 2
    return grid


@dataclass(frozen=True)
class Groups:
    """The groups of blocks of a table."""

    frame: Frame

    @cached_property
    def grid(self) -> Grid:
        """Their boxes."""
        return coarse(self.frame.bounds, self.frame.block)

    def __len__(self) -> int:
        return len(self.grid)

    def blocks(self, group: int) -> Iterator[Vec3]:
        """The places of the blocks of a group."""
        grid = self.frame.grid
        return (grid.at(box) for box in Grid(grid.bounds, grid.cell, self.grid[group]))
