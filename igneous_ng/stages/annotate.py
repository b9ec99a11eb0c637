"""Layers of annotations for Neuroglancer, such as synapses: found by place, by id, and by segments."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng import annotating, annotation_sources, words
from igneous_ng.annotating import Annotating, Frame
from igneous_ng.annotation_shards import entries_of, middles, packed_shard
from igneous_ng.annotation_steps import Asked, Step
from igneous_ng.desks import agree
from igneous_ng.formats import annotation_columns, annotations, portions
from igneous_ng.formats.portions import Entries
from igneous_ng.geometry import vec
from igneous_ng.io import IO
from igneous_ng.kernels import annotation_levels
from igneous_ng.stage import Chain, Stage

Array = npt.NDArray[Any]
_SMALL = 16_000_000  # bytes of grids and small lists
_ROWS = 1 << 17  # rows of a piece, at most, where blocks are smaller
_LOOKED = 64  # blocks of synapses that a task looks at
_WORKING = 16  # of what rows take, at once: as read, as annotations, as entries of each index, as they are written
_SORTED = 8  # of a shard's entries, at once: as read, sorted, listed, packed
_EXACT = 1 << 24  # integers up to here are floats of 4 bytes


@dataclass(frozen=True, kw_only=True)
class Survey(Asked, name="annotate survey"):
    """Look at annotations: how many there are, how far they go, what their columns hold. `annotate build` runs it."""

    example = "./synapses ./annotations"

    def prepare(self, io: IO) -> None:
        """Enter what is asked for, in full."""
        desk = Annotating(io, self.layer)
        agree(io, f"{desk.url}/request.json", self.request(io), "annotations were made", "name another layer")
        if not annotation_sources.is_table(io, self.source):
            io.put_json(f"{desk.url}/parts.json", [list(part) for part in annotation_sources.parts_of(io, self.source)])

    def units(self, io: IO) -> range:
        """Some blocks each."""
        return range(-(-self._blocks(io) // _LOOKED))

    def peak_bytes(self, unit: int, io: IO) -> int:
        """The largest block."""
        source = self.opened(io)
        return _SMALL + _WORKING * max((source.size(block) for block in self._of(unit, io)), default=0)

    def execute(self, unit: int, io: IO) -> None:
        """Look at some blocks."""
        desk = Annotating(io, self.layer)
        request, source = desk.request, desk.source
        columns = {text.partition(":")[0] for text in request["properties"]}
        wanted = {"id", *annotation_columns.PLACES[request["kind"]], *columns}
        found: dict[str, Any] = {"rows": [], "low": None, "high": None, "ids": True, "types": {}}
        for block in self._of(unit, io):
            read = source.read(block, wanted, {"points"})
            where = f"{self.source}, block {block}"
            points, ends = annotation_columns.places(read, request["kind"], where)
            annotating.check_places(points, where)
            found["rows"].append(len(ends) - 1)
            found["ids"] &= "id" in read
            if len(points):
                _stretch(found, points[::2] if request["kind"] == "ellipsoid" else points)
                for name in sorted(columns & read.keys()):
                    found["types"].setdefault(name, set()).add(annotating.type_of(read[name]))
        found["types"] = {name: sorted(kinds) for name, kinds in found["types"].items()}
        io.put_json(f"{desk.url}/survey/{unit}.json", found)
        io.note(annotations=sum(found["rows"]))

    def finish(self, io: IO) -> None:
        """Allow the next step."""
        Annotating(io, self.layer).done("survey")

    def _blocks(self, io: IO) -> int:
        return len(self.opened(io))

    def _of(self, unit: int, io: IO) -> range:
        return range(unit * _LOOKED, min((unit + 1) * _LOOKED, self._blocks(io)))


def _stretch(found: dict[str, Any], points: Array) -> None:
    """Let what was found reach as far as ``points``."""
    low, high = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    found["low"] = [min(a, b) for a, b in zip(found["low"] or low, low, strict=True)]
    found["high"] = [max(a, b) for a, b in zip(found["high"] or high, high, strict=True)]


@dataclass(frozen=True, kw_only=True)
class Framing(Step, name="annotate frame"):
    """Settle what annotations are, where they lie, and how the source is cut. `annotate build` runs it."""

    example = "./annotations"

    def prepare(self, io: IO) -> None:
        """Refuse to begin before all was looked at."""
        self.desk(io).need("survey", "annotate survey")

    def units(self, io: IO) -> range:
        """One."""
        return range(1)

    def peak_bytes(self, unit: int, io: IO) -> int:
        """A few numbers of each block."""
        return _SMALL + 256 * len(self.desk(io).source)

    def execute(self, unit: int, io: IO) -> None:
        """Put together what was found."""
        desk = self.desk(io)
        request, source = desk.request, desk.source
        looks: list[Any] = [io.get_json(f"{desk.url}/survey/{i}.json") for i in range(-(-len(source) // _LOOKED))]
        rows = np.array([n for look in looks for n in look["rows"]], np.int64)
        types = {name: sorted({kind for look in looks for kind in look["types"].get(name, ())})
                 for name in (text.partition(":")[0] for text in request["properties"])}  # fmt: skip
        wanted = [annotating.property_of(text, types[text.partition(":")[0]]) for text in request["properties"]]
        annotations.layout(wanted)
        low, high = _ends(request, looks)
        numbered = not all(look["ids"] for look in looks)
        run = 1
        while run < len(rows) and _most(rows, 2 * run) <= _ROWS:
            run *= 2
        x, y, z = request["resolution"]
        found = Frame(request["kind"], tuple(wanted), tuple(request["relationships"]), vec(low), vec(high), (x, y, z),
                      request["limit"], run, source.id_bits, numbered)  # fmt: skip
        io.put_json(f"{desk.url}/frame.json", found.to_json())
        firsts = 1 + np.cumsum(rows) - rows if numbered else np.zeros(0, np.int64)
        desk.put("firsts", (0, 0, 0), {"rows": rows, "firsts": firsts})
        io.note(annotations=int(rows.sum()))

    def finish(self, io: IO) -> None:
        """Allow the next step."""
        self.desk(io).done("frame")


def _most(rows: Array, run: int) -> int:
    """The most rows of ``run`` blocks that follow each other."""
    return int(np.add.reduceat(rows, np.arange(0, len(rows), run)).max())


def _ends(request: Mapping[str, Any], looks: Sequence[Any]) -> tuple[list[int], list[int]]:
    """Integers from which and to which all lies, at least 1 apart: as asked for, or as far as source and places go."""
    if request["bounds"] is not None:
        return request["bounds"][0], request["bounds"][1]
    lows, highs = ([look[end] for look in looks if look[end] is not None] for end in ("low", "high"))
    known = request["known"] or ([] if lows else [[0, 0, 0], [1, 1, 1]])
    low = np.min([*np.floor(lows), *known[:1]], axis=0)
    high = np.max([*(np.floor(highs) + 1), *known[1:]], axis=0)
    return low.astype(np.int64).tolist(), high.astype(np.int64).tolist()


@dataclass(frozen=True, kw_only=True)
class Counting(Step, name="annotate count"):
    """Count annotations in the cells of a fine grid, and their bytes. `annotate build` runs it."""

    example = "./annotations"

    def prepare(self, io: IO) -> None:
        """Refuse to begin before it is settled what there is."""
        self.desk(io).need("frame", "annotate frame")

    def units(self, io: IO) -> range:
        """The pieces."""
        return range(self.desk(io).pieces)

    def peak_bytes(self, unit: int, io: IO) -> int:
        """The largest block."""
        desk = self.desk(io)
        return _SMALL + _WORKING * max(map(desk.block_bytes, desk.blocks(unit)))

    def execute(self, unit: int, io: IO) -> None:
        """Count those of a piece."""
        desk = self.desk(io)
        frame = desk.frame
        finest = frame.grid.halvings[-1]
        cells, sizes = [np.zeros(0, np.int64)], np.zeros(1 + len(frame.relationships), np.int64)
        for block in desk.blocks(unit):
            rows = desk.rows(block)
            found = annotations.records(frame.kind, rows.points, rows.ends, frame.properties, rows.values)
            counts = [one.counts for one in rows.related]
            links = [int(one.sum()) for one in counts]
            sizes[0] += int(found.ends[-1]) + sum(8 * link + 4 * len(rows.ids) for link in links)
            lists = [int((found.sizes * one).sum()) + 16 * link for one, link in zip(counts, links, strict=True)]
            sizes[1:] += np.array(lists, np.int64)
            cells.append(frame.grid.number(frame.grid.of(middles(frame.kind, rows), finest), finest))
        number, there = np.unique(np.concatenate(cells), return_counts=True)
        desk.put("counts", (unit, 0, 0), {"cells": number, "counts": there, "sizes": sizes})

    def finish(self, io: IO) -> None:
        """Allow the next step."""
        self.desk(io).done("count")


@dataclass(frozen=True, kw_only=True)
class Planning(Step, name="annotate plan"):
    """Settle which annotations are seen from how far, and how files are cut. `annotate build` runs it."""

    example = "./annotations"

    def prepare(self, io: IO) -> None:
        """Refuse to begin before all are counted."""
        self.desk(io).need("count", "annotate count")

    def units(self, io: IO) -> range:
        """One."""
        return range(1)

    def peak_bytes(self, unit: int, io: IO) -> int:
        """The finest grid."""
        desk = self.desk(io)
        return _SMALL + 32 * annotation_levels.most_cells(desk.frame.grid)

    def execute(self, unit: int, io: IO) -> None:
        """Add up, and plan."""
        desk = self.desk(io)
        frame, total = desk.frame, np.zeros(1, np.int64)
        all_ = np.zeros(annotation_levels.most_cells(frame.grid), np.int64)
        for piece in range(desk.pieces):
            found = desk.read("counts", (piece, 0, 0))
            all_[found["cells"]] += found["counts"]
            total = total + found["sizes"]
        io.put_json(f"{desk.url}/plan.json", annotating.planned(frame, all_, total.tolist()).to_json())

    def finish(self, io: IO) -> None:
        """Allow the next step."""
        self.desk(io).done("plan")


@dataclass(frozen=True, kw_only=True)
class Spreading(Step, name="annotate spread"):
    """Deal annotations out to the shards in which they will lie. `annotate build` runs it."""

    example = "./annotations"

    def prepare(self, io: IO) -> None:
        """Refuse to begin before shards are known."""
        self.desk(io).need("plan", "annotate plan")

    def units(self, io: IO) -> range:
        """The pieces."""
        return range(self.desk(io).pieces)

    def peak_bytes(self, unit: int, io: IO) -> int:
        """A piece: its rows, and what is written of them for each index."""
        desk = self.desk(io)
        return _SMALL + _WORKING * sum(map(desk.block_bytes, desk.blocks(unit)))

    def execute(self, unit: int, io: IO) -> None:
        """Deal out a piece."""
        desk = self.desk(io)
        frame, plan = desk.frame, desk.plan
        parts, homes = list[Entries](), [np.zeros(0, np.int64)]
        for block in desk.blocks(unit):
            rows = desk.rows(block)
            for first, index, entries in zip(plan.firsts, plan.indices, entries_of(rows, desk), strict=False):
                homes.append(first + index.spec.locate(entries.keys)[0].astype(np.int64))
                parts.append(entries)
        io.put(desk.portions_url(unit), portions.pack(portions.together(parts), np.concatenate(homes), plan.firsts[-1]))
        io.note(entries=sum(map(len, parts)), relationships=len(frame.relationships))

    def finish(self, io: IO) -> None:
        """Allow the next step."""
        self.desk(io).done("spread")


@dataclass(frozen=True, kw_only=True)
class Writing(Step, name="annotate write"):
    """Write the shards of a layer of annotations, and its info at last. `annotate build` runs it."""

    example = "./annotations"

    def prepare(self, io: IO) -> None:
        """Refuse to begin before all is dealt out."""
        self.desk(io).need("spread", "annotate spread")

    def units(self, io: IO) -> range:
        """The shards of all indices."""
        return range(self.desk(io).plan.firsts[-1])

    def peak_bytes(self, unit: int, io: IO) -> int:
        """A shard. Reads a few bytes of what each piece left."""
        desk = self.desk(io)
        spans = [desk.span(piece, unit) for piece in range(desk.pieces)]
        return _SMALL + _SORTED * sum(stop - start for start, stop in spans)

    def execute(self, unit: int, io: IO) -> None:
        """Write one shard."""
        desk = self.desk(io)
        number, shard = desk.plan.place(unit)
        index = desk.plan.indices[number]
        entries = portions.together([desk.portion(piece, unit) for piece in range(desk.pieces)])
        url, most = f"{self.layer}/{index.key}/{index.spec.name(shard)}", 0
        if len(entries):
            data, most = packed_shard(entries, index)
            io.put(url, data)
        elif io.exists(url):
            io.delete(url)
        if index.halved is not None:
            io.put_json(f"{desk.url}/most/{unit}.json", most)
        io.note(entries=len(entries), longest_list=most)

    def finish(self, io: IO) -> None:
        """Describe the layer."""
        desk = self.desk(io)
        frame, plan = desk.frame, desk.plan
        kinds = [{"key": one.key, "sharding": one.spec.to_json()} for one in plan.indices]
        related = [{"id": name, **kind} for name, kind in zip(frame.relationships, kinds[1:], strict=False)]
        first = 1 + len(related)
        spatial = []
        for number, index in enumerate(plan.indices[first:], first):
            halved, shards = index.halved or (0, 0, 0), range(plan.firsts[number], plan.firsts[number + 1])
            found: list[Any] = [io.get_json(f"{desk.url}/most/{unit}.json") for unit in shards]
            spatial.append({**kinds[number], "grid_shape": list(frame.grid.shape(halved)),
                            "chunk_size": list(frame.grid.chunk(halved)), "limit": max(1, *found)})  # fmt: skip
        io.put_json(f"{self.layer}/info", annotations.info(frame.kind, (frame.low, frame.high), frame.resolution,
                    frame.properties, (kinds[0], related, spatial)))  # fmt: skip

    def said(self, io: IO) -> str:
        """How many there are in how many levels, and what float32 leaves of their places."""
        desk = self.desk(io)
        frame, levels = desk.frame, words.count(len(desk.plan.thresholds), "level")
        largest = max(map(abs, (*frame.low, *frame.high)))
        fine = largest <= _EXACT
        loss = (
            ""
            if fine
            else f"; clients read places to {2 ** (largest.bit_length() - 24)} units at {largest:,}: use larger units"
        )
        rows = int(desk.read("firsts", (0, 0, 0))["rows"].sum())
        return f"{words.count(rows, 'annotation')} ({frame.kind}) in {levels}{loss}"

    def spent(self, io: IO) -> tuple[str, ...]:
        """What was dealt out."""
        return (f"{self.desk(io).url}/portions",)


@dataclass(frozen=True, kw_only=True)
class Build(Asked, Chain, name="annotate build"):
    """Make a layer of annotations for Neuroglancer, of synapses or of a table: found by place, id and segment.

    Each annotation has a rank that looks random. Levels take ranks, the same in all cells, so that what is seen from
    afar has the true density.
    """

    example = "./synapses ./annotations --resolution 4,4,40"

    def steps(self, io: IO) -> Iterator[Stage]:
        """Look, settle, count, plan, deal out, write."""
        yield self.step(Survey)
        for step in (Framing, Counting, Planning, Spreading, Writing):
            yield self.step(step)
