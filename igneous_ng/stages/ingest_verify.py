"""Every file of a manifest, read once."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from igneous_ng import pictures
from igneous_ng.errors import DataError
from igneous_ng.examining import examine
from igneous_ng.formats import columns, verified
from igneous_ng.formats.tiles import Tile
from igneous_ng.io import IO
from igneous_ng.kernels.tile_quality import thumbnail_factor
from igneous_ng.manifests import Manifest
from igneous_ng.pictures import Size
from igneous_ng.stage import LayerUrl, Stage, arg

Batch = tuple[int, int]
"""A section, and the number of a batch of its lines."""
_SMALL = 32_000_000  # bytes for strips of a picture, lines, and what libraries keep
_WORK = 16  # bytes a pixel that statistics take, whatever its type
_COPIES = 4  # of the pixels: as they are, sorted, and what the system has not yet taken back of the picture before


@dataclass(frozen=True, kw_only=True)
class Verify(Stage, name="ingest verify"):
    """Read every file of the manifest once and write down what is in it: digests, size, levels, focus, faults.

    A file that cannot be used is a finding and fails nothing; `ingest register` decides what becomes of it.
    """

    example = "./montage -p 4"

    montage: LayerUrl = arg("Folder of the montage, in which `ingest plan` has written the manifest.")

    def home(self) -> str:
        """The montage keeps what is found."""
        return self.montage

    def places(self, io: IO) -> tuple[str, ...]:
        """The folder of what was found."""
        return (f"{self.montage}/verified",)

    def units(self, io: IO) -> Sequence[Batch]:
        """Batches of 100 lines of each section."""
        return Manifest.open(io, self.montage).batches

    def peak_bytes(self, unit: Batch, io: IO) -> int:
        """The largest file, its pixels in some copies, and all thumbnails, packed and not."""
        lines = Manifest.open(io, self.montage).batch(io, *unit)
        first = _first(io, lines)
        depth = first.channels * first.dtype.itemsize
        sides = [(line.width or first.width, line.height or first.height) for line in lines]
        pixels = max(width * height for width, height in sides)
        stored = max(line.size or pixels * depth for line in lines)
        thumbs = sum(prod(side // thumbnail_factor(*both) for side in both) for both in sides)
        return _SMALL + stored + (_WORK + _COPIES * depth) * pixels + 2 * 4 * first.channels * thumbs

    def execute(self, unit: Batch, io: IO) -> None:
        """Look at the files of one batch, one after the other."""
        manifest = Manifest.open(io, self.montage)
        looked = [examine(io, line) for line in manifest.batch(io, *unit)]
        found = [seen for seen, _ in looked]
        factors = np.array([0 if thumb is None else thumb[0] for _, thumb in looked], np.int32)
        thumbs = {str(n): thumb[1] for n, (_, thumb) in enumerate(looked) if thumb is not None}
        io.put(manifest.url("verified", *unit, ".thumbs"), columns.pack({"factor": factors, **thumbs}))
        io.put(manifest.url("verified", *unit, ".jsonl"), verified.encode(found))
        io.note(files=len(found), bytes=sum(one.bytes or 0 for one in found), bad=sum(one.bad for one in found))


def _first(io: IO, lines: Sequence[Tile]) -> Size:
    """What the first picture that can be read says of itself: the others of a batch are taken to be like it."""
    for line in lines:
        with contextlib.suppress(DataError):  # it will be a finding
            return pictures.size_of(io, line.picture)
    return Size(1, 1, 1, np.dtype(np.uint8))
