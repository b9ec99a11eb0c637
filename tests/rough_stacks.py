"""Stacks whose sections are turned, mirrored, inverted, exchanged and spoilt in ways that are known, for tests."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy import ndimage

from igneous_ng.kernels.affine import Affine
from tests.alignments import stack
from tests.data import data
from tests.montages import scenery


@dataclass(frozen=True)
class Faults:
    """By section: ``turned`` degrees; the rest are sections. ``void``: zeros over the first 30 %."""

    turned: dict[int, float] = field(default_factory=dict)
    mirrored: tuple[int, ...] = ()
    inverted: tuple[int, ...] = ()
    exchanged: tuple[int, ...] = ()
    empty: tuple[int, ...] = ()
    void: tuple[int, ...] = ()
    unrelated: tuple[int, ...] = ()


@dataclass(frozen=True)
class Known:
    """A layer, and where a point of each section lies in the specimen."""

    layer: str
    size: tuple[int, int]
    truth: list[Affine]

    def net(self) -> np.ndarray:
        """Points all over a section, [81, 2]."""
        xs, ys = (np.linspace(0, n - 1, 9) for n in self.size)
        return np.stack(np.meshgrid(xs, ys, indexing="ij"), axis=-1).reshape(-1, 2)

    def off(self, maps: dict[int, Affine], a: int, b: int) -> np.ndarray:
        """How far apart maps bring points of sections a and b that are one point of the specimen, pixels."""
        points = self.net()
        other = self.truth[b].inverse(self.truth[a](points))
        inside = ((other >= 0) & (other <= np.array(self.size) - 1)).all(axis=-1)
        return np.asarray(np.hypot(*(maps[a](points) - maps[b](other))[inside].T))


def fib25(folder: Path, step: int, count: int, faults: Faults) -> Known:
    """Every ``step``-th slice of real tissue, 8 nm a pixel and a slice, each with a random affine map."""
    with np.load(data("fib25", "em_520x520x128.npz")) as found:
        return known(folder, [found["em"][n * step].T for n in range(count)], faults, 8.0 * step)


def drawn(folder: Path, count: int, faults: Faults, size: tuple[int, int] = (230, 210)) -> Known:
    """Sections between drawn pictures, each six sections from the next."""
    keys = [scenery(size, seed).astype(float) for seed in range(count // 6 + 2)]
    slices = []
    for n in range(count):
        k, share = n // 6, (n % 6) / 6 * np.pi / 2
        slices.append(128 + (keys[k] - 128) * np.cos(share) + (keys[k + 1] - 128) * np.sin(share))
    return known(folder, slices, faults, 30.0)


def known(folder: Path, slices: list[np.ndarray], faults: Faults, thickness: float) -> Known:
    """A layer of slices ``[x, y]``, warped."""
    rng = np.random.default_rng(5)
    size, order = slices[0].shape, list(range(len(slices)))
    for n in faults.exchanged:
        order[n], order[n + 1] = order[n + 1], order[n]
    voxels = np.zeros((*size, len(slices), 1), np.uint8, order="F")
    truth = []
    for n, source in enumerate(order):
        truth.append(_map(rng, size, faults.turned.get(n, 0.0), n in faults.mirrored))
        voxels[:, :, n, 0] = _spoilt(_warped(slices[source].astype(float), truth[-1]), n, faults, rng)
    return Known(stack(folder, voxels, thickness=thickness), (size[0], size[1]), truth)


def _map(rng: np.random.Generator, size: tuple[int, ...], degrees: float, mirrored: bool) -> Affine:
    angle = np.deg2rad(degrees + rng.uniform(-2, 2))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = turn @ (np.eye(2) + rng.normal(0, 0.01, (2, 2))) * np.array([1.0, -1.0 if mirrored else 1.0])
    middle = (np.array(size) - 1) / 2
    return Affine(matrix, middle - matrix @ middle + rng.uniform(-8, 8, 2))


def _warped(picture: np.ndarray, at: Affine) -> np.ndarray:
    """The picture as a section shows it, 1 to 255; 0 beyond."""
    found = ndimage.affine_transform(picture, at.matrix, at.shift, order=3, mode="nearest")
    inside = ndimage.affine_transform(np.ones_like(picture), at.matrix, at.shift, order=1) > 0.99
    return np.where(inside, np.clip(np.rint(found), 1, 255), 0)


def _spoilt(picture: np.ndarray, n: int, faults: Faults, rng: np.random.Generator) -> np.ndarray:
    if n in faults.inverted:
        picture = np.where(picture > 0, 256 - picture, 0)
    if n in faults.unrelated:
        picture = scenery((picture.shape[0], picture.shape[1]), 1000 + n).astype(float)
    if n in faults.void:
        picture[: int(0.3 * len(picture))] = 0
    return picture * (n not in faults.empty)
