"""Contacts of segments to be asked: ``Neighbours(graph).of(segment)``, ``pairs()``, ``export(...)``, ``sql(...)``.

A version of contacts is found by its name; where none is named, it is the newest finished one, by date.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt

from igneous_ng import adjacency, connectome, graph_exports, graph_sql
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import parquet_tables
from igneous_ng.formats.fragments import bucket_of
from igneous_ng.formats.parquet_tables import Ranges
from igneous_ng.graph_exports import CONTACTS
from igneous_ng.graph_versions import folder
from igneous_ng.io import IO
from igneous_ng.spanned import Spanned
from igneous_ng.stage import Layer
from igneous_ng.store import Store

Array = npt.NDArray[Any]
Table = dict[str, Array]


class Neighbours:
    """The contacts of the segments of the graph in the folder ``url``."""

    def __init__(self, url: str, version: str | None = None) -> None:
        self.url, self._store = str(Layer.parse(url)), Store()
        self.manifest = self._found(version)
        self.version = str(self.manifest["version"])
        self.folder = folder(self.url, adjacency.KIND, self.version)
        self.parts = int(self.manifest["parts"])

    def _found(self, version: str | None) -> dict[str, Any]:
        found = connectome.versions(self._store, self.url, adjacency.KIND)
        known = [raw for raw in found if version in (None, raw["version"])]
        if not known:
            which = "no finished contacts" if version is None else f"no finished contacts {version}"
            raise DataError(f"{self.url}: there are {which} here; run `graph contacts SEGMENTATION {self.url}`")
        return known[-1]

    def of(self, segment: int) -> Table:
        """The contacts of a segment, by falling area, then by partner; SpecError for one that is not there."""
        label = _label(segment)
        part, ranges = int(bucket_of(label, self.parts)[0]), {"segment": (segment, segment)}
        if not len(self._part("surfaces", part, ranges)["segment"]):
            raise SpecError(
                f"{self.url}: there is no segment {segment} in contacts {self.version}: it has no voxel that another "
                "label or 0 is beside, or another name; check the segmentation, and the table of labels"
            )
        found = self._part("contacts", part, ranges)
        order = np.lexsort((found["partner"], ~found["area"]))  # of unsigned numbers the complement falls
        return {name: column[order] for name, column in found.items()}

    def areas(self, segment: int, partners: Array) -> Array:
        """The area of contact of a segment with each of ``partners``, uint64, nm^2; 0 where they do not touch."""
        part = int(bucket_of(_label(segment), self.parts)[0])
        found = self._part("contacts", part, {"segment": (segment, segment)})
        at = np.minimum(np.searchsorted(found["partner"], partners), max(0, len(found["partner"]) - 1))
        if not len(found["partner"]):
            return np.zeros(len(partners), np.uint64)
        return np.where(found["partner"][at] == partners, found["area"][at], 0).astype(np.uint64)

    def pairs(self) -> Iterator[Table]:
        """All contacts, each two segments once, the lower first, part by part."""
        for part in range(self.parts):
            table = self._part("contacts", part)
            low = table["segment"] < table["partner"]
            yield {name: column[low] for name, column in table.items()}

    def surfaces(self) -> Iterator[Table]:
        """All segments, part by part: `segment`, `contacts`, `contact_area`, `background_area` in nm^2."""
        return (self._part("surfaces", part) for part in range(self.parts))

    def export(self, path: str) -> None:
        """Write all contacts to a local file: .csv, .npz, or .graphml, undirected."""
        graph_exports.write(path, self.pairs(), self._segments(), CONTACTS)

    def to_networkx(self) -> Any:
        """A ``networkx.Graph`` of all segments; edges have the columns of contacts."""
        return graph_exports.to_networkx(self.pairs(), self._segments(), CONTACTS)

    def sql(self, query: str, tables: Mapping[str, str] | None = None) -> tuple[list[str], list[tuple[Any, ...]]]:
        """The columns' names and the rows of an SQL query over contacts and surfaces, and ``tables``; needs DuckDB."""
        views = adjacency.views(self._store, self.url, self.version)
        return graph_sql.query(adjacency.local({**views, **(tables or {})}), query)

    def _segments(self) -> Iterable[int]:
        return (segment for table in self.surfaces() for segment in table["segment"].tolist())

    def _part(self, what: str, part: int, ranges: Ranges | None = None) -> Table:
        url = f"{self.folder}/{connectome.part_name(what, part)}"
        return parquet_tables.read(cast(BinaryIO, Spanned(IO(self._store), url)), None, ranges, url)


def _label(segment: int) -> Array:
    """A segment as an array; SpecError for what is none."""
    try:
        return np.array([segment], np.uint64)
    except (OverflowError, TypeError, ValueError) as error:
        raise SpecError(f"segments are whole numbers from 1 to 2**64 - 1 ({error})") from error
