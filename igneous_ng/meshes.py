"""A folder of meshes as others find it: which labels it has, and the mesh of each, whatever its format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from igneous_ng.errors import DataError
from igneous_ng.formats import mesh as legacy
from igneous_ng.formats import multires, sharding
from igneous_ng.formats.multires import Manifest
from igneous_ng.formats.sharding import Spec
from igneous_ng.geometry import Vec3f
from igneous_ng.io import IO
from igneous_ng.kernels import mesh_levels
from igneous_ng.kernels.meshing import Mesh
from igneous_ng.shards import Shards

INTERMEDIATE = "fragments"


@dataclass(frozen=True)
class Folder:
    """The meshes in the folder ``url``, of which ``info`` is the description."""

    io: IO
    url: str
    info: dict[str, Any]

    @classmethod
    def open(cls, io: IO, url: str) -> Folder:
        """The folder; DataError where there is none, or of a format that is not known."""
        info = io.get_json(f"{url}/info")
        if not isinstance(info, dict) or info.get("@type") not in (legacy.TYPE, multires.TYPE):
            raise DataError(f"{url}/info: there is no folder of meshes here; check the path, or run `mesh merge` first")
        return cls(io, url, info)

    @property
    def several(self) -> bool:
        """Whether meshes have levels of detail."""
        return bool(self.info["@type"] == multires.TYPE)

    @property
    def spec(self) -> Spec | None:
        """How objects are spread over shards; None where each has files of its own."""
        return Spec.parse(self.info["sharding"]) if "sharding" in self.info else None

    def objects(self) -> list[str]:
        """The names of all that lies in the folder but for its ``info``, sorted."""
        return [name for name in self.io.list(self.url) if name not in ("info", INTERMEDIATE)]

    def labels(self) -> list[int]:
        """Every label that has files of its own, ascending."""
        suffix = ".index" if self.several else ":0"
        stems = (name.removesuffix(suffix) for name in self.objects() if name.endswith(suffix))
        return sorted(int(stem) for stem in stems if stem.isdigit())

    def names(self, label: int) -> tuple[str, ...]:
        """The objects of a label that has files of its own: what readers look for first is last."""
        if self.several:
            return multires.data_name(label), multires.manifest_name(label)
        return legacy.fragment_name(label), legacy.manifest_name(label)

    def read(self, label: int, level: int = 0) -> Mesh | None:
        """Vertices [n, 3] in nm and faces [m, 3] of a label, or None; DataError where it has no such level."""
        if not self.several:
            return self._legacy(label)
        found = self.levels(label)
        if found is None:
            return None
        return self.decoded(label, found, level)

    def decoded(self, label: int, found: tuple[Manifest, bytes], level: int) -> Mesh:
        """A level of what :meth:`levels` gave; DataError where it has no such level."""
        manifest, data = found
        if not 0 <= level < len(manifest.scales):
            raise DataError(
                f"{self.url}: label {label} has the levels 0 to {len(manifest.scales) - 1}, and not {level}"
            )
        bits = int(self.info["vertex_quantization_bits"])
        vertices, faces = multires.read(manifest, level, data, bits, f"{self.url}, label {label}")
        transform = np.array(self.info["transform"], np.float64).reshape(3, 4)
        return vertices @ transform[:, :3].T + transform[:, 3], faces

    def levels(self, label: int) -> tuple[Manifest, bytes] | None:
        """The manifest and the data of a label that has levels of detail, or None."""
        where = f"{self.url}, label {label}"
        if self.spec is None:
            manifest = self.io.get(f"{self.url}/{multires.manifest_name(label)}")
            data = self.io.get(f"{self.url}/{multires.data_name(label)}")
            return None if manifest is None or data is None else (multires.decode(manifest, where), data)
        shards = Shards(self.url, self.spec, self.io.store)
        (place,) = shards.minishards(np.array([label], np.uint64))
        for run in shards.find(place, [label]):
            (_, packed), (_, (start, _)) = next(shards.fetch(run)), run.chunks[0]
            found = multires.decode(packed, where)
            data = self.io.get(run.url, (start - found.bytes, start)) if found.bytes else b""
            if data is None or len(data) != found.bytes:
                raise DataError(f"{run.url}: the fragments of label {label} are cut off; write this shard again")
            return found, data
        return None

    def _legacy(self, label: int) -> Mesh | None:
        manifest = self.io.get_json(f"{self.url}/{legacy.manifest_name(label)}")
        if manifest is None:
            return None
        vertices, faces, count = [np.zeros((0, 3))], [np.zeros((0, 3), np.uint32)], 0
        for name in manifest["fragments"]:
            data = self.io.get(f"{self.url}/{name}")
            if data is None:
                raise DataError(f"{self.url}/{name}: this fragment of label {label} is missing; merge it again")
            points, triangles = legacy.decode(data, f"{self.url}/{name}")
            vertices.append(points.astype(np.float64))
            faces.append((triangles + count).astype(np.uint32))
            count += len(points)
        return np.concatenate(vertices), np.concatenate(faces)


def coded(meshes: Sequence[Mesh], scales: Sequence[float], chunk: Vec3f) -> tuple[bytes, bytes]:
    """The manifest and the data of an object whose levels, finest first, are ``meshes``.

    ``scales``: what detail each shows; ``chunk``: the shape of the finest boxes; all in nm.
    """
    origin = mesh_levels.corner(meshes)
    found = [mesh_levels.parts(one, origin, chunk, i, multires.BITS) for i, one in enumerate(meshes)]
    places = mesh_levels.with_parents([[part.place for part in parts] for parts in found])
    levels = []
    for scale, parts, boxes in zip(scales, found, places, strict=True):
        fragments = {part.place: multires.encode_fragment(part.vertices, part.faces) for part in parts}
        levels.append(multires.Level(scale, tuple(boxes), tuple(fragments.get(box, b"") for box in boxes)))
    return multires.encode(origin, chunk, levels)


def part_of(name: str, parts: int) -> int:
    """In which of so many parts of a folder an object of this name is dealt with."""
    label = name.partition(".")[0].partition(":")[0]
    key = int(label) if label.isdigit() and len(label) < 21 else sum(name.encode())
    return int(sharding.murmur(np.array([key & (1 << 64) - 1], np.uint64))[0]) % parts
