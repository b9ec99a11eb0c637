"""The commands of versioned annotation tables: annotate table create, append, supersede, delete, read, log, compact."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from igneous_ng import words
from igneous_ng.cli.commands import Group, Place
from igneous_ng.cli.telling import JSON, tell
from igneous_ng.errors import DataError, SpecError
from igneous_ng.stage import Layer

if TYPE_CHECKING:
    from igneous_ng.annotation_tables import Commit, Signed, Table
    from igneous_ng.formats.table_schemas import Column

AS_OF = click.option(
    "--as-of", help="A version, or a time such as 2026-01-31T12:00:00Z; by default the newest version."
)


def _signing(command: Callable[..., None]) -> Callable[..., None]:
    """Options that say who commits, why and when."""
    for option in (
        click.option("--token", help="A word; what was committed with it before is not committed again."),
        click.option("--date", help="When it was found, such as 2026-01-31T12:00:00Z; by default now."),
        click.option("--comment", default="", help="Why."),
        click.option("--author", help="Who; by default you."),
    ):
        command = option(command)
    return command


@click.group(cls=Group)
def table() -> None:
    """Keep annotations with all their versions: create, append, supersede, delete, read, log, compact.

    Rows are in files that end in .csv, .json or .parquet; - is text with commas, in or out.
    """


@table.command(example="./notes --kind point --column size:uint32 --relationship segment")
@click.argument("url", metavar="TABLE", type=Place())
@click.option("--schema", metavar="FILE", help="What rows are, as JSON, in place of the options below.")
@click.option("--kind", default="point", show_default=True, help="point, line, box or ellipsoid.")
@click.option("--column", "columns", multiple=True, metavar="NAME:TYPE", help="A column; NAME:TYPE? may be left out.")
@click.option("--relationship", "relationships", multiple=True, metavar="NAME", help="A column of segments.")
@click.option("--description", default="", help="What the table holds.")
@click.option("--units", default="nm", show_default=True, help="Positions are in nm, or in voxel.")
@click.option("--resolution", default="1,1,1", show_default=True, metavar="X,Y,Z", help="Size of a voxel in nm.")
@_signing
@JSON
def create(url: str, schema: str | None, as_json: bool, **options: Any) -> None:
    """Create an empty TABLE, a folder."""
    from igneous_ng.annotation_tables import Table
    from igneous_ng.formats import table_schemas

    signed = _signed(options)
    if schema is None:
        raw = {**options, "columns": [dataclasses.asdict(_column(text)) for text in options["columns"]],
               "resolution": options["resolution"].split(",")}  # fmt: skip
    else:
        raw = _parsed(schema)
    made = Table.create(url, table_schemas.parse(raw, schema or "the table asked for"), signed)
    columns = made.schema.types
    said = f"{made.url}: {', '.join(f'{name} {kind}' for name, kind in columns.items())}"
    tell(as_json, {"table": made.url, "columns": dict(columns)}, said)


@table.command(example="./notes found.csv --comment 'first look'")
@click.argument("url", metavar="TABLE", type=Place())
@click.argument("rows", type=Place())
@_signing
@JSON
def append(url: str, rows: str, as_json: bool, **options: Any) -> None:
    """Add the rows of the file ROWS to TABLE, which gives them ids of its own."""
    found = _table(url)
    new = {name: values for name, values in _rows(found, rows).items() if name != "id"}
    _tell(found.append(new, _signed(options)), as_json)


@table.command(example="./notes changed.csv")
@click.argument("url", metavar="TABLE", type=Place())
@click.argument("rows", type=Place())
@_signing
@JSON
def supersede(url: str, rows: str, as_json: bool, **options: Any) -> None:
    """Let the rows of the file ROWS stand for those of their ids: what `read` gave, changed."""
    found = _table(url)
    new = _rows(found, rows)
    if "id" not in new:
        raise SpecError(f"{rows}: there is no column id; it says which rows these stand for")
    _tell(found.supersede(new.pop("id"), new, _signed(options)), as_json)


@table.command(example="./notes 17 18")
@click.argument("url", metavar="TABLE", type=Place())
@click.argument("ids", nargs=-1, type=int, required=True)
@_signing
@JSON
def delete(url: str, ids: tuple[int, ...], as_json: bool, **options: Any) -> None:
    """Delete the rows IDS of TABLE; its earlier versions keep them."""
    _tell(_table(url).delete(ids, _signed(options)), as_json)


@table.command(example="./notes --as-of 2026-01-31T12:00:00Z --to rows.csv")
@click.argument("url", metavar="TABLE", type=Place())
@AS_OF
@click.option("--lookup", metavar="NAME", help="Also the segments of a lookup, for the version that it is of.")
@click.option("--to", default="-", metavar="FILE", help="Where to write them; by default they are shown.")
@click.option("--json", "as_json", is_flag=True, help="Show them in JSON.")
def read(url: str, as_of: str | None, lookup: str | None, to: str, as_json: bool) -> None:
    """Give the rows of TABLE as of a version or a time."""
    from igneous_ng.formats import row_files

    suffix = ".json" if as_json else ".csv" if to == "-" else Path(to).suffix
    if suffix not in row_files.SUFFIXES:
        raise SpecError(f"{to}: rows are written to a file that ends in {', '.join(row_files.SUFFIXES)}")
    found = _table(url)
    if lookup is not None and as_of is not None:
        raise SpecError("a lookup is of one version; leave out --as-of, or --lookup")
    data = row_files.encode(_looked_up(found, lookup) if lookup else found.read(_version(as_of)), suffix)
    if to == "-":
        click.echo(data.decode(), nl=False)
        return
    found.io.put(str(Layer.parse(to)), data)
    found.io.store.flush()


@table.command(example="./notes")
@click.argument("url", metavar="TABLE", type=Place())
@JSON
def log(url: str, as_json: bool) -> None:
    """List the versions of TABLE, the newest first."""
    commits = _table(url).log()[::-1]
    lines = (f"{one.version:>6}  {one.date}  {one.author}  {_done(one)}  {one.comment}".rstrip() for one in commits)
    tell(as_json, [dataclasses.asdict(commit) for commit in commits], "\n".join(lines))


@table.command(example="./notes")
@click.argument("url", metavar="TABLE", type=Place())
@JSON
def compact(url: str, as_json: bool) -> None:
    """Put all rows of TABLE in one file; every version can be read as before."""
    version = _table(url).compact()
    said = f"all rows up to version {version} are in one file" if version else "there are no rows yet"
    tell(as_json, {"version": version}, said)


def _table(url: str) -> Table:
    from igneous_ng.annotation_tables import Table

    return Table(url)


def _version(as_of: str | None) -> int | str | None:
    """A number, where that is all there is."""
    return int(as_of) if as_of and as_of.isdecimal() else as_of


def _looked_up(found: Table, name: str) -> dict[str, Any]:
    """The rows that were looked up, and what was found, in columns called after the lookup."""
    from igneous_ng.annotation_lookups import Lookup

    lookup = Lookup(found.io, found.url, name)
    rows = found.read(int(lookup.about()["version"]))
    return {**rows, **{f"{name}_{column}": values for column, values in lookup.of(rows["id"]).items()}}


def _rows(found: Table, name: str) -> dict[str, Any]:
    """The columns of a file, or of what is handed in, without what its rows stood for."""
    from igneous_ng.formats import row_files

    data = sys.stdin.buffer.read() if name == "-" else found.io.get(str(Layer.parse(name)))
    if data is None:
        raise DataError(f"{name}: there is no such file; check the path")
    rows = row_files.decode(data, ".csv" if name == "-" else name, found.schema.types)
    return {key: values for key, values in rows.items() if key != "supersedes"}


def _signed(options: dict[str, Any]) -> Signed:
    from igneous_ng.annotation_tables import Signed

    given = {name: options.pop(name) for name in ("author", "comment", "date", "token")}
    return Signed(**{name: value for name, value in given.items() if value is not None})


def _column(text: str) -> Column:
    from igneous_ng.formats.table_schemas import Column

    name, found, kind = text.partition(":")
    if not found:
        raise SpecError(f"column {text!r}: write its name and its type, such as size:uint32")
    return Column(name, kind.removesuffix("?"), optional=kind.endswith("?"))


def _parsed(name: str) -> Any:
    from igneous_ng.store import Store

    raw = Store().get_json(str(Layer.parse(name)))
    if raw is None:
        raise DataError(f"{name}: there is no such file; check the path")
    return raw


def _tell(commit: Commit, as_json: bool) -> None:
    tell(as_json, dataclasses.asdict(commit), f"version {commit.version}: {_done(commit)}")


def _done(commit: Commit) -> str:
    """What a version did, and the ids that its rows got."""
    if commit.kind == "create":
        return "created"
    did = {"append": "appended", "supersede": "superseded", "delete": "deleted"}[commit.kind]
    first = commit.next_id - commit.rows
    ids = "" if commit.kind == "delete" or not commit.rows else f" as {first} to {commit.next_id - 1}"
    return f"{words.count(commit.rows, 'row')} {did}{ids}, {commit.live:,} in all"
