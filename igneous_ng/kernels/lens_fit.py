"""How the cameras of a section bend their tiles, from links alone: polynomials shared by all tiles of a camera.

The tiles' maps and the terms of all lenses are solved for together (Gauss and Newton's steps, weights of Cauchy), the
tiles being eliminated first (Schur), because a lens and small changes of all tiles look alike over a step. A lens
has no affine part; what links do not tell of it stays small by a ridge. Terms are rounded, for all that is drawn rests
on them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from igneous_ng.kernels import tile_fit
from igneous_ng.kernels.links import Links
from igneous_ng.kernels.tile_fit import Model
from igneous_ng.kernels.tile_frames import Lenses, Seen, Tiles, length
from igneous_ng.kernels.tile_maps import POWERS, Lens, monomials

Array = npt.NDArray[Any]
LEAST_TILES = 4
"""A camera with fewer linked tiles gets no lens."""
_POINTS = 50_000  # are enough for any lens
_PER_TERM = 10  # points that a lens needs at least, for each of its terms
_ROUNDS = 8
_STILL = 1e-3  # pixels: rounds end where no tile moves by more
_GRAIN = 256  # parts of a pixel that terms are rounded to
_RIDGE = 10.0  # pixels that a term is thought to have
_WIDE = 64  # columns eliminated at once
_TERMS = 2 * len(POWERS)


def fit(tiles: Tiles, links: Links, coef: Array, model: Model) -> list[Lens | None]:
    """The lens of each camera that has tiles and points enough; ``coef`` are maps without lens, near enough."""
    links = thinned(links)
    cameras = _cameras(tiles, links)
    lenses: list[Lens | None] = [None] * (int(tiles.camera.max(initial=-1)) + 1)
    if not len(cameras):
        return lenses
    for camera in cameras.tolist():
        first = int(np.flatnonzero(tiles.camera == camera)[0])
        centre = (float(tiles.centre[first, 0]), float(tiles.centre[first, 1]))
        lenses[camera] = Lens(centre, float(tiles.radius[first]), np.zeros((len(POWERS), 2)))
    for _ in range(_ROUNDS):
        before = coef
        coef, lenses = _step(tiles, links, coef, lenses, cameras, model)
        if np.abs(coef - before).max() < _STILL:
            break
    return [None if one is None else _rounded(one) for one in lenses]


def thinned(links: Links) -> Links:
    """Evenly fewer points, if there are very many."""
    every = max(1, -(-len(links.of) // _POINTS))
    return links.points(np.arange(len(links.of)) % every == 0)


def _rounded(lens: Lens) -> Lens:
    return Lens(lens.centre, lens.radius, np.round(lens.terms * _GRAIN) / _GRAIN)


def _cameras(tiles: Tiles, links: Links) -> Array:
    """Numbers of the cameras that can be told."""
    count = int(tiles.camera.max(initial=-1)) + 1
    linked = np.unique(links.pair)
    held = np.bincount(tiles.camera[linked], minlength=count)
    points = np.bincount(tiles.camera[links.i], minlength=count) + np.bincount(tiles.camera[links.j], minlength=count)
    return np.asarray(np.flatnonzero((held >= LEAST_TILES) & (points >= _PER_TERM * _TERMS)))


def _step(
    tiles: Tiles, links: Links, coef: Array, lenses: Lenses, cameras: Array, model: Model
) -> tuple[Array, list[Lens | None]]:
    """One step of all tiles and lenses."""
    seen = tiles.seen(links, lenses)
    apart = seen.apart(coef)
    noise = tile_fit.noise(length(apart))
    robust = tile_fit.cauchy(length(apart))
    ways = _ways(tiles, coef, model)
    own, cross, pull = tile_fit.reduced(tile_fit.sums(tiles, seen, coef, model, robust), links.pair, ways)
    invert = tile_fit.factored(own, cross, links.pair)
    weight = np.repeat(links.weight * robust, 2)
    bend = _bending(tiles, links, coef, cameras)
    weighed = sparse.csr_array(sparse.diags_array(weight) @ bend)
    border = sparse.csc_array(_moving(seen, ways).T @ weighed)
    ridge = (noise / _RIDGE) ** 2
    terms = np.concatenate([_lens(lenses, camera).terms.ravel() for camera in cameras.tolist()])
    moved = invert(pull.reshape(-1, 1))[:, 0]
    inner = (bend.T @ weighed).toarray() - _eliminated(border, invert) + ridge * np.eye(len(terms))
    push = -(weighed.T @ apart.ravel()) - border.T @ moved - ridge * terms
    change = np.linalg.solve(inner, push)
    moved = moved - invert((border @ change)[:, None])[:, 0]
    made = list(lenses)
    for n, camera in enumerate(cameras.tolist()):
        old = _lens(lenses, camera)
        more = change[n * _TERMS : (n + 1) * _TERMS].reshape(-1, 2)
        made[camera] = Lens(old.centre, old.radius, old.terms + more)
    return _moved(tiles, coef, ways, moved.reshape(len(tiles), -1), model), made


def _lens(lenses: Lenses, camera: int) -> Lens:
    found = lenses[camera]
    assert found is not None
    return found


def _ways(tiles: Tiles, coef: Array, model: Model) -> Array:
    """``[n, 3, 2, k]``: what each unknown of a tile does to its map."""
    if model == "rigid":
        return tile_fit.turning(tiles, coef)
    count = 2 if model == "translation" else 6
    return np.broadcast_to(np.eye(6)[:, :count].reshape(3, 2, count), (len(tiles), 3, 2, count))


def _moved(tiles: Tiles, coef: Array, ways: Array, change: Array, model: Model) -> Array:
    if model == "rigid":
        return tile_fit.turned(tiles, coef, change)
    return np.asarray(coef + np.einsum("nack,nk->nac", ways, change))


def _moving(seen: Seen, ways: Array) -> sparse.csr_array:
    """``[2 m, n * k]``: what the unknowns of tiles do to how far points are apart."""
    parts = []
    for which, u, sign in ((seen.links.i, seen.u, 1.0), (seen.links.j, seen.v, -1.0)):
        own = ways[which]
        parts.append(sign * (own[:, 0] + own[:, 1] * u[:, :1, None] + own[:, 2] * u[:, 1:, None]))
    k = ways.shape[3]
    return _rows(parts, [seen.links.i, seen.links.j], len(ways), k)


def _bending(tiles: Tiles, links: Links, coef: Array, cameras: Array) -> sparse.csr_array:
    """``[2 m, lenses * terms]``: what the terms of lenses do to how far points are apart."""
    place = np.full(int(tiles.camera.max()) + 1, -1)
    place[cameras] = np.arange(len(cameras))
    linear, parts, which = tiles.linear(coef), [], []
    for tile, points, sign in ((links.i, links.p, 1.0), (links.j, links.q, -1.0)):
        lens = place[tiles.camera[tile]]
        powers = monomials((points - tiles.centre[tile]) / tiles.radius[tile, None]) * (sign * (lens >= 0))[:, None]
        parts.append((linear[tile][:, :, None, :] * powers[:, None, :, None]).reshape(len(tile), 2, _TERMS))
        which.append(np.maximum(lens, 0))
    return _rows(parts, which, len(cameras), _TERMS)


def _rows(parts: Sequence[Array], which: Sequence[Array], blocks: int, k: int) -> sparse.csr_array:
    """Rows of two dense blocks ``[m, 2, k]``, at the columns of the blocks ``which`` ``[m]``; those alike add up."""
    points = len(which[0])
    inner = np.arange(k)
    found = [
        sparse.csr_array(
            (
                values.ravel(),
                np.repeat(block[:, None] * k + inner, 2, axis=0).ravel(),
                np.arange(2 * points + 1) * k,
            ),
            (2 * points, blocks * k),
        )
        for values, block in zip(parts, which, strict=True)
    ]
    return sparse.csr_array(found[0] + found[1])


def _eliminated(border: sparse.csc_array, invert: Callable[[Array], Array]) -> Array:
    """What tiles that follow take from the lenses' matrix, some columns at a time."""
    count = border.shape[1]
    parts = [border.T @ invert(border[:, at : at + _WIDE].toarray()) for at in range(0, count, _WIDE)]
    return np.concatenate(parts, axis=1)
