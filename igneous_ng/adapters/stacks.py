"""What adapters of stacks share: files whose pictures are one section each, of one tile, in natural order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from igneous_ng.adapters import texts
from igneous_ng.adapters.base import Choices
from igneous_ng.adapters.listing import Found, below
from igneous_ng.errors import DataError
from igneous_ng.formats.picture_heads import Size
from igneous_ng.formats.tiles import Tile
from igneous_ng.io import IO


@dataclass(frozen=True)
class Stack:
    """What the header of a file says: its pictures, in the order of sections."""

    parts: Sequence[str]
    """Their names; see ``pictures.KINDS``."""
    sizes: Sequence[Size | None]
    """One for each; None where it is not known."""
    pixel: float | None = None
    time: str = ""


Look = Callable[[str], Stack]
"""The header of the file at a URL; DataError where it is torn."""


def parts(count: int) -> list[str]:
    """Names of pages or slices; none for one that is all of its file."""
    return [""] if count == 1 else [str(n) for n in range(count)]


def files(io: IO, source: str, suffixes: Sequence[str]) -> list[tuple[str, Found]]:
    """URL and path of ``source``, where it is a file, or of those below it that end so, in natural order."""
    if io.exists(source):
        return [(source, Found(source.rpartition("/")[2], None))]
    found = [one for one in below(io, source) if one.path.lower().endswith(tuple(suffixes))]
    if not found:
        raise DataError(f"{source}: there is no file below this folder that ends with {' or '.join(suffixes)}")
    return [(f"{source}/{one.path}", one) for one in found]


def tiles(io: IO, source: str, choices: Choices, suffixes: Sequence[str], look: Look) -> Iterator[Tile]:
    """A tile a picture, a section each, numbered through all files.

    A file that is torn, where the one before it was a picture alone, keeps its number: `ingest verify` tells of it.
    """
    z, before = choices.z, None
    for url, file in files(io, source, suffixes):
        before = stack = _looked(look, url, before)
        pixel = texts.pixel(choices, stack.pixel, url)
        for part, size in zip(stack.parts, stack.sizes, strict=True):
            yield Tile(
                tile=texts.stem(file.path),
                z=z,
                x=0.0,
                y=0.0,
                pixel=pixel,
                url=url,
                part=part,
                width=size and size.width,
                height=size and size.height,
                time=stack.time,
                size=file.size,
            )
            z += 1


def _looked(look: Look, url: str, before: Stack | None) -> Stack:
    try:
        return look(url)
    except DataError:
        if before is None or len(before.parts) != 1:
            raise
        return Stack(before.parts, [None], before.pixel)
