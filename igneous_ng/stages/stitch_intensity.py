"""Grey values of tiles: the camera's field, gains and offsets, what is left at low resolution, sections to each other.

All of it rests on the coarse pictures of `ingest verify` and the levels of `stitch match`; no raw picture is read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng import manifests, solutions, thumbnails, tones
from igneous_ng.errors import DataError
from igneous_ng.formats import columns, shades
from igneous_ng.io import IO
from igneous_ng.kernels import flat_field, flat_nodes, shading, toning
from igneous_ng.kernels.tile_maps import TileMap
from igneous_ng.kernels.tile_quality import thumbnail_factor
from igneous_ng.montage import Montage, Placed, Section
from igneous_ng.stage import Chain, LayerUrl, Stage, arg, opt, sampled
from igneous_ng.thumbnails import Thumbnails
from igneous_ng.tones import Toned

Array = npt.NDArray[Any]
_MOST = 1000  # tiles that a flat field is made of
_REACH = 2  # sections on either side that say how bright one should be
_LEAST = 1 << 26  # bytes that a task takes anyhow
_TILE = 4096  # bytes of a tile of a section's file, as objects


@dataclass(frozen=True, kw_only=True)
class Intensity(Stage):
    """What the stages share: a montage, and a unit a section."""

    montage: LayerUrl = arg("Folder of the montage.")

    def home(self) -> str:
        """Records lie with the montage."""
        return self.montage

    def units(self, io: IO) -> Sequence[Any]:
        """The sections."""
        return self.opened(io).zs

    def opened(self, io: IO) -> Montage:
        """What is known of the montage."""
        return Montage.open(io, self.montage)

    def section(self, io: IO, z: int) -> Section:
        """A section, for planning: enters no ledger."""
        return self.opened(io).section(IO(io.store), z)


@dataclass(frozen=True, kw_only=True)
class Flatfield(Intensity, name="stitch flatfield"):
    """Find how each camera sees an even field, from about a thousand of its tiles.

    Per pixel the median over tiles, chosen by a hash of their names from sections all through the montage, each
    divided by its own median. Of cameras with few tiles, or tiles at few places, nothing can be known: their field
    is 1.
    """

    example = "./montage -p 4"

    def places(self, io: IO) -> tuple[str, ...]:
        """The folder of the fields."""
        return (f"{self.montage}/flat",)

    def units(self, io: IO) -> Sequence[str]:
        """The cameras of sections all through the montage."""
        at, free = self.opened(io), IO(io.store)
        found = {tile.camera for row in sampled(at.rows) for tile in at.section(free, row.z).tiles}
        return sorted(found)

    def peak_bytes(self, unit: str, io: IO) -> int:
        """The chosen tiles, a copy of a channel of them, a batch, and the files of sections."""
        rows = self.opened(io).rows
        section = self.section(io, rows[0].z)
        batch = thumbnails.batch_bytes(section)
        chosen = batch // (2 * manifests.BATCH) * min(_MOST, sum(row.tiles for row in rows))
        files = _TILE * (8 * _MOST + max(row.tiles for row in rows))
        return _LEAST + 3 * section.channels * chosen + batch + files

    def execute(self, unit: str, io: IO) -> None:
        """One camera."""
        at = self.opened(io)
        size, there = self._chosen(io, at, unit)
        found: dict[tuple[int, bytes], tuple[bytes, Array]] = {}
        factor = 1
        for few in there:
            for one in Thumbnails(io, at, few):
                tile, middle, factor = few.tiles[one.tile], float(np.median(one.values)), one.factor
                if middle > 0:
                    found[one.channel, _key(few, tile)] = _place(tile), one.values / np.float32(middle)
        fields = [_field(found, channel, size, factor) for channel in range(at.channels)]
        known = [nodes for nodes in fields if nodes is not None]
        even = np.ones(known[0].shape if known else (2, 2), np.float32)
        flat = np.stack([even if nodes is None else nodes for nodes in fields], axis=-1)
        io.put(tones.flat_url(self.montage, unit), columns.pack({"flat": flat}))
        told = "" if known else "tiles at too few places: the field is 1"
        io.note(camera=unit, tiles=len(found), least=float(flat.min()), most=float(flat.max()), told=told)

    def said(self, io: IO) -> str:
        """How even the fields are."""
        fields = {camera: tones.flat(io, self.montage, camera) for camera in self.units(io)}
        lines = [
            f"camera {camera or '(no name)'}: {field.min():.3f} to {field.max():.3f} of the mean"
            for camera, field in fields.items()
            if field is not None and field.min() < field.max()
        ]
        even = len(fields) - len(lines)
        return "\n".join(
            [*lines, f"{even} of {len(fields)} cameras: even, or too few tiles to know"] if even else lines
        )

    def _chosen(self, io: IO, at: Montage, camera: str) -> tuple[tuple[int, int], list[Section]]:
        """The size of most tiles of a camera, and about a thousand of those, by a hash, as many of each section."""
        parts: list[Section] = []
        for row in sampled(at.rows):
            section = at.section(io, row.z)
            own = [tile for tile in section.tiles if tile.camera == camera]
            own.sort(key=lambda tile, of=section: _key(of, tile))  # type: ignore[misc]
            if own:
                parts.append(replace(section, tiles=tuple(own[: _share(len(parts) + 1)])))
        counted = Counter((tile.width, tile.height) for part in parts for tile in part.tiles)
        size = max(counted, key=lambda size: (counted[size], size), default=(1, 1))
        same = [tuple(tile for tile in part.tiles if (tile.width, tile.height) == size) for part in parts]
        each = _share(sum(map(bool, same)))
        return size, [replace(part, tiles=own[:each]) for part, own in zip(parts, same, strict=True) if own]


@dataclass(frozen=True, kw_only=True)
class Balance(Intensity, name="stitch balance"):
    """Find the gain and the offset of each tile that make it as bright as its neighbours where they overlap.

    Needs what `stitch match` wrote. Tiles that hang together have the mean gain 1 and the mean offset 0. Beside the
    tones lies how dark, middling and bright the section then is, for `stitch levels`.
    """

    example = "./montage"

    def places(self, io: IO) -> tuple[str, ...]:
        """The folder of the tones."""
        return (f"{self.montage}/tones",)

    def peak_bytes(self, unit: int, io: IO) -> int:
        """A batch of coarse pictures, the pairs and their equations, and the section's file."""
        section = self.section(io, unit)
        pairs = self.opened(io).row(unit).pairs
        counts = 8 * toning.BINS * (section.channels + 3)
        return _LEAST + thumbnails.batch_bytes(section) + 1024 * pairs + _TILE * len(section.tiles) + counts

    def execute(self, unit: int, io: IO) -> None:
        """One section."""
        at = self.opened(io)
        section = at.section(io, unit)
        found = _matched(io, at, section)
        both = np.zeros((len(section.tiles), section.channels, 2))
        steps: list[list[float]] = []
        for channel in range(section.channels):
            pairs, mean, spread, area = _known(found, channel)
            both[:, channel] = toning.balance(len(section.tiles), pairs, mean, spread, area)
            before = np.broadcast_to((1.0, 0.0), (len(section.tiles), 2))
            each = (np.abs(toning.steps(pairs, mean, tone)) for tone in (before, both[:, channel]))
            steps.append([round(float(np.quantile(step, 0.95)), 3) if len(step) else 0.0 for step in each])
        stored = both.astype("<f4")
        io.put(at.url("tones", unit, ".f32"), stored.tobytes())
        quantiles = _quantiles(io, at, section, stored)
        io.put_json(at.url("tones", unit, ".json"), {"quantiles": quantiles, "steps": steps})
        io.note(pairs=len(found["pair"]), steps=steps)

    def said(self, io: IO) -> str:
        """How much tiles differ, before and after."""
        at = self.opened(io)
        found = [io.get_json(at.url("tones", row.z, ".json")) for row in sampled(at.rows)]
        steps = [step for one in found if one is not None for step in one["steps"]] or [[0.0, 0.0]]
        before, after = np.median(np.array(steps), axis=0)
        return f"19 of 20 steps between tiles: at most {before:.1f} grey values before, {after:.1f} after"


@dataclass(frozen=True, kw_only=True)
class Shade(Intensity, name="stitch shade"):
    """Find what must be added so that no step is left between tiles: smooth shading that gains and offsets cannot mend.

    At the resolution of the coarse pictures, by a screened Poisson equation; what it adds dies away over half a tile,
    so it never runs off over a section. For tiles whose brightness is bent, by charging or a bad flat field: where
    nothing is left to mend it adds up to a grey level, for coarse pictures of two tiles never agree wholly.

    Needs what `stitch solve` wrote; uses the flat fields and tones that there are.
    """

    example = "./montage"

    def places(self, io: IO) -> tuple[str, ...]:
        """The folder of the shades."""
        return (f"{self.montage}/shades",)

    def peak_bytes(self, unit: int, io: IO) -> int:
        """Some arrays over the section at low resolution, a batch, and the maps."""
        section = self.section(io, unit)
        factor = _factor(section)
        x0, y0, x1, y1 = section.box if section.tiles else (0, 0, 0, 0)
        wide = [int(b - a) // factor + 3 * shades.BLOCK for a, b in ((x0, x1), (y0, y1))]
        samples = wide[0] * wide[1] * (8 * shading.ARRAYS + 8 * section.channels)
        return _LEAST + samples + thumbnails.batch_bytes(section) + 2 * _TILE * len(section.tiles)

    def execute(self, unit: int, io: IO) -> None:
        """One section."""
        at = self.opened(io)
        section = at.section(io, unit)
        url = at.url("solutions", unit, ".maps")
        data = io.get(url)
        if data is None:
            raise DataError(f"{url}: the section is not solved; run `stitch solve` first")
        maps, _ = solutions.decode(data, url)
        if len(maps) != len(section.tiles):
            raise DataError(f"{url}: has {len(maps)} maps for {len(section.tiles)} tiles; run `stitch solve` again")
        head = _grid(maps, _factor(section), section.channels)
        toned = Toned(io, at, section, tones.of_tiles(io, at, section))
        screen = (2.0 * head.factor / _side(section)) ** 2
        found = np.zeros((head.blocks[0] * shades.BLOCK, head.blocks[1] * shades.BLOCK, head.channels), np.float32)
        for channel in range(head.channels if maps else 0):
            mosaic = shading.Mosaic((found.shape[0], found.shape[1]))
            for one, values in toned(one for one in Thumbnails(io, at, section) if one.channel == channel):
                _add(mosaic, head, maps[one.tile], values, one.factor)
            found[:, :, channel] = mosaic.shade(screen)
        io.put(at.url("shades", unit, ".shade"), shades.encode(found, head.factor, head.origin))
        io.note(largest=float(np.abs(found).max(initial=0.0)))


@dataclass(frozen=True, kw_only=True)
class Levels(Intensity, name="stitch levels"):
    """Find the gain and the offset of each section that make it as bright as those around it.

    Dark, middle and bright values (1, 50 and 99 of 100) are brought to their medians over five sections; slow changes
    over many stay. Needs what `stitch balance` wrote.
    """

    example = "./montage"

    def places(self, io: IO) -> tuple[str, ...]:
        """The folder of the levels."""
        return (f"{self.montage}/levels",)

    def peak_bytes(self, unit: int, io: IO) -> int:
        """Next to nothing."""
        return _LEAST

    def execute(self, unit: int, io: IO) -> None:
        """One section."""
        at = self.opened(io)
        near = [z for z in at.zs if abs(z - unit) <= _REACH]
        found = {z: self._of(io, at, z) for z in near}
        pairs = []
        for channel, own in enumerate(found[unit]):
            others = [found[z][channel] for z in near if found[z][channel] is not None]
            pairs.append((1.0, 0.0) if own is None else toning.level(own, others))
        gains, offsets = ([pair[n] for pair in pairs] for n in (0, 1))
        io.put_json(at.url("levels", unit, ".json"), {"gain": gains, "offset": offsets})
        io.note(gain=gains, offset=offsets)

    def said(self, io: IO) -> str:
        """How much sections differ from those around them."""
        at = self.opened(io)
        found = [io.get_json(at.url("levels", row.z, ".json")) for row in sampled(at.rows)]
        gains = [gain for one in found if one is not None for gain in one["gain"]] or [1.0]
        return f"gains of sections: {min(gains):.3f} to {max(gains):.3f}"

    def _of(self, io: IO, at: Montage, z: int) -> list[Any]:
        url = at.url("tones", z, ".json")
        found = io.get_json(url)
        if found is None:
            raise DataError(f"{url}: it is not known how bright the section is; run `stitch balance` first")
        quantiles: list[Any] = found["quantiles"]
        return quantiles


@dataclass(frozen=True, kw_only=True)
class All(Intensity, Chain, name="stitch intensity"):
    """Make the grey values of a montage even: tones, shades where wanted, and levels, one after the other.

    `stitch flatfield` comes long before, for `stitch match` measures the levels of flat pictures.
    """

    example = "./montage -p 4"

    shade: bool = opt(False, "Mend shading within tiles, too; where there is none, it adds up to a grey level.")

    def steps(self, io: IO) -> Iterator[Stage]:
        """The tiles, the places, the sections."""
        for cls in (Balance, Shade, Levels) if self.shade else (Balance, Levels):
            yield self.step(cls)


def _key(section: Section, tile: Placed) -> bytes:
    return blake2b(f"{section.z}/{tile.tile}".encode(), digest_size=16).digest()


def _place(tile: Placed) -> bytes:
    """Where a tile is: those of one place in many sections show the same tissue, and count as one."""
    about = round(tile.y / tile.height), round(tile.x / tile.width)
    lattice = tile.row is not None and tile.col is not None
    return repr((tile.row, tile.col) if lattice else about).encode()


def _share(sections: int) -> int:
    """How many tiles of each of so many sections a flat field is made of."""
    return -(-_MOST // max(sections, 1))


def _field(
    found: dict[tuple[int, bytes], tuple[bytes, Array]], channel: int, size: tuple[int, int], factor: int
) -> Array | None:
    """The nodes of a channel's field; None where its tiles show too few places."""
    own = [found[key] for key in sorted(found) if key[0] == channel]
    numbers = {place: n for n, place in enumerate(sorted({place for place, _ in own}))}
    if len(numbers) < flat_field.FEWEST:
        return None
    group = np.array([numbers[place] for place, _ in own])
    field = flat_field.field(np.stack([values for _, values in own]), group)
    return flat_nodes.nodes(field, size, factor)


def _matched(io: IO, at: Montage, section: Section) -> dict[str, Array]:
    """The pairs of a section that were matched, with their levels."""
    names = ("pair", "status", "mean", "spread", "area")
    parts = list(at.matches(io, section.z, names))
    if not parts:
        none = np.zeros((0, section.channels, 2))
        return {"pair": np.zeros((0, 2), int), "mean": none, "spread": none, "area": np.zeros(0)}
    found = {key: np.concatenate([part[key] for part in parts]) for key in names}
    sure = found.pop("status") == 0
    return {key: column[sure] for key, column in found.items()}


def _known(found: dict[str, Array], channel: int) -> tuple[Array, Array, Array, Array]:
    """Pairs, means, spreads and areas of a channel, where all are numbers."""
    mean, spread = found["mean"][:, channel].astype(np.float64), found["spread"][:, channel].astype(np.float64)
    area = found["area"].astype(np.float64)
    fine = np.isfinite(mean).all(axis=1) & np.isfinite(spread).all(axis=1) & (area > 0)
    return found["pair"][fine], mean[fine], spread[fine], area[fine]


def _quantiles(io: IO, at: Montage, section: Section, both: Array) -> list[list[float] | None]:
    """Of each channel how dark, middling and bright it is."""
    white = _white(np.dtype(section.dtype))
    counted = np.zeros((section.channels, toning.BINS), np.int64)
    for one, values in Toned(io, at, section, both)(Thumbnails(io, at, section)):
        counted[one.channel] += toning.counts(values, white)
    return [toning.quantiles(counts, white) for counts in counted]


def _white(kind: np.dtype[Any]) -> float:
    """A value of which values of a type are at most 1.5 times, and at least minus a half."""
    return float(2 ** (8 * kind.itemsize) - 1) if kind.kind in "iu" else 1.0


def _factor(section: Section) -> int:
    """Pixels along a sample: as coarse as the coarsest of the tiles' pictures."""
    return max((thumbnail_factor(tile.width, tile.height) for tile in section.tiles), default=1)


def _side(section: Section) -> float:
    """The shorter side of a tile, in pixels."""
    return float(np.median([min(tile.width, tile.height) for tile in section.tiles] or [1]))


def _grid(maps: Sequence[TileMap], factor: int, channels: int) -> shades.Head:
    """Whole blocks that hold all tiles, at multiples of a block, so that a tile that moves a little moves none."""
    if not maps:
        return shades.Head(channels, factor, (0, 0), (0, 0))
    boxes = np.array([one.box() for one in maps])
    block = factor * shades.BLOCK
    low = np.floor(boxes[:, :2].min(axis=0) / block).astype(int)
    high = np.ceil(boxes[:, 2:].max(axis=0) / block).astype(int)
    x, y = (low * block).tolist()
    nx, ny = (high - low).tolist()
    return shades.Head(channels, factor, (x, y), (nx, ny))


def _add(mosaic: shading.Mosaic, head: shades.Head, where: TileMap, values: Array, factor: int) -> None:
    """A tile to the mosaic: the samples in its box."""
    x0, y0, x1, y1 = where.box()
    low = [int((a - o) // head.factor) for a, o in zip((x0, y0), head.origin, strict=True)]
    high = [int((b - o) // head.factor) + 1 for b, o in zip((x1, y1), head.origin, strict=True)]
    shape = mosaic.weights.shape
    ranges = [range(max(a, 0), min(b, n)) for a, b, n in zip(low, high, shape, strict=True)]
    centres = [o + (np.array(r) + 0.5) * head.factor - 0.5 for o, r in zip(head.origin, ranges, strict=True)]
    points = np.stack(np.meshgrid(*centres, indexing="ij"), axis=-1)
    mosaic.add((ranges[0].start, ranges[1].start), *shading.placed(values, where, factor, points))
