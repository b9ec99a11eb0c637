"""Links between tiles: which tiles show the same, and points that say where.

All arrays are in the order of the pairs, so that it does not matter in which batches they were found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse import csgraph

from igneous_ng.errors import DataError

Array = npt.NDArray[Any]
STATUS = ("matched", "not sure", "nothing to see", "apart")
"""What the numbers in the column ``status`` mean."""
COLUMNS = ("pair", "status", "shift", "confidence", "of", "p", "q", "weight")
"""What is read of a batch of matches."""
_HELD = 5  # one point in so many is held out


@dataclass(frozen=True)
class Links:
    """Pairs of tiles with the points that both show; each has at least one."""

    pair: Array
    """``[l, 2]``, places i < j of tiles."""
    confidence: Array
    """``[l]``."""
    of: Array
    """``[m]``, the link of each point, in order."""
    p: Array
    """``[m, 2]``, in pixels of tile i."""
    q: Array
    """The same place in pixels of tile j."""
    weight: Array
    """``[m]``, of a usual point 1."""
    scatter: float = 0.0
    """How far a usual point is off along an axis, in pixels, as matching has it."""

    def __len__(self) -> int:
        return len(self.pair)

    @cached_property
    def i(self) -> Array:
        """The first tile of each point."""
        return np.asarray(self.pair[self.of, 0])

    @cached_property
    def j(self) -> Array:
        """The second."""
        return np.asarray(self.pair[self.of, 1])

    @cached_property
    def counts(self) -> Array:
        """Points of each link."""
        return np.bincount(self.of, minlength=len(self))

    def medians(self, values: Array) -> Array:
        """The median of ``values`` ``[m]`` over the points of each link; the lower of two."""
        order = np.lexsort((values, self.of))
        first = np.cumsum(self.counts) - self.counts
        return np.asarray(values[order[first + (self.counts - 1) // 2]])

    def only(self, links: Array) -> Links:
        """The links of a mask ``[l]``, with their points."""
        place = np.cumsum(links) - 1
        kept = replace(self, pair=self.pair[links], confidence=self.confidence[links])
        points = links[self.of]
        return replace(kept, of=place[self.of[points]], p=self.p[points], q=self.q[points], weight=self.weight[points])

    def points(self, mask: Array) -> Links:
        """All links with the points of a mask ``[m]`` only; some may be left without any."""
        return replace(self, of=self.of[mask], p=self.p[mask], q=self.q[mask], weight=self.weight[mask])

    @cached_property
    def held(self) -> Array:
        """A mask of points by which models are compared: every fifth of a link."""
        first = np.cumsum(self.counts) - self.counts
        return np.asarray((np.arange(len(self.of)) - first[self.of]) % _HELD == _HELD - 1)


@dataclass(frozen=True)
class Matches:
    """All that was found between the pairs of a section."""

    pair: Array
    """``[n, 2]`` in order."""
    status: Array
    """``[n]``, see :data:`STATUS`."""
    links: Links
    """Those that are matched."""

    @property
    def counts(self) -> dict[str, int]:
        """Pairs of each status."""
        found = np.bincount(self.status, minlength=len(STATUS)).tolist()
        return dict(zip(STATUS, found, strict=True))


def gather(batches: Sequence[Mapping[str, Array]], sizes: Array, where: str) -> Matches:
    """The matches of a section of tiles of ``sizes`` ``[n, 2]``, from its batches in any order.

    A matched pair without points gets one where its overlap has its middle. DataError, naming ``where``, where numbers
    are none, or tell of tiles that there are not.
    """
    columns = {name: _joined(batches, name) for name in COLUMNS}
    starts = np.cumsum([0] + [len(one["pair"]) for one in batches])
    columns["of"] = np.concatenate(
        [np.zeros(0, np.int64)] + [b["of"] + s for b, s in zip(batches, starts, strict=False)]
    )
    _check(columns, len(sizes), where)
    order = np.lexsort((columns["pair"][:, 1], columns["pair"][:, 0]))
    pair, status = columns["pair"][order].astype(np.int64), columns["status"][order]
    if (pair[1:] == pair[:-1]).all(axis=1).any():
        raise DataError(f"{where}: a pair of tiles is matched twice; run `stitch match` again")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    of = place[columns["of"]]
    points = np.argsort(of, kind="stable")
    points = points[status[of[points]] == 0]
    values = {name: columns[name][points].astype(np.float64) for name in ("p", "q", "weight")}
    usual = _usual(values["weight"])
    values["weight"] = values["weight"] / usual
    confidence = np.nan_to_num(columns["confidence"][order].astype(np.float64), nan=1.0)
    raw = Links(pair, confidence, of[points], **values, scatter=usual**-0.5)
    whole = _with_middles(raw, columns["shift"][order], status == 0, sizes)
    return Matches(pair, status, whole.only(status == 0))


def _usual(weight: Array) -> float:
    """The weight of a usual point."""
    positive = weight[weight > 0]
    return float(np.median(positive)) if len(positive) else 1.0


def _joined(batches: Sequence[Mapping[str, Array]], name: str) -> Array:
    tail = {"pair": (2,), "shift": (2,), "p": (2,), "q": (2,)}.get(name, ())
    kind = np.int64 if name in ("pair", "status", "of") else np.float64
    return np.concatenate([np.zeros((0, *tail), kind)] + [one[name] for one in batches])


def _check(columns: Mapping[str, Array], tiles: int, where: str) -> None:
    pair, of, status = columns["pair"], columns["of"], columns["status"]
    matched = status == 0
    sound = (
        ((pair >= 0) & (pair < tiles)).all()
        and (pair[:, 0] < pair[:, 1]).all()
        and (status < len(STATUS)).all()
        and ((of >= 0) & (of < len(pair))).all()
    )
    if not sound:
        raise DataError(f"{where}: tells of tiles or pairs that there are not; run `stitch match` again")
    used = matched[of]
    numbers = [columns["shift"][matched], *(columns[name][used] for name in ("p", "q", "weight"))]
    if not all(np.isfinite(one).all() for one in numbers) or (columns["weight"][used] < 0).any():
        raise DataError(f"{where}: a place or weight of a matched pair is no number; run `stitch match` again")


def _with_middles(links: Links, shift: Array, matched: Array, sizes: Array) -> Links:
    lone = np.flatnonzero(matched & (links.counts == 0))
    first, second, by = sizes[links.pair[lone, 0]], sizes[links.pair[lone, 1]], shift[lone].astype(np.float64)
    p = (np.maximum(by, 0) + np.minimum(first - 1, by + second - 1)) / 2
    of = np.concatenate([links.of, lone])
    order = np.argsort(of, kind="stable")
    joined = {
        "p": np.concatenate([links.p, p])[order],
        "q": np.concatenate([links.q, p - by])[order],
        "weight": np.concatenate([links.weight, np.ones(len(lone))])[order],
    }
    return Links(links.pair, links.confidence, of[order], **joined, scatter=links.scatter)


def components(tiles: int, pair: Array) -> Array:
    """``[tiles]``: the number of each tile's component, the largest first, of equal ones that with the first tile."""
    if not tiles:
        return np.zeros(0, np.int64)
    graph = sparse.coo_array((np.ones(len(pair)), (pair[:, 0], pair[:, 1])), (tiles, tiles))
    _, label = csgraph.connected_components(graph, directed=False)
    _, first, sizes = np.unique(label, return_index=True, return_counts=True)
    rank = np.empty_like(first)
    rank[np.lexsort((first, -sizes))] = np.arange(len(first))
    return np.asarray(rank[label])
