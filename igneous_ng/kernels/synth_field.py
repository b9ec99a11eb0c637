"""Who owns each voxel: bodies grow from their skeletons at one speed until they meet.

A body's field at a place is the least ``distance - radius`` over its swept spheres; the body of least field owns
the place, and half the difference to the next body's field is the way to the common border. That is an
additively weighted Voronoi diagram of whole skeletons: along the straight line to its skeleton a body's field
falls by the full length of the way and no other falls faster, so a region is connected where its skeleton is.
Space is bent by smooth noise first, which makes borders wavy and keeps them in one piece.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.geometry import Box, Vec3f
from igneous_ng.kernels import synth_noise as noise
from igneous_ng.kernels.synth_noise import F32

F64 = npt.NDArray[np.float64]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]

WARP = ((700.0, 110.0), (260.0, 38.0), (110.0, 10.0))
"""Wavelength and amplitude (nm) of the noise that bends space; the slopes stay below 1, so nothing folds."""
FAR = 1000.0
"""The field difference (nm) that stands for 'no other body anywhere near'."""
_BLOCK = 100.0  # nm; below this size a block is computed outright
_SLACK = 0.05  # nm; more than single precision loses in a comparison of bounds


@dataclass(frozen=True)
class Tubes:
    """Swept spheres in nm, sorted by ``body``: ends ``a`` and ``a + along``, radii ``ra`` and ``ra + taper``."""

    a: F32
    along: F32
    ra: F32
    taper: F32
    body: I32

    @classmethod
    def between(cls, start: F64, stop: F64, radii: tuple[F64, F64], body: I64) -> Tubes:
        """Tubes from ``start`` to ``stop`` (n, 3), sorted stably by body."""
        order = np.argsort(body, kind="stable")
        a = start[order].astype(np.float32)
        ra = radii[0][order].astype(np.float32)
        along = stop[order].astype(np.float32) - a
        return cls(a, along, ra, radii[1][order].astype(np.float32) - ra, body[order].astype(np.int32))

    def take(self, index: I64) -> Tubes:
        """Some of the tubes; ``index`` ascends."""
        return Tubes(self.a[index], self.along[index], self.ra[index], self.taper[index], self.body[index])

    def bounds(self, centre: F32, reach: float) -> tuple[F32, F32]:
        """Limits of each tube's field over the ball of radius ``reach`` about ``centre``."""
        distance, _ = self._axis(centre[:, None])
        wide, thin = np.maximum(self.ra, self.ra + self.taper), np.minimum(self.ra, self.ra + self.taper)
        return distance[:, 0] - wide - np.float32(reach), distance[:, 0] - thin + np.float32(reach)

    def field(self, places: F32) -> F32:
        """``distance - radius`` of ``places`` (3, n) for each tube: (tubes, n)."""
        distance, t = self._axis(places)
        distance -= self.ra[:, None]
        t *= self.taper[:, None]
        distance -= t
        return distance

    def _axis(self, places: F32) -> tuple[F32, F32]:
        """Distance from each tube's axis, and where along it (0 to 1) the nearest point lies."""
        v = self.along
        square = np.maximum(v[:, 0] * v[:, 0] + v[:, 1] * v[:, 1] + v[:, 2] * v[:, 2], np.float32(1e-6))
        scaled = v / square[:, None]
        gap = [places[i][None, :] - self.a[:, i, None] for i in range(3)]
        t = gap[0] * scaled[:, 0, None]
        t += gap[1] * scaled[:, 1, None]
        t += gap[2] * scaled[:, 2, None]
        np.clip(t, 0, 1, out=t)
        total = np.zeros_like(t)
        for i in range(3):
            gap[i] -= t * v[:, i, None]
            gap[i] *= gap[i]
            total += gap[i]
        return np.sqrt(total), t


@dataclass(frozen=True)
class Owned:
    """Per voxel: its place in bent space (3, ...), owner and next body (row numbers), the owner's field, the gap."""

    place: F32
    body: I32
    other: I32
    depth: F32
    gap: F32


def bend(key: int, box: Box, resolution: Vec3f) -> F32:
    """The voxel centres of ``box`` in bent space, (3, x, y, z) nm."""
    place = np.empty((3, *box.shape), np.float32)
    for axis, step in enumerate(resolution):
        line = ((np.arange(box.lo[axis], box.hi[axis]) + 0.5) * step).astype(np.float32)
        shape = [1, 1, 1]
        shape[axis] = -1
        place[axis] = line.reshape(shape)
        for octave, (wavelength, amplitude) in enumerate(WARP):
            place[axis] += np.float32(amplitude) * noise.cloud(key + 3 * octave + axis, box, resolution, wavelength)
    return place


def unbend(key: int, places: F64) -> F64:
    """Where ``places`` (n, 3) of bent space lie in the volume, to about 0.1 nm."""
    straight = places.copy()
    for _ in range(5):
        shift = np.zeros_like(places)
        for axis in range(3):
            for octave, (wavelength, amplitude) in enumerate(WARP):
                shift[:, axis] += amplitude * noise.cloud_at(key + 3 * octave + axis, straight, wavelength)
        straight = places - shift
    return straight


def own(tubes: Tubes, key: int, box: Box, resolution: Vec3f) -> Owned:
    """Owner, neighbour and distances for every voxel of ``box``."""
    shape = box.shape
    out = Owned(
        bend(key, box, resolution),
        np.zeros(shape, np.int32),
        np.zeros(shape, np.int32),
        np.full(shape, FAR, np.float32),
        np.full(shape, FAR, np.float32),
    )
    if len(tubes.ra):
        _divide(tubes, np.arange(len(tubes.ra)), Box((0, 0, 0), shape), out, resolution)
    return out


def _divide(tubes: Tubes, index: I64, block: Box, out: Owned, resolution: Vec3f) -> None:
    """Halve ``block`` until it is small, leaving behind the tubes that can be neither first nor second in it."""
    place = out.place[(slice(None), *block.slices())]
    low, high = place.min(axis=(1, 2, 3)), place.max(axis=(1, 2, 3))
    half = (high - low).astype(np.float64) / 2
    near = tubes.take(index)
    lower, upper = near.bounds((low + high) / 2, float(np.sqrt((half * half).sum())) + _SLACK)
    starts = np.flatnonzero(np.diff(near.body, prepend=-1))
    best = np.sort(np.minimum.reduceat(upper, starts))
    keep = lower <= best[min(1, len(best) - 1)]
    size = [n * r for n, r in zip(block.shape, resolution, strict=True)]
    axis = int(np.argmax([s if n > 1 else 0 for s, n in zip(size, block.shape, strict=True)]))
    if size[axis] <= _BLOCK or block.shape[axis] == 1:
        _settle(near.take(np.flatnonzero(keep)), place, block, out)
        return
    middle = list(block.hi)
    middle[axis] = block.lo[axis] + block.shape[axis] // 2
    first = Box(block.lo, (middle[0], middle[1], middle[2]))
    start = list(block.lo)
    start[axis] = middle[axis]
    for part in (first, Box((start[0], start[1], start[2]), block.hi)):
        _divide(tubes, index[keep], part, out, resolution)


def _settle(near: Tubes, place: F32, block: Box, out: Owned) -> None:
    field = near.field(place.reshape(3, -1))
    starts = np.flatnonzero(np.diff(near.body, prepend=-1))
    rows: Any = near.body[starts]
    field = np.minimum.reduceat(field, starts, axis=0)
    at, shape, every = block.slices(), block.shape, np.arange(field.shape[1])
    first = field.argmin(0)
    depth = field[first, every]
    out.body[at], out.depth[at] = rows[first].reshape(shape), depth.reshape(shape)
    if len(rows) > 1:
        field[first, every] = np.inf
        second = field.argmin(0)
        out.other[at] = rows[second].reshape(shape)
        out.gap[at] = np.minimum(field[second, every] - depth, FAR).reshape(shape)
    else:
        out.other[at] = out.body[at]
