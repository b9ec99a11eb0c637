"""What a voxel and its surroundings look like, in numbers: what trees decide by.

At each of some scales, in nm: the smoothed image, the size of its gradient, its Laplacian, the eigenvalues of its
Hessian; at some of them those of the structure tensor, too (Sommer et al. 2011, "ilastik"). Scales are lengths, so
voxels may be of any shape: along an axis whose voxels are much larger than the scale next to nothing is smoothed, and
differences count little. All of it is of finite support.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.geometry import Vec3, Vec3f, vec
from igneous_ng.native import voxel_features as native

Array = npt.NDArray[Any]
_REACH = 3.0
"""Gaussians end at so many standard deviations."""
_SHAPES, _TEXTURES = 6, 3
_WIDER = 2.0  # the structure tensor is taken over so many scales


@dataclass(frozen=True)
class Bank:
    """Features of images of voxels of ``resolution`` nm; ``textures`` are the scales of structure tensors."""

    resolution: Vec3f
    scales: tuple[float, ...] = (7.0, 16.0, 35.0, 50.0)
    textures: tuple[float, ...] = (7.0, 16.0)

    @property
    def count(self) -> int:
        """Features of a voxel."""
        return 1 + _SHAPES * len(self.scales) + _TEXTURES * len(self.textures)

    @property
    def margin(self) -> Vec3:
        """How many voxels around one its features are of, along each axis."""
        reaches = [np.add(reach(self.resolution, s), 1) for s in self.scales]
        reaches += [np.add(reach(self.resolution, s), 1) + reach(self.resolution, s * _WIDER) for s in self.textures]
        return vec(np.max(reaches, axis=0))

    def of(self, grey: Array) -> Array:
        """Features, float32 [x, y, z, feature], of the voxels of ``grey`` [x, y, z] that are not in its margin."""
        inside = vec(n - 2 * m for n, m in zip(grey.shape, self.margin, strict=True))
        found = np.empty((*inside, self.count), np.float32, order="F")
        at = 0
        for planes in self._planes(np.asfortranarray(grey, np.float32)):
            found[..., at : at + planes.shape[3]] = _middle(planes, inside)
            at += planes.shape[3]
        return found

    def peak_bytes(self, patch: Vec3) -> int:
        """The most bytes that :meth:`of` holds for a patch, its result among them."""
        inside = np.prod([n - 2 * m for n, m in zip(patch, self.margin, strict=True)])
        return int(4 * (np.prod(patch) * 16 + inside * self.count))

    def _planes(self, grey: Array) -> Iterator[Array]:
        """Features in order, with as much of their margin as each has."""
        yield grey[..., np.newaxis]
        for scale in self.scales:
            image = smoothed(grey, self.resolution, scale)
            yield image[..., np.newaxis]
            yield native.shapes(image, *self._unit(scale))
        for scale in self.textures:
            products = native.products(smoothed(grey, self.resolution, scale), *self._unit(scale))
            wide = [smoothed(products[..., i], self.resolution, scale * _WIDER) for i in range(products.shape[3])]
            del products
            yield native.eigenvalues(np.stack(wide, axis=3))

    def _unit(self, scale: float) -> Vec3f:
        x, y, z = (scale / r for r in self.resolution)
        return x, y, z


def smoothed(grey: Array, resolution: Vec3f, scale: float) -> Array:
    """Float32 ``grey`` [x, y, z] by a Gaussian of ``scale`` nm; smaller by its :func:`reach` at each side."""
    found: Array = native.smooth(grey, *(_half(scale / r) for r in resolution))[..., 0]
    return found


def reach(resolution: Vec3f, scale: float) -> Vec3:
    """How many voxels away a Gaussian of ``scale`` nm looks, along each axis."""
    return vec(len(_half(scale / r)) - 1 for r in resolution)


def _half(sigma: float) -> list[float]:
    """Weights of a Gaussian from its centre outwards; both halves sum to 1."""
    radius = int(_REACH * sigma + 0.5)
    weights = np.exp(-0.5 * (np.arange(radius + 1) / max(sigma, 1e-6)) ** 2)
    return list((weights / (weights[0] + 2 * weights[1:].sum())).tolist())


def _middle(planes: Array, shape: Vec3) -> Array:
    """The innermost voxels of all planes."""
    x, y, z = (slice((n - m) // 2, (n - m) // 2 + m) for n, m in zip(planes.shape, shape, strict=False))
    return planes[x, y, z]
