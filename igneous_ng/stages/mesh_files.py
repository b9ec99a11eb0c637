"""Folders of meshes: copied to other layers, written for other programs, removed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import info as infos
from igneous_ng.formats import mesh_files
from igneous_ng.io import IO
from igneous_ng.meshes import Folder, part_of
from igneous_ng.stage import LayerUrl, Stage, arg, opt

_PARTS = 64  # tasks in which a folder is gone through: each lists it
_OBJECT = 1_000_000_000  # bytes of a mesh or a shard that a task may meet; none tells before it is read


@dataclass(frozen=True, kw_only=True)
class MeshTransfer(Stage, name="mesh transfer"):
    """Copy the meshes of a layer to another layer, as they are stored.

    They are shown there when all are written. The source must not change meanwhile.
    """

    example = "./seg s3://bucket/seg"

    source: LayerUrl = arg("Layer whose meshes are copied.")
    layer: LayerUrl = arg("Layer to copy them to.")
    dir: str = opt("mesh", "Folder of the meshes, inside both layers.")

    def check(self) -> None:
        """A layer is not copied onto itself."""
        if self.source == self.layer:
            raise SpecError(f"{self.name}: {self.layer} cannot be copied onto itself; name another place")

    def home(self) -> str:
        """Records lie with the new meshes."""
        return self.layer

    def places(self, io: IO) -> tuple[str, ...]:
        """The folder of the copies."""
        return (f"{self.layer}/{self.dir}",)

    def prepare(self, io: IO) -> None:
        """Refuse a folder that holds meshes of another format."""
        source = Folder.open(io, f"{self.source}/{self.dir}")
        found = io.get_json(f"{self.layer}/{self.dir}/info")
        if found is not None and found != source.info:
            raise SpecError(f"{self.layer}/{self.dir} has meshes of another format; remove them, or give another --dir")

    def units(self, io: IO) -> Sequence[int]:
        """Parts of the folder."""
        return range(_PARTS)

    def peak_bytes(self, unit: int, io: IO) -> int:
        """One object."""
        return _OBJECT

    def execute(self, unit: int, io: IO) -> None:
        """Copy one part."""
        source = Folder.open(io, f"{self.source}/{self.dir}")
        names = [name for name in source.objects() if part_of(name, _PARTS) == unit]
        pairs = [(f"{source.url}/{name}", f"{self.layer}/{self.dir}/{name}") for name in names]
        copied = io.copy([pair for pair in pairs if not self._compressed(pair[0], source)], "none")
        copied += io.copy([pair for pair in pairs if self._compressed(pair[0], source)], "gzip")
        if not all(copied):
            raise DataError(f"{source.url} lost objects while they were copied; transfer again")
        io.note(objects=len(names))

    def finish(self, io: IO) -> None:
        """Show the meshes."""
        source = Folder.open(io, f"{self.source}/{self.dir}")
        io.put_json(f"{self.layer}/{self.dir}/info", source.info)
        io.edit_info(self.layer, mesh=self.dir)

    def _compressed(self, url: str, source: Folder) -> bool:
        """Whether nobody reads a part of the object: such are stored with gzip."""
        return not source.several and not url.endswith(":0")


@dataclass(frozen=True, kw_only=True)
class MeshConvert(Stage, name="mesh convert"):
    """Write meshes as files that other programs read: Wavefront OBJ, PLY, or glTF."""

    example = "./seg ./files --labels 17,42 --format ply"

    layer: LayerUrl = arg("Layer whose meshes are read.")
    dest: LayerUrl = arg("Folder to write to; a file is called by its label.")
    labels: tuple[int, ...] = opt((), "The labels to write, one or more.")
    format: Literal["obj", "ply", "glb"] = opt("ply", "What to write; in nm, glb in metres.")
    level: int = opt(0, "Level of detail to read, 0 being the finest.")
    dir: str = opt("mesh", "Folder of the meshes, inside the layer.")

    def check(self) -> None:
        """Labels are named."""
        if not self.labels or min(self.labels) < 1 or max(self.labels) >= 1 << 64:
            raise SpecError(f"{self.name}.labels: {self.labels}; name one or more, from 1 to 2**64 - 1")
        if self.level < 0:
            raise SpecError(f"{self.name}.level: {self.level}; levels are counted from 0")

    def home(self) -> str:
        """Records lie with the files."""
        return self.dest

    def prepare(self, io: IO) -> None:
        """Refuse a layer without meshes."""
        Folder.open(io, f"{self.layer}/{self.dir}")

    def units(self, io: IO) -> Sequence[int]:
        """The labels."""
        return sorted(set(self.labels))

    def peak_bytes(self, unit: int, io: IO) -> int:
        """One mesh."""
        return _OBJECT

    def execute(self, unit: int, io: IO) -> None:
        """Write one mesh."""
        mesh = Folder.open(io, f"{self.layer}/{self.dir}").read(unit, self.level)
        if mesh is None:
            raise DataError(f"{self.layer}/{self.dir} has no mesh of label {unit}; leave it out of --labels")
        io.put(f"{self.dest}/{unit}.{self.format}", mesh_files.encode(*mesh, self.format))
        io.note(triangles=len(mesh[1]))


@dataclass(frozen=True, kw_only=True)
class MeshDelete(Stage, name="mesh delete"):
    """Remove the meshes of a layer, or of some labels that have files of their own.

    When all go, the layer ceases to name them before the first is removed. Pieces that `mesh forge` left stay.
    """

    example = "./seg --labels 17,42"

    layer: LayerUrl = arg("Layer whose meshes are removed.")
    dir: str = opt("mesh", "Folder of the meshes, inside the layer.")
    labels: tuple[int, ...] = opt((), "Only these labels; all of them where none is given.")

    def home(self) -> str:
        """Records lie with the layer."""
        return self.layer

    def prepare(self, io: IO) -> None:
        """Refuse to take labels out of shards."""
        if self.labels and Folder.open(io, f"{self.layer}/{self.dir}").spec is not None:
            raise SpecError(
                f"{self.name}: {self.layer}/{self.dir} has shards, of which no label is removed; merge again"
            )

    def units(self, io: IO) -> Sequence[int]:
        """Parts of the folder."""
        return range(_PARTS)

    def peak_bytes(self, unit: int, io: IO) -> int:
        """The names in the folder."""
        return _OBJECT

    def execute(self, unit: int, io: IO) -> None:
        """Remove one part."""
        url = f"{self.layer}/{self.dir}"
        if self.labels:
            folder = Folder.open(io, url)
            names = [name for label in sorted(set(self.labels)) for name in reversed(folder.names(label))]
        else:
            self._hide(io)
            names = Folder(io, url, {}).objects()
        mine = [name for name in names if part_of(name, _PARTS) == unit]
        for name in mine:
            io.delete(f"{url}/{name}")
        io.note(objects=len(mine))

    def finish(self, io: IO) -> None:
        """Remove the description, too, when all meshes are gone."""
        if not self.labels:
            io.delete(f"{self.layer}/{self.dir}/info")

    def _hide(self, io: IO) -> None:
        info = io.info(self.layer)
        if info.extra.get("mesh") == self.dir:
            left = {key: value for key, value in info.extra.items() if key != "mesh"}
            io.put(f"{self.layer}/info", infos.encode(replace(info, extra=left)))
