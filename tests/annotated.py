"""Layers of annotations for tests: drawn tables, layers read back, and what they should be, in plain Python."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng import run
from igneous_ng.formats import sharding
from igneous_ng.formats.annotations import Annotation, Reader
from igneous_ng.formats.sharding import Spec
from igneous_ng.io import IO
from igneous_ng.stages.annotate import Build

Array = npt.NDArray[Any]
KINDS = ("point", "line", "box", "ellipsoid", "polyline")
PROPERTIES = ("size", "sure:float32", "kind:uint8:0=unknown|1=excitatory|2=inhibitory", "hue:rgb")
LOW, HIGH = (-30, 5, 1000), (400, 300, 1200)


def drawn(kind: str, count: int, seed: int = 0) -> dict[str, Array]:
    """Columns of an .npz file: annotations with ids above 2**53, properties, and segments: one or none, and several."""
    rng = np.random.default_rng(seed)

    def points(n: int) -> Array:
        return rng.uniform(LOW, HIGH, (n, 3)).astype(np.float32)

    first = points(count)
    other = np.clip(first + rng.normal(0, 20, (count, 3)), LOW, HIGH).astype(np.float32)
    rows: dict[str, Array] = {"id": rng.choice(1 << 40, count, replace=False).astype(np.uint64) + np.uint64(1 << 61)}
    names = {
        "point": "x y z",
        "line": "x1 y1 z1 x2 y2 z2",
        "box": "lo_x lo_y lo_z hi_x hi_y hi_z",
        "ellipsoid": "x y z rx ry rz",
    }
    if kind == "polyline":
        counts = rng.integers(1, 6, count)
        rows["points"], rows["points_ends"] = points(int(counts.sum())), np.cumsum(counts)
    else:
        second = np.abs(first - other) if kind == "ellipsoid" else other
        rows |= dict(zip(names[kind].split(), np.hstack([first, second]).T, strict=False))
    rows["size"] = rng.integers(0, 60000, count).astype(np.uint16)
    rows["sure"], rows["kind"] = rng.random(count), rng.integers(0, 3, count)
    rows["hue"] = rng.integers(0, 256, (count, 3)).astype(np.uint8)
    rows["pre"] = rng.integers(0, 9, count).astype(np.uint64) * np.uint64((1 << 53) + 1)
    counts = rng.integers(0, 4, count)
    rows["post"], rows["post_ends"] = rng.integers(1, 30, counts.sum()).astype(np.uint64), np.cumsum(counts)
    return rows


def taken(rows: dict[str, Array], which: Array) -> dict[str, Array]:
    """Some rows of drawn ones."""
    found = {}
    for name, column in rows.items():
        if f"{name}_ends" in rows:
            parts = np.split(column, rows[f"{name}_ends"][:-1])
            found[name] = np.concatenate([column[:0], *(parts[i] for i in which)])
            found[f"{name}_ends"] = np.cumsum([len(parts[i]) for i in which]).astype(np.int64)
        elif not name.endswith("_ends"):
            found[name] = column[which]
    return found


def build(source: Path | str, layer: Path | str, **fields: Any) -> None:
    """Make a layer, each step here."""
    for step in Build(source=str(source), layer=str(layer), **fields).steps(IO()):
        run.inline(step)


def made(folder: Path) -> dict[str, bytes]:
    """The files that viewers read, but for what says how they were made."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    apart = {"runs", "work", "provenance", "environments"}
    return {str(p.relative_to(folder)): p.read_bytes() for p in files if not apart & {*p.relative_to(folder).parts}}


@dataclass(frozen=True)
class Read:
    """A layer, read back by a reader of its own."""

    info: dict[str, Any]
    by_id: dict[int, Annotation]
    related: list[dict[int, dict[int, Annotation]]]
    spatial: list[dict[int, dict[int, Annotation]]]


def stored(folder: Path, index: dict[str, Any]) -> dict[int, bytes]:
    """What an index holds, by key."""
    spec, found = Spec.parse(index["sharding"]), dict[int, bytes]()
    for path in sorted((folder / index["key"]).glob("*.shard")):
        data = path.read_bytes()
        for key, (start, stop) in sharding.all_spans(spec, int(path.stem, 16), data, str(path)).items():
            found[key] = sharding.unpacked(data[start:stop], spec.data_encoding, str(path))
    return found


def read(folder: Path) -> Read:
    """All of a layer."""
    info = json.loads((folder / "info").read_bytes())
    reader = Reader.of(info)

    def lists(index: dict[str, Any]) -> dict[int, dict[int, Annotation]]:
        return {key: reader.many(data, index["key"]) for key, data in stored(folder, index).items()}

    by_id = {key: reader.one(data, str(key)) for key, data in stored(folder, info["by_id"]).items()}
    return Read(info, by_id, [lists(one) for one in info["relationships"]], [lists(one) for one in info["spatial"]])
