"""What stages share that make a layer of the sections of a montage: its shape, its units, and how each is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from igneous_ng import mosaics
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats.sections import name
from igneous_ng.geometry import Box, Grid
from igneous_ng.intensities import FOLDERS
from igneous_ng.io import IO
from igneous_ng.kernels.warping import DTYPES
from igneous_ng.montage import Montage
from igneous_ng.mosaics import Gallery, Manner, Sheet
from igneous_ng.passes import Pass
from igneous_ng.showing import Kind, ShownSections
from igneous_ng.stage import LayerUrl, arg, opt

Array = npt.NDArray[Any]
_OVERLAP = 4  # tiles over each other, for which pieces are made small enough


@dataclass(frozen=True, kw_only=True)
class Rendered(ShownSections):
    """The fields of a stage that shows the sections of a montage as a layer, and what they mean."""

    copies: ClassVar[int]
    """How often the bytes of a picture are held while it is read."""

    montage: LayerUrl = arg("Folder of the tiles, where they are registered.")
    layer: LayerUrl = arg("Layer to create.")
    positions: Literal["solved", "stage"] = opt("solved", "Where tiles lie: as solved, or as the stage has it.")
    intensity: Literal["all", "none"] = opt(
        "all", "Apply what was made of flat fields, tones, shades and levels, or nothing of it."
    )
    clip: tuple[int, int, int, int] = opt(
        (0, 0, 0, 0), "Pixels of each tile to leave out at its left, top, right and bottom."
    )
    thickness: float = opt(40.0, "Distance of sections in nm.")

    def check(self) -> None:
        """The fields fit each other."""
        super().check()
        if self.layer == self.montage:
            raise SpecError(f"{self.name}: {self.layer} is the montage; name another folder for the layer")
        if min(self.clip) < 0:
            raise SpecError(f"{self.name}: a clip of {self.clip} pixels; none may be negative")

    def home(self) -> str:
        """Records lie with the new layer."""
        return self.layer

    def prepare(self, io: IO) -> None:
        """Refuse what cannot be made, and write the layer's info, of its finest level."""
        montage = self._montage(io)
        self._check_montage(io, montage)
        self.begin(io, self._pass(io, montage), lambda: self._hull(io, montage), "tiles")

    def units(self, io: IO) -> Slabs:
        """Cells of the coarsest level that hold a section."""
        montage = self._montage(io)
        made = self._pass(io, montage)
        thick = self.factor[2] ** self.num_mips
        return Slabs.of(made.units(), montage.zs, thick)

    def peak_bytes(self, unit: Box, io: IO) -> int:
        """The levels, the mosaic of a piece, and the pictures that are kept meanwhile."""
        return sum(self._parts(unit, io))

    def execute(self, unit: Box, io: IO) -> None:
        """Show a piece of each section after the other; pool and write each level."""
        montage = self._montage(io)
        made, manner = self._pass(io, montage), self.manner()
        levels, mosaic, _ = self._parts(unit, IO(io.store))
        gallery = self.gallery(io, montage, self.memory - levels - mosaic)
        known = set(montage.zs)
        sheets: dict[int, Sheet] = {}

        def read(box: Box) -> Array:
            voxels = np.empty((*box.shape, montage.channels), montage.dtype, order="F")
            for z in range(box.lo[2], box.hi[2]):
                out = voxels[:, :, z - box.lo[2]]
                if z in known:
                    sheet = sheets.get(z) or sheets.setdefault(z, Sheet(io, montage, z, manner, gallery))
                    sheet.show((*box.lo[:2], *box.hi[:2]), out)
                else:
                    out[...] = self.background
            return voxels

        made.make(io, unit, read, self.compress)

    def finish(self, io: IO) -> None:
        """Show the coarser levels."""
        io.edit_info(self.layer, *self._pass(io, self._montage(io)).scales)

    def forecast(self, io: IO) -> tuple[str, ...]:
        """Which sections will not be there."""
        absent = self._absent(io)
        return (f"{absent}; readers must fill them in",) if absent else ()

    def said(self, io: IO) -> str:
        """How many sections are there now, and which are not."""
        montage = self._montage(io)
        absent = self._absent(io)
        return f"{len(montage.rows)} sections shown" + (f"; {absent}" if absent else "")

    def manner(self) -> Manner:
        """How sections are to be seen."""
        return Manner(self.positions == "solved", self.intensity == "all", self.clip, self.background, self.scale_of())

    def scale_of(self) -> int:
        """Pixels of the sections in one voxel, along x and y."""
        return 1

    def gallery(self, io: IO, montage: Montage, room: int) -> Gallery:
        """Where pictures come from, of which it may keep ``room`` bytes."""
        raise NotImplementedError

    def picture_bytes(self, width: int, height: int, voxel: int) -> int:
        """Bytes of the picture of a tile of so many pixels of ``voxel`` bytes."""
        raise NotImplementedError

    def _montage(self, io: IO) -> Montage:
        return Montage.open(io, self.montage)

    def _check_montage(self, io: IO, montage: Montage) -> None:
        if montage.dtype not in DTYPES:
            raise SpecError(f"{self.montage}: has tiles of {montage.dtype}; {', '.join(DTYPES)} can be rendered")
        self.check_background(self._kind(montage))
        if not montage.rows:
            raise DataError(f"{self.montage}: no section is registered; run `ingest register`")
        if self.intensity == "all":
            for folder, suffix in FOLDERS.items():
                self._check_all_or_none(io, montage, folder, suffix)

    def _check_all_or_none(self, io: IO, montage: Montage, folder: str, suffix: str) -> None:
        there = set(io.store.list(f"{self.montage}/{folder}"))
        lacking = [z for z in montage.zs if f"{name(z)}{suffix}" not in there]
        if lacking and len(lacking) < len(montage.rows):
            raise DataError(
                f"{self.montage}/{folder}: section {lacking[0]} has none, {len(lacking)} sections in all, and others "
                "have; make them for all, or render with --intensity none"
            )

    def _absent(self, io: IO) -> str:
        """Which sections between the first and the last are not registered, in words."""
        there = self._montage(io).zs
        absent = sorted(set(range(min(there), max(there) + 1)) - set(there)) if there else []
        some = ", ".join(map(str, absent[:10])) + (", ..." if len(absent) > 10 else "")
        return f"{len(absent)} sections are not registered: {some}" if absent else ""

    def _parts(self, unit: Box, io: IO) -> tuple[int, int, int]:
        """Bytes of the levels, of the mosaic of a piece, and of pictures."""
        montage = self._montage(io)
        made = self._pass_over(montage, self.fine(unit))
        voxel = np.dtype(montage.dtype).itemsize * montage.channels
        piece, window = made.first(unit).shape, made.source(unit)
        depth, sizes = 0, [0]
        for z in set(montage.zs) & set(range(window.lo[2], window.hi[2])):
            section = montage.section(io, z)
            boxes = mosaics.boxes(io, montage, section, self.manner())
            plane = (*window.lo[:2], *window.hi[:2])
            tiles = [section.tiles[n] for n in mosaics.touching(boxes, plane)]
            sizes += [self.picture_bytes(tile.width, tile.height, voxel) for tile in tiles]
            depth = max(depth, mosaics.layers(boxes, plane))
        levels = made.peak_bytes(unit) + piece[0] * piece[1] * piece[2] * voxel
        mosaic = mosaics.bytes_shown(depth, piece[:2], montage.channels) + self.copies * max(sizes)
        return levels, mosaic, min(sum(sizes), max(*sizes, self.memory - levels - mosaic))

    def _pass(self, io: IO, montage: Montage) -> Pass:
        """The layer, as it is there or is to be made."""
        return self.placed(io, lambda bounds: self._pass_over(montage, bounds), lambda: self._hull(io, montage))

    def _pass_over(self, montage: Montage, bounds: Box) -> Pass:
        return self.over(self._kind(montage), bounds, _OVERLAP * 4 * (montage.channels + 1))

    def _kind(self, montage: Montage) -> Kind:
        pixel = montage.pixel * self.scale_of()
        return Kind(montage.dtype, montage.channels, (pixel, pixel, self.thickness))

    def _hull(self, io: IO, montage: Montage) -> Box:
        """What tiles cover, in voxels."""
        quiet, found = IO(io.store), None
        for row in montage.rows:
            section = montage.section(quiet, row.z)
            boxes = mosaics.boxes(quiet, montage, section, self.manner())
            real = boxes[(boxes[:, 0] < boxes[:, 2]) & (boxes[:, 1] < boxes[:, 3])]
            if len(real):
                (x0, y0), (x1, y1) = real[:, :2].min(axis=0).tolist(), real[:, 2:].max(axis=0).tolist()
                box = Box((x0, y0, row.z), (x1, y1, row.z + 1))
                found = box if found is None else found | box
        if found is None:
            raise DataError(f"{self.montage}: no section has a tile; run `ingest register`")
        return found


@dataclass(frozen=True)
class Slabs(Sequence[Box]):
    """The cells of a grid in some of its layers along z, in order."""

    grid: Grid
    kept: tuple[int, ...]
    """Numbers of the layers, in order."""

    @classmethod
    def of(cls, grid: Grid, sections: Sequence[int], thick: int) -> Slabs:
        """Those that hold one of ``sections``, of which ``thick`` make one of the grid's voxels."""
        low, side, high = grid.bounds.lo[2], grid.cell[2], grid.bounds.hi[2]
        at = {z // thick for z in sections}
        return cls(grid, tuple(sorted({(z - low) // side for z in at if low <= z < high})))

    @property
    def _each(self) -> int:
        return len(Grid(self.grid.bounds, (*self.grid.cell[:2], self.grid.bounds.shape[2])))

    def __len__(self) -> int:
        return len(self.kept) * self._each

    def __getitem__(self, index: Any) -> Any:
        """One of them, or a list for a slice."""
        if isinstance(index, slice):
            return [self[n] for n in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        layer, cell = divmod(index % len(self), self._each)
        return self.grid[self.kept[layer] * self._each + cell]
