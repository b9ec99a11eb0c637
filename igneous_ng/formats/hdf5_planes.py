"""One plane of a dataset of an HDF5 file: its size without its pixels, its pixels without those of other planes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import DataError
from igneous_ng.formats.picture_heads import PACKED, Size, check_room

if TYPE_CHECKING:
    import h5py

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Dataset:
    """A picture, or a stack of pictures."""

    name: str
    """Its path in the file."""
    parts: Sequence[str]
    """What names its pictures."""
    size: Size
    """Of each of them."""
    pixel: float | None
    """nm, where the attribute ``resolution`` says it, and x and y are alike."""


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


def datasets(file: BinaryIO) -> list[Dataset]:
    """All datasets of two or three axes that hold numbers, by their paths."""
    import h5py

    found: list[Dataset] = []

    def look(name: str, item: h5py.Dataset | h5py.Group) -> None:
        if isinstance(item, h5py.Dataset) and item.dtype.kind in "uif" and len(item.shape) in (2, 3) and item.size:
            names = [name] if len(item.shape) == 2 else [f"{name}:{n}" for n in range(item.shape[0])]
            rows, columns = item.shape[-2:]
            found.append(Dataset(name, names, Size(columns, rows, 1, _native(item.dtype)), _pixel(item)))

    with h5py.File(file, "r") as opened:
        opened.visititems(look)
    return sorted(found, key=lambda one: one.name)


def check_own(opened: h5py.File, dataset: h5py.Dataset) -> h5py.Dataset:
    """``dataset``, if its numbers lie in this very file: HDF5 would follow it to any other on this machine."""
    if dataset.file.filename != opened.filename or dataset.external or dataset.is_virtual:
        raise DataError(
            f"{opened.filename}: the numbers of the dataset {dataset.name} lie in other files; copy them into this one"
        )
    return dataset


def _pixel(dataset: h5py.Dataset) -> float | None:
    told = np.atleast_1d(dataset.attrs.get("resolution", ()))
    if told.shape != (len(dataset.shape),) or told.dtype.kind not in "uif":
        return None
    down, across = (float(n) for n in told[-2:])
    return across if 0 < across < np.inf and abs(across - down) < 1e-4 * across else None


def _picture(opened: h5py.File, part: str) -> tuple[h5py.Dataset, int | None]:
    name, colon, number = ("", "", part) if part and part in opened else part.rpartition(":")
    dataset = _dataset(opened, name if colon else part)
    if dataset.dtype.kind not in "uif" or not dataset.size:
        raise ValueError(f"the dataset {dataset.name} of {dataset.dtype} and shape {dataset.shape} holds no pixels")
    if len(dataset.shape) != (3 if colon else 2):
        raise ValueError(f"the dataset {dataset.name} has the shape {dataset.shape}; a stack needs dataset:plane")
    rows, columns = dataset.shape[-2:]
    check_room(Size(columns, rows, 1, dataset.dtype), dataset.id.get_storage_size(), PACKED if dataset.chunks else 1)
    if not colon:
        return dataset, None
    if not (number.isdecimal() and int(number) < dataset.shape[0]):
        raise ValueError(f"the dataset {dataset.name} has {dataset.shape[0]} planes, and no plane {number!r}")
    return dataset, int(number)


def _dataset(opened: h5py.File, name: str) -> h5py.Dataset:
    import h5py

    found = opened.get(name) if name else None
    if isinstance(found, h5py.Dataset):
        return check_own(opened, found)
    raise ValueError(f"there is no dataset {name!r}")


def _native(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return dtype.newbyteorder("=")
