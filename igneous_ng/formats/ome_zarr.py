"""OME-Zarr of one level: its metadata and its chunks, versions 0.4 (Zarr 2) and 0.5 (Zarr 3).

Sources: "Next-generation file formats" of the Open Microscopy Environment, versions 0.4 and 0.5; the Zarr 2 and Zarr 3
specifications. Arrays are c, z, y, x in C order; chunks at the far edge are filled up with zeros.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from igneous_ng.formats.compression import compressed
from igneous_ng.geometry import Box, Vec3, Vec3f

Version = Literal["0.4", "0.5"]
_GZIP_LEVEL = 6


@dataclass(frozen=True)
class Image:
    """An image of one level; ``bounds`` in voxels, which become the translation, ``resolution`` in nm."""

    version: Version
    bounds: Box
    channels: int
    dtype: np.dtype[Any]
    resolution: Vec3f
    chunk: Vec3

    def objects(self) -> dict[str, Any]:
        """The JSON objects that make a folder an image, by name."""
        if self.version == "0.4":
            attributes: dict[str, Any] = {"multiscales": [{"version": "0.4", **self._multiscale()}]}
            return {"0/.zarray": self._array_2(), ".zattrs": attributes, ".zgroup": {"zarr_format": 2}}
        attributes = {"ome": {"version": "0.5", "multiscales": [self._multiscale()]}}
        group = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
        return {"0/zarr.json": self._array_3(), "zarr.json": group}

    def chunk_name(self, lo: Vec3) -> str:
        """The object of the chunk that begins at the voxel ``lo``, of all channels."""
        index = [(a - o) // c for a, o, c in zip(lo, self.bounds.lo, self.chunk, strict=True)]
        name = "/".join(map(str, (0, *index[::-1])))
        return f"0/{name}" if self.version == "0.4" else f"0/c/{name}"

    def encode(self, voxels: NDArray[Any]) -> bytes:
        """The bytes of one chunk, ``[x, y, z, c]``, which may be cut."""
        turned = voxels.transpose(3, 2, 1, 0).astype(self.dtype.newbyteorder("<"), copy=False)
        lacks = [(0, full - there) for full, there in zip(self._chunk_shape(), turned.shape, strict=True)]
        return compressed((np.pad(turned, lacks) if any(map(max, lacks)) else turned).tobytes(), "gzip")

    def _shape(self) -> list[int]:
        return [self.channels, *self.bounds.shape[::-1]]

    def _chunk_shape(self) -> list[int]:
        return [self.channels, *self.chunk[::-1]]

    def _multiscale(self) -> dict[str, Any]:
        scale = [1.0, *self.resolution[::-1]]
        moved = [0.0, *(a * r for a, r in zip(self.bounds.lo[::-1], self.resolution[::-1], strict=True))]
        space = [{"name": name, "type": "space", "unit": "nanometer"} for name in "zyx"]
        transforms = [{"type": "scale", "scale": scale}, {"type": "translation", "translation": moved}]
        return {
            "axes": [{"name": "c", "type": "channel"}, *space],
            "datasets": [{"path": "0", "coordinateTransformations": transforms}],
        }

    def _array_2(self) -> dict[str, Any]:
        return {
            "zarr_format": 2,
            "shape": self._shape(),
            "chunks": self._chunk_shape(),
            "dtype": self.dtype.newbyteorder("<").str,
            "compressor": {"id": "gzip", "level": _GZIP_LEVEL},
            "fill_value": 0,
            "order": "C",
            "filters": None,
            "dimension_separator": "/",
        }

    def _array_3(self) -> dict[str, Any]:
        return {
            "zarr_format": 3,
            "node_type": "array",
            "shape": self._shape(),
            "data_type": self.dtype.name,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": self._chunk_shape()}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "fill_value": 0,
            "codecs": [
                {"name": "bytes", "configuration": {"endian": "little"}},
                {"name": "gzip", "configuration": {"level": _GZIP_LEVEL}},
            ],
            "dimension_names": ["c", "z", "y", "x"],
        }
