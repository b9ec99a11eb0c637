"""Rounds for tests of relaxing: sections that are bent by known functions, and what a perfect match would measure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from igneous_ng.alignment import Alignment
from igneous_ng.io import IO
from igneous_ng.kernels import fields as lattices
from tests.alignments import begun, fields, stack

STEP = 20
Bend = Callable[[int, np.ndarray], np.ndarray]


def bend(seed: int = 0, size: float = 3.0, wave: float = 400.0) -> Bend:
    """Smooth displacements of sections, each by itself: sums of waves of about ``wave`` pixels and longer."""

    def at(z: int, points: np.ndarray) -> np.ndarray:
        rng = np.random.default_rng((seed, z))
        found = np.zeros(points.shape)
        for axis in (0, 1):
            found[..., axis] = rng.normal() * size
            for _ in range(4):
                angle, length = rng.uniform(0, 2 * np.pi), wave * rng.uniform(1, 3)
                phase = points @ np.array([np.cos(angle), np.sin(angle)]) * 2 * np.pi / length
                found[..., axis] += rng.normal() * size / 2 * np.sin(phase + rng.uniform(0, 7))
        return found

    return at


def seen(bent: Bend, z: int, other: int, nodes: np.ndarray) -> np.ndarray:
    """The d with which ``other`` shows at r + d what ``z`` shows at r, where r + bent(z, r) is the place of tissue."""
    aim, at = nodes + bent(z, nodes), nodes
    for _ in range(60):
        at = aim - bent(other, at)
    return np.asarray(at - nodes)


def measured(folder: Path, shape: tuple[int, int, int], bent: Bend, noise: float = 0.0, mask: str = "") -> Alignment:
    """An alignment with flows of round 1 over distances 1 and 2 at all nodes; ``shape`` in nodes and sections."""
    nx, ny, count = shape
    layer = stack(folder / "layer", np.ones((nx * STEP, ny * STEP, count, 1), np.uint8))
    made = begun(f"file://{folder}/alignment", layer, mask=mask)
    for distance in (1, 2):
        fields(made, 1, STEP, f"flow/{distance}", flow(made, bent, distance, noise))
    return made


def flow(made: Alignment, bent: Bend, distance: int, noise: float = 0.0) -> np.ndarray:
    """A flow layer's values, ``[x, y, z, 6]``: with errors of ``noise`` pixels along each axis."""
    box = made.new_round(IO(), 1, 0, STEP).box
    nodes = lattices.points((box.lo[0], box.lo[1]), (box.hi[0], box.hi[1]), STEP)
    found = np.zeros((*box.shape, 6))
    found[..., 2:5] = 0.8, 2.0, max(noise, 0.1)
    found[..., 5] = 1
    for z in range(box.lo[2] + distance, box.hi[2]):
        at = z - box.lo[2]
        errors = np.random.default_rng((7, z, distance)).normal(size=nodes.shape) * noise * np.sqrt(distance)
        found[:, :, at, :2] = seen(bent, z, z - distance, nodes) + errors
        found[:, :, at, 5] = 0
    return np.asarray(found)


def read(made: Alignment, what: str, number: int = 1) -> np.ndarray:
    """A layer of a round, ``[x, y, z, channel]``."""
    io = IO()
    volume = io.volume(f"{made.home}/rounds/{number}/{what}", 0)
    return io.read(volume, volume.bounds).astype(np.float64)


def misplaced(made: Alignment, bent: Bend, what: str = "forward", number: int = 1) -> np.ndarray:
    """How far tissue of neighbouring sections comes to lie apart, ``[x, y, z - 1]``, pixels."""
    u = read(made, what, number)
    box = made.new_round(IO(), 1, 0, STEP).box
    nodes = lattices.points((box.lo[0], box.lo[1]), (box.hi[0], box.hi[1]), STEP)
    found = []
    for z in range(1, u.shape[2]):
        other = nodes + seen(bent, z + box.lo[2], z + box.lo[2] - 1, nodes)
        there = lattices.bilinear(u[:, :, z - 1], (box.lo[0], box.lo[1]), lattices.places(other, STEP))
        found.append(np.linalg.norm(nodes + u[:, :, z] - other - there, axis=-1))
    return np.stack(found, axis=-1)
