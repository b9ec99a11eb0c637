"""Every file of a manifest, read once."""

from collections.abc import Iterator, Sequence
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
from igneous_ng.stage import LayerUrl, Stage, arg

Batch = tuple[int, int]
"""A section, and the number of a batch of its lines."""
_DEEPEST = 4  # bytes of a pixel that are counted on: a gray float, or colours
_SMALL = 32_000_000  # bytes for strips of a picture, lines, and what libraries keep
_COPIES = 4  # of the pixels: as they are, sorted, and what the system has not yet taken back of the picture before


@dataclass(frozen=True, kw_only=True)
class Verify(Stage, name="ingest verify"):
    """Read every file of the manifest once and write down what is in it: digests, size, levels, focus, faults.

    A file that cannot be used is a finding and fails nothing; `ingest register` decides what becomes of it.
    """

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
        sides = _sides(io, lines)
        pixels = max(width * height for width, height in sides)
        stored = max(line.size or pixels * _DEEPEST for line in lines)
        thumbs = sum(prod(side // thumbnail_factor(*both) for side in both) for both in sides)
        return _SMALL + stored + _COPIES * _DEEPEST * pixels + 2 * 4 * _DEEPEST * thumbs

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


def _sides(io: IO, lines: Sequence[Tile]) -> list[tuple[int, int]]:
    """Pixels along x and y of each picture; those that are not said are taken to be as the first that can be read."""
    known = [(line.width, line.height) for line in lines if line.width and line.height]
    if len(known) < len(lines):
        known.append(next(_opened(io, lines), (1, 1)))
    return [(line.width or known[-1][0], line.height or known[-1][1]) for line in lines]


def _opened(io: IO, lines: Sequence[Tile]) -> Iterator[tuple[int, int]]:
    for line in lines:
        try:
            width, height, _ = pictures.load(io, line.picture).shape
            yield width, height
        except DataError:
            continue  # it will be a finding
