"""Skeletons of neurites: walks that wind, taper, swell and branch, pushed apart until they no longer overlap.

The packing follows the idea of fibre phantoms (Altendorf and Jeulin 2011, "Random-walk-based stochastic
modeling of three-dimensional fiber systems"): grow freely first, then let spheres of different bodies repel each
other while each chain stays smooth. Lengths are nm, points are (n, 3) in x, y, z.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

MARGIN = 400.0
"""Skeletons grow this far (nm) beyond the volume, so that its faces look like any other cut."""
SOMA_SPACE = 3500.0
"""The shortest side (nm) of a volume that gets a soma."""

STEM = 450.0
"""Radius (nm) of a dendrite where it leaves the soma."""

SOMA, _DENDRITE, _AXON, _TWIG, _SPINE = range(5)
_RELAX_ROUNDS = 40
_STICKS = 10  # rounds between two searches for neighbours


@dataclass(frozen=True)
class Habit:
    """How one kind of process grows: calibre and its spread, winding per step, branches per µm, reach."""

    kind: int
    radius: tuple[float, float]
    wind: float
    swell: float
    branches: float
    length: tuple[float, float]


DENDRITE = Habit(_DENDRITE, (230, 520), 0.10, 0.10, 0.25, (6e3, 30e3))
AXON = Habit(_AXON, (65, 190), 0.20, 0.45, 0.25, (2e3, 30e3))
TWIG = Habit(_TWIG, (40, 90), 0.30, 0.35, 0.4, (0.5e3, 4e3))
FILLER = Habit(_TWIG, (40, 90), 0.30, 0.35, 0.0, (0.3e3, 1e3))
SPINE = Habit(_SPINE, (40, 60), 0.15, 0.0, 0.0, (400, 900))
FILL = ((DENDRITE, 0.28), (AXON, 0.60), (TWIG, 0.65))
"""The share of space that swept spheres claim once each kind has grown (overlaps counted twice)."""


@dataclass
class Forest:
    """Nodes of all trees: position, radius, kind, and the index of the parent (-1 for a root)."""

    position: F64
    radius: F64
    kind: I64
    parent: I64

    @classmethod
    def empty(cls) -> Forest:
        """A forest without nodes."""
        return cls(np.zeros((0, 3)), np.zeros(0), np.zeros(0, np.int64), np.zeros(0, np.int64))

    def add(self, position: F64, radius: F64, kind: int, parent: I64) -> I64:
        """Append nodes; their indices."""
        first = len(self.radius)
        self.position = np.concatenate([self.position, position])
        self.radius = np.concatenate([self.radius, radius])
        self.kind = np.concatenate([self.kind, np.full(len(radius), kind, np.int64)])
        self.parent = np.concatenate([self.parent, parent])
        return np.arange(first, first + len(radius))

    def edges(self) -> I64:
        """(m, 2) pairs parent, child."""
        child = np.flatnonzero(self.parent >= 0)
        return np.stack([self.parent[child], child], 1)

    def bodies(self) -> I64:
        """For each node the index of the root of its tree."""
        root = np.where(self.parent < 0, np.arange(len(self.parent)), self.parent)
        while not np.array_equal(up := root[root], root):
            root = up
        return root

    def keep(self, mask: npt.NDArray[np.bool_]) -> Forest:
        """The forest without the other nodes; orphans become roots."""
        index = np.cumsum(mask) - 1
        parent = np.where((self.parent >= 0) & mask[self.parent], index[self.parent], -1)
        return Forest(self.position[mask], self.radius[mask], self.kind[mask], parent[mask])


def grow(extent: F64, rng: np.random.Generator) -> Forest:
    """A packed forest for the space from the origin to ``extent`` (3,) nm, the same for the same ``rng``."""
    forest = Forest.empty()
    if extent.min() >= SOMA_SPACE:
        _plant_somata(forest, extent, rng)
    space = float(np.prod(extent + 2 * MARGIN))
    for habit, share in FILL:
        while (missing := share * space - _claimed(forest)) > 0:
            _sow(forest, habit, missing, extent, rng)
    relax(forest)
    _fill_voids(forest, extent, rng)
    relax(forest)
    return prune(forest)


def _claimed(forest: Forest) -> float:
    edges = forest.edges()
    a, b = forest.position[edges[:, 0]], forest.position[edges[:, 1]]
    length = _length(b - a)
    radius = forest.radius[edges[:, 1]]
    soma = forest.kind[edges[:, 1]] == SOMA
    return float((np.pi * radius**2 * length)[~soma].sum())


def _plant_somata(forest: Forest, extent: F64, rng: np.random.Generator) -> None:
    """Cell bodies of 3 to 5 µm across, one to some 150 µm³, each with dendrites."""
    count = max(1, int(np.prod(extent) / 150e9))
    centres = rng.uniform(0.1, 0.9, (64 * count, 3)) * extent
    chosen: list[F64] = []
    for centre in centres:
        if len(chosen) < count and all(_length(centre - c) > 5500 for c in chosen):
            chosen.append(centre)
    radius = rng.uniform(0.36, 0.55, len(chosen)) * min(extent.min(), 4500.0)
    roots = forest.add(np.array(chosen), radius, SOMA, np.full(len(chosen), -1))
    parent = np.repeat(roots, 4)
    heading = _unit(rng.normal(size=(len(parent), 3)))
    stem = forest.position[parent] + heading * (forest.radius[parent] * 0.9)[:, None]
    stems = forest.add(stem, np.full(len(parent), STEM), SOMA, parent)
    _sprout(forest, DENDRITE, stems, heading, extent, rng)


def _sow(forest: Forest, habit: Habit, missing: float, extent: F64, rng: np.random.Generator) -> None:
    """Start processes of one kind at random places; each grows both ways and branches."""
    mean = np.pi * (sum(habit.radius) / 2) ** 2 * min(sum(habit.length) / 2, float(extent.mean()) + MARGIN)
    count = max(1, int(0.25 * missing / mean))
    places = rng.uniform(-MARGIN, extent + MARGIN, (count, 3))
    plant(forest, habit, places, extent, rng)


def plant(forest: Forest, habit: Habit, places: F64, extent: F64, rng: np.random.Generator) -> None:
    """One new tree of ``habit`` at each of ``places``, with its branches (and spines, on dendrites)."""
    # Most processes are of the thinner kind: the square of a uniform deviate says how thick.
    radius = habit.radius[0] + (habit.radius[1] - habit.radius[0]) * rng.random(len(places)) ** 2
    roots = forest.add(places, radius, habit.kind, np.full(len(places), -1))
    heading = _unit(rng.normal(size=(len(places), 3)))
    both, headings = np.concatenate([roots, roots]), np.concatenate([heading, -heading])
    grown = _sprout(forest, habit, both, headings, extent, rng)
    for _ in range(2):
        grown = _branch(forest, habit, grown, extent, rng)
    if habit.kind == _DENDRITE:
        first = int(roots[0])
        _branch(forest, SPINE, np.arange(first, len(forest.radius)), extent, rng, per_um=1.2)


def _branch(
    forest: Forest, habit: Habit, nodes: I64, extent: F64, rng: np.random.Generator, per_um: float = 0.0
) -> I64:
    """Side branches from some of ``nodes``; the indices of what grew."""
    nodes = nodes[forest.parent[nodes] >= 0]
    along = forest.position[nodes] - forest.position[forest.parent[nodes]]
    length = _length(along)
    chosen = rng.random(len(nodes)) < length * (per_um or habit.branches) / 1000
    nodes, along = nodes[chosen], along[chosen]
    return _sprout(forest, habit, nodes, _unit(_unit(along) * 0.3 + _unit(rng.normal(size=along.shape))), extent, rng)


def _sprout(forest: Forest, habit: Habit, parent: I64, heading: F64, extent: F64, rng: np.random.Generator) -> I64:
    """Grow one process from each of ``parent``, all in step; the indices of the new nodes."""
    first = len(forest.radius)
    length = rng.uniform(*habit.length, len(parent))
    base = np.minimum(forest.radius[parent] * rng.uniform(0.7, 1.0, len(parent)), habit.radius[1])
    place, swell = forest.position[parent].copy(), np.zeros(len(parent))
    done = np.zeros(len(parent))
    while len(parent):
        step = np.clip(base * 0.7, 40.0, 160.0)
        heading = _unit(heading + habit.wind * rng.normal(size=heading.shape))
        swell = 0.9 * swell + 0.44 * rng.normal(size=len(parent))
        place, done = place + heading * step[:, None], done + step
        radius = base * np.clip(1 + habit.swell * swell, 0.55, 2.2)
        if habit.kind == _SPINE:
            radius = np.where(done > 0.6 * length, 3.0, 1.0) * np.minimum(base, 55.0)
        parent = forest.add(place, radius, habit.kind, parent)
        alive = (done < length) & (place > -MARGIN).all(1) & (place < extent + MARGIN).all(1)
        parent, heading, place, swell = parent[alive], heading[alive], place[alive], swell[alive]
        done, length, base = done[alive], length[alive], base[alive]
    return np.arange(first, len(forest.radius))


def relax(forest: Forest) -> None:
    """Push spheres of different bodies apart, in place; chains stay smooth, somata stay put."""
    body, edges = forest.bodies(), forest.edges()
    degree = np.bincount(edges.ravel(), minlength=len(body))
    free = forest.kind != SOMA
    pairs = np.zeros((2, 0), np.int64)
    for turn in range(_RELAX_ROUNDS):
        if turn % _STICKS == 0:
            pairs = neighbours(forest, body, slack=50.0)
        push = _repulsion(forest, pairs)
        mean = (
            np.stack(
                [np.bincount(edges.ravel(), forest.position[edges[:, ::-1].ravel(), a], len(body)) for a in range(3)],
                1,
            )
            / np.maximum(degree, 1)[:, None]
        )
        smooth = np.where((degree >= 2)[:, None], 0.2 * (mean - forest.position), 0.0)
        move = push + smooth
        move *= np.minimum(1.0, 25.0 / np.maximum(_length(move), 1e-9))[:, None]
        forest.position = forest.position + move * free[:, None]


def neighbours(forest: Forest, body: I64, slack: float) -> I64:
    """(2, m) indices i, j of nodes of different bodies, radius i >= radius j, whose spheres come within ``slack``."""
    from scipy.spatial import cKDTree

    tree = cKDTree(forest.position)
    found = tree.query_ball_point(forest.position, 2 * forest.radius + slack, return_sorted=True)
    i = np.repeat(np.arange(len(found)), [len(f) for f in found])
    j = np.fromiter(chain.from_iterable(found), np.int64, len(i))
    ri, rj = forest.radius[i], forest.radius[j]
    mask = (body[i] != body[j]) & ((rj < ri) | ((rj == ri) & (j < i)))
    i, j = i[mask], j[mask]
    near = _length(forest.position[i] - forest.position[j]) < forest.radius[i] + forest.radius[j] + slack
    return np.stack([i[near], j[near]])


def _repulsion(forest: Forest, pairs: I64) -> F64:
    i, j = pairs
    gap = forest.position[i] - forest.position[j]
    distance = np.maximum(_length(gap), 1e-3)
    ri, rj = forest.radius[i], forest.radius[j]
    overlap = np.maximum(ri + rj - distance, 0.0)
    hit = overlap > 0
    i, j, ri, rj, distance, overlap, gap = (v[hit] for v in (i, j, ri, rj, distance, overlap, gap))
    force = gap * (overlap / distance)[:, None]
    share = ri / (ri + rj)  # the thinner one gives way
    total = np.zeros_like(forest.position)
    count = np.bincount(i, minlength=len(total)) + np.bincount(j, minlength=len(total))
    for axis in range(3):
        total[:, axis] += np.bincount(i, force[:, axis] * (1 - share), len(total))
        total[:, axis] -= np.bincount(j, force[:, axis] * share, len(total))
    return np.asarray(total * (1.2 / np.maximum(count, 1) ** 0.5)[:, None])


def _fill_voids(forest: Forest, extent: F64, rng: np.random.Generator) -> None:
    """Start thin processes where nothing is near."""
    from scipy.spatial import cKDTree

    count = int(np.prod((extent + 2 * MARGIN) / 140.0)) + 1
    places = rng.uniform(-MARGIN, extent + MARGIN, (count, 3))
    k = min(12, len(forest.radius))
    distance, index = cKDTree(forest.position).query(places, k=range(1, k + 1))
    room = (distance - forest.radius[index]).min(1)
    places = places[room > 80.0]
    _, one_each = np.unique(np.floor(places / 550.0), axis=0, return_index=True)
    if len(one_each):
        plant(forest, FILLER, places[np.sort(one_each)], extent, rng)


def prune(forest: Forest) -> Forest:
    """Drop nodes that lie inside another body's claim, then trees too short to be a process.

    What stays owns its own axis, hence (spheres grow at one speed) a body is in one piece where its tree is.
    """
    i, j = neighbours(forest, forest.bodies(), slack=0.0)
    distance = _length(forest.position[i] - forest.position[j])
    lost = j[distance < forest.radius[i] - forest.radius[j] + 12.0]
    keep = np.ones(len(forest.radius), np.bool_)
    keep[lost] = forest.kind[lost] == SOMA
    forest = forest.keep(keep)
    body = forest.bodies()
    return forest.keep(np.bincount(body, minlength=len(body))[body] >= 5)


def cut(forest: Forest, inside: npt.NDArray[np.bool_]) -> I64:
    """Part what is ``inside`` from the rest, in place; the (m, 2) edges parted, inner end first.

    A process that leaves the volume and comes back is two bodies as far as the volume can tell.
    """
    child = np.flatnonzero(forest.parent >= 0)
    child = child[inside[child] != inside[forest.parent[child]]]
    ends = np.stack([child, forest.parent[child]], 1)
    forest.parent[child] = -1
    return np.where(inside[child][:, None], ends, ends[:, ::-1])


def _length(v: F64) -> Any:
    return np.sqrt(v[..., 0] * v[..., 0] + v[..., 1] * v[..., 1] + v[..., 2] * v[..., 2])


def _unit(v: F64) -> F64:
    return np.asarray(v / np.maximum(_length(v), 1e-9)[..., None])
