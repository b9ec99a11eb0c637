"""Arrays at boxes: one mip level of a Precomputed layer, as a frozen value.

Chunks are read, decoded, encoded and written by several threads; the codecs and the store release
the interpreter's lock. Sharded levels are read through cloud-volume.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import codecs
from igneous_ng.formats.info import Info, Scale, chunk_box, chunk_name, chunk_range, is_aligned
from igneous_ng.geometry import Box, Vec3, Vec3f, vec
from igneous_ng.store import Compression, Store, digest

Array = npt.NDArray[Any]
THREADS = 4


@dataclass(frozen=True)
class Volume:
    """Level ``mip`` of the layer at ``path``; with ``fill_missing``, absent chunks read as zeros."""

    path: str
    mip: int
    info: Info
    store: Store
    fill_missing: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.mip < len(self.info.scales):
            raise SpecError(f"{self.path} has no mip {self.mip}; there are mips 0 to {len(self.info.scales) - 1}")

    @property
    def scale(self) -> Scale:
        """The entry of this level in ``info``."""
        return self.info.scales[self.mip]

    @property
    def bounds(self) -> Box:
        """All voxels of this level."""
        return self.scale.bounds

    @property
    def resolution(self) -> Vec3f:
        """Size of a voxel in nm."""
        return self.scale.resolution

    @property
    def chunk(self) -> Vec3:
        """Shape of a chunk in voxels."""
        return self.scale.chunk

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a voxel."""
        return self.info.dtype

    @property
    def channels(self) -> int:
        """Values per voxel."""
        return self.info.channels

    @property
    def voxel_bytes(self) -> int:
        """Bytes of one voxel, all its channels."""
        return self.dtype.itemsize * self.channels

    def read(self, box: Box) -> tuple[Array, str]:
        """The voxels of ``box``, ``[x, y, z, c]`` in Fortran order, and the digest of the bytes they came from."""
        if box not in self.bounds:
            raise DataError(f"{self.path} mip {self.mip}: {box} is not inside the level's {self.bounds}")
        if self.scale.sharded:
            return self._read_sharded(box)
        out = np.zeros((*box.shape, self.channels), self.dtype, order="F")
        total = hashlib.blake2b(digest_size=16)
        with ThreadPoolExecutor(THREADS) as pool:
            for fingerprint in pool.map(partial(self._read_chunk, out, box), self._chunks(box)):
                total.update(fingerprint.encode())
        return out, total.hexdigest()

    def _read_chunk(self, out: Array, box: Box, chunk: Box) -> str:
        data = self.store.get(f"{self.path}/{chunk_name(self.scale, chunk)}")
        if data is None:
            if self.fill_missing:
                return "missing"
            raise DataError(
                f"{self.path} mip {self.mip}: the chunk {chunk} is missing (read for {box}); "
                "write it first, or pass --fill-missing to read it as zeros"
            )
        shape = (*chunk.shape, self.channels)
        try:
            voxels = codecs.decode(data, self.scale.encoding, shape, self.dtype, self.scale.block)
        except DataError as error:
            raise DataError(f"{self.path} mip {self.mip}: chunk {chunk}: {error}") from error
        part = chunk & box
        out[part.slices(box.lo)] = voxels[part.slices(chunk.lo)]
        return digest(data)

    def _read_sharded(self, box: Box) -> tuple[Array, str]:
        from cloudvolume import CloudVolume
        from cloudvolume.exceptions import EmptyVolumeException

        volume = CloudVolume(self.path, mip=self.mip, fill_missing=self.fill_missing, progress=False)
        try:
            array = np.asfortranarray(volume[box.slices()])
        except EmptyVolumeException as error:
            raise DataError(
                f"{self.path} mip {self.mip}: {box} has a missing chunk ({error}); "
                "write it first, or pass --fill-missing to read it as zeros"
            ) from error
        return array, digest(array.tobytes("F"))

    def write(self, box: Box, array: Array, compress: Compression) -> list[tuple[str, bytes]]:
        """Write whole chunks; returns each object's URL and its bytes as stored."""
        if array.shape != (*box.shape, self.channels) or array.dtype != self.dtype:
            raise SpecError(
                f"{self.path} mip {self.mip}: {array.shape} {array.dtype} do not fill {box} "
                f"of {self.channels} channel(s) {self.dtype}"
            )
        if self.scale.sharded:
            raise SpecError(f"{self.path} mip {self.mip} is sharded; write to an unsharded layer")
        if not is_aligned(self.scale, box):
            raise SpecError(
                f"{self.path} mip {self.mip}: {box} is not made of whole chunks of {self.chunk} "
                f"counted from {self.bounds.lo}; choose a cell that is a multiple of the chunk"
            )
        with ThreadPoolExecutor(THREADS) as pool:
            return list(pool.map(partial(self._write_chunk, array, box, compress), self._chunks(box)))

    def _write_chunk(self, array: Array, box: Box, compress: Compression, chunk: Box) -> tuple[str, bytes]:
        url = f"{self.path}/{chunk_name(self.scale, chunk)}"
        data = codecs.encode(array[chunk.slices(box.lo)], self.scale.encoding, self.scale.block)
        return url, self.store.put(url, data, compress)

    def _chunks(self, box: Box) -> Iterator[Box]:
        cells = chunk_range(self.scale, box)
        ranges = (range(a, b) for a, b in zip(cells.lo, cells.hi, strict=True))
        return (chunk_box(self.scale, vec(index)) for index in product(*ranges))
