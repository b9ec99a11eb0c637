"""Ranges ``[lo, hi)`` of whole numbers: what a set of them leaves open, and what two sets share."""

from __future__ import annotations

from collections.abc import Iterable

Span = tuple[int, int]
Spans = list[Span]


def joined(numbers: Iterable[int]) -> Spans:
    """Numbers as ranges, in order, neighbours joined."""
    return without(((number, number + 1) for number in numbers), ())


def gaps(spans: Iterable[Span], lo: int, hi: int) -> Spans:
    """What of ``[lo, hi)`` none of ``spans`` covers, in order."""
    left: Spans = []
    for start, stop in sorted(span for span in spans if span[0] < span[1]):
        if start > lo:
            left.append((lo, min(start, hi)))
        lo = max(lo, stop)
        if lo >= hi:
            break
    if lo < hi:
        left.append((lo, hi))
    return [(a, b) for a, b in left if a < b]


def without(spans: Iterable[Span], cover: Iterable[Span]) -> Spans:
    """What of ``spans`` none of ``cover`` covers, in order, neighbours joined."""
    spans = list(spans)
    lo, hi = min((a for a, _ in spans), default=0), max((b for _, b in spans), default=0)
    return gaps([*cover, *gaps(spans, lo, hi)], lo, hi)


def shared(spans: Iterable[Span], others: Iterable[Span]) -> Spans:
    """What lies in one of ``spans`` and in one of ``others``, in order."""
    spans = list(spans)
    return without(spans, without(spans, others))


def size(spans: Iterable[Span]) -> int:
    """How many numbers are in ``spans``, which do not overlap."""
    return sum(hi - lo for lo, hi in spans)
