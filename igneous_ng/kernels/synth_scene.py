"""From a packed forest to a scene: labels, mitochondria, nuclei and synapses, all as short tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import SpecError
from igneous_ng.geometry import Box, Vec3, Vec3f, vec
from igneous_ng.kernels import synth_field as fields
from igneous_ng.kernels import synth_growth as growth
from igneous_ng.kernels.synth_field import F64, I64, Tubes
from igneous_ng.kernels.synth_growth import Forest

U64 = npt.NDArray[np.uint64]

LARGEST = 400.0
"""The most µm³ of one scene: its tables are made anew, whole, in every process that renders a part of it."""
SYNAPSES = 2.0
"""Synapses sought per µm³."""
_MITOCHONDRIA = 1.5  # starts per µm of process that is wide enough
_FRINGE = 80.0  # nm beyond the volume within which a process is still in one piece
_WIDE = 85.0  # nm; the least radius that holds a mitochondrion


@dataclass(frozen=True)
class Synapse:
    """One contact: ``position`` is a voxel of ``pre`` that touches ``post`` by a face."""

    id: int
    pre: int
    post: int
    position: Vec3


@dataclass(frozen=True)
class Skeleton:
    """The axes of all bodies: ``nodes`` (n, 3) nm in the volume, ``radius`` nm, ``label``, ``edges`` (m, 2)."""

    nodes: F64
    radius: F64
    label: U64
    edges: I64


@dataclass(frozen=True)
class Scene:
    """A volume before it is rendered. ``labels[row]`` is the id of the body that the tables call ``row``."""

    shape: Vec3
    resolution: Vec3f
    seed: int
    labels: U64
    tubes: Tubes
    mitochondria: Tubes
    hosts: I64  # the row of the body that holds each mitochondrion; mitochondria are numbered in this order
    nuclei: F64  # (n, 5): centre x, y, z, radius (nm, bent space), row
    synapses: tuple[Synapse, ...]
    skeleton: Skeleton

    @property
    def bounds(self) -> Box:
        """All voxels."""
        return Box((0, 0, 0), self.shape)


def plan(shape: Vec3, resolution: Vec3f, seed: int) -> Scene:
    """The scene of a volume of ``shape`` voxels of ``resolution`` nm; equal arguments give equal scenes.

    SpecError for an empty volume, voxels outside 1 to 200 nm, a negative seed, or more than ``LARGEST`` µm³.
    """
    check(shape, resolution, seed)
    rng = np.random.Generator(np.random.PCG64(seed))
    extent = np.array(shape, np.float64) * np.array(resolution)
    forest = growth.grow(extent, rng)
    straight = fields.unbend(seed, forest.position)
    inside = ((straight > -_FRINGE) & (straight < extent + _FRINGE)).all(1)
    parted = growth.cut(forest, inside)
    roots, row = np.unique(forest.bodies(), return_inverse=True)
    labels = np.arange(1, len(roots) + 1, dtype=np.uint64)
    edges = forest.edges()
    tubes = _tubes(forest, np.concatenate([edges, parted]), row)
    mitochondria, hosts = _mitochondria(forest, row, rng)
    return Scene(
        shape=shape,
        resolution=resolution,
        seed=seed,
        labels=labels,
        tubes=tubes,
        mitochondria=mitochondria,
        hosts=hosts,
        nuclei=_nuclei(forest, row),
        synapses=tuple(_synapses(forest, row, tubes, (shape, resolution, seed), rng)),
        skeleton=Skeleton(straight, forest.radius, labels[row], edges),
    )


def check(shape: Vec3, resolution: Vec3f, seed: int) -> None:
    """SpecError where :func:`plan` cannot go ahead."""
    if min(shape) < 1:
        raise SpecError(f"a synthetic volume of {shape} voxels holds nothing; every side must be at least 1")
    if not all(1.0 <= r <= 200.0 for r in resolution):
        raise SpecError(
            f"voxels of {resolution} nm: membranes and neurites can be drawn from 1 to 200 nm; choose within"
        )
    if seed < 0:
        raise SpecError(f"seed {seed}: give 0 or a positive integer")
    space = float(np.prod([n * r / 1000 for n, r in zip(shape, resolution, strict=True)]))
    if space > LARGEST:
        raise SpecError(
            f"{space:.0f} µm³ of tissue were asked for and one scene holds at most {LARGEST:.0f}; "
            "make the shape smaller or the voxels finer"
        )


def _tubes(forest: Forest, edges: I64, row: I64) -> Tubes:
    a, b = edges.T
    return Tubes.between(forest.position[a], forest.position[b], (forest.radius[a], forest.radius[b]), row[a])


def _mitochondria(forest: Forest, row: I64, rng: np.random.Generator) -> tuple[Tubes, I64]:
    """Runs of the wider processes, towards the root, beside the axis where there is room."""
    along = np.zeros(len(row))
    child = np.flatnonzero(forest.parent >= 0)
    step = forest.position[child] - forest.position[forest.parent[child]]
    along[child] = np.sqrt((step * step).sum(1))
    fit = (forest.radius >= _WIDE) & (forest.kind != growth.SPINE.kind)
    # A thick dendrite holds several side by side.
    rate = _MITOCHONDRIA * along / 1000 * np.maximum(1.0, (forest.radius / 260.0) ** 2)
    starts = np.flatnonzero(fit & (rng.random(len(row)) < rate))
    heading, length = rng.normal(size=(len(starts), 3)), rng.uniform(500, 2200, len(starts))
    girth = rng.uniform(80, 230, len(starts))
    used = np.zeros(len(row), np.int64)
    parts: list[tuple[I64, F64, F64]] = []
    for start, side, long, wide in zip(starts, heading, length, girth, strict=True):
        path = _run(forest, fit, along, int(start), long)
        room = 1 + (forest.radius[path] > 260) + (forest.radius[path] > 360)
        if len(path) >= 3 and (used[path] < room).all():
            used[path] += 1
            radius = np.minimum(0.75 * forest.radius[path], wide)
            offset = np.maximum(0.0, forest.radius[path] - radius - 40.0)[:, None] * side / np.abs(side).sum()
            parts.append((path, forest.position[path] + offset, radius))
    return _chains(parts), np.array([row[path[0]] for path, _, _ in parts], np.int64)


def _run(forest: Forest, fit: npt.NDArray[np.bool_], along: F64, start: int, length: float) -> I64:
    """Node indices from ``start`` towards the root, ``length`` nm far or until the process is too thin."""
    path = [start]
    while length > 0 and forest.parent[path[-1]] >= 0 and fit[forest.parent[path[-1]]]:
        length -= along[path[-1]]
        path.append(int(forest.parent[path[-1]]))
    return np.array(path)


def _chains(parts: list[tuple[I64, F64, F64]]) -> Tubes:
    if not parts:
        return Tubes.between(np.zeros((0, 3)), np.zeros((0, 3)), (np.zeros(0), np.zeros(0)), np.zeros(0, np.int64))
    start = np.concatenate([p[:-1] for _, p, _ in parts])
    stop = np.concatenate([p[1:] for _, p, _ in parts])
    radii = (np.concatenate([r[:-1] for _, _, r in parts]), np.concatenate([r[1:] for _, _, r in parts]))
    return Tubes.between(start, stop, radii, np.repeat(np.arange(len(parts)), [len(r) - 1 for _, _, r in parts]))


def _nuclei(forest: Forest, row: I64) -> F64:
    """A nucleus in each soma, a little smaller than it."""
    root = np.flatnonzero((forest.kind == growth.SOMA) & (forest.radius > 2 * growth.STEM))
    return np.concatenate([forest.position[root], 0.68 * forest.radius[root, None], row[root, None]], 1)


def _synapses(forest: Forest, row: I64, tubes: Tubes, frame: tuple[Vec3, Vec3f, int], rng: Any) -> list[Synapse]:
    """Contacts at least 350 nm apart, from axons where there are any, each found on the voxel grid."""
    shape, resolution, seed = frame
    wanted = max(1, round(SYNAPSES * float(np.prod(np.array(shape) * resolution)) / 1e9))
    pre, post = (nodes[: 40 + 12 * wanted] for nodes in _contacts(forest, row, rng))
    gap = forest.position[post] - forest.position[pre]
    distance = np.maximum(np.sqrt((gap * gap).sum(1)), 1e-3)
    share = np.clip((distance + forest.radius[pre] - forest.radius[post]) / (2 * distance), 0.0, 1.0)
    border = fields.unbend(seed, forest.position[pre] + gap * share[:, None])
    inside = ((border >= 0) & (border < np.array(shape) * resolution)).all(1)
    found: list[Synapse] = []
    centres = np.zeros((0, 3))
    for i in np.flatnonzero(inside):
        if len(found) == wanted:
            break
        if ((centres - border[i]) ** 2).sum(1).min(initial=np.inf) < 350.0**2:
            continue
        at = _snap(tubes, border[i], (int(row[pre[i]]), int(row[post[i]])), frame)
        if at is not None:
            found.append(Synapse(len(found) + 1, int(row[pre[i]]) + 1, int(row[post[i]]) + 1, at))
            centres = np.concatenate([centres, border[i : i + 1]])
    return found


def _contacts(forest: Forest, row: I64, rng: Any) -> tuple[I64, I64]:
    """Pairs of nearby nodes (pre, post) in random order, those that start at a swollen axon first."""
    i, j = growth.neighbours(forest, row, slack=60.0)
    axon = forest.kind == growth.AXON.kind
    swap = axon[j] & ~axon[i]
    pre, post = np.where(swap, j, i), np.where(swap, i, j)
    rank = rng.random(len(pre)) + np.where(axon[pre], np.where(forest.radius[pre] > 90, 0, 1), 2)
    order = np.argsort(rank, kind="stable")
    return pre[order], post[order]


def _snap(tubes: Tubes, border: F64, pair: tuple[int, int], frame: tuple[Vec3, Vec3f, int]) -> Vec3 | None:
    """The voxel near ``border`` that belongs to the first of ``pair`` and touches the second, if there is one."""
    shape, resolution, seed = frame
    at = vec(np.floor(border / resolution))
    reach = vec(max(1, min(4, round(60.0 / r))) for r in resolution)
    box = Box(at, vec(a + 1 for a in at)).grow(reach, reach) & Box((0, 0, 0), shape)
    owned = fields.own(tubes, seed, box, resolution)
    mine, theirs = owned.body == pair[0], owned.body == pair[1]
    touching = np.zeros_like(mine)
    for axis in range(3):
        low, high = [slice(None)] * 3, [slice(None)] * 3
        low[axis], high[axis] = slice(None, -1), slice(1, None)
        touching[tuple(low)] |= theirs[tuple(high)]
        touching[tuple(high)] |= theirs[tuple(low)]
    best = np.where(mine & touching & (owned.other == pair[1]), owned.gap, np.inf)
    if not np.isfinite(best).any():
        return None
    x, y, z = np.unravel_index(int(best.argmin()), best.shape)
    return vec((box.lo[0] + int(x), box.lo[1] + int(y), box.lo[2] + int(z)))
