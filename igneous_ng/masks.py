"""Masks: a coarse layer says which voxels of a finer one count: tissue, or all but nuclei and vessels.

A voxel takes the label of the mask's voxel that its centre lies in. Layers are laid over each other in nm from
their common origin, by exact fractions, so any ratio and any offset give one answer.

A stage that reads a layer becomes one that can be masked by three things: :class:`Masked` among its bases,
:meth:`Masked.seen` around its read, and :meth:`Masked.mask_bytes` in its ``peak_bytes``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import SpecError
from igneous_ng.formats.info import Info
from igneous_ng.geometry import Box, Vec3f, exactly, vec
from igneous_ng.io import IO
from igneous_ng.stage import Layer, Stage, opt
from igneous_ng.volume import Volume

Array = npt.NDArray[Any]
_COPIES = 3  # of the mask's own voxels held at once: chunks, the array, what they say


@dataclass(frozen=True, kw_only=True)
class Masked(Stage):
    """The fields of a stage that can leave out what a mask says, and what they mean."""

    NONE: ClassVar[dict[str, Any]] = {"mask": None, "mask_mip": 0, "mask_labels": (), "mask_keep": True}

    mask: Layer | None = opt(None, "Layer whose labels say what counts, at its own resolution and place.")
    mask_mip: int = opt(0, "Level of the mask to read.")
    mask_labels: tuple[int, ...] = opt((), "The labels of the mask that are meant; by default all but 0.")
    mask_keep: bool = opt(True, "Keep what lies in these labels and leave out the rest; else the reverse.")

    def check(self) -> None:
        """Raise SpecError where labels are named and no mask is."""
        super().check()
        if self.mask is None and (self.mask_labels or self.mask_mip or not self.mask_keep):
            raise SpecError(f"{self.name}: options of a mask and no mask; give --mask")
        if self.mask_mip < 0:
            raise SpecError(f"{self.name}.mask_mip: {self.mask_mip}; levels are counted from 0")

    def excluded(self, io: IO, box: Box, resolution: Vec3f) -> Array | None:
        """Which voxels of ``box``, of ``resolution``, are left out, [x, y, z]; None where there is no mask."""
        if self.mask is None:
            return None
        volume = self.mask_volume(io)
        at = centres(box, resolution, volume.resolution)
        needed = _hull(at) & volume.bounds
        kept = self._kept(io, volume, needed)
        sides = []
        for axis, indices in enumerate(at):
            inside = (indices >= needed.lo[axis]) & (indices < needed.hi[axis])
            sides.append(np.where(inside, indices - needed.lo[axis], needed.shape[axis]))  # the last is outside
        left_out: Array = ~kept.T[np.ix_(*reversed(sides))].T  # in Fortran order, as voxels are
        return left_out

    def seen(
        self, io: IO, source: Info, mip: int, box: Box, read: Callable[[Box], Array]
    ) -> tuple[Array, Array | None]:
        """The voxels [x, y, z, c] of ``box`` of a level, zeros where they are left out, and where that is.

        ``read`` gives them; it is not called where nothing is kept. How many voxels were left out is added up in the
        record. Without a mask nothing is left out, and the second is None.
        """
        left_out = self.excluded(io, box, source.scales[mip].resolution)
        if left_out is None:
            return read(box), None
        count = int(np.count_nonzero(left_out))
        io.note(masked_voxels=io.ledger.notes.get("masked_voxels", 0) + count)
        if count == box.voxels:
            return np.zeros((*box.shape, source.channels), source.dtype, order="F"), left_out
        voxels = read(box)
        voxels[left_out] = 0
        return voxels, left_out

    @property
    def room(self) -> int:
        """Bytes that the voxels of one task may take: a mask needs about as much as they do."""
        return self.memory if self.mask is None else self.memory // 2

    def mask_volume(self, io: IO) -> Volume:
        """The level of the mask that is read; SpecError where it is no mask."""
        volume = io.volume(self.mask or "", self.mask_mip)
        if volume.channels != 1:
            raise SpecError(
                f"{self.name}: the mask {self.mask} has {volume.channels} channels; give one of a single one"
            )
        return volume

    def mask_bytes(self, io: IO, box: Box, resolution: Vec3f) -> int:
        """The most bytes that :meth:`excluded`, or :meth:`seen` beside the voxels, holds at once."""
        if self.mask is None:
            return 0
        volume = self.mask_volume(io)
        read = (_hull(centres(box, resolution, volume.resolution)) & volume.bounds).voxels
        return 3 * box.voxels + read * (volume.voxel_bytes * _COPIES + 2)

    def mask_parameters(self) -> dict[str, Any]:
        """What was left out, in JSON's types."""
        if self.mask is None:
            return {"mask": None}
        return {
            "mask": str(self.mask),
            "mip": self.mask_mip,
            "labels": [str(label) for label in sorted(set(self.mask_labels))],
            "keep": self.mask_keep,
        }

    def _kept(self, io: IO, volume: Volume, box: Box) -> Array:
        """Which voxels of the mask count, and behind the last of each axis, whether what lies outside does."""
        kept = np.full([n + 1 for n in box.shape], self._counts(np.zeros(1, volume.dtype))[0])
        if box.voxels:
            kept[:-1, :-1, :-1] = self._counts(io.read(volume, box)[..., 0])
        return kept

    def _counts(self, labels: Array) -> Array:
        meant = np.isin(labels, _within(self.mask_labels, labels.dtype)) if self.mask_labels else labels != 0
        return meant if self.mask_keep else ~meant


def centres(box: Box, fine: Vec3f, coarse: Vec3f) -> list[Array]:
    """For each axis, the coarse voxels that the centres of the fine voxels of ``box`` lie in."""
    found = []
    for lo, hi, r, c in zip(box.lo, box.hi, fine, coarse, strict=True):
        ratio = exactly(r) / exactly(c)
        p, q = ratio.numerator, 2 * ratio.denominator
        found.append(np.array([(2 * i + 1) * p // q for i in range(lo, hi)], np.int64))
    return found


def _hull(at: list[Array]) -> Box:
    return Box(vec(a[0] for a in at), vec(a[-1] + 1 for a in at))


def _within(labels: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    limits = np.iinfo(dtype) if dtype.kind in "ui" else None
    return np.array([v for v in labels if limits is None or limits.min <= v <= limits.max], dtype)
