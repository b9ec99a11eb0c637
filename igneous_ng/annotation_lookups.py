"""Which segments the rows of an annotation table lie in, for one version of it and one segmentation.

A lookup is a folder ``TABLE/lookups/NAME``: ``points/X-Y-Z``, the voxels of the rows in a block,
``rows/X-Y-Z.parquet``, what was found there, and ``lookup.json``, which says of what, once all is found.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.desks import Desk
from igneous_ng.errors import DataError
from igneous_ng.formats import row_tables
from igneous_ng.geometry import Vec3, vec

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Lookup(Desk):
    """The lookup ``name`` of the table at ``layer``."""

    name: str
    again = "run `annotate lookup` again"

    @property
    def url(self) -> str:
        """Where the folder is."""
        return f"{self.layer}/lookups/{self.name}"

    def blocks(self) -> list[Vec3]:
        """The blocks in which there are rows."""
        plan = self.io.get_json(f"{self.url}/plan.json")
        if plan is None:
            raise DataError(f"{self.url}: there is no lookup; run `annotate lookup`")
        return [vec(at) for at in plan["blocks"]]

    def keep(self, at: Vec3, found: Mapping[str, Array]) -> None:
        """Write what was found in a block: ``id``, ``segment``, and ``supervoxel``, where that is another."""
        self.io.put(self._rows(at), row_tables.pack(found))

    def finish(self, about: Mapping[str, Any]) -> None:
        """Let the lookup be found; ``about`` says of what it is."""
        self.io.put_json(f"{self.url}/lookup.json", dict(about))

    def about(self) -> dict[str, Any]:
        """Of which version, segmentation and table of labels it is; DataError where it is not finished."""
        found = self.io.get_json(f"{self.url}/lookup.json")
        if not isinstance(found, dict):
            raise DataError(f"{self.url}: there is no finished lookup; run `annotate lookup`, or wait for it")
        return found

    def of(self, ids: Array) -> dict[str, Array]:
        """What was found of the rows ``ids``, ascending; 0 of those outside of the segmentation."""
        columns = ("supervoxel", "segment") if self.about().get("remap") else ("segment",)
        found = {name: np.zeros(len(ids), np.uint64) for name in columns}
        for at in self.blocks():
            url = self._rows(at)
            rows = row_tables.unpack(self.get(url), url)
            places = np.searchsorted(ids, rows["id"])
            for name in columns:
                found[name][places] = rows[name]
        return found

    def _rows(self, at: Vec3) -> str:
        return f"{self.url}/rows/{'-'.join(map(str, at))}.parquet"
