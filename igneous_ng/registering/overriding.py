"""What the operator said, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from igneous_ng.formats.overrides import Override
from igneous_ng.formats.verified import BAD, OK, Finding
from igneous_ng.registering.shots import Book, Shot, Shots

CODE = "override"


def moved(shots: Shots, said: Sequence[Override]) -> Shots:
    """The pictures at the places where the operator put them."""
    places = {one.tile: (one.x, one.y) for one in said if one.action == "move"}
    return Shots(shots.z, tuple(_at(shot, places.get(shot.line.tile)) for shot in shots.all))


def _at(shot: Shot, place: tuple[float | None, float | None] | None) -> Shot:
    if place is None or place[0] is None or place[1] is None:
        return shot
    return replace(shot, line=replace(shot.line, x=float(place[0]), y=float(place[1])))


def meant(shots: Shots, one: Override) -> list[Shot]:
    """The pictures of which an override speaks."""
    return [s for s in shots.by_tile.get(one.tile, []) if one.channel in (None, s.line.channel)]


def heed(shots: Shots, said: Sequence[Override], book: Book) -> None:
    """Enter what the operator wants, each line after those before it."""
    for one in said:
        numbers = {shot.number for shot in meant(shots, one)}
        if one.action == "use":
            book.forced |= numbers
            book.dropped -= numbers
        elif one.action == "drop":
            book.dropped |= numbers
            book.forced -= numbers
        elif numbers:
            book.moved.add(one.tile)


def report(shots: Shots, said: Sequence[Override], used: set[str], book: Book) -> None:
    """A row for each line: that it was applied, or why it could not be."""
    for one in said:
        severity, words = OK, "applied"
        found = meant(shots, one)
        if not found:
            severity, words = BAD, f"matches no picture of section {one.z}; correct the tile or channel, or remove it"
        elif one.action == "use" and one.tile not in used and any(s.number in book.forced for s in found):
            severity = BAD
            words = (
                "cannot be used: a channel is missing, cannot be read, or is of another type than most of the section"
            )
        book.rows.append(Finding(CODE, severity, f"{one.words}: {words}", one.tile, one.channel))
