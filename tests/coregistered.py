"""Pairs of volumes of which it is known how one lies in the other: real tissue, seen through a map, as layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import fft

from igneous_ng import run
from igneous_ng.coregistration import Coregistration, Through
from igneous_ng.formats.info import IMAGE, new_info
from igneous_ng.geometry import Box, Vec3, vec
from igneous_ng.io import IO
from igneous_ng.kernels import sampling
from igneous_ng.kernels.space_maps import Affine
from igneous_ng.stages.image_downsample import Downsample
from tests.data import data

VOXEL = 8.0  # nm


def tissue(box: Box) -> np.ndarray:
    """A part of registered FIB-SEM, uint8 ``[x, y, z]``."""
    with np.load(data("fib25", "em_520x520x128.npz")) as held:
        return np.asfortranarray(held["em"].transpose(2, 1, 0)[box.slices()])


def scenery(shape: Vec3, seed: int = 0) -> np.ndarray:
    """Noise of the fineness of tissue, uint8 ``[x, y, z]``."""
    rng = np.random.default_rng(seed)
    spectrum = fft.rfftn(rng.normal(size=shape))
    k = np.meshgrid(*(fft.fftfreq(n) for n in shape[:2]), fft.rfftfreq(shape[2]), indexing="ij")
    rough = fft.irfftn(spectrum * np.exp(-sum(one**2 for one in k) * 120), shape)
    return np.asfortranarray(np.clip(128 + 45 * rough / rough.std(), 1, 255).astype(np.uint8))


@dataclass(frozen=True)
class Waves:
    """A smooth displacement, nm: 60 waves of random directions, by their wave vectors, phases and sizes."""

    vectors: np.ndarray
    phases: np.ndarray
    sizes: np.ndarray

    @classmethod
    def drawn(cls, rms: float, length: float, seed: int) -> Waves:
        """``rms`` of the whole displacement; it correlates as Gaussian noise smoothed by ``length`` / sqrt 2."""
        rng = np.random.default_rng(seed)
        sizes = rng.normal(size=(60, 3))
        return cls(rng.normal(size=(60, 3)) / length, rng.uniform(0, 2 * np.pi, 60), sizes * rms / np.sqrt(90))

    def __call__(self, points: np.ndarray) -> np.ndarray:
        return np.asarray(np.cos(points @ self.vectors.T + self.phases) @ self.sizes)


@dataclass(frozen=True)
class Truth:
    """Where a point of the moving volume lies in the fixed one, nm."""

    affine: Affine
    waves: Waves

    def __call__(self, points: np.ndarray) -> np.ndarray:
        there = self.affine(points)
        return np.asarray(there + self.waves(there))

    def errors(self, io: IO, home: str, number: int, box: Box) -> np.ndarray:
        """How far points all over ``box`` of the fixed volume are from where they should be, voxels of that.

        Of those points that the moving volume shows.
        """
        rng = np.random.default_rng(5)
        points = rng.uniform(box.lo, box.hi, (6000, 3)) * VOXEL
        known = Coregistration.open(io, home)
        moving, scale = Through(io, known, number).moving(points), io.info(known.moving).scales[0]
        there = moving / np.array(scale.resolution)
        points, moving = (
            one[((there > scale.bounds.lo) & (there < scale.bounds.hi)).all(axis=1)] for one in (points, moving)
        )
        return np.asarray(np.sqrt(((self(moving) - points) ** 2).sum(axis=1)) / VOXEL)


def about(middle: np.ndarray, degrees: float = 1.0, stretch: float = 1.02, shift: float = 25.0) -> Affine:
    """A turn about a slanted axis through ``middle``, a stretch along x, and a shift in voxels along a diagonal."""
    axis = np.array([0.2, -0.3, 1.0]) / np.linalg.norm([0.2, -0.3, 1.0])
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    angle = np.radians(degrees)
    turn = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    matrix = turn @ np.diag([stretch, 1.0, 1 / stretch**0.5])
    away = np.array([0.8, -0.55, 0.24])
    return Affine(matrix, middle - matrix @ middle + shift * VOXEL * away / np.linalg.norm(away))


def layer(path: Path, voxels: np.ndarray, offset: Vec3 = (0, 0, 0), resolution: tuple[float, ...] = (VOXEL,) * 3,
          mips: int = 2, kind: str = IMAGE) -> str:  # fmt: skip
    """A layer of ``voxels`` ``[x, y, z]`` or with channels, and coarser levels of it."""
    url, io = f"file://{path}", IO()
    voxels = voxels if voxels.ndim == 4 else voxels[..., np.newaxis]
    x, y, z = resolution
    info = new_info(kind=kind, dtype=voxels.dtype.name, channels=voxels.shape[3],
                    bounds=Box.sized(offset, vec(voxels.shape[:3])), resolution=(x, y, z),
                    chunk=(64, 64, 64), encoding="raw")  # fmt: skip
    io.create_layer(url, info)
    io.write(io.volume(url, 0), info.scales[0].bounds, voxels)
    if mips:
        run.inline(Downsample(layer=url, num_mips=mips, factor=(2, 2, 2)))
    return url


def seen(still: np.ndarray, truth: Truth, shape: Vec3, look: Callable[[np.ndarray], np.ndarray] = lambda v: v,
         noise: float = 6.0) -> np.ndarray:  # fmt: skip
    """The moving volume: ``still`` through ``truth``, 0 beyond it, changed by ``look``, with noise, float32."""
    window, bounds = Box((0, 0, 0), shape), Box((0, 0, 0), vec(still.shape))
    places = truth((sampling.points(window) + 0.5) * VOXEL) / VOXEL - 0.5
    values, inside = sampling.sampled(still, (0, 0, 0), bounds, places, window, "cubic")
    noisy = look(np.clip(values, 1, 255)) + np.random.default_rng(9).normal(0, noise, shape)
    return np.asfortranarray(np.where(inside, noisy, 0).astype(np.float32))
