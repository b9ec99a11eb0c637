"""The aligned volume: any chunk of it from the sections, or from raw tiles, with one interpolation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from igneous_ng import mapping, words
from igneous_ng.alignment import Alignment, Rough, decode_rough
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats.info import SEGMENTATION
from igneous_ng.geometry import Box, Grid, exactly, vec
from igneous_ng.io import IO
from igneous_ng.kernels.pooling import Method
from igneous_ng.kernels.warping import DTYPES
from igneous_ng.mapping import Stack
from igneous_ng.montage import Montage
from igneous_ng.mosaics import Tiles
from igneous_ng.passes import Pass
from igneous_ng.projections import Frames, FromLayer, FromTiles, Looks, Needs, Screen, Source, layer_needs, tile_needs
from igneous_ng.showing import Kind, ShownSections
from igneous_ng.stage import Layer, LayerUrl, Stage, arg, opt

Array = npt.NDArray[Any]
_BLOCKS = 32  # of the sections, each of whole chunks, that memory has room for at least


@dataclass(frozen=True, kw_only=True)
class AlignRender(ShownSections, name="align render"):
    """Show the aligned volume as a layer, with coarser levels.

    A voxel is interpolated once, through all maps at a time, from the sections by cubic convolution; labels take the
    voxel that they lie in. With --montage it comes from the raw tiles, blended and toned as by stitch render. It
    depends on the maps and pictures of its own place only, however tasks are cut.

    Refused are alignments that `align check` did not pass.
    """

    example = "./alignment ./em --num-mips 3 -p 4"

    alignment: LayerUrl = arg("Folder of the alignment.")
    layer: LayerUrl = arg("Layer to create.")
    image: Layer | None = opt(
        None, "Layer to show instead of the alignment's own, in the same frame, coarser or finer by a whole factor."
    )
    montage: Layer | None = opt(None, "Montage that the alignment's layer is of: show its raw tiles instead.")
    round: int = opt(-1, "Round whose maps are used, 0 being the rough ones; by default the last that was inverted.")
    pick: Literal["auto", "cubic", "nearest"] = opt(
        "auto", "How to interpolate; auto is nearest for labels and the alignment's mask, cubic for all others."
    )
    contrast: Literal["restored", "kept"] = opt(
        "restored",
        "Show sections of opposite contrast as the others, v as lowest + highest of the type - v (-v of float32), or "
        "as they are; labels always are.",
    )
    absent: Literal["background", "nearest"] = opt(
        "background", "What is shown where there is no section: nothing, or the nearest, of two the one below."
    )
    fill_missing: bool = opt(False, "Read missing chunks as zeros even where the alignment does not; they are counted.")
    unchecked: bool = opt(False, "Render even what `align check` did not pass.")

    def check(self) -> None:
        """The fields fit each other."""
        super().check()
        if self.image and self.montage:
            raise SpecError(f"{self.name}: give --image or --montage, not both")
        if self.montage and self.pick == "nearest":
            raise SpecError(f"{self.name}: tiles are blended, and have no nearest voxel; leave --pick or --montage out")
        if self.layer in (self.alignment, self.image, self.montage):
            raise SpecError(f"{self.name}: {self.layer} is read; name another folder for the layer")
        if self.round < -1:
            raise SpecError(f"{self.name}: round {self.round}; rounds are counted from 0, which is the rough maps")

    def home(self) -> str:
        """Records lie with the new layer."""
        return self.layer

    def inputs(self, io: IO) -> tuple[str, ...]:
        """The layer of sections, too."""
        own = () if self.image or self.montage else (self._alignment(io).layer,)
        return tuple(sorted({*super().inputs(io), *own}))

    def steps(self, io: IO) -> Iterator[Stage]:
        """Itself, of a round that is named: a later one changes nothing."""
        yield replace(self, round=self._round(io))

    def prepare(self, io: IO) -> None:
        """Refuse what cannot be made or was not passed, and write the layer's info, of its finest level."""
        found = self._alignment(io)
        if self.layer == found.layer:
            raise SpecError(f"{self.name}: {self.layer} has the sections; name another folder for the layer")
        self._check_passed(io)
        self._check_round(io, found)
        kind = self._kind(io, found)
        if not self._nearest(io, found) and kind.dtype not in DTYPES:
            raise SpecError(f"{self.name}: values of {kind.dtype} cannot be interpolated; give --pick nearest")
        self.check_background(kind)
        if self.montage:
            self._check_montage(io, found)
        self.begin(io, self._pass(io, found), lambda: self._hull(io, found), "sections")

    def units(self, io: IO) -> Grid:
        """Cells of the coarsest level."""
        return self._pass(io, self._alignment(io)).units()

    def peak_bytes(self, unit: Box, io: IO) -> int:
        """The levels, what a piece is made of, and the pictures that are kept meanwhile."""
        levels, needs = self._parts(unit, io)
        return levels + needs.fixed + needs.room(self.memory - levels)

    def execute(self, unit: Box, io: IO) -> None:
        """Show a piece of each section after the other; pool and write each level."""
        found = self._alignment(io)
        made, stack = self._pass(io, found), Stack(io, found, self._round(io))
        screen = self._screen(io, unit, stack, made)
        places: dict[int, int | None] = {}

        def read(box: Box) -> Array:
            shape = (*box.shape, made.info.channels)
            voxels = np.full(shape, self.background, made.info.dtype, order="F")
            for z in range(box.lo[2], box.hi[2]):
                if z not in places:
                    places[z] = self._place(stack, z)
                at = places[z]
                pixels = None if at is None else screen.show(at, (*box.lo[:2], *box.hi[:2]))
                if pixels is not None:
                    voxels[:, :, z - box.lo[2]] = pixels
            return voxels

        made.make(io, unit, read, self.compress)
        self._note(io, places)

    def finish(self, io: IO) -> None:
        """Show the coarser levels."""
        io.edit_info(self.layer, *self._pass(io, self._alignment(io)).scales)

    def said(self, io: IO) -> str:
        """How many sections are there now, and which are not."""
        roughs = self._roughs(io)
        absent = [z for z, rough in roughs if rough.source < 0]
        mirrored = sum(rough.inverted for _, rough in roughs) if self._mirrors(io) else 0
        told = [f"{words.count(len(roughs) - len(absent), 'section')} shown, by round {self._round(io)}"]
        if mirrored:
            told.append(f"the contrast of {mirrored} restored")
        if absent:
            instead = "" if self.absent == "background" else "; the nearest are shown instead"
            some = ", ".join(map(str, absent[:10])) + (", ..." if len(absent) > 10 else "")
            told.append(f"{len(absent)} missing: {some}{instead}")
        return "; ".join(told)

    def _mirrors(self, io: IO) -> bool:
        return self.contrast == "restored" and not self._nearest(io, self._alignment(io))

    def _place(self, stack: Stack, z: int) -> int | None:
        """By which map a place of the volume is shown."""
        if stack.source(z) >= 0:
            return z
        return stack.nearest(z) if self.absent == "nearest" else None

    def _note(self, io: IO, places: dict[int, int | None]) -> None:
        """Say in the record what is not what it should be."""
        instead = {str(z): at for z, at in sorted(places.items()) if at != z}
        if instead:
            io.note(missing=instead)

    def _screen(self, io: IO, unit: Box, stack: Stack, made: Pass) -> Screen:
        levels, needs = self._parts(unit, IO(io.store))
        room, task = needs.room(self.memory - levels), made.source(unit)
        window = (*task.lo[:2], *task.hi[:2])
        frames, looks = self._frames(io, stack.alignment), self._looks(io, stack.alignment)
        if self.montage:
            montage = Montage.open(io, self.montage)
            tiles = Tiles(io, montage.dtype, montage.channels, room)
            return FromTiles(stack, montage, frames, looks, window, tiles)
        return FromLayer(stack, self._source(io, stack.alignment), frames, looks, window, room)

    def _parts(self, unit: Box, io: IO) -> tuple[int, Needs]:
        """Bytes of the levels, and what else is needed."""
        found = self._alignment(io)
        made = self._pass_over(io, found, self.fine(unit))
        piece, task = made.first(unit).shape, made.source(unit)
        levels = made.peak_bytes(unit) + piece[0] * piece[1] * piece[2] * self._kind(io, found).voxel_bytes
        stack, frames = Stack(IO(io.store), found, self._round(io)), self._frames(io, found)
        zs = [at for z in range(task.lo[2], task.hi[2]) if (at := self._place(stack, z)) is not None]
        if zs:
            task = Box((*task.lo[:2], min(task.lo[2], *zs)), (*task.hi[:2], max(task.hi[2] - 1, *zs) + 1))
        if self.montage:
            return levels, tile_needs(stack, Montage.open(io, self.montage), frames, task, piece)
        return levels, layer_needs(stack, self._source(io, found), frames, task, piece)

    def _pass(self, io: IO, found: Alignment) -> Pass:
        """The layer, as it is there or is to be made."""
        return self.placed(io, lambda bounds: self._pass_over(io, found, bounds), lambda: self._hull(io, found))

    def _pass_over(self, io: IO, found: Alignment, bounds: Box) -> Pass:
        kind, tiles = self._kind(io, found), 4 if self.montage else 1  # tiles over each other, at most as a rule
        return self.over(kind, bounds, tiles * 4 * (2 * kind.channels + 1) + 3 * kind.voxel_bytes)

    def _hull(self, io: IO, found: Alignment) -> Box:
        """The aligned volume, in voxels of the layer."""
        box, factor = found.extent(IO(io.store)), exactly(self._resolution(io, found)) / exactly(found.resolution[0])
        low = [n * factor.denominator // factor.numerator for n in box.lo[:2]]
        high = [-(-n * factor.denominator // factor.numerator) for n in box.hi[:2]]
        return Box(vec((*low, box.lo[2])), vec((*high, box.hi[2])))

    def _kind(self, io: IO, found: Alignment) -> Kind:
        pixel = self._resolution(io, found)
        resolution = (pixel, pixel, found.resolution[2])
        if self.montage:
            montage = Montage.open(io, self.montage)
            return Kind(montage.dtype, montage.channels, resolution)
        info = io.info(self.image or found.layer)
        pooling: Method = "mode" if self._nearest(io, found) else "average"
        return Kind(info.dtype.name, info.channels, resolution, info.kind, pooling)

    def _resolution(self, io: IO, found: Alignment) -> float:
        """Of the layer along x and y, in nm; SpecError where that of --image does not go with the alignment's."""
        if not self.image:
            return found.resolution[0]
        x, y, z = io.info(self.image).scales[0].resolution
        ratio = exactly(x) / exactly(found.resolution[0])
        if x != y or z != found.resolution[2] or 1 not in (ratio.numerator, ratio.denominator):
            raise SpecError(
                f"{self.image}: has voxels of {(x, y, z)} nm, and the alignment {found.resolution}; an image must be "
                "coarser or finer by a whole factor, the same along x and y, and as thick"
            )
        return x

    def _frames(self, io: IO, found: Alignment) -> Frames:
        volume = float(exactly(self._resolution(io, found)) / exactly(found.resolution[0]))
        if self.montage:
            pixel = Montage.open(io, self.montage).pixel
            return Frames(volume, float(exactly(pixel) / exactly(found.resolution[0])))
        return Frames(volume, volume)

    def _looks(self, io: IO, found: Alignment) -> Looks:
        return Looks(float(self.background), self._nearest(io, found), self.contrast == "restored")

    def _nearest(self, io: IO, found: Alignment) -> bool:
        if self.montage or self.pick != "auto":
            return self.pick == "nearest"
        image = self.image or found.layer
        return image == found.mask or io.info(image).kind == SEGMENTATION

    def _source(self, io: IO, found: Alignment) -> Source:
        volume = io.volume(self.image or found.layer, 0, self.fill_missing or found.fill_missing)
        return Source(volume, self.memory // (_BLOCKS * volume.voxel_bytes))

    def _alignment(self, io: IO) -> Alignment:
        return Alignment.open(io, self.alignment)

    def _round(self, io: IO) -> int:
        return mapping.last_round(io, self._alignment(io)) if self.round < 0 else self.round

    def _roughs(self, io: IO) -> list[tuple[int, Rough]]:
        """All rough maps, by place."""
        url = f"{self.alignment}/rough.affines"
        first, roughs = decode_rough(io.peek(url) or b"", url)
        return list(enumerate(roughs, first))

    def _check_round(self, io: IO, found: Alignment) -> None:
        number = self._round(io)
        if number and not io.exists(f"{self.alignment}/rounds/{number}/inverse/info"):
            raise DataError(
                f"{self.alignment}: round {number} has no inverse; run `align invert --round {number}` first"
            )

    def _check_passed(self, io: IO) -> None:
        if self.unchecked:
            return
        number, url = self._round(io), f"{self.alignment}/verdict.json"
        verdict = io.store.get_json(url) or {}
        if verdict.get("round") != number:
            raise DataError(f"{url}: says nothing of round {number}; run `align check` first, or render --unchecked")
        if not verdict.get("publish"):
            reasons = "; ".join(map(str, verdict.get("reasons", ())))
            raise DataError(f"{url}: round {number} did not pass: {reasons}. Mend that, or render --unchecked")

    def _check_montage(self, io: IO, found: Alignment) -> None:
        montage = Montage.open(io, self.montage or "")
        absent = sorted({rough.source for _, rough in self._roughs(io)} - {-1, *montage.zs})
        if absent:
            raise DataError(
                f"{self.montage}: {words.count(len(absent), 'section')} that the alignment shows, {absent[0]} the "
                "first, are not registered; give the montage that its layer was made of"
            )
