"""Pictures in a folder, whose paths say what they show: a regular expression with named groups.

The expression must match a whole path from the source on, such as ``(?P<z>\\d+)/(?P<row>\\d+)_(?P<col>\\d+)[.]png``.
Groups: ``z``, ``row``, ``col``, ``channel``, whole numbers; ``x`` and ``y``, the stage position in nm; ``time``, which
must sort as text; ``camera``; ``tile``, a name, by default the path without suffix, channel and time. Tiles without x
and y lie in a lattice, whose step is the size of the first picture that can be read, less the overlap.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from igneous_ng import pictures
from igneous_ng.adapters import texts
from igneous_ng.adapters.base import Choices
from igneous_ng.adapters.listing import Found, below
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats.tiles import Picture, Tile
from igneous_ng.io import IO

NAME = "folder"
_GROUPS = ("z", "row", "col", "channel", "x", "y", "time", "camera", "tile")
_TRIED = 10  # pictures, for the size of a tile


def tiles(io: IO, source: str, choices: Choices) -> Iterator[Tile]:
    """The pictures below ``source`` whose paths the pattern matches, in natural order."""
    pattern = _compiled(choices)
    pixel = texts.pixel(choices, None, f"{source}: a folder of pictures")
    found = [(one, hit) for one in below(io, source) if (hit := pattern.fullmatch(one.path))]
    if not found:
        raise DataError(f"{source}: no path below it matches {choices.pattern!r}, from its first to its last letter")
    placed = "x" in pattern.groupindex
    step = (0.0, 0.0) if placed else _step(io, [f"{source}/{one.path}" for one, _ in found[:_TRIED]], choices)
    for one, hit in found:
        yield _tile(f"{source}/{one.path}", one, _Values(hit, source), (pixel, step), choices)


def _compiled(choices: Choices) -> re.Pattern[str]:
    """The pattern; SpecError where it is missing, wrong, or does not say where tiles lie."""
    if not choices.pattern:
        raise SpecError(
            "a folder of pictures needs --pattern, a regular expression over their paths with named groups, "
            r"such as '(?P<z>\d+)/(?P<row>\d+)_(?P<col>\d+)[.]png'"
        )
    try:
        pattern = re.compile(choices.pattern)
    except re.error as error:
        raise SpecError(f"--pattern {choices.pattern!r} is no regular expression: {error}") from None
    groups = pattern.groupindex.keys()
    if unknown := sorted(groups - set(_GROUPS)):
        raise SpecError(f"--pattern has a group {unknown[0]!r}; there are: {', '.join(_GROUPS)}")
    if not ({"x", "y"} <= groups or {"row", "col"} <= groups) or ("x" in groups) != ("y" in groups):
        raise SpecError("--pattern must say where a tile lies: groups x and y, or row and col")
    return pattern


class _Values:
    """What the groups of a match say."""

    def __init__(self, hit: re.Match[str], source: str) -> None:
        self._hit, self._said = hit, hit.groupdict()
        self._where = f"{source}/{hit.string}"

    def whole(self, group: str) -> int | None:
        """A whole number; None where the pattern has no such group."""
        return None if group not in self._said else texts.whole(self._word(group), group, self._where)

    def number(self, group: str) -> float | None:
        """A number; None where the pattern has no such group."""
        return None if group not in self._said else texts.number(self._word(group), group, self._where)

    def text(self, group: str) -> str:
        """A text; empty where there is none."""
        return self._said.get(group) or ""

    def _word(self, group: str) -> str:
        word = self._said[group]
        if word is None:
            raise DataError(f"{self._where}: the pattern matches and its group {group} does not; make it needed")
        return str(word)

    def tile(self) -> str:
        """The group, or the path without its suffix and without what differs between pictures of one tile."""
        if name := self.text("tile"):
            return name
        path = texts.stem(self._hit.string)
        spans = [self._hit.span(group) for group in ("channel", "time") if self.text(group)]
        for start, stop in sorted(spans, reverse=True):
            path = path[:start] + path[stop:]
        return path


def _tile(url: str, one: Found, said: _Values, place: tuple[float, tuple[float, float]], choices: Choices) -> Tile:
    pixel, step = place
    row, col, x, y = said.whole("row"), said.whole("col"), said.number("x"), said.number("y")
    if x is None or y is None:
        assert row is not None
        assert col is not None
        x, y = (col - choices.first) * step[0] * pixel, (row - choices.first) * step[1] * pixel
    return Tile(
        tile=said.tile(),
        z=(said.whole("z") or 0) + choices.z,
        x=x,
        y=y,
        pixel=pixel,
        url=url,
        channel=said.whole("channel") or 0,
        row=row,
        col=col,
        camera=said.text("camera"),
        time=said.text("time"),
        size=one.size,
    )


def _step(io: IO, urls: Sequence[str], choices: Choices) -> tuple[float, float]:
    """From a tile to the next, in pixels."""
    if not all(0 <= part < 1 for part in choices.overlap):
        raise SpecError(f"--overlap {choices.overlap}: a tile shares a fraction of itself with the next, from 0 to 1")
    width, height = size_of(io, urls)
    return width * (1 - choices.overlap[0]), height * (1 - choices.overlap[1])


def size_of(io: IO, urls: Sequence[str]) -> tuple[int, int]:
    """Width and height of the first of the pictures that can be read; DataError where none can."""
    wrong = ""
    for url in urls:
        try:
            return pictures.size_of(io, Picture(url))[:2]
        except DataError as error:
            wrong = wrong or str(error)
    raise DataError(f"none of the first {len(urls)} pictures can be read, so the lattice's step is not known: {wrong}")
