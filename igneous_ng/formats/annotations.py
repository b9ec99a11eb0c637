"""Precomputed annotations: bytes of what Neuroglancer draws and finds.

Source: "Precomputed annotation format" of Neuroglancer (src/datasource/precomputed/annotations.md). An annotation is
its points, float32, and its properties: those of 4 bytes, of 2, of 1 byte and colours, then zeros to a multiple of 4.
By its id it is stored with the segments of each relationship; with others, by segment or by cell, in lists: how many,
their records, their ids.

Two traps are kept away from. int8 is two bytes for older clients, so there is none here; and clients pad a group of
properties that would end beyond 255 bytes in a way that is nowhere described, so 200 bytes is the most.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats.pieces import Lists, Pieces, ends_of, side_by_side
from igneous_ng.native import ragged

Array = npt.NDArray[Any]
Kind = Literal["point", "line", "box", "ellipsoid", "polyline"]
TYPE = "neuroglancer_annotations_v1"
TYPES: dict[Kind, str] = {
    "point": "POINT",
    "line": "LINE",
    "box": "AXIS_ALIGNED_BOUNDING_BOX",
    "ellipsoid": "ELLIPSOID",
    "polyline": "POLYLINE",
}
POINTS: dict[Kind, int] = {"point": 1, "line": 2, "box": 2, "ellipsoid": 2}
"""Points of an annotation: of an ellipsoid its centre and its radii. A polyline has its own number of them."""
VALUES: dict[str, tuple[str, int]] = {
    "uint32": ("<u4", 1),
    "int32": ("<i4", 1),
    "float32": ("<f4", 1),
    "uint16": ("<u2", 1),
    "int16": ("<i2", 1),
    "uint8": ("|u1", 1),
    "rgb": ("|u1", 3),
    "rgba": ("|u1", 4),
}
"""The types of properties, and how many numbers of what type each is."""
_MOST = 200  # bytes of all properties
_NAME = re.compile(r"[a-z][a-zA-Z0-9_]*")


@dataclass(frozen=True)
class Property:
    """What each annotation says, a number or a colour; numbers may have names: ``values`` and their ``labels``."""

    id: str
    type: str
    values: tuple[int, ...] = ()
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.id):
            raise SpecError(f"property {self.id!r}: names begin with a small letter; then letters, digits and _ follow")
        if self.type == "int8":
            raise SpecError(f"property {self.id}: older clients read int8 as two bytes; ask for {self.id}:int16")
        if self.type not in VALUES:
            raise SpecError(f"property {self.id}: type {self.type!r} is none of {', '.join(VALUES)}")
        if self.values and self.type in ("rgb", "rgba"):
            raise SpecError(f"property {self.id}: a colour has no named values")

    def to_json(self) -> dict[str, Any]:
        """As it stands in ``info``."""
        named = {"enum_values": list(self.values), "enum_labels": list(self.labels)} if self.values else {}
        return {"id": self.id, "type": self.type, **named}

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> Property:
        """What :meth:`to_json` gave."""
        return cls(raw["id"], raw["type"], tuple(raw.get("enum_values", ())), tuple(raw.get("enum_labels", ())))


def layout(properties: Sequence[Property]) -> np.dtype[Any]:
    """How the properties of an annotation lie; SpecError where they are too large, or two have one name."""
    names = [one.id for one in properties]
    if twice := [name for name in names if names.count(name) > 1]:
        raise SpecError(f"property {twice[0]}: asked for twice; name it once")
    fields = [(one.id, *VALUES[one.type]) for one in properties]
    ordered = sorted(fields, key=lambda field: -np.dtype(field[1]).itemsize)  # stable
    parts: list[Any] = [(name, kind) if count == 1 else (name, kind, count) for name, kind, count in ordered]
    size = np.dtype(parts).itemsize
    if size > _MOST:
        raise SpecError(f"properties of {size} bytes: clients read up to {_MOST} without fail; leave some out")
    return np.dtype(parts + [("", "|u1", -size % 4)] * (size % 4 > 0))


def info(kind: Kind, ends: tuple[Sequence[int], Sequence[int]], resolution: Sequence[float],
         properties: Sequence[Property], indices: tuple[Any, Any, Any]) -> dict[str, Any]:  # fmt: skip
    """The ``info`` of a layer from ``ends[0]`` to ``ends[1]``, in units of ``resolution`` nm; ``indices``: by id, by

    relationship and by place, as they stand there.
    """
    by_id, relationships, spatial = indices
    return {
        "@type": TYPE,
        "dimensions": {axis: [float(f"{size!r}e-9"), "m"] for axis, size in zip("xyz", resolution, strict=True)},
        "lower_bound": list(ends[0]),
        "upper_bound": list(ends[1]),
        "annotation_type": TYPES[kind],
        "properties": [one.to_json() for one in properties],
        "relationships": relationships,
        "by_id": by_id,
        "spatial": spatial,
    }


def records(
    kind: Kind, points: Array, ends: Array, properties: Sequence[Property], values: Mapping[str, Array]
) -> Pieces:
    """The record of each annotation; that of i has ``points`` [m, 3] from ``ends[i]`` to ``ends[i + 1]``."""
    count = len(ends) - 1
    said = np.zeros(count, layout(properties))
    for one in properties:
        said[one.id] = values[one.id]
    plain = np.ascontiguousarray(points, "<f4")
    shapes = Pieces(plain.reshape(-1).view(np.uint8), ends * 12)
    parts = [shapes, Pieces.equal(said)] if properties else [shapes]
    if kind == "polyline":
        parts.insert(0, Pieces.equal(np.diff(ends).astype("<u4")))
    return side_by_side(parts) if len(parts) > 1 else shapes


def by_id(found: Pieces, related: Sequence[Lists]) -> Pieces:
    """What is stored by id: the records, with the segments of each relationship."""
    parts = [found]
    for one in related:
        parts.append(Pieces.equal(one.counts.astype("<u4")))
        parts.append(Pieces(one.values.astype("<u8").view(np.uint8), one.ends * 8))
    return side_by_side(parts)


def lists(found: Pieces, ids: Array, bounds: Array) -> Pieces:
    """Lists of annotations: the records, with their ids, from ``bounds[i]`` to ``bounds[i + 1]``."""
    counts = np.diff(bounds)
    sizes = 8 + 8 * counts + found.ends[bounds[1:]] - found.ends[bounds[:-1]]
    ends = ends_of(sizes)
    out = np.empty(ends[-1], np.uint8)
    words, named = counts.astype("<u8").view(np.uint8), ids.astype("<u8").view(np.uint8)
    eight = np.full(len(counts), 8, np.int64)
    ragged.copy(words, np.arange(len(counts)) * 8, eight, out, ends[:-1])
    ragged.copy(found.data, found.ends[bounds[:-1]], sizes - 8 - 8 * counts, out, ends[:-1] + 8)
    ragged.copy(named, bounds[:-1] * 8, 8 * counts, out, ends[1:] - 8 * counts)
    return Pieces(out, ends)


@dataclass(frozen=True)
class Annotation:
    """One annotation, as it was read: its points [n, 3], its properties, its segments by relationship if known."""

    points: Array
    values: dict[str, Any]
    related: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True)
class Reader:
    """Reads what :func:`by_id` and :func:`lists` make; DataError, naming where, for other bytes."""

    kind: Kind
    properties: tuple[Property, ...]
    relationships: int

    @classmethod
    def of(cls, info: Mapping[str, Any]) -> Reader:
        """The reader of the layer that ``info`` describes."""
        kind = next(kind for kind, name in TYPES.items() if name == info["annotation_type"].upper())
        return cls(kind, tuple(map(Property.parse, info["properties"])), len(info["relationships"]))

    def one(self, data: bytes, where: str) -> Annotation:
        """An annotation by its id."""
        try:
            found, at = self._record(data, 0)
            related = []
            for _ in range(self.relationships):
                count = int(np.frombuffer(data, "<u4", 1, at)[0])
                related.append(tuple(np.frombuffer(data, "<u8", count, at + 4).tolist()))
                at += 4 + 8 * count
            if at != len(data):
                raise ValueError(f"{len(data) - at} bytes are left")
        except (ValueError, IndexError) as error:
            raise DataError(f"{where}: not an annotation ({error}); write it again") from error
        return Annotation(found.points, found.values, tuple(related))

    def many(self, data: bytes, where: str) -> dict[int, Annotation]:
        """A list of annotations, by id, in its order."""
        try:
            count, at, found = int(np.frombuffer(data, "<u8", 1)[0]), 8, []
            for _ in range(count):
                one, at = self._record(data, at)
                found.append(one)
            ids = np.frombuffer(data, "<u8", count, at).tolist()
            if at + 8 * count != len(data):
                raise ValueError(f"{len(data) - at - 8 * count} bytes are left")
        except (ValueError, IndexError) as error:
            raise DataError(f"{where}: not a list of annotations ({error}); write it again") from error
        return dict(zip(ids, found, strict=True))

    def _record(self, data: bytes, at: int) -> tuple[Annotation, int]:
        count = POINTS.get(self.kind)
        if count is None:
            count, at = int(np.frombuffer(data, "<u4", 1, at)[0]), at + 4
        points = np.frombuffer(data, "<f4", 3 * count, at).reshape(-1, 3)
        at += 12 * count
        kind = layout(self.properties)
        said = np.frombuffer(data, kind, 1, at)[0] if self.properties else {}
        return Annotation(points, {one.id: said[one.id].tolist() for one in self.properties}), at + kind.itemsize
