"""What networks learn to say of voxels, from their labels: affinities, or classes.

A target makes of labels what is wanted and how much it counts, and tells how good answers are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from igneous_ng.geometry import Vec3f
from igneous_ng.kernels import boundaries
from igneous_ng.training.blocks import UNKNOWN

Array = npt.NDArray[Any]
_JOINED = 0.6  # how much voxels of one cell count, against boundaries
_FAR = 0.3  # how much affinities over distances count, against those of neighbours
_SHOWN = 0.7  # of patches for classes are laid around a voxel of one
_RAREST = 16.0  # how much a voxel of a rare class counts at most, against one of none
_DIGITS = 5


class Target(Protocol):
    """What a network learns."""

    @property
    def unknown(self) -> int:
        """The label of voxels of which nothing is known."""
        ...

    @property
    def shown(self) -> float:
        """The part of the patches that is laid around a voxel of a label that is neither 0 nor unknown."""
        ...

    def wanted(self, labels: Array) -> tuple[Array, Array]:
        """What is to be said of voxels [x, y, z], bool ``[x, y, z, channel]``, and where that is known."""
        ...

    def weights(self, wanted: Any, known: Any) -> Any:
        """How much each answer counts, of float tensors [n, channel, z, y, x]."""
        ...

    def tally(self, logits: Any, wanted: Any, known: Any) -> Array:
        """Sums over answers, to be added up, of tensors [n, channel, z, y, x] of the channels that are used."""
        ...

    def told(self, sums: Array) -> dict[str, float]:
        """Figures from sums of tallies."""
        ...


@dataclass(frozen=True)
class Affinities:
    """Whether voxels are of one cell with those at ``distances`` before them; only those of neighbours are used."""

    resolution: Vec3f
    distances: tuple[int, ...]
    unknown: int = 0
    shown: float = 0.0

    def wanted(self, labels: Array) -> tuple[Array, Array]:
        """See :class:`Target`."""
        return boundaries.affinities(labels, self.resolution, self.distances)

    def weights(self, wanted: Any, known: Any) -> Any:
        """See :class:`Target`."""
        found = known * (_JOINED * wanted + 1 - wanted)
        found[:, 3:] *= _FAR
        return found

    def tally(self, logits: Any, wanted: Any, known: Any) -> Array:
        """Known cuts, those missed, known joins, those not seen."""
        cut, join, said = known * (1 - wanted), known * wanted, (logits > 0).to(known.dtype)
        return np.array([float(one.sum()) for one in (cut, cut * said, join, join * (1 - said))])

    def told(self, sums: Array) -> dict[str, float]:
        """The parts of cuts missed, and of false ones."""
        cuts, missed, joins, false = sums.tolist()
        return {"missed": missed / max(cuts, 1), "false": false / max(joins, 1)}


@dataclass(frozen=True)
class Classes:
    """Which of the classes ``names`` voxels are of: label 1 is the first, 0 none, ``blocks.UNKNOWN`` not known.

    A voxel of class k counts ``rarity[k]`` times as much as others, in what is said of each class: to take it for
    another one is as wrong as to miss it.
    """

    names: tuple[str, ...]
    rarity: tuple[float, ...]
    unknown: int = UNKNOWN
    shown: float = _SHOWN

    def wanted(self, labels: Array) -> tuple[Array, Array]:
        """See :class:`Target`."""
        names = np.arange(1, len(self.names) + 1, dtype=labels.dtype)
        found = np.asfortranarray(labels[..., np.newaxis] == names)
        known = np.broadcast_to((labels != self.unknown)[..., np.newaxis], found.shape)
        return found, np.asfortranarray(known)

    def weights(self, wanted: Any, known: Any) -> Any:
        """See :class:`Target`."""
        more = wanted.new_tensor(self.rarity).reshape(1, -1, 1, 1, 1) - 1
        return known * (1 + (wanted * more).amax(dim=1, keepdim=True))

    def tally(self, logits: Any, wanted: Any, known: Any) -> Array:
        """For each class: voxels that are found, that are said to be of it, and that are of it."""
        said = known * (logits > 0).to(known.dtype)
        parts = (said * wanted, said, known * wanted)
        return np.array([[float(one[:, k].sum()) for one in parts] for k in range(len(self.names))])

    def told(self, sums: Array) -> dict[str, float]:
        """Precision and recall of the voxels of each class, being said to be of it from 0.5 on."""
        found: dict[str, float] = {}
        for name, (right, said, there) in zip(self.names, sums.tolist(), strict=True):
            found |= {f"{name} precision": right / max(said, 1), f"{name} recall": right / max(there, 1)}
        return found


def rarity(counts: Array) -> tuple[float, ...]:
    """How much voxels of each class count, of as many voxels of none and of each: rare ones more, but not all too much.

    The root of how much rarer they are: at the full ratio a network would see classes wherever they may be.
    """
    ratios = np.sqrt(counts[0] / np.maximum(counts[1:], 1))
    return tuple(round(float(one), _DIGITS) for one in np.clip(ratios, 1, _RAREST))
