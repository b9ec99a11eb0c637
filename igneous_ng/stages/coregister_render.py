"""A volume as it lies in another: a layer in the other's frame, with one interpolation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from igneous_ng import imaging
from igneous_ng.coregistration import Coregistration, Through
from igneous_ng.errors import SpecError
from igneous_ng.formats.info import SEGMENTATION
from igneous_ng.geometry import Box, Grid, Vec3, vec
from igneous_ng.io import IO
from igneous_ng.kernels.sampling import Method
from igneous_ng.moved import Moved
from igneous_ng.passes import Pass
from igneous_ng.showing import Kind, Shown
from igneous_ng.stage import Layer, LayerUrl, arg, opt

Array = npt.NDArray[Any]
_PIECE = 2**21  # voxels that are shown at once
_SHOWN = 12  # bytes of each voxel of a piece, beside its channels: where it lies, whether it is there
_BASE = 60_000_000
_VARIES = 1.5  # pieces of one size read more or less, as the field stretches


@dataclass(frozen=True, kw_only=True)
class Render(Shown, name="coregister render"):
    """Show the moving volume as a layer in the frame of the fixed one, with coarser levels.

    It has voxels where FIXED has, of the size of one of its levels; where MOVING is not, they are 0. Each is
    interpolated once, by cubic convolution; of labels the nearest one is taken. With --of another layer in the frame of
    MOVING is shown, such as its segmentation.
    """

    example = "./to-light ./moved --num-mips 2"

    folder: LayerUrl = arg("Folder of the two volumes.")
    layer: LayerUrl = arg("Layer to create.")
    round: int = opt(2, "The round whose map is applied; 0 is the first guess.")
    of: str = opt("", "Layer to show that lies as MOVING does; by default MOVING itself.")
    mip: int = opt(0, "Level of FIXED whose voxels the new layer has.")
    bounds: Box | None = opt(None, "Bounds of the layer in these voxels; by default those of FIXED. Rounded outwards.")
    method: Literal["auto", "nearest", "linear", "cubic"] = opt(
        "auto", "How values between voxels are found; auto is cubic for images and nearest for segmentations."
    )
    chunk: Vec3 = opt((64, 64, 64), "Shape of a chunk in voxels.")
    num_mips: int = opt(2, "How many coarser levels to make in the same pass.")

    def check(self) -> None:
        """The fields fit each other."""
        super().check()
        if self.round < 0 or self.mip < 0:
            raise SpecError(f"{self.name}: round {self.round} of mip {self.mip}; neither may be negative")
        if self.layer == self.folder:
            raise SpecError(f"{self.name}: {self.layer} is the folder; name another place for the layer")

    def home(self) -> str:
        """Records lie with the new layer."""
        return self.layer

    def inputs(self, io: IO) -> tuple[str, ...]:
        """The folder, and the layer that is shown."""
        return tuple(sorted({self.folder, self._source(io)}))

    def prepare(self, io: IO) -> None:
        """Refuse what cannot be made, and write the layer's info, of its finest level."""
        known, made = self._known(io), self._pass(io)
        known.affine(io, self.round)
        if self.layer in (self._source(io), known.fixed):
            raise SpecError(f"{self.name}: {self.layer} is one of the two volumes; name a new layer")
        if io.info(self._source(io)).kind == SEGMENTATION and self._method(io) != "nearest":
            raise SpecError(f"{self.name}.method: labels are not to be mixed by {self.method}; use nearest")
        self.create(io, made)

    def units(self, io: IO) -> Grid:
        """Cells of the coarsest level."""
        return self._pass(io).units()

    def peak_bytes(self, unit: Box, io: IO) -> int:
        """The levels, a piece of the finest, and what that is made of."""
        made, moved = self._pass(io), self._moved(IO(io.store))
        piece, voxel = made.first(unit), made.info.dtype.itemsize * made.info.channels
        read = moved.reads(piece).voxels * moved.volume.voxel_bytes * _VARIES
        plane = made.info.dtype.itemsize * moved.volume.bounds.voxels
        plane = min(plane, int(read / made.info.channels))
        shown = piece.voxels * (_SHOWN + 2 * voxel + 4 * made.info.channels)
        return int(_BASE + made.peak_bytes(unit) + 2 * read + plane + shown)

    def execute(self, unit: Box, io: IO) -> None:
        """Show a piece after the other; pool and write each level."""
        made, moved, method = self._pass(io), self._moved(io), self._method(io)

        def read(box: Box) -> Array:
            return _as(moved.show(box, method, range(made.info.channels)), made.info.dtype)

        made.make(io, unit, read, self.compress)

    def finish(self, io: IO) -> None:
        """Show the coarser levels."""
        io.edit_info(self.layer, *self._pass(io).scales)

    def said(self, io: IO) -> str:
        """What was shown, and how large it is."""
        made = self._pass(io)
        x, y, z = made.scales[0].bounds.shape
        return f"{self._source(io)} shown as after round {self.round}: {x:,} x {y:,} x {z:,} voxels"

    def _known(self, io: IO) -> Coregistration:
        return Coregistration.open(io, self.folder)

    def _source(self, io: IO) -> str:
        return str(Layer.parse(self.of)) if self.of else self._known(io).moving

    def _method(self, io: IO) -> Method:
        if self.method == "auto":
            return "nearest" if io.info(self._source(io)).kind == SEGMENTATION else "cubic"
        return self.method

    def _moved(self, io: IO) -> Moved:
        known = self._known(io)
        resolution = io.volume(known.fixed, self.mip).resolution
        return Moved(Through(io, known, self.round), self._source(io), resolution)

    def _pass(self, io: IO) -> Pass:
        info, still = io.info(self._source(io)), io.volume(self._known(io).fixed, self.mip)
        ratio = vec(f**self.num_mips for f in self.factor)
        bounds = self.bounds // ratio * ratio if self.bounds else still.bounds
        pooling = imaging.method_of(info, "auto")
        kind = Kind(info.dtype.name, info.channels, still.resolution, info.kind, pooling)
        made = self.over(kind, bounds, _SHOWN + 8 * kind.voxel_bytes)
        made = replace(made, piece=min(made.piece, _PIECE))
        return made.placed(io.info(self.layer)) if io.exists(f"{self.layer}/info") else made


def _as(values: Array, dtype: np.dtype[Any]) -> Array:
    """Values as voxels of a type: to the nearest it has."""
    if values.dtype == dtype or dtype.kind == "f":
        return values.astype(dtype, copy=False)
    kinds = np.iinfo(dtype)
    np.rint(values, out=values)
    return np.asfortranarray(np.clip(values, kinds.min, kinds.max, out=values).astype(dtype))
