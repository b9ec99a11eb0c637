"""The microscope on our bench: ``positions.csv`` beside its pictures, in micrometres of the stage.

A line is ``file,section,x,y``, after one line of headings. Pictures are called by paths from the file on.
"""

from collections.abc import Iterator

from igneous_ng.adapters import texts
from igneous_ng.adapters.base import Choices
from igneous_ng.errors import DataError
from igneous_ng.formats.tiles import Tile, checked
from igneous_ng.io import IO

NAME = "bench"
_HEADINGS = "file,section,x,y"


def tiles(io: IO, source: str, choices: Choices) -> Iterator[Tile]:
    """The tiles of ``positions.csv`` in the folder ``source``."""
    url, pixel = f"{source}/positions.csv", texts.pixel(choices, None, source)
    for n, (where, line) in enumerate(texts.lines(io, url)):
        if n == 0:
            if line != _HEADINGS:
                raise DataError(f"{where}: expected the headings {_HEADINGS!r}, found {line[:80]!r}")
            continue
        parts = line.split(",")
        if len(parts) != 4:
            raise DataError(f"{where}: expected {_HEADINGS}, found {len(parts)} fields: {line[:80]!r}")
        file, section, x, y = parts
        tile = Tile(
            tile=texts.stem(file),
            z=texts.whole(section, "section", where) + choices.z,
            x=texts.number(x, "x", where) * 1000,
            y=texts.number(y, "y", where) * 1000,
            pixel=pixel,
            url=texts.picture(file, source, where),
        )
        yield checked(tile, where)
