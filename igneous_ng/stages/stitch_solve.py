"""The maps of all tiles of a section, from the matches between them: one task a section."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from igneous_ng import solutions
from igneous_ng.errors import DataError
from igneous_ng.formats import columns
from igneous_ng.formats.sections import name
from igneous_ng.io import IO
from igneous_ng.kernels import links as linking
from igneous_ng.kernels import montage_solving
from igneous_ng.kernels.solution_report import report
from igneous_ng.kernels.tile_frames import Tiles
from igneous_ng.montage import Montage, Section
from igneous_ng.stage import LayerUrl, Stage, arg, opt
from igneous_ng.words import count

Array = npt.NDArray[Any]
GRAIN = 64
"""Boxes of tiles are rounded outwards to so many pixels."""
_BASE = 200_000_000
_TILE_BYTES = 40_000
_POINT_BYTES = 2_000
_NAMED = 10


@dataclass(frozen=True, kw_only=True)
class Solve(Stage, name="stitch solve"):
    """Find where each tile of a section lies, and how it is turned, stretched and bent, from its matches.

    Links that the others contradict are dropped, by how far they are off; then the simplest model that the points
    need is fitted with weights that leave no say to what is wrong. The section as a whole lies where the stage had it.
    Tiles that do not connect with the largest component stay where the stage put them, moved as their nearest
    neighbours were, and are told.
    """

    example = "./montage --model elastic -p 4"

    montage: LayerUrl = arg("Folder of the montage.")
    model: Literal["auto", "translation", "rigid", "affine", "elastic"] = opt(
        "auto", "What tiles may do; auto takes the simplest model that foretells points held out."
    )
    lens: Literal["none", "section"] = opt(
        "section", "Whether cameras have lenses: one a camera and section, where that foretells points better."
    )

    def home(self) -> str:
        """The montage keeps the records."""
        return self.montage

    def places(self, io: IO) -> tuple[str, ...]:
        """The maps, and which tile may touch what."""
        return f"{self.montage}/solutions", f"{self.montage}/placed"

    def prepare(self, io: IO) -> None:
        """Refuse where pairs are not matched yet."""
        montage = Montage.open(io, self.montage)
        asked = [row.z for row in montage.rows if row.pairs]
        found = io.store.map(lambda z: io.store.list(montage.url("matches", z, "")), asked)
        for z, names in zip(asked, found, strict=True):
            if missing := [url for url in montage.matched(z) if url.rpartition("/")[2] not in names]:
                raise DataError(f"{missing[0]}: these pairs are not matched; run `stitch match` first")

    def units(self, io: IO) -> Sequence[int]:
        """The sections, by their numbers."""
        return Montage.open(io, self.montage).zs

    def peak_bytes(self, unit: int, io: IO) -> int:
        """What grows with the tiles of a section and with the points between them."""
        montage = Montage.open(io, self.montage)
        urls = montage.matched(unit)
        heads = io.store.map(lambda url: io.store.get(url, columns.HEAD_SPAN), urls)
        sizes = [columns.size(head, url) for url, head in zip(urls, heads, strict=True) if head is not None]
        return _BASE + montage.row(unit).tiles * _TILE_BYTES + sum(sizes) // 40 * _POINT_BYTES

    def execute(self, unit: int, io: IO) -> None:
        """Solve one section."""
        montage = Montage.open(io, self.montage)
        section = montage.section(io, unit)
        tiles = _tiles(section)
        found = list(montage.matches(io, unit, linking.COLUMNS))
        matches = linking.gather(found, tiles.size, montage.url("matches", unit, ""))
        solved = montage_solving.solve(tiles, matches.links, self.model, self.lens == "section")
        names = [one.tile for one in section.tiles]
        maps = [solutions.rounded(one) for one in solved.maps]
        io.put(montage.url("solutions", unit, ".maps"), solutions.encode(maps, solved.component.tolist()))
        io.put_json(montage.url("solutions", unit, ".json"), {"z": unit, **report(names, tiles, matches, solved)})
        io.put_json(montage.url("placed", unit, ".json"), {"boxes": [box(one.box()) for one in maps]})
        last = solved.phases[-1]
        io.note(
            model=solved.model,
            p50=round(last.p50, 3),
            p95=round(last.p95, 3),
            dropped=int((~solved.kept).sum()),
            doubtful=int(solved.doubtful.sum()),
            components=int(solved.component.max(initial=-1)) + 1,
            apart=int((solved.component > 0).sum()),
            unmatched=len(matches.pair) - len(matches.links),
        )

    def said(self, io: IO) -> str:
        """What all sections rest on, and which need a look."""
        montage = Montage.open(io, self.montage)
        urls = [montage.url("solutions", row.z, ".json") for row in montage.rows]
        told: list[Any] = [one for one in io.store.map(io.store.get_json, urls) if one is not None]
        sums = {key: sum(one["links"][key] for one in told) for key in ("used", "dropped", "doubtful")}
        parted = [name(one["z"]) for one in told if len(one["components"]) > 1]
        lines = [
            f"{count(len(told), 'section')}: {sums['used']:,} links used, {sums['dropped']:,} dropped as wrong, "
            f"{sums['doubtful']:,} doubtful (solutions/*.json names them)"
        ]
        if parted:
            more = f" and {len(parted) - _NAMED:,} more" if len(parted) > _NAMED else ""
            lines.append(f"in several pieces: {', '.join(parted[:_NAMED])}{more}")
        return "\n".join(lines)


def _tiles(section: Section) -> Tiles:
    """The tiles for the solver; those of one camera and size share a lens."""
    kinds: dict[tuple[str, int, int], int] = {}
    cameras = [kinds.setdefault((t.camera, t.width, t.height), len(kinds)) for t in section.tiles]
    size = np.array([(t.width, t.height) for t in section.tiles], np.int64).reshape(-1, 2)
    matrix = np.array([t.matrix for t in section.tiles]).reshape(-1, 2, 2)
    shift = np.array([(t.x, t.y) for t in section.tiles]).reshape(-1, 2)
    return Tiles(size, matrix, shift, np.array(cameras, np.int64))


def box(found: tuple[float, float, float, float]) -> list[int]:
    """A box, outwards to multiples of :data:`GRAIN`."""
    low = [math.floor(value / GRAIN) * GRAIN for value in found[:2]]
    return low + [math.ceil(value / GRAIN) * GRAIN for value in found[2:]]
