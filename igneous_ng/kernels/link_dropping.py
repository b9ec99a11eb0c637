"""Which links are wrong: those that the others contradict.

The rule is BigStitcher's (Hörl et al., Nature Methods 2019): while a link is off by more than a bound, and by far more
than is usual, the worst are dropped and the tiles placed again. As tiles are placed by Huber's weights, a wrong link
hardly moves those that are right; of links that share a tile one is dropped at a time, and only those about as bad as
the worst, because a very wrong link pulls its neighbours' neighbours, too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.kernels import tile_fit
from igneous_ng.kernels.tile_fit import HUBER
from igneous_ng.kernels.tile_frames import Seen, Tiles, length

Array = npt.NDArray[Any]
FAR = 5.0
"""A link that is off by less, in pixels, is never dropped."""
USUAL = 3.5
"""Nor one that is off by less than so many times the median."""
_ROUNDS = 100
_AGAIN = 10  # times that links are dropped, or taken back, by one model
_SETTLE = 6  # rounds of Huber's weights from one drop to the next
_ALIKE = 0.5  # links off by so much of the worst may be dropped with it


def bound(off: Array) -> float:
    """By how much a link may be off."""
    return max(FAR, USUAL * float(np.median(off))) if len(off) else FAR


def worst(pair: Array, off: Array, kept: Array) -> Array:
    """Links to drop together, of those ``kept``: none shares a tile with a worse one."""
    limit = bound(off[kept])
    far = np.flatnonzero(kept & (off > limit))
    if not len(far):
        return far
    far = far[off[far] >= _ALIKE * off[far].max()]
    taken, found = set[int](), list[int]()
    for link in far[np.lexsort((far, -off[far]))].tolist():
        ends = set(pair[link].tolist())
        if not ends & taken:
            found.append(link)
            taken |= ends
    return np.array(found, np.int64)


def by_translation(tiles: Tiles, seen: Seen) -> Array:
    """A mask ``[l]`` of the links to keep, where each tile may only be moved: one place a link, its points' median."""
    links = seen.links
    start = seen.apart(tiles.start)
    gap = np.stack([links.medians(start[:, axis]) for axis in (0, 1)], axis=1)
    weight = links.confidence * np.bincount(links.of, links.weight, len(links))
    kept, move = np.ones(len(links), bool), np.zeros((len(tiles), 2))
    for _ in range(_ROUNDS):
        move, off = _placed(links.pair, gap, weight * kept, move)
        drop = worst(links.pair, off, kept)
        if not len(drop):
            break
        kept[drop] = False
    return _taken_back(kept, off)


def by_model(tiles: Tiles, seen: Seen, coef: Array, model: tile_fit.Model, kept: Array) -> tuple[Array, Array]:
    """Maps of a model, from those of ``coef``, and a mask of the links that they rest on, from ``kept``."""
    for _ in range(_AGAIN):
        off = seen.links.medians(length(seen.apart(coef)))
        back = _taken_back(kept, off)
        drop = worst(seen.links.pair, off, kept)
        if not len(drop) and np.array_equal(kept, back):
            break
        kept = kept.copy() if len(drop) else back
        kept[drop] = False
        coef = tile_fit.fit(tiles, seen.only(kept), coef, model, polish=True)
    return coef, kept


def _placed(pair: Array, gap: Array, weight: Array, move: Array) -> tuple[Array, Array]:
    """Where tiles lie, ``[n, 2]``, and by how much each link is off."""
    used = weight > 0
    for round_ in range(_SETTLE):
        left = gap + move[pair[:, 0]] - move[pair[:, 1]]
        off = length(left)
        weighed = weight * (HUBER / np.maximum(off, HUBER) if round_ or move.any() else 1.0)
        own = np.bincount(pair[:, 0], weighed, len(move)) + np.bincount(pair[:, 1], weighed, len(move))
        pull = np.stack(
            [
                np.bincount(pair[:, 1], weighed * left[:, axis], len(move))
                - np.bincount(pair[:, 0], weighed * left[:, axis], len(move))
                for axis in (0, 1)
            ],
            axis=1,
        )
        cross = weighed[used, None, None]
        move = move + tile_fit.solve(own[:, None, None], cross, pull[:, None], pair[used])[:, 0]
    return move, length(gap + move[pair[:, 0]] - move[pair[:, 1]])


def _taken_back(kept: Array, off: Array) -> Array:
    """Links that fit after all what the others say are kept."""
    return np.asarray(kept | (off < bound(off[kept]) / 2))
