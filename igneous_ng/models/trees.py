"""A model of boosted trees, which says by features of a voxel's surroundings how surely it is boundary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import DataError, SpecError
from igneous_ng.geometry import Vec3, vec
from igneous_ng.kernels import boosted_trees
from igneous_ng.kernels.boosted_trees import Forest
from igneous_ng.kernels.voxel_features import Bank, reach, smoothed
from igneous_ng.models.base import Machine, Shape
from igneous_ng.models.folder import FILES, Card

Array = npt.NDArray[Any]
_INSIDE = 64  # voxels of a patch along each axis that are not margin


@dataclass(frozen=True)
class Trees:
    """A model of one channel, boundary, and of finite support: patches need not overlap by more than their margin.

    What trees say of each voxel for itself is smoothed by a Gaussian of ``blur`` nm.
    """

    bank: Bank
    forest: Forest
    blur: float
    shape: Shape
    backend: str = "numpy"

    def predict(self, patch: Array) -> Array:
        """As :meth:`igneous_ng.models.base.Model.predict`, 0 in the margin."""
        found = np.zeros((*patch.shape, 1), np.float32, order="F")
        features = self.bank.of(patch)
        rows = features.reshape(-1, features.shape[3], order="F")
        said = self.forest.predict(rows).reshape(features.shape[:3], order="F")
        x, y, z = (slice(m, n - m) for m, n in zip(_margin(self.bank, self.blur), patch.shape, strict=True))
        found[x, y, z, 0] = np.minimum(smoothed(said, self.bank.resolution, self.blur), np.float32(1))
        return found

    def to_bytes(self) -> bytes:
        """The file ``trees.npz``."""
        bank = {name: np.array(value) for name, value in vars(self.bank).items()}
        return boosted_trees.to_bytes(bank | {"blur": np.array(self.blur)} | self.forest.pack())

    @classmethod
    def parse(cls, data: bytes, shape: Shape, where: str) -> Trees:
        """What :meth:`to_bytes` gave, for patches of ``shape``; DataError, naming ``where``, for other files."""
        arrays = boosted_trees.from_bytes(data, where)
        try:
            x, y, z = arrays["resolution"].tolist()
            bank = Bank((x, y, z), tuple(arrays["scales"].tolist()), tuple(arrays["textures"].tolist()))
            blur = float(arrays["blur"])
            margin = _margin(bank, blur)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{where}: it does not say which features are meant ({error!r}); train again") from error
        if shape.channels != 1 or any(a < b for a, b in zip(shape.margin, margin, strict=True)):
            raise DataError(f"{where}: trees give one channel and look {margin} voxels far, and not {shape}")
        return cls(bank, Forest.unpack(arrays, bank.count, where), blur, shape)


def load(data: bytes, card: Card, machine: Machine) -> Trees:
    """The trees in ``data``, which are walked by processors alone, in full precision."""
    if machine.half or machine.device == "cuda":
        raise SpecError("trees are walked by processors, in full precision; leave --device and --precision out")
    return Trees.parse(data, card.shape, FILES["trees"])


def shape_of(bank: Bank, blur: float) -> Shape:
    """What a model of these features, whose answers are smoothed, takes and gives."""
    margin = _margin(bank, blur)
    return Shape(vec(_INSIDE + 2 * m for m in margin), margin, 1)


def _margin(bank: Bank, blur: float) -> Vec3:
    return vec(a + b for a, b in zip(bank.margin, reach(bank.resolution, blur), strict=True))
