"""Arrays at boxes: one mip level of a Precomputed layer, as a frozen value.

Chunks are read, decoded, encoded and written by several threads; the codecs and the store release
the interpreter's lock. A shard is encoded chunk by chunk and written as one object.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import codecs, sharding
from igneous_ng.formats.info import Info, Scale, chunk_box, chunk_name, chunk_range, is_aligned
from igneous_ng.geometry import Box, Vec3, Vec3f, vec
from igneous_ng.shards import Run, Shards
from igneous_ng.store import MISSING, Compression, Store, Written, digest, digest_of

Array = npt.NDArray[Any]


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

    @property
    def granularity(self) -> Vec3:
        """The smallest box that can be written on its own, in voxels: a chunk, or all chunks of one shard."""
        return self.scale.granularity

    def read(self, box: Box, out: Array | None = None) -> tuple[Array, str]:
        """The voxels of ``box``, ``[x, y, z, c]``, and the digest of the bytes they came from.

        They are written to ``out`` where it is given, of their shape and type; else to an array in Fortran order.
        """
        if box not in self.bounds:
            raise DataError(f"{self.path} mip {self.mip}: {box} is not inside the level's {self.bounds}")
        if out is None:
            out = np.empty((*box.shape, self.channels), self.dtype, order="F")
        if self.scale.sharded:
            found = self._read_sharded(out, box)
        else:
            found = self.store.map(partial(self._read_chunk, out, box), self.chunks(box))
        return out, digest("".join(found).encode())

    def fingerprint(self, box: Box) -> str:
        """The digest that :meth:`read` would return now, a missing chunk being no error. Decodes nothing."""
        chunks = list(self.chunks(box & self.bounds))
        if self.scale.sharded:
            keys = self._keys(box & self.bounds).tolist()
            runs = self._found(self._shards.minishards(np.array(keys, np.uint64)))
            read = self.store.map(lambda run: [(key, digest(data)) for key, data in self._shards.fetch(run)], runs)
            digests = dict(one for found in read for one in found)
            found = [digests.get(key, MISSING) for key in keys]
        else:
            found = self.store.map(lambda chunk: digest_of(self.store.get(self.url(chunk))), chunks)
        return digest("".join(found).encode())

    def _read_chunk(self, out: Array, box: Box, chunk: Box) -> str:
        return self._place(out, box, chunk, self.store.get(self.url(chunk)))

    def _read_sharded(self, out: Array, box: Box) -> list[str]:
        """All indices first, then the chunks, as many at once as lie together."""
        shards, chunks = self._shards, dict(zip(self._keys(box).tolist(), self.chunks(box), strict=True))
        places = shards.minishards(np.array(list(chunks), np.uint64))
        runs = self._found(places)
        for key in chunks.keys() - {key for run in runs for key, _ in run.chunks}:
            self._place(out, box, chunks[key], None)
        read = self.store.map(partial(self._read_run, out, box, chunks), runs)
        digests = {key: fingerprint for found in read for key, fingerprint in found}
        return [digests.get(key, MISSING) for key in chunks]

    def _found(self, places: dict[tuple[int, int], list[int]]) -> list[Run]:
        """Where the chunks of minishards lie, those that lie together as one."""
        shards = self._shards
        return [
            run for found in self.store.map(lambda place: shards.find(place, places[place]), places) for run in found
        ]

    def _read_run(self, out: Array, box: Box, chunks: dict[int, Box], run: Run) -> list[tuple[int, str]]:
        return [(key, self._place(out, box, chunks[key], data)) for key, data in self._shards.fetch(run)]

    def _place(self, out: Array, box: Box, chunk: Box, data: bytes | None) -> str:
        """Decode one chunk into its part of ``out``; returns the digest of its bytes."""
        if data is None:
            if self.fill_missing:
                out[(chunk & box).slices(box.lo)] = 0
                return MISSING
            raise DataError(
                f"{self.path} mip {self.mip}: the chunk {chunk} is missing (read for {box}); "
                "write it first, or pass --fill-missing to read it as zeros"
            )
        part = chunk & box
        start = vec(a - b for a, b in zip(part.lo, chunk.lo, strict=True))
        try:
            codecs.place(data, self.scale.encoding, chunk.shape, self.scale.parameters, start, out[part.slices(box.lo)])
        except DataError as error:
            raise DataError(f"{self.path} mip {self.mip}: chunk {chunk}: {error}") from error
        return digest(data)

    def write(self, box: Box, array: Array, compress: Compression, delete_background: bool = False) -> list[Written]:
        """Write whole chunks, or whole shards, at once; see :class:`Output`."""
        output = Output(self, box, compress, delete_background)
        return [*output.put(box, array), *output.close()]

    def store_chunks(self, array: Array, box: Box, compress: Compression, background: bool) -> list[Written]:
        """Write the chunks of ``box`` as objects of their own; remove those of zeros unless ``background``."""

        def write(chunk: Box) -> Written:
            url, data = self.url(chunk), self._encoded(array, box, background, chunk)
            return self.store.delete(url) if data is None else self.store.put(url, data, compress)

        return _told(self.store.map(write, self.chunks(box)))

    def pack_chunks(self, array: Array, box: Box, background: bool) -> dict[int, bytes]:
        """The chunks of ``box`` by key, as they are stored in shards; without those of zeros unless ``background``."""
        packing = self._shards.spec.data_encoding

        def pack(chunk: Box) -> bytes | None:
            data = self._encoded(array, box, background, chunk)
            return None if data is None else sharding.packed(data, packing)

        coded = zip(self._keys(box).tolist(), self.store.map(pack, self.chunks(box)), strict=True)
        return {key: data for key, data in coded if data is not None}

    def store_shards(self, box: Box, chunks: dict[int, bytes]) -> Iterator[Written]:
        """Write the shards of ``box`` from packed ``chunks``, which is emptied; a shard of none is removed."""
        keys = self._keys(box)
        members: dict[int, list[int]] = {}
        for key, shard in zip(keys.tolist(), self._shards.spec.locate(keys)[0].tolist(), strict=True):
            members.setdefault(shard, []).append(key)
        for shard, inside in sorted(members.items()):
            url, found = self._shards.url(shard), {key: chunks.pop(key) for key in inside if key in chunks}
            if found:
                yield self.store.put(url, sharding.joined(self._shards.spec, found))
            else:
                yield from _told([self.store.delete(url)])

    def _encoded(self, array: Array, box: Box, background: bool, chunk: Box) -> bytes | None:
        """The bytes of one chunk; None where it is background, and that is to be left out."""
        voxels = array[chunk.slices(box.lo)]
        if not background and not voxels.any():
            return None
        return codecs.encode(voxels, self.scale.encoding, self.scale.parameters)

    @property
    def _shards(self) -> Shards:
        spec = self.scale.sharding
        assert spec is not None
        return Shards(f"{self.path}/{self.scale.key}", spec, self.store)

    def _keys(self, box: Box) -> sharding.Keys:
        """Keys of the chunks in :meth:`chunks`, in their order."""
        cells = chunk_range(self.scale, box)
        points = np.indices(cells.shape).reshape(3, -1).T + np.array(cells.lo)
        return sharding.Layout(self._shards.spec, self.scale.grid).keys(points)

    def absent(self, box: Box) -> list[Box]:
        """The chunks that ``box`` touches and that are not stored."""
        chunks = list(self.chunks(box))
        if self.scale.sharded:
            keys = self._keys(box)
            stored = {key for run in self._found(self._shards.minishards(keys)) for key, _ in run.chunks}
            there = [key in stored for key in keys.tolist()]
        else:
            there = self.store.map(lambda chunk: self.store.exists(self.url(chunk)), chunks)
        return [chunk for chunk, found in zip(chunks, there, strict=True) if not found]

    def url(self, chunk: Box) -> str:
        """Where a chunk is stored that is an object of its own."""
        return f"{self.path}/{chunk_name(self.scale, chunk)}"

    def chunks(self, box: Box) -> Iterator[Box]:
        """The chunks that ``box`` touches."""
        cells = chunk_range(self.scale, box)
        ranges = (range(a, b) for a, b in zip(cells.lo, cells.hi, strict=True))
        return (chunk_box(self.scale, vec(index)) for index in product(*ranges))


def _told(made: list[Written]) -> list[Written]:
    """What is worth telling: not that nothing is where nothing was."""
    return [one for one in made if one.stored is not None or one.replaced]


class Output:
    """A box of a level that is written part by part, in any order; a part is whole chunks.

    ``box`` is whole chunks, or whole shards: a shard is stored when the output is closed, and its chunks are kept
    as they will be stored until then. With ``delete_background`` chunks of zeros are not stored, and removed where
    they are. ``compress`` is for chunks in objects of their own: shards are compressed as their ``info`` says.
    """

    def __init__(self, volume: Volume, box: Box, compress: Compression, delete_background: bool = False) -> None:
        self._volume, self._box, self._compress = volume, box, compress
        self._background = not delete_background
        self._packed: dict[int, bytes] = {}
        self._check(box, volume.granularity)
        if volume.scale.sharded and compress not in ("gzip", "none"):
            raise SpecError(
                f"{volume.path} mip {volume.mip} is sharded, and shards know no {compress}; use gzip, or none"
            )

    def put(self, part: Box, array: Array) -> list[Written]:
        """Take the voxels of ``part``; returns what became of objects."""
        volume = self._volume
        if array.shape != (*part.shape, volume.channels) or array.dtype != volume.dtype:
            raise SpecError(
                f"{volume.path} mip {volume.mip}: {array.shape} {array.dtype} do not fill {part} "
                f"of {volume.channels} channel(s) {volume.dtype}"
            )
        self._check(part, volume.chunk)
        if volume.scale.sharded:
            self._packed |= volume.pack_chunks(array, part, self._background)
            return []
        return volume.store_chunks(array, part, self._compress, self._background)

    def close(self) -> list[Written]:
        """Store the shards; as :meth:`put`."""
        if not self._volume.scale.sharded:
            return []
        return list(self._volume.store_shards(self._box, self._packed))

    def _check(self, box: Box, cell: Vec3) -> None:
        volume = self._volume
        if not is_aligned(volume.scale, box, cell):
            parts = "chunks" if cell == volume.chunk else "shards"
            raise SpecError(
                f"{volume.path} mip {volume.mip}: {box} is not made of whole {parts} of {cell} "
                f"counted from {volume.bounds.lo}; choose a cell that is a multiple of them"
            )
