"""Boosted trees that tell two classes apart (Friedman 2001; histograms as in Ke et al. 2017, "LightGBM")."""

from __future__ import annotations

import io
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import DataError
from igneous_ng.native import trees as native

Array = npt.NDArray[Any]
_BINS = 256


@dataclass(frozen=True)
class Growth:
    """How trees grow: how many, their leaves and steps to one, samples in a leaf, and by how much each one counts."""

    trees: int = 120
    leaves: int = 31
    depth: int = 10
    least: int = 20
    rate: float = 0.12


@dataclass(frozen=True)
class Forest:
    """Trees, node after node; those of tree t are ``roots[t]:roots[t + 1]``.

    A sample goes to the node ``left`` of its tree where its ``feature`` is at most the ``threshold``, else to the one
    after it. A node of feature -1 is a leaf. The ``value`` of the leaves, and ``base``, sum up to the log of the odds.
    """

    feature: Array
    threshold: Array
    left: Array
    value: Array
    roots: Array
    base: float

    def predict(self, features: Array) -> Array:
        """The probability of class 1, float32 [n], by float32 ``features`` [n, f]; each is of its own row alone."""
        return native.predict(features, self.feature, self.threshold, self.left, self.value, self.roots, self.base)

    def pack(self) -> dict[str, Array]:
        """The parts by name, for a file."""
        return {part.name: np.asarray(getattr(self, part.name)) for part in fields(self)}

    @classmethod
    def unpack(cls, arrays: dict[str, Array], features: int, where: str) -> Forest:
        """What :meth:`pack` gave, for so many features; DataError, naming ``where``, for what are no trees."""
        try:
            parts = {part.name: arrays[part.name] for part in fields(cls) if part.name != "base"}
            forest = cls(**parts, base=float(arrays["base"]))
            forest.predict(np.zeros((1, features), np.float32))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{where}: these are no trees ({error}); train the model again") from error
        return forest


def fit(features: Array, truth: Array, growth: Growth) -> Forest:
    """Trees that tell by float32 ``features`` [n, f] where ``truth`` [n] is True; DataError if it is so of all or none.

    The same samples in the same order give the same trees, bit by bit.
    """
    if truth.all() or not truth.any():
        raise DataError(f"all {len(truth)} samples are of one class; there is nothing to tell apart")
    limits = [_limits(column) for column in features.T]
    bins = np.empty(features.shape, np.uint8, order="F")
    for at, (column, limit) in enumerate(zip(features.T, limits, strict=True)):
        bins[:, at] = np.searchsorted(limit, column)
    feature, last, left, value, roots, base = native.fit(
        bins, truth.astype(np.uint8), growth.trees, growth.leaves, growth.depth, growth.least, growth.rate
    )
    threshold = np.array([limits[f][b] if f >= 0 else 0 for f, b in zip(feature, last, strict=True)], np.float32)
    return Forest(feature, threshold, left, value.astype(np.float32), roots, float(np.float32(base)))


def loss(probability: Array, truth: Array) -> float:
    """The mean logistic loss of probabilities of what is True."""
    sure = np.clip(np.where(truth, probability, 1 - probability.astype(np.float64)), 1e-7, 1)
    return float(-np.log(sure).mean())


def to_bytes(arrays: dict[str, Array]) -> bytes:
    """Arrays as a file of numpy's; the same arrays give the same bytes."""
    file = io.BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type]  # numpy takes any names
    return file.getvalue()


def from_bytes(data: bytes, where: str) -> dict[str, Array]:
    """What :func:`to_bytes` was given; DataError, naming ``where``, for other files. Nothing is unpickled."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except Exception as error:  # zip files can be wrong in many ways
        raise DataError(f"{where}: not a file of numpy's arrays ({error}); train the model again") from error


def _limits(column: Array) -> Array:
    """Values between which a feature is cut into bins of about as many samples each, at most 256."""
    values = np.unique(column)
    if len(values) > _BINS:
        at = np.linspace(0, len(column) - 1, _BINS + 1)[1:-1]
        values = np.unique(np.sort(column)[np.rint(at).astype(np.int64)])
    return values[: _BINS - 1]
