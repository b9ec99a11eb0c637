"""Skeletons that are made already: copied, exported, measured and removed."""

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng import words
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import fragments, parquet_tables, sharding, swc
from igneous_ng.formats import info as infos
from igneous_ng.formats import skeleton as files
from igneous_ng.formats.arrow import arrow
from igneous_ng.formats.sharding import Spec
from igneous_ng.holdings import Holding
from igneous_ng.io import IO
from igneous_ng.kernels import morphology
from igneous_ng.stage import LayerUrl, Stage, arg, opt

Array = npt.NDArray[Any]
_READ_BYTES = 256_000_000  # of a shard, or of one skeleton, in all its forms


@dataclass(frozen=True, kw_only=True)
class OnSkeletons(Stage):
    """What works on a folder of skeletons, by shards or by parts of the labels."""

    layer: LayerUrl = arg("Layer whose skeletons are meant.")
    dir: str = opt("", "Folder of the skeletons, inside the layer; by default the one that its info names.")
    labels: tuple[int, ...] = opt((), "Only these labels; all of them where none is given.")
    parts: int = opt(32, "Tasks for skeletons that are in no shards, and shards that are made of them: a power of two.")

    def check(self) -> None:
        """Labels are labels."""
        if not 1 <= self.parts <= 1 << 20 or self.parts & (self.parts - 1):
            raise SpecError(f"{self.name}.parts: {self.parts}; give a power of two, at most 2**20")
        if bad := [label for label in self.labels if not 0 < label < 1 << 64]:
            raise SpecError(f"{self.name}.labels: {bad[0]} is no label; labels go from 1 to 2**64 - 1")

    def home(self) -> str:
        """Records lie with the layer."""
        return self.layer

    def folder(self, io: IO) -> str:
        """The name of the folder; DataError where none is known."""
        found = self.dir or io.info(self.layer).extra.get("skeletons")
        if not found:
            raise DataError(f"{self.layer} names no skeletons; give their folder as --dir, or run `skeleton merge`")
        return str(found)

    def source(self, io: IO) -> Holding:
        """The skeletons."""
        return Holding.open(io, f"{self.layer}/{self.folder(io)}", files.TYPE, self.parts)

    def units(self, io: IO) -> range:
        """Shards, or parts of the labels."""
        return self.source(io).units

    def peak_bytes(self, unit: int, io: IO) -> int:
        """A shard, or the largest skeleton that is thought of."""
        return _READ_BYTES


@dataclass(frozen=True, kw_only=True)
class SkeletonTransfer(OnSkeletons, name="skeleton transfer"):
    """Copy finished skeletons to another layer, as they are, in shards or without.

    Files can be put in shards, and shards taken apart; shards that stay as they are, are copied whole. Readers see
    the new folder when all of it is written.
    """

    example = "./seg s3://bucket/seg"

    dest: LayerUrl = arg("Layer, which exists, to copy to.")
    dest_dir: str = opt("", "Folder inside that layer; by default as it is called now.")
    sharded: bool | None = opt(None, "Whether the copy is in shards; by default as they are now.")

    def home(self) -> str:
        """Records lie with the copy."""
        return self.dest

    def places(self, io: IO) -> tuple[str, ...]:
        """The folder of the copy."""
        return (self._target(io),)

    def check(self) -> None:
        """A copy needs another place."""
        super().check()
        if self.layer == self.dest and self.dest_dir in ("", self.dir):
            raise SpecError(f"{self.name}: {self.layer} cannot be copied onto itself; name another place or --dest-dir")

    def prepare(self, io: IO) -> None:
        """There is a layer to copy to, and a way to keep the copy."""
        io.info(self.dest)
        source = self.source(io)
        if source.folder == self._target(io):
            raise SpecError(f"{self.name}: {source.folder} cannot be copied onto itself; name another --dest-dir")
        self._spec(source)

    def _target(self, io: IO) -> str:
        return f"{self.dest}/{self.dest_dir or self.folder(io)}"

    def _spec(self, source: Holding) -> Spec | None:
        """The shards of the copy."""
        if self.sharded is None or self.sharded == (source.spec is not None):
            return source.spec
        return fragments.spec_for(source.parts, 0) if self.sharded else None

    def execute(self, unit: int, io: IO) -> None:
        """Copy one shard, or one part."""
        source = self.source(io)
        spec, target = self._spec(source), self._target(io)
        if spec is not None and spec == source.spec and not self.labels:
            copied = io.copy([(f"{source.folder}/{n}", f"{target}/{n}") for n in source.names(unit)], "none")
            io.note(files=len(copied))
            return
        found = source.read(unit, frozenset(self.labels))
        objects = 0
        if spec is None:
            for label, data in found:
                io.put(f"{target}/{label}", data, "gzip")
                objects += 1
        elif packed := dict(found):
            shards = spec.locate(np.array(list(packed), np.uint64))[0]
            assert len(set(shards.tolist())) == 1, "a unit is one shard"
            io.put(f"{target}/{spec.name(int(shards[0]))}", sharding.pack(spec, packed))
            objects = len(packed)
        io.note(objects=objects)

    def finish(self, io: IO) -> None:
        """Describe the copy and name it in the info of its layer."""
        source = self.source(io)
        spec, target = self._spec(source), self._target(io)
        info = {key: value for key, value in source.info.items() if key != "sharding"}
        io.put_json(f"{target}/info", info | ({"sharding": spec.to_json()} if spec else {}))
        io.edit_info(self.dest, skeletons=target.removeprefix(f"{self.dest}/"))


@dataclass(frozen=True, kw_only=True)
class SkeletonConvert(OnSkeletons, name="skeleton convert"):
    """Write skeletons as SWC files, in micrometres, one a label.

    Loops are cut and several parts become several trees of one file: every skeleton can be written. Those that the
    layer does not have are named in the records of the tasks.
    """

    example = "./seg ./swc --labels 17,42"

    dest: LayerUrl = arg("Folder to write LABEL.swc to.")

    def home(self) -> str:
        """Records lie with the files."""
        return self.dest

    def execute(self, unit: int, io: IO) -> None:
        """Write the skeletons of one shard, or one part."""
        source = self.source(io)
        attributes = source.info.get("vertex_attributes", [])
        move = np.array(source.info.get("transform", np.eye(3, 4).ravel()), float).reshape(3, 4)
        objects = 0
        for label, data in source.read(unit, frozenset(self.labels)):
            graph = files.decode(data, f"{source.folder}, skeleton {label}", attributes)
            points = graph.vertices @ move[:, :3].T + move[:, 3]
            radii, types = (
                _column(graph.attributes, "radius", points),
                _column(graph.attributes, "vertex_types", points),
            )
            io.put(f"{self.dest}/{label}.swc", swc.encode(points, graph.edges, radii, types.astype(np.int64)))
            objects += 1
        io.note(objects=objects)


def _column(attributes: Mapping[str, Array], name: str, points: Array) -> Array:
    """An attribute of one number a vertex, or zeros."""
    found = attributes.get(name, np.zeros(len(points)))
    return found if found.ndim == 1 else found[:, 0]


@dataclass(frozen=True, kw_only=True)
class SkeletonMeasure(OnSkeletons, name="skeleton measure"):
    """Measure skeletons: cable length, branch and end points, radii, extent; a row each, in Parquet.

    The table is a folder of files, one a task, ascending by segment, which joins the tables of a graph: `graph sql
    --table`, and is one of those that `annotate properties` takes. Lengths are nm. Without radii there are no columns
    of them.
    """

    example = "./seg ./skeletons -p 4"

    table: LayerUrl = arg("Folder to write the table to.")

    def home(self) -> str:
        """Records lie with the table."""
        return self.table

    def prepare(self, io: IO) -> None:
        """Refuse to begin without what writes tables, or for what has no skeletons."""
        arrow()
        self.source(io)

    def execute(self, unit: int, io: IO) -> None:
        """Measure the skeletons of one shard, or one part."""
        source = self.source(io)
        attributes = source.info.get("vertex_attributes", [])
        radii = any(one.get("id") == "radius" for one in attributes)
        segments, rows = list[int](), list[dict[str, float]]()
        for label, data in source.read(unit, frozenset(self.labels)):
            graph = files.decode(data, f"{source.folder}, skeleton {label}", attributes)
            points = files.points(graph, source.info)
            thick = _column(graph.attributes, "radius", points) if radii else None
            segments.append(label)
            rows.append(morphology.measured(points, graph.edges, thick))
        table = morphology.table(segments, rows, radii)
        io.put(f"{self.table}/part-{unit}.parquet", parquet_tables.write(table))
        io.note(skeletons=len(rows), cable_um=round(float(table["cable_length"].sum()) / 1000, 3))

    def finish(self, io: IO) -> None:
        """Say what the files are."""
        about = {"layer": self.layer, "dir": self.folder(io), "files": len(self.units(io)), "unit": "nm"}
        io.put_json(f"{self.table}/table.json", {"@type": "igneous_ng_skeleton_measures", **about})

    def said(self, io: IO) -> str:
        """How many there are, and how much cable."""
        rows, cable = 0, 0.0
        for unit in self.units(io):
            url = f"{self.table}/part-{unit}.parquet"
            lengths = parquet_tables.read(BytesIO(io.peek(url) or b""), ["cable_length"], None, url)["cable_length"]
            rows, cable = rows + len(lengths), cable + math.fsum(lengths.tolist())
        return f"{words.count(rows, 'skeleton')} with {cable / 1000:,.1f} um of cable"


@dataclass(frozen=True, kw_only=True)
class SkeletonDelete(OnSkeletons, name="skeleton delete"):
    """Remove finished skeletons: a whole folder of them, with the pieces they were made of, or single labels.

    A whole folder leaves the `info` of the layer first, so that readers see all of it or nothing. From shards no
    label can be removed.
    """

    example = "./seg --dir skeletons --labels 17,42"

    def check(self) -> None:
        """What is removed is named: the default would change when the first task has run."""
        super().check()
        if not self.dir:
            raise SpecError(f"{self.name}.dir: name the folder to remove, such as skeletons")

    def prepare(self, io: IO) -> None:
        """Single labels are files of their own."""
        source = self.source(io)
        if self.labels and source.spec:
            raise SpecError(
                f"{self.name}: {source.folder} has shards, of which no part is removed; ask without --labels"
            )

    def execute(self, unit: int, io: IO) -> None:
        """Remove one shard, or one part."""
        source, wanted = self.source(io), {str(label) for label in self.labels}
        names = source.names(unit)
        if wanted:
            names = [name for name in names if name in wanted]
        else:
            self._hide(io)
            pieces = io.list(f"{source.folder}/fragments")
            names += [f"fragments/{n}" for n in pieces if zlib.crc32(n.encode()) % len(source.units) == unit]
        for name in names:
            io.delete(f"{source.folder}/{name}")
        io.note(files=len(names))

    def finish(self, io: IO) -> None:
        """Nothing is left to describe."""
        if not self.labels:
            io.delete(f"{self.layer}/{self.dir}/info")

    def _hide(self, io: IO) -> None:
        """Take the folder out of the layer's info, if it is there."""
        info = io.info(self.layer)
        if info.extra.get("skeletons") == self.dir:
            extra = {key: value for key, value in info.extra.items() if key != "skeletons"}
            io.put(f"{self.layer}/info", infos.encode(replace(info, extra=extra)))
