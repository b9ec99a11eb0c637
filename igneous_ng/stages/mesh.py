"""Meshes: the surfaces of objects, made in cells and merged, exactly, into one an object."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from igneous_ng.errors import SpecError
from igneous_ng.forging import Bucket, Forging, Merging, count_voxels, only, read_labels
from igneous_ng.formats import mesh as files
from igneous_ng.formats.fragments import Piece
from igneous_ng.geometry import Box
from igneous_ng.io import IO
from igneous_ng.kernels import meshing
from igneous_ng.stage import opt


@dataclass(frozen=True, kw_only=True)
class MeshForge(Forging, name="mesh forge"):
    """Make the surfaces of all objects, cell by cell.

    Marching cubes (Lorensen & Cline 1987) on the whole resolution. Cells mate without gaps or overlaps:
    what `mesh merge` joins does not depend on how the layer was divided. Surfaces close where the layer ends.
    """

    kind: ClassVar[str] = "mesh"

    dir: str = opt("mesh", "Folder of the meshes, inside the layer.")

    def peak_bytes(self, unit: Box, io: IO) -> int:
        """Labels, their surfaces and the pieces of one cell."""
        # Measured as growth of the resident set on dense tissue and on noise: docs/design/006.
        padded = unit.grow((1, 1, 1), (1, 1, 1)).voxels
        return padded * (3 * self.volume(io).dtype.itemsize + 100)

    def execute(self, unit: Box, io: IO) -> None:
        """Make the pieces of one cell."""
        volume = self.volume(io)
        labels = only(read_labels(io, volume, unit), self.labels)
        voxels = count_voxels(labels, unit)
        low = [int(a == b) for a, b in zip(unit.lo, volume.bounds.lo, strict=True)]
        high = [int(a == b) for a, b in zip(unit.hi, volume.bounds.hi, strict=True)]
        labels = np.pad(labels, list(zip(low, high, strict=True)))
        corner = np.array(unit.lo) - volume.bounds.lo - low
        pieces = {label: Piece(count, 0, b"") for label, count in voxels.items()}
        for label, (vertices, faces) in meshing.march(labels):
            piece = files.Lattice(vertices + 2 * corner, faces)
            size = vertices.nbytes + faces.nbytes
            pieces[label] = Piece(voxels[label], size, files.encode_piece(piece))
        io.note(objects=len(pieces))
        shelf = self.shelf(io)
        shelf.store(unit, pieces, shelf.plan(self.kind).buckets)


@dataclass(frozen=True, kw_only=True)
class MeshMerge(Merging, name="mesh merge"):
    """Join the pieces of each object into one mesh and write it as Neuroglancer reads it.

    Objects are simplified whole (Garland & Heckbert 1997), so no seam is left where cells met.
    """

    kind: ClassVar[str] = "mesh"
    type: ClassVar[str] = files.TYPE
    growth: ClassVar[int] = 12

    dir: str = opt("mesh", "Folder of the pieces and of the meshes, inside the layer.")
    max_error: float = opt(40.0, "Nanometres by which simplification may move a surface.")
    reduction: float = opt(100.0, "Simplify to so many times fewer triangles, as far as max_error allows.")
    simplify: bool = opt(True, "Simplify the meshes.")

    def check(self) -> None:
        """Errors are lengths, reductions are at least 1."""
        super().check()
        if self.max_error < 0:
            raise SpecError(f"mesh merge.max_error: {self.max_error} nm; give 0 or a positive number")
        if self.reduction < 1:
            raise SpecError(f"mesh merge.reduction: {self.reduction}; give 1 or more")

    def merge(self, label: int, bucket: Bucket, rows: slice, io: IO) -> bool:
        """Join the pieces of one object and write its fragment, then its manifest."""
        pieces = [files.decode_piece(data, where) for data, where in bucket.payloads(rows)]
        if not pieces:
            return False
        lattice, faces = meshing.weld([(p.vertices, p.faces) for p in pieces])
        del pieces
        vertices = lattice * (np.array(bucket.plan.resolution) / 2)
        if self.simplify:
            vertices, faces = meshing.simplify(vertices, faces, self.max_error, self.reduction)
        vertices = vertices + np.multiply(bucket.plan.bounds.lo, bucket.plan.resolution)
        folder = f"{self.layer}/{self.dir}"
        io.put(f"{folder}/{files.fragment_name(label)}", files.encode(vertices, faces), "gzip")
        io.put(f"{folder}/{files.manifest_name(label)}", files.manifest(label))
        return True

    def finish(self, io: IO) -> None:
        """Describe the folder and name it in the layer's info."""
        plan = self.shelf(io).plan(self.kind)
        io.put_json(f"{self.layer}/{self.dir}/info", files.info(plan.mip))
        io.edit_info(self.layer, mesh=self.dir)
