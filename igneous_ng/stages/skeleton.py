"""Skeletons: the centre lines of objects, made in cells and merged into one tree an object."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from igneous_ng.errors import SpecError
from igneous_ng.forging import Bucket, Forging, Merging, count_voxels, only, read_labels
from igneous_ng.formats import skeleton as files
from igneous_ng.formats.fragments import Piece
from igneous_ng.geometry import Box
from igneous_ng.io import IO
from igneous_ng.kernels import skeletonising
from igneous_ng.stage import opt


@dataclass(frozen=True, kw_only=True)
class SkeletonForge(Forging, name="skeleton forge"):
    """Trace the centre lines of all objects, cell by cell.

    TEASAR (Sato et al. 2000) as kimimaro has it. Cells share a plane of voxels, on which the lines of
    both sides end at the same voxels, so that `skeleton merge` joins them exactly.
    """

    kind: ClassVar[str] = "skeleton"

    dir: str = opt("skeletons", "Folder of the skeletons, inside the layer.")
    scale: float = opt(1.5, "A path makes superfluous what is within this many of its radii.")
    const: float = opt(300.0, "Nanometres added to that distance.")
    pdrf_scale: float = opt(100_000.0, "How much more a path near the surface costs than one in the middle.")
    pdrf_exponent: int = opt(4, "How fast that cost falls towards the middle.")
    soma_detection: float = opt(750.0, "Radius in nm from which an object is looked at as a soma.")
    soma_acceptance: float = opt(3500.0, "Radius in nm from which an object counts as a soma.")
    soma_invalidation_scale: float = opt(2.0, "Like scale, for the centre of a soma.")
    soma_invalidation_const: float = opt(300.0, "Like const, for the centre of a soma.")

    def check(self) -> None:
        """No parameter is negative."""
        super().check()
        for key, value in self.teasar().items():
            if value < 0:
                raise SpecError(f"skeleton forge: {key} is {value}; give 0 or a positive number")

    def teasar(self) -> dict[str, float]:
        """The parameters as kimimaro calls them."""
        return {
            "scale": self.scale,
            "const": self.const,
            "pdrf_scale": self.pdrf_scale,
            "pdrf_exponent": self.pdrf_exponent,
            "soma_detection_threshold": self.soma_detection,
            "soma_acceptance_threshold": self.soma_acceptance,
            "soma_invalidation_scale": self.soma_invalidation_scale,
            "soma_invalidation_const": self.soma_invalidation_const,
        }

    def parameters(self) -> dict[str, Any]:
        """Those of every forging, and kimimaro's."""
        return {**super().parameters(), **self.teasar()}

    def peak_bytes(self, unit: Box, io: IO) -> int:
        """Labels, distances and paths of one cell."""
        # Measured as growth of the resident set with one object that fills the cell: docs/design/006.
        return unit.grow((0, 0, 0), (1, 1, 1)).voxels * (3 * self.volume(io).dtype.itemsize + 60)

    def execute(self, unit: Box, io: IO) -> None:
        """Make the pieces of one cell."""
        volume = self.volume(io)
        labels = only(read_labels(io, volume, unit), self.labels)
        voxels = count_voxels(labels, unit)
        corner = np.array(unit.lo) - volume.bounds.lo
        pieces = {label: Piece(count, 0, b"") for label, count in voxels.items()}
        for label, (vertices, edges, radii) in skeletonising.trace(labels, volume.resolution, self.teasar()).items():
            piece = files.Graph(vertices + corner, edges, radii)
            size = vertices.nbytes + edges.nbytes + radii.nbytes
            pieces[label] = Piece(voxels[label], size, files.encode_piece(piece))
        io.note(objects=len(pieces))
        shelf = self.shelf(io)
        shelf.store(unit, pieces, shelf.plan(self.kind).buckets)


@dataclass(frozen=True, kw_only=True)
class SkeletonMerge(Merging, name="skeleton merge"):
    """Join the pieces of each object into one skeleton and write it as Neuroglancer reads it.

    Loops are cut where they are thinnest, parts that touch are joined, and short twigs go.
    """

    kind: ClassVar[str] = "skeleton"
    type: ClassVar[str] = files.TYPE
    growth: ClassVar[int] = 40

    dir: str = opt("skeletons", "Folder of the pieces and of the skeletons, inside the layer.")
    tick: float = opt(0.0, "Twigs shorter than this many nanometres are removed.")
    min_length: float = opt(0.0, "Connected parts with less cable than this many nanometres are removed.")

    def check(self) -> None:
        """Lengths are not negative."""
        super().check()
        if min(self.tick, self.min_length) < 0:
            raise SpecError(
                f"skeleton merge: tick {self.tick} nm, min_length {self.min_length} nm; give 0 or a positive number"
            )

    def merge(self, label: int, bucket: Bucket, rows: slice, io: IO) -> bool:
        """Join the pieces of one object, clean the tree and write it."""
        pieces = [files.decode_piece(data, where) for data, where in bucket.payloads(rows)]
        if not pieces:
            return False
        vertices, edges, radii = skeletonising.weld([(p.vertices, p.edges, p.radii) for p in pieces])
        points = (vertices + 0.5) * bucket.plan.resolution
        points, edges, radii = skeletonising.tidy(points, edges, radii, self.tick, self.min_length)
        if not len(edges):
            return False
        points = points + np.multiply(bucket.plan.bounds.lo, bucket.plan.resolution)
        io.put(f"{self.layer}/{self.dir}/{label}", files.encode(points, edges, radii), "gzip")
        return True

    def finish(self, io: IO) -> None:
        """Describe the folder and name it in the layer's info."""
        plan = self.shelf(io).plan(self.kind)
        io.put_json(f"{self.layer}/{self.dir}/info", files.info(plan.mip))
        io.edit_info(self.layer, skeletons=self.dir)
