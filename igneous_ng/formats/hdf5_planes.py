"""One plane of a dataset of an HDF5 file: its size without its pixels, its pixels without those of other planes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt

from igneous_ng.formats.picture_heads import Size

if TYPE_CHECKING:
    import h5py

Array = npt.NDArray[Any]


def part_of(dataset: str, plane: int | None = None) -> str:
    """What names a plane of a stack, or a dataset that is a picture: ``dataset:plane`` or ``dataset``."""
    return dataset.strip("/") if plane is None else f"{dataset.strip('/')}:{plane}"


def size(file: BinaryIO, part: str) -> Size:
    """Of the picture ``part``; ValueError where there is none, or what h5py raises for files that are torn."""
    import h5py

    with h5py.File(file, "r") as opened:
        dataset, _ = _picture(opened, part)
        rows, columns = dataset.shape[-2:]
        return Size(columns, rows, 1, _native(dataset.dtype))


def read(file: BinaryIO, part: str) -> Array:
    """The pixels ``[y, x]`` of the picture ``part``, as :func:`size`."""
    import h5py

    with h5py.File(file, "r") as opened:
        dataset, plane = _picture(opened, part)
        found = np.empty(dataset.shape[-2:], _native(dataset.dtype))
        if dataset.size:
            dataset.read_direct(found, np.s_[:, :] if plane is None else np.s_[plane])
        return found


def shape(file: BinaryIO, dataset: str) -> tuple[tuple[int, ...], np.dtype[Any], tuple[float, ...] | None]:
    """Sizes and type of a dataset, and its attribute ``resolution``, nm along its axes, as CREMI has it (z, y, x)."""
    import h5py

    with h5py.File(file, "r") as opened:
        found = _dataset(opened, dataset)
        told = found.attrs.get("resolution")
        resolution = None if told is None else tuple(float(n) for n in np.atleast_1d(told))
        return found.shape or (), _native(found.dtype), resolution


def datasets(file: BinaryIO) -> list[str]:
    """The paths of all datasets."""
    import h5py

    names: list[str] = []
    with h5py.File(file, "r") as opened:
        opened.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    return names


def _picture(opened: h5py.File, part: str) -> tuple[h5py.Dataset, int | None]:
    name, colon, number = part.rpartition(":")
    dataset = _dataset(opened, name if colon else part)
    if dataset.dtype.kind not in "uif" or not dataset.size:
        raise ValueError(f"the dataset {dataset.name} of {dataset.dtype} and shape {dataset.shape} holds no pixels")
    if len(dataset.shape) != (3 if colon else 2):
        raise ValueError(f"the dataset {dataset.name} has the shape {dataset.shape}; a stack needs dataset:plane")
    if not colon:
        return dataset, None
    if not (number.isdecimal() and int(number) < dataset.shape[0]):
        raise ValueError(f"the dataset {dataset.name} has {dataset.shape[0]} planes, and no plane {number!r}")
    return dataset, int(number)


def _dataset(opened: h5py.File, name: str) -> h5py.Dataset:
    import h5py

    found = opened.get(name) if name else None
    if isinstance(found, h5py.Dataset):
        return found
    raise ValueError(f"there is no dataset {name!r}")


def _native(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return dtype.newbyteorder("=")
