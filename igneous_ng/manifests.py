"""The manifest of a montage: which sections were planned, the lines of each, and what was found in their files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from igneous_ng.errors import DataError
from igneous_ng.formats import tiles, verified
from igneous_ng.formats.sections import name
from igneous_ng.formats.tiles import Tile
from igneous_ng.formats.verified import Seen
from igneous_ng.geometry import ceil_div
from igneous_ng.io import IO
from igneous_ng.montage import Batches

BATCH = 100
"""Lines of a manifest that one task looks at."""


@dataclass(frozen=True)
class Manifest:
    """What `ingest plan` left in the montage ``home``."""

    home: str
    sections: tuple[tuple[int, int], ...]
    """The number of each section, in order, and how many lines it has."""

    @classmethod
    def open(cls, io: IO, home: str) -> Manifest:
        """The manifest of a montage; DataError where there is none. It enters no ledger: its sections' files do."""
        if io.peek(f"{home}/manifest.json") is None:
            raise DataError(f"{home}/manifest.json: no tiles are known here; run `ingest plan` first")
        raw: Any = io.store.get_json(f"{home}/manifest.json")
        try:
            return cls(home, tuple((int(one["z"]), int(one["tiles"])) for one in raw["sections"]))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{home}/manifest.json: is no manifest ({error!r}); run `ingest plan` again") from None

    @cached_property
    def batches(self) -> Sequence[tuple[int, int]]:
        """``(z, batch)`` of every batch of lines."""
        return Batches([(z, ceil_div(count, BATCH)) for z, count in self.sections])

    def url(self, folder: str, z: int, batch: int, suffix: str) -> str:
        """The file of a batch, such as ``verified/z000012/000.jsonl``."""
        return f"{self.home}/{folder}/{name(z)}/{batch:03d}{suffix}"

    def lines(self, io: IO, z: int) -> list[Tile]:
        """The lines of a section; DataError where they are not there, or fewer or more than were planned."""
        url = f"{self.home}/manifest/{name(z)}.jsonl"
        data = io.get(url)
        if data is None:
            raise DataError(f"{url}: the lines of this section are missing; run `ingest plan` again")
        found = tiles.decode(data, url)
        if len(found) != dict(self.sections)[z]:
            raise DataError(f"{url}: has {len(found)} lines, not {dict(self.sections)[z]}; run `ingest plan` again")
        return found

    def first(self, io: IO, z: int) -> Tile:
        """The first line of a section, which has some; it enters no ledger."""
        url = f"{self.home}/manifest/{name(z)}.jsonl"
        line, _, _ = (io.peek(url) or b"").partition(b"\n")
        if not line:
            raise DataError(f"{url}: the lines of this section are missing; run `ingest plan` again")
        return tiles.decode(line, url)[0]

    def batch(self, io: IO, z: int, batch: int) -> list[Tile]:
        """The lines of one batch of a section."""
        return self.lines(io, z)[batch * BATCH : (batch + 1) * BATCH]

    def seen(self, io: IO, z: int, batch: int, lines: Sequence[Tile]) -> list[Seen]:
        """What was found in the files of a batch, whose ``lines`` these are; DataError where it was not looked at."""
        url = self.url("verified", z, batch, ".jsonl")
        data = io.get(url)
        if data is None:
            raise DataError(f"{url}: these files were not looked at; run `ingest verify` first")
        found = verified.decode(data, url)
        if [_key(one) for one in found] != [_key(one) for one in lines]:
            raise DataError(f"{url}: is of other tiles than the manifest now has; run `ingest verify` again")
        return found


def _key(one: Any) -> tuple[str, int, str, str]:
    return one.tile, one.channel, one.url, one.part
