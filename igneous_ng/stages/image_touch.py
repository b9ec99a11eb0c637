"""A look at every chunk."""

from dataclasses import dataclass
from typing import Literal

from igneous_ng import levels
from igneous_ng.deriving import chunks, present
from igneous_ng.errors import DataError
from igneous_ng.formats.info import round_to_chunks
from igneous_ng.geometry import Box, Grid
from igneous_ng.io import IO
from igneous_ng.levels import Levels, Unit
from igneous_ng.stage import LayerUrl, Stage, arg, opt
from igneous_ng.volume import Volume

_CELL = (256, 256, 256)
_COPIES = 3  # of a cell's voxels held at once
_NAMED = 20  # bad chunks that an error names


@dataclass(frozen=True, kw_only=True)
class Touch(Stage, name="image touch"):
    """Read and decode every chunk, and say which are missing or damaged.

    A cell with bad chunks fails and names them, so that all of them are found among the dead letters. Chunks can be
    stored again on the way, in the same encoding: their voxels do not change.
    """

    example = "./em --mips 0,1"

    layer: LayerUrl = arg("Layer to look at.")
    mips: tuple[int, ...] = opt((0,), "Levels to look at.")
    allow_missing: bool = opt(False, "Count missing chunks instead of failing.")
    rewrite: Literal["no", "gzip", "brotli", "zstd", "none"] = opt("no", "Store each chunk again, compressed so.")

    def check(self) -> None:
        """Levels are named."""
        levels.checked(self.name, self.mips)

    def home(self) -> str:
        """Records lie with the layer."""
        return self.layer

    def units(self, io: IO) -> Levels:
        """Cells of whole chunks, at each level."""
        info = io.info(self.layer)
        mips = levels.checked(self.name, self.mips, len(info.scales))
        if self.rewrite != "no":
            levels.refuse_shards(self.name, self.layer, info, mips)
        scales = {mip: info.scales[mip] for mip in mips}
        return Levels({mip: Grid(s.bounds, round_to_chunks(s, _CELL)) for mip, s in scales.items()})

    def peak_bytes(self, unit: Unit, io: IO) -> int:
        """A few copies of a cell."""
        return unit[1].voxels * io.volume(self.layer, unit[0]).voxel_bytes * _COPIES

    def execute(self, unit: Unit, io: IO) -> None:
        """Read one cell; if that fails, chunk by chunk."""
        mip, cell = unit
        volume = io.volume(self.layer, mip)
        everything = chunks(volume, cell)
        there = [chunk for chunk in everything if not self.allow_missing or present(io, volume, chunk)]
        _read_all(io, volume, [cell] if there == everything else there)
        if self.rewrite != "no":
            for url in map(volume.url, there):
                io.put(url, io.get(url) or b"", self.rewrite)
        io.note(mip=mip, chunks=len(there), missing=len(everything) - len(there))


def _read_all(io: IO, volume: Volume, boxes: list[Box]) -> None:
    """Read ``boxes``; a DataError names the bad chunks among them."""
    bad = []
    for box in boxes:
        try:
            io.read(volume, box)
        except DataError:
            bad += [error for chunk in chunks(volume, box) if (error := _error(io, volume, chunk))]
    if bad:
        more = f"\nand {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
        raise DataError(f"{len(bad)} bad chunks:\n" + "\n".join(bad[:_NAMED]) + more)


def _error(io: IO, volume: Volume, chunk: Box) -> str:
    try:
        io.read(volume, chunk)
    except DataError as error:
        return str(error)
    return ""
