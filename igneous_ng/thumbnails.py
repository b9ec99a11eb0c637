"""The coarse pictures that `ingest verify` left of each tile, for those that are used: no raw picture is read again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from igneous_ng.errors import DataError
from igneous_ng.formats import columns, tiles
from igneous_ng.formats.sections import name
from igneous_ng.io import IO
from igneous_ng.kernels.tile_quality import thumbnail_factor
from igneous_ng.manifests import BATCH
from igneous_ng.montage import Montage, Section

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Thumbnail:
    """One channel of a tile: means of ``factor`` x ``factor`` pixels, ``[x, y]``, float32."""

    tile: int
    """Place in the section's list."""
    channel: int
    factor: int
    values: Array


def batch_bytes(section: Section) -> int:
    """The most bytes that a batch of a section takes, packed and not."""
    largest = max((t.width * t.height // thumbnail_factor(t.width, t.height) ** 2 for t in section.tiles), default=0)
    pictures = max((len(t.pictures) for t in section.tiles), default=1)
    return 2 * BATCH * 4 * largest * -(-section.channels // max(pictures, 1))


class Thumbnails:
    """The coarse pictures of a section's tiles, batch after batch in the order of its manifest."""

    def __init__(self, io: IO, montage: Montage, section: Section) -> None:
        self._io, self._folder = io, f"{montage.home}/verified/{name(section.z)}"
        url = montage.url("manifest", section.z, ".jsonl")
        data = io.get(url)
        if data is None:
            raise DataError(f"{url}: the section's manifest is not there; run `ingest plan` again")
        lines = {(t.url, t.part): n for n, t in enumerate(tiles.decode(data, url))}
        self._used: dict[int, dict[int, tuple[int, int]]] = {}
        for place, tile in enumerate(section.tiles):
            each = section.channels // max(len(tile.pictures), 1)
            for number, picture in enumerate(tile.pictures):
                line = lines.get((picture.url, picture.part))
                if line is None:
                    raise DataError(f"{url}: has no line for {picture.url}; run `ingest verify` and register again")
                self._used.setdefault(line // BATCH, {})[line % BATCH] = (place, number * each)

    def __iter__(self) -> Iterator[Thumbnail]:
        """All there are; a tile that could not be read has none."""
        for batch in sorted(self._used):
            yield from self._of_batch(batch, sorted(self._used[batch]))

    def _of_batch(self, batch: int, rows: list[int]) -> Iterator[Thumbnail]:
        url = f"{self._folder}/{batch:03d}.thumbs"
        data = self._io.get(url)
        if data is None:
            raise DataError(f"{url}: coarse pictures are missing; run `ingest verify`")
        found = columns.unpack(data, url, {"factor", *map(str, rows)})
        for row in rows:
            values = found.get(str(row))
            if values is not None:
                place, first = self._used[batch][row]
                for n in range(values.shape[2]):
                    yield Thumbnail(place, first + n, int(found["factor"][row]), values[:, :, n])
