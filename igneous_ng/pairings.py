"""The files of pairs: how a section lies on one before it, in pixels of mip 0, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.alignment import Alignment
from igneous_ng.errors import DataError
from igneous_ng.formats.sections import name
from igneous_ng.io import IO
from igneous_ng.kernels.affine import IDENTITY, Affine
from igneous_ng.kernels.section_pairs import Laid

Array = npt.NDArray[Any]
FOLDER = "pairs"
_DIGITS = 9  # of a matrix
_PLACES = 3  # of a pixel


@dataclass(frozen=True)
class Pairing:
    """Section ``z`` on section ``other``: its point p is seen at ``affine(p)`` there."""

    z: int
    other: int
    status: str
    affine: Affine
    mirrored: bool
    inverted: bool
    correlation: float
    points: Array
    """float64 [n, 5]: a point of ``z``, where it is seen in ``other``, and its weight from 0 to 1."""

    @property
    def sure(self) -> bool:
        """Whether it says anything."""
        return self.status not in ("failed", "empty")

    @property
    def words(self) -> str:
        """How its file is called."""
        return f"{name(self.z)}-{name(self.other)}"


def url(alignment: Alignment, z: int, other: int) -> str:
    """Where a pair is stored."""
    return f"{alignment.home}/{FOLDER}/{name(z)}-{name(other)}.json"


def told(laid: Laid, low: Sequence[int], other_low: Sequence[int], factor: int) -> dict[str, Any]:
    """A pair of small pictures, of pixels ``factor`` wide that begin at ``low`` and ``other_low``, as it is stored."""
    moved = laid.affine.shift + other_low - laid.affine.matrix @ np.array(low)
    affine = Affine(laid.affine.matrix, moved).scaled(factor)
    agreed = laid.agreed
    found: dict[str, Any] = {
        "status": laid.status,
        "mirrored": laid.mirrored,
        "inverted": laid.inverted,
        "inliers": laid.inliers,
        "agreement": 0.0 if agreed is None else round(agreed.share, 3),
        "correlation": 0.0 if agreed is None else round(agreed.correlation, 4),
        "blocks": 0 if agreed is None else agreed.common,
    }
    if laid.agreed is None or not laid.sure:
        return found
    own, seen = ((at + offset + 0.5) * factor - 0.5 for at, offset in
                 ((laid.agreed.points, low), (laid.agreed.seen, other_low)))  # fmt: skip
    rows = np.concatenate([own, seen, laid.agreed.weight[:, None]], axis=1)
    return {
        **found,
        "matrix": np.round(affine.matrix.ravel(), _DIGITS).tolist(),
        "shift": np.round(affine.shift, _PLACES).tolist(),
        "points": np.round(rows, _PLACES).tolist(),
    }


def read(io: IO, alignment: Alignment, pairs: Sequence[tuple[int, int]]) -> list[Pairing]:
    """The pairs, in their order; DataError where one is missing."""
    return [_parsed(io, alignment, *pair) for pair in pairs]


def _parsed(io: IO, alignment: Alignment, z: int, other: int) -> Pairing:
    where = url(alignment, z, other)
    raw = io.get_json(where)
    if raw is None:
        raise DataError(f"{where}: this pair was not compared; run `align pairs` first")
    affine = IDENTITY
    if "matrix" in raw:
        affine = Affine(np.array(raw["matrix"]).reshape(2, 2), np.array(raw["shift"]))
    points = np.array(raw.get("points", []), np.float64).reshape(-1, 5)
    return Pairing(z, other, raw["status"], affine, raw["mirrored"], raw["inverted"], raw["correlation"], points)
