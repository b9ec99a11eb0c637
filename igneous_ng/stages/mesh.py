"""Meshes: the surfaces of objects, made in cells and merged, exactly, into one an object."""

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import SpecError
from igneous_ng.forging import IMPORTED, Bucket, Forging, Merging, Plan
from igneous_ng.formats import fragments, multires, sharding, spatial
from igneous_ng.formats import mesh as files
from igneous_ng.formats.fragments import Piece
from igneous_ng.formats.sharding import Spec
from igneous_ng.geometry import Box, Vec3, Vec3f, vec
from igneous_ng.io import IO
from igneous_ng.kernels import mesh_levels, meshing
from igneous_ng.labelled import beyond
from igneous_ng.meshes import coded
from igneous_ng.stage import opt

Array = npt.NDArray[Any]
_TRIANGLE = 24  # bytes of a triangle and of its share of vertices, as an object is joined
_SUSPICIOUS = 8  # handles of an object that may be several
_NAMED = 100  # such objects in a record
_LEVELS = 12
_ROUNDS = 1000  # of smoothing: each costs as much as the first, and after some tens little is left to do


@dataclass
class Shard:
    """What a merging task has made so far; of each label its manifest and its data, where it writes a shard."""

    manifests: dict[int, bytes] = field(default_factory=dict)
    data: dict[int, bytes] = field(default_factory=dict)
    objects: int = 0
    triangles: int = 0
    at_the_edge: int = 0
    largest: tuple[int, int] = (0, 0)
    looped: list[tuple[int, int]] = field(default_factory=list)

    def count(self, label: int, mesh: meshing.Mesh, voxels: int, bounds: Box, resolution: Vec3f) -> None:
        """Enter an object in the figures: whether it ends where the layer does, its voxels, and its handles.

        A neurite has hardly any; what is merged by mistake and touches in several places has many.
        """
        vertices, faces = mesh
        low, high = np.multiply(bounds.lo, resolution), np.multiply(bounds.hi, resolution)
        near = np.array(resolution) / 2
        ends = (vertices.min(axis=0) <= low + near).any() or (vertices.max(axis=0) >= high - near).any()
        self.objects, self.triangles = self.objects + 1, self.triangles + len(faces)
        self.at_the_edge += bool(ends)
        self.largest = max(self.largest, (voxels, label))
        handles = 1 - (len(vertices) - len(faces) // 2) // 2  # of a closed surface of one part; fewer parts have more
        if handles >= _SUSPICIOUS:
            self.looped.append((handles, label))


@dataclass(frozen=True, kw_only=True)
class MeshForge(Forging, name="mesh forge"):
    """Make the surfaces of all objects, cell by cell.

    Marching cubes (Lorensen & Cline 1987) on the whole resolution. Cells mate without gaps or overlaps:
    what `mesh merge` joins does not depend on how the layer was divided. Surfaces close where the layer ends.
    """

    example = "./seg --mip 1 -p 4"
    kind: ClassVar[str] = "mesh"

    dir: str = opt("mesh", "Folder of the meshes, inside the layer.")
    open_edges: bool = opt(False, "Leave surfaces open where the layer ends, for layers that are cut out of others.")
    spatial_index: bool = opt(False, "Write which labels are where, for CloudVolume's queries by box.")

    def parameters(self) -> dict[str, Any]:
        """What shapes the pieces."""
        return {**super().parameters(), "open_edges": self.open_edges, "spatial_index": self.spatial_index}

    def peak_bytes(self, unit: Box, io: IO) -> int:
        """Labels, and the pieces of one cell."""
        # Measured as growth of the resident set on dense tissue and on noise: docs/design/014.
        padded = unit.grow((1, 1, 1), (1, 1, 1)).voxels
        remapping = 24 if self.remap else 0
        volume = self.volume(io)
        masking = self.mask_bytes(io, beyond(unit, volume), volume.resolution)
        return padded * (3 * volume.dtype.itemsize + 32 + remapping) + masking

    def execute(self, unit: Box, io: IO) -> None:
        """Make the pieces of one cell."""
        volume = self.volume(io)
        labels = self.objects(io, volume, beyond(unit, volume))
        low, high = volume.bounds.lo, volume.bounds.hi
        closed = not self.open_edges
        first = (closed and unit.lo[0] == low[0], closed and unit.lo[1] == low[1], closed and unit.lo[2] == low[2])
        last = (closed and unit.hi[0] == high[0], closed and unit.hi[1] == high[1], closed and unit.hi[2] == high[2])
        corner = vec(a - b for a, b in zip(unit.lo, low, strict=True))
        pieces, boxes, triangles = dict[int, Piece](), dict[int, Box](), 0
        for found in meshing.march(labels, corner, unit.shape, first, last):
            piece = found.piece
            payload = files.encode_piece(piece.corner, piece.cubes, piece.code) if piece.code else b""
            pieces[found.label] = Piece(found.voxels, _TRIANGLE * found.triangles, payload)
            triangles += found.triangles
            if piece.code:
                boxes[found.label] = found.box.shift(low)
        if self.spatial_index:
            grid = spatial.Index(volume.bounds, self.cell, volume.resolution)
            io.put_json(f"{self.layer}/{self.dir}/{grid.name(unit)}", grid.entries(boxes))
        io.note(objects=len(pieces), triangles=triangles)
        shelf = self.shelf(io)
        shelf.store(unit, pieces, shelf.plan(self.kind).buckets)


@dataclass(frozen=True, kw_only=True)
class MeshMerge(Merging, name="mesh merge"):
    """Join the pieces of each object into one mesh and write it as Neuroglancer reads it.

    Objects are simplified whole (Garland & Heckbert 1997), so no seam is left where cells met. Their topology is kept.
    """

    example = "./seg --dust 1000 -p 4"
    kind: ClassVar[str] = "mesh"
    type: ClassVar[str] = files.TYPE
    growth: ClassVar[int] = 7

    dir: str = opt("mesh", "Folder of the pieces and of the meshes, inside the layer.")
    format: Literal["legacy", "multires", "sharded"] = opt(
        "legacy", "One resolution, or several in Draco's encoding, an object or many in a file."
    )
    max_error: float = opt(40.0, "Nanometres by which simplification may move a surface; twice as many a level above.")
    reduction: float = opt(100.0, "Simplify to so many times fewer triangles, as far as max_error allows.")
    simplify: bool = opt(True, "Simplify the meshes.")
    smooth: int = opt(
        0, "Rounds of smoothing before, which take out the steps of voxels and keep the volume; 0 for none."
    )
    fill_holes: bool = opt(False, "Leave out the walls of cavities that lie wholly inside of an object.")
    levels: int = opt(0, "Levels of detail, except for legacy; 0 makes as many as an object's size asks for.")
    chunk: Vec3 = opt((256, 256, 256), "Voxels of the finest boxes in which a level is cut, except for legacy.")

    def check(self) -> None:
        """Errors are lengths, reductions are at least 1."""
        super().check()
        if self.max_error < 0:
            raise SpecError(f"mesh merge.max_error: {self.max_error} nm; give 0 or a positive number")
        if self.reduction < 1:
            raise SpecError(f"mesh merge.reduction: {self.reduction}; give 1 or more")
        if not 0 <= self.smooth <= _ROUNDS:
            raise SpecError(f"mesh merge.smooth: {self.smooth} rounds; give 0 to {_ROUNDS}")
        if not 0 <= self.levels <= _LEVELS:
            raise SpecError(f"mesh merge.levels: {self.levels}; give 1 to {_LEVELS}, or 0")
        if min(self.chunk) < 1:
            raise SpecError(f"mesh merge.chunk: {self.chunk}; each side must be at least 1 voxel")

    def made(self) -> str:
        """The type of the folder."""
        return files.TYPE if self.format == "legacy" else multires.TYPE

    def prepare(self, io: IO) -> None:
        """Refuse to begin before forging has finished, or in a folder of something else."""
        super().prepare(io)
        self._sharding(self.shelf(io).plan(self.kind))

    def execute(self, unit: int, io: IO) -> None:
        """Merge the objects of a bucket, one after the other; a shard is written when all are done."""
        bucket = self.bucket(unit, io)
        shard = Shard()
        for label, rows in self.wanted(bucket, io):
            mesh = self._joined(bucket, rows)
            if mesh is not None:
                shard.count(label, mesh, bucket.voxels(rows), bucket.plan.bounds, bucket.plan.resolution)
                self._store(label, mesh, bucket.plan, shard, io)
        if (spec := self._sharding(bucket.plan)) is not None:
            url = f"{self.layer}/{self.dir}/{spec.name(unit)}"
            if shard.manifests:
                io.put(url, sharding.pack(spec, shard.manifests, shard.data))
            elif io.exists(url):
                io.delete(url)
        io.note(objects=shard.objects, triangles=shard.triangles, at_the_edge=shard.at_the_edge)
        if IMPORTED not in bucket.plan.parameters:  # of which nobody knows the voxels
            voxels, label = shard.largest
            io.note(largest=str(label), largest_voxels=voxels)
        suspects = sorted(shard.looped, reverse=True)[:_NAMED]
        io.note(suspected_mergers=[{"label": str(label), "handles": handles} for handles, label in suspects])

    def finish(self, io: IO) -> None:
        """Describe the folder and name it in the layer's info."""
        plan = self.shelf(io).plan(self.kind)
        info = files.info(plan.mip) if self.format == "legacy" else multires.info(plan.mip, self._sharding(plan))
        if plan.parameters.get("spatial_index"):
            info["spatial_index"] = spatial.Index(plan.bounds, plan.cell, plan.resolution).to_json()
        io.put_json(f"{self.layer}/{self.dir}/info", info)
        io.edit_info(self.layer, mesh=self.dir)

    def _sharding(self, plan: Plan) -> Spec | None:
        return fragments.shards(plan.buckets) if self.format == "sharded" else None

    def _joined(self, bucket: Bucket, rows: slice) -> meshing.Mesh | None:
        """The whole mesh of an object, simplified, in nm; None where it has no surface."""
        if IMPORTED in bucket.plan.parameters:
            return self._welded(bucket, rows)
        pieces = [meshing.Piece(*files.decode_piece(data, where)) for data, where in bucket.payloads(rows)]
        if not pieces:
            return None
        vertices, faces = meshing.join(pieces)
        del pieces
        if self.fill_holes:
            vertices, faces = meshing.filled(vertices, faces)
        vertices, faces = self._refined(vertices * (np.array(bucket.plan.resolution) / 2), faces)
        return vertices + np.multiply(bucket.plan.bounds.lo, bucket.plan.resolution), faces

    def _welded(self, bucket: Bucket, rows: slice) -> meshing.Mesh | None:
        """The mesh of an object from surfaces that others made; None where it has none."""
        surfaces = [files.decode_surface(data, where) for data, where in bucket.payloads(rows)]
        if not surfaces:
            return None
        vertices, faces = meshing.weld(surfaces)
        vertices, faces = meshing.filled(vertices, faces) if self.fill_holes else (vertices, faces)
        return self._refined(vertices.astype(np.float64), faces) if len(faces) else None

    def _refined(self, vertices: Array, faces: Array) -> meshing.Mesh:
        """A mesh in nm as it is asked for: smooth, and simplified."""
        if self.smooth:
            vertices = meshing.smooth(vertices, faces, self.smooth)
        if self.simplify:
            vertices, faces = meshing.simplify(vertices, faces, self.max_error, self.reduction)
        return vertices, faces

    def _store(self, label: int, mesh: meshing.Mesh, plan: Plan, shard: Shard, io: IO) -> None:
        folder = f"{self.layer}/{self.dir}"
        if self.format == "legacy":
            io.put(f"{folder}/{files.fragment_name(label)}", files.encode(*mesh), "gzip")
            io.put(f"{folder}/{files.manifest_name(label)}", files.manifest(label))
            return
        manifest, data = self._levels(mesh, plan)
        if self.format == "sharded":
            shard.manifests[label], shard.data[label] = manifest, data
        else:
            io.put(f"{folder}/{multires.data_name(label)}", data)
            io.put(f"{folder}/{multires.manifest_name(label)}", manifest)

    def _levels(self, mesh: meshing.Mesh, plan: Plan) -> tuple[bytes, bytes]:
        """The manifest and the data of an object in levels of detail."""
        x, y, z = np.multiply(self.chunk, plan.resolution).astype(np.float32).tolist()
        chunk = (x, y, z)
        meshes = mesh_levels.levels(mesh, self.max_error, chunk, self.levels)
        scales = [max(self.max_error, min(plan.resolution)) * 2**i for i in range(len(meshes))]
        return coded(meshes, scales, chunk)
