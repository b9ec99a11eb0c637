"""Joining part by part, in any tree, is joining at once: sets, roots, sums, minima and maxima."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igneous_ng.errors import DataError
from igneous_ng.kernels import unions
from igneous_ng.kernels.unions import Answer, Table

HOW: tuple[unions.Reduction, ...] = ("sum", "min", "max")


def leaf(members: list[int], payload: dict[int, tuple[int, int]], links: set[tuple[int, int]]) -> Table:
    """The part that has ``members``, all of which are links' ends or not; it knows the links that it is an end of."""
    halves = [(key, link) for key in members for link in sorted(links) if key in link]
    return Table(
        np.array(members, np.uint64),
        np.array([(*payload[key], payload[key][1]) for key in members], np.int64).reshape(-1, 3),
        np.array([key for key, _ in halves], np.uint64),
        np.array([link for _, link in halves], np.uint64).reshape(-1, 2),
    )


def sets(keys: list[int], links: set[tuple[int, int]]) -> dict[int, int]:
    """The smallest key of each key's set, by repeated lowering."""
    root = {key: key for key in keys}
    while True:
        lower = dict(root)
        for a, b in links:
            lower[a] = lower[b] = min(lower[a], lower[b])
        if lower == root:
            return root
        root = lower


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_any_tree_of_parts_finds_the_same_sets(data: st.DataObject) -> None:
    keys = data.draw(st.lists(st.integers(0, 2**64 - 1), unique=True, min_size=1, max_size=24))
    home = {key: data.draw(st.integers(0, 7)) for key in keys}
    pairs = data.draw(st.lists(st.tuples(st.sampled_from(keys), st.sampled_from(keys)), max_size=30))
    links = {(min(a, b), max(a, b)) for a, b in pairs if home[a] != home[b]}
    payload = {key: (data.draw(st.integers(-9, 9)), data.draw(st.integers(-9, 9))) for key in keys}
    parts = [leaf([key for key in keys if home[key] == part], payload, links) for part in range(8)]
    levels: list[list[Answer]] = []
    while len(parts) > 1:
        fan = data.draw(st.integers(2, 8))
        joined = [unions.join(parts[i : i + fan], HOW) for i in range(0, len(parts), fan)]
        levels.append([found for found, _ in joined])
        parts = [table for _, table in joined]
    assert len(parts[0].keys) == len(parts[0].owners) == 0, "at the top nothing is open"
    answer = levels.pop()[0]
    for level in reversed(levels):
        settled = [unions.settle(found, answer) for found in level]
        every = np.concatenate([one.keys for one in settled])
        order = np.argsort(every)
        answer = Answer(*(np.concatenate([getattr(one, what) for one in settled])[order]
                          for what in ("keys", "roots", "payload")))  # fmt: skip
    expected = sets(keys, links)
    roots, totals = answer.of(np.array(keys, np.uint64))
    assert roots.tolist() == [expected[key] for key in keys]
    for key, total in zip(keys, totals.tolist(), strict=True):
        mates = [payload[other] for other in keys if expected[other] == expected[key]]
        seconds = [b for _, b in mates]
        assert total == [sum(a for a, _ in mates), min(seconds), max(seconds)]


def test_only_what_links_lead_out_of_goes_up() -> None:
    payload = {key: (1, key) for key in range(1, 6)}
    links = {(1, 2), (2, 3), (4, 9)}
    found, table = unions.join(
        [leaf([1], payload, links), leaf([2], payload, links), leaf([4, 5], payload, links)], HOW
    )
    assert found.roots.tolist() == [1, 1, 4, 5]
    assert table.keys.tolist() == [1, 4]
    assert table.payload.tolist() == [[2, 1, 2], [1, 4, 4]]
    assert table.owners.tolist() == [1, 4]
    assert table.names.tolist() == [[2, 3], [4, 9]]


def test_a_key_that_no_part_had_is_an_error() -> None:
    found, _ = unions.join([leaf([1], {1: (1, 1)}, set())], HOW)
    with pytest.raises(DataError, match="no element 7"):
        found.of(np.array([7], np.uint64))


def test_ties_of_a_column_go_by_the_next_in_any_order_of_parts() -> None:
    how: tuple[unions.Reduction, ...] = ("min", "then", "sum")
    rows = {1: (-5, 40, 1), 2: (-7, 30, 1), 3: (-7, 20, 1), 4: (-6, 10, 1), 9: (0, -3, 1)}
    links = [(1, 2), (2, 3), (3, 4)]

    def part(members: list[int]) -> Table:
        halves = [(key, link) for key in members for link in links if key in link]
        return Table(
            np.array(members, np.uint64),
            np.array([rows[key] for key in members]),
            np.array([key for key, _ in halves], np.uint64),
            np.array([link for _, link in halves], np.uint64).reshape(-1, 2),
        )

    for first, second in (([1, 2], [3, 4, 9]), ([2, 3, 9], [4, 1]), ([1, 4, 9], [3, 2])):
        below, up = unions.join([part(first)], how)
        top, _ = unions.join([up, part(second)], how)
        ends = unions.settle(below, top)
        for found in (top, ends):
            payload = dict(zip(found.keys.tolist(), found.payload.tolist(), strict=True))
            assert all(payload[key] == [-7, 20, 4] for key in payload if key != 9)
            assert payload.get(9, [0, -3, 1]) == [0, -3, 1]
