"""Which links are wrong: those that the others contradict.

The rule is BigStitcher's (Hörl et al., Nature Methods 2019): while a link is off by more than a bound, and by far more
than is usual, the worst are dropped and the tiles placed again. As tiles are placed by robust weights, a wrong link
hardly moves those that are right; of links that share a tile one is dropped at a time, and only those about as bad as
the worst, because a very wrong link pulls its neighbours' neighbours, too. Where two links contradict each other and no
third one decides, the one that is farther from the stage is dropped; and what nothing confirms then, if it is far from
the stage, too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.kernels import tile_fit
from igneous_ng.kernels.link_doubts import doubtful
from igneous_ng.kernels.links import Links, components
from igneous_ng.kernels.tile_frames import Seen, Tiles, length

Array = npt.NDArray[Any]
FAR = 5.0
"""A link that is off by less, in pixels, is never dropped."""
USUAL = 3.5
"""Nor one that is off by less than so many times what is usual: for links, and for points within a link."""
_ROUNDS = 100
_AGAIN = 10  # times that links are dropped, or taken back, by one model
_LEVER = 3.0  # what turns or stretches the points of a link moves the link so much more
_ALIKE = 0.5  # links off by so much of the worst may be dropped with it


def bound(off: Array, unlike: float = 0.0) -> float:
    """By how much a link may be off, where points of one link are unlike each other by so much."""
    return max(FAR, USUAL * max(float(np.median(off)), _LEVER * unlike)) if len(off) else FAR


def unlike(links: Links, apart: Array) -> float:
    """By how much a point differs from the median of its link: what a model cannot do for a single link.

    Robust fits satisfy half the links at the cost of the others; this is the same for all fits.
    """
    middle = np.stack([links.medians(apart[:, axis]) for axis in (0, 1)], axis=1)
    return float(np.median(links.medians(length(apart - middle[links.of])))) if len(links) else 0.0


def worst(pair: Array, off: Array, kept: Array, limit: float) -> Array:
    """Links to drop together, of those ``kept`` and off by more than ``limit``: none shares a tile with a worse one."""
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
    if not len(links):
        return np.ones(0, bool)
    start = seen.apart(tiles.start)
    gap = np.stack([links.medians(start[:, axis]) for axis in (0, 1)], axis=1)
    stray = length(gap)
    weight = links.confidence * np.bincount(links.of, links.weight, len(links))
    usual = unlike(links, start)
    weight *= _likely(stray)
    kept, move = np.ones(len(links), bool), np.zeros((len(tiles), 2))
    for _ in range(_ROUNDS):
        move, off = _placed(links.pair, gap, weight * kept, move, usual)
        drop = worst(links.pair, off, kept, bound(off[kept], usual))
        if not len(drop):
            break
        kept[drop] = False
    kept = _taken_back(len(tiles), links.pair, kept, off, bound(off[kept], usual))
    return np.asarray(kept & ~((stray > bound(stray)) & doubtful(len(tiles), links.pair, kept)))


def by_model(tiles: Tiles, seen: Seen, coef: Array, model: tile_fit.Model, kept: Array) -> tuple[Array, Array]:
    """Maps of a model, from those of ``coef``, and a mask of the links that they rest on, from ``kept``."""
    for _ in range(_AGAIN if len(seen.links) else 0):
        apart = seen.apart(coef)
        off = seen.links.medians(length(apart))
        limit = bound(off[kept], unlike(seen.links, apart))
        back = _taken_back(len(tiles), seen.links.pair, kept, off, limit)
        drop = worst(seen.links.pair, off, kept, limit)
        if not len(drop) and np.array_equal(kept, back):
            break
        kept = kept.copy() if len(drop) else back
        kept[drop] = False
        coef = tile_fit.fit(tiles, seen.only(kept), coef, model, polish=True)
    return coef, kept


def _placed(pair: Array, gap: Array, weight: Array, move: Array, usual: float) -> tuple[Array, Array]:
    """Where tiles lie, ``[n, 2]``, and by how much each link is off."""
    used = weight > 0
    for round_ in range(2 * tile_fit.ROUNDS):
        left = gap + move[pair[:, 0]] - move[pair[:, 1]]
        off = length(left)
        weighed = weight * (tile_fit.huber(off) if round_ < tile_fit.ROUNDS else tile_fit.cauchy(off, usual))
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


def _likely(stray: Array) -> Array:
    """Weights of links by how far the stage is from them: this tells which of two that disagree is wrong."""
    return np.asarray(1 / (1 + (stray / bound(stray)) ** 2))


def _taken_back(tiles: int, pair: Array, kept: Array, off: Array, limit: float) -> Array:
    """Links that fit after all what the others say are kept."""
    part = components(tiles, pair[kept])[pair]
    return np.asarray(kept | ((off < limit / 2) & (part[:, 0] == part[:, 1])))
