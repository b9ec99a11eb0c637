"""Where neighbouring tiles lie to each other, from their pixels."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng import pictures, tones, words
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import columns
from igneous_ng.io import IO
from igneous_ng.kernels.common_levels import NOTHING, levels
from igneous_ng.kernels.overlaps import Match, Status, matched
from igneous_ng.kernels.views import View
from igneous_ng.montage import BATCH, Montage, Placed, Section
from igneous_ng.stage import LayerUrl, Stage, arg, opt, sampled

Array = npt.NDArray[Any]
Pair = tuple[int, int]
_SMALL = 60_000_000  # bytes: a section's file, its tiles and pairs, matches, what libraries keep
_WORK = 72  # bytes for each pixel of two strips that are compared
_STRAIGHT = 1e-3  # how much of a turn or stretch needs no resampling
_QUARTER = 4  # of a tile: farther than that no stage errs


@dataclass(frozen=True, kw_only=True)
class Matching(Stage, name="stitch match"):
    """Find out how neighbouring tiles lie to each other, and how sure that is; pairs that show nothing are left out.

    Flat fields are applied where `stitch flatfield` has left them. Each task matches 150 pairs of a section.
    """

    example = "./montage --margin 60 -p 4"

    montage: LayerUrl = arg("Folder of the montage, in which `ingest register` has listed the tiles.")
    margin: int = opt(100, "How far the stage may err between neighbours, in pixels; at most a quarter of a tile.")
    channel: int = opt(0, "The channel that is compared.")

    def check(self) -> None:
        """There is something to search, and a channel."""
        if self.margin < 1:
            raise SpecError(f"stitch match.margin: {self.margin}; a stage errs by some pixels, give at least 1")
        if self.channel < 0:
            raise SpecError(f"stitch match.channel: {self.channel}; channels are counted from 0")

    def home(self) -> str:
        """The montage keeps what is found."""
        return self.montage

    def places(self, io: IO) -> tuple[str, ...]:
        """The folder of matches."""
        return (f"{self.montage}/matches",)

    def prepare(self, io: IO) -> None:
        """The channel must be there."""
        channels = Montage.open(io, self.montage).channels
        if self.channel >= channels:
            raise SpecError(f"stitch match.channel: {self.channel}, and tiles have {words.count(channels, 'channel')}")

    def units(self, io: IO) -> Sequence[tuple[int, int]]:
        """Batches of 150 pairs of each section."""
        return Montage.open(io, self.montage).batches

    def peak_bytes(self, unit: tuple[int, int], io: IO) -> int:
        """One comparison, and as many decoded tiles as memory holds, at least two."""
        section = Montage.open(io, self.montage).section(io, unit[0])
        need = _Need.of(section, _pairs(section, unit[1]), self.margin)
        return need.work + need.kept(self.memory)

    def execute(self, unit: tuple[int, int], io: IO) -> None:
        """Match the pairs of one batch."""
        montage = Montage.open(io, self.montage)
        section = montage.section(io, unit[0])
        pairs = _pairs(section, unit[1])
        tiles = _Tiles(io, self.montage, section, _Need.of(section, pairs, self.margin).kept(self.memory))
        table = _Table(section.channels)
        for pair in pairs:
            table.add(pair, *self._match(tiles, pair))
        io.put(montage.match_url(*unit), columns.pack(table.columns()))
        io.note(pairs=len(pairs), **table.told())

    def said(self, io: IO) -> str:
        """How many pairs were matched, of all or, where these are many, of some."""
        montage = Montage.open(io, self.montage)
        count = Counter[int]()
        for unit in sampled(montage.batches):
            url = montage.match_url(*unit)
            if (data := io.peek(url)) is not None:
                count.update(columns.unpack(data, url, ("status",))["status"].tolist())
        scope = " looked at" if len(montage.batches) > len(sampled(montage.batches)) else ""
        rest = ", ".join(f"{count[kind]} {kind.name.lower()}" for kind in Status if kind != Status.MATCHED)
        return f"{count[Status.MATCHED]} of {words.count(count.total(), 'pair')}{scope} matched; {rest}"

    def _match(self, tiles: _Tiles, pair: Pair) -> tuple[Match, Array]:
        """The match of a pair, and of each channel mean and spread of both tiles and their area, ``[channel, 5]``."""
        a, b = (tiles.section.tiles[n] for n in pair)
        between, expected = _expected(a, b)
        views = [(tiles.view(pair[0], c, None), tiles.view(pair[1], c, between)) for c in range(tiles.section.channels)]
        found = matched(*views[self.channel], expected, _margin(self.margin, a, b))
        same = [NOTHING] * len(views)
        if found.status == Status.MATCHED:
            same = [levels(*both, found.shown) for both in views]
        return found, np.array([(*one.mean, *one.spread, one.area) for one in same])


def _pairs(section: Section, batch: int) -> tuple[Pair, ...]:
    return section.pairs[batch * BATCH : (batch + 1) * BATCH]


def _margin(margin: int, a: Placed, b: Placed) -> int:
    return max(1, min(margin, min(a.width, a.height, b.width, b.height) // _QUARTER))


def _expected(a: Placed, b: Placed) -> tuple[Array | None, tuple[float, float]]:
    """How the second tile is turned and stretched to the first, if it is, and then how far it is meant to lie."""
    back = np.linalg.inv(np.array(a.matrix).reshape(2, 2))
    between = back @ np.array(b.matrix).reshape(2, 2)
    x, y = (back @ [b.x - a.x, b.y - a.y]).tolist()
    straight = bool(np.abs(between - np.eye(2)).max() < _STRAIGHT)
    return None if straight else between, (x, y)


@dataclass(frozen=True)
class _Need:
    """Bytes that a batch takes: for one comparison, for two of its tiles, and for all of them."""

    work: int
    two: int
    all: int

    @classmethod
    def of(cls, section: Section, pairs: Sequence[Pair], margin: int) -> _Need:
        """From the sizes of tiles alone."""
        depth = np.dtype(section.dtype).itemsize * section.channels
        sizes = {n: section.tiles[n].width * section.tiles[n].height * depth for pair in pairs for n in pair}
        strips = [_strips(section.tiles[i], section.tiles[j], margin) for i, j in pairs]
        largest = max(sizes.values(), default=0)
        return cls(_SMALL + _WORK * max(strips, default=0) + 2 * largest, 2 * largest, sum(sizes.values()))

    def kept(self, memory: int) -> int:
        """Bytes of tiles that are kept decoded."""
        return max(self.two, min(self.all, memory - self.work))


def _strips(a: Placed, b: Placed, margin: int) -> int:
    """Pixels of the larger of the two strips that are compared, at the wider search."""
    reach = 2 * _margin(margin, a, b)
    low, high = np.maximum(a.box[:2], b.box[:2]) - reach, np.minimum(a.box[2:], b.box[2:]) + reach
    width, height = np.minimum(high - low, [max(a.width, b.width), max(a.height, b.height)])
    return int(max(width, 0) * max(height, 0))


class _Tiles:
    """The pictures of a section: the latest used are kept decoded, so many that they take ``limit`` bytes."""

    def __init__(self, io: IO, home: str, section: Section, limit: int) -> None:
        self.section = section
        self._io, self._home, self._limit = io, home, limit
        self._kept: OrderedDict[int, Array] = OrderedDict()
        self._flats: dict[str, Array | None] = {}

    def view(self, index: int, channel: int, matrix: Array | None) -> View:
        """A channel of a tile."""
        flat = self._flat(self.section.tiles[index].camera)
        return View(self._pixels(index)[:, :, channel], None if flat is None else flat[:, :, channel], matrix)

    def _pixels(self, index: int) -> Array:
        if index not in self._kept:
            tile = self.section.tiles[index]
            size = tile.width * tile.height * self.section.channels * np.dtype(self.section.dtype).itemsize
            while self._kept and sum(one.nbytes for one in self._kept.values()) + size > self._limit:
                self._kept.popitem(last=False)
            self._kept[index] = self._loaded(tile)
        self._kept.move_to_end(index)
        return self._kept[index]

    def _loaded(self, tile: Placed) -> Array:
        loaded = [pictures.load(self._io, picture) for picture in tile.pictures]
        pixels = loaded[0] if len(loaded) == 1 else np.concatenate(loaded, axis=2)
        wanted = (tile.width, tile.height, self.section.channels), self.section.dtype
        if (pixels.shape, pixels.dtype.name) != wanted:
            raise DataError(
                f"{tile.pictures[0].url}: is {pixels.dtype.name} {pixels.shape}, and registered as {wanted[1]} "
                f"{wanted[0]}; run `ingest verify` and `ingest register` again"
            )
        return pixels

    def _flat(self, camera: str) -> Array | None:
        """The flat field of a camera, float32 ``[x, y, channel]``, if there is one."""
        if camera not in self._flats:
            self._flats[camera] = tones.flat(self._io, self._home, camera)
        return self._flats[camera]


@dataclass
class _Table:
    """The matches of a batch, as they are stored."""

    channels: int
    pairs: list[Pair] = field(default_factory=list)
    found: list[Match] = field(default_factory=list)
    levels: list[Array] = field(default_factory=list)

    def add(self, pair: Pair, found: Match, levels: Array) -> None:
        """A row."""
        self.pairs.append(pair)
        self.found.append(found)
        self.levels.append(levels)

    def columns(self) -> dict[str, Array]:
        """See ``docs/design/019``."""
        n, seen = len(self.pairs), np.array(self.levels, np.float32).reshape(-1, self.channels, 5)
        none = [np.zeros((0, 2))]
        return {
            "pair": np.array(self.pairs, np.int32).reshape(n, 2),
            "status": np.array([one.status for one in self.found], np.uint8),
            "shift": np.array([one.shift for one in self.found], np.float64).reshape(n, 2),
            "confidence": np.array([one.confidence for one in self.found], np.float32),
            "mean": seen[:, :, 0:2],
            "spread": seen[:, :, 2:4],
            "area": np.where(np.isnan(seen[:, 0, 0]), np.float32(np.nan), seen[:, 0, 4]),
            "of": np.repeat(np.arange(n, dtype=np.int32), [len(one.p) for one in self.found]),
            "p": np.concatenate([*none, *(one.p for one in self.found)]),
            "q": np.concatenate([*none, *(one.q for one in self.found)]),
            "weight": np.concatenate([np.zeros(0, np.float32), *(one.weight for one in self.found)]),
        }

    def told(self) -> dict[str, int]:
        """How many pairs came to what."""
        count = Counter(one.status for one in self.found)
        return {kind.name.lower(): count[kind] for kind in Status}
