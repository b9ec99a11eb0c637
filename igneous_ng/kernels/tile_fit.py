"""Maps of tiles from links between them: least squares, reweighted so that what is wrong has no say.

Minimised is ``sum w rho(|T_i(p) - T_j(q)|)``, rho of Huber and then of Cauchy; for affine maps also
``lam sum |T_i - R_i|^2`` with R_i the nearest map that only turns the stage's (Khairy, Denisov and Saalfeld 2018,
arXiv:1804.10019, whose prior is a similarity rescaled to a rotation). Lam is the variance of the points' noise
over that of what tiles are thought to do, so that points without noise are followed.

All three models take one set of sums over points, the weighted moments of each link: a translation is their first
row, a turn a fixed combination of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse.linalg import splu

from igneous_ng.kernels.tile_frames import Seen, Tiles, length

Array = npt.NDArray[Any]
Model = Literal["translation", "rigid", "affine"]
HUBER = 2.0
"""Beyond so many pixels a point pulls no harder, in the first rounds."""
ROUNDS = 4
"""Rounds of Huber's weights, and of Cauchy's."""
_CAUCHY = 2.385  # of the noise: 95 % as efficient as least squares where noise is Gaussian
_RAYLEIGH = 1.1774  # the median length of a vector whose parts have noise 1
_SHARP = 0.02  # no noise is thought to be less, in pixels: rounded points must not look exact
_FREE = 0.005  # of its radius: what a tile's slopes are thought to change by
_STILL = 1e-4  # pixels: rounds end where nothing moves by more
_HELD = 1e-9  # of the mean weight of a tile: holds what no link tells


@dataclass(frozen=True)
class Moments:
    """Sums over points of weights times products of (1, x, y)."""

    own: Array
    """``[n, 3, 3]``, of each tile with itself."""
    cross: Array
    """``[l, 3, 3]``, of i with j for each link."""
    pull: Array
    """``[n, 3, 2]``, with what points are apart: the way downhill."""


def noise(apart: Array) -> float:
    """The standard deviation of one coordinate, from the median of the lengths."""
    return max(float(np.median(apart)) / _RAYLEIGH, _SHARP) if len(apart) else _SHARP


def huber(apart: Array) -> Array:
    """Weights that bound what a point pulls."""
    return np.asarray(HUBER / np.maximum(apart, HUBER))


def cauchy(apart: Array, least: float = 0.0) -> Array:
    """Weights that vanish far beyond the noise, which is at least so much."""
    return np.asarray(1 / (1 + (apart / (_CAUCHY * max(noise(apart), least))) ** 2))


def fit(tiles: Tiles, seen: Seen, start: Array, model: Model, polish: bool = False) -> Array:
    """The maps ``[n, 3, 2]`` of a model, from those of ``start``; ``polish``: that is near, Cauchy's rounds suffice.

    What links leave open (where a component lies, how it is turned) stays as it is.
    """
    coef = start
    if not len(seen.links):
        return coef
    for _ in range(0 if polish else ROUNDS):
        coef = step(tiles, seen, coef, model, huber(length(seen.apart(coef))))
    for _ in range(ROUNDS):
        before, coef = coef, step(tiles, seen, coef, model, cauchy(length(seen.apart(coef))))
        if np.abs(coef - before).max() < _STILL:
            break
    return coef


def step(tiles: Tiles, seen: Seen, coef: Array, model: Model, weight: Array) -> Array:
    """One weighted solution."""
    found = sums(tiles, seen, coef, model, weight)
    pair = seen.links.pair
    if model == "rigid":
        ways = turning(tiles, coef)
        return turned(tiles, coef, solve(*reduced(found, pair, ways), pair)[..., 0])
    rows = 1 if model == "translation" else 3  # x and y apart: the same matrix for both
    change = np.zeros_like(coef)
    change[:, :rows] = solve(found.own[:, :rows, :rows], found.cross[:, :rows, :rows], found.pull[:, :rows], pair)
    return coef + change


def sums(tiles: Tiles, seen: Seen, coef: Array, model: Model, weight: Array) -> Moments:
    """The moments of a step, with the prior of the model."""
    apart = seen.apart(coef)
    found = moments(len(tiles), seen, apart, seen.links.weight * weight)
    if model == "affine":
        lam = prior(tiles, apart)
        found.own[:, [1, 2], [1, 2]] += lam[:, None]
        found.pull[:, 1:] += lam[:, None, None] * (rigid(tiles, coef) - coef)[:, 1:]
    return found


def prior(tiles: Tiles, apart: Array) -> Array:
    """``[n]``, how much a tile resists to be anything but turned: weight of points."""
    return np.asarray((noise(length(apart)) / (_FREE * tiles.radius)) ** 2)


def rigid(tiles: Tiles, coef: Array) -> Array:
    """The nearest maps that turn and move the stage's."""
    start = tiles.start[:, 1:]
    dot = (start * coef[:, 1:]).sum(axis=(1, 2))
    cross = (start[..., 0] * coef[:, 1:, 1] - start[..., 1] * coef[:, 1:, 0]).sum(axis=1)
    return np.concatenate([coef[:, :1], _turn(start, np.arctan2(cross, dot))], axis=1)


def turned(tiles: Tiles, coef: Array, change: Array) -> Array:
    """``coef`` moved and turned about each tile's centre; ``change`` ``[n, 3]``: x, y, the angle times the radius."""
    turn = _turn(coef[:, 1:], change[:, 2] / tiles.radius)
    return np.concatenate([coef[:, :1] + change[:, None, :2], turn], axis=1)


def _turn(vectors: Array, angle: Array) -> Array:
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    x, y = vectors[..., 0], vectors[..., 1]
    return np.stack([cos * x - sin * y, sin * x + cos * y], axis=-1)


def moments(tiles: int, seen: Seen, apart: Array, weight: Array) -> Moments:
    """The sums over all points, each in their order."""
    links = seen.links
    i, j, of = links.i, links.j, links.of
    one = np.ones(len(of))
    p, q = (one, seen.u[:, 0], seen.u[:, 1]), (one, seen.v[:, 0], seen.v[:, 1])
    own, cross = np.zeros((tiles, 3, 3)), np.zeros((len(links), 3, 3))
    pull = np.zeros((tiles, 3, 2))
    for a in range(3):
        wp, wq = weight * p[a], weight * q[a]
        for b in range(3):
            cross[:, a, b] = np.bincount(of, wp * q[b], len(links))
            if b >= a:
                found = np.bincount(i, wp * p[b], tiles) + np.bincount(j, wq * q[b], tiles)
                own[:, a, b] = own[:, b, a] = found
        for c in range(2):
            pull[:, a, c] = np.bincount(j, wq * apart[:, c], tiles) - np.bincount(i, wp * apart[:, c], tiles)
    return Moments(own, cross, pull)


def turning(tiles: Tiles, coef: Array) -> Array:
    """``[n, 3, 2, 3]``: what x, y, and the angle times the radius, do to the map of each tile."""
    ways = np.zeros((len(coef), 3, 2, 3))
    ways[:, 0, 0, 0] = ways[:, 0, 1, 1] = 1
    ways[:, 1:, 0, 2] = -coef[:, 1:, 1] / tiles.radius[:, None]
    ways[:, 1:, 1, 2] = coef[:, 1:, 0] / tiles.radius[:, None]
    return ways


def reduced(found: Moments, pair: Array, ways: Array) -> tuple[Array, Array, Array]:
    """Moments in which each tile has k ways to change, ``[n, 3, 2, k]``: as :func:`solve` takes them."""
    own = np.einsum("nab,nack,nbcm->nkm", found.own, ways, ways)
    cross = np.einsum("lab,lack,lbcm->lkm", found.cross, ways[pair[:, 0]], ways[pair[:, 1]])
    return own, cross, np.einsum("nac,nack->nk", found.pull, ways)[..., None]


def solve(own: Array, cross: Array, pull: Array, pair: Array) -> Array:
    """The change of each tile's k unknowns, in each of c columns: ``[n, k, c]`` as ``pull``.

    The matrix is made of blocks k by k: ``own`` for tiles, ``-cross`` for links.
    """
    return np.asarray(factored(own, cross, pair)(pull.reshape(own.shape[0] * own.shape[1], -1)).reshape(pull.shape))


def factored(own: Array, cross: Array, pair: Array) -> Callable[[Array], Array]:
    """What solves for columns ``[n * k, c]`` with the matrix of :func:`solve`."""
    made = splu(matrix(own, cross, pair), "MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    return cast("Callable[[Array], Array]", made.solve)


def matrix(own: Array, cross: Array, pair: Array) -> sparse.csc_array:
    """The matrix of :func:`solve`; a little is added to its diagonal, so that what is left open does not move."""
    tiles, k = own.shape[:2]
    little = _HELD * (float(np.einsum("nkk->", own)) / max(tiles * k, 1) or 1.0)
    diagonal = own + little * np.eye(k)
    every = np.arange(tiles)
    rows = np.concatenate([every, pair[:, 0], pair[:, 1]])
    cols = np.concatenate([every, pair[:, 1], pair[:, 0]])
    values = np.concatenate([diagonal, -cross, -cross.transpose(0, 2, 1)])
    inner = np.arange(k)
    at = np.broadcast_to(rows[:, None, None] * k + inner[:, None], values.shape)
    to = np.broadcast_to(cols[:, None, None] * k + inner, values.shape)
    return sparse.csc_array((values.ravel(), (at.ravel(), to.ravel())), (tiles * k, tiles * k))
