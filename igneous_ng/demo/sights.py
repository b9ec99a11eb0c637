"""Pictures for the report, cut from the layers of a demo: pixels ``[y, x]`` or ``[y, x, 3]``, uint8."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.geometry import Box, vec
from igneous_ng.io import IO
from igneous_ng.pages.heat import coloured
from igneous_ng.volume import Volume

Array = npt.NDArray[Any]
_TALL = 3  # pixels of a cut along z for one section
_ALPHA = 0.45
_FOUND, _TRUE = (255, 210, 0), (0, 190, 255)
_FACTORS = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], np.uint64)  # odd, bits well mixed
_BITS = 4.0  # of an error map: what is drawn in the last colour
_OFF = 2.0  # pixels of the heat map of an alignment, in the same way


@dataclass(frozen=True)
class Sight:
    """A picture and what it shows; ``chapter`` says where in the report."""

    chapter: str
    said: str
    rows: Array


def all_of(folder: Path) -> Iterator[Sight]:
    """All pictures of a demo."""
    looks = _Looks(folder)
    yield from looks.stitched()
    yield from looks.aligned()
    yield from looks.neurons()
    yield from looks.synapses()


class _Looks:
    """The layers of a demo, at the middle section."""

    def __init__(self, folder: Path) -> None:
        self._io, self._folder = IO(), folder
        self._box = self._volume("volume").bounds
        self._z = (self._box.lo[2] + self._box.hi[2]) // 2

    def stitched(self) -> Iterator[Sight]:
        """The middle section by the stage's word, and as it was stitched."""
        yield Sight("stitching", f"section {self._z} where the stage put its tiles", self._section("before", self._z))
        yield Sight("stitching", f"section {self._z} stitched, even in brightness", self._section("mosaic", self._z))

    def aligned(self) -> Iterator[Sight]:
        """A cut through the stack before and after, and how far off blocks are."""
        yield Sight("alignment", "cut through the sections as they were stitched", self._cut("mosaic"))
        yield Sight("alignment", "the same cut through the aligned volume", self._cut("volume"))
        off = self._whole(self._volume("alignment/heat"))[..., 0].max(axis=2)  # below 0: nothing was measured
        said = f"how far the worst block of all sections is off: blue 0, red {_OFF:g} px or more"
        yield Sight("alignment", said, coloured(off, _OFF))

    def neurons(self) -> Iterator[Sight]:
        """Segments and true bodies over the image, and the map of errors."""
        grey = self._section("volume", self._z)
        yield Sight("segmentation", "what was found", _over(grey, self._section("segmentation", self._z)))
        yield Sight("segmentation", "the truth", _over(grey, self._section("truth/segmentation", self._z)))
        errors = self._whole(self._volume("scores/segmentation"))
        for channel, what in enumerate(("split", "merged")):
            said = f"where objects are {what}, mean of all sections: blue 0, red {_BITS:g} bits a voxel or more"
            yield Sight("segmentation", said, coloured(errors[..., channel].mean(axis=2), _BITS))

    def synapses(self) -> Iterator[Sight]:
        """Clefts that were found, and true ones."""
        found, true = (self._whole(self._volume(name))[..., 0] > 0 for name in ("clefts", "truth/clefts"))
        z = int(true.sum(axis=(0, 1)).argmax())
        rows = np.repeat(self._section("volume", self._box.lo[2] + z)[..., np.newaxis], 3, axis=2)
        for mask, colour in ((true[:, :, z].T, _TRUE), (found[:, :, z].T, _FOUND)):
            rows = np.where(mask[..., np.newaxis], _mixed(rows, colour), rows)
        said = f"section {self._box.lo[2] + z}: clefts found in yellow, true ones in blue, both in green"
        yield Sight("synapses", said, rows)

    def _section(self, layer: str, z: int) -> Array:
        volume = self._volume(layer)
        lo, hi = volume.bounds.lo, volume.bounds.hi
        found: Array = self._io.read(volume, Box((*lo[:2], z), (*hi[:2], z + 1)))[:, :, 0, 0].T
        return found

    def _cut(self, layer: str) -> Array:
        """Along x and z, in the middle of y; z downwards."""
        volume = self._volume(layer)
        lo, hi = list(volume.bounds.lo), list(volume.bounds.hi)
        lo[1] = (lo[1] + hi[1]) // 2
        hi[1] = lo[1] + 1
        found: Array = self._io.read(volume, Box(vec(lo), vec(hi)))[:, 0, :, 0].T.repeat(_TALL, axis=0)
        return found

    def _whole(self, volume: Volume) -> Array:
        return self._io.read(volume, volume.bounds)

    def _volume(self, layer: str) -> Volume:
        return self._io.volume(f"file://{self._folder}/{layer}", 0, fill_missing=True)


def _over(grey: Array, labels: Array) -> Array:
    """Labels in colours over an image; 0 is clear."""
    key = labels.astype(np.uint64)
    colours = np.stack([(key * factor) >> np.uint64(56) for factor in _FACTORS], axis=-1)
    rows = np.repeat(grey[..., np.newaxis], 3, axis=2)
    found: Array = np.where((labels > 0)[..., np.newaxis], _mixed(rows, colours), rows)
    return found


def _mixed(rows: Array, colour: Any) -> Array:
    return np.rint(rows * (1 - _ALPHA) + np.asarray(colour, np.float64) * _ALPHA).astype(np.uint8)
