"""What is wrong with tiles in the light of the others of their section."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.formats.verified import BAD, WARN, Finding
from igneous_ng.kernels import lattices
from igneous_ng.registering.repeats import Candidate
from igneous_ng.registering.shots import Book, Shot, Shots

Array = npt.NDArray[Any]
_APART = 0.5  # of a tile: how far from its place in the lattice a tile is out of place
_LEAST = 5  # tiles, fewer of which say nothing of one among them
_DEVIATIONS = 5.0  # robust standard deviations below the median of what is not in focus
_SPREAD = 0.1  # least deviation of the logarithm of focus
_SATURATED = 0.1  # fraction of the values at one end
_COMMON = 1 / 3  # of the pictures, of which more say something of the section rather than of themselves
_BLURRED = 0.5  # of the median focus: what is above is no loss


@dataclass(frozen=True)
class Hole:
    """A place without a tile: where its first pixel should lie, in nm."""

    x: float
    y: float


def odd(shots: Shots, book: Book) -> None:
    """Enter pictures of another type than most, or of another size than most and than the manifest announced."""
    flagged = {(row.tile, row.channel, row.url) for row in book.rows if row.code == "shape"}
    for shot in shots.all:
        seen, line = shot.seen, shot.line
        if not shot.readable or (line.tile, line.channel, line.url) in flagged:
            continue
        if (seen.dtype, seen.depth) != shots.type:
            said = (
                f"has {seen.depth} x {seen.dtype} a pixel; most of the section have {shots.type[1]} x {shots.type[0]}"
            )
            book.enter(shot, "type", BAD, said)
        elif (seen.width, seen.height) not in (shots.size, (line.width, line.height)):
            said = (
                f"has {seen.width} x {seen.height} pixels; most of the section have {shots.size[0]} x {shots.size[1]}"
            )
            book.enter(shot, "shape", BAD, said)


def lattice(shots: Shots, where: dict[str, int], book: Book) -> list[Hole]:
    """Enter tiles that lie apart from their place in the lattice, and places that have no tile."""
    tiles = _one_a_place(shots, where)
    points = np.array([[shots.newest[t].line.x, shots.newest[t].line.y] for t in tiles]).reshape(-1, 2)
    if all(shots.newest[t].line.row is not None and shots.newest[t].line.col is not None for t in tiles):
        cells = np.array([[shots.newest[t].line.col, shots.newest[t].line.row] for t in tiles], np.int64).reshape(-1, 2)
        belongs = _in_place(shots, tiles, cells, points, book)
    else:
        found = lattices.guessed(points, shots.extent) if len(tiles) >= _LEAST else None
        if found is None:
            return []
        cells, belongs = found
        for tile in (t for t, ok in zip(tiles, belongs, strict=True) if not ok and t not in book.moved):
            book.enter_tile(shots.by_tile[tile], "place", WARN, "lies apart from the lattice of the other tiles")
        cells, points = cells[belongs], points[belongs]
        belongs = belongs[belongs]
    return _holes(cells, points, belongs, book)


def _one_a_place(shots: Shots, where: dict[str, int]) -> list[str]:
    """The tiles, of several at one place the last by name: all of them say the same of the lattice."""
    return sorted({where[tile]: tile for tile in shots.newest}.values())


def _in_place(shots: Shots, tiles: Sequence[str], cells: Array, points: Array, book: Book) -> Array:
    """Which tiles lie where their row and column say; the others are entered."""
    belongs = np.ones(len(tiles), bool)
    if len(tiles) < _LEAST:
        return belongs
    found = lattices.fit(cells, points)
    meant = found(cells)
    belongs = (np.abs(points - meant) <= _APART * shots.extent).all(axis=1)
    for n in np.flatnonzero(~belongs).tolist():
        tile = tiles[n]
        if tile in book.moved:
            continue
        (x, y), (dx, dy) = meant[n].tolist(), (points[n] - meant[n]).tolist()
        said = (
            f"lies {dx:.0f}, {dy:.0f} nm from where its row and column are, which is more than half a tile; "
            f"the lattice has it at {x:.0f}, {y:.0f} nm"
        )
        book.enter_tile(shots.by_tile[tile], "place", BAD, said)
    return np.asarray(belongs)


def _holes(cells: Array, points: Array, belongs: Array, book: Book) -> list[Hole]:
    if not len(cells):
        return []
    missing = lattices.holes(cells)
    meant = lattices.fit(cells[belongs], points[belongs])(missing) if belongs.any() else np.zeros((len(missing), 2))
    for (col, row), (x, y) in zip(missing.tolist(), meant.tolist(), strict=True):
        said = f"row {row}, column {col} has no tile; it should lie at {x:.0f}, {y:.0f} nm"
        book.rows.append(Finding("missing", BAD, said))
    return [Hole(x, y) for x, y in meant.tolist()]


def lacking(found: Sequence[Candidate], shots: Shots, book: Book) -> None:
    """Enter tiles without one of the channels that most have."""
    for one in found:
        if one.lacks:
            words = ", ".join(map(str, one.lacks))
            book.enter_tile(shots.by_tile[one.tile], "channel", BAD, f"has no picture of channel {words}")


def blurred(found: Sequence[Candidate], shots: Shots, book: Book) -> None:
    """Enter pictures that are less sharp than the others of their channel, far beyond how these differ."""
    for channel in shots.channels:
        these = [s for one in found for s in one.shots if s.line.channel == channel and s.seen.focus]
        if len(these) < _LEAST:
            continue
        sharp = np.log([shot.seen.focus or 1.0 for shot in these])
        middle = np.median(sharp)
        spread = max(_SPREAD, 1.4826 * float(np.median(np.abs(sharp - middle))))
        for shot, value in zip(these, sharp, strict=True):
            share = float(np.exp(value - middle))
            if value < middle - _DEVIATIONS * spread and share < _BLURRED:
                below = (middle - value) / spread
                said = f"its focus is {share:.0%} of the section's median, {below:.0f} robust deviations below"
                book.enter(shot, "focus", WARN, said)


def saturated(found: Sequence[Candidate], book: Book) -> None:
    """Enter pictures of which many values lie at one end; the section instead, where that is so of many of them."""
    these = [shot for one in found for shot in one.shots if shot.readable and not shot.blank]
    flagged = [shot for shot in these if max(_ends(shot)) > _SATURATED]
    if len(flagged) > _COMMON * len(these) and len(these) >= _LEAST:
        share = float(np.median([max(_ends(shot)) for shot in flagged]))
        said = f"{len(flagged)} of {len(these)} pictures have many values at one end of their range, {share:.0%} of all"
        book.rows.append(Finding("saturated", WARN, said))
        return
    still = {row.url for row in book.rows if row.code == "truncated"}  # what their rows are full of is no light
    for shot in (one for one in flagged if one.line.url not in still):
        dark, bright = _ends(shot)
        end = shot.seen.min if dark > bright else shot.seen.max
        book.enter(shot, "saturated", WARN, f"{max(dark, bright):.1%} of all values are {end:g}, an end of its range")


def _ends(shot: Shot) -> tuple[float, float]:
    return shot.seen.dark or 0.0, shot.seen.bright or 0.0
