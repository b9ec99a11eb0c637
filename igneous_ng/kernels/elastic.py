"""Displacements of the nodes of sections, of which each is an elastic sheet and is pulled to others by measurements.

Arrays of nodes are ``[z, x, y]``, of displacements ``[z, x, y, 2]``. What is made the least is

    sum over springs of k |u_b - u_a - rest|^2 + over nodes of anchor |u|^2 + over rows of weight rho(|row u - wanted|),

with Huber's rho, so that a wrong row pulls no harder than one that is off by its ``scale``. Both axes have the same
springs: a membrane, the first order of an elastic sheet. It is solved by weights made anew from residuals, each time by
conjugate gradients. Their preconditioner is the same problem with weights that are even in a section (cosine transforms
in the sections, elimination along z), so that neither the size of sections nor their number matters much. Sums are
those of numpy, in a fixed order.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft, sparse

Array = npt.NDArray[Any]
_EXACT = 1e-4  # pixels that a typical node is off at the end of conjugate gradients
_STEADY = 0.004  # pixels that nodes move at most between the last two weights
_STEPS = 400  # of conjugate gradients at most
_TURNS = 20  # of weights at most
_LEAST = 1e-9  # of a row's weight along z, where there is none


@dataclass(frozen=True)
class Rows:
    """Measurements: ``matrix @ u`` is ``wanted``, and how sure that is."""

    matrix: Any
    """Sparse, ``[row, node]``."""
    wanted: Array
    """``[row, 2]``, pixels."""
    weight: Array
    """1 / variance, for each row."""
    scale: Array
    """Residual from which on rows are doubted, pixels; infinite: never."""
    ends: Array
    """Sections of both ends, ``[row, 2]``, counted from the first of the sheet; the second -1: a fixed place."""

    def residual(self, u: Array) -> Array:
        """How far each row is off, pixels."""
        off = self.matrix @ u.reshape(-1, 2) - self.wanted
        return np.asarray(np.sqrt(off[:, 0] ** 2 + off[:, 1] ** 2))

    def trust(self, u: Array) -> Array:
        """What is left of each row's weight, 0 to 1."""
        return np.asarray(np.minimum(1.0, self.scale / np.maximum(self.residual(u), 1e-9)))


def joined(parts: list[Rows], nodes: int) -> Rows:
    """All rows of several, over ``nodes`` nodes."""
    if not parts:
        none = np.zeros(0)
        return Rows(sparse.csr_matrix((0, nodes)), np.zeros((0, 2)), none, none, np.zeros((0, 2), np.int64))
    matrix = sparse.vstack([one.matrix for one in parts], format="csr")
    names = ("wanted", "weight", "scale", "ends")
    return Rows(matrix, *(np.concatenate([getattr(one, name) for one in parts]) for name in names))


@dataclass(frozen=True)
class Sheets:
    """Springs between nodes next to each other, and the anchor of each node to where it is at rest."""

    shape: tuple[int, int, int]
    along_x: Array
    """Stiffness between ``[z, x]`` and ``[z, x + 1]``; ``[z, x - 1, y]``, or to be broadcast to that."""
    along_y: Array
    anchor: float
    rest: Array | None = None
    """By how much the displacement grows from node to node where nothing pulls, ``[z, axis, 2]``; None: not at all."""

    @property
    def nodes(self) -> int:
        """How many there are."""
        return int(np.prod(self.shape))

    def pull(self, u: Array) -> Array:
        """The force of springs and anchors."""
        found = self.anchor * u
        step = self.along_x[..., np.newaxis] * (u[:, 1:] - u[:, :-1])
        found[:, 1:] += step
        found[:, :-1] -= step
        step = self.along_y[..., np.newaxis] * (u[:, :, 1:] - u[:, :, :-1])
        found[:, :, 1:] += step
        found[:, :, :-1] -= step
        return np.asarray(found)

    @cached_property
    def push(self) -> Array | float:
        """The force of springs where nothing is displaced, against :meth:`pull`."""
        if self.rest is None:
            return 0.0
        found = np.zeros((*self.shape, 2))
        step = self.along_x[..., np.newaxis] * self.rest[:, np.newaxis, np.newaxis, 0]
        found[:, 1:] += step
        found[:, :-1] -= step
        step = self.along_y[..., np.newaxis] * self.rest[:, np.newaxis, np.newaxis, 1]
        found[:, :, 1:] += step
        found[:, :, :-1] -= step
        return found


@dataclass(frozen=True)
class Solved:
    """Displacements, what is left of rows' weights, and the steps it took."""

    u: Array
    trust: Array
    steps: int


def solve(sheets: Sheets, rows: Rows, start: Array, free: Array | None = None) -> Solved:
    """The displacements that are best, from ``start``; where ``free`` is False they stay as they are there."""
    u = start.reshape(*sheets.shape, 2).astype(np.float64)
    mask = np.ones((*sheets.shape, 1)) if free is None else free.astype(np.float64)[..., np.newaxis]
    steps, trust = 0, rows.trust(u)
    for _ in range(_TURNS):
        before = u
        u, took = _linear(_System(sheets, rows, rows.weight * trust, mask), u)
        steps += took
        trust = rows.trust(u)
        if np.abs(u - before).max(initial=0.0) < _STEADY:
            break
    return Solved(u, trust, steps)


@dataclass(frozen=True)
class _System:
    """The linear equations for given weights."""

    sheets: Sheets
    rows: Rows
    weight: Array
    mask: Array

    def residual(self, u: Array) -> Array:
        """What pulls at nodes that are free."""
        off = self.weight[:, np.newaxis] * (self.rows.wanted - self.rows.matrix @ u.reshape(-1, 2))
        springs = self.sheets.push - self.sheets.pull(u)
        return np.asarray(((self._back @ off).reshape(u.shape) + springs) * self.mask)

    def apply(self, p: Array) -> Array:
        """The force that a change of free nodes makes."""
        off = self.weight[:, np.newaxis] * (self.rows.matrix @ p.reshape(-1, 2))
        return np.asarray(((self._back @ off).reshape(p.shape) + self.sheets.pull(p)) * self.mask)

    @cached_property
    def _back(self) -> Any:
        return self.rows.matrix.T

    def eased(self, r: Array) -> Array:
        """About the change that makes up for ``r``: the preconditioner."""
        waves = fft.dctn(r, axes=(1, 2), norm="ortho")
        off, pivots = self._pivots
        for z in range(1, len(waves)):
            waves[z] += waves[z - 1] * (off[z - 1] / pivots[z - 1])[..., np.newaxis]
        waves[-1] /= pivots[-1][..., np.newaxis]
        for z in range(len(waves) - 2, -1, -1):
            waves[z] = (waves[z] + off[z] * waves[z + 1]) / pivots[z][..., np.newaxis]
        return np.asarray(fft.idctn(waves, axes=(1, 2), norm="ortho", overwrite_x=True) * self.mask)

    @cached_property
    def level(self) -> float:
        """The weight of rows at a typical node."""
        return float(self.weight.sum() / max(1, self.sheets.nodes)) + self.sheets.anchor

    @cached_property
    def _pivots(self) -> tuple[Array, Array]:
        """What couples each section to the next, and the pivots of each wave, ``[z, x, y]``."""
        count, nx, ny = self.sheets.shape
        gaps, fixed = self._coupling
        held = np.where(self.mask.reshape(count, -1).any(axis=1), 0.0, 1e3 * self.level)
        diagonal = fixed + held + self.sheets.anchor
        diagonal[1:] += gaps
        diagonal[:-1] += gaps
        stiff = float(self.sheets.along_x.mean() + self.sheets.along_y.mean()) / 2 if nx * ny > 1 else 0.0
        waves = stiff * (_waves(nx)[:, np.newaxis] + _waves(ny))
        pivots = np.empty(self.sheets.shape)
        for z in range(count):
            pivots[z] = waves + diagonal[z]
            if z:
                pivots[z] -= gaps[z - 1] ** 2 / pivots[z - 1]
        return gaps, pivots

    @cached_property
    def _coupling(self) -> tuple[Array, Array]:
        """The mean weight across each gap, and that of fixed places; a row across k gaps is k stiffer ones in a row."""
        count, area = self.sheets.shape[0], self.sheets.shape[1] * self.sheets.shape[2]
        gaps, fixed = np.full(max(count - 1, 0), _LEAST * self.level), np.zeros(count)
        upper, lower = self.rows.ends.max(axis=1, initial=-1), self.rows.ends.min(axis=1, initial=count)
        span = np.where(lower < 0, 0, upper - lower)
        fixed += np.bincount(upper[span == 0], self.weight[span == 0], count) / area
        for k in np.unique(span[span > 0]).tolist():
            found = np.bincount(lower[span == k], self.weight[span == k], count) * k / area
            for n in range(k):
                gaps[n:] += found[: len(gaps) - n]
        return gaps, fixed


def _waves(count: int) -> Array:
    """What the second difference makes of each term of a cosine series."""
    return np.asarray(2.0 - 2.0 * np.cos(np.pi * np.arange(count) / count))


def _linear(system: _System, start: Array) -> tuple[Array, int]:
    """Preconditioned conjugate gradients (Hestenes and Stiefel 1952) from ``start``, and how many steps they took."""
    u, r = start.copy(), system.residual(start)
    z = system.eased(r)
    p, energy = z, _dot(r, z)
    enough = _EXACT**2 * system.level * u.size
    for step in range(_STEPS):
        if energy <= enough:
            return u, step
        pushed = system.apply(p)
        length = energy / _dot(p, pushed)
        u += length * p
        r -= length * pushed
        z = system.eased(r)
        before, energy = energy, _dot(r, z)
        p = z + (energy / before) * p
    return u, _STEPS


def _dot(a: Array, b: Array) -> float:
    """In numpy's own order of summation, whatever libraries and threads there are."""
    return float((a * b).sum())
