"""What is asked for when a layer of annotations is made, and what the steps of that share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from igneous_ng import annotating, annotation_sources
from igneous_ng.annotating import Annotating
from igneous_ng.annotation_sources import Source
from igneous_ng.errors import SpecError
from igneous_ng.formats import annotation_columns
from igneous_ng.formats.annotations import layout
from igneous_ng.geometry import Box, Vec3f
from igneous_ng.io import IO
from igneous_ng.stage import LayerUrl, Stage, arg, opt


@dataclass(frozen=True, kw_only=True)
class Asked(Stage):
    """What is asked for."""

    source: LayerUrl = arg("Table of synapses, or a .parquet, .csv or .npz file, or a folder of such files.")
    layer: LayerUrl = arg("Layer of annotations to create.")
    kind: Literal["auto", "point", "line", "box", "ellipsoid", "polyline"] = opt(
        "auto",
        "What annotations are; by default what the columns say most of, and of synapses a line from pre to post.",
    )
    properties: tuple[str, ...] = opt(
        (), "Columns to show, each NAME, NAME:TYPE or NAME:TYPE:0=one|1=other; of synapses the usual ones."
    )
    relationships: tuple[str, ...] = opt(
        (), "Columns of segments by which annotations are found; pre, post of synapses."
    )
    resolution: Vec3f = opt((1.0, 1.0, 1.0), "Nanometres of one unit of the coordinates; those of synapses are in nm.")
    bounds: Box | None = opt(None, "Where all annotations lie, in units; by default as far as they go.")
    limit: int = opt(5000, "About how many annotations a cell of a level has at most.")

    def check(self) -> None:
        """Lengths are real."""
        super().check()
        if min(self.resolution) <= 0:
            raise SpecError(f"{self.name}.resolution: {self.resolution} nm; give positive numbers")
        if self.limit < 1:
            raise SpecError(f"{self.name}.limit: {self.limit}; give 1 or more")
        if self.bounds is not None and not self.bounds.voxels:
            raise SpecError(f"{self.name}.bounds: {self.bounds} is empty; write x0:x1,y0:y1,z0:z1")
        if self.source == self.layer:
            raise SpecError(f"{self.name}: {self.source} is what is read; name another place for the layer")

    def home(self) -> str:
        """The layer keeps the records."""
        return self.layer

    def opened(self, io: IO) -> Source:
        """The source."""
        if annotation_sources.is_table(io, self.source):
            return annotation_sources.SynapseSource(io, self.source)
        return annotation_sources.FileSource(io, annotation_sources.parts_of(io, self.source))

    def request(self, io: IO) -> dict[str, Any]:
        """What is asked for, with what is usual for the source where nobody said."""
        table = annotation_sources.is_table(io, self.source)
        if table and self.resolution != (1.0, 1.0, 1.0):
            raise SpecError(f"{self.name}.resolution: places of synapses are in nm; leave it out")
        source = self.opened(io)
        names = source.names() if len(source) else ()
        properties = list(self.properties or source.properties)
        relationships = list(self.relationships or source.relationships)
        for name in (*(text.partition(":")[0] for text in properties), *relationships):
            if len(source) and name not in names:
                raise SpecError(f"{self.name}: {self.source} has no column {name!r}; there are {', '.join(names)}")
        kind = self.kind if self.kind != "auto" else annotation_columns.kind_of(names, self.source)
        layout([annotating.property_of(text, ()) for text in properties])
        bounds = [list(side) for side in (self.bounds.lo, self.bounds.hi)] if self.bounds else None
        known = None if source.bounds is None else [list(side) for side in source.bounds]
        return {"source": str(self.source), "table": table, "kind": kind, "properties": properties,
                "relationships": relationships, "resolution": list(self.resolution), "bounds": bounds, "known": known,
                "limit": self.limit}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Step(Stage):
    """A step of making a layer."""

    layer: LayerUrl = arg("Layer of annotations.")

    def home(self) -> str:
        """The layer keeps the records."""
        return self.layer

    def desk(self, io: IO) -> Annotating:
        """The folder of work."""
        return Annotating(io, self.layer)
