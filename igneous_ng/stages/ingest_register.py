"""Sections from manifests and what was found in the files: what is used, and what is wrong."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import overrides, verified
from igneous_ng.formats.overrides import Override
from igneous_ng.formats.sections import name
from igneous_ng.formats.tiles import Tile
from igneous_ng.formats.verified import BAD, WARN, Finding, Seen
from igneous_ng.geometry import ceil_div
from igneous_ng.io import IO
from igneous_ng.manifests import BATCH, Manifest
from igneous_ng.montage import Montage
from igneous_ng.pages import index
from igneous_ng.pages import section as pages
from igneous_ng.pages.index import Summary
from igneous_ng.registering import joining, looks, series
from igneous_ng.registering.shots import Shot, Shots
from igneous_ng.stage import Layer, LayerUrl, Stage, arg, opt

_SMALL = 60_000_000  # bytes for the map, a batch of thumbnails, and what libraries keep
_LINE = 24_000  # bytes for what is known of a picture, its row in the page, and its means


@dataclass(frozen=True, kw_only=True)
class Register(Stage, name="ingest register"):
    """Decide which tiles of each section are used; report what is wrong, for programs and as HTML pages.

    Repeated, missing, torn, stale and misplaced tiles are findings; bad ones are left out. A file of overrides (lines
    of JSON, or CSV with a header: z, tile, channel, action, x, y, note) always wins: `use` a tile whatever is wrong,
    `drop` it, or `move` its first pixel to x, y in nm. Everything that `stitch` reads is written here.
    """

    example = "./montage --overrides fixes.jsonl"

    montage: LayerUrl = arg("Folder of the montage, in which `ingest verify` has looked at the files.")
    overrides: Layer | None = opt(None, "File of what the operator says of tiles; it always wins.")
    pixel: float | None = opt(
        None, "Size of a pixel of the sections in nm; by default that of all tiles, if it is one."
    )

    def check(self) -> None:
        """A pixel has a size."""
        if self.pixel is not None and self.pixel <= 0:
            raise SpecError(f"ingest register.pixel: {self.pixel} nm; give a positive size")

    def home(self) -> str:
        """The montage keeps its sections."""
        return self.montage

    def places(self, io: IO) -> tuple[str, ...]:
        """The sections, what is wrong with them, and the pages."""
        return tuple(f"{self.montage}/{one}" for one in ("sections", "sections.json", "findings", "report"))

    def prepare(self, io: IO) -> None:
        """See that all files were looked at, overrides can be read, and pixels of sections have one size."""
        manifest = Manifest.open(io, self.montage)
        self._said(io)
        sizes: dict[float, int] = {}
        for z, count in manifest.sections:
            last = manifest.url("verified", z, max(0, ceil_div(count, BATCH) - 1), ".jsonl")
            if count and not io.exists(last):
                raise DataError(f"{last}: these files were not looked at; run `ingest verify` first")
            if self.pixel is None and count:
                sizes.setdefault(manifest.first(io, z).pixel, z)
        if len(sizes) > 1:
            (one, first), (other, second) = sorted(sizes.items())[:2]
            raise SpecError(
                f"pixels have {one:g} nm in section {first} and {other:g} nm in section {second}; "
                "say with --pixel what those of the montage have"
            )

    def units(self, io: IO) -> Sequence[int]:
        """The sections."""
        return [z for z, _ in Manifest.open(io, self.montage).sections]

    def peak_bytes(self, unit: int, io: IO) -> int:
        """What is known of all pictures of the section, their previews, and the map."""
        manifest = Manifest.open(io, self.montage)
        count = dict(manifest.sections)[unit]
        thumbs = io.peek(manifest.url("verified", unit, 0, ".thumbs")) or b""
        return _SMALL + 2 * len(thumbs) + count * (_LINE + looks.preview_side(count) ** 2)

    def execute(self, unit: int, io: IO) -> None:
        """Join one section and draw its page."""
        manifest = Manifest.open(io, self.montage)
        lines = manifest.lines(io, unit)
        pixel = self.pixel or (_pixel(lines) if lines else 1.0)
        shots = _shots(io, manifest, unit, lines)
        seen = looks.load(io, manifest, shots)
        found = joining.register(shots, [one for one in self._said(io) if one.z == unit], seen.means, pixel)
        io.put_json(f"{self.montage}/sections/{name(unit)}.json", found.section.to_json())
        io.put(f"{self.montage}/findings/{name(unit)}.jsonl", verified.encode_findings(unit, found.findings))
        io.put_json(f"{self.montage}/report/{name(unit)}.json", dataclasses.asdict(Summary.of(found, pixel)))
        io.put(f"{self.montage}/report/{name(unit)}.html", pages.draw(found, seen.previews, pixel))
        count = {f"{one}s": sum(row.severity == one for row in found.findings) for one in (BAD, WARN)}
        io.note(tiles=len(found.section.tiles), **count)

    def finish(self, io: IO) -> None:
        """List the sections that can be stitched, and draw the page of all."""
        sections = [self._summary(io, z) for z in self.units(io)]
        rows, odd = self._of_none(io, sections)
        kept = [one for one in sections if one.tiles and one.z not in odd]
        first = kept[0] if kept else Summary(0, 0, 0, 0, None, "", 0, self.pixel or 1.0, {}, {})
        montage = Montage(self.montage, first.pixel, first.dtype, first.channels, tuple(one.row for one in kept))
        io.put(f"{self.montage}/findings/sections.jsonl", verified.encode_findings(None, rows))
        io.put_json(f"{self.montage}/sections.json", montage.to_json())
        io.put(f"{self.montage}/report/index.html", index.draw(sections, rows, self.montage))

    def said(self, io: IO) -> str:
        """How many tiles are used, and where to read what is wrong."""
        sections = [self._summary(io, z) for z in self.units(io)]
        used, known = sum(one.tiles for one in sections), sum(one.known for one in sections)
        count = {s: sum(one.severities[s] for one in sections) for s in (BAD, WARN)}
        return (
            f"{used:,} of {known:,} tiles of {len(sections):,} sections are used; {count[BAD]:,} findings are bad, "
            f"{count[WARN]:,} are to be looked at: {self.montage}/report/index.html"
        )

    def _said(self, io: IO) -> tuple[Override, ...]:
        if self.overrides is None:
            return ()
        data = io.get(self.overrides)
        if data is None:
            raise SpecError(f"{self.overrides}: there is no such file of overrides; correct its place, or leave it out")
        return overrides.parse(data, self.overrides)

    def _summary(self, io: IO, z: int) -> Summary:
        url = f"{self.montage}/report/{name(z)}.json"
        return Summary.from_json(io.get_json(url), url)

    def _of_none(self, io: IO, sections: Sequence[Summary]) -> tuple[list[Finding], set[int]]:
        """What is wrong with the sequence of sections, and which are of another type than most."""
        odd = series.odd({one.z: (one.dtype, one.channels) for one in sections if one.tiles})
        numbers = [one.z for one in sections]
        return [*series.gaps(numbers), *odd.values(), *series.astray(self._said(io), set(numbers))], set(odd)


def _pixel(lines: Sequence[Tile]) -> float:
    sizes = sorted({line.pixel for line in lines})
    if len(sizes) > 1:
        raise SpecError(
            f"section {lines[0].z} has pixels of {sizes[0]:g} and {sizes[1]:g} nm; "
            "say with --pixel what those of the montage have"
        )
    return sizes[0]


def _shots(io: IO, manifest: Manifest, z: int, lines: Sequence[Tile]) -> Shots:
    found = list[tuple[Tile, Seen]]()
    for batch in range(ceil_div(len(lines), BATCH)):
        these = lines[batch * BATCH : (batch + 1) * BATCH]
        found += zip(these, manifest.seen(io, z, batch, these), strict=True)
    return Shots(z, tuple(Shot(n, line, seen) for n, (line, seen) in enumerate(found)))
