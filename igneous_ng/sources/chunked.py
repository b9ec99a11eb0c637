"""Arrays of Zarr (2 and 3) and N5, through TensorStore: only the chunks in the window are read.

Both leave out chunks of background, so a chunk that is not there is no fault.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from igneous_ng import fences
from igneous_ng.errors import DataError, SpecError
from igneous_ng.sources.base import Index, native, needed, own, reading

MARKS = (".zarray", ".zgroup", "zarr.json", "attributes.json")
"""Files that say a folder is one of Zarr or N5."""
_AT_ONCE = 2  # chunks decoded beside each other
_QUIET = {"cache_pool": {}, "data_copy_concurrency": {"limit": _AT_ONCE}, "file_io_concurrency": {"limit": 4}}


@dataclass(frozen=True)
class Chunked:
    """One array at ``url``; it is open only while a window is read."""

    name: str
    url: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    axes: str
    resident_bytes: int

    def window(self, index: Index) -> NDArray[Any]:
        """TensorStore decodes the chunks that the window touches."""
        with reading(self.name):
            store = _opened(self.url)
            if store.shape != self.shape:
                raise DataError(f"{self.name}: has become {store.shape}, was {self.shape}; plan again")
            found = store[index].read().result()
        return own(found.astype(native(self.dtype), copy=False))

    def check(self) -> None:
        """Opening it has read all there is to know."""


def open_chunked(url: str, name: str) -> Chunked:
    """The array at ``url``, a folder; DataError where there is none."""
    with reading(name):
        store = _opened(url)
        labels = [str(label).lower() for label in store.domain.labels]
        axes = "".join(labels) if sorted(labels) in (list("xyz"), list("cxyz")) else ""
        dtype = np.dtype(store.dtype.numpy_dtype)
        held = prod(store.chunk_layout.read_chunk.shape) * dtype.itemsize * 2 * _AT_ONCE
        return Chunked(name, url, tuple(store.shape), dtype, axes, held)


def open_folder(path: Path, dataset: str) -> Chunked:
    """An array in the folder of a Zarr or N5; SpecError lists those that there are."""
    place = path / dataset.strip("/")
    if not any((place / mark).exists() for mark in (".zarray", "zarr.json", "attributes.json")) or _is_group(place):
        arrays = sorted(str(p.parent.relative_to(path)) for mark in MARKS for p in path.rglob(mark))
        found = [name for name in dict.fromkeys(arrays) if not _is_group(path / name)]
        raise SpecError(f"{path}: no array is called {dataset!r}; give as dataset one of: {', '.join(found)}")
    return open_chunked(f"file://{place}/", str(place))


def _is_group(place: Path) -> bool:
    try:
        _opened(f"file://{place}/")
    except ValueError:
        return True
    return False


def _opened(url: str) -> Any:
    if "|" in fences.passed(url.rstrip("/")):  # TensorStore would open the one inside of the other
        raise DataError(f"{url}: arrays in folders of such names are not read; rename it")
    tensorstore = needed("tensorstore", "tensorstore")
    return tensorstore.open({"driver": "auto", "kvstore": url}, context=tensorstore.Context(_QUIET), read=True).result()
