"""Datasets of HDF5 files."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from igneous_ng import spelling
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats.hdf5_planes import check_own
from igneous_ng.sources.base import Index, native, reading

if TYPE_CHECKING:
    import h5py


@dataclass(frozen=True)
class Hdf5:
    """One dataset. The file is open only while a window is read."""

    name: str
    path: Path
    dataset: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    resident_bytes: int

    def window(self, index: Index) -> NDArray[Any]:
        """HDF5 decodes the chunks that the window touches, one after the other."""
        import h5py

        found = np.empty([s.stop - s.start for s in index], self.dtype.newbyteorder("="))
        with reading(self.name, KeyError, RuntimeError), h5py.File(self.path, "r") as file:
            dataset = check_own(file, file[self.dataset])
            if dataset.shape != self.shape:
                raise DataError(f"{self.name}: has become {dataset.shape}, was {self.shape}; plan again")
            dataset.read_direct(found, index)
        return found.astype(native(self.dtype), copy=False)

    def check(self) -> None:
        """Opening it has read all there is to know."""


def open_hdf5(path: Path, dataset: str) -> Hdf5:
    """The dataset at the path ``dataset`` inside of the file, or its only one; SpecError lists those that there are."""
    import h5py

    with reading(str(path), RuntimeError), h5py.File(path, "r") as file:
        names = _datasets(file)
        wanted = dataset.strip("/") or ("" if len(names) != 1 else names[0])
        if wanted in names:
            found = check_own(file, file[wanted])
            chunk = prod(found.chunks) * found.dtype.itemsize if found.chunks else 0
            return Hdf5(f"{path}:{wanted}", path, wanted, found.shape or (), found.dtype, chunk)
    if not wanted:
        raise SpecError(f"{path}: which of its datasets? Give one by --dataset: {', '.join(names) or '(it has none)'}")
    raise SpecError(f"{path}: no dataset is called {dataset!r}; {spelling.choices(wanted, names)}")


def _datasets(file: h5py.File) -> list[str]:
    import h5py

    names: list[str] = []
    file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    return names
