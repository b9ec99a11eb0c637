"""Scores of a segmentation against the truth, from exact sums over the table of their overlaps.

Variation of information (Meila 2007), in bits: split is H(segments | truth), merge H(truth | segments). Adapted Rand
error: one minus the F-score of pairs of voxels of the truth (Arganda-Carreras et al. 2015, SNEMI3D). CREMI's score is
the geometric mean of both (cremi.org).

Voxels that no segment holds are counted in three ways: as `one` segment (variation of information of CREMI), each as
its `own` (adapted Rand error of SNEMI3D, and of CREMI), or as if they were `absent`.

All sums are of integers, n log n in units of 2**-20: they add up exactly, whatever the parts of a table are.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

from igneous_ng.kernels import contingency
from igneous_ng.kernels.contingency import Table

_UNIT = 1 << 20
_DIGITS = 9
WORST = 50
"""Objects of which more is told."""
_PARTS = 5  # of an object, that are named


@dataclass(frozen=True)
class Sums:
    """Sums over pairs of labels, over objects of the truth, and over segments; `log` of n log n, `square` of n n.

    ``none`` are pairs of an object and no segment, ``assigned`` objects without such voxels.
    """

    voxels: int = 0
    unassigned: int = 0
    objects: int = 0
    segments: int = 0
    truth_log: int = 0
    truth_square: int = 0
    assigned_log: int = 0
    assigned_square: int = 0
    pair_log: int = 0
    pair_square: int = 0
    none_log: int = 0
    none_square: int = 0
    segment_log: int = 0
    segment_square: int = 0

    def __add__(self, other: Sums) -> Sums:
        return Sums(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)})


def weight(n: int) -> int:
    """n log n, of base 2, in units of 2**-20."""
    return round(n * math.log2(n) * _UNIT) if n else 0


def of_objects(table: Table) -> tuple[Sums, list[dict[str, Any]]]:
    """Sums over objects of the truth, which are `one` of the table, and those that are split the most."""
    found, worst = Sums(), list[dict[str, Any]]()
    for rows in _rows(table):
        none = sum(n for _, other, n, _ in rows if not other)
        assigned = [n for _, other, n, _ in rows if other]
        whole = none + sum(assigned)
        pairs, lost = sum(map(weight, assigned)), weight(none)
        found += Sums(
            voxels=whole,
            unassigned=none,
            objects=1,
            truth_log=weight(whole),
            truth_square=whole**2,
            assigned_log=weight(whole - none),
            assigned_square=(whole - none) ** 2,
            pair_log=pairs,
            pair_square=sum(n * n for n in assigned),
            none_log=lost,
            none_square=none**2,
        )
        worst.append(_told(rows, whole, weight(whole) - pairs - lost))
    return found, worst_of(worst)


def of_segments(table: Table) -> tuple[Sums, list[dict[str, Any]]]:
    """Sums over segments, which are `one` of the table, and those that merge the most."""
    found, worst = Sums(), list[dict[str, Any]]()
    for rows in _rows(table):
        whole = sum(n for _, _, n, _ in rows)
        found += Sums(segments=1, segment_log=weight(whole), segment_square=whole**2)
        worst.append(_told(rows, whole, weight(whole) - sum(weight(n) for _, _, n, _ in rows)))
    return found, worst_of(worst)


def worst_of(found: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those with the largest `loss`, of equal ones those of the smallest label; none without loss."""
    return heapq.nsmallest(WORST, (one for one in found if one["loss"] > 0), key=lambda o: (-o["loss"], o["label"]))


def _rows(table: Table) -> Iterable[list[tuple[int, int, int, int]]]:
    """Label, other label, voxels and place, for each label."""
    columns = zip(*(table[name].tolist() for name in ("one", "other", "count", "place")), strict=True)
    rows = list(columns)
    return (rows[a:b] for a, b in pairwise(contingency.groups(table)[1].tolist()))


def _told(rows: list[tuple[int, int, int, int]], whole: int, loss: int) -> dict[str, Any]:
    largest = sorted(rows, key=lambda row: (-row[2], row[1]))[:_PARTS]
    parts = [{"label": other, "voxels": n, "place": place} for _, other, n, place in largest]
    return {"label": rows[0][0], "voxels": whole, "loss": loss, "parts": parts, "of": len(rows)}


def bits(loss: int, voxels: int) -> float:
    """A loss as a share of the variation of information of so many voxels."""
    return round(loss / (voxels * _UNIT), _DIGITS) if voxels else 0.0


def scores(sums: Sums) -> dict[str, Any]:
    """All scores, by how voxels without a segment are counted; and CREMI's."""
    none = sums.unassigned
    one = _ways(
        voxels=sums.voxels,
        logs=(sums.truth_log, sums.pair_log + sums.none_log, sums.segment_log + weight(none)),
        squares=(sums.truth_square, sums.pair_square + sums.none_square, sums.segment_square + none**2),
    )
    own = _ways(
        voxels=sums.voxels,
        logs=(sums.truth_log, sums.pair_log, sums.segment_log),
        squares=(sums.truth_square, sums.pair_square + none, sums.segment_square + none),
    )
    absent = _ways(
        voxels=sums.voxels - none,
        logs=(sums.assigned_log, sums.pair_log, sums.segment_log),
        squares=(sums.assigned_square, sums.pair_square, sums.segment_square),
    )
    cremi = round(math.sqrt(one["voi"] * own["arand"]), _DIGITS)
    return {"one": one, "own": own, "absent": absent, "cremi": cremi}


def _ways(voxels: int, logs: tuple[int, int, int], squares: tuple[int, int, int]) -> Mapping[str, float]:
    """Scores from sums over objects, over pairs and over segments."""
    over_truth, over_pairs, over_segments = logs
    truth, pairs, segments = squares
    return {
        "voi_split": bits(over_truth - over_pairs, voxels),
        "voi_merge": bits(over_segments - over_pairs, voxels),
        "voi": bits(over_truth + over_segments - 2 * over_pairs, voxels),
        "precision": _ratio(pairs, segments),
        "recall": _ratio(pairs, truth),
        "arand": _ratio(truth + segments - 2 * pairs, truth + segments),
    }


def _ratio(part: int, whole: int) -> float:
    return round(part / whole, _DIGITS) if whole else 0.0


def told(scores: dict[str, Any]) -> str:
    """Scores in a few lines."""
    one, own, absent = scores["one"], scores["own"], scores["absent"]
    share = scores["unassigned"] / max(scores["voxels"], 1)
    return "\n".join(
        [
            f"VOI {one['voi']:.4f} bits: split {one['voi_split']:.4f}, merge {one['voi_merge']:.4f}; "
            f"adapted Rand error {own['arand']:.4f}: precision {own['precision']:.4f}, recall {own['recall']:.4f}; "
            f"CREMI {scores['cremi']:.4f}",
            f"{scores['objects']:,} objects, {scores['segments']:,} segments; {scores['voxels']:,} voxels counted, "
            f"{share:.2%} of them in no segment; without these VOI {absent['voi']:.4f}, error {absent['arand']:.4f}",
        ]
    )
