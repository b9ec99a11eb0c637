"""What an adapter is: a module that reads how one microscope or program describes its tiles.

A module of this package, or one that an entry point of the group ``igneous_ng.adapters`` names, with a docstring whose
first line says what it reads, a ``NAME``, and ``tiles(io, source, choices)``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from igneous_ng.formats.tiles import Tile
from igneous_ng.io import IO


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What the user says where files do not."""

    pattern: str = ""
    """Regular expression with named groups, over paths below the source; for adapters that go by names."""
    pixel: float | None = None
    """Size of a pixel in nm; needed where files do not say, and stronger than what they say."""
    overlap: tuple[float, float] = (0.1, 0.1)
    """Fraction of a tile that it shares with the next, along x and y; for lattices without positions."""
    first: int = 0
    """The number that the first row and column have."""
    dataset: str = ""
    """Which dataset, in files of several."""
    z: int = 0
    """The number of the first section, where files do not say; added to theirs where they do."""


class Adapter(Protocol):
    """A module that reads one kind of description."""

    NAME: str
    """What `ingest plan --format` calls it."""

    def tiles(self, io: IO, source: str, choices: Choices) -> Iterator[Tile]:
        """The tiles below or in ``source``, a URL, in any order.

        SpecError where a choice is missing or senseless, DataError (with file and line) where the source is not what
        it should be. Nothing is guessed.
        """
