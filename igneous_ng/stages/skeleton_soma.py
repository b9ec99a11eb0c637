"""Somata and other thick objects, traced with their context at a coarser level."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng import somata
from igneous_ng.errors import DataError, SpecError
from igneous_ng.forging import Bucket, Plan, Shelf, check_dir
from igneous_ng.formats import remaps
from igneous_ng.formats import skeleton as files
from igneous_ng.geometry import Box, Vec3, Vec3f, vec
from igneous_ng.io import IO
from igneous_ng.kernels.skeleton_tracing import RULES, Method, Tree, trace_mask
from igneous_ng.kernels.skeletonising import weld
from igneous_ng.labelled import read_box, remapped
from igneous_ng.somata import Region
from igneous_ng.stage import LayerUrl, Stage, arg, opt
from igneous_ng.volume import Volume

Array = npt.NDArray[Any]
_VOXEL_BYTES = 60  # of memory for a voxel of the region, beside its label, of 8 if it is remapped
_REACHES = (0, 1, 2, 4, 8, 16, 32)  # voxels: how far an object may shrink at a coarser level


@dataclass(frozen=True, kw_only=True)
class SkeletonSoma(Stage, name="skeleton soma"):
    """Trace what `skeleton forge --defer` left: thick objects, each whole, at a coarser level.

    An object is traced in the cells that left it and those around them; there its lines meet those of the cells
    further out. The level is the finest that memory allows. Run it after `skeleton forge` and before `skeleton merge`.
    """

    example = "./seg --mip 3"

    layer: LayerUrl = arg("The segmentation whose objects are made.")
    dir: str = opt("skeletons", "Folder of the pieces, inside the layer.")
    mip: int = opt(0, "Finest level to work on; where memory does not allow it, the next one that it allows.")
    fill_missing: bool = opt(False, "Read missing chunks as background.")

    def check(self) -> None:
        """Raise SpecError where the fields cannot go together."""
        check_dir(self.dir, f"{self.name}.dir")
        if self.mip < 0:
            raise SpecError(f"{self.name}: mip {self.mip}; levels count from 0 up")

    def home(self) -> str:
        """The layer keeps the records."""
        return self.layer

    def places(self, io: IO) -> tuple[str, ...]:
        """The folder of the pieces."""
        return (f"{self.layer}/{self.dir}",)

    def _bucket(self, unit: int, io: IO) -> Bucket:
        shelf = Shelf(io, self.layer, self.dir)
        return Bucket(shelf, shelf.plan("skeleton"), unit)

    def prepare(self, io: IO) -> None:
        """Refuse to begin before forging has finished."""
        Shelf(io, self.layer, self.dir).completed("skeleton")

    def units(self, io: IO) -> range:
        """The numbers of the buckets."""
        return range(Shelf(io, self.layer, self.dir).plan("skeleton").buckets)

    def peak_bytes(self, unit: int, io: IO) -> int:
        """The index of a bucket and the largest region in it, at its level."""
        bucket = self._bucket(unit, io)
        needed = [0]
        for _, rows in bucket.objects():
            for region in somata.regions(bucket.plan, somata.deferred(bucket, rows)):
                volume = self._level(region, io)
                needed.append(_cost(_coarse(region.box, volume, bucket.plan)))
        return 3 * (bucket.entries.nbytes + bucket.owners.nbytes) + max(needed)

    def execute(self, unit: int, io: IO) -> None:
        """Trace the objects of a bucket that were left, one after the other."""
        bucket = self._bucket(unit, io)
        made = {}
        for label, rows in bucket.objects():
            cells = somata.deferred(bucket, rows)
            if len(cells):
                graphs = [
                    self._traced(label, region, bucket, rows, io) for region in somata.regions(bucket.plan, cells)
                ]
                whole = weld([(g.vertices, g.edges, g.attributes) for g in graphs])
                made[label] = (files.Graph(*whole), somata.mark(bucket, rows))
        somata.store(bucket.shelf, unit, made)
        io.note(objects=len(made))

    def _level(self, region: Region, io: IO) -> Volume:
        """The finest level that memory allows; DataError where there is none."""
        plan, info = region.plan, io.info(self.layer)
        for mip in range(max(self.mip, plan.mip), len(info.scales)):
            volume = io.volume(self.layer, mip, self.fill_missing)
            if min(_factor(volume, plan)) and _cost(_coarse(region.box, volume, plan)) <= self.memory:
                return volume
        raise DataError(
            f"{self.layer}: no level holds {region.box} (mip {plan.mip}) in {self.memory:,} bytes; make coarser levels "
            "with `image downsample`, give more --memory, or forge with a larger --defer"
        )

    def _traced(self, label: int, region: Region, bucket: Bucket, rows: slice, io: IO) -> files.Graph:
        """The lines of an object in a region, its vertices as those of all pieces."""
        plan, volume = bucket.plan, self._level(region, io)
        factor, box = np.array(_factor(volume, plan)), _coarse(region.box, volume, plan)
        corner = np.array(box.lo) * factor + factor // 2 - plan.bounds.lo  # the first voxel, among those of pieces
        mask = self._labels(volume, box, plan, io) == label
        _keep_inside(mask, region, factor, corner)
        joints = np.array(list(region.joints(bucket, rows)), np.int64).reshape(-1, 3)
        met = _nearest(mask, np.rint((joints - corner) / factor).astype(np.int64), volume.resolution)
        joints, met = joints[met[:, 0] >= 0], met[met[:, 0] >= 0]
        rules = {key: plan.parameters[key] for key in RULES}
        tree = trace_mask(mask, volume.resolution, Method(rules), met)
        graph = _joined(tree, met, joints, factor, corner)
        return replace(graph, vertices=np.clip(graph.vertices, 0, np.array(plan.bounds.shape) - 1))

    def _labels(self, volume: Volume, box: Box, plan: Plan, io: IO) -> Array:
        """The objects in ``box``, as forging saw them."""
        labels = read_box(io, volume, box)
        if (where := plan.parameters.get("remap")) is None:
            return labels
        if (table := io.get(where)) is None:
            raise DataError(f"{where}: this table of labels is missing")
        return remapped(labels, *remaps.parse(table, where))


def _factor(volume: Volume, plan: Plan) -> Vec3:
    """How many voxels of the pieces one of ``volume`` spans along each axis; zeros where that is no whole number."""
    found = [a / b for a, b in zip(volume.resolution, plan.resolution, strict=True)]
    return vec(map(round, found)) if all(abs(f - round(f)) < 1e-6 for f in found) else (0, 0, 0)


def _coarse(box: Box, volume: Volume, plan: Plan) -> Box:
    return (box // _factor(volume, plan)) & volume.bounds


def _cost(box: Box) -> int:
    return box.voxels * (8 + _VOXEL_BYTES)


def _keep_inside(mask: Array, region: Region, factor: Array, corner: Array) -> None:
    """Take out of ``mask`` what lies in cells beyond the region, plane by plane."""
    for z in range(mask.shape[2]):
        flat = np.argwhere(mask[:, :, z])
        points = np.column_stack([flat, np.full(len(flat), z)])
        mask[flat[:, 0], flat[:, 1], z] = region.holds(points * factor + corner)


def _nearest(mask: Array, points: Array, resolution: Vec3f) -> Array:
    """The voxel of ``mask`` next to each of ``points`` [n, 3]; -1 where there is none within 32 voxels."""
    found = np.full(points.shape, -1)
    for row, point in enumerate(points):
        for reach in _REACHES:
            low = np.maximum(point - reach, 0)
            near = np.argwhere(mask[tuple(map(slice, low, np.maximum(point + reach + 1, 0)))]) + low
            if len(near):
                found[row] = near[np.argmin(((near - point) * resolution * (near - point) * resolution).sum(axis=1))]
                break
    return found


def _joined(tree: Tree, met: Array, joints: Array, factor: Array, corner: Array) -> files.Graph:
    """``tree`` in voxels of the pieces, and an edge from each vertex of ``met`` to the joint that it stands for.

    Joints have no radius of their own: the piece outside knows it.
    """
    count, at = len(tree.vertices), {tuple(v): i for i, v in enumerate(tree.vertices.tolist())}
    lone = sorted({tuple(v) for v in met.tolist()} - at.keys())
    at |= {vertex: count + i for i, vertex in enumerate(lone)}
    every = np.concatenate([tree.vertices, np.array(lone, np.int64).reshape(-1, 3)]) * factor + corner
    bridges = np.array([[at[tuple(v)], len(every) + i] for i, v in enumerate(met.tolist())], np.int64).reshape(-1, 2)
    radii = np.concatenate([tree.radii, np.zeros(len(lone)), np.full(len(joints), np.inf)]).astype(np.float32)
    types = np.concatenate([tree.types, np.zeros(len(lone) + len(joints), np.uint8)])
    edges = np.concatenate([tree.edges, bridges])
    return files.Graph(np.concatenate([every, joints]), edges, {"radius": radii, "vertex_types": types})
