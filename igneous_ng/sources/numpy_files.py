"""NumPy's own files: ``.npy`` and the members of ``.npz``, mapped where they are not compressed."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from igneous_ng.errors import SpecError
from igneous_ng.sources.base import Index, own, reading
from igneous_ng.sources.mapped import Mapped

_LOCAL_HEADER = 30  # bytes of a zip member's local header before its name


@dataclass(frozen=True)
class Packed:
    """A compressed member of an ``.npz``: read whole, and the last one kept by the process."""

    name: str
    path: Path
    member: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def resident_bytes(self) -> int:
        """The whole member: a compressed array cannot be read in part."""
        return prod(self.shape) * self.dtype.itemsize

    def window(self, index: Index) -> NDArray[Any]:
        """Cut from the member in memory."""
        with reading(self.name, zipfile.BadZipFile, zlib.error, RuntimeError):
            return own(_load(self.path, self.path.stat().st_mtime_ns, self.member)[index])

    def check(self) -> None:
        """Opening it has read the header; its checksum is verified when it is read."""


def open_npy(path: Path) -> Mapped:
    """The array of an ``.npy`` file; DataError where it is no array of numbers."""
    with reading(str(path)), path.open("rb") as file:
        shape, fortran, dtype = _header(file)
        mapped = Mapped(str(path), path, shape, dtype, file.tell(), fortran)
    mapped.check()
    return mapped


def open_npz(path: Path, dataset: str) -> Mapped | Packed:
    """One member of an ``.npz``, by default its only one, named without ``.npy``. Mapped if stored, else read whole."""
    with reading(str(path), zipfile.BadZipFile, zlib.error, RuntimeError), zipfile.ZipFile(path) as archive:
        names = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        wanted = dataset.removesuffix(".npy") or ("" if len(names) != 1 else next(iter(names)))
        info = names.get(wanted)
        if info is not None:
            with archive.open(info) as member:
                shape, fortran, dtype = _header(member)
                start = member.tell()
    if info is None and not wanted:
        raise SpecError(f"{path}: which of its arrays? Give one by --dataset: {', '.join(names)}")
    if info is None:
        raise SpecError(f"{path}: no array is called {dataset!r}; give as dataset one of: {', '.join(names)}")
    name = f"{path}:{wanted}"
    if info.compress_type != zipfile.ZIP_STORED:
        return Packed(name, path, info.filename, shape, dtype)
    mapped = Mapped(name, path, shape, dtype, _data_offset(path, info) + start, fortran)
    mapped.check()
    return mapped


def _data_offset(path: Path, info: zipfile.ZipInfo) -> int:
    """Where the bytes of a member begin; its local header may be longer than the directory's entry says."""
    with reading(str(path)), path.open("rb") as file:
        file.seek(info.header_offset)
        local = file.read(_LOCAL_HEADER)
    lengths = int.from_bytes(local[26:28], "little") + int.from_bytes(local[28:30], "little")
    return info.header_offset + _LOCAL_HEADER + lengths


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether in Fortran order, and dtype; the file is left at the first voxel."""
    version = npy.read_magic(file)
    if version == (1, 0):
        shape, fortran, dtype = npy.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, fortran, dtype = npy.read_array_header_2_0(file)
    else:  # only arrays of records with names beyond ASCII are written so
        raise ValueError(f"version {version} of the npy format holds records, not numbers")
    if dtype.hasobject:
        raise ValueError("it holds pickled Python objects, which are never loaded; save an array of numbers")
    return shape, fortran, dtype


@lru_cache(maxsize=1)
def _load(path: Path, mtime_ns: int, member: str) -> NDArray[Any]:  # noqa: ARG001 - a file written anew is read anew
    """The whole member of an archive as it was at ``mtime_ns``."""
    with zipfile.ZipFile(path) as archive, archive.open(member) as file:
        array: NDArray[Any] = npy.read_array(file, allow_pickle=False)
        file.read()  # to the end, where the checksum is compared
    return array
