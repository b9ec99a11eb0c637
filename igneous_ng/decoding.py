"""Whether objects can be read as what the ``info`` of their folder says they are: voxels, meshes, skeletons, JSON.

Formats that no ``info`` tells of are not judged.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

from igneous_ng import folders
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import info as infos
from igneous_ng.formats import mesh as legacy
from igneous_ng.formats import multires, skeleton
from igneous_ng.formats.sharding import Spec, unpacked
from igneous_ng.geometry import Box, Grid, vec
from igneous_ng.shards import Shards
from igneous_ng.store import Store, parsed
from igneous_ng.volume import Volume

_JSON = (".json", ".spatial")
_VOXEL_BYTES = 1 << 26  # decoded at once
WRONG = (DataError, SpecError, ValueError, KeyError, TypeError, IndexError, struct.error)
"""What parsing raises where an object is none of its kind."""


class Decoder:
    """Decodes what lies in a store. Threads may share one."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._infos: dict[str, dict[str, Any]] = {}
        self._volumes: dict[tuple[str, int], Volume] = {}

    def check(self, url: str) -> None:
        """Parse an object, as far as its folder or its name says what it is; one of :data:`WRONG` where that fails."""
        folder, _, name = url.rpartition("/")
        if name == "info" or name.endswith(_JSON):
            raw = parsed(self._content(url), url)
            if name == "info" and "scales" in raw:
                infos.parse(raw, url)
            return
        info = self._info(folder)
        checks = {legacy.TYPE: self._legacy, multires.TYPE: self._multires, skeleton.TYPE: self._skeleton}
        if (check := checks.get(info.get("@type", ""))) is not None:
            check(url, info)

    def check_box(self, layer: str, mip: int, box: Box) -> None:
        """Decode every chunk of ``box`` that is stored; DataError names one that cannot be."""
        if (layer, mip) not in self._volumes:
            info = infos.parse(self._info(layer), f"{layer}/info")
            self._volumes[layer, mip] = Volume(layer, mip, info, self._store, fill_missing=True)
        volume = self._volumes[layer, mip]
        chunk = volume.chunk
        layers = max(1, _VOXEL_BYTES // (volume.voxel_bytes * box.shape[0] * box.shape[1] * chunk[2]))
        rows = max(1, _VOXEL_BYTES // (volume.voxel_bytes * box.shape[0] * chunk[1] * chunk[2]))
        tall = vec((max(1, box.shape[0]), chunk[1] * rows, chunk[2] * layers))
        for part in Grid(box, tall):
            volume.read(part)

    def _content(self, url: str) -> bytes:
        data = self._store.get(url)
        if data is None:
            raise DataError(f"{url}: it is gone")
        return data

    def _info(self, folder: str) -> dict[str, Any]:
        if folder not in self._infos:
            found = self._store.get_json(f"{folder}/info")
            self._infos[folder] = found if isinstance(found, dict) else {}
        return self._infos[folder]

    def _legacy(self, url: str, info: Mapping[str, Any]) -> None:  # noqa: ARG002 - each kind is checked in one way
        folder, _, name = url.rpartition("/")
        if name.endswith(".mesh"):
            vertices, faces = legacy.decode(self._content(url), url)
            if len(faces) and int(faces.max()) >= len(vertices):
                raise DataError(f"{url}: faces beyond its {len(vertices)} vertices")
        elif name.partition(":")[0].isdigit():
            for fragment in json.loads(self._content(url))["fragments"]:
                if not self._store.exists(f"{folder}/{fragment}"):
                    raise DataError(f"{url}: its fragment {fragment} is missing")

    def _multires(self, url: str, info: Mapping[str, Any]) -> None:
        if url.endswith(".shard"):
            spec = Spec.parse(info["sharding"])
            for data, start in self._sharded(url, spec):
                if multires.decode(data, url).bytes > start - spec.index_bytes:
                    raise DataError(f"{url}: a manifest names more bytes than lie before it")
        elif url.endswith(".index"):
            manifest = multires.decode(self._content(url), url)
            if folders.size(url.removesuffix(".index")) != manifest.bytes:
                raise DataError(f"{url}: its fragments are {manifest.bytes} bytes, and not those that are there")

    def _skeleton(self, url: str, info: Mapping[str, Any]) -> None:
        attributes = info["vertex_attributes"]
        if url.endswith(".shard"):
            for data, _ in self._sharded(url, Spec.parse(info["sharding"])):
                skeleton.decode(data, url, attributes)
        elif url.rpartition("/")[2].isdigit():
            skeleton.decode(self._content(url), url, attributes)

    def _sharded(self, url: str, spec: Spec) -> Any:
        """The objects of a shard, unpacked, and where in it each begins."""
        folder, _, name = url.rpartition("/")
        for key, (start, stop) in Shards(folder, spec, self._store).spans(int(name.removesuffix(".shard"), 16)):
            data = self._store.get(url, (start, stop)) or b""
            if len(data) != stop - start:
                raise DataError(f"{url}: it ends within object {key}")
            yield unpacked(data, spec.data_encoding, f"{url}, object {key}"), start
