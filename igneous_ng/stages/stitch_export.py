"""Solved sections in the formats of other programs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from igneous_ng import solutions, words
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import pictures, tilespecs
from igneous_ng.formats.sections import name
from igneous_ng.formats.tilespecs import TileSpec
from igneous_ng.io import IO
from igneous_ng.kernels.nearest_affine import Nearest, nearest_affine
from igneous_ng.montage import Montage, Placed, Section
from igneous_ng.stage import LayerUrl, Stage, arg, opt

_BASE = 150_000_000  # bytes, of an empty section
_TILE = 8000  # of a tile, its TileSpec, and the JSON of both


@dataclass(frozen=True, kw_only=True)
class Export(Stage, name="stitch export"):
    """Write where the tiles of solved sections lie, for other programs: TileSpecs of render, a file a section.

    A TileSpec has one affine. Where lens or elastic part bend a tile, that is the nearest by least squares, and how
    far it is from the solution is said, and kept in `fit/`.
    """

    example = "./montage ./tilespecs"

    montage: LayerUrl = arg("Montage whose sections are solved.")
    dest: LayerUrl = arg("Folder to write; z000012.json and so on.")
    format: Literal["render"] = opt("render", "The format.")

    def check(self) -> None:
        """The destination is a folder of its own."""
        if f"{self.montage}/".startswith(f"{self.dest}/"):
            raise SpecError(f"stitch export: {self.dest} holds the montage; choose a folder of its own")

    def home(self) -> str:
        """Records lie with the montage."""
        return self.montage

    def places(self, io: IO) -> tuple[str, ...]:
        """The destination."""
        return (self.dest,)

    def prepare(self, io: IO) -> None:
        """Refuse a section that is not solved."""
        for z in self.units(io):
            if not io.exists(self._maps(z)):
                raise DataError(f"{self._maps(z)}: section {z} is not solved; run `stitch solve` first")

    def units(self, io: IO) -> Sequence[int]:
        """The sections."""
        return Montage.open(io, self.montage).zs

    def peak_bytes(self, unit: int, io: IO) -> int:
        """The maps of a section and its TileSpecs."""
        head = io.peek(self._maps(unit), solutions.HEAD_SPAN)
        if head is None:
            return _BASE
        found = solutions.head(head, self._maps(unit))
        return _BASE + found.tiles * (_TILE + 4 * found.record)

    def execute(self, unit: int, io: IO) -> None:
        """Write one section."""
        section = Montage.open(io, self.montage).section(io, unit)
        data = io.get(self._maps(unit))
        maps, _ = solutions.decode(data or b"", self._maps(unit))
        if len(maps) != len(section.tiles):
            raise DataError(
                f"{self._maps(unit)}: has {len(maps)} tiles and the section {len(section.tiles)}; "
                "run `stitch solve` again"
            )
        found = [nearest_affine(one) for one in maps]
        specs = [self._spec(section, tile, fit) for tile, fit in zip(section.tiles, found, strict=True)]
        io.put(f"{self.dest}/{name(unit)}.json", tilespecs.encode(specs))
        bent = [fit for one, fit in zip(maps, found, strict=True) if one.lens is not None or one.nodes.size]
        worst, rms = max((fit.worst for fit in bent), default=0.0), max((fit.rms for fit in bent), default=0.0)
        told = {"tiles": len(maps), "bent": len(bent), "worst": worst, "rms": rms}
        io.put_json(f"{self.dest}/fit/{name(unit)}.json", told)
        io.note(**told)

    def said(self, io: IO) -> str:
        """How far the affines are from what was solved."""
        told = [io.store.get_json(f"{self.dest}/fit/{name(z)}.json") or {} for z in self.units(io)]
        bent = sum(one.get("bent", 0) for one in told)
        if not bent:
            return ""
        worst = max(one.get("worst", 0.0) for one in told)
        return f"{words.count(bent, 'tile')} bent: their affines are up to {worst:.3g} px from the solution"

    def _maps(self, z: int) -> str:
        return f"{self.montage}/solutions/{name(z)}.maps"

    def _spec(self, section: Section, tile: Placed, fit: Nearest) -> TileSpec:
        for picture in tile.pictures:
            if picture.part or picture.kind not in ("", *pictures.KINDS):
                raise DataError(
                    f"{picture.url}: tile {tile.tile!r} of section {section.z} is a part of a file, which TileSpecs "
                    "cannot name; write its pictures as files first"
                )
        (a, b), (c, d) = fit.matrix.tolist()
        x, y = fit.shift.tolist()
        return TileSpec(
            tile=f"{tile.tile}.{section.z}",
            z=float(section.z),
            urls=tuple(picture.url for picture in tile.pictures),
            affine=(a, b, x, c, d, y),
            width=tile.width,
            height=tile.height,
            row=tile.row,
            col=tile.col,
            camera=tile.camera,
        )
