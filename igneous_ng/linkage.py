"""What holds sections in their places: displacements that were measured, how sure these are, and springs.

All are in the frames of rough maps, for the nodes of a round; boxes are of nodes, along x and y.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from igneous_ng.alignment import CHUNK, Alignment, Rough, Round
from igneous_ng.errors import DataError
from igneous_ng.geometry import Box, Grid
from igneous_ng.io import IO
from igneous_ng.kernels import fields
from igneous_ng.kernels.affine import polar
from igneous_ng.kernels.loops import DISTANCES, FEWEST
from igneous_ng.warps import Field, Warp
from igneous_ng.windows import Windows

Array = npt.NDArray[Any]
_NEAR = 2  # sections before and after whose loops count
_FINE = 16  # pixels of a mask, at least, between nodes
_LEFT = np.array([1.0, 1.0, 0.01, 0.001])  # of a spring that lies on tissue, void, fold, crack
_SIGMA, _STATUS = 4, 5  # channels of a flow


class Plane(NamedTuple):
    """At the nodes of a section, what is seen ``distance`` sections before it; NaN where nothing is, or nearer."""

    distance: int
    own: Array
    """Places in the section, ``[x, y, 2]``."""
    other: Array
    """Places in the other, ``[x, y, 2]``."""
    sigma: Array
    """``[x, y]``, pixels along one axis."""


@dataclass(frozen=True)
class Anchor:
    """A point of a section that is known to lie at a place of the volume."""

    z: int
    section: tuple[float, float]
    volume: tuple[float, float]
    sigma: float


@dataclass(frozen=True)
class Linkage:
    """The links and springs of a round."""

    io: IO
    alignment: Alignment
    lattice: Round
    _weights: dict[int, Any] = field(default_factory=dict)

    def url(self, name: str) -> str:
        """What the round keeps under a name."""
        return f"{self.alignment.home}/rounds/{self.lattice.number}/{name}"

    @cached_property
    def distances(self) -> tuple[int, ...]:
        """Between sections, at which something was measured."""
        urls = {k: f"{self.url('flow')}/{k}/info" for k in range(1, DISTANCES + 1)}
        return tuple(k for k, url in urls.items() if self.io.exists(url))

    def measured(self, z: int, distance: int, box: Box) -> tuple[Array, Array] | None:
        """Displacements ``[x, y, 2]`` and their sigma ``[x, y]``, NaN where they are not good; None: no such section.

        Of ``box`` x and y count.
        """
        if z - distance < self.lattice.box.lo[2] or distance not in self.distances:
            return None
        at = Box((*box.lo[:2], z), (*box.hi[:2], z + 1))
        flow = Field(self.io, f"{self.url('flow')}/{distance}", self.lattice.step).nodes(at)[:, :, 0]
        good = (flow[..., _STATUS] == 0) & np.isfinite(flow[..., :2]).all(axis=-1) & (flow[..., _SIGMA] > 0)
        return np.where(good[..., np.newaxis], flow[..., :2], np.nan), np.where(good, flow[..., _SIGMA], np.nan)

    def planes(self, z: int, box: Box) -> Iterator[Plane]:
        """Links of section ``z`` at the nodes of ``box``, of each node the one to the nearest section."""
        low, high = (box.lo[0], box.lo[1]), (box.hi[0], box.hi[1])
        nodes = fields.points(low, high, self.lattice.step)
        open_ = np.ones(nodes.shape[:2], bool)
        own: Array | None = None
        for distance in self.distances:
            found = self.measured(z, distance, box)
            use = open_ & np.isfinite(found[1]) if found else ~open_ & open_
            if found is None or not use.any():
                continue
            open_ &= ~use
            own = self._before(z, nodes) if own is None else own
            other = np.full(nodes.shape, np.nan)
            other[use] = self._before(z - distance, nodes[use] + found[0][use])
            sigma = np.where(use, np.fmax(found[1], self.sigma(z, distance)), np.nan)
            yield Plane(distance, np.where(use[..., np.newaxis], own, np.nan), other, sigma)

    def sigma(self, z: int, distance: int) -> float:
        """Of displacements over so many sections: the median of what loops say around ``z``, if they say anything."""
        near = [self._weight(n) for n in range(z - _NEAR, z + _NEAR + 1) if self._has(n)]
        told = [one for one in near if one["loops"] >= FEWEST] or [self._weight(z)]
        return float(np.median([one["sigma"][str(distance)] for one in told]))

    def rest(self, box: Box, step: int) -> Array:
        """How displacements grow from node to node in sections that are as they were found, ``[z, axis, 2]``.

        Rough maps stretch sections to fit others; what is off in that adds up along z. Springs want them as they were,
        but turned.
        """
        return np.stack([_unstretched(self.alignment.rough(self.io, z)) * step for z in range(box.lo[2], box.hi[2])])

    def springs(self, z: int, box: Box) -> tuple[Array, Array] | None:
        """What is left of springs between nodes, along x ``[x - 1, y]`` and y ``[x, y - 1]``; None: all of all."""
        if not self.alignment.mask:
            return None
        nx, ny, _ = box.shape
        along_x, along_y = np.ones((nx - 1, ny)), np.ones((nx, ny - 1))
        plane = Box((*box.lo[:2], z), (*box.hi[:2], z + 1))
        for part in Grid(plane, (CHUNK, CHUNK, 1)):
            wide = part.grow((0, 0, 0), (1, 1, 0)) & plane
            codes, xs, ys = self._codes(wide, z)
            i, j, _ = wide.slices(plane.lo)
            at_y, at_x = codes[:, ys], codes[xs]
            along_x[i.start : i.stop - 1, j] = _LEFT[np.maximum.reduceat(at_y, xs, axis=0)[:-1]]
            along_y[i, j.start : j.stop - 1] = _LEFT[np.maximum.reduceat(at_x, ys, axis=1)[:, :-1]]
        return along_x, along_y

    def _codes(self, box: Box, z: int) -> tuple[Array, Array, Array]:
        """The mask around nodes, and the pixels of it in which nodes lie."""
        windows = self._windows
        xs, ys = (
            ((2 * np.arange(a, b) + 1) * self.lattice.step) // (2 * windows.factor)
            for a, b in zip(box.lo[:2], box.hi[:2], strict=True)
        )
        codes = windows.mask(z, (int(xs[0]), int(ys[0]), int(xs[-1]) + 1, int(ys[-1]) + 1))
        return codes, xs - xs[0], ys - ys[0]

    @cached_property
    def _windows(self) -> Windows:
        info = self.io.info(self.alignment.layer)
        depth = info.scales[0].resolution[2]
        levels = [n for n, scale in enumerate(info.scales) if scale.resolution[2] == depth]
        fit = [n for n in levels if self.alignment.factor(info, n) * _FINE <= self.lattice.step]
        return Windows(self.io, self.alignment, max(fit, default=0), 0)

    def _before(self, z: int, points: Array) -> Array:
        """Where places of the round before lie in the frame of the rough map."""
        return Warp(self.io, self.alignment, z, self.lattice.number - 1).straight(points)

    def _has(self, z: int) -> bool:
        return self.lattice.box.lo[2] <= z < self.lattice.box.hi[2]

    def _weight(self, z: int) -> Any:
        if z not in self._weights:
            url = self.alignment.url(f"rounds/{self.lattice.number}/weights", z, ".json")
            found = self.io.get_json(url)
            if found is None:
                raise DataError(f"{url}: it is not known how sure displacements are; run `align weigh` first")
            self._weights[z] = found
        return self._weights[z]


def anchors(io: IO, url: str | None) -> tuple[Anchor, ...]:
    """Those of a file of JSON lines: z, section [x, y], volume [x, y], sigma; pixels of mip 0. None: there are none."""
    if url is None:
        return ()
    data = io.get(url)
    if data is None:
        raise DataError(f"{url}: there is no such file of anchors; check the path, or leave it out")
    return tuple(_anchor(line, f"{url}, line {n + 1}") for n, line in enumerate(data.decode().splitlines()) if line)


def _anchor(line: str, where: str) -> Anchor:
    try:
        raw = json.loads(line)
        (a, b), (c, d) = raw["section"], raw["volume"]
        found = Anchor(int(raw["z"]), (float(a), float(b)), (float(c), float(d)), float(raw["sigma"]))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f'{where}: is no anchor ({error}); write {{"z": 7, "section": [x, y], "volume": [x, y], "sigma": 2}}'
        ) from None
    if not found.sigma > 0:
        raise DataError(f"{where}: sigma is {found.sigma}; give a positive number of pixels")
    return found


def _unstretched(rough: Rough) -> Array:
    """What is to be added to a map's frame, by axis, so that its section is only turned: ``R A^-1 - 1``, transposed."""
    _, turn = polar(rough.matrix)
    return np.asarray((turn @ np.linalg.inv(rough.matrix) - np.eye(2)).T)
