"""Graphs are agglomerated as by hand, as by waterz, and in parts as at once; what does not fit is refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from igneous_ng.errors import DataError
from igneous_ng.kernels import agglomeration
from igneous_ng.kernels.agglomeration import EDGES, REGIONS, Rules, Table, agglomerate
from tests import segmentations, supervoxels
from tests.supervoxels import Made, Memory

SURE = agglomeration.SURE


def graph(sizes: list[int], edges: Sequence[tuple[int, ...]], reach: list[int] | None = None) -> Table:
    """Regions 1, 2, 3 ...; edges of u, v, sum, num, key, and whether each must be taken."""
    count = len(sizes)
    nodes = [
        np.arange(1, count + 1, dtype=np.uint64),
        np.array(sizes, np.int64),
        np.array(reach or [0] * count, np.int64),
    ]
    rows = np.array([(*edge, 0)[:6] for edge in edges], np.int64).reshape(-1, 6).T
    table = dict(zip(REGIONS, [*nodes, np.ones(count, np.int64), np.full(count, SURE)], strict=True))
    columns = [*rows[:2].astype(np.uint64), *rows[2:5], rows[5].astype(np.uint8), (rows[2] // rows[3]).astype(np.uint8)]
    return table | dict(zip(EDGES, columns, strict=True))


def roots(table: Table, rules: Rules, level: int = 0) -> list[int]:
    found: list[int] = agglomerate([table], level, rules).found["root"].tolist()
    return found


def test_the_best_edge_is_next_and_sums_are_folded() -> None:
    edges = [(1, 2, 200, 1, 5), (1, 3, 150, 1, 9), (2, 3, 90, 2, 3), (3, 4, 240, 2, 1)]
    found = agglomerate([graph([5, 6, 7, 8], edges)], 0, Rules(100)).found
    assert found["root"].tolist() == [1, 1, 3, 3]  # 150 and 90 of three faces are 80, the two unions stay apart
    assert found["size"].tolist() == [11, 11, 15, 15]
    assert found["weakest"].tolist() == [200, 200, 120, 120]
    assert roots(graph([5, 6, 7, 8], edges), Rules(80)) == [1, 1, 1, 1]


def test_ties_go_by_falling_key() -> None:
    for key, expected in ((7, [1, 1, 3]), (3, [1, 2, 2])):
        edges = [(1, 2, 100, 1, key), (2, 3, 100, 1, 5), (1, 3, 0, 2, 1)]
        assert roots(graph([1, 1, 1], edges), Rules(90)) == expected


def test_what_must_be_is_taken_first_and_never_refused() -> None:
    edges = [(1, 2, 0, 1, 5, 1), (2, 3, 255, 1, 6)]
    found = agglomerate([graph([9, 9, 9], edges)], 0, Rules(255, guard_size=1, guard_threshold=255.5))
    assert found.found["root"].tolist() == [1, 1, 3]
    assert found.found["weakest"].tolist() == [SURE] * 3
    assert {name: column.tolist() for name, column in found.refused.items()} == {
        "u": [1], "v": [3], "sum": [255], "num": [1], "key": [6],
    }  # fmt: skip


def test_small_regions_join_below_the_threshold_and_large_ones_do_not() -> None:
    edges = [(1, 2, 50, 1, 5), (2, 3, 40, 1, 6), (3, 4, 30, 1, 7)]
    rules = Rules(100, small_size=3, small_threshold=35)
    assert roots(graph([5, 2, 9, 1], edges), rules) == [1, 1, 3, 4]


def test_what_is_known_in_part_waits_and_freezes_its_best_neighbour() -> None:
    edges = [(1, 2, 200, 1, 5), (2, 3, 150, 1, 6), (3, 4, 90, 1, 7), (4, 5, 220, 1, 8), (1, 9, 10, 1, 9)]
    made = agglomerate([graph([1] * 5, edges, [1, 0, 0, 0, 0])], 0, Rules(100))
    assert made.found["id"].tolist() == [1, 2, 3, 4, 5, 9]
    assert made.found["root"].tolist() == [1, 2, 3, 4, 4, 9]
    assert made.open["id"].tolist() == [1, 2, 3]
    assert list(zip(made.open["u"].tolist(), made.open["v"].tolist(), strict=True)) == [(1, 2), (1, 9), (2, 3)]
    assert made.closed == (1, 2)


def test_quantiles_are_the_lowest_bin_that_holds_them() -> None:
    bins = np.zeros((2, 32), np.int32)
    bins[0, [2, 20]], bins[1, [5, 25]] = (1, 1), (2, 1)
    table = graph([1, 1, 1], [(1, 2, 9, 2, 5), (2, 3, 9, 3, 6)]) | {"bins": bins}
    for thousandths, expected in ((500, (20, 44)), (501, (164, 44)), (667, (164, 204)), (1000, (164, 204))):
        for lowest in (expected[0], expected[0] + 0.5):
            first = agglomerate([dict(table)], 0, Rules(lowest, "quantile", thousandths)).found["root"]
            assert (first[0] == first[1]) == (lowest == expected[0])
        for lowest in (expected[1], expected[1] + 0.5):
            last = agglomerate([dict(table)], 0, Rules(lowest, "quantile", thousandths)).found["weakest"]
            assert (expected[1] in last.tolist()) == (lowest == expected[1])


def made_of(shape: tuple[int, int, int], leaf: tuple[int, int, int], seed: int) -> tuple[Made, list[Table]]:
    made = supervoxels.make("file:///m", Memory(), segmentations.affinities(shape, 256, seed, 0.7), leaf)
    return made, [dict(made.known.read("graph", at)) for at in made.leaves]


@pytest.mark.parametrize(
    "rules", [Rules(140), Rules(120, "max", 0, 20, 180), Rules(140, "quantile", 400, 9, 190, 5, 60)]
)
def test_rows_of_many_leaves_are_folded_whatever_their_order(rules: Rules) -> None:
    _, tables = made_of((15, 12, 9), (4, 5, 3), 3)
    whole = agglomerate([dict(table) for table in tables], 9, rules)
    again = agglomerate([dict(table) for table in reversed(tables)], 9, rules)
    for one, other in ((whole.found, again.found), (whole.refused, again.refused)):
        assert {name: column.tolist() for name, column in one.items()} == {k: v.tolist() for k, v in other.items()}
    assert whole.closed[0] == len(np.unique(whole.found["root"])) > 1
    assert (len(whole.refused["u"]) > 0) == (rules.guard_size > 0)


FINE = 1 << 20


def test_partitions_are_those_of_waterz() -> None:
    reason = "waterz is not installed with its compiled module"
    waterz = pytest.importorskip("waterz", reason=reason, exc_type=ImportError)
    pytest.importorskip("waterz._prebuilt.agglomerate", reason=reason, exc_type=ImportError)
    for seed in range(6):
        made, (table,) = made_of((20, 18, 16), (20, 18, 16), seed)
        regions = np.searchsorted(table["id"], made.ids) + 1
        fine = made.aff.astype(np.int64) * FINE // 256 + np.random.default_rng(seed).integers(
            0, FINE // 256, made.aff.shape
        )
        edges = segmentations.graph(regions, fine)
        rows = [(*pair, sum(edge.values), len(edge.values), edge.key) for pair, edge in edges.items()]
        whole = graph(
            table["size"].tolist(), rows
        )  # of so many levels that hardly any are tied: waterz has no order then
        for threshold in (0.35, 0.45, 0.55, 0.6):
            found = agglomerate([dict(whole)], 0, Rules(FINE * threshold)).found
            ours = segmentations.canonical(found["root"][regions - 1].astype(np.int64))
            assert np.array_equal(ours, theirs(waterz, regions, fine / FINE, threshold))
            assert 1 < len(np.unique(ours)) < len(table["id"])


def theirs(waterz: Any, regions: np.ndarray, aff: np.ndarray, threshold: float) -> np.ndarray:
    """Agglomerated by mean affinity; arrays of waterz are [z, y, x], and joins are below one less the threshold."""
    affinities = np.ascontiguousarray(np.transpose(aff, (3, 2, 1, 0))[::-1], np.float32)
    fragments = np.ascontiguousarray(regions.T, np.uint64)
    scores = "OneMinus<MeanAffinity<RegionGraphType, ScoreValue>>"
    asked = waterz.agglomerate(affinities, [1 - threshold], fragments=fragments, scoring_function=scores)
    return segmentations.canonical(next(iter(asked)).T.astype(np.int64))


def test_what_does_not_fit_is_refused() -> None:
    table = graph([1, 1], [(1, 2, 5, 1, 1)])
    with pytest.raises(DataError, match="no column 'bins', which linkage quantile needs"):
        agglomerate([dict(table)], 0, Rules(5, "quantile", 500))
    with pytest.raises(ValueError, match="no faces"):
        agglomerate([{**table, "num": table["num"] * 0}], 0, Rules(5))
    with pytest.raises(ValueError, match="sum: of another type"):
        agglomerate([{**table, "sum": table["sum"].astype(np.int32)}], 0, Rules(5))


def test_nothing_becomes_nothing() -> None:
    made = agglomerate([graph([], [])], 0, Rules(5))
    assert made.closed == (0, 0)
    assert [len(column) for column in (*made.found.values(), *made.open.values())] == [0] * 18
