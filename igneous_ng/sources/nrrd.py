"""NRRD files: the first axis runs fastest. Mapped where they are plain, read whole where they are compressed."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from igneous_ng.errors import DataError
from igneous_ng.sources.base import needed, reading
from igneous_ng.sources.mapped import Labelled
from igneous_ng.sources.whole import Whole

_DETACHED = ("data file", "datafile")
_SKIPS = ("line skip", "lineskip", "byte skip", "byteskip")


def open_nrrd(path: Path) -> Labelled | Whole:
    """The array of a ``.nrrd``, with its header in the same file."""
    nrrd = needed("nrrd", "nrrd")
    with reading(str(path), nrrd.errors.NRRDError, KeyError), path.open("rb") as file:
        header = nrrd.read_header(file)
        offset = file.tell()
    if any(key in header for key in (*_DETACHED, *_SKIPS)):
        raise DataError(f"{path}: its data lie in another file or behind a gap; save it as one plain .nrrd")
    shape = tuple(int(n) for n in header["sizes"])
    dtype = np.dtype(nrrd.reader._determine_datatype(header))
    axes = "xyz" if len(shape) == 3 else ""
    if header["encoding"] != "raw":
        return Whole(str(path), path, shape, dtype, axes, _load, (nrrd.errors.NRRDError, zlib.error))
    mapped = Labelled(str(path), path, shape, dtype, offset, fortran=True, axes=axes)
    mapped.check()
    return mapped


def _load(path: Path) -> NDArray[Any]:
    return np.asarray(needed("nrrd", "nrrd").read(str(path))[0])
