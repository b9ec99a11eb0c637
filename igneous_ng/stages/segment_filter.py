"""What is known of each label of a segmentation, exactly, for any number of labels; and which are to be kept."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from igneous_ng import words
from igneous_ng.census import Census, Reduction, Shuffle
from igneous_ng.counting import LISTS, Counting, Level
from igneous_ng.errors import DataError, SpecError
from igneous_ng.geometry import Box, vec
from igneous_ng.io import IO
from igneous_ng.labelled import read_box
from igneous_ng.native.measures import measure
from igneous_ng.renaming import Facts, Renaming
from igneous_ng.stage import Chain, LayerUrl, Stage, arg, opt, sampled
from igneous_ng.volume import Volume

Array = npt.NDArray[Any]
_PER_VOXEL = 32  # bytes for labels and what is known of them, if they have a dozen voxels each
_COPIES = 8  # of the rows of a part, while it is judged
_REDUCTIONS: tuple[Reduction, ...] = ("sum", "or", "min", "max")  # voxels, faces, least and greatest neighbour
_LISTED = 100  # likely mergers of a task that its record names
SMALL, BORDER, LARGE, HOLE = 1, 2, 4, 8
"""Why a label does not stay: bits of the column ``reason``."""


@dataclass(frozen=True, kw_only=True)
class Measuring(Counting):
    """What is measured: labels, and what they lie beside."""

    def census(self, io: IO, cells: int) -> Census:
        """The measures of a level of the layer."""
        return _table(io, self.layer, self.mip, cells)

    def volume(self, io: IO) -> Volume:
        """Labels of one channel."""
        volume = io.volume(self.layer, self.mip, self.fill_missing)
        if volume.dtype.kind not in "ui" or volume.channels != 1:
            raise SpecError(
                f"{self.name}: {self.layer} holds {volume.channels} channel(s) of {volume.dtype.name}; give a layer of "
                "labels"
            )
        return volume


@dataclass(frozen=True, kw_only=True)
class Tally(Measuring, Level, name="segment tally"):
    """Measure every label, one level of the shuffle at a time; `segment measure` runs them all.

    Level 0 measures cells; the levels above put together, each task a part of the labels. Of each label are known: its
    voxels, which faces of the layer it touches, and the least and the greatest label beside it, sharing a face;
    background counts as a label. The last level is the table, beside the layer, that `segment filter` reads.
    """

    example = "./seg"

    def cell_bytes(self, cell: Box, io: IO) -> int:
        """A cell, a voxel around it, and its labels."""
        return cell.grow((1, 1, 1), (0, 0, 0)).voxels * (3 * self.volume(io).voxel_bytes + _PER_VOXEL)

    def count(self, unit: int, cell: Box, io: IO) -> None:
        """Measure with what lies before the cell, so that each face is seen once."""
        volume = self.volume(io)
        box = cell.grow((1, 1, 1), (0, 0, 0)) & volume.bounds
        start = vec(a - b for a, b in zip(cell.lo, box.lo, strict=True))
        rows = measure(read_box(io, volume, box), *start, _border(cell, volume.bounds))
        self.table(io).store(0, unit, rows[:, 0], rows[:, 1:])


@dataclass(frozen=True, kw_only=True)
class Measure(Measuring, Chain, name="segment measure"):
    """Measure every label into a table beside the layer: all levels of `segment tally`."""

    example = "./seg -p 4"

    def steps(self, io: IO) -> Iterator[Stage]:
        """Cells, then each level of the shuffle."""
        return (self.step(Tally, level=level) for level in self.levels(io))


@dataclass(frozen=True, kw_only=True)
class Filter(Stage, name="segment filter"):
    """Decide which labels of a layer stay, from what `segment measure` found; `segment remap` then writes them.

    A label is dropped if it is small or, if so asked, large or at the border of the layer. A hole, which is a label
    with a single other one around it, becomes what that becomes; sizes are those before. Holes of background are no
    labels: they stay. The table is in parts, in the folder filters/DIR of the layer: columns old, new and reason (bits:
    1 small, 2 border, 4 large, 8 hole) of what does not stay, large and voxels of likely mergers.
    """

    example = "./seg --min-size 1000"

    layer: LayerUrl = arg("Layer of labels, measured.")
    dir: str = opt("default", "Name of the table, in the folder filters of the layer.")
    mip: int = opt(0, "Level that was measured.")
    min_size: int = opt(0, "Drop labels of fewer voxels.")
    max_size: int = opt(0, "Tell labels of more voxels, which are likely mergers; 0 tells none.")
    drop_large: bool = opt(False, "Drop those above max_size, too.")
    border: Literal["any", "drop", "only"] = opt("any", "Drop what touches the layer's border, or all that does not.")
    holes: int = opt(0, "Fill holes of at most so many voxels; 0 fills none.")

    def check(self) -> None:
        """Sizes are real, and something is asked."""
        super().check()
        for name in ("min_size", "max_size", "holes"):
            if getattr(self, name) < 0:
                raise SpecError(f"{self.name}.{name}: {getattr(self, name)} voxels; give 0 or a positive number")
        if not self.dir or not self.dir.replace("-", "").replace("_", "").isalnum():
            raise SpecError(f"{self.name}.dir: {self.dir!r} names no folder; use letters, digits, - and _")
        if self.drop_large and not self.max_size:
            raise SpecError(f"{self.name}.drop_large: say from which --max-size on")

    def home(self) -> str:
        """The layer keeps the table."""
        return self.layer

    def places(self, io: IO) -> tuple[str, ...]:
        """The folder of the table."""
        return (self._renaming(io).url,)

    def prepare(self, io: IO) -> None:
        """Refuse to begin before all is measured."""
        self._census(io)

    def units(self, io: IO) -> range:
        """The parts of the table."""
        return range(self._census(io).parts)

    def peak_bytes(self, unit: int, io: IO) -> int:
        """A part of what was measured, one more in which holes are looked up, and what becomes of it."""
        return LISTS + _COPIES * self._census(io).part_bytes(unit)

    def execute(self, unit: int, io: IO) -> None:
        """Judge the labels of one part."""
        census = self._census(io)
        rows = census.part(unit)
        labels, numbers = rows[:, 0], rows[:, 1:]
        labels, numbers = labels[labels > 0], numbers[labels > 0]
        reason = self._judged(numbers)
        new = np.where(reason > 0, np.uint64(0), labels)
        inside = self._holes(numbers)
        around = numbers[inside, 2]
        reason[inside] = HOLE
        new[inside] = np.where(self._judged(census.of(around)) > 0, np.uint64(0), around)
        changed, large = reason > 0, self._large(numbers)
        self._renaming(io).put(unit, {"old": labels[changed], "new": new[changed], "reason": reason[changed],
                               "large": labels[large], "voxels": numbers[large, 0].astype(np.int64)})  # fmt: skip
        io.note(labels=len(labels), **_counted(reason, labels[large]))

    def finish(self, io: IO) -> None:
        """Let the table be found."""
        made = self._renaming(io)
        parts = self._census(io).parts
        largest = max(made.size(part) for part in sampled(range(parts)))
        volume = io.volume(self.layer, self.mip)
        made.finish(Facts(parts, f"uint{8 * volume.dtype.itemsize}", 2 * largest))

    def said(self, io: IO) -> str:
        """How many labels do not stay and why, of all parts or, where these are many, of some; and likely mergers."""
        made, parts = self._renaming(IO(io.store)), self._census(io).parts
        some = sampled(range(parts))
        found = [made.read(part, ("reason", "large")) for part in some]
        told = _counted(*(np.concatenate([one[name] for one in found]) for name in ("reason", "large")))
        scope = "" if len(some) == parts else f", in {len(some)} of {parts:,} parts"
        text = f"small: {told['small']:,}, border: {told['border']:,}, holes: {told['holes']:,}{scope}"
        mergers = words.listed(told["mergers"]) or "none"
        return text + (f"; likely mergers: {mergers}" if self.max_size else "")

    def _judged(self, numbers: Array) -> Array:
        """Why labels are dropped, uint8, 0 for those that are not; holes apart."""
        voxels, touches = numbers[:, 0], numbers[:, 1] > 0
        asked = {"any": np.zeros(len(voxels), bool), "drop": touches, "only": ~touches}[self.border]
        large = self._large(numbers) & self.drop_large
        found: Array = (SMALL * (voxels < self.min_size) + BORDER * asked + LARGE * large).astype(np.uint8)
        return found

    def _large(self, numbers: Array) -> Array:
        found: Array = numbers[:, 0] > (self.max_size or np.iinfo(np.uint64).max)
        return found

    def _holes(self, numbers: Array) -> Array:
        """Which labels lie wholly inside a single other one, and are to become it."""
        voxels, faces, low, high = numbers.T
        found: Array = (voxels <= self.holes) & (faces == 0) & (low == high) & (low > 0)
        return found

    def _census(self, io: IO) -> Census:
        url = _folder(self.layer, self.mip)
        done = io.get_json(f"{url}/table.json")
        if done is None:
            raise DataError(f"{url}: nothing is measured here; run `segment measure {self.layer} --mip {self.mip}`")
        return _table(io, self.layer, self.mip, int(done["cells"]))

    def _renaming(self, io: IO) -> Renaming:
        return Renaming(io, f"{self.layer}/filters/{self.dir}")


def _folder(layer: str, mip: int) -> str:
    """Where the measures of a level of a layer are kept."""
    return f"{layer}/measures/{mip}"


def _table(io: IO, layer: str, mip: int, cells: int) -> Census:
    return Census(io, _folder(layer, mip), Shuffle(cells), _REDUCTIONS, "segment measure")


def _border(cell: Box, bounds: Box) -> int:
    """Which faces of a cell, x-, x+, y-, y+, z-, z+, are the layer's, as bits 0 to 5."""
    sides = zip(cell.lo, cell.hi, bounds.lo, bounds.hi, strict=True)
    return sum(
        (lo == first) << 2 * axis | (hi == last) << 2 * axis + 1 for axis, (lo, hi, first, last) in enumerate(sides)
    )


def _counted(reason: Array, large: Iterable[int]) -> dict[str, Any]:
    """How many labels there are for each reason, and likely mergers."""
    names = {"small": SMALL, "border": BORDER, "dropped_large": LARGE, "holes": HOLE}
    mergers = [str(label) for label in large]
    told = {name: int(np.count_nonzero(reason & bit)) for name, bit in names.items()}
    return {**told, "likely_mergers": len(mergers), "mergers": mergers[:_LISTED]}
