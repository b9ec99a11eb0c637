"""Evidence of sides by a network that sees a cleft at a time (Turner et al. 2020): image, and which voxels are it.

Its patch lies around the voxel of the cleft that is nearest to the centroid, so it does not depend on cells; a cleft
is looked at by the cell in which it begins. Grey values are shown as they are, from 0 to 1. The sums are over voxels of
the trusted part of the patch within the radius of those voxels of the cleft that lie in the patch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng import siding
from igneous_ng.clefts import Clefts
from igneous_ng.errors import DataError
from igneous_ng.geometry import Box, Vec3, vec
from igneous_ng.io import IO
from igneous_ng.kernels import contacts
from igneous_ng.kernels.cleft_parts import quantised
from igneous_ng.kernels.contacts import Evidence, Labels, Radius
from igneous_ng.models import opening
from igneous_ng.models.base import Answering, Machine, grey
from igneous_ng.models.folder import Card
from igneous_ng.volume import Volume

Array = npt.NDArray[Any]
_FAR, _NOWHERE = np.iinfo(np.int64).max, np.iinfo(np.uint64).max
_HELD = 64  # bytes of a patch's voxel beside the network: image, labels, masks, weights


@dataclass(frozen=True)
class Looking:
    """A model at ``model`` that looks at ``image`` around clefts of ``ids``, for the sums over ``segments``."""

    io: IO
    model: str
    image: Volume
    ids: Volume
    segments: Volume
    radius: Radius

    @cached_property
    def card(self) -> Card:
        """What the model says of itself."""
        return opening.sides(self.io, self.model, self.ids.resolution)

    @cached_property
    def network(self) -> Answering:
        """The model."""
        return opening.load_sides(opening.learnt(self.io, self.model, self.card), self.card, Machine())

    def peak_bytes(self) -> int:
        """The most bytes that :meth:`contacts` holds, but for its answer."""
        patch = Box((0, 0, 0), self.card.shape.patch).voxels
        return patch * (_HELD + self.card.bytes_per_voxel)

    def contacts(self, known: Clefts, cell: Box) -> list[dict[str, Array]]:
        """The evidence of the sides of each cleft that begins in a cell, as contacts of no voxels."""
        rows = known.within(cell)
        first = known.plan.voxels(rows["key"])
        middles = np.array(self.ids.bounds.lo) + rows["places"] // rows["voxels"][:, None]
        found = []
        for name, middle, start in zip(rows["id"], middles, first, strict=True):
            some = self._of(name, self._nearest(name, vec(middle), vec(start)))
            count = len(some["object"])
            nowhere = {"distance": np.full(count, _FAR), "place": np.full(count, _NOWHERE)}
            found.append({**some, "voxels": np.zeros(count, np.uint64), **nowhere})
        return found

    def _patch(self, middle: Vec3) -> Box:
        sides = self.card.shape.patch
        return Box.sized(vec(at - side // 2 for at, side in zip(middle, sides, strict=True)), sides)

    def _nearest(self, name: Any, middle: Vec3, start: Vec3) -> Vec3:
        """The cleft's voxel nearest to its middle, of those in the patch around that; its first where there is none."""
        box = self._patch(middle) & self.ids.bounds
        voxels = np.argwhere(self.io.read(self.ids, box)[..., 0] == name) + np.array(box.lo)
        if not len(voxels):
            return start
        far = (((voxels - np.array(middle)) * np.array(self.radius.pitch)) ** 2).sum(axis=1)
        return vec(voxels[np.lexsort((*voxels.T, far))[0]])

    def _of(self, name: Any, middle: Vec3) -> dict[str, Array]:
        """The evidence of one cleft."""
        box = self._patch(middle)
        own = np.where(siding.read(self.io, self.ids, box)[..., 0] == name, name, np.uint64(0))
        said = self._said(siding.read(self.io, self.image, box)[..., 0], own > 0)
        margin = tuple(-n for n in self.card.shape.margin)
        seen = box.grow(vec(margin), vec(margin)) & self.ids.bounds
        weights = [quantised(said[..., side])[seen.slices(box.lo)] for side in range(2)]
        segments = Labels(box, siding.read(self.io, self.segments, box)[..., 0])
        found = contacts.contacts(Labels(box, own), segments, seen, self.ids.bounds, Evidence(weights), self.radius)
        return contacts.evidence(found, weighted=True)

    def _said(self, image: Array, own: Array) -> Array:
        found = self.network.answer(np.stack([grey(image), own.astype(np.float32)], axis=-1))
        if not (found.min() >= 0 and found.max() <= 1):
            raise DataError(
                f"{self.model}: the network says {found.min():g} to {found.max():g}, and its answers are to be from 0 "
                "to 1; let it end in a sigmoid"
            )
        return found


def together(near: Mapping[str, Array], looked: list[dict[str, Array]]) -> dict[str, Array]:
    """Contacts, and what a network says of some clefts."""
    kinds = near["kinds"].shape[1]
    more = [{**one, "kinds": np.zeros((len(one["object"]), kinds), np.uint64)} for one in looked]
    return contacts.summed([dict(near), *more])
