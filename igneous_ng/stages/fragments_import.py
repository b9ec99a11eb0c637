"""Fragments that Igneous left when it forged, taken over, so that merging goes on from there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import DataError, SpecError
from igneous_ng.forging import IMPORTED, Plan, Shelved, buckets_for, check_dir
from igneous_ng.formats import mapbuffer, multires, spatial
from igneous_ng.formats import mesh as meshes
from igneous_ng.formats import skeleton as skeletons
from igneous_ng.formats.fragments import Piece
from igneous_ng.geometry import Box, Grid, Vec3, vec
from igneous_ng.io import IO
from igneous_ng.stage import arg, opt, sampled
from igneous_ng.volume import Volume

Array = npt.NDArray[Any]
_CELL_BYTES = 1_000_000_000  # of fragments that a task may meet in a cell; none tells before it is read
_TRIANGLE = 24  # bytes of a triangle as an object is joined
_DRACO = b"DRACO"
_OFF_VOXEL = 0.25  # of a voxel: what 32-bit floats may do to a place on it, far from the origin


@dataclass(frozen=True)
class Left:
    """The folder at ``url`` where Igneous forged: what it wrote of it, the level, and the voxels of its cells."""

    io: IO
    url: str
    info: dict[str, Any]
    volume: Volume
    cell: Vec3

    @property
    def cells(self) -> Grid:
        """The boxes of Igneous' tasks."""
        return Grid(self.volume.bounds, self.cell)

    @property
    def attributes(self) -> list[dict[str, Any]]:
        """What the vertices of its skeletons have."""
        return list(self.info.get("vertex_attributes") or [])

    def fragments(self, cell: Box) -> Iterator[tuple[int, bytes, str]]:
        """Labels, their fragments, and where each lies: in the container of a cell, or in files of their own."""
        labels, name = self._indexed(cell), _name(cell)
        where = f"{self.url}/{name}{mapbuffer.SUFFIX}"
        data = self.io.get(where)
        if data is not None:
            yield from ((label, value, f"{where}, label {label}") for label, value in mapbuffer.items(data, where))
            return
        for label in labels if labels is not None else _listed(self.io.list(self.url), name, self.url):
            where = f"{self.url}/{label}:0:{name}"
            data = self.io.get(where)
            if data is None:
                raise DataError(f"{where}: this fragment is missing; let Igneous forge the cell again")
            yield label, data, where

    def pickled(self, cell: Box) -> bool:
        """Whether a cell has skeletons, and not in a container: so they are pickles."""
        if self.io.exists(f"{self.url}/{_name(cell)}{mapbuffer.SUFFIX}"):
            return False
        labels = self._indexed(cell)
        return bool(labels) if labels is not None else any(":" in name for name in self.io.list(self.url))

    def _indexed(self, cell: Box) -> list[int] | None:
        """The labels that Igneous' spatial index has in a cell; None where it made none."""
        described = self.info.get("spatial_index")
        if not described:
            return None
        x, y, z = map(float, described["resolution"])
        url = f"{self.url}/{spatial.Index(self.volume.bounds, self.cell, (x, y, z)).name(cell)}"
        found = self.io.get_json(url)
        if not isinstance(found, dict):
            raise DataError(f"{url}: Igneous did not finish this cell; let it do so, or forge all of the layer here")
        return sorted(map(int, found))


def _name(cell: Box) -> str:
    return "_".join(f"{a}-{b}" for a, b in zip(cell.lo, cell.hi, strict=True))


def _listed(names: Sequence[str], cell: str, url: str) -> list[int]:
    """The labels whose fragments lie in files of their own; DataError where there are no fragments at all."""
    if not any(":" in name or name.endswith(mapbuffer.SUFFIX) for name in names):
        raise DataError(f"{url}: there are no fragments of Igneous here; check the folder, or forge again")
    parts = (name.split(":") for name in names)
    return sorted(int(part[0]) for part in parts if part[0].isdigit() and part[1:] == ["0", cell])


@dataclass(frozen=True, kw_only=True)
class Importing(Shelved):
    """What is the same for all fragments: where they are, the plan, and the containers that are made of them."""

    kind: ClassVar[str]

    source_dir: str = arg("Folder where Igneous forged, inside the layer, as its info calls it.")
    cell: Vec3 | None = opt(None, "Voxels of Igneous' tasks, its --shape; by default what its folder says of them.")
    buckets: int = opt(0, "Parts in which merging is done; 0 chooses by the number of cells.")

    def check(self) -> None:
        """Cells hold something, and folders are folders."""
        super().check()
        if self.cell is not None and min(self.cell) < 1:
            raise SpecError(f"{self.name}.cell: {self.cell}; each side must be at least 1 voxel")
        if self.buckets < 0:
            raise SpecError(f"{self.name}.buckets: {self.buckets}; give 0 or a positive number")
        check_dir(self.source_dir, f"{self.name}.source_dir")
        if self.source_dir == self.dir:
            raise SpecError(f"{self.name}: {self.dir} cannot be imported into itself; give another --dir")

    def left(self, io: IO) -> Left:
        """What Igneous left."""
        url = f"{self.layer}/{self.source_dir}"
        info = io.get_json(f"{url}/info")
        if not isinstance(info, dict) or not isinstance(info.get("mip"), int):
            raise DataError(f"{url}/info: Igneous has not forged here; check the name of the folder")
        volume = io.volume(self.layer, info["mip"])
        return Left(io, url, info, volume, self.cell or _cell(info, volume, url))

    def level_read(self, io: IO) -> int:
        """The level that was forged."""
        return self.left(io).volume.mip

    def parameters(self, left: Left) -> dict[str, Any]:
        """What merging must know of the pieces, in JSON's types."""
        return {IMPORTED: self.source_dir}

    def prepare(self, io: IO) -> None:
        """Write the plan that tasks and merging follow."""
        left = self.left(io)
        for cell in sampled(left.cells):
            self.look(left, cell)
        volume = left.volume
        buckets = self.buckets or buckets_for(len(left.cells))
        shapes = (left.cell, volume.bounds, volume.resolution)
        self.shelf(io).begin(Plan(self.kind, volume.mip, *shapes, buckets, self.parameters(left)))

    def units(self, io: IO) -> Grid:
        """The cells."""
        return self.left(io).cells

    def peak_bytes(self, unit: Box, io: IO) -> int:
        """The fragments of one cell."""
        return _CELL_BYTES

    def execute(self, unit: Box, io: IO) -> None:
        """Take over the fragments of one cell."""
        left = self.left(io)
        self.look(left, unit)
        pieces = {label: self.piece(data, where, left) for label, data, where in left.fragments(unit)}
        kept = {label: piece for label, piece in pieces.items() if piece.payload}
        io.note(objects=len(kept))
        shelf = self.shelf(io)
        shelf.store(unit, kept, shelf.plan(self.kind).buckets)

    def finish(self, io: IO) -> None:
        """Allow merging."""
        self.shelf(io).complete(self.left(io).volume.bounds)

    def look(self, left: Left, cell: Box) -> None:
        """Refuse what is not read."""

    def piece(self, data: bytes, where: str, left: Left) -> Piece:
        """A fragment as merging reads it; its voxels are not known, and counted as 1."""
        raise NotImplementedError


def _cell(info: dict[str, Any], volume: Volume, url: str) -> Vec3:
    """Voxels of a cell as Igneous tells them; DataError where it does not."""
    if "chunk_size" in info:
        return vec(info["chunk_size"])
    size = (info.get("spatial_index") or {}).get("chunk_size")
    if size is None:
        raise DataError(f"{url}/info does not say how large cells are; give --cell, the --shape that Igneous was given")
    return vec(round(a / b) for a, b in zip(size, volume.resolution, strict=True))


@dataclass(frozen=True, kw_only=True)
class MeshImport(Importing, name="mesh import"):
    """Take over the fragments that `igneous mesh forge` left, for `mesh merge`.

    In containers or in files of their own, plain or in Draco's encoding. They are simplified already: `mesh merge`
    welds them, and simplifies them again unless told not to. What Igneous wrote is not touched.
    """

    example = "./seg mesh_mip_0_err_40"

    kind: ClassVar[str] = "mesh"

    dir: str = opt("mesh", "Folder for the pieces and the meshes, inside the layer.")

    def piece(self, data: bytes, where: str, left: Left) -> Piece:
        """A surface."""
        coded = data.startswith(_DRACO)
        vertices, faces = multires.decode_draco(data, where) if coded else meshes.decode(data, where)
        if len(faces) and int(faces.max()) >= len(vertices):
            raise DataError(f"{where}: a mesh with faces beyond its {len(vertices)} vertices; forge this cell again")
        payload = meshes.encode_surface(vertices, faces) if len(faces) else b""
        return Piece(1, _TRIANGLE * len(faces) + vertices.nbytes, payload)


@dataclass(frozen=True, kw_only=True)
class SkeletonImport(Importing, name="skeleton import"):
    """Take over the fragments that `igneous skeleton forge --sharded` left, for `skeleton merge`.

    Without --sharded Igneous leaves pickles. These are never opened, for a pickle may run any code: forge again.
    """

    example = "./seg skeletons_mip_2"

    kind: ClassVar[str] = "skeleton"

    dir: str = opt("skeletons", "Folder for the pieces and the skeletons, inside the layer.")
    scale: float = opt(4.0, "The --scale that Igneous was given, by which merging tells twigs that cells made.")
    const: float = opt(10.0, "The --const that Igneous was given.")

    def check(self) -> None:
        """Neither is negative."""
        super().check()
        if min(self.scale, self.const) < 0:
            raise SpecError(f"{self.name}: scale {self.scale}, const {self.const}; give 0 or positive numbers")

    def parameters(self, left: Left) -> dict[str, Any]:
        """How Igneous traced, and whether it measured areas."""
        areas = any(one.get("id") == "cross_sectional_area" for one in left.attributes)
        return {**super().parameters(left), "scale": self.scale, "const": self.const, "cross_section": int(areas)}

    def look(self, left: Left, cell: Box) -> None:
        """Refuse pickles."""
        if left.pickled(cell):
            raise DataError(
                f"{left.url}: without --sharded Igneous leaves fragments of skeletons as pickles, which may run any "
                "code and are never opened; run `skeleton forge` here, or `igneous skeleton forge --sharded`"
            )

    def piece(self, data: bytes, where: str, left: Left) -> Piece:
        """A skeleton, its vertices on voxels."""
        graph = skeletons.decode(data, where, left.attributes)
        if "radius" not in graph.attributes:
            raise DataError(f"{where}: a skeleton without radii cannot be merged; run `skeleton forge` here")
        types = graph.attributes.get("vertex_types", np.zeros(len(graph.vertices)))
        areas = {name: values for name, values in graph.attributes.items() if name == "cross_sectional_area"}
        attributes = {"radius": graph.attributes["radius"], "vertex_types": types.astype(np.uint8), **areas}
        made = skeletons.Graph(_voxels(graph.vertices, left.volume, where), graph.edges, attributes)
        return Piece(1, made.nbytes, skeletons.encode_piece(made) if len(made.vertices) else b"")


def _voxels(vertices: Array, volume: Volume, where: str) -> Array:
    """Places in nm as voxels from the first of the level on: Igneous counts nm from that of level 0."""
    finest = volume.info.scales[0]
    places = (vertices - np.multiply(finest.bounds.lo, finest.resolution)) / volume.resolution - 0.5
    voxels: Array = np.rint(places)
    if len(places) and np.abs(places - voxels).max() > _OFF_VOXEL:
        raise DataError(
            f"{where}: its vertices lie on no voxels of level {volume.mip}, and cannot be joined exactly; "
            "run `skeleton forge` here"
        )
    return voxels.astype(np.int64)
