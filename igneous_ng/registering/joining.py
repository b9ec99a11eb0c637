"""A section from all that is known of its tiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from igneous_ng.formats.overrides import Override
from igneous_ng.formats.verified import BAD, Finding
from igneous_ng.montage import Placed, Section
from igneous_ng.registering import faults, likeness, overriding, repeats
from igneous_ng.registering.faults import Hole
from igneous_ng.registering.repeats import Candidate
from igneous_ng.registering.shots import Book, Shot, Shots

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Registered:
    """What became of a section."""

    section: Section
    """The tiles that are used."""
    findings: tuple[Finding, ...]
    left_out: tuple[Shot, ...]
    """Of each other tile, but those that were taken again, the picture that tells most."""
    holes: tuple[Hole, ...]
    """Where tiles are missing, in pixels of the section."""
    shots: Shots


def register(shots: Shots, said: Sequence[Override], looks: Mapping[int, Array], pixel: float) -> Registered:
    """The section whose pixels have ``pixel`` nm; ``looks`` are 32 x 32 means of pictures, by number."""
    shots = overriding.moved(shots, said)
    book = Book([row for shot in shots.all for row in shot.seen.findings])
    book.bad.update(shot.number for shot in shots.all if shot.seen.bad)
    overriding.heed(shots, said, book)
    where = repeats.places(shots)
    repeats.stale(shots, where, book)
    likeness.similar(shots, where, looks, book)
    faults.odd(shots, book)
    holes = faults.lattice(shots, where, book)
    kept = repeats.winners(repeats.candidates(shots, book), where, book)
    faults.lacking(kept, shots, book)
    faults.blurred(kept, shots, book)
    faults.saturated(kept, book)
    used = [one for one in kept if _usable(one, shots, book)]
    overriding.report(shots, said, {one.tile for one in used}, book)
    if not used:
        book.rows.append(Finding("empty", BAD, f"no tile of {len(shots.by_tile)} can be used"))
    section = Section(shots.z, tuple(_placed(one, pixel) for one in used), *_type(shots))
    names = {one.tile for one in used}
    left = tuple(one.shots[0] for one in kept if one.tile not in names and one.shots)
    at = tuple(Hole(hole.x / pixel, hole.y / pixel) for hole in holes)
    return Registered(section, book.sorted(), left, at, shots)


def _usable(one: Candidate, shots: Shots, book: Book) -> bool:
    """Whether a tile is used: nothing is wrong with it, or it is wanted and can be."""
    same = all((shot.seen.dtype, shot.seen.depth) == shots.type for shot in one.shots)
    return bool(one.shots) and same and one.fit(book)


def _type(shots: Shots) -> tuple[str, int]:
    return shots.type[0], shots.type[1] * len(shots.channels)


def _placed(one: Candidate, pixel: float) -> Placed:
    """A tile in the frame of its section; that of its first channel counts."""
    line, seen = one.shots[0].line, one.shots[0].seen
    scale = line.pixel / pixel
    a, b, c, d = (float(n) if scale == 1 else n * scale for n in line.matrix)
    return Placed(
        tile=one.tile,
        x=line.x / pixel,
        y=line.y / pixel,
        width=seen.width or 0,
        height=seen.height or 0,
        pictures=tuple(shot.line.picture for shot in one.shots),
        matrix=(a, b, c, d),
        camera=line.camera,
        row=line.row,
        col=line.col,
    )
