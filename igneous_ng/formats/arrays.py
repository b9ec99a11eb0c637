"""Arrays as files of other programs: the bytes of a TIFF section, of an HDF5 file and of an ``.npy``.

Arrays come as ``[x, y, z, c]`` and are stored z, y, x, and c last where there is more than one channel.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from igneous_ng.geometry import Vec3, Vec3f

Array = NDArray[Any]
DATASET = "main"
"""The path of the array in an HDF5 file."""
_NM_PER_CM, _NM_PER_UM = 1e7, 1e3


def stored(array: Array) -> Array:
    """``array`` as it is stored."""
    turned = array.transpose(2, 1, 0, 3)
    return np.ascontiguousarray(turned[..., 0] if array.shape[3] == 1 else turned)


def described(channels: int, resolution: Vec3f, offset: Vec3) -> dict[str, Any]:
    """What a reader needs to place an array: resolution and offset are z, y, x."""
    axes = "zyx" if channels == 1 else "zyxc"
    return {"axes": axes, "resolution_nm": list(resolution[::-1]), "offset_voxels": list(offset[::-1])}


def tiff(section: Array, resolution: Vec3f) -> bytes:
    """One section as an uncompressed TIFF, with its pixels per centimetre."""
    import tifffile

    file = io.BytesIO()
    tifffile.imwrite(
        file,
        stored(section)[0],
        photometric="rgb" if section.shape[3] in (3, 4) else "minisblack",
        planarconfig="contig" if section.shape[3] > 1 else None,
        resolution=(_NM_PER_CM / resolution[0], _NM_PER_CM / resolution[1]),
        resolutionunit="CENTIMETER",
        metadata=None,
        software=False,
    )
    return file.getvalue()


def npy(array: Array) -> bytes:
    """An ``.npy`` file."""
    file = io.BytesIO()
    np.save(file, stored(array))
    return file.getvalue()


def hdf5(array: Array, resolution: Vec3f, offset: Vec3) -> bytes:
    """An HDF5 file with the dataset ``main``, compressed; ``element_size_um`` is what ilastik and Fiji read."""
    import h5py

    file = io.BytesIO()
    with h5py.File(file, "w", track_order=False) as made:
        dataset = made.create_dataset(DATASET, data=stored(array), chunks=True, compression="gzip", track_times=False)
        dataset.attrs.update(described(array.shape[3], resolution, offset))
        dataset.attrs["element_size_um"] = [r / _NM_PER_UM for r in resolution[::-1]]
    return file.getvalue()
