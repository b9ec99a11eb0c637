"""Pictures that look alike though their pixels differ: perhaps one frame, stored twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.formats.verified import WARN
from igneous_ng.registering.shots import Book, Shot, Shots

Array = npt.NDArray[Any]
_BITS = 3  # of 64 in which hashes may differ: then one of four words of them is the same
_CORRELATED = 0.9  # of what is left of thumbnails once what all have in common is taken away
_NEARLY = 0.97  # the same where that is not known
_LEAST = 8  # tiles of which a median says what all have in common
_NEXT = 8  # pictures of one hash word with which each is compared


def similar(shots: Shots, where: dict[str, int], looks: Mapping[int, Array], book: Book) -> None:
    """Enter pictures that look like an earlier one of another place. ``looks`` are small means, by number."""
    known = [s for s in shots.all if s.number in looks and not s.blank and s.number not in book.dropped]
    if len(known) < 2:
        return
    enough = len(known) >= _LEAST
    common = np.median([looks[s.number] for s in known], axis=0) if enough else 0.0
    least = _CORRELATED if enough else _NEARLY
    entered = {row.url for row in book.rows if row.code == "stale"}
    for one, other in sorted(_pairs(known)):
        first, later = shots.all[one], shots.all[other]
        apart = where[first.line.tile] != where[later.line.tile] and first.seen.pixels != later.seen.pixels
        if apart and later.line.url not in entered and _likeness(looks[one] - common, looks[other] - common) >= least:
            entered.add(later.line.url)
            said = f"looks like {first.line.tile}, which lies elsewhere: perhaps a stale frame"
            book.enter(later, "similar", WARN, said)


def _likeness(one: Array, other: Array) -> float:
    """The correlation of two pictures."""
    one, other = one - one.mean(), other - other.mean()
    size = float((one * one).sum() * (other * other).sum()) ** 0.5
    return float((one * other).sum()) / size if size > 0 else 0.0


def _pairs(known: list[Shot]) -> set[tuple[int, int]]:
    """Numbers of pictures of which the hashes are nearly the same, the earlier first.

    Pictures of which many have one hash, as empty ones do, are compared with those that follow them in time.
    """
    hashes = {shot.number: int(shot.seen.hash or "0", 16) for shot in known}
    words: dict[tuple[int, int], list[int]] = {}
    for shot in sorted(known, key=lambda shot: (shot.line.time, shot.number)):
        for place in range(4):
            words.setdefault((place, hashes[shot.number] >> 16 * place & 0xFFFF), []).append(shot.number)
    return {pair for group in words.values() for pair in _within(group, hashes)}


def _within(group: list[int], hashes: dict[int, int]) -> Iterator[tuple[int, int]]:
    for n, one in enumerate(group):
        for other in group[n + 1 : n + 1 + _NEXT]:
            if (hashes[one] ^ hashes[other]).bit_count() <= _BITS:
                yield one, other
