"""A smooth field through displacements that are known at some nodes of a lattice, some of them wrong.

A thin plate (Duchon 1977; Bookstein, "Principal warps", IEEE Transactions on Pattern Analysis and Machine Intelligence
11, 1989) on a lattice: ``sum w |V - v|^2 + sum |second differences of V|^2 / bend^2``, mixed differences counted
twice, and a faint membrane, by which nothing is moved where nothing is known.
"""

from __future__ import annotations

from itertools import combinations
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse.linalg import cg

Array = npt.NDArray[Any]
_ROUNDS = 4  # of reweighting
_FAINT = 1e-6  # of the bending's stiffness: the membrane
_TOLERANCE = 1e-7
_STEPS = 4000  # of conjugate gradients at most
_NEIGHBOURS = 6  # that must be known before a displacement is told unlike them


def unlike(values: Array, sigma: Array, good: Array, slack: float) -> Array:
    """Which displacements ``[x, y, z, 3]`` differ from the median of good ones around them, bool ``[x, y, z]``.

    By more than four times their sigma and than ``slack``, the others' own spread allowed for; of 5 x 5 x 5 nodes.
    """
    held = np.where(good[..., np.newaxis], values, np.nan)
    padded = np.pad(held, ((2, 2), (2, 2), (2, 2), (0, 0)), constant_values=np.nan)
    found = np.zeros_like(good)
    for line in np.ndindex(*good.shape[:2]):  # by lines, for each node has 125 around it
        x, y = line
        near = np.lib.stride_tricks.sliding_window_view(padded[x : x + 5, y : y + 5], (5, 5, 5), axis=(0, 1, 2))[0, 0]
        known = ~np.isnan(near[:, 0]).reshape(good.shape[2], -1)
        asked = good[line] & (known.sum(axis=-1) > _NEIGHBOURS)
        if asked.any():
            around = near[asked].reshape(-1, 3, 125)
            middle = np.nanmedian(around, axis=-1)
            spread = 1.5 * np.nanmedian(np.abs(around - middle[..., np.newaxis]), axis=-1)
            most = 3 * spread + np.maximum(4 * sigma[line][asked], slack)[:, np.newaxis]
            found[line][asked] = (np.abs(values[line][asked] - middle) > most).any(axis=-1)
    return found


def smooth(values: Array, weight: Array, bend: float) -> Array:
    """The field ``[x, y, z, 3]`` through ``values``, ``weight`` ``[x, y, z]`` each (1 / sigma^2; 0: not known).

    ``bend`` is how much the field may bend from node to node, in the unit of ``values``. What is off by more than three
    sigma loses its say, by Cauchy's function.
    """
    shape = weight.shape
    if not weight.any():
        return np.zeros_like(values)
    stiff = _stiffness(shape) / bend**2
    share, found = np.ones(prod(shape)), np.zeros((prod(shape), 3))
    flat, known = values.reshape(-1, 3), weight.ravel()
    for _ in range(_ROUNDS):
        found = _solved(stiff, known * share, flat, found)
        off = ((found - flat) ** 2).sum(axis=1) * known
        share = 1 / (1 + off / 27)
    return found.reshape(values.shape)


def _solved(stiff: Any, weight: Array, values: Array, start: Array) -> Array:
    matrix = (stiff + sparse.diags(weight)).tocsr()
    inverse = sparse.diags(1 / matrix.diagonal())
    columns = [
        cg(matrix, weight * values[:, n], start[:, n], rtol=_TOLERANCE, maxiter=_STEPS, M=inverse)[0] for n in range(3)
    ]
    return np.stack(columns, axis=1)


def _stiffness(shape: tuple[int, ...]) -> Any:
    """The matrix of the energy of second differences, and of first ones, faintly; C order."""
    first = [_difference(n) for n in shape]
    total = sparse.csr_matrix((prod(shape), prod(shape)))
    for axis in range(3):
        once = _along(shape, {axis: first[axis]})
        total = total + _FAINT * (once.T @ once)
        if shape[axis] > 2:
            twice = _along(shape, {axis: _difference(shape[axis] - 1) @ first[axis]})
            total = total + twice.T @ twice
    for a, b in combinations(range(3), 2):
        mixed = _along(shape, {a: first[a], b: first[b]})
        total = total + 2 * (mixed.T @ mixed)
    return total.tocsr()


def _difference(n: int) -> Any:
    """Of neighbours along an axis of ``n`` nodes."""
    return sparse.diags([-np.ones(n - 1), np.ones(n - 1)], [0, 1], shape=(max(n - 1, 0), n)).tocsr()


def _along(shape: tuple[int, ...], by: dict[int, Any]) -> Any:
    """The operator on the whole lattice that is ``by`` along its axes."""
    x, y, z = (by.get(axis, sparse.identity(n)) for axis, n in enumerate(shape))
    return sparse.kron(sparse.kron(x, y), z).tocsr()
