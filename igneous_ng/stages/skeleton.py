"""Skeletons: the centre lines of objects, made in cells and merged into one tree an object."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from igneous_ng import reach
from igneous_ng.errors import DataError, SpecError
from igneous_ng.forging import Bucket, Forging, Merging
from igneous_ng.formats import fragments, points, sharding
from igneous_ng.formats import skeleton as files
from igneous_ng.formats.fragments import Piece
from igneous_ng.formats.sharding import Spec
from igneous_ng.geometry import Box, Grid, Vec3, vec
from igneous_ng.io import IO
from igneous_ng.kernels import skeletonising
from igneous_ng.kernels.skeleton_sections import areas
from igneous_ng.kernels.skeleton_tracing import SOMA, Method, Tree, trace
from igneous_ng.kernels.skeletonising import Cleaning
from igneous_ng.labelled import beyond, count_voxels
from igneous_ng.somata import DEFERRED, Somata
from igneous_ng.stage import Layer, opt
from igneous_ng.volume import Volume

Array = npt.NDArray[Any]
Objects = list[tuple[int, slice]]
"""Labels, and the rows of their pieces in a bucket."""
_SUSPECTS = 100  # labels named in a record


@dataclass(frozen=True, kw_only=True)
class SkeletonForge(Forging, name="skeleton forge"):
    """Trace the centre lines of all objects, cell by cell.

    TEASAR (Sato et al. 2000) as kimimaro varies it. Cells share a plane of voxels, on which the lines of
    both sides end at the same voxels, so that `skeleton merge` joins them exactly.
    """

    example = "./seg --mip 1 -p 4"
    kind: ClassVar[str] = "skeleton"

    dir: str = opt("skeletons", "Folder of the skeletons, inside the layer.")
    scale: float = opt(1.5, "A path makes superfluous what is within this many of its radii.")
    const: float = opt(300.0, "Nanometres added to that distance.")
    pdrf_scale: float = opt(100_000.0, "How much more a path near the surface costs than one in the middle.")
    pdrf_exponent: int = opt(4, "How fast that cost falls towards the middle.")
    soma_detection: float = opt(750.0, "Radius in nm from which an object is looked at as a soma, without its holes.")
    soma_acceptance: float = opt(3500.0, "Radius in nm from which an object counts as a soma.")
    soma_invalidation_scale: float = opt(2.0, "Like scale, for the centre of a soma.")
    soma_invalidation_const: float = opt(300.0, "Like const, for the centre of a soma.")
    max_paths: int = opt(0, "Paths drawn in one object of a cell at most; 0 draws all.")
    fill_holes: bool = opt(False, "Fill the holes of every object first; objects inside them are lost.")
    fix_avocados: bool = opt(False, "Join nuclei that are labels of their own with the somata around them first.")
    defer: float = opt(0.0, "Radius in nm from which a cell leaves an object to `skeleton soma`; 0 leaves none.")
    defer_labels: tuple[int, ...] = opt((), "Objects that every cell leaves to `skeleton soma`.")
    targets: str = opt("", "File of points that lines must reach, such as synapses: x, y, z in nm, and label, type.")
    cross_section: int = opt(
        0, "Measure the area across each vertex, its direction taken over so many vertices; 0 measures none."
    )
    context: int = opt(32, "Voxels beyond the cell in which areas are followed; the rest is not counted.")
    threads: int = opt(1, "Processors that one task uses; the result is the same for any number.")

    def check(self) -> None:
        """No parameter is negative."""
        super().check()
        for key, value in {**self.teasar(), "defer": self.defer}.items():
            if not 0 <= value <= 1e9:
                raise SpecError(f"skeleton forge: {key} is {value}; give a number from 0 to 1e9")
        if not 0 <= self.cross_section <= 1000 or not 1 <= self.context <= 1000:
            raise SpecError(
                f"skeleton forge: cross_section is {self.cross_section} and context is {self.context}; "
                "give numbers up to 1000, from 0 and from 1"
            )
        if self.pdrf_exponent > 1024 or not 1 <= self.threads <= 1024:
            raise SpecError(
                f"skeleton forge: pdrf_exponent is {self.pdrf_exponent} and threads is {self.threads}; "
                "both go up to 1024, and threads start at 1"
            )
        if self.mask is not None and (self.defer or self.defer_labels):
            raise SpecError("skeleton forge: `skeleton soma` sees no masks; leave out --mask, or all that is deferred")

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
            "max_paths": self.max_paths,
        }

    def parameters(self) -> dict[str, Any]:
        """Those of every forging, kimimaro's, and the repairs."""
        other = {"fill_holes": self.fill_holes, "fix_avocados": self.fix_avocados, "targets": self.targets}
        left = {"defer": self.defer, "defer_labels": [str(label) for label in sorted(set(self.defer_labels))]}
        areas = {"cross_section": self.cross_section, "context": self.context if self.cross_section else 0}
        return {**super().parameters(), **self.teasar(), **other, **left, **areas}

    def method(self) -> Method:
        """How objects are traced."""
        return Method(self.teasar(), self.fill_holes, self.fix_avocados, self.threads, self.defer or np.inf)

    def prepare(self, io: IO) -> None:
        """Write the plan, and the points that lines must reach, cell by cell."""
        super().prepare(io)
        if self.targets:
            data = io.get(Layer.parse(self.targets))
            if data is None:
                raise DataError(f"{self.targets}: there is no such file; check --targets")
            plan = self.plan(io)
            for cell, found in reach.by_cell(points.parse(data, self.targets), plan).items():
                io.put(self._targets(cell, io), reach.encode(found))

    def _targets(self, cell: Box, io: IO) -> str:
        return self.shelf(io).container(cell).removesuffix(".frags") + ".targets"

    def peak_bytes(self, unit: Box, io: IO) -> int:
        """Labels, distances and paths of one cell, and labels around it where areas are measured."""
        # Measured as growth of the resident set with one object that fills the cell: docs/design/015.
        volume = self.volume(io)
        size = volume.dtype.itemsize if self.remap is None else 8
        voxels = unit.grow((0, 0, 0), (1, 1, 1)).voxels
        seen = (self._around(unit, volume).voxels if self.cross_section else 0) * (2 * size + 9)
        masking = self.mask_bytes(io, self._around(unit, volume), volume.resolution)
        return seen + voxels * (3 * size + 40 + self.threads) + masking

    def _around(self, unit: Box, volume: Volume) -> Box:
        """The cell, the voxels that it shares with those behind it, and those that areas are followed in."""
        more = self.context if self.cross_section else 0
        return unit.grow((more, more, more), (max(1, more),) * 3) & volume.bounds

    def execute(self, unit: Box, io: IO) -> None:
        """Make the pieces of one cell."""
        volume = self.volume(io)
        outer, mine = self._around(unit, volume), beyond(unit, volume)
        around = self.objects(io, volume, outer)
        labels = around[mine.slices(outer.lo)]
        voxels = count_voxels(labels, unit)
        later = set(self.defer_labels) & voxels.keys()
        trees, thick = self._trace(labels, mine, later, io)
        pieces = {label: Piece(count, 0, b"") for label, count in voxels.items()}
        cuts = self._areas(around, vec(np.subtract(mine.lo, outer.lo)), trees, volume)
        for label, tree in trees.items():
            attributes = {"radius": tree.radii, "vertex_types": tree.types, **next(cuts)}
            piece = files.Graph(tree.vertices + np.subtract(unit.lo, volume.bounds.lo), tree.edges, attributes)
            pieces[label] = Piece(voxels[label], piece.nbytes, files.encode_piece(piece))
        for label in later | thick:
            pieces[label] = Piece(voxels[label], DEFERRED, b"")
        centres = sum(int((tree.types == SOMA).sum()) for tree in trees.values())
        io.note(objects=len(pieces), traced=len(trees), deferred=len(later | thick), somata=centres)
        shelf = self.shelf(io)
        shelf.store(unit, pieces, shelf.plan(self.kind).buckets)

    def _trace(self, labels: Array, box: Box, later: set[int], io: IO) -> tuple[dict[int, Tree], set[int]]:
        """The trees of a cell whose voxels with those shared are ``box``, and labels that are too thick."""
        import fastremap

        volume, wanted = self.volume(io), None
        labels = fastremap.mask(labels, list(later)) if later else labels
        if self.targets:
            cell = next(iter(Grid(volume.bounds, self.cell, Box.sized(box.lo, (1, 1, 1)))))
            wanted = io.get(self._targets(cell, io))
        if wanted is None:
            return trace(labels, volume.resolution, self.method())
        found, missed = reach.snapped(reach.decode(wanted), labels, box, volume.resolution)
        io.note(targets=len(found), targets_missed=missed)
        trees, thick = trace(labels, volume.resolution, self.method(), found["at"])
        return {label: reach.typed(tree, found) for label, tree in trees.items()}, thick

    def _areas(self, around: Array, corner: Vec3, trees: dict[int, Tree], volume: Volume) -> Iterator[dict[str, Array]]:
        """The areas across the vertices of each tree, where they are wanted."""
        import fastremap

        small = fastremap.renumber(around, in_place=False)[0].astype(np.uint32) if self.cross_section else around
        for tree in trees.values():
            found = areas(small, corner, tree, volume.resolution, self.cross_section) if self.cross_section else None
            yield {} if found is None else {"cross_sectional_area": found}


@dataclass
class Tally:
    """Quality figures of the objects that one task made."""

    objects: int = 0
    cable_um: float = 0.0
    branches: int = 0
    ends: int = 0
    in_parts: int = 0
    several_somata: list[int] = field(default_factory=list)

    def add(self, label: int, graph: files.Graph) -> None:
        """Enter one skeleton."""
        parts, cable, branches, ends = skeletonising.figures(graph.vertices, graph.edges)
        self.objects += 1
        self.in_parts += parts > 1
        self.cable_um += cable / 1000
        self.branches += branches
        self.ends += ends
        if np.count_nonzero(graph.attributes["vertex_types"] == SOMA) > 1:
            self.several_somata.append(label)

    def notes(self) -> dict[str, Any]:
        """For the record: how much there is, and objects that look like mergers, a hundred at most."""
        figures = {key: value for key, value in vars(self).items() if key != "several_somata"}
        suspects = [str(label) for label in self.several_somata[:_SUSPECTS]]
        return {**figures, "cable_um": round(self.cable_um, 3), **({"several_somata": suspects} if suspects else {})}


@dataclass(frozen=True, kw_only=True)
class SkeletonMerge(Merging, name="skeleton merge"):
    """Join the pieces of each object into one skeleton and write it as Neuroglancer reads it.

    Loops are cut where they are thinnest, parts that touch are joined, short twigs go, and so do those that only the
    borders of cells made. Vertices have a radius and a type, 1 for the centre of a soma, and what else was forged.
    """

    example = "./seg --tick 1000 -p 4"
    kind: ClassVar[str] = "skeleton"
    type: ClassVar[str] = files.TYPE
    growth: ClassVar[int] = 40

    dir: str = opt("skeletons", "Folder of the pieces and of the skeletons, inside the layer.")
    tick: float = opt(0.0, "Twigs shorter than this many nanometres are removed.")
    min_length: float = opt(0.0, "Connected parts with less cable than this many nanometres are removed.")
    sharded: bool = opt(False, "Put skeletons together in shards of about 32 MB; by default one object each.")

    def check(self) -> None:
        """Lengths are not negative."""
        super().check()
        if min(self.tick, self.min_length) < 0:
            raise SpecError(
                f"skeleton merge: tick {self.tick} nm, min_length {self.min_length} nm; give 0 or a positive number"
            )

    def prepare(self, io: IO) -> None:
        """As any merging; choose the shards, and refuse to put skeletons in shards among those that are not."""
        super().prepare(io)
        found = io.get_json(f"{self.layer}/{self.dir}/info")
        if found is not None and ("sharding" in found) != self.sharded:
            raise SpecError(
                f"{self.layer}/{self.dir} has skeletons {'in shards' if 'sharding' in found else 'without shards'}; "
                "ask for the same, or run `skeleton delete` first"
            )
        if self.sharded:
            bucket = self.bucket(0, io)
            spec = fragments.spec_for(bucket.plan.buckets, int(bucket.entries["size"].sum()))
            io.put_json(self._spec_url(io), spec.to_json())

    def _spec_url(self, io: IO) -> str:
        return f"{self.shelf(io).url}/sharding.json"

    def spec(self, io: IO) -> Spec | None:
        """The shards that were chosen; None where there are to be none."""
        return Spec.parse(io.get_json(self._spec_url(io))) if self.sharded else None

    def peak_bytes(self, unit: int, io: IO) -> int:
        """As any merging, and what is held of a shard."""
        if not self.sharded:
            return super().peak_bytes(unit, io)
        bucket = self.bucket(unit, io)
        spec = fragments.spec_for(bucket.plan.buckets, int(bucket.entries["size"].sum()))
        shards = spec.locate(bucket.entries["label"])[0]
        _, place = np.unique(shards, return_inverse=True)
        largest = int(np.bincount(place, bucket.entries["size"], 1).max())
        return super().peak_bytes(unit, io) + 3 * largest

    def execute(self, unit: int, io: IO) -> None:
        """Merge the objects of a bucket, one after the other, and write each, or each shard of them."""
        bucket, spec, tally = self.bucket(unit, io), self.spec(io), Tally()
        folder = f"{self.layer}/{self.dir}"
        for shard, objects in _by_shard(list(self.wanted(bucket, io)), spec):
            made = self._made(objects, bucket, tally)
            if spec is None:
                for label, data in made:
                    io.put(f"{folder}/{label}", data, "gzip")
            elif packed := dict(made):
                io.put(f"{folder}/{spec.name(shard)}", sharding.pack(spec, packed))
        io.note(**tally.notes())

    def _made(self, objects: Objects, bucket: Bucket, tally: Tally) -> Iterator[tuple[int, bytes]]:
        """The skeletons of ``objects`` that have one, encoded."""
        somata = Somata(bucket)
        for label, rows in objects:
            if (graph := self.joined(somata, bucket, rows)) is not None:
                tally.add(label, graph)
                yield label, files.encode(graph)

    def joined(self, somata: Somata, bucket: Bucket, rows: slice) -> files.Graph | None:
        """The pieces of one object as one clean tree, in nm; None if nothing is left."""
        pieces = list(somata.pieces(rows))
        if not pieces:
            return None
        vertices, edges, values = skeletonising.weld([(p.vertices, p.edges, p.attributes) for p in pieces])
        plan = bucket.plan
        places = (vertices + 0.5) * plan.resolution
        seams = ((vertices % plan.cell == 0) & (vertices > 0)).any(axis=1)
        rules = Cleaning(self.tick, self.min_length, plan.parameters["scale"], plan.parameters["const"])
        used, edges = skeletonising.tidy(places, edges, values["radius"], seams, rules)
        places = places[used] + np.multiply(plan.bounds.lo, plan.resolution)
        kept = {name: values[name][used] for name in files.ATTRIBUTES if name in values}
        return files.Graph(places, edges, kept) if len(edges) else None

    def finish(self, io: IO) -> None:
        """Describe the folder and name it in the layer's info."""
        plan = self.shelf(io).plan(self.kind)
        more = ("cross_sectional_area",) if plan.parameters.get("cross_section") else ()
        described = files.info(plan.mip, ("radius", "vertex_types", *more), self.spec(io))
        io.put_json(f"{self.layer}/{self.dir}/info", described)
        io.edit_info(self.layer, skeletons=self.dir)


def _by_shard(objects: Objects, spec: Spec | None) -> Iterator[tuple[int, Objects]]:
    """Objects shard by shard; all as shard 0 where there are none."""
    if spec is None:
        yield 0, objects
        return
    shards = spec.locate(np.array([label for label, _ in objects], np.uint64))[0].tolist()
    for shard in sorted(set(shards)):
        yield shard, [one for one, home in zip(objects, shards, strict=True) if home == shard]
