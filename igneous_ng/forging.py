"""Forging and merging, the two phases by which meshes and skeletons are made, apart from the geometry itself.

Forging goes cell by cell and leaves one container of pieces a cell; merging goes bucket by bucket, a
bucket being all labels of one hash, and leaves one object a label. Between them lies a folder
``fragments`` with a plan, which both follow, and a list of the regions that are forged.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from igneous_ng.desks import agree
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import fragments, remaps
from igneous_ng.formats.fragments import Piece
from igneous_ng.geometry import Box, Grid, Vec3, Vec3f, vec
from igneous_ng.io import IO
from igneous_ng.labelled import only, remapped, unsigned, without
from igneous_ng.masks import Masked
from igneous_ng.stage import Layer, LayerUrl, Stage, arg, opt
from igneous_ng.volume import Volume

Array = npt.NDArray[Any]
_BUCKETS = (32, 1024)  # enough to keep a machine busy; few enough that merging seldom opens every container
_CELLS_PER_BUCKET = 8
IMPORTED = "imported"
"""The parameter of a plan that names the folder whose fragments were taken over; their voxels are not known."""


@dataclass(frozen=True)
class Plan:
    """What forging and merging must agree on. ``parameters`` are what shapes the pieces, in JSON's types."""

    kind: str
    mip: int
    cell: Vec3
    bounds: Box
    resolution: Vec3f
    buckets: int
    parameters: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """The plan in JSON's types."""
        lists = {"cell": list(self.cell), "bounds": str(self.bounds), "resolution": list(self.resolution)}
        return {**dataclasses.asdict(self), **lists, "parameters": dict(self.parameters)}

    @classmethod
    def parse(cls, raw: Any, where: str) -> Plan:
        """The plan that :meth:`to_json` gave; DataError, naming ``where``, for another value."""
        try:
            x, y, z = map(float, raw["resolution"])
            return cls(
                str(raw["kind"]),
                int(raw["mip"]),
                vec(raw["cell"]),
                Box.parse(raw["bounds"]),
                (x, y, z),
                int(raw["buckets"]),
                dict(raw["parameters"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{where}: not a plan of fragments ({error}); remove this folder and forge again"
            ) from error

    @property
    def grid(self) -> Grid:
        """All cells."""
        return Grid(self.bounds, self.cell)


@dataclass(frozen=True)
class Shelf:
    """The folder of fragments of one layer and ``dir``."""

    io: IO
    layer: str
    dir: str

    @property
    def url(self) -> str:
        """Where the fragments are."""
        return f"{self.layer}/{self.dir}/fragments"

    def container(self, cell: Box) -> str:
        """Where the pieces of ``cell`` are."""
        name = "_".join(f"{a}-{b}" for a, b in zip(cell.lo, cell.hi, strict=True))
        return f"{self.url}/{name}.frags"

    def begin(self, plan: Plan) -> None:
        """Write the plan, or accept the same; SpecError says in what another one differs."""
        agree(self.io, f"{self.url}/plan.json", plan.to_json(), "pieces were forged", "give another --dir")

    def plan(self, kind: str) -> Plan:
        """The plan of what was forged here; DataError if there is none or it is of another kind."""
        raw = self.io.get_json(f"{self.url}/plan.json")
        if raw is None:
            raise DataError(
                f"{self.url}: nothing is forged here; run `{kind} forge` with the same --dir first, or "
                f"`{kind} import` where Igneous forged"
            )
        plan = Plan.parse(raw, f"{self.url}/plan.json")
        if plan.kind != kind:
            raise DataError(f"{self.url} holds pieces of kind {plan.kind}, not {kind}; give another --dir")
        return plan

    def complete(self, region: Box) -> None:
        """Enter ``region`` among those whose cells are all forged."""
        url = f"{self.url}/complete.json"
        regions = {Box.parse(text) for text in (self.io.get_json(url) or {"regions": []})["regions"]}
        if any(region in other for other in regions):
            return
        kept = {other for other in regions if other not in region} | {region}
        self.io.put_json(url, {"regions": sorted(map(str, kept))})

    def completed(self, kind: str) -> list[Box]:
        """The regions whose cells are all forged; DataError if there is none."""
        raw = self.io.get_json(f"{self.url}/complete.json")
        if raw is None:
            raise DataError(f"{self.url}: forging has not finished; wait for `{kind} forge`, or run it")
        return [Box.parse(text) for text in raw["regions"]]

    def store(self, cell: Box, pieces: Mapping[int, Piece], buckets: int) -> None:
        """Write the container of ``cell``."""
        self.io.put(self.container(cell), fragments.pack(pieces, buckets))


class Bucket:
    """The pieces of all labels of one bucket: their index in memory, their geometry read object by object."""

    def __init__(self, shelf: Shelf, plan: Plan, number: int) -> None:
        self.shelf, self.plan, self.number = shelf, plan, number
        regions = shelf.completed(plan.kind)
        cells = [i for i, cell in enumerate(plan.grid) if any((cell & r).voxels for r in regions)]
        parts = [self._index(plan.grid[i]) for i in cells]
        entries = np.concatenate(parts) if parts else np.zeros(0, fragments.ENTRY)
        owners = np.repeat(np.array(cells, np.int64), [len(p) for p in parts])
        order = np.argsort(entries["label"], kind="stable")
        self.entries, self.owners = entries[order], owners[order]

    def _index(self, cell: Box) -> Array:
        url, io = self.shelf.container(cell), self.shelf.io
        data = self._read(url, fragments.index_span(self._read(url, fragments.table_span(self.number)), url))
        io.saw_part(url, self.number, fragments.identity(data))
        return fragments.read_index(data, self.number, self.plan.buckets, url)

    def _read(self, url: str, span: tuple[int, int]) -> bytes:
        data = self.shelf.io.peek(url, span)
        if data is None:
            raise DataError(f"{url}: this container is missing; forge the cell again")
        return data

    def objects(self) -> Iterator[tuple[int, slice]]:
        """Each label, ascending, and the rows of its pieces."""
        labels, starts, counts = np.unique(self.entries["label"], return_index=True, return_counts=True)
        for label, start, count in zip(labels.tolist(), starts.tolist(), counts.tolist(), strict=True):
            yield label, slice(start, start + count)

    def voxels(self, rows: slice) -> int:
        """The exact number of voxels of an object."""
        return int(self.entries["voxels"][rows].sum())

    def size(self, rows: slice) -> int:
        """Bytes of an object's pieces once decoded."""
        return int(self.entries["size"][rows].sum())

    def payloads(self, rows: slice | Array) -> Iterator[tuple[bytes, str]]:
        """The geometry of an object's pieces that have any, encoded, and where each comes from."""
        for entry, owner in zip(self.entries[rows], self.owners[rows].tolist(), strict=True):
            if entry["length"]:
                url = self.shelf.container(self.plan.grid[owner])
                yield fragments.check_payload(self._read(url, fragments.payload_span(entry)), entry, url), url


def buckets_for(cells: int) -> int:
    """In how many buckets the pieces of so many cells are merged, where nobody says: a power of two."""
    low, high = _BUCKETS
    return min(high, max(low, 1 << (cells // _CELLS_PER_BUCKET).bit_length()))


def check_dir(name: str, where: str) -> None:
    """SpecError unless ``name`` is a folder directly in the layer."""
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name, re.ASCII):
        raise SpecError(f"{where}: {name!r} is no folder name; give one such as mesh, of letters, digits, - and _")


@dataclass(frozen=True, kw_only=True)
class Shelved(Stage):
    """What forging and merging share: a segmentation, and a folder inside it."""

    layer: LayerUrl = arg("The segmentation whose objects are made.")
    dir: str = opt("", "Folder of the results, inside the layer.")

    def check(self) -> None:
        """Raise SpecError where the fields cannot go together."""
        super().check()
        check_dir(self.dir, f"{self.name}.dir")

    def home(self) -> str:
        """The layer keeps the records."""
        return self.layer

    def places(self, io: IO) -> tuple[str, ...]:
        """The folder of the results, with that of the pieces."""
        return (f"{self.layer}/{self.dir}",)

    def shelf(self, io: IO) -> Shelf:
        """Where the pieces are."""
        return Shelf(io, self.layer, self.dir)


@dataclass(frozen=True, kw_only=True)
class Forging(Shelved, Masked):
    """What forging is for any kind of object; a kind adds ``parameters`` and ``execute``."""

    kind: ClassVar[str]

    mip: int = opt(0, "Mip level to work on.")
    cell: Vec3 = opt((256, 256, 256), "Voxels of one task.")
    roi: Box | None = opt(None, "Only the cells that see some of this box, in voxels of the mip.")
    labels: tuple[int, ...] = opt((), "Only these labels; all of them where none is given.")
    exclude: tuple[int, ...] = opt((), "All but these labels.")
    remap: Layer | None = opt(None, "Table of the object of each label (.json, .csv, .npz, .npy); others stay objects.")
    fill_missing: bool = opt(False, "Read missing chunks as background.")
    buckets: int = opt(0, "Parts in which merging is done; 0 chooses by the number of cells.")

    def check(self) -> None:
        """Raise SpecError where the fields cannot go together."""
        super().check()
        if min(self.cell) < 1:
            raise SpecError(f"{self.name}.cell: {self.cell}; each side must be at least 1 voxel")
        if self.buckets < 0:
            raise SpecError(f"{self.name}.buckets: {self.buckets}; give 0 or a positive number")
        for name, asked in (("labels", self.labels), ("exclude", self.exclude)):
            if bad := [label for label in asked if not 0 < label < 1 << 64]:
                raise SpecError(f"{self.name}.{name}: {bad[0]} is no label; labels go from 1 to 2**64 - 1")

    def parameters(self) -> dict[str, Any]:
        """What shapes the pieces beside the cells, in JSON's types."""
        named = {"labels": self.labels, "exclude": self.exclude}
        asked = {name: [str(label) for label in sorted(set(labels))] for name, labels in named.items()}
        return {**asked, "remap": self.remap, "masked": self.mask_parameters()}

    def objects(self, io: IO, volume: Volume, box: Box) -> Array:
        """The objects in ``box``, [x, y, z]: what a mask does not leave out, remapped, and of that what is wanted."""
        voxels, _ = self.seen(io, volume.info, volume.mip, box, partial(io.read, volume))
        labels = unsigned(voxels, volume, box)
        if self.remap is not None:
            table = io.get(self.remap)
            if table is None:
                raise DataError(f"{self.remap}: this table of labels is missing")
            labels = remapped(labels, *remaps.parse(table, self.remap))
        return without(only(labels, self.labels), self.exclude)

    def volume(self, io: IO) -> Volume:
        """The level that is read; SpecError unless it holds labels."""
        info, volume = io.info(self.layer), io.volume(self.layer, self.mip, self.fill_missing)
        if info.kind != "segmentation" or volume.channels != 1:
            raise SpecError(
                f"{self.name}: {self.layer} is of type {info.kind} and {volume.channels} channel(s); "
                "give a segmentation of one channel"
            )
        return volume

    def plan(self, io: IO) -> Plan:
        """What merging will need to know."""
        volume = self.volume(io)
        cells = len(Grid(volume.bounds, self.cell))
        return Plan(
            self.kind,
            self.mip,
            self.cell,
            volume.bounds,
            volume.resolution,
            self.buckets or buckets_for(cells),
            self.parameters(),
        )

    def region(self, bounds: Box) -> Box:
        """The voxels whose cells are forged. A cell sees one voxel beyond its high sides."""
        return bounds & self.roi.grow((1, 1, 1), (0, 0, 0)) if self.roi else bounds

    def prepare(self, io: IO) -> None:
        """Write the plan that tasks and merging follow."""
        self.shelf(io).begin(self.plan(io))

    def units(self, io: IO) -> Sequence[Box]:
        """The cells."""
        bounds = self.volume(io).bounds
        return Grid(bounds, self.cell, self.region(bounds))

    def finish(self, io: IO) -> None:
        """Allow merging."""
        self.shelf(io).complete(self.region(self.volume(io).bounds))


@dataclass(frozen=True, kw_only=True)
class Merging(Shelved):
    """What merging is for any kind of object; a kind adds ``merge`` and says how its folder is described."""

    kind: ClassVar[str]
    type: ClassVar[str]
    growth: ClassVar[int]

    dir: str = opt("", "Folder of the pieces and of the results, inside the layer.")
    dust: int = opt(0, "Only objects of more voxels than this, counted over the whole layer.")

    def check(self) -> None:
        """Raise SpecError where the fields cannot go together."""
        super().check()
        if self.dust < 0:
            raise SpecError(f"{self.name}.dust: {self.dust} voxels; give 0 or a positive number")

    def prepare(self, io: IO) -> None:
        """Refuse to begin before forging has finished, or in a folder of something else."""
        shelf = self.shelf(io)
        plan = shelf.plan(self.kind)
        shelf.completed(self.kind)
        if self.dust and IMPORTED in plan.parameters:
            raise SpecError(
                f"{self.name}.dust: {shelf.url} has fragments of Igneous, which do not tell voxels; leave --dust out "
                "(Igneous left its own dust out when it forged)"
            )
        found = io.get_json(f"{self.layer}/{self.dir}/info")
        if found is not None and found.get("@type") != self.made():
            raise SpecError(
                f"{self.layer}/{self.dir} is a folder of {found.get('@type')} and this stage makes "
                f"{self.made()}; give another --dir"
            )

    def made(self) -> str:
        """The type of the folder that is made, as its ``info`` says it."""
        return self.type

    def units(self, io: IO) -> Sequence[int]:
        """The numbers of the buckets."""
        return range(self.shelf(io).plan(self.kind).buckets)

    def level_read(self, io: IO) -> int:
        """The level that was forged."""
        return self.shelf(io).plan(self.kind).mip

    def bucket(self, unit: int, io: IO) -> Bucket:
        """The pieces of ``unit``."""
        shelf = self.shelf(io)
        return Bucket(shelf, shelf.plan(self.kind), unit)

    def peak_bytes(self, unit: int, io: IO) -> int:
        """The index of a bucket and its largest object. Reads the index: two small reads a container."""
        bucket = self.bucket(unit, io)
        largest = max((bucket.size(rows) for _, rows in bucket.objects()), default=0)
        return 3 * (bucket.entries.nbytes + bucket.owners.nbytes) + self.growth * largest

    def execute(self, unit: int, io: IO) -> None:
        """Merge the objects of a bucket, one after the other."""
        bucket = self.bucket(unit, io)
        io.note(objects=sum(self.merge(label, bucket, rows, io) for label, rows in self.wanted(bucket, io)))

    def wanted(self, bucket: Bucket, io: IO) -> Iterator[tuple[int, slice]]:
        """The labels to merge and the rows of their pieces; notes how many are left out as dust."""
        dusted = 0
        for label, rows in bucket.objects():
            if bucket.voxels(rows) <= self.dust:
                dusted += 1
                continue
            if (needed := self.growth * bucket.size(rows)) > self.memory:
                raise DataError(
                    f"{self.layer}: label {label} takes {needed:,} bytes to merge and memory is "
                    f"{self.memory:,}; give more --memory, or forge at a higher mip"
                )
            yield label, rows
        io.note(dust=dusted)

    def spent(self, io: IO) -> tuple[str, ...]:
        """The fragments, if every cell of the layer is forged: else those there are will be merged with more."""
        shelf = self.shelf(io)
        if not io.exists(f"{shelf.url}/plan.json"):
            return ()
        plan, regions = shelf.plan(self.kind), shelf.completed(self.kind)
        whole = all(any((cell & region).voxels for region in regions) for cell in plan.grid)
        return (shelf.url,) if whole else ()

    def merge(self, label: int, bucket: Bucket, rows: slice, io: IO) -> bool:
        """Join the pieces of one object and write it; whether there was anything to write."""
        raise NotImplementedError
