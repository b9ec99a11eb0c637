"""What tells the sides of a cleft, and its kind: fields of a stage, and the evidence that they name, read for a cell.

Layers are read at the level whose voxels are as large as those of the clefts; beyond its bounds there are zeros.
Evidence is quantised once, voxel by voxel, so that sums are of integers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import SpecError
from igneous_ng.geometry import Box, Vec3, Vec3f
from igneous_ng.io import IO
from igneous_ng.kernels.cleft_parts import quantised
from igneous_ng.kernels.contacts import Evidence, Radius
from igneous_ng.stage import Layer, Stage, opt
from igneous_ng.volume import Volume

Array = npt.NDArray[Any]
Sides = Literal["nearest", "channels", "proximity", "vectors", "network"]
TYPES = {
    "channels": ("uint8", "uint16", "float32"),
    "proximity": ("int8", "int16", "uint8", "float32"),
    "vectors": ("int8", "int16", "float32"),
    "image": ("uint8", "uint16"),
}
_ZERO = 128  # of proximities in uint8
_FULL = 255
_HELD = 24  # bytes of a channel's voxel while it is quantised


@dataclass(frozen=True, kw_only=True)
class Sided(Stage):
    """The fields of a stage that must know the sides of clefts."""

    sides: Sides = opt("nearest", "What tells which side is which; nearest: nothing, the two segments of most contact.")
    evidence: Layer | None = opt(
        None,
        "Layer that tells it. channels: presynaptic and postsynaptic; proximity: one, above 0 presynaptic (uint8: "
        "above 128); vectors: three, from the postsynaptic voxel to its presynaptic partner; network: the image.",
    )
    post_evidence: Layer | None = opt(None, "Layer of the postsynaptic channel, where --evidence has one channel only.")
    vectors_in: Literal["nm", "voxels"] = opt("nm", "Unit of vectors.")
    reach: float = opt(400.0, "Longest vector that counts, in nm.")
    model: Layer | None = opt(None, "Folder of the model of --sides network: image and cleft in, two channels out.")
    kind: Layer | None = opt(None, "Layer that tells excitatory from inhibitory.")
    kind_from: Literal["channels", "image"] = opt(
        "channels", "What that layer is: two channels, excitatory and inhibitory; or the image, where density tells."
    )
    fill_missing: bool = opt(False, "Read missing chunks of all these layers and of the segmentation as zeros.")

    def check(self) -> None:
        """What is needed is named, and nothing else."""
        super().check()
        if (self.sides == "nearest") != (self.evidence is None):
            layer = "no layer" if self.evidence is None else self.evidence
            raise SpecError(f"{self.name}: sides by {self.sides} and {layer} as --evidence; give both, or neither")
        if self.post_evidence is not None and self.sides != "channels":
            raise SpecError(f"{self.name}: --post-evidence is of --sides channels; leave it out, or say so")
        if (self.sides == "network") != (self.model is not None):
            raise SpecError(f"{self.name}: --model and --sides network go together; give both, or neither")
        if self.reach <= 0:
            raise SpecError(f"{self.name}.reach: {self.reach:g} nm; give a positive number")

    def sources(self, io: IO, resolution: Vec3f) -> list[Volume]:
        """The levels that are read, each found to be of the type and the channels that it must be; else SpecError."""
        found = [fitting(self.name, what, volume, count) for what, volume, count in self._named(io, resolution)]
        if self.sides == "channels" and self.post_evidence is None and found[0].channels != 2:
            raise SpecError(
                f"{self.name}: {self.evidence} has {found[0].channels} channel(s), and sides are two: the presynaptic "
                "and the postsynaptic; give such a layer, or another one of the second as --post-evidence"
            )
        return found

    def far(self, resolution: Vec3f) -> Vec3:
        """The most voxels that a vector leads along each axis."""
        return Radius(self.reach, resolution).margin if self.sides == "vectors" else (0, 0, 0)

    def known(self, io: IO, cell: Box, resolution: Vec3f) -> Evidence:
        """The evidence of the voxels of a cell: weights of either side, if any, then those of the kind."""
        found = [read(io, volume, cell) for volume in self.sources(io, resolution)]
        own, kind = (found[:-1], found[-1:]) if self.kind is not None else (found, [])
        sums, leads = list[Array](), list[Array]()
        if self.sides == "channels":
            sums = [channel for array in own for channel in _channels(quantised(array))]
        elif self.sides == "proximity":
            sums = list(proximity(own[0][..., 0]))
        elif self.sides == "vectors":
            sizes = resolution if self.vectors_in == "nm" else (1.0, 1.0, 1.0)
            leads = shifts(own[0], sizes, self.far(resolution))
        sums += [channel for array in kind for channel in self._kinds(array)]
        return Evidence(sums, leads)

    def known_bytes(self, io: IO, cell: Box, resolution: Vec3f) -> int:
        """The most bytes that :meth:`known` holds at once."""
        volumes = self.sources(io, resolution)
        return cell.voxels * sum(volume.channels * (_HELD + 2 * volume.dtype.itemsize) for volume in volumes)

    def told(self) -> dict[str, Any]:
        """What is asked for, in JSON's types."""
        return {name: getattr(self, name) for name in vars(self) if name in _FIELDS}

    def _named(self, io: IO, resolution: Vec3f) -> Iterator[tuple[str, Volume, tuple[int, ...]]]:
        """What each layer is, its level, and how many channels it may have."""
        if self.sides in ("channels", "proximity", "vectors"):
            count = {"channels": (1,) if self.post_evidence else (1, 2), "proximity": (1,), "vectors": (3,)}[self.sides]
            yield self.sides, level(io, str(self.evidence), resolution, self.fill_missing), count
        if self.post_evidence is not None:
            yield self.sides, level(io, self.post_evidence, resolution, self.fill_missing), (1,)
        if self.kind is not None:
            count = (2,) if self.kind_from == "channels" else (1,)
            yield self.kind_from, level(io, self.kind, resolution, self.fill_missing), count

    def _kinds(self, array: Array) -> list[Array]:
        """Weights of the kinds; of an image how dark its voxels are, which are not beyond it."""
        found = _channels(quantised(array))
        return found if self.kind_from == "channels" else [np.where(found[0] > 0, _FULL - found[0], 0).astype(np.uint8)]


_FIELDS = {name for name in Sided.__annotations__ if name != "fill_missing"}


def level(io: IO, layer: str, resolution: Vec3f, fill_missing: bool = False) -> Volume:
    """The level of a layer whose voxels are so large; SpecError where there is none."""
    info = io.info(layer)
    for mip, scale in enumerate(info.scales):
        if scale.resolution == resolution:
            return io.volume(layer, mip, fill_missing, info)
    there = ", ".join(words(scale.resolution) for scale in info.scales)
    raise SpecError(
        f"{layer} has voxels of {there} nm, and the clefts are of {words(resolution)} nm; "
        "make a level of it by `image downsample`, or detect clefts at one of these"
    )


def words(resolution: Vec3f) -> str:
    """The size of a voxel as text."""
    return " x ".join(f"{side:g}" for side in resolution)


def read(io: IO, volume: Volume, box: Box) -> Array:
    """The voxels of ``box``, ``[x, y, z, c]`` in Fortran order, zeros outside of the level."""
    inside = box & volume.bounds
    if inside == box and box.voxels:
        return io.read(volume, box)
    found = np.zeros((*box.shape, volume.channels), volume.dtype, order="F")
    if inside.voxels:
        found[inside.slices(box.lo)] = io.read(volume, inside)
    return found


def proximity(values: Array) -> tuple[Array, Array]:
    """The weights of the presynaptic and the postsynaptic side, uint8, of signed values: positive is presynaptic.

    Integers by their greatest value, uint8 from its middle, 128, floats from -1 to 1. No number is no evidence.
    """
    if values.dtype.kind == "f":
        return quantised(values), quantised(-values)
    wide = values.astype(np.int32) - (_ZERO if values.dtype == np.uint8 else 0)
    most = {1: 127, 2: 32767}[values.dtype.itemsize]
    pre, post = (np.minimum((np.maximum(side, 0) * _FULL + most // 2) // most, _FULL) for side in (wide, -wide))
    return pre.astype(np.uint8), post.astype(np.uint8)


def shifts(vectors: Array, sizes: Vec3f, most: Vec3) -> list[Array]:
    """Where vectors [x, y, z, 3] lead: three of int16 in voxels, halves to even; 0, 0, 0 of one that leads too far.

    ``sizes`` are of a voxel in the vectors' unit, ``most`` the voxels along each axis that are not too far.
    """
    steps = [np.rint(vectors[..., axis] / np.float64(sizes[axis])) for axis in range(3)]
    kept = np.logical_and.reduce([np.abs(step) <= limit for step, limit in zip(steps, most, strict=True)])
    return [np.where(kept, step, 0).astype(np.int16) for step in steps]


def _channels(array: Array) -> list[Array]:
    return [array[..., channel] for channel in range(array.shape[3])]


def fitting(stage: str, what: str, volume: Volume, channels: tuple[int, ...]) -> Volume:
    """A level that can be ``what``; SpecError where it cannot."""
    if volume.dtype.name not in TYPES[what]:
        raise SpecError(
            f"{stage}: {volume.path} holds {volume.dtype.name}, and as {what} it must be of {', '.join(TYPES[what])}"
        )
    if volume.channels not in channels:
        several = " or ".join(map(str, channels))
        raise SpecError(f"{stage}: {volume.path} has {volume.channels} channel(s), and {what} are {several}")
    return volume


def around(box: Box, margin: Vec3, within: Box) -> Box:
    """A box with a margin, as far as it lies in another one."""
    return box.grow(margin, margin) & within
