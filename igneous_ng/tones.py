"""How grey values of a montage are to be changed: ``G (g v / flat + o + shade) + O``, and where each of it lies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import DataError
from igneous_ng.formats import columns
from igneous_ng.io import IO
from igneous_ng.kernels import flat_nodes
from igneous_ng.montage import Montage, Section
from igneous_ng.thumbnails import Thumbnail

Array = npt.NDArray[Any]


def flat_url(home: str, camera: str) -> str:
    """The flat field of a camera: its name, escaped as in a URL but for letters, digits and ``-.~``; ``_`` for none."""
    escaped = quote(camera, safe="").replace("_", "%5F")
    return f"{home}/flat/{escaped or '_'}.cols"


def flat(io: IO, home: str, camera: str) -> Array | None:
    """The flat field of a camera, float32 ``[x, y, channel]``: nodes from the first to the last pixel; None of none."""
    url = flat_url(home, camera)
    data = io.get(url)
    if data is None:
        return None
    found = columns.unpack(data, url)["flat"]
    if found.ndim != 3 or min(found.shape[:2]) < 2 or found.min() <= 0:
        raise DataError(f"{url}: is no flat field of positive values; run `stitch flatfield` again")
    return found


def of_tiles(io: IO, montage: Montage, section: Section) -> Array | None:
    """Gain and offset of each tile, float32 ``[tile, channel, 2]``; None where `stitch balance` was not run."""
    url = montage.url("tones", section.z, ".f32")
    data = io.get(url)
    if data is None:
        return None
    shape = len(section.tiles), section.channels, 2
    if len(data) != 4 * shape[0] * shape[1] * 2:
        raise DataError(f"{url}: has {len(data)} bytes, not those of {shape[0]} tiles; run `stitch balance` again")
    return np.frombuffer(data, "<f4").reshape(shape)


class Toned:
    """Coarse pictures as they are to be shown: after the flat field of their camera and their tile's tone."""

    def __init__(self, io: IO, montage: Montage, section: Section, tones: Array | None) -> None:
        self._section, self._tones = section, tones
        cameras = sorted({tile.camera for tile in section.tiles})
        self._flats = {camera: flat(io, montage.home, camera) for camera in cameras}
        self._coarse: dict[tuple[Any, ...], Array] = {}

    def __call__(self, thumbnails: Iterable[Thumbnail]) -> Iterator[tuple[Thumbnail, Array]]:
        """Each with its values, float64 ``[x, y]``."""
        for one in thumbnails:
            gain, offset = (1.0, 0.0) if self._tones is None else self._tones[one.tile, one.channel].tolist()
            yield one, gain * one.values.astype(np.float64) / self._flat(one) + offset

    def _flat(self, one: Thumbnail) -> Any:
        tile = self._section.tiles[one.tile]
        found = self._flats[tile.camera]
        if found is None:
            return 1.0
        key = (tile.camera, one.channel, tile.width, tile.height, one.factor)
        if key not in self._coarse:
            size = tile.width, tile.height
            self._coarse[key] = flat_nodes.coarse(found[:, :, one.channel], size, one.factor, one.values.shape)
        return self._coarse[key]
