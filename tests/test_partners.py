"""The rules by which partners are chosen, one case each."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from igneous_ng.partners import Near, Pair, by_channels, by_density, pairs, unoriented
from igneous_ng.synapses import AUTAPSE, MORE, NO_POST, NO_PRE, UNORIENTED, UNSURE

A, B, C = (1 << 60) + 1, (1 << 60) + 2, (1 << 60) + 3


def near(*said: tuple[int, int, int, int]) -> Near:
    """Labels, each with voxels and evidence for either side."""
    labels, voxels, pre, post = zip(*sorted(said), strict=True) if said else ((), (), (), ())
    return Near(labels, voxels, pre, post)


def chosen(one: Near, polyadic: int = 0) -> list[tuple[int, int, int]]:
    """Labels and flags of all pairs."""
    return [
        (0 if pair.pre is None else one.labels[pair.pre], 0 if pair.post is None else one.labels[pair.post], pair.flags)
        for pair in pairs(one, polyadic)
    ]


@pytest.mark.parametrize(
    ("said", "polyadic", "wanted"),
    [
        ([(A, 9, 900, 10), (B, 9, 20, 800)], 0, [(A, B, 0)]),
        ([(A, 9, 900, 0), (B, 9, 0, 800), (C, 9, 0, 700)], 0, [(A, B, UNSURE)]),
        ([(A, 9, 900, 0), (B, 9, 0, 800), (C, 9, 0, 700)], 500, [(A, B, 0), (A, C, 0)]),
        ([(A, 9, 900, 0), (B, 9, 0, 800), (C, 9, 0, 399)], 500, [(A, B, 0)]),
        # ties: evidence, then contact, then the smaller label
        ([(A, 8, 900, 0), (B, 9, 900, 0), (C, 9, 0, 800)], 0, [(B, C, UNSURE)]),
        ([(A, 9, 900, 0), (B, 9, 900, 0), (C, 9, 0, 800)], 0, [(A, C, UNSURE)]),
        ([(A, 9, 900, 0), (C, 9, 0, 800), (B, 9, 0, 800)], 0, [(A, B, UNSURE)]),
        # one segment on both sides
        ([(A, 9, 900, 900)], 0, [(A, A, AUTAPSE)]),
        ([(A, 9, 900, 900), (B, 9, 0, 100)], 0, [(A, A, AUTAPSE)]),
        ([(A, 9, 900, 900), (B, 9, 0, 225)], 0, [(A, B, 0)]),
        ([(A, 9, 900, 900), (B, 9, 225, 0)], 0, [(B, A, UNSURE)]),
        ([(A, 9, 900, 224)], 0, [(A, 0, NO_POST)]),
        ([(A, 9, 224, 900)], 0, [(0, A, NO_PRE)]),
        # nothing on a side
        ([(A, 9, 900, 0)], 0, [(A, 0, NO_POST)]),
        ([(A, 9, 0, 900), (B, 9, 0, 800)], 0, [(0, A, NO_PRE)]),
        ([(A, 9, 0, 0)], 0, [(0, 0, NO_PRE | NO_POST)]),
        ([], 0, [(0, 0, NO_PRE | NO_POST)]),
        # background has so much more that nobody passes
        ([(0, 99, 0, 4000), (A, 9, 900, 0), (B, 9, 0, 999)], 0, [(A, 0, NO_POST)]),
        ([(0, 99, 0, 4000), (A, 9, 900, 0), (B, 9, 0, 1000)], 0, [(A, B, 0)]),
    ],
)
def test_partners(said: list[tuple[int, int, int, int]], polyadic: int, wanted: list[tuple[int, int, int]]) -> None:
    assert chosen(near(*said), polyadic) == wanted


def test_confidence_falls_with_rivals_and_thin_evidence() -> None:
    sure = pairs(near((A, 10, 2550, 0), (B, 10, 0, 2550)), 0)[0]
    assert sure.confidence == 255
    assert pairs(near((A, 10, 2550, 0), (B, 10, 0, 1275)), 0)[0].confidence == 127
    assert pairs(near((A, 10, 2550, 0), (B, 10, 0, 2550), (C, 10, 0, 1275)), 0)[0].confidence == 127
    assert pairs(near((0, 10, 0, 2550), (A, 10, 2550, 0), (B, 10, 0, 2550)), 0)[0].confidence == 0


def test_more_partners_than_ranks_are_told() -> None:
    many = near((A, 9, 900, 0), *((C + n, 9, 0, 500 + n) for n in range(300)))
    found = pairs(many, 1)
    assert len(found) == 256
    assert [many.post[pair.post or 0] for pair in found] == sorted(many.post, reverse=True)[:256]
    assert all(pair.flags & MORE for pair in found)


def test_contact_alone_tells_no_sides() -> None:
    one = near((0, 99, 0, 0), (A, 10, 0, 0), (B, 30, 0, 0), (C, 5, 0, 0))
    assert unoriented(one, 0) == [Pair(2, 1, UNORIENTED, 127)]
    assert [pair.post for pair in unoriented(one, 500)] == [1, 3]
    assert unoriented(near((A, 10, 0, 0)), 0) == [Pair(0, None, UNORIENTED | NO_POST, 0)]
    assert unoriented(near((0, 10, 0, 0)), 0) == [Pair(None, None, UNORIENTED | NO_PRE | NO_POST, 0)]
    assert unoriented(near((A, 10, 0, 0), (B, 10, 0, 0), (C, 10, 0, 0)), 0)[0] == Pair(0, 1, UNORIENTED | UNSURE, 0)


@given(st.lists(st.tuples(st.integers(0, 6), *[st.integers(0, 9)] * 3), max_size=6, unique_by=lambda one: one[0]),
       st.sampled_from([0, 1, 500, 1000]))  # fmt: skip
def test_partners_are_segments_and_flags_say_which_are_not_there(
    said: list[tuple[int, int, int, int]], part: int
) -> None:
    one = near(*said)
    for choose in (pairs, unoriented):
        found = choose(one, part)
        assert len({pair.post for pair in found}) == len(found) >= 1
        for pair in found:
            assert bool(pair.flags & NO_PRE) == (pair.pre is None)
            assert bool(pair.flags & NO_POST) == (pair.post is None)
            assert bool(pair.flags & AUTAPSE) == (pair.pre == pair.post is not None)
            assert all(one.labels[place] for place in (pair.pre, pair.post) if place is not None)
            assert 0 <= pair.confidence <= 255


def test_kinds() -> None:
    assert by_channels(30, 10) == (1, 191)
    assert by_channels(0, 5) == (2, 255)
    assert by_channels(7, 7) == by_channels(0, 0) == (0, 0)
    assert by_density((100, 10), (280, 10), (8.0, 6.0)) == (1, round(255 / (1 + 2.718281828 ** (-10 / 6))))
    assert by_density((100, 10), (100, 10), (0.0, 6.0)) == (1, 128)
    assert by_density((10**9, 1), (0, 1), (0.0, 0.001)) == (2, 255)
    assert by_density((0, 0), (5, 5), (8.0, 6.0)) == (0, 0)
