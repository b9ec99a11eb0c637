"""The tiles of a section while their maps are sought: ``m(p) = m0 + mx u + my v`` of centred, bent coordinates (u, v).

``(u, v) = (p + lens(p) - centre) / radius``, so that all unknowns of a tile are pixels of the section: ``[n, 3, 2]``,
the place of its centre, and where a radius along x and along y leads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.kernels.links import Links
from igneous_ng.kernels.tile_maps import Lens, TileMap

Array = npt.NDArray[Any]
Lenses = Sequence[Lens | None]


@dataclass(frozen=True)
class Tiles:
    """Tiles as the stage has them, and which camera's lens each has."""

    size: Array
    """``[n, 2]``, width and height."""
    matrix: Array
    """``[n, 2, 2]``, the linear part of the stage's map."""
    shift: Array
    """``[n, 2]``, where the stage says that (0, 0) lies."""
    camera: Array
    """``[n]``, numbers of cameras, from 0; tiles of one camera have one size."""

    def __len__(self) -> int:
        return len(self.size)

    @cached_property
    def centre(self) -> Array:
        """``[n, 2]``, the middle of each tile in its own pixels."""
        return np.asarray((self.size - 1) / 2)

    @cached_property
    def radius(self) -> Array:
        """``[n]``, half the diagonal of each."""
        return np.asarray(np.hypot(self.size[:, 0], self.size[:, 1]) / 2)

    @cached_property
    def start(self) -> Array:
        """The maps of the stage, ``[n, 3, 2]``."""
        found = np.empty((len(self), 3, 2))
        found[:, 0] = self.shift + np.einsum("nij,nj->ni", self.matrix, self.centre)
        found[:, 1:] = self.matrix.transpose(0, 2, 1) * self.radius[:, None, None]
        return found

    @cached_property
    def corners(self) -> Array:
        """``[n, 4, 2]``: centred coordinates of the centres of the corner pixels."""
        signs = np.array([(-1, -1), (1, -1), (-1, 1), (1, 1)])
        return np.asarray(signs * (self.centre / self.radius[:, None])[:, None])

    def linear(self, coef: Array) -> Array:
        """``[n, 2, 2]``, the matrices of maps."""
        return np.asarray(coef[:, 1:].transpose(0, 2, 1) / self.radius[:, None, None])

    def seen(self, links: Links, lenses: Lenses = ()) -> Seen:
        """The points of ``links`` in centred, bent coordinates."""
        u, v = (
            (self.bent(points, which, lenses) - self.centre[which]) / self.radius[which, None]
            for points, which in ((links.p, links.i), (links.q, links.j))
        )
        return Seen(links, u, v)

    def bent(self, points: Array, which: Array, lenses: Lenses) -> Array:
        """``points`` of the tiles ``which``, after their lenses."""
        found = points
        for camera, lens in enumerate(lenses):
            if lens is not None:
                mine = self.camera[which] == camera
                found = found + np.where(mine[:, None], lens(points), 0.0)
        return found

    def maps(self, coef: Array, lenses: Lenses = (), nodes: Array | None = None) -> list[TileMap]:
        """The maps, with displacements ``nodes`` ``[n, nx, ny, 2]`` in pixels of the tiles."""
        matrix = self.linear(coef)
        shift = coef[:, 0] - np.einsum("nij,nj->ni", matrix, self.centre)
        flat = np.zeros((len(self), 0, 0, 2)) if nodes is None else nodes
        bends = [lenses[c] if lenses else None for c in self.camera.tolist()]
        return [TileMap((w, h), matrix[n], shift[n], bends[n], flat[n]) for n, (w, h) in enumerate(self.size.tolist())]


@dataclass(frozen=True)
class Seen:
    """Points of links in the centred, bent coordinates of both tiles."""

    links: Links
    u: Array
    """``[m, 2]``, in tile i."""
    v: Array
    """``[m, 2]``, in tile j."""

    def only(self, links: Array) -> Seen:
        """The links of a mask ``[l]``, with their points."""
        points = links[self.links.of]
        return Seen(self.links.only(links), self.u[points], self.v[points])

    def points(self, mask: Array) -> Seen:
        """All links with the points of a mask ``[m]`` only."""
        return Seen(self.links.points(mask), self.u[mask], self.v[mask])

    def apart(self, coef: Array) -> Array:
        """``[m, 2]``: how far from each other maps put the two places of each point, i less j, in pixels."""
        return at(coef, self.links.i, self.u) - at(coef, self.links.j, self.v)


def at(coef: Array, which: Array, u: Array) -> Array:
    """Where the maps of tiles ``which`` put centred coordinates ``u``."""
    return np.asarray(coef[which, 0] + coef[which, 1] * u[:, :1] + coef[which, 2] * u[:, 1:])


def length(vectors: Array) -> Array:
    """The lengths of vectors ``[..., 2]``."""
    return np.asarray(np.hypot(vectors[..., 0], vectors[..., 1]))
