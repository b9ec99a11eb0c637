"""Agglomerations tried: rules chosen by the variation of information that they reach."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from segment_places import Bench, local, values

from igneous_ng.io import IO
from igneous_ng.kernels import contingency, partition_scores
from igneous_ng.segmentation import Supervoxels

THRESHOLDS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
GUARDS = tuple(itertools.product((1_000, 5_000, 20_000), (0.1, 0.2, 0.3)))  # size, above the threshold
SMALL = tuple(itertools.product((100, 300, 1_000), (0.05, 0.1, 0.2)))  # size, below the threshold

Rules = dict[str, Any]


@dataclass
class Tried:
    """Agglomerations of one layer of supervoxels, each measured by the overlaps of supervoxels and truth."""

    bench: Bench
    layer: str
    truth: np.ndarray
    seconds: float = 0.0
    number: int = 0

    def __post_init__(self) -> None:
        voxels = values(self.layer)[..., 0]
        zero = [np.zeros(n, np.int64) for n in voxels.shape]
        self.pairs = contingency.located(contingency.tally(self.truth, voxels, self.truth == 0, zero), np.zeros(1))

    def scores(self, rules: Rules) -> tuple[float, float]:
        """VOI and adapted Rand error; voxels in no supervoxel are one segment, and each its own."""
        self.number += 1
        name = f"try{self.number}"
        self.seconds += self.bench.do("segment agglomerate", layer=self.layer, agglomeration=name, **rules)
        known = Supervoxels(IO(), self.layer)
        tables = [known.read(f"agglomerations/{name}/segments", known.plan.at(leaf)) for leaf in known.plan.grid]
        ids, segments = (np.concatenate([table[column] for table in tables]) for column in ("id", "segment"))
        shutil.rmtree(local(known.agglomeration_url(name)))
        return measured(self.pairs, ids, segments)


def chosen(tried: Sequence[Tried]) -> Rules:
    """The rules of the least VOI: a threshold, then a guard with each threshold near it, then the small ones."""
    best = _best(tried, [{"thresholds": (t,)} for t in THRESHOLDS])
    at = THRESHOLDS.index(best["thresholds"][0])
    near = THRESHOLDS[max(at - 3, 0) : at + 1]
    guarded = [{"thresholds": (t,), "guard_size": size, "guard_threshold": round(min(t + more, 1.0), 3)}
               for t in near for size, more in GUARDS]  # fmt: skip
    best = _best(tried, [best, *guarded])
    smaller = [{**best, "small_size": size, "small_threshold": round(best["thresholds"][0] - less, 3)}
               for size, less in SMALL if best["thresholds"][0] > less]  # fmt: skip
    return _best(tried, [best, *smaller])


def together(tried: Sequence[Tried], rules: Rules) -> tuple[float, float]:
    """The means of VOI and of adapted Rand errors."""
    voi, arand = np.mean([one.scores(rules) for one in tried], axis=0)
    return float(voi), float(arand)


def _best(tried: Sequence[Tried], asked: list[Rules]) -> Rules:
    return min(asked, key=lambda rules: together(tried, rules)[0])


def measured(pairs: contingency.Table, ids: np.ndarray, segments: np.ndarray) -> tuple[float, float]:
    """VOI and adapted Rand error once each of ``ids``, ascending, became its segment."""
    other = pairs["other"].copy()
    some = other > 0
    other[some] = segments[np.searchsorted(ids, other[some])]
    table = contingency.summed([{**pairs, "other": other}])
    sums = partition_scores.of_objects(table)[0] + partition_scores.of_segments(contingency.turned(table))[0]
    found = partition_scores.scores(sums)
    return found["one"]["voi"], found["own"]["arand"]


def by_truth(pairs: contingency.Table) -> tuple[np.ndarray, np.ndarray]:
    """Supervoxels, ascending, and the true object that each overlaps most."""
    order = np.lexsort((pairs["one"], -pairs["count"], pairs["other"]))
    ids, first = np.unique(pairs["other"][order], return_index=True)
    return ids[ids > 0], pairs["one"][order][first][ids > 0]
