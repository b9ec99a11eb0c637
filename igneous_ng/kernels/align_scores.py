"""How far maps of sections are from the truth."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def spread(errors: Array) -> dict[str, float]:
    """Median, 95th percentile, the largest and how many; of none only that there are none."""
    if not len(errors):
        return {"count": 0}
    p50, p95 = np.percentile(errors.astype(np.float64), [50, 95]).tolist()
    return {"p50": round(p50, 4), "p95": round(p95, 4), "max": round(float(errors.max()), 4), "count": len(errors)}


@dataclass
class Gauge:
    """The one affine map of all points that errors of all sections are measured beside: no match can tell it.

    Least squares of errors ``[n, 2]`` at points ``[n, 2]``, which may come part by part. ``origin`` and ``unit`` should
    be near the middle and the extent of points, so that sums are exact enough.
    """

    origin: Array
    unit: float
    _squares: Array = field(default_factory=lambda: np.zeros((3, 3)))
    _products: Array = field(default_factory=lambda: np.zeros((3, 2)))

    def add(self, points: Array, errors: Array) -> None:
        """More points."""
        terms = self._terms(points)
        self._squares += np.einsum("ni,nj->ij", terms, terms)
        self._products += np.einsum("ni,nj->ij", terms, errors)

    def left(self, points: Array, errors: Array) -> Array:
        """What of the errors is left, ``[n, 2]``."""
        found: Array = errors - self._terms(points) @ self._solution
        return found

    @property
    def _solution(self) -> Array:
        return np.asarray(np.linalg.lstsq(self._squares, self._products, rcond=None)[0])

    def _terms(self, points: Array) -> Array:
        scaled = (np.asarray(points, np.float64) - self.origin) / self.unit
        return np.concatenate([scaled, np.ones((len(scaled), 1))], axis=1)
