"""Properties of segments, for Neuroglancer: what is known of each, beside its name."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from igneous_ng import words
from igneous_ng.census import Census, Reduction, Shuffle
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import row_files, segment_properties, table_schemas
from igneous_ng.formats.info import SEGMENTATION
from igneous_ng.formats.segment_properties import Property
from igneous_ng.io import IO
from igneous_ng.stage import Layer, LayerUrl, Stage, arg, opt

Array = npt.NDArray[Any]
_VOXELS = "voxels"
_SIZES: dict[str, tuple[str, tuple[Reduction, ...], str]] = {
    "census": ("counts", ("sum",), "image census"),
    "measure": ("measures", ("sum", "or", "min", "max"), "segment measure"),
}  # where the sizes of labels are, what is kept of each, and who makes them
_SMALL = 16_000_000  # bytes that libraries and lists take at any rate
_PER_VALUE = 200  # bytes of a value, as a number of Python's, as text, and in the file
_COPIES = 6  # of a part of what was measured, while the largest are sought
_BREAKS = re.compile(r"[\s,;]+")
_SUFFIX = re.compile(r"\.[a-z]{1,4}$")
_PART = ".parquet"


@dataclass(frozen=True, kw_only=True)
class Properties(Stage, name="annotate properties"):
    """Write what is known of the segments of a layer for Neuroglancer: names, descriptions, text, tags, numbers.

    Tables, as .csv, .json or .parquet, or folders of .parquet files, such as those of `skeleton measure` and of graphs,
    have a column of segments, each once, and others: those called as --label and --description say are what they are
    called, of those in --tags each word is a tag, all else is text or numbers. Of what a table does not say there is
    no text, no tag, or 0. Segments are those of the tables; without tables, all of the layer. The browser reads all
    at once: of more than --top the first by a column are written, ties to the smaller segment.
    """

    example = "./seg --tables types.csv --label name"

    layer: LayerUrl = arg("Segmentation.")
    tables: tuple[Layer, ...] = opt((), "Tables of segments.")
    dir: str = opt("properties", "Folder to write, in the layer.")
    segment: str = opt("segment", "Column of the tables that names segments.")
    columns: tuple[str, ...] = opt((), "Columns to write, in this order; by default all.")
    label: str = opt("label", "Column that names each segment for people.")
    description: str = opt("description", "Column that describes each.")
    tags: tuple[str, ...] = opt(("tags",), "Columns of words, parted by spaces, commas or semicolons.")
    sizes: Literal["none", "census", "measure"] = opt(
        "none", "Write voxels, too, from what `image census` or `segment measure` found."
    )
    mip: int = opt(0, "Level at which those were counted.")
    top: int = opt(100_000, "Segments to write at most.")
    by: str = opt("", "Column of numbers whose greatest are kept; by default voxels.")
    link: bool = opt(True, "Name the folder in the info of the layer, so that viewers find it.")

    def check(self) -> None:
        """There is something to say, and room for it."""
        super().check()
        if not self.dir or not self.dir.replace("-", "").replace("_", "").isalnum():
            raise SpecError(f"{self.name}.dir: {self.dir!r} names no folder; use letters, digits, - and _")
        if self.top < 1:
            raise SpecError(f"{self.name}.top: {self.top} segments; give at least 1")
        if not self.tables and self.sizes == "none":
            raise SpecError(f"{self.name}: nothing to write; name --tables, or take --sizes")
        for table in self.tables:
            if not table.endswith(row_files.SUFFIXES) and _SUFFIX.search(table):
                raise SpecError(f"{self.name}.tables: {table}; files end in {', '.join(row_files.SUFFIXES)}")

    def home(self) -> str:
        """The layer has the properties."""
        return self.layer

    def inputs(self, io: IO) -> tuple[str, ...]:
        """Also the tables."""
        return tuple(sorted({self.layer, *self.tables}))

    def places(self, io: IO) -> tuple[str, ...]:
        """The folder of the properties."""
        return (f"{self.layer}/{self.dir}",)

    def prepare(self, io: IO) -> None:
        """Refuse what is no segmentation, and tables that are not there."""
        if (info := io.info(self.layer)).kind != SEGMENTATION:
            raise SpecError(f"{self.name}: {self.layer} is of the type {info.kind}; name a segmentation")
        for table in self.tables:
            if not _files(io, table):
                raise DataError(f"{table}: there is no such table, a file or a folder of {_PART} files")
        if self.sizes != "none":
            self._census(io)

    def units(self, io: IO) -> range:
        """The one file."""
        return range(1)

    def peak_bytes(self, unit: int, io: IO) -> int:
        """All tables, the segments that are written, and parts of what was measured."""
        held = 0
        for file in (file for table in self.tables for file in _files(io, table)):
            data = io.peek(file)
            held += 0 if data is None else row_files.held_bytes(data, file)
        if self.sizes != "none":
            census = self._census(io)
            held += _COPIES * max(census.part_bytes(part) for part in range(census.parts))
        return _SMALL + held + self.top * _PER_VALUE

    def execute(self, unit: int, io: IO) -> None:
        """Read all, take the first, and write the file."""
        found = self._columns(io)
        segments = found.pop(self.segment)
        if self.columns and (unknown := [name for name in self.columns if name not in found]):
            raise SpecError(f"{self.name}.columns: there is no column {unknown[0]!r}; there are: {', '.join(found)}")
        kept = self._first(segments, found)
        values = {name: found[name][kept] for name in self.columns or found}
        made = list(self._properties(values))
        io.put(f"{self.layer}/{self.dir}/info", segment_properties.encode(segments[kept], made))
        io.note(segments=len(kept), left_out=len(segments) - len(kept), properties=len(made))

    def finish(self, io: IO) -> None:
        """Let viewers find them."""
        if self.link:
            io.edit_info(self.layer, segment_properties=self.dir)

    def said(self, io: IO) -> str:
        """What was written."""
        url = f"{self.layer}/{self.dir}/info"
        ids, made = segment_properties.parse(io.peek(url) or b"", url)
        return f"{words.count(len(ids), 'segment')} with {', '.join(one.id for one in made) or 'no properties'}"

    def _columns(self, io: IO) -> dict[str, Array]:
        """All columns of all tables, one value for each segment, ascending, and voxels."""
        tables = [self._table(io, table) for table in self.tables]
        if not tables:
            return self._largest(self._census(io))
        every = np.unique(np.concatenate([table[self.segment] for table in tables]))
        found = {self.segment: every}
        for url, table in zip(self.tables, tables, strict=True):
            at = np.searchsorted(every, table[self.segment])
            for name, column in table.items():
                if name in found and name != self.segment:
                    raise SpecError(f"{url}: another table has a column {name!r}, too; take it out of one")
                if name != self.segment:
                    found[name] = np.full(len(every), "", object) if column.dtype == object else np.zeros(
                        len(every), column.dtype)  # fmt: skip
                    found[name][at] = column
        if self.sizes != "none":
            found[_VOXELS] = self._census(io).of(every)[:, 0]
        return found

    def _table(self, io: IO, url: str) -> dict[str, Array]:
        found = _read(io, url)
        if self.segment not in found:
            raise DataError(
                f"{url}: there is no column {self.segment!r} among {', '.join(found)}; name it in --segment"
            )
        segments = table_schemas.as_column(found.pop(self.segment), "uint64", f"{url}: column {self.segment}")
        table = {name: _array(column, f"{url}: column {name}") for name, column in found.items()}
        order = np.argsort(segments, kind="stable")
        if len(again := np.flatnonzero(segments[order][1:] == segments[order][:-1])):
            raise DataError(f"{url}: segment {segments[order][again[0]]} is there more than once; name each once")
        order = order[segments[order] > 0]
        return {self.segment: segments[order], **{name: column[order] for name, column in table.items()}}

    def _first(self, segments: Array, columns: dict[str, Array]) -> Array:
        """The places of the segments that are written, ascending."""
        by = self.by or _VOXELS
        if by not in columns and (self.by or len(segments) > self.top):
            raise SpecError(
                f"{self.name}: {len(segments):,} segments, and there is no column {by!r} to tell which are the first; "
                f"name one of {', '.join(columns)} in --by, or raise --top"
            )
        if len(segments) <= self.top:
            return np.arange(len(segments))
        if columns[by].dtype.kind not in "uif":
            raise SpecError(f"{self.name}.by: the column {by!r} holds no numbers")
        return np.sort(_greatest(columns[by], self.top))

    def _properties(self, columns: dict[str, Array]) -> Iterator[Property]:
        parted = [
            [_BREAKS.split(str(value)) for value in columns[name].tolist()] for name in self.tags if name in columns
        ]
        if parted:
            tags = [[word for some in row for word in some if word] for row in zip(*parted, strict=True)]
            yield segment_properties.tagged("tags", tags)
        for name, column in columns.items():
            if name in (self.label, self.description):
                kind = "label" if name == self.label else "description"
                yield Property(name, kind, [str(value) for value in column.tolist()])
            elif name not in self.tags:
                text = column.dtype == object
                yield Property(name, "string", column.tolist()) if text else segment_properties.numeric(name, column)

    def _census(self, io: IO) -> Census:
        folder, reductions, maker = _SIZES[self.sizes]
        url = f"{self.layer}/{folder}/{self.mip}"
        done = io.get_json(f"{url}/table.json")
        if done is None:
            raise DataError(f"{url}: nothing is counted here; run `{maker} {self.layer} --mip {self.mip}`")
        return Census(io, url, Shuffle(int(done["cells"])), reductions, maker)

    def _largest(self, census: Census) -> dict[str, Array]:
        """The largest labels of the layer and their voxels, ascending; no more than needed are held."""
        found = np.zeros((0, 2), np.uint64)
        for part in range(census.parts):
            rows = census.part(part)[:, :2]
            found = np.concatenate([found, rows[rows[:, 0] > 0]])
            found = found[np.argsort(found[:, 0])]
            if len(found) > self.top:
                found = found[np.sort(_greatest(found[:, 1], self.top))]
        return {self.segment: found[:, 0], _VOXELS: found[:, 1]}


def _files(io: IO, table: str) -> list[str]:
    """The files of a table: one, or those of a folder."""
    if table.endswith(row_files.SUFFIXES):
        return [table] if io.exists(table) else []
    return [f"{table}/{name}" for name in io.list(table) if name.endswith(_PART)]


def _read(io: IO, table: str) -> dict[str, Any]:
    """All columns of a table."""
    parts = list[dict[str, Any]]()
    for file in _files(io, table):
        data = io.get(file)
        if data is None:
            raise DataError(f"{file}: was here a moment ago, and is not; ask again")
        parts.append(row_files.decode(data, file))
        if parts[0].keys() != parts[-1].keys():
            raise DataError(f"{file}: other columns than in the files beside it, which are to be one table")
    if not parts:
        raise DataError(f"{table}: there is no such table")
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _array(column: Any, where: str) -> Array:
    """A column, as a file has it, as numbers if it holds nothing else, and as text; true is 1."""
    if isinstance(column, np.ndarray):
        return column.astype(np.uint8) if column.dtype == bool else column
    if all(isinstance(value, int) for value in column):
        kind = "int64" if min(column, default=0) < 0 else "uint64"
        return table_schemas.as_column([int(value) for value in column], kind, where)
    numbers = all(isinstance(value, (int, float)) for value in column)
    return table_schemas.as_column(column, "float64" if numbers else "string", where)


def _greatest(numbers: Array, count: int) -> Array:
    """The places of the ``count`` greatest of ``numbers``, of equal ones the first."""
    known = np.where(np.isnan(numbers), -np.inf, numbers) if numbers.dtype.kind == "f" else numbers
    descending = np.argsort(known[::-1], kind="stable")[::-1]
    found: Array = len(numbers) - 1 - descending[:count]
    return found
