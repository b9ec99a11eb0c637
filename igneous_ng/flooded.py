"""What is asked of a flood, and what it reads: an image, edges in it, and a model."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from igneous_ng.affinities import FULL, Affinities
from igneous_ng.errors import SpecError
from igneous_ng.geometry import Box, Vec3
from igneous_ng.io import IO
from igneous_ng.kernels import flooding
from igneous_ng.masks import Masked
from igneous_ng.models import images, level, opening
from igneous_ng.models.base import grey
from igneous_ng.models.folder import Card
from igneous_ng.models.greys import Greys
from igneous_ng.stage import Layer, LayerUrl, arg, opt
from igneous_ng.volume import Volume

Array = npt.NDArray[Any]
_EDGE = FULL // 2  # affinities up to it are edges


@dataclass(frozen=True, kw_only=True)
class Flooding(Masked):
    """The fields that say which objects there are."""

    image: LayerUrl = arg("Layer of the image, of one channel.")
    layer: LayerUrl = arg("Layer to create; what the phases tell each other is kept in its folder flood.")
    mip: int = opt(0, "Level of the image to read; it becomes level 0 of the new layer.")
    model: str = opt(
        level.NAME, "level (what is bright is an object), or the URL of a folder of `segment train flood`."
    )
    edges: Layer | None = opt(None, "Affinities or boundaries, for seeds far from them; by default gradients.")
    edges_mip: int = opt(0, "Level of these whose voxels are the image's.")
    move: float = opt(0.9, "Go on where voxels are of the object so surely.")
    claim: float = opt(0.6, "Voxels are of the object that are so as surely.")
    min_size: int = opt(1000, "Drop objects of fewer voxels.")
    consensus: bool = opt(False, "Flood twice, the second time with seeds reversed, and split what either splits.")
    device: Literal["auto", "cpu", "cuda"] = opt(
        "cpu", "What computes networks: cpu, the same bytes everywhere; cuda; auto: cuda where there is one."
    )
    fill_missing: bool = opt(False, "Read missing chunks as zeros instead of failing; nothing is found in zeros.")
    cell: Vec3 = opt((192, 192, 192), "Voxels that one task writes, rounded up to whole chunks.")
    overlap: Vec3 = opt((32, 32, 32), "Voxels around these in which it looks, too, and that neighbours share.")
    chunk: Vec3 = opt((64, 64, 64), "Shape of a chunk of the new layer in voxels.")

    def check(self) -> None:
        """Sizes are real, and levels of sureness in order."""
        super().check()
        if self.model != level.NAME:  # in its one spelling, whoever reads it, wherever
            object.__setattr__(self, "model", str(Layer.parse(self.model)))
        if min(*self.cell, *self.chunk, *self.overlap, self.min_size) < 1:
            raise SpecError(f"{self.name}: cell, chunk, overlap and min_size are at least 1 voxel")
        if any(o > c for o, c in zip(self.overlap, self.cell, strict=True)):
            raise SpecError(f"{self.name}.overlap: {self.overlap} is more than a cell of {self.cell}; give less")
        if not 0.5 <= self.claim <= self.move < 1:
            raise SpecError(f"{self.name}: claim {self.claim:g} and move {self.move:g}; 0.5 <= claim <= move < 1")
        if self.edges is None and self.edges_mip:
            raise SpecError(f"{self.name}.edges_mip: {self.edges_mip} and no edges; give --edges")
        if self.layer in (self.image, self.edges):
            raise SpecError(f"{self.name}: {self.layer} is read; give another layer for the objects")

    def home(self) -> str:
        """Records lie with the new layer."""
        return self.layer

    def inputs(self, io: IO) -> tuple[str, ...]:
        """The image, its mask, the edges, and the model's folder."""
        given = {self.image, self.mask, self.edges, None if self.model == level.NAME else self.model}
        return tuple(sorted(str(one) for one in given if one is not None))

    def volume(self, io: IO) -> Volume:
        """The level of the image; SpecError where that is none."""
        return images.opened(io, self.image, self.mip, self.fill_missing)

    def card(self, io: IO) -> Card:
        """What the model says of itself; SpecError where it knows other voxels."""
        volume = self.volume(io)
        card = opening.flooding(io, self.model, volume.resolution)
        images.check_scale(self.name, volume, card)
        return card

    def affinities(self, io: IO, volume: Volume) -> Affinities:
        """What tells edges, if it is given; SpecError where it does not lie over the image."""
        known = Affinities(str(self.edges), self.edges_mip, fill_missing=self.fill_missing)
        if self.edges is not None:
            beside = known.volume(io)
            if beside.bounds != volume.bounds or beside.resolution != volume.resolution:
                raise SpecError(
                    f"{self.edges} mip {self.edges_mip}: {beside.bounds} of {beside.resolution} nm, and the image has "
                    f"{volume.bounds} of {volume.resolution} nm; give edges of the same voxels"
                )
        return known

    def starts(self, io: IO, volume: Volume, around: Box) -> tuple[Array, Array]:
        """Where objects may be, bool [x, y, z], and their seeds."""
        image, left_out = self.seen(io, volume.info, volume.mip, around, partial(io.read, volume))
        free: Array = ndimage.maximum_filter(image[..., 0], 3) > 0  # lumps of zeros are nothing
        if left_out is not None:
            free &= ~left_out
        if not free.any() or image.min() == image.max():
            return free, np.zeros((0, 3), np.int64)
        if self.edges is None:
            edge = flooding.edges(grey(image[..., 0]))
        else:
            edge = _low(self.affinities(io, volume).read(io, around), around, volume.bounds)
        found = flooding.seeds(edge | ~free, volume.resolution)
        return np.asfortranarray(free), found

    def shades(self, io: IO, volume: Volume, box: Box, own: Greys | None, like: Greys | None) -> Array:
        """Grey values of a box, those of the levels ``own`` as of ``like``; beyond the layer the image is mirrored."""
        there = box & volume.bounds
        found = grey(io.read(volume, there)[..., 0])
        if own is not None and like is not None:
            found = own.moved(found, like)
        beyond = [(a - b, c - d) for a, b, c, d in zip(there.lo, box.lo, box.hi, there.hi, strict=True)]
        return np.asfortranarray(np.pad(found, beyond, mode="reflect") if np.any(beyond) else found)


def _low(affinities: Array, box: Box, bounds: Box) -> Array:
    """Where voxels are edges: where any affinity is low that does not lead out of the layer."""
    for axis in range(3):
        if box.lo[axis] == bounds.lo[axis]:
            affinities[(*(0 if k == axis else slice(None) for k in range(3)), axis)] = FULL
    return np.asarray(affinities.min(axis=3) <= _EDGE)
