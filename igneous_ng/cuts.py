"""How a mosaic lies on the synthetic sections that its tiles were cut from: points both ways, by the known maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng import solutions
from igneous_ng.errors import DataError
from igneous_ng.formats.sections import name
from igneous_ng.io import IO
from igneous_ng.kernels.tile_maps import TileMap
from igneous_ng.montage import Montage, Section

Array = npt.NDArray[Any]
Maps = list[TileMap]


@dataclass(frozen=True)
class Cuts:
    """The tiles of ``montage``, as it solved them and as `synth tiles` cut them into the folder ``home``.

    Points are ``[n, 2]``: of the mosaic, and of the section, counted from the first pixel of the image that was cut.
    """

    io: IO
    montage: Montage
    home: str
    _kept: dict[int, tuple[Maps, Maps]] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def open(cls, io: IO, montage: str | None, home: str | None) -> Cuts | None:
        """Those of the montage and of the folder of these names; None without names: nothing was cut into tiles."""
        return cls(io, Montage.open(io, montage), home) if montage and home else None

    def solved(self, z: int) -> tuple[Maps, list[int]]:
        """The maps of the tiles of a section as they were solved, and their components."""
        return self._maps(self.montage.url("solutions", z, ".maps"), "run `stitch solve`")

    def true(self, section: Section) -> Maps:
        """The true map of each tile of a section, found by its file's name."""
        url = f"{self.home}/truth/{name(section.z)}"
        maps, _ = self._maps(f"{url}.maps", "give the folder that `synth tiles` wrote")
        told = self.io.get_json(f"{url}.json")
        if told is None:
            raise DataError(f"{url}.json: is not there; give the folder that `synth tiles` wrote")
        places = {_file(path): n for n, tile in enumerate(told["tiles"]) for path in tile["files"]}
        strange = [t.tile for t in section.tiles if _file(t.pictures[0].url) not in places]
        if strange:
            raise DataError(f"{self.home}: tells nothing of tile {strange[0]} of section {section.z}")
        return [maps[places[_file(t.pictures[0].url)]] for t in section.tiles]

    def section(self, z: int, points: Array) -> tuple[Array, Array]:
        """What the mosaic shows at ``points``, and where a tile is there: by the tile in which a point lies deepest."""
        solved, true = self._both(z)
        return _through(solved, true, points)

    def mosaic(self, z: int, points: Array) -> tuple[Array, Array]:
        """Where the mosaic shows ``points`` of the section, and which lie in a tile."""
        solved, true = self._both(z)
        return _through(true, solved, points)

    def _both(self, z: int) -> tuple[Maps, Maps]:
        if z not in self._kept:
            self._kept[z] = self.solved(z)[0], self.true(self.montage.section(self.io, z))
        return self._kept[z]

    def _maps(self, url: str, advice: str) -> tuple[Maps, list[int]]:
        data = self.io.get(url)
        if data is None:
            raise DataError(f"{url}: is not there; {advice}")
        return solutions.decode(data, url)


def _through(one: Sequence[TileMap], other: Sequence[TileMap], points: Array) -> tuple[Array, Array]:
    """``points`` back through the map in ``one`` of the tile that holds them deepest, and on through that in ``other``.

    Points in no tile go through the nearest, and are told to be in none.
    """
    found, depth = np.zeros(points.shape), np.full(len(points), np.inf)
    for back, on in zip(one, other, strict=True):
        at = back.inverse(points)
        half = np.array(back.size) / 2
        away = np.abs((at + 0.5 - half) / half).max(axis=-1)  # 1 at the border
        nearer = away < depth
        found[nearer], depth[nearer] = on(at[nearer]), away[nearer]
    return found, depth <= 1


def _file(path: str) -> str:
    return path.rpartition("/")[2]
