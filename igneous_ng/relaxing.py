"""Displacements of sections from links and springs: of all sections on few nodes, and of a part on all nodes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.alignment import Round
from igneous_ng.geometry import Box
from igneous_ng.kernels import elastic, elastic_rows
from igneous_ng.kernels.elastic import Rows, Sheets, Solved
from igneous_ng.kernels.elastic_rows import Nodes, Pairs
from igneous_ng.kernels.loops import DISTANCES
from igneous_ng.linkage import Anchor, Linkage

Array = npt.NDArray[Any]
OVERLAP = (16, 16, 6)
"""Nodes, and sections, that a subdomain is solved beyond what it owns."""
HELD = (2, 2, DISTANCES)
"""Around these, nodes and sections that are held."""
_WIDE = 12  # nodes: what is wider is told by displacements from before
_UNKNOWN = 10.0  # pixels: how sure it is that a section without links moves as its neighbours do
_PARTS = 2  # of a coarse node along x and y: links at nodes alone would smooth the other end only
_LEAST = 1e-4  # of a spring, for its inverse
_GUARDS = 6
_AREA = 4.0  # by which an area may grow or shrink
_STIFFER = 10.0
_TORN = 0.1  # of a spring: with less, a jump is no fault, and nothing stiffens it


@dataclass(frozen=True)
class Material:
    """What sections are made of: ``spring`` is the stiffness between nodes, ``anchor`` that to where they were."""

    spring: float
    anchor: float


@dataclass(frozen=True)
class Found:
    """Displacements ``[z, x, y, 2]``, the rows that led to them, and how often springs were stiffened."""

    solved: Solved
    rows: Rows
    guarded: int = 0


def coarse_lattice(lattice: Round, coarsening: int) -> Round:
    """Every so many nodes along x and y of a round."""
    return replace(lattice, step=lattice.step * coarsening, box=lattice.box // (coarsening, coarsening, 1))


def settled(linkage: Linkage, coarsening: int, material: Material, points: Sequence[Anchor]) -> Found:
    """All sections on few nodes: links are lumped block by block, section by section."""
    lattice, wide = linkage.lattice, coarse_lattice(linkage.lattice, coarsening)
    nodes, low = Nodes(wide.box, wide.box, wide.step), (lattice.box.lo[0], lattice.box.lo[1])
    parts = []
    for z in range(lattice.box.lo[2], lattice.box.hi[2]):
        for plane in linkage.planes(z, lattice.box):
            lumps = elastic_rows.lumped(plane[1:], max(1, coarsening // _PARTS), low)
            parts.append(elastic_rows.rows(nodes, Pairs(z, plane.distance, *lumps)))
    parts += _more(linkage, nodes, parts, points, _UNKNOWN / coarsening)
    rows = elastic.joined(parts, int(np.prod(nodes.shape)))
    along_x, along_y = _stacked([_homogenised(linkage, z, coarsening, wide.box) for z in _sections(lattice.box)])
    along_x, along_y, rest = material.spring * along_x, material.spring * along_y, linkage.rest(wide.box, wide.step)
    sheets = Sheets(nodes.shape, along_x, along_y, material.anchor * coarsening**2, rest)
    return Found(elastic.solve(sheets, rows, np.zeros((*nodes.shape, 2))), rows)


def region(own: Box, whole: Box) -> tuple[Box, Box]:
    """Of a subdomain that owns ``own``: the nodes that are solved for, and all that it looks at."""
    free = own.grow(OVERLAP, OVERLAP) & whole
    return free, free.grow(HELD, HELD) & whole


def loosened(linkage: Linkage, own: Box, start: Array, material: Material, points: Sequence[Anchor]) -> Found:
    """A subdomain on all nodes; ``start`` ``[z, x, y, 2]`` are displacements of its :func:`region`, the border held.

    Links say little of what all sections do together, and nothing but springs would end that: what one node does would
    be felt in all of the subdomain, and not in the next. Nodes are therefore kept near ``start``, as weakly as springs
    of 16 nodes in a row would, so that what they do is felt about so far.
    """
    whole = linkage.lattice.box
    free, box = region(own, whole)
    nodes = Nodes(box, whole, linkage.lattice.step)
    x, y, z = free.slices(box.lo)
    mask = np.zeros(nodes.shape, bool)
    mask[z, x, y] = True
    parts = [elastic_rows.rows(nodes, pairs) for pairs in _pairs(linkage, box)]
    parts += _more(linkage, nodes, parts, points, _UNKNOWN)
    parts.append(elastic_rows.kept(start, _WIDE * material.spring**-0.5))
    rows = elastic.joined(parts, int(np.prod(nodes.shape)))
    along_x, along_y = (material.spring * one for one in _stacked([linkage.springs(n, box) for n in _sections(box)]))
    rest = linkage.rest(box, nodes.step)
    whole_x, whole_y = _untorn(along_x, along_y, _TORN * material.spring, nodes.shape)
    looked_at = _cells(mask) & whole_x[:, :, :-1] & whole_x[:, :, 1:] & whole_y[:, :-1] & whole_y[:, 1:]
    solved = elastic.solve(Sheets(nodes.shape, along_x, along_y, material.anchor, rest), rows, start, mask)
    for turn in range(_GUARDS):
        bent = folded(solved.u, nodes.step) & looked_at
        if not bent.any():
            return Found(solved, rows, turn)
        more_x, more_y = _stiffening(bent, nodes.shape)
        along_x, along_y = along_x * np.where(whole_x, more_x, 1.0), along_y * np.where(whole_y, more_y, 1.0)
        solved = elastic.solve(Sheets(nodes.shape, along_x, along_y, material.anchor, rest), rows, solved.u, mask)
    return Found(solved, rows, _GUARDS)


def folded(u: Array, step: int) -> Array:
    """Between which nodes tissue is turned over, or its area changes by more than a factor of 4, ``[z, x-1, y-1]``."""
    right, below = np.diff(u, axis=1) / step, np.diff(u, axis=2) / step
    worst = np.zeros((u.shape[0], u.shape[1] - 1, u.shape[2] - 1), bool)
    for one in (right[:, :, :-1], right[:, :, 1:]):
        for two in (below[:, :-1], below[:, 1:]):
            area = (1 + one[..., 0]) * (1 + two[..., 1]) - one[..., 1] * two[..., 0]
            worst |= (area < 1 / _AREA) | (area > _AREA)
    return worst


def _sections(box: Box) -> range:
    return range(box.lo[2], box.hi[2])


def _pairs(linkage: Linkage, box: Box) -> Iterator[Pairs]:
    for z in _sections(box):
        for plane in linkage.planes(z, box):
            if z - plane.distance >= box.lo[2]:
                some = np.isfinite(plane.sigma)
                sigma = plane.sigma[some]
                yield Pairs(z, plane.distance, plane.own[some], plane.other[some], sigma, sigma**-2.0)


def _more(linkage: Linkage, nodes: Nodes, links: Sequence[Rows], points: Sequence[Anchor], sigma: float) -> list[Rows]:
    """Rows of places that are known, and of sections of which nothing is: these go with their neighbours."""
    found = []
    for point in points:
        if point.z in _sections(nodes.box):
            own = linkage.alignment.rough(linkage.io, point.z).aligned(np.array([point.section]))
            found.append(elastic_rows.fixed(nodes, point.z, own, np.array([point.volume]), np.array([point.sigma])))
    low = nodes.box.lo[2]
    linked = {z + low for one in links if len(one.ends) for z in one.ends[0].tolist()}
    for z in _sections(nodes.box):
        near = [n for n in (z - 1, z + 1) if n in _sections(nodes.box) and z not in linked]
        found += [elastic_rows.alike(nodes, z, n, sigma) for n in near if n in linked or n > z]
    return found


def _stacked(planes: Sequence[tuple[Array, Array] | None]) -> tuple[Array, Array]:
    """Springs of all sections, as :class:`Sheets` has them."""
    some = [one for one in planes if one is not None]
    if not some:
        return np.ones((1, 1, 1)), np.ones((1, 1, 1))
    return np.stack([one[0] for one in some]), np.stack([one[1] for one in some])


def _homogenised(linkage: Linkage, z: int, coarsening: int, box: Box) -> tuple[Array, Array] | None:
    """Springs between few nodes: those in a row give way one after the other, those beside each other together."""
    fine = linkage.springs(z, linkage.lattice.box)
    if fine is None:
        return None
    whole = box * (coarsening, coarsening, 1)
    x, y, _ = linkage.lattice.box.slices(whole.lo)
    wide = np.ones(whole.shape[:2]), np.ones(whole.shape[:2])
    wide[0][x.start : x.stop - 1, y], wide[1][x, y.start : y.stop - 1] = fine
    return _widened(wide[0], coarsening), _widened(wide[1].T, coarsening).T


def _widened(springs: Array, by: int) -> Array:
    """Springs along the first axis, of blocks of ``by`` by ``by``: ``[blocks - 1, blocks]``."""
    nx, ny = (n // by for n in springs.shape)
    between = springs[by // 2 : by // 2 + by * (nx - 1)].reshape(nx - 1, by, ny, by)
    return np.asarray((1 / (1 / np.maximum(between, _LEAST)).mean(axis=1)).mean(axis=2))


def _cells(free: Array) -> Array:
    """The cells with a corner that is free."""
    return np.asarray(free[:, :-1, :-1] | free[:, 1:, :-1] | free[:, :-1, 1:] | free[:, 1:, 1:])


def _untorn(along_x: Array, along_y: Array, least: float, shape: tuple[int, int, int]) -> tuple[Array, Array]:
    """Which springs hold tissue together."""
    count, nx, ny = shape
    return np.broadcast_to(along_x > least, (count, nx - 1, ny)), np.broadcast_to(along_y > least, (count, nx, ny - 1))


def _stiffening(bent: Array, shape: tuple[int, int, int]) -> tuple[Array, Array]:
    """By how much springs of the cells that are ``bent``, and of those next to them, become stiffer."""
    count, nx, ny = shape
    near = np.zeros((count, nx + 1, ny + 1), bool)
    for i in range(3):
        for j in range(3):
            near[:, i : i + nx - 1, j : j + ny - 1] |= bent
    more = np.where(near, _STIFFER, 1.0)
    return np.maximum(more[:, 1:-1, :-1], more[:, 1:-1, 1:]), np.maximum(more[:, :-1, 1:-1], more[:, 1:, 1:-1])
