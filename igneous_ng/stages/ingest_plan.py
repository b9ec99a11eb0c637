"""What the microscope's files say of its tiles, as manifests: the first step of every montage."""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from igneous_ng import adapters, folders, words
from igneous_ng.adapters.base import Choices
from igneous_ng.adapters.listing import left_out
from igneous_ng.adapters.texts import natural
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import tiles
from igneous_ng.formats.sections import name
from igneous_ng.formats.tiles import Tile
from igneous_ng.io import IO
from igneous_ng.stage import LayerUrl, Stage, arg, opt, to_dict
from igneous_ng.store import as_json, digest, parsed

_TILE = 4000  # bytes that a tile takes while all are sorted, with what its adapter holds of it
_TEXT = 10  # bytes for one of a description, as it is read: JSON takes about 6, other texts less
_BASE = 100_000_000  # those of an empty plan
_NAMED = 5  # files that are no tile


@dataclass(frozen=True, kw_only=True)
class Plan(Stage, name="ingest plan"):
    """Write down which tiles there are, section by section, as the files of a microscope or a program say.

    Several plans, a wafer each, may add sections to one montage; a section comes from one source. The pictures are
    not opened, but for the first where a lattice's step follows from its size, and nothing is written to the source.
    `igneous-ng ingest formats` lists the formats.
    """

    example = "/microscope/run7 ./montage --format sbemimage"

    source: LayerUrl = arg("Folder or file that describes the tiles.")
    montage: LayerUrl = arg("Folder of all that is learnt about the tiles; not in the source.")
    format: str = opt("folder", "Which program or microscope wrote the source; see `ingest formats`.")
    pattern: str = opt("", "Regular expression with named groups over paths below the source, for format folder.")
    pixel: float | None = opt(None, "Size of a pixel in nm; needed where files do not say, and stronger than they.")
    overlap: tuple[float, float] = opt((0.1, 0.1), "Fraction shared with the next tile, x,y; for lattices.")
    first: int = opt(0, "The number that the first row and the first column have.")
    dataset: str = opt("", "Which dataset, in files of several.")
    z: int = opt(0, "Number of the first section where files do not say; added to theirs where they do.")

    def check(self) -> None:
        """Source and montage lie apart; a pixel has a size."""
        for inner, outer in ((self.source, self.montage), (self.montage, self.source)):
            if f"{inner}/".startswith(f"{outer}/"):
                raise SpecError(
                    f"ingest plan: the source {self.source} and the montage {self.montage} lie one in the other, "
                    "and a source is never written to; choose another folder for the montage"
                )
        if self.pixel is not None and self.pixel <= 0:
            raise SpecError(f"ingest plan.pixel: {self.pixel} nm is no size; give a positive number")

    def home(self) -> str:
        """Records lie with the montage."""
        return self.montage

    def places(self, io: IO) -> tuple[str, ...]:
        """Manifests, their list, and what was planned."""
        return f"{self.montage}/manifest", f"{self.montage}/manifest.json", f"{self.montage}/plans"

    def prepare(self, io: IO) -> None:
        """Read as far as the first tile, so that a wrong format, pattern or a missing choice is known at once."""
        for tile in self._tiles(IO(io.store)):
            self._apart(tile)
            return
        raise DataError(f"{self.source}: describes no tile, read as {self.format}")

    def units(self, io: IO) -> Sequence[str]:
        """One: sections are not known before all is read."""
        return [self.source]

    def peak_bytes(self, unit: str, io: IO) -> int:
        """Of a file some times its size; else all that is allowed, and more tiles than that holds are refused."""
        size = folders.size(self.source)
        return self.memory if size is None else min(self.memory, _BASE + _TEXT * size)

    def execute(self, unit: str, io: IO) -> None:
        """Read all tiles, then write the manifest of each section."""
        sections = self._sections(io)
        self._check_free(sections.keys(), io)
        taken = {tile.url for found in sections.values() for tile in found}
        taken.update(entry["url"] for entry in io.ledger.reads if "url" in entry)  # what describes them
        ignored = [] if io.exists(self.source) else left_out(self.source, taken)
        for z, found in sorted(sections.items()):
            found.sort(key=_order)
            io.put(f"{self.montage}/manifest/{name(z)}.jsonl", tiles.encode(found))
        rows = [{"z": z, "tiles": len(found)} for z, found in sorted(sections.items())]
        left = {"files": len(ignored), "such_as": ignored[:_NAMED]}
        io.put_json(self._note, {"source": self.source, "format": self.format, "sections": rows, "left_out": left})
        io.note(sections=len(rows), tiles=sum(row["tiles"] for row in rows), left_out=left)

    def finish(self, io: IO) -> None:
        """Add the sections to the list; those of other plans stay as they are."""
        planned, url = self._planned(io), f"{self.montage}/manifest.json"

        def add(data: bytes | None) -> bytes:
            found = parsed(data, url) if data is not None else {"sections": []}
            rows = {row["z"]: row for row in found["sections"]}
            rows |= {row["z"]: {**row, "source": self.source, "format": self.format} for row in planned["sections"]}
            return as_json({**found, "sections": [rows[z] for z in sorted(rows)]})

        io.edit(url, add)

    def said(self, io: IO) -> str:
        """How much was planned, and what in the source is no tile."""
        planned = self._planned(io)
        rows, left = planned["sections"], planned["left_out"]
        said = f"{words.count(sum(row['tiles'] for row in rows), 'tile')} in {words.count(len(rows), 'section')}"
        if not left["files"]:
            return said
        others = ", ".join(left["such_as"]) + (", ..." if left["files"] > len(left["such_as"]) else "")
        return f"{said}\nno tile, of the files in the source: {words.count(left['files'], 'file')}: {others}"

    def _planned(self, io: IO) -> dict[str, Any]:
        """What the unit found."""
        found: dict[str, Any] | None = io.store.get_json(self._note)
        if found is None:
            raise DataError(f"{self._note}: is gone since the tiles were read; plan the ingest again")
        return found

    @property
    def _note(self) -> str:
        """Where it is kept what this very request planned."""
        asked = {key: value for key, value in to_dict(self).items() if key != "memory"}
        return f"{self.montage}/plans/{digest(json.dumps(asked, sort_keys=True).encode())}.json"

    def _tiles(self, io: IO) -> Iterator[Tile]:
        given = {key: getattr(self, key) for key in Choices.__dataclass_fields__}
        yield from adapters.load(self.format).tiles(io, self.source, Choices(**given))

    def _sections(self, io: IO) -> dict[int, list[Tile]]:
        """All tiles by section; SpecError where they are more than memory holds."""
        found: dict[int, list[Tile]] = defaultdict(list)
        most = max(1, (self.memory - _BASE) // _TILE)
        for count, tile in enumerate(self._tiles(io), 1):
            if count > most:
                raise SpecError(
                    f"{self.source}: has more than the {most:,} tiles that {words.amount(self.memory)} hold; "
                    "plan its parts one by one, or give more --memory"
                )
            self._apart(tile)
            found[tile.z].append(tiles.checked(tile, self.source))
        return found

    def _apart(self, tile: Tile) -> None:
        """SpecError where the montage would lie among the pictures, or the pictures in the montage."""
        folder = tile.url.rpartition("/")[0]
        if f"{self.montage}/".startswith(f"{folder}/") or tile.url.startswith(f"{self.montage}/"):
            raise SpecError(
                f"ingest plan: {tile.url} and the montage {self.montage} lie one in the other, and the pictures' "
                "folder is never written to; choose another folder for the montage"
            )

    def _check_free(self, sections: Any, io: IO) -> None:
        """SpecError where another source gave one of the sections: two wafers would be one section."""
        rows = (io.store.get_json(f"{self.montage}/manifest.json") or {"sections": []})["sections"]
        for row in rows:
            if row["z"] in sections and row["source"] != self.source:
                raise SpecError(
                    f"{self.source}: gives section {row['z']}, which {self.montage} has from {row['source']}; "
                    "number the sections from elsewhere on with --z, or choose another montage"
                )


def _order(tile: Tile) -> tuple[Any, ...]:
    """By name, channel, time and file; what follows tells tiles apart that are alike in these."""
    return natural(tile.tile), tile.channel, tile.time, tile.url, tile.part, tile.x, tile.y
