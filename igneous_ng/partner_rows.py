"""Rows of a table of synapses, from whole clefts and their contacts: `docs/design/027`. Arrays in and out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng import clefts, partners
from igneous_ng.geometry import Box, Vec3f
from igneous_ng.kernels.contacts import centroids, nanometres
from igneous_ng.partners import Near, Pair
from igneous_ng.synapses import COLUMNS, empty

Array = npt.NDArray[Any]
_MOST = np.iinfo(np.uint32).max


@dataclass(frozen=True)
class Rules:
    """How partners are chosen.

    ``oriented``: evidence tells the sides. ``kind``: what tells the kind: channels, image, or nothing. ``polyadic``,
    ``curve``: see :mod:`igneous_ng.partners`.
    """

    oriented: bool
    kind: str
    polyadic: int
    curve: tuple[float, float]


def rows(
    found: Mapping[str, Array], near: Mapping[str, Array], rules: Rules, bounds: Box, resolution: Vec3f
) -> dict[str, Array]:
    """The rows of clefts, ascending by id.

    ``found`` are rows of clefts (``clefts.COLUMNS``). ``near`` are all their contacts, by cleft, then label: object,
    segment, voxels, pre, post, kinds, distance, place.
    """
    starts = np.searchsorted(near["object"], found["id"])
    ends = np.searchsorted(near["object"], found["id"], "right")
    chosen = [_Cleft(near, slice(a, b)).pairs(rules) for a, b in zip(starts.tolist(), ends.tolist(), strict=True)]
    which = np.repeat(np.arange(len(chosen)), [len(pairs) for pairs in chosen])
    rank = np.concatenate([np.zeros(0, np.int64), *(np.arange(len(pairs)) for pairs in chosen)])
    made = _placed(found, which, rank, bounds, resolution)
    flat = [one for pairs in chosen for one in pairs]
    made["flags"] = np.array([pair.flags for pair, _ in flat], "<u2")
    made["confidence"] = np.array([pair.confidence for pair, _ in flat], "|u1")
    kinds = np.array([kind for _, kind in flat], "|u1").reshape(-1, 2)
    made["kind"], made["kind_confidence"] = kinds.T
    for side in ("pre", "post"):
        places = (getattr(pair, side) for pair, _ in flat)
        there = np.array([-1 if place is None else place for place in places], np.int64)
        _describe(made, side, near, np.where(there < 0, -1, there + starts[which]), bounds, resolution)
    return made


class _Cleft:
    """The contacts of one cleft."""

    def __init__(self, near: Mapping[str, Array], part: slice) -> None:
        columns = ("segment", "voxels", "pre", "post")
        self.near = Near(*(near[name][part].tolist() for name in columns))
        self.kinds = near["kinds"][part].tolist()

    def pairs(self, rules: Rules) -> list[tuple[Pair, tuple[int, int]]]:
        """The partners, and for each pair the kind and how sure it is."""
        choose = partners.pairs if rules.oriented else partners.unoriented
        return [(pair, self._kind(pair, rules)) for pair in choose(self.near, rules.polyadic)]

    def _kind(self, pair: Pair, rules: Rules) -> tuple[int, int]:
        if rules.kind == "channels":
            return partners.by_channels(sum(sums[0] for sums in self.kinds), sum(sums[1] for sums in self.kinds))
        if rules.kind == "image" and pair.pre is not None and pair.post is not None:
            pre, post = ((self.kinds[place][0], self.near.voxels[place]) for place in (pair.pre, pair.post))
            return partners.by_density(pre, post, rules.curve)
        return 0, 0


def _placed(found: Mapping[str, Array], which: Array, rank: Array, bounds: Box, resolution: Vec3f) -> dict[str, Array]:
    """What rows tell of their clefts, the ``which``-th."""
    made = empty(len(which))
    made["id"] = found["id"][which] + rank.astype(np.uint64)
    made["place"] = centroids(found["places"], found["voxels"], bounds.lo, resolution)[which].astype("<i4")
    made["mean"] = clefts.means(found["sum"], found["voxels"])[which].astype("|u1")
    for name in ("lo", "hi", "voxels", "peak"):
        made[name] = found[name][which].astype(COLUMNS[name])
    return made


def _describe(
    made: dict[str, Array], side: str, near: Mapping[str, Array], at: Array, bounds: Box, resolution: Vec3f
) -> None:
    """Enter what is known of the partners of a side: the ``at``-th contacts, -1 where there is none."""
    there = at >= 0
    some = at[there]
    wide, deep, _ = (np.uint64(n) for n in bounds.shape)
    place = near["place"][some]
    voxels = np.stack([place % wide, place // wide % deep, place // (wide * deep)], axis=1).astype(np.int64)
    made[side][there] = near["segment"][some]
    made[f"{side}_contact"][there] = np.minimum(near["voxels"][some], _MOST)
    made[f"{side}_score"][there] = near[side][some]
    made[f"{side}_place"][:] = made["place"]
    made[f"{side}_place"][there] = nanometres(voxels + np.array(bounds.lo), resolution)
