"""How bright the tiles of a section are to be shown: flat field, tone, shade and level, from the files of a montage.

A value v is shown as ``G (g v / flat + o + shade) + O``: ``docs/design/019``. What a file would say that is not there
is left out of it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng import tones
from igneous_ng.errors import DataError
from igneous_ng.formats import shades
from igneous_ng.io import IO
from igneous_ng.kernels import flat_nodes
from igneous_ng.montage import Montage, Placed

Array = npt.NDArray[Any]
FOLDERS = {"tones": ".f32", "shades": ".shade", "levels": ".json"}
"""Where what is known of sections lies, and how its files end."""


class Intensities:
    """Those of one section, for one task: what is read is kept."""

    def __init__(self, io: IO, montage: Montage, z: int) -> None:
        self._io, self._montage, self._z = io, montage, z
        self._flats: dict[str, Array | None] = {}
        self._blocks: dict[tuple[int, int], Array] = {}
        self._shade = self._shade_head()
        self._level = self._levels()

    def at(self, index: int, tile: Placed, places: Array, points: Array) -> tuple[Array, Array]:
        """Gain and what is added, ``[..., channel]``, for a tile, the ``index``-th of its section.

        ``places`` and ``points`` are the same, in the tile (NaN: nowhere) and in the section, ``[..., 2]``.
        """
        gain, offset = self._tone(index)
        flat, (over, under) = self._flat(tile), self._level
        gains = np.broadcast_to(gain, (*places.shape[:-1], len(gain)))
        if flat is not None:
            gains = gains / flat_nodes.at(flat, (tile.width, tile.height), places)
        adds = np.broadcast_to(offset, gains.shape)
        if self._shade is not None:
            adds = adds + self._shaded(self._shade, points)
        return gains * over, adds * over + under

    def _tone(self, index: int) -> tuple[Array, Array]:
        channels = self._montage.channels
        size = 8 * channels
        url = self._montage.url("tones", self._z, FOLDERS["tones"])
        data = self._io.get(url, (index * size, (index + 1) * size))
        if data is None:
            return np.ones(channels), np.zeros(channels)
        if len(data) != size:
            raise DataError(f"{url}: has no tone for tile {index} of the section; run `stitch balance` again")
        found = np.frombuffer(data, "<f4").reshape(channels, 2).astype(np.float64)
        return found[:, 0], found[:, 1]

    def _flat(self, tile: Placed) -> Array | None:
        if tile.camera not in self._flats:
            found = tones.flat(self._io, self._montage.home, tile.camera)
            self._flats[tile.camera] = None if found is None else found.astype(np.float64)
        return self._flats[tile.camera]

    def _shade_head(self) -> shades.Head | None:
        url = self._montage.url("shades", self._z, FOLDERS["shades"])
        data = self._io.get(url, shades.HEAD_SPAN)
        return None if data is None else shades.head(data, url)

    def _shaded(self, head: shades.Head, points: Array) -> Array:
        url = self._montage.url("shades", self._z, FOLDERS["shades"])
        for block in head.touched(points):
            if block not in self._blocks:
                self._blocks[block] = shades.decode(self._io.get(url, head.span(block)) or b"", head, url)
        return head.between(self._blocks, points)

    def _levels(self) -> tuple[Array, Array]:
        url = self._montage.url("levels", self._z, FOLDERS["levels"])
        raw = self._io.get_json(url)
        if raw is None:
            return np.ones(self._montage.channels), np.zeros(self._montage.channels)
        gain, offset = (np.asarray(raw.get(word, ()), np.float64) for word in ("gain", "offset"))
        if gain.shape != (self._montage.channels,) or offset.shape != gain.shape:
            raise DataError(
                f"{url}: has no gain and offset for {self._montage.channels} channels; run `stitch levels` again"
            )
        return gain, offset
