"""How the pictures of a section look, from their thumbnails: for comparing them, and for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import DataError
from igneous_ng.formats import columns
from igneous_ng.geometry import ceil_div
from igneous_ng.io import IO
from igneous_ng.kernels.tile_quality import SIDE, cells_of
from igneous_ng.manifests import BATCH, Manifest
from igneous_ng.registering.shots import Shot, Shots

Array = npt.NDArray[Any]
_WIDEST, _NARROWEST = 256, 48  # pixels along the longer side of a preview
_ALL = 1600  # pixels that previews of a section side by side may have


@dataclass(frozen=True)
class Looks:
    """The pictures that can be read, by number."""

    means: dict[int, Array]
    """32 x 32 means, float32 ``[x, y]``."""
    previews: dict[int, Array]
    """Small pictures for people, uint8 ``[y, x]``, all with the same levels."""


def preview_side(pictures: int) -> int:
    """How many pixels the longer side of a preview has where there are so many pictures."""
    return int(min(_WIDEST, max(_NARROWEST, _ALL / max(1, pictures) ** 0.5)))


def load(io: IO, manifest: Manifest, shots: Shots) -> Looks:
    """How the pictures of a section look; DataError where thumbnails are missing or damaged."""
    low, high = _window(shots)
    side = preview_side(len(shots.all))
    found = Looks({}, {})
    for batch in range(ceil_div(len(shots.all), BATCH)):
        for shot, thumb in _thumbs(io, manifest, batch, shots):
            found.means[shot.number] = cells_of(thumb, SIDE).astype(np.float32)
            gray = np.nan_to_num(_smaller(thumb, side).mean(axis=2).T)
            shown = np.clip((gray - low) * (255 / (high - low)), 0, 255)
            found.previews[shot.number] = np.ascontiguousarray(np.rint(shown).astype(np.uint8))
    return found


def _thumbs(io: IO, manifest: Manifest, batch: int, shots: Shots) -> Iterator[tuple[Shot, Array]]:
    url = manifest.url("verified", shots.z, batch, ".thumbs")
    data = io.get(url)
    if data is None:
        raise DataError(f"{url}: the thumbnails of these tiles are missing; run `ingest verify` again")
    for n, shot in enumerate(shots.all[batch * BATCH : (batch + 1) * BATCH]):
        column = columns.unpack(data, url, (str(n),))
        if column:
            yield shot, column[str(n)]


def _smaller(thumb: Array, side: int) -> Array:
    """A thumbnail by a whole factor smaller, so that it is no longer than ``side``, borders cut."""
    factor = max(1, ceil_div(max(thumb.shape[:2]), side))
    rows, lines = (max(1, n // factor) for n in thumb.shape[:2])
    step = [min(factor, n) for n in thumb.shape[:2]]
    cut = thumb[: rows * step[0], : lines * step[1]]
    return np.asarray(cut.reshape(rows, step[0], lines, step[1], -1).mean(axis=(1, 3), dtype=np.float64))


def _window(shots: Shots) -> tuple[float, float]:
    """The values that are shown black and white: medians over pictures, so that no single one sets them."""
    low = _median([shot.seen.p1 for shot in shots.all])
    high = _median([shot.seen.p99 for shot in shots.all])
    return low, max(high, low + 1e-6 * max(1.0, abs(low)))


def _median(values: Sequence[float | None]) -> float:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else 0.0
