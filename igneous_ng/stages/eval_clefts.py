"""Clefts against the truth, voxel by voxel, as CREMI scores them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import SpecError
from igneous_ng.formats.info import round_to_chunks
from igneous_ng.geometry import Box, Grid, Vec3, vec
from igneous_ng.io import IO
from igneous_ng.kernels import cleft_scores
from igneous_ng.kernels.cleft_scores import Sums
from igneous_ng.stage import LayerUrl, Stage, arg, opt
from igneous_ng.volume import Volume

Array = npt.NDArray[Any]
_SMALL = 64_000_000  # bytes of lists, at any rate
_HELD = 40  # bytes of a voxel while distances are measured: masks, nearest voxels and what these are made of
_VOXEL = 80  # bytes of a voxel of clefts, for its distance


@dataclass(frozen=True, kw_only=True)
class EvalClefts(Stage, name="eval clefts"):
    """Measure clefts against the truth as CREMI does: voxels too far from the others, and mean distances.

    Writes `clefts.json`. Counts are exact. A distance is looked for as far as `reach`; where voxels are farther from
    all others, their number is told as `cut`, and the mean distances are too small; where none is, they are exact.
    """

    example = "./clefts ./truth ./cleft-scores"

    found: LayerUrl = arg("Layer of clefts that were found.")
    truth: LayerUrl = arg("Layer of true clefts, of the same resolution.")
    layer: LayerUrl = arg("Folder to write clefts.json to.")
    mip: int = opt(0, "Level of what was found.")
    truth_mip: int = opt(0, "Level of the truth.")
    background: tuple[int, ...] = opt((0, (1 << 64) - 1), "Labels, of either, that are no clefts.")
    ignore: tuple[int, ...] = opt(((1 << 64) - 2,), "Labels of the truth whose voxels are not counted, nor clefts.")
    far: float = opt(200.0, "Voxels farther than so many nm from all others are false, or missed.")
    reach: float = opt(400.0, "Distances in nm are measured so far.")
    cell: Vec3 = opt((256, 256, 64), "Voxels of one task, rounded up to whole chunks.")
    fill_missing: bool = opt(False, "Read missing chunks as 0.")

    def check(self) -> None:
        """Distances and cells are real, and the result is elsewhere."""
        if not 0 < self.far <= self.reach <= 1e5:
            raise SpecError(
                f"{self.name}: far {self.far:g} and reach {self.reach:g} nm; give 0 < far <= reach <= 100,000"
            )
        if min(self.cell) < 1:
            raise SpecError(f"{self.name}.cell: {self.cell}; each side must be at least 1 voxel")
        if self.layer in (self.found, self.truth):
            raise SpecError(f"{self.name}: {self.layer} is what is compared; give another folder for the scores")

    def home(self) -> str:
        """Records lie with the scores."""
        return self.layer

    def units(self, io: IO) -> Grid:
        """Cells of what both layers cover."""
        one, other = self._volumes(io)
        return Grid(one.bounds & other.bounds, round_to_chunks(one.scale, self.cell))

    def peak_bytes(self, unit: Box, io: IO) -> int:
        """Both layers around a cell, and the nearest voxel of each."""
        one, other = self._volumes(io)
        around = self._around(unit, one, other).voxels
        return _SMALL + around * (_HELD + 2 * max(one.voxel_bytes, other.voxel_bytes)) + _VOXEL * unit.voxels

    def execute(self, unit: Box, io: IO) -> None:
        """Measure the voxels of one cell."""
        one, other = self._volumes(io)
        around = self._around(unit, one, other)
        truth, ignored = self._clefts(io, other, around)
        found = self._clefts(io, one, around)[0] & ~ignored
        inside = np.zeros(around.shape, bool)
        inside[unit.slices(around.lo)] = True
        sums = {
            "found": cleft_scores.measured(found & inside, truth, one.resolution, self.far, self.reach),
            "truth": cleft_scores.measured(truth & inside, found, one.resolution, self.far, self.reach),
        }
        io.put_json(self._url(unit), {name: vars(one) for name, one in sums.items()})
        io.note(
            found=sums["found"].voxels, truth=sums["truth"].voxels, false=sums["found"].far, missed=sums["truth"].far
        )

    def finish(self, io: IO) -> None:
        """Write the scores."""
        sums = {"found": Sums(), "truth": Sums()}
        for unit in self.units(io):
            raw: Any = io.get_json(self._url(unit))
            sums = {name: one + Sums(**raw[name]) for name, one in sums.items()}
        asked = {"far": self.far, "reach": self.reach, "bounds": str(self.units(io).bounds)}
        io.put_json(f"{self.layer}/clefts.json", {**asked, **cleft_scores.scores(**sums)})

    def said(self, io: IO) -> str:
        """The scores."""
        raw: Any = io.get_json(f"{self.layer}/clefts.json")
        cut = "" if raw["exact"] else f"; {raw['cut']:,} voxels are farther than {raw['reach']:g} nm from all others"
        return (
            f"cleft score {raw['score']:.2f} nm (ADGT {raw['adgt']:.2f}, ADF {raw['adf']:.2f}{cut}), "
            f"F1 {raw['f1']:.3f}, "
            f"{raw['false']:,} of {raw['found']:,} voxels false, {raw['missed']:,} of {raw['truth']:,} missed"
        )

    def spent(self, io: IO) -> tuple[str, ...]:
        """The sums of cells."""
        return (f"{self.layer}/sums",)

    def _volumes(self, io: IO) -> tuple[Volume, Volume]:
        one = io.volume(self.found, self.mip, self.fill_missing)
        other = io.volume(self.truth, self.truth_mip, self.fill_missing)
        for volume in (one, other):
            if volume.dtype.kind == "f" or volume.channels != 1:
                raise SpecError(
                    f"{self.name}: {volume.path} is no layer of labels; give one of a single integer a voxel"
                )
        if one.resolution != other.resolution:
            raise SpecError(
                f"{self.name}: voxels of {one.resolution} and of {other.resolution} nm; give levels of one size"
            )
        if not (one.bounds & other.bounds).voxels:
            raise SpecError(f"{self.name}: {one.bounds} and {other.bounds} have no voxel in common; check the offsets")
        return one, other

    def _around(self, cell: Box, one: Volume, other: Volume) -> Box:
        """A cell and all voxels in reach of it that are compared."""
        margin = vec(math.ceil(self.reach / r) for r in one.resolution)
        return cell.grow(margin, margin) & one.bounds & other.bounds

    def _clefts(self, io: IO, volume: Volume, box: Box) -> tuple[Array, Array]:
        """Which voxels are of clefts, and which are not counted."""
        labels = io.read(volume, box)[..., 0]
        ignored = np.isin(labels, _within(self.ignore, volume.dtype))
        return ~(np.isin(labels, _within(self.background, volume.dtype)) | ignored), ignored

    def _url(self, cell: Box) -> str:
        return f"{self.layer}/sums/{'-'.join(map(str, cell.lo))}.json"


def _within(labels: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Those of ``labels`` that voxels can have."""
    limits = np.iinfo(dtype)
    return np.array([label for label in labels if limits.min <= label <= limits.max], dtype)
