"""A file in the layout of CREMI (cremi.org): cells of random centres, two synapses, and a margin around the labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
RESOLUTION = (40.0, 4.0, 4.0)  # z, y, x as all of CREMI
MARGIN = (2, 16, 16)
NOTHING = np.iinfo(np.uint64).max


def write(path: Path, shape: tuple[int, int, int] = (20, 96, 96)) -> None:
    """The file: raw of ``shape`` z, y, x, labels inside of the margin, clefts, and annotations of partners."""
    nearest, apart = _cells(shape)
    raw = np.where(apart < 24, 60, 170) + np.random.default_rng(2).normal(0, 6, shape)
    inner = tuple(slice(m, n - m) for m, n in zip(MARGIN, shape, strict=True))
    labels = nearest[inner].astype(np.uint64) + 1
    offset = np.multiply(MARGIN, RESOLUTION)
    with h5py.File(path, "w") as file:
        _volume(file, "volumes/raw", np.clip(raw, 0, 255).astype(np.uint8), None)
        _volume(file, "volumes/labels/neuron_ids", labels, offset)
        clefts, sites = _synapses(labels)
        _volume(file, "volumes/labels/clefts", clefts, offset)
        ids = np.arange(10, 10 + 2 * len(sites), dtype=np.uint64)
        locations = (np.concatenate(sites) + 0.5) * RESOLUTION
        file["annotations/ids"] = ids
        file["annotations/locations"] = locations
        file["annotations/types"] = np.array([b"presynaptic_site", b"postsynaptic_site"] * len(sites))
        file["annotations/presynaptic_site/partners"] = ids.reshape(-1, 2)
        file["annotations"].attrs["offset"] = offset


def _volume(file: h5py.File, name: str, array: Array, offset: Array | None) -> None:
    file.create_dataset(name, data=array, compression="gzip").attrs["resolution"] = RESOLUTION
    if offset is not None:
        file[name].attrs["offset"] = offset


def _cells(shape: tuple[int, int, int]) -> tuple[Array, Array]:
    """Which of nine centres is nearest to each voxel, and how much farther the second is, in nm."""
    size = np.multiply(shape, RESOLUTION)
    centres = np.random.default_rng(4).random((9, 3)) * size
    places = np.stack(np.meshgrid(*(np.arange(n) * r for n, r in zip(shape, RESOLUTION, strict=True)), indexing="ij"))
    far = np.sqrt(((places[None] - centres[:, :, None, None, None]) ** 2).sum(axis=1))
    ordered = np.sort(far, axis=0)
    return far.argmin(axis=0), ordered[1] - ordered[0]


def _synapses(labels: Array) -> tuple[Array, list[Array]]:
    """Clefts where cells meet along x in two sections, and of each a place on either side, z, y, x."""
    clefts, sites = np.full(labels.shape, NOTHING, np.uint64), []
    for number, z in enumerate((4, 11), 1):
        where = np.argwhere(labels[z, :, 8:-9] != labels[z, :, 9:-8])
        y, x = where[len(where) // 2] + (0, 8)
        clefts[z, y - 2 : y + 3, x - 1 : x + 2] = number
        sites.append(np.array([[z, y, x - 4], [z, y, x + 5]]))
    return clefts, sites
