"""Ranges against sets of numbers."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from igneous_ng.spans import Spans, gaps, joined, shared, size, without

NUMBERS = st.integers(0, 40)
SPANS = st.lists(st.tuples(NUMBERS, NUMBERS).map(lambda pair: (min(pair), max(pair))), max_size=8)


def members(spans: Spans) -> set[int]:
    return {number for lo, hi in spans for number in range(lo, hi)}


def tidy(spans: Spans) -> bool:
    """In order, none empty, none touching the next."""
    return all(lo < hi for lo, hi in spans) and all(a[1] < b[0] for a, b in pairwise(spans))


@given(SPANS, NUMBERS, NUMBERS)
def test_gaps_are_what_is_not_covered(spans: Spans, lo: int, hi: int) -> None:
    left = gaps(spans, lo, hi)
    assert members(left) == set(range(lo, hi)) - members(spans)
    assert tidy(left)


@given(SPANS, SPANS)
def test_without_and_shared_are_difference_and_intersection(spans: Spans, others: Spans) -> None:
    left, both = without(spans, others), shared(spans, others)
    assert members(left) == members(spans) - members(others)
    assert members(both) == members(spans) & members(others)
    assert tidy(left)
    assert tidy(both)
    assert size(left) + size(both) == len(members(spans))


@given(st.sets(NUMBERS))
def test_joined_numbers_are_the_same_numbers(numbers: set[int]) -> None:
    assert members(joined(numbers)) == numbers
    assert tidy(joined(numbers))
