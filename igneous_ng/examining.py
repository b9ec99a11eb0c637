"""One file of a manifest, looked at: read once, and everything that can be said of it alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng import pictures
from igneous_ng.errors import DataError
from igneous_ng.formats.tiles import Tile
from igneous_ng.formats.verified import BAD, WARN, Finding, Seen
from igneous_ng.io import IO
from igneous_ng.kernels import tile_quality as quality
from igneous_ng.store import digest

Array = npt.NDArray[Any]
_STILL_WARN, _STILL_BAD = 0.02, 0.1  # fraction of the rows that show nothing, in one run
_STILL_LEAST = 4  # rows


def examine(io: IO, tile: Tile) -> tuple[Seen, tuple[int, Array] | None]:
    """What the file of ``tile`` is, and its thumbnail with its factor; none where it cannot be read."""
    named: dict[str, Any] = {"tile": tile.tile, "channel": tile.channel, "url": tile.url, "part": tile.part}
    try:
        data, opened = pictures.bytes_and_pixels(io, tile.picture)
    except DataError as error:
        return Seen(**named, findings=(_row("absent", BAD, str(error), tile),)), None
    of_file = _of_bytes(data) if data is not None else {}
    wrong = tuple(_file_faults(data, of_file, tile)) if data is not None else ()
    try:
        pixels = opened()
    except DataError as error:
        return Seen(**named, **of_file, findings=(*wrong, _row("corrupt", BAD, str(error), tile))), None
    planes = np.ascontiguousarray(pixels.T, pixels.dtype.newbyteorder("="))
    measured, thumb = _measured(planes.T)
    seen = Seen(**named, **(of_file or _of_bytes(planes.data)), **measured)
    wrong += tuple(_pixel_faults(seen, tile))
    return replace(seen, findings=wrong), thumb


def _of_bytes(data: Any) -> dict[str, Any]:
    return {"bytes": memoryview(data).nbytes, "sha256": hashlib.sha256(data).hexdigest()}


def _measured(pixels: Array) -> tuple[dict[str, Any], tuple[int, Array]]:
    width, height, depth = pixels.shape
    factor = quality.thumbnail_factor(width, height)
    thumb = quality.thumbnail(pixels, factor)
    found = quality.levels(pixels)
    head = f"{pixels.dtype.str} {pixels.shape} ".encode()
    figures: dict[str, Any] = {
        "pixels": digest(head + digest(pixels.T.data.cast("B")).encode()),
        "width": width,
        "height": height,
        "depth": depth,
        "dtype": pixels.dtype.name,
        "focus": quality.focus(pixels),
        "still": quality.still_rows(pixels),
        "hash": f"{quality.perceptual_hash(thumb):016x}",
        **(vars(found) if found is not None else {}),
    }
    return figures, (factor, thumb)


def _row(code: str, severity: str, said: str, tile: Tile) -> Finding:
    return Finding(code, severity, said, tile.tile, tile.channel, tile.url)


def _file_faults(data: bytes, found: dict[str, Any], tile: Tile) -> Iterator[Finding]:
    """What the bytes of the file are not."""
    kind, _, wanted = tile.digest.partition(":")
    actual = found["sha256"] if kind != "md5" else hashlib.md5(data, usedforsecurity=False).hexdigest()
    if wanted and wanted.lower() != actual:
        yield _row("digest", BAD, f"the {kind} of the file is {actual}; the manifest expects {wanted}", tile)
    elif tile.size not in (None, len(data)):
        said = f"the file has {len(data):,} bytes; it had {tile.size:,} when it was listed"
        yield _row("bytes", WARN, said, tile)


def _pixel_faults(seen: Seen, tile: Tile) -> Iterator[Finding]:
    """What is wrong with the picture, told by itself."""
    wanted, found = (tile.width, tile.height), (seen.width, seen.height)
    if any(w not in (None, f) for w, f in zip(wanted, found, strict=True)):
        yield _row(
            "shape", BAD, f"has {found[0]} x {found[1]} pixels; the manifest says {wanted[0]} x {wanted[1]}", tile
        )
    if seen.min is None:
        yield _row("blank", BAD, "has no value that is a number", tile)
    elif seen.min == seen.max:
        yield _row("blank", BAD, f"every value is {seen.min:g}", tile)
    elif (still := _still(seen)) is not None:
        yield _row("truncated", *still, tile)


def _still(seen: Seen) -> tuple[str, str] | None:
    """Whether the scan stands still for long, and where."""
    (at, rows), height = seen.still or (0, 0), seen.height or 1
    if rows < max(_STILL_LEAST, _STILL_WARN * height):
        return None
    said = f"the scan shows nothing new in {rows} of {height} rows, from row {at} on"
    return BAD if rows >= _STILL_BAD * height else WARN, said
