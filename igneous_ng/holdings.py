"""What a folder holds of objects, by label: as files of their own, or in shards.

Work on such a folder is divided without listing it: into its shards, or into parts by the hash of labels. So the units
of a stage stay the same while files come and go.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from igneous_ng.errors import DataError
from igneous_ng.formats import sharding
from igneous_ng.formats.fragments import bucket_of
from igneous_ng.formats.sharding import Spec
from igneous_ng.io import IO


@dataclass(frozen=True)
class Holding:
    """The objects in ``folder``, of which ``info`` says how they are kept; ``parts`` divide what is not in shards."""

    io: IO
    folder: str
    info: Mapping[str, Any]
    parts: int

    @classmethod
    def open(cls, io: IO, folder: str, kind: str, parts: int) -> Holding:
        """The objects there; DataError unless they are of ``kind``, an ``@type``."""
        info = io.get_json(f"{folder}/info")
        if not isinstance(info, dict) or info.get("@type") != kind:
            found = info.get("@type") if isinstance(info, dict) else "no info"
            raise DataError(f"{folder}: {found} here, where {kind} is wanted; check the layer and --dir")
        return cls(io, folder, info, parts)

    @property
    def spec(self) -> Spec | None:
        """The shards, if there are any."""
        return Spec.parse(self.info["sharding"]) if self.info.get("sharding") else None

    @property
    def units(self) -> range:
        """The numbers of the shards, or of the parts."""
        return range(1 << self.spec.shard_bits if self.spec else self.parts)

    def names(self, unit: int) -> list[str]:
        """The files of a unit that hold objects."""
        if self.spec:
            name = self.spec.name(unit)
            return [name] if self.io.exists(f"{self.folder}/{name}") else []
        return [str(label) for label in self._labels(unit)]

    def read(self, unit: int, wanted: Collection[int] = ()) -> Iterator[tuple[int, bytes]]:
        """The objects of a unit by label, ascending; only those ``wanted``, if any are named."""
        if self.spec:
            yield from self._sharded(self.spec, unit, wanted)
            return
        for label in self._labels(unit):
            if wanted and label not in wanted:
                continue
            data = self.io.get(f"{self.folder}/{label}")
            if data is not None:
                yield label, data

    def _labels(self, unit: int) -> list[int]:
        found = sorted({int(name) for name in self.io.list(self.folder) if name.isascii() and name.isdigit()})
        homes = bucket_of(np.array(found, np.uint64), self.parts)
        return [label for label, home in zip(found, homes.tolist(), strict=True) if home == unit]

    def _sharded(self, spec: Spec, unit: int, wanted: Collection[int]) -> Iterator[tuple[int, bytes]]:
        url = f"{self.folder}/{spec.name(unit)}"
        if wanted and not (spec.locate(np.array(list(wanted), np.uint64))[0] == unit).any():
            return
        data = self.io.get(url)
        if data is None:
            return
        spans = sharding.all_spans(spec, unit, data, url)
        for label in sorted(set(spans) & set(wanted) if wanted else spans):
            start, stop = spans[label]
            yield label, sharding.unpacked(data[start:stop], spec.data_encoding, f"{url}, object {label}")
