"""The commands that ask a connectome graph: partners, degrees, path, subgraph, neighbours, export, sql, versions.

JSON has ids as texts, for many programs read numbers above 2**53 wrongly.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from igneous_ng.cli.commands import Choice, Command, Place
from igneous_ng.cli.telling import JSON, tell
from igneous_ng.errors import DataError, SpecError
from igneous_ng.stage import Layer

if TYPE_CHECKING:
    from igneous_ng.graphs import Graph, Table
    from igneous_ng.neighbours import Neighbours

_IDS = ("segment", "partner", "pre", "post", "id")
_EXACT = 1 << 53  # numbers above are texts wherever they stand
_SEGMENT = click.INT
Asking = TypeVar("Asking", bound=Callable[..., Any])


def _asking(command: Asking) -> Asking:
    """The argument and the options that all have."""
    command = click.option("--tag", help="The version; by default the newest finished one.")(JSON(command))
    return click.argument("graph", type=Place())(command)


@click.command(cls=Command, example="./graph 7205 --direction in --top 10")
@_asking
@click.argument("segment", type=_SEGMENT)
@click.option("--direction", type=Choice(["out", "in"]), default="out", show_default=True,
              help="Whom it sends to, or whom it hears from.")  # fmt: skip
@click.option("--min-count", type=click.IntRange(1), default=1, show_default=True, help="Only over so many synapses.")
@click.option("--top", type=click.IntRange(1), help="Only so many, the strongest.")
def partners(graph: str, tag: str | None, as_json: bool, segment: int, **how: Any) -> None:
    """List the partners of SEGMENT, the strongest first, with the synapses and their voxels.

    And with the area over which the two touch, in nm^2, where `graph contacts` measured that for this version.
    """
    opened = _open(graph, tag)
    found = opened.partners(segment, how["direction"], how["min_count"])
    some = found.first(how["top"] or len(found))
    table = {"segment": some.segments, "synapses": some.counts, "voxels": some.voxels}
    if opened.has_contacts:
        table["contact_area"] = _touching(graph, opened.version).areas(segment, some.segments)
    about = {"segment": str(segment), "direction": how["direction"], "of": len(found)}
    _tell(as_json, "partners", table, about)


@click.command(cls=Command, example="./graph --top 5 --by n_in")
@_asking
@click.argument("segments", type=_SEGMENT, nargs=-1)
@click.option("--top", type=click.IntRange(1), default=20, show_default=True, help="So many, where none are named.")
@click.option("--by", default="n_out", show_default=True, help="The figure that these have most of.")
def degrees(graph: str, tag: str | None, as_json: bool, segments: tuple[int, ...], top: int, by: str) -> None:
    """Tell synapses, partners, voxels and autapses of SEGMENTS, or of those that have most."""
    opened = _open(graph, tag)
    _tell(as_json, "segments", opened.degrees(segments) if segments else opened.top(top, by))


@click.command(cls=Command, example="./graph 7205 8113 --hops 3")
@_asking
@click.argument("first", type=_SEGMENT)
@click.argument("last", type=_SEGMENT)
@click.option("--hops", type=click.IntRange(1), default=6, show_default=True, help="The most synapses on the way.")
def path(graph: str, tag: str | None, as_json: bool, first: int, last: int, hops: int) -> None:
    """Find a shortest way from segment FIRST to segment LAST, along synapses."""
    found = [str(one) for one in _open(graph, tag).path(first, last, hops)]
    tell(as_json, {"path": found}, " -> ".join(found) or f"there is no way over at most {hops} synapses")


@click.command(cls=Command, example="./graph 7205 8113 9001 --to edges.csv")
@_asking
@click.argument("segments", type=_SEGMENT, nargs=-1, required=True)
@click.option("--to", metavar="FILE", help="Write them to this file: .csv, .npz or .graphml.")
def subgraph(graph: str, tag: str | None, as_json: bool, segments: tuple[int, ...], to: str | None) -> None:
    """List the edges among SEGMENTS."""
    opened = _open(graph, tag)
    if to is None:
        _tell(as_json, "edges", opened.subgraph(segments))
        return
    opened.export(to, segments)
    _exported(as_json, to)


@click.command(cls=Command, example="./graph 7205 --top 10")
@_asking
@click.argument("segment", type=_SEGMENT)
@click.option("--top", type=click.IntRange(1), help="Only so many, those of the greatest area.")
def neighbours(graph: str, tag: str | None, as_json: bool, segment: int, top: int | None) -> None:
    """List the segments that SEGMENT touches, the greatest area first, as `graph contacts` measured it.

    Areas are in nm^2, x, y, z in nm, the box from lo to hi in voxels.
    """
    found = _touching(graph, tag).of(segment)
    some = {name: column[:top] for name, column in found.items() if name != "segment"}
    _tell(as_json, "neighbours", some, {"segment": str(segment), "of": len(found["segment"])})


@click.command(cls=Command, example="./graph edges.graphml")
@_asking
@click.argument("file", type=Place())
@click.option("--contacts", is_flag=True, help="Write which segments touch, as an undirected graph, not synapses.")
def export(graph: str, tag: str | None, as_json: bool, file: str, contacts: bool) -> None:
    """Write all edges to FILE: .csv, .npz or .graphml."""
    if contacts:
        _touching(graph, tag).export(file)
    else:
        _open(graph, tag).export(file)
    _exported(as_json, file)


@click.command(cls=Command, example="./graph 'select pre, post, count from edges order by count desc limit 5'")
@_asking
@click.argument("query")
@click.option("--table", "tables", multiple=True, metavar="NAME=FOLDER",
              help="A view more: a folder of Parquet files, as by `skeleton measure`. May be repeated.")  # fmt: skip
def sql(graph: str, tag: str | None, as_json: bool, query: str, tables: tuple[str, ...]) -> None:
    """Answer an SQL QUERY over the views of a graph, by DuckDB, which must be installed.

    The views are synapses, edges and nodes; contacts (each two segments twice, either first) and surfaces, where
    `graph contacts` was run; and those of --table.
    """
    columns, rows = _either(graph, tag).sql(query, dict(map(_named, tables)))
    if as_json:
        told = [[_plain(name, cell) for name, cell in zip(columns, row, strict=True)] for row in rows]
        click.echo(json.dumps({"columns": columns, "rows": told}, default=str))
    else:
        click.echo(_lines(columns, rows))


@click.command(cls=Command, example="./graph")
@click.argument("graph", type=Place())
@click.option("--contacts", is_flag=True, help="Those of which segments touch.")
@JSON
def versions(graph: str, contacts: bool, as_json: bool) -> None:
    """List the finished versions of GRAPH, the newest last, with what they are made of."""
    from igneous_ng import adjacency, connectome
    from igneous_ng.store import Store

    found = connectome.versions(Store(), Layer.parse(graph), *([adjacency.KIND] if contacts else []))
    columns = ("version", "date", "synapses", "edges", "nodes", "table", "remap")
    if contacts:
        columns = ("version", "date", "contacts", "segments", "segmentation", "remap", "base")
    rows = [[one[name] if one[name] is not None else "" for name in columns] for one in found]
    tell(as_json, found, _lines(columns, rows))


def _open(graph: str, tag: str | None) -> Graph:
    from igneous_ng.graphs import Graph

    return Graph(graph, tag)


def _exported(as_json: bool, to: str) -> None:
    """Say where edges were written to, if that is asked for."""
    if as_json:
        tell(as_json, {"file": str(Layer.parse(to))}, "")


def _touching(graph: str, tag: str | None) -> Neighbours:
    from igneous_ng.neighbours import Neighbours

    return Neighbours(graph, tag)


def _either(graph: str, tag: str | None) -> Graph | Neighbours:
    """A version of a graph, or of contacts alone, where there are no synapses."""
    try:
        return _open(graph, tag)
    except DataError as error:
        try:
            return _touching(graph, tag)
        except DataError:
            raise error from None


def _named(text: str) -> tuple[str, str]:
    """A view and its folder."""
    name, given, folder = text.partition("=")
    if not (name and given and folder):
        raise SpecError(f"--table {text}: write a name, = and a folder, such as skeletons=/data/measured")
    return name, Layer.parse(folder)


def _tell(as_json: bool, what: str, table: Table, about: Mapping[str, Any] | None = None) -> None:
    """Show a table, a row a line, or as JSON with what there is to say about it."""
    names = list(table)
    rows = list(zip(*(column.tolist() for column in table.values()), strict=True))
    if as_json:
        told = [{name: _plain(name, cell) for name, cell in zip(names, row, strict=True)} for row in rows]
        click.echo(json.dumps({**(about or {}), what: told}))
    else:
        click.echo(_lines(names, rows))


def _plain(name: str, cell: Any) -> Any:
    """A cell in JSON's types."""
    return str(cell) if isinstance(cell, int) and (name in _IDS or abs(cell) > _EXACT) else cell


def _lines(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Columns of equal width, under their names."""
    cells = [list(names), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(names))]
    return "\n".join("  ".join(f"{c:>{w}}" for c, w in zip(row, widths, strict=True)) for row in cells)
