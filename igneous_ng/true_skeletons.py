"""Skeletons that tell the truth: of a layer, or a folder of SWC files, in parts of which each can be read alone."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import DataError
from igneous_ng.formats import skeleton as files
from igneous_ng.formats import swc
from igneous_ng.holdings import Holding
from igneous_ng.io import IO

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Skeleton:
    """A tree in nm: ``points`` [n, 3], ``edges`` [m, 2]; ``number`` is its own among all, and ``name`` for people."""

    number: int
    name: str
    points: Array
    edges: Array


@dataclass(frozen=True)
class Skeletons:
    """The skeletons at ``url``: a layer that names its skeletons, their folder, or a folder of `.swc` files in um."""

    io: IO
    url: str
    parts: int

    @cached_property
    def holding(self) -> Holding | None:
        """The folder of a layer; None for SWC files."""
        info = self.io.get_json(f"{self.url}/info")
        if info is None:
            return None
        inside = info.get("skeletons")
        if info.get("@type") != files.TYPE and not inside:
            raise DataError(f"{self.url} names no skeletons; give a layer that has some, or their folder")
        folder = self.url if info.get("@type") == files.TYPE else f"{self.url}/{inside}"
        return Holding.open(self.io, folder, files.TYPE, self.parts)

    @property
    def units(self) -> range:
        """The parts."""
        return range(self.parts) if self.holding is None else self.holding.units

    def read(self, unit: int) -> Iterator[Skeleton]:
        """The skeletons of a part, by their numbers."""
        return self._files(unit) if self.holding is None else self._objects(self.holding, unit)

    def _objects(self, holding: Holding, unit: int) -> Iterator[Skeleton]:
        attributes = holding.info.get("vertex_attributes", [])
        for label, data in holding.read(unit):
            graph = files.decode(data, f"{holding.folder}, skeleton {label}", attributes)
            yield Skeleton(label, str(label), files.points(graph, holding.info), graph.edges.astype(np.int64))

    def _files(self, unit: int) -> Iterator[Skeleton]:
        """SWC files are numbered from 1 in the order of their names."""
        names = [name for name in self.io.list(self.url) if name.endswith(".swc")]
        if not names:
            raise DataError(f"{self.url}: no skeletons are here; give a layer that has some, or a folder of .swc files")
        for number, name in enumerate(names, 1):
            if zlib.crc32(name.encode()) % self.parts == unit:
                url = f"{self.url}/{name}"
                data = self.io.get(url)
                if data is None:
                    raise DataError(f"{url}: was here a moment ago, and is not; evaluate again")
                points, edges, _, _ = swc.decode(data, url)
                yield Skeleton(number, name.removesuffix(".swc"), points, edges)
