"""Files that hold voxels, read by the window: how data from elsewhere becomes Precomputed layers.

Each format is one module; each reader keeps paths and sizes, never an open file, so that many workers read
one source at once. ``docs/design/003-sources-and-pooling.md`` says why.
"""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterable
from pathlib import Path

from igneous_ng import fences
from igneous_ng.errors import SpecError
from igneous_ng.sources import chunked, images
from igneous_ng.sources.base import ArraySource, Named, Source, Stored
from igneous_ng.sources.hdf5 import open_hdf5
from igneous_ng.sources.nifti import open_nifti
from igneous_ng.sources.nrrd import open_nrrd
from igneous_ng.sources.numpy_files import open_npy, open_npz
from igneous_ng.sources.planes import MRCS, PICTURES, open_planes
from igneous_ng.sources.tiff import open_tiff

__all__ = ["Source", "open_source"]

HDF5S = (".h5", ".hdf5", ".hdf")
NIFTIS = (".nii", ".nii.gz")

_READERS: dict[str, Callable[[Path, str], Stored]] = {
    ".npy": lambda path, _: open_npy(path),
    ".npz": open_npz,
    **dict.fromkeys(HDF5S, open_hdf5),
    **dict.fromkeys(NIFTIS, lambda path, _: open_nifti(path)),
    ".nrrd": lambda path, _: open_nrrd(path),
    **dict.fromkeys(images.TIFFS, lambda path, _: open_tiff(path)),
    **dict.fromkeys(MRCS + PICTURES, lambda path, _: open_planes(path)),
    **dict.fromkeys(images.PNGS + images.JPEGS, lambda path, _: images.Images(str(path), [path])),
}


def open_source(path: str, *, axes: str, dataset: str = "") -> Source:
    """The voxels at ``path``: a file, a folder of images or of a Zarr or N5, or a glob pattern of images.

    axes: the stored axes in order, letters of ``xyzc``, each once; those not stored have size 1. Images and
    TIFF stacks are ``zyx``, or ``zyxc`` where pixels have samples: there it may be empty. An axis order other
    than the array's cannot be told from it, so nothing is guessed for ``.npy``, ``.npz`` and HDF5. NIfTI and NRRD of
    three axes are ``xyz``, MRC, DM and FIB-SEM files as images; Zarr and N5 may name theirs.
    dataset: the member of an ``.npz``, the path in an HDF5 file or in a Zarr or N5; an error lists what there is.

    SpecError: no such path, an unknown suffix, an empty folder, axes or a dataset that do not fit.
    DataError: a file that is damaged, or holds no plain numbers.
    """
    suffix, place = _suffix(path), Path(path)
    parts = _is_chunked(place) if place.is_dir() else suffix in (".npz", *HDF5S)
    if dataset and not parts:
        raise SpecError(
            f"{path}: has no parts to choose from; leave dataset {dataset!r} out (.npz, HDF5, Zarr and N5 have)"
        )
    stored = _open(path, dataset)
    if isinstance(stored, Named):
        axes = axes or stored.axes
    elif suffix in images.SUFFIXES or isinstance(stored, images.Images):
        axes = _image_axes(path, axes, len(stored.shape))
    return ArraySource(stored, axes)


def _open(path: str, dataset: str) -> Stored:
    """The reader for what is at ``path``."""
    place = fences.passed_path(Path(path))
    suffix = _suffix(path)
    if place.is_dir():
        if _is_chunked(place):
            return chunked.open_folder(place, dataset)
        return _images(path, place.iterdir())
    if not place.exists():
        if any(sign in path for sign in "*?["):
            return _images(path, map(Path, glob.iglob(path, recursive=True)))  # noqa: PTH207 - a pattern may be absolute
        raise SpecError(f"{path}: there is nothing of this name; check the path, from {Path.cwd()} on")
    if suffix not in _READERS:
        raise SpecError(f"{path}: files {suffix or 'without a suffix'} are not read; known are: {', '.join(_READERS)}")
    return _READERS[suffix](place, dataset)


def _suffix(path: str) -> str:
    return ".nii.gz" if path.lower().endswith(".nii.gz") else Path(path).suffix.lower()


def _is_chunked(folder: Path) -> bool:
    return any((folder / mark).exists() for mark in chunked.MARKS)


def _images(path: str, found: Iterable[Path]) -> images.Images:
    """The images among ``found`` in natural order; hidden files and those of other kinds are left out.

    Beside images, files of microscopes are other kinds: ``.dat`` is the suffix of much else.
    """
    there = [p for p in found if not p.name.startswith(".") and p.is_file()]
    for suffixes in (images.SUFFIXES, PICTURES):
        if paths := sorted((p for p in there if p.suffix.lower() in suffixes), key=images.natural):
            return images.Images(path, [fences.passed_path(p) for p in paths])
    raise SpecError(f"{path}: holds no image; looked for: {', '.join(images.SUFFIXES + PICTURES)}")


def _image_axes(path: str, axes: str, count: int) -> str:
    if axes not in ("", "zyx", "zyxc"):
        raise SpecError(f"{path}: axes {axes!r}; images are zyx, or zyxc with samples: leave axes empty")
    return axes or "zyxc"[:count]
