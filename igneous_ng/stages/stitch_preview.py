"""A small mosaic of each section, from the thumbnails of its tiles: to be looked at, long before one is rendered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import columns, tiles
from igneous_ng.formats.sections import name
from igneous_ng.io import IO
from igneous_ng.kernels.tile_quality import thumbnail_factor
from igneous_ng.manifests import BATCH
from igneous_ng.montage import Montage, Placed
from igneous_ng.mosaics import Kept
from igneous_ng.rendering import Rendered
from igneous_ng.stage import opt

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Preview(Rendered, name="stitch preview"):
    """Show sections coarsely, from the thumbnails that `ingest verify` left: no raw tile is read.

    With --positions stage it can be made as soon as tiles are registered. A tile that could not be read is left out.
    """

    example = "./montage ./preview"
    copies: ClassVar[int] = 2 * BATCH
    """A file of thumbnails, as it is stored, and one of its columns."""

    scale: int = opt(32, "Pixels of the sections, along x and y, in one voxel.")
    num_mips: int = opt(0, "How many coarser levels to make in the same pass.")

    def check(self) -> None:
        """It shrinks."""
        super().check()
        if self.scale < 1:
            raise SpecError(f"stitch preview: a scale of {self.scale} shows nothing; give 1 or more")

    def scale_of(self) -> int:
        """As asked for."""
        return self.scale

    def gallery(self, io: IO, montage: Montage, room: int) -> CoarseGallery:
        """CoarseGallery."""
        return CoarseGallery(io, montage, room)

    def picture_bytes(self, width: int, height: int, voxel: int) -> int:
        """Its thumbnail."""
        factor = thumbnail_factor(width, height)
        return 4 * voxel * (width // factor) * (height // factor)


class CoarseGallery:
    """The thumbnails of tiles, of which ``room`` bytes are kept, and the file that was read last."""

    def __init__(self, io: IO, montage: Montage, room: int) -> None:
        self._io, self._montage, self._kept = io, montage, Kept(room)
        self._lines: dict[int, dict[tuple[str, str], int]] = {}
        self._seen: set[str] = set()
        self._last = "", b""

    def picture(self, z: int, index: int, tile: Placed) -> tuple[Array, float] | None:
        """As in :class:`~igneous_ng.mosaics.Gallery`."""
        factor = thumbnail_factor(tile.width, tile.height)
        shape = tile.width // factor, tile.height // factor, self._montage.channels
        found = self._kept.get((z, index), 4 * shape[0] * shape[1] * shape[2], lambda: self._load(z, tile))
        if not found.size:
            return None
        if found.shape != shape:
            raise DataError(
                f"{self._montage.home}: the thumbnail of tile {tile.tile!r} is {found.shape}, not {shape}; "
                "run `ingest verify` and `ingest register` again"
            )
        return found, float(factor)

    def _load(self, z: int, tile: Placed) -> Array:
        """All channels, float32 ``[x, y, channel]``; of size 0 where one is missing."""
        parts = [self._part(z, self._line(z, picture.url, picture.part)) for picture in tile.pictures]
        found = [part for part in parts if part is not None]
        if len(found) < len(parts):
            return np.zeros((0, 0, 0), np.float32)
        return np.ascontiguousarray(np.concatenate([part.T for part in found]), np.float32).T

    def _line(self, z: int, url: str, part: str) -> int:
        """Which line of the section's manifest names a picture."""
        manifest = self._montage.url("manifest", z, ".jsonl")
        if z not in self._lines:
            listed = tiles.decode(self._io.get(manifest) or b"", manifest)
            self._lines[z] = {(one.url, one.part): n for n, one in enumerate(listed)}
        if (url, part) not in self._lines[z]:
            raise DataError(f"{manifest}: has no line for {url}; run `ingest plan`, verify and register again")
        return self._lines[z][url, part]

    def _part(self, z: int, line: int) -> Array | None:
        url = f"{self._montage.home}/verified/{name(z)}/{line // BATCH:03d}.thumbs"
        if self._last[0] != url:
            data = self._io.peek(url) if url in self._seen else self._io.get(url)
            if data is None:
                raise DataError(f"{url}: there are no thumbnails of section {z}; run `ingest verify` first")
            self._seen.add(url)
            self._last = url, data
        return columns.unpack(self._last[1], url, (str(line % BATCH),)).get(str(line % BATCH))
