"""NIfTI files: x, y, z as the format has them. Mapped where they are plain, read whole where they are compressed."""

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


def open_nifti(path: Path) -> Labelled | Whole:
    """The voxels as they are stored; DataError where the file wants them scaled, for then they are no longer exact."""
    nibabel = needed("nibabel", "nifti")
    wrong = (nibabel.filebasedimages.ImageFileError, nibabel.spatialimages.HeaderDataError, zlib.error)
    with reading(str(path), *wrong):
        stored = nibabel.load(path).dataobj
    if (stored.slope, stored.inter) not in ((1, 0), (None, None)):
        raise DataError(
            f"{path}: its values are to be scaled by {stored.slope} and moved by {stored.inter}; save them so"
        )
    shape, dtype = tuple(map(int, stored.shape)), np.dtype(stored.dtype)
    axes = "xyz" if len(shape) == 3 else ""
    if path.suffix.lower() == ".gz":
        return Whole(str(path), path, shape, dtype, axes, _load, wrong)
    mapped = Labelled(str(path), path, shape, dtype, int(stored.offset), fortran=True, axes=axes)
    mapped.check()
    return mapped


def _load(path: Path) -> NDArray[Any]:
    stored = needed("nibabel", "nifti").load(path).dataobj
    return np.asarray(stored.get_unscaled())
