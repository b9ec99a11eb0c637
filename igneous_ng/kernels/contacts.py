"""Which segments lie near each object of a box, and what evidence says of them. Numpy in and out, integers only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.geometry import Box, Vec3, Vec3f, exactly, vec
from igneous_ng.native import contacts as native

Array = npt.NDArray[Any]
_PM = 1000  # in a nm
FULL = 255
"""The weight of a voxel that is sure."""


@dataclass(frozen=True)
class Radius:
    """A distance of ``nm`` in a volume whose voxels are ``resolution`` nm wide; both are taken as whole pm."""

    nm: float
    resolution: Vec3f

    @property
    def pitch(self) -> Vec3:
        """The size of a voxel in pm."""
        return pitch(self.resolution)

    @property
    def square(self) -> int:
        """The squared distance, pm^2."""
        return round(exactly(self.nm) * _PM) ** 2

    @property
    def margin(self) -> Vec3:
        """The most voxels along each axis that lie within the distance."""
        return vec(isqrt(self.square) // side for side in self.pitch)


def pitch(resolution: Vec3f) -> Vec3:
    """The size of a voxel in whole pm."""
    return vec(max(1, round(exactly(side) * _PM)) for side in resolution)


def nanometres(voxels: Array, resolution: Vec3f) -> Array:
    """The centres, int64 [n, 3] in whole nm, halves upwards, of voxels, integers [n, 3]."""
    found: Array = ((2 * voxels.astype(np.int64) + 1) * np.array(pitch(resolution)) + _PM) // (2 * _PM)
    return found


def centroids(places: Array, voxels: Array, first: Vec3, resolution: Vec3f) -> Array:
    """Centroids, int64 [n, 3] in whole nm, halves upwards.

    ``places`` int64 [n, 3] are the sums of voxels' places from ``first`` on, ``voxels`` [n] their numbers.
    """
    count = voxels.astype(object)[:, None]  # products may exceed 64 bits
    doubled = (2 * np.array(first, object) + 1) * count + 2 * places.astype(object)
    found: Array = (doubled * np.array(pitch(resolution), object) + _PM * count) // (2 * _PM * count)
    return found.astype(np.int64).reshape(-1, 3)


@dataclass(frozen=True)
class Evidence:
    """What is known of the voxels of a cell, [x, y, z] each.

    ``weights`` are uint8 and summed. ``shifts`` are none, or three of int16: where a voxel's vector leads, in voxels.
    """

    weights: Sequence[Array] = ()
    shifts: Sequence[Array] = ()


@dataclass(frozen=True)
class Labels:
    """Labels [x, y, z] of a box."""

    box: Box
    values: Array


def contacts(
    objects: Labels, segments: Labels, cell: Box, whole: Box, known: Evidence, radius: Radius
) -> dict[str, Array]:
    """What the voxels of ``cell`` within the radius of each object say: see ``native/contacts.pyi``.

    ``objects`` are uint64, and as far as the radius reaches; ``segments`` cover the cell, and as far as vectors lead.
    """
    return native.find(
        objects.values,
        segments.values,
        (objects.box.lo, segments.box.lo),
        (cell.lo, cell.hi),
        (whole.lo, whole.shape),
        list(known.weights),
        list(known.shifts),
        radius.pitch,
        radius.square,
    )


def evidence(found: dict[str, Array], weighted: bool) -> dict[str, Array]:
    """Columns of :func:`contacts` by what they mean: pre and post, sums of evidence, and kinds [n, k], the other sums.

    ``weighted``: the first two sums are the evidence. Else it is vectors: a voxel whose vector leads elsewhere is
    surely postsynaptic, and the one where it leads presynaptic; without vectors there is none.
    """
    sums, more = found.pop("sums"), {name: found.pop(name) * np.uint64(FULL) for name in ("met", "left")}
    pre, post = (sums[:, 0], sums[:, 1]) if weighted else (more["met"], more["left"])
    return {**found, "pre": pre, "post": post, "kinds": sums[:, 2:] if weighted else sums}


def summed(tables: Sequence[dict[str, Array]]) -> dict[str, Array]:
    """Contacts of several cells as those of the volume: columns by object, then segment, each pair once."""
    every = {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}
    order = np.lexsort((every["place"], every["distance"], every["segment"], every["object"]))
    every = {name: column[order] for name, column in every.items()}
    pairs = np.stack([every["object"], every["segment"]], axis=1)
    starts = np.flatnonzero(np.concatenate([[True], (pairs[1:] != pairs[:-1]).any(axis=1)])[: len(pairs)])
    least = ("object", "segment", "distance", "place")
    return {
        name: column[starts] if name in least or not len(starts) else np.add.reduceat(column, starts, axis=0)
        for name, column in every.items()
    }
