"""What the stages share that make a layer of annotations: rows, what was asked and found, and how files are cut."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.annotation_sources import FileSource, Source, SynapseSource
from igneous_ng.desks import Desk
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import annotation_columns, portions
from igneous_ng.formats.annotations import VALUES, Kind, Property
from igneous_ng.formats.pieces import Lists, Pieces, ends_of
from igneous_ng.formats.portions import Entries
from igneous_ng.formats.sharding import Hash, Layout, Spec
from igneous_ng.geometry import Vec3, Vec3f, vec
from igneous_ng.kernels import annotation_levels
from igneous_ng.kernels.annotation_levels import Cells

Array = npt.NDArray[Any]
SHARD = 32 << 20  # bytes of a shard before it is packed, about
_KEYS = 10  # bits: keys of a minishard
_MINISHARDS = 12  # bits: a shard index of 64 KiB
_DEFAULTS = {"uint64": "int32", "int64": "int32", "int8": "int16", "bool": "uint8", "float64": "float32",
             "float16": "float32", "uint8x3": "rgb", "uint8x4": "rgba"}  # fmt: skip


@dataclass(frozen=True)
class Frame:
    """What an annotation is, from ``low`` to ``high`` in units of ``resolution`` nm, and how the source is cut.

    Pieces are of ``run`` blocks. ``id_bits``: bits of ids that tell places; 0 where shards go by a hash. Where rows
    have no ids they are ``numbered``, from 1 on.
    """

    kind: Kind
    properties: tuple[Property, ...]
    relationships: tuple[str, ...]
    low: Vec3
    high: Vec3
    resolution: Vec3f
    limit: int
    run: int
    id_bits: int
    numbered: bool

    def to_json(self) -> dict[str, Any]:
        """The frame in JSON's types."""
        plain = {key: list(value) if isinstance(value, tuple) else value for key, value in vars(self).items()}
        return {**plain, "properties": [one.to_json() for one in self.properties]}

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> Frame:
        """What :meth:`to_json` gave."""
        x, y, z = map(float, raw["resolution"])
        parts = {
            "properties": tuple(map(Property.parse, raw["properties"])),
            "relationships": tuple(raw["relationships"]),
            "low": vec(raw["low"]),
            "high": vec(raw["high"]),
            "resolution": (x, y, z),
        }
        return cls(**{**raw, **parts})

    @property
    def grid(self) -> Cells:
        """The grids of cells."""
        extent = vec(b - a for a, b in zip(self.low, self.high, strict=True))
        return Cells(self.low, extent, self.resolution)

    @property
    def columns(self) -> set[str]:
        """The columns of the source that are wanted."""
        properties = {one.id for one in self.properties}
        return {"id", *annotation_columns.PLACES[self.kind], *properties, *self.relationships}


@dataclass(frozen=True)
class Rows:
    """Annotations: ids, uint64 [n]; points, float32 [m, 3], and their ``ends`` [n + 1]; properties; segments."""

    ids: Array
    points: Array
    ends: Array
    values: dict[str, Array]
    related: tuple[Lists, ...]


def of_rows(rows: Rows, which: Array) -> tuple[Array, Array]:
    """The points of some annotations, and where those of each begin and the last ends."""
    found = Pieces(rows.points.reshape(-1).view(np.uint8), rows.ends * 12).take(which)
    return found.data.view(np.float32).reshape(-1, 3), found.ends // 12


def read_rows(columns: annotation_columns.Columns, frame: Frame, first: int | None, where: str) -> Rows:
    """The annotations of a block; DataError, naming ``where``, for one that cannot be.

    Those without ids are numbered from ``first`` on.
    """
    points, ends = annotation_columns.places(columns, frame.kind, where)
    check_places(points, where)
    if frame.kind == "ellipsoid" and (points[1::2] < 0).any():
        raise DataError(f"{where}: radii of {points[1::2].min():g} units; radii are 0 or positive")
    inside = points[::2] if frame.kind == "ellipsoid" else points
    outside = ((inside < frame.low) | (inside > frame.high)).any(axis=1)
    if outside.any():
        raise DataError(f"{where}: {inside[outside][0].tolist()} lies outside {frame.low} to {frame.high}; mend it, or "
                        "give larger --bounds")  # fmt: skip
    count = len(ends) - 1
    values = {one.id: cast(_column(columns, one.id, where), one, where) for one in frame.properties}
    related = tuple(_segments(_column(columns, name, where), f"{where}, column {name}") for name in frame.relationships)
    ids = _ids(columns["id"], where) if first is None else np.arange(first, first + count, dtype=np.uint64)
    return Rows(ids, points.astype(np.float32), ends, values, related)


def check_places(points: Array, where: str) -> None:
    """DataError where a point is nowhere."""
    bad = ~np.isfinite(points).all(axis=1)
    if bad.any():
        raise DataError(f"{where}: a point at {points[bad][0].tolist()}; remove it")


def _column(columns: annotation_columns.Columns, name: str, where: str) -> Array | Lists:
    if name not in columns:
        raise SpecError(f"{where}: there is no column {name!r}; there are {', '.join(sorted(columns))}")
    return columns[name]


def _ids(column: Array | Lists, where: str) -> Array:
    if isinstance(column, Lists) or column.dtype.kind not in "iu" or (column.dtype.kind == "i" and (column < 0).any()):
        raise DataError(f"{where}: the column id is to hold integers from 0 to 2**64 - 1")
    return column.astype(np.uint64)


def _segments(column: Array | Lists, where: str) -> Lists:
    values = column.values if isinstance(column, Lists) else column
    if len(values) and (values.dtype.kind not in "iu" or (values.dtype.kind == "i" and (values < 0).any())):
        raise DataError(f"{where}: segments are integers from 0 to 2**64 - 1; 0 is none")
    if isinstance(column, Lists):
        there = values != 0
        return Lists(values[there].astype(np.uint64), ends_of(there)[column.ends])
    return Lists.of_one(values.astype(np.uint64))


def type_of(column: Array | Lists) -> str:
    """What a column holds, in a word: the name of its type, with the width of colours, or text."""
    if isinstance(column, Lists):
        return "lists"
    if column.dtype.kind not in "biuf":
        return "text"
    return column.dtype.name if column.ndim == 1 else f"{column.dtype.name}x{column.shape[1]}"


def property_of(text: str, types: Sequence[str]) -> Property:
    """The property that ``NAME``, ``NAME:TYPE`` or ``NAME:TYPE:0=one|1=other`` asks for, given what columns hold."""
    name, _, rest = text.partition(":")
    kind, _, named = rest.partition(":")
    pairs = [pair.partition("=") for pair in named.split("|")] if named else []
    try:
        values = tuple(int(value) for value, _, _ in pairs)
    except ValueError:
        raise SpecError(f"property {text!r}: write NAME:TYPE:0=one|1=other for named values") from None
    return Property(name, kind or _usual(name, types, bool(pairs)), values, tuple(label for _, _, label in pairs))


def _usual(name: str, types: Sequence[str], named: bool) -> str:
    """The type for a column that holds ``types``."""
    if not types or set(types) == {"text"}:
        return "uint8" if named or not types else "rgb"
    try:
        found = types[0] if len(set(types)) == 1 else np.result_type(*types).name
    except TypeError:
        found = "numbers and text"
    kind = _DEFAULTS.get(found, found)
    if kind not in VALUES:
        raise SpecError(f"property {name}: its column holds {found}; properties are numbers or colours")
    return kind


def cast(column: Array | Lists, asked: Property, where: str) -> Array:
    """A column as the type of a property; DataError for what that cannot say."""
    where = f"{where}, column {asked.id}"
    if isinstance(column, Lists):
        raise DataError(f"{where}: a property is one number, not a list")
    kind, width = VALUES[asked.type]
    if column.dtype.kind == "U" and len(column):
        column = _colours(column, width, where) if width > 1 else _named(column, asked, where)
    if width > 1 and len(column) and column.shape[1:] != (width,):
        raise DataError(f"{where}: {asked.type} is #rrggbb or #rrggbbaa, or {width} numbers of a row")
    if asked.type == "float32" or not len(column):
        return column.astype(np.float32) if len(column) else np.zeros((0, width)[: 1 + (width > 1)], kind)
    limits = np.iinfo(kind)
    whole = (column >= limits.min) & (column <= limits.max) & (column == np.floor(column))
    if not whole.all():
        there = ", ".join(VALUES)
        raise DataError(f"{where}: {column[~whole][0]} is no {asked.type}; ask for {asked.id}:TYPE, one of {there}")
    return column.astype(kind)


def _colours(column: Array, width: int, where: str) -> Array:
    try:
        parts = [bytes.fromhex(text.strip().removeprefix("#")) for text in column.tolist()]
        return np.frombuffer(b"".join(parts), np.uint8).reshape(len(column), width)
    except ValueError as error:
        raise DataError(f"{where}: colours are #rrggbb, or #rrggbbaa for rgba ({error})") from error


def _named(column: Array, asked: Property, where: str) -> Array:
    known = dict(zip(asked.labels, asked.values, strict=True))
    try:
        return np.array([known[text.strip()] for text in column.tolist()])
    except KeyError as error:
        raise DataError(f"{where}: {error} has no number; ask for {asked.id}:uint8:0=one|1=other") from error


@dataclass(frozen=True)
class Index:
    """One way to find annotations: files in the folder ``key``. Of a spatial level ``halved`` says the grid."""

    key: str
    spec: Spec
    halved: Vec3 | None = None

    @property
    def shards(self) -> int:
        """How many files there can be."""
        return 1 << self.spec.shard_bits

    def to_json(self) -> dict[str, Any]:
        """The index in JSON's types."""
        return {"key": self.key, "sharding": self.spec.to_json(), "halved": self.halved and list(self.halved)}

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> Index:
        """What :meth:`to_json` gave."""
        return cls(raw["key"], Spec.parse(raw["sharding"]), raw["halved"] and vec(raw["halved"]))


@dataclass(frozen=True)
class Plan:
    """Where levels end, by rank, and the indices: by id, by each relationship, by cell of each level."""

    thresholds: tuple[int, ...]
    indices: tuple[Index, ...]

    def to_json(self) -> dict[str, Any]:
        """The plan in JSON's types."""
        return {"thresholds": list(map(str, self.thresholds)), "indices": [one.to_json() for one in self.indices]}

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> Plan:
        """What :meth:`to_json` gave."""
        return cls(tuple(map(int, raw["thresholds"])), tuple(map(Index.parse, raw["indices"])))

    @property
    def firsts(self) -> list[int]:
        """The number of the first shard of each index, and that of all."""
        return [0, *np.cumsum([one.shards for one in self.indices]).tolist()]

    def place(self, number: int) -> tuple[int, int]:
        """The index, and the shard of it, that a number means."""
        firsts = self.firsts
        index = int(np.searchsorted(firsts, number, side="right")) - 1
        return index, number - firsts[index]


def planned(frame: Frame, counts: Array, sizes: Sequence[int]) -> Plan:
    """The plan for ``counts`` annotations in the finest cells, of so many bytes by id and by each relationship."""
    grid = frame.grid
    rows = int(counts.sum())
    ends = annotation_levels.thresholds(grid, counts, frame.limit)
    specs = [_by_key(rows, sizes[0], frame.id_bits), *(_by_key(rows, size, 0) for size in sizes[1:])]
    keys = ["by_id", *(f"rel_{name}" for name in frame.relationships)]
    found = [Index(key, spec) for key, spec in zip(keys, specs, strict=True)]
    before = 0
    for level, (halved, end) in enumerate(zip(grid.halvings, ends, strict=False)):
        size = sizes[0] * (end - before) // annotation_levels.ALL
        found.append(Index(f"spatial{level}", _by_cell(Layout(Spec(0, 0, 0), grid.shape(halved)), size), halved))
        before = end
    return Plan(tuple(ends), tuple(found))


def _bits(amount: int, each: int) -> int:
    """How often ``amount`` is to be halved so that no part is more than ``each``."""
    return max(0, -(-amount // each) - 1).bit_length()


def _by_key(keys: int, size: int, id_bits: int) -> Spec:
    shard = _bits(size, SHARD)
    minishard = min(_MINISHARDS, _bits(keys, 1 << shard + _KEYS))
    how: Hash = "identity" if id_bits else "murmurhash3_x86_128"
    return Spec(max(0, id_bits - shard - minishard), minishard, shard, how)


def _by_cell(layout: Layout, size: int) -> Spec:
    total = len(layout.axes)
    shard = min(total, _bits(size, SHARD))
    minishard = max(0, total - shard - _KEYS)
    return Spec(total - shard - minishard, minishard, shard, data_encoding="gzip")


@dataclass(frozen=True)
class Annotating(Desk):
    """The folder of work of a layer of annotations."""

    again = "run `annotate build` again"

    @property
    def url(self) -> str:
        """Where the folder is."""
        return f"{self.layer}/work"

    @cached_property
    def request(self) -> dict[str, Any]:
        """What was asked for."""
        return self._json("request", "annotate survey")

    @cached_property
    def source(self) -> Source:
        """Where annotations come from."""
        if self.request["table"]:
            return SynapseSource(self.io, self.request["source"])
        parts = json.loads(self._peek(f"{self.url}/parts.json"))  # the ledger tells what is read of each
        return FileSource(self.io, tuple((url, number, size) for url, number, size in parts))

    @cached_property
    def frame(self) -> Frame:
        """What was found of the source."""
        return Frame.parse(self._json("frame", "annotate frame"))

    @cached_property
    def plan(self) -> Plan:
        """How the layer is cut."""
        return Plan.parse(self._json("plan", "annotate plan"))

    def _json(self, what: str, command: str) -> dict[str, Any]:
        found = self.io.get_json(f"{self.url}/{what}.json")
        if not isinstance(found, dict):
            raise DataError(f"{self.url}: `{command}` has not finished; wait for it, or run it")
        return found

    def blocks(self, unit: int) -> range:
        """The blocks of a piece."""
        run = self.frame.run
        return range(unit * run, min((unit + 1) * run, len(self.source)))

    @property
    def pieces(self) -> int:
        """How many pieces there are."""
        return -(-len(self.source) // self.frame.run)

    def rows(self, block: int) -> Rows:
        """The annotations of a block."""
        columns = self.source.read(block, self.frame.columns, {"points", *self.frame.relationships})
        first = int(self._firsts[block]) if self.frame.numbered else None
        return read_rows(columns, self.frame, first, f"{self.request['source']}, block {block}")

    def block_bytes(self, block: int) -> int:
        """About how many bytes a block takes."""
        return self.source.size(block)

    @cached_property
    def _firsts(self) -> Array:
        return self.read("firsts", (0, 0, 0), ("firsts",))["firsts"]

    def portions_url(self, piece: int) -> str:
        """Where what a piece leaves for the shards is."""
        return f"{self.url}/portions/{piece}"

    def span(self, piece: int, number: int) -> tuple[int, int]:
        """Where the portion of shard ``number`` lies in what a piece left."""
        url = self.portions_url(piece)
        return portions.portion_span(self._peek(url, portions.table_span(number)), url)

    def portion(self, piece: int, number: int) -> Entries:
        """What a piece left for shard ``number``."""
        url, (start, stop) = self.portions_url(piece), self.span(piece, number)
        data = self._peek(url, (start, stop)) if stop > start else b""
        self.io.saw_part(url, number, data)
        return portions.unpack(data, url)

    def _peek(self, url: str, span: tuple[int, int] | None = None) -> bytes:
        data = self.io.peek(url, span)
        if data is None:
            raise DataError(f"{url} is missing; {self.again}")
        return data
