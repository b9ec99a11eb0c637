"""Pictures that are there twice: a place that was taken again, and a frame that was stored for another place."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.formats.verified import BAD, WARN
from igneous_ng.registering.shots import Book, Shot, Shots

Array = npt.NDArray[Any]
_SAME = 0.25  # of a tile: how near tiles lie that are of one place


def places(shots: Shots) -> dict[str, int]:
    """The number of the place of each tile: one row and column, or, without them, less than a quarter tile apart."""
    numbers: dict[str, int] = {}
    known: dict[tuple[int | None, int | None], int] = {}
    unknown = []
    for n, (tile, shot) in enumerate(shots.newest.items()):
        if shot.line.row is None or shot.line.col is None:
            unknown.append(tile)
            numbers[tile] = n
        else:
            numbers[tile] = known.setdefault((shot.line.row, shot.line.col), n)
    _join_near(shots, unknown, numbers)
    return numbers


def _join_near(shots: Shots, tiles: Sequence[str], numbers: dict[str, int]) -> None:
    """Give each tile that lies on an earlier one, by name, the number of that."""
    firsts: dict[tuple[int, int], list[tuple[Array, int]]] = {}
    for tile in tiles:
        line = shots.newest[tile].line
        at = np.array([line.x, line.y]) / (_SAME * shots.extent)
        x, y = np.floor(at).astype(np.int64).tolist()
        near = [one for dx in (-1, 0, 1) for dy in (-1, 0, 1) for one in firsts.get((x + dx, y + dy), [])]
        same = [number for place, number in near if np.abs(place - at).max() < 1]
        if same:
            numbers[tile] = min(same)
        else:
            firsts.setdefault((x, y), []).append((at, numbers[tile]))


def stale(shots: Shots, where: dict[str, int], book: Book) -> None:
    """Enter pictures with the very pixels of an earlier one of another place."""
    same: dict[str, list[Shot]] = {}
    for shot in shots.all:
        if shot.seen.pixels is not None and not shot.blank and shot.number not in book.dropped:
            same.setdefault(shot.seen.pixels, []).append(shot)
    for group in same.values():
        first, *later = sorted(group, key=lambda shot: (shot.line.time, shot.number))
        for shot in later:
            if where[shot.line.tile] != where[first.line.tile]:
                said = f"is the same picture as {first.line.tile}, taken before at another place: a stale frame"
                book.enter(shot, "stale", BAD, said)


@dataclass(frozen=True)
class Candidate:
    """A tile with the pictures of it that count, by channel."""

    tile: str
    shots: tuple[Shot, ...]
    """In the order of their channels."""
    lacks: tuple[int, ...]
    """Channels that it should have."""

    def fit(self, book: Book) -> bool:
        """Whether it may be used."""
        return not self.lacks and all(book.fit(shot) for shot in self.shots)


def candidates(shots: Shots, book: Book) -> list[Candidate]:
    """A candidate for each name; of repeated pictures the newest that is not bad counts, others are entered."""
    found = []
    for tile, all_of_it in shots.by_tile.items():
        kept = []
        for channel in shots.channels:
            these = [shot for shot in all_of_it if shot.line.channel == channel]
            if these:
                kept.append(_best(these, book))
        lacks = tuple(sorted(set(shots.channels) - {shot.line.channel for shot in kept}))
        found.append(Candidate(tile, tuple(kept), lacks))
        _other_channels(shots, all_of_it, book)
    return found


def _best(these: Sequence[Shot], book: Book) -> Shot:
    best = max(these, key=lambda shot: (book.fit(shot), shot.age))
    for shot in these:
        if shot is not best and shot.number not in book.dropped:
            book.enter(shot, "duplicate", WARN, f"was taken again; {best.line.url} is used")
    return best


def _other_channels(shots: Shots, these: Iterable[Shot], book: Book) -> None:
    for shot in these:
        if shot.line.channel not in shots.channels:
            said = f"is of channel {shot.line.channel}, which most tiles do not have; it is left out"
            book.enter(shot, "channel", WARN, said)


def winners(found: Sequence[Candidate], where: dict[str, int], book: Book) -> list[Candidate]:
    """One candidate for each place: one that the operator wants, that is not bad, the newest; others are entered."""
    groups: dict[int, list[Candidate]] = {}
    for one in found:
        if not one.shots or not all(shot.number in book.dropped for shot in one.shots):
            groups.setdefault(where[one.tile], []).append(one)
    kept = []
    for group in groups.values():
        best = max(group, key=lambda one: _worth(one, book))
        kept.append(best)
        for one in group:
            if one is not best and one.shots:
                book.enter_tile(one.shots, "duplicate", WARN, f"lies at the place of {best.tile}, which is used")
    return sorted(kept, key=lambda one: one.tile)


def _worth(one: Candidate, book: Book) -> tuple[bool, bool, str, int, str]:
    wanted = bool(one.shots) and all(shot.number in book.forced for shot in one.shots)
    time = max((shot.line.time for shot in one.shots), default="")
    size = sum(shot.seen.bytes or 0 for shot in one.shots)
    return wanted and one.fit(book), one.fit(book), time, size, one.tile
