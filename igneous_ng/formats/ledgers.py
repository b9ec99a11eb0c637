"""Lines of records as columns: one Parquet file for the lines of many units.

A line is a JSON object with a number ``unit``. What is known of it has a column: numbers, names, texts in JSON, and
the entries of ``reads``, ``writes`` and ``covers``, lists of structures with a field for each key. Whatever else is
there, or does not fit its column, is JSON text in the column ``rest`` of the line or of the entry. So every line comes
back as it was: what is absent stays absent, null stays null, and numbers of any size are kept.

Lines are in the order of their units, and those of some units in one row group: a few are read without the others.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from igneous_ng.formats.arrow import arrow
from igneous_ng.formats.sealed import Read, Sealed, seal

Line = dict[str, Any]

_LEVEL = 9  # of zstd: it is written once and kept
_REST = "rest"
_SPECIAL = {
    **dict.fromkeys(("url", "box", "what", _REST), "DELTA_BYTE_ARRAY"),  # often as the one before in the beginning
    **dict.fromkeys(("unit", "bytes", "peak_bytes"), "DELTA_BINARY_PACKED"),
    **dict.fromkeys(("start", "seconds", "cpu_seconds"), "BYTE_STREAM_SPLIT"),
    "digest": "PLAIN",
}  # encodings of columns whose values are seldom the same twice


@dataclass(frozen=True)
class _Kind:
    """How one sort of value is stored: what as (None: it does not fit), in which type of Arrow, and the way back."""

    stored: Callable[[Any], Any]
    arrow: str
    loaded: Callable[[Any], Any] | None = None


def _exactly(kind: type) -> Callable[[Any], Any]:
    return lambda value: value if type(value) is kind else None


def _integer(value: Any) -> int | None:
    return value if type(value) is int and -(1 << 63) <= value < 1 << 63 else None


def _text(value: Any) -> str | None:
    """Text that UTF-8 can hold, which half a surrogate pair is not."""
    return value if type(value) is str and (value.isascii() or _encodes(value)) else None


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _digest(value: Any) -> bytes | None:
    """The 16 bytes of 32 lower-case hexadecimal digits."""
    if type(value) is not str or len(value) != 32:
        return None
    try:
        found = bytes.fromhex(value)
    except ValueError:
        return None
    return found if found.hex() == value else None


def _span(value: Any) -> list[int] | None:
    whole = type(value) is list and len(value) == 2 and all(_integer(number) is not None for number in value)
    return value if whole else None


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


_INT, _FLOAT, _FLAG = _Kind(_integer, "int64"), _Kind(_exactly(float), "double"), _Kind(_exactly(bool), "bool")
_TEXT, _JSON, _DIGEST = _Kind(_text, "string"), _Kind(_json, "string", json.loads), _Kind(_digest, "hex", bytes.hex)
_PLACE = {"layer": _TEXT, "mip": _INT, "box": _TEXT}
_LINE: Mapping[str, _Kind] = {
    "unit": _INT, "attempt": _INT, "start": _FLOAT, "seconds": _FLOAT, "cpu_seconds": _FLOAT, "peak_bytes": _INT,
    "environment": _TEXT, "host": _TEXT, "what": _JSON, "notes": _JSON, "log": _JSON,
}  # fmt: skip
_LISTS: Mapping[str, Mapping[str, _Kind]] = {
    "reads": {**_PLACE, "url": _TEXT, "span": _Kind(_span, "span"), "part": _INT, "list": _TEXT, "stored": _FLAG,
              "digest": _DIGEST},
    "writes": {"url": _TEXT, "bytes": _INT, "digest": _DIGEST, "replaced": _FLAG, "same": _FLAG, "deleted": _FLAG,
               "kept": _FLAG},
    "covers": _PLACE,
}  # fmt: skip


def pack(groups: Iterable[list[Line]]) -> bytes:
    """The file of ``groups``, the lines of one row group each, in their order; the same lines give the same bytes."""
    pa, sink = arrow(), BytesIO()
    schema = _schema(pa)
    with pa.parquet.ParquetWriter(sink, schema, **_encodings(schema)) as writer:
        for lines in groups:
            writer.write_table(_table(pa, schema, lines), row_group_size=max(1, len(lines)))
    return seal(sink)


def _schema(pa: Any) -> Any:
    types = {"hex": pa.binary(16), "span": pa.list_(pa.int64())}

    def fields(kinds: Mapping[str, _Kind]) -> list[Any]:
        known = [(key, types.get(kind.arrow) or pa.type_for_alias(kind.arrow)) for key, kind in kinds.items()]
        return [*known, (_REST, pa.string())]

    lists = [(key, pa.list_(pa.struct(fields(kinds)))) for key, kinds in _LISTS.items()]
    return pa.schema([*fields(_LINE), *lists])


def _encodings(schema: Any) -> dict[str, Any]:
    """How columns are written: those of many values by what suits their type, others by a dictionary."""
    paths = dict(_paths(schema))
    special = {path: how for path, name in paths.items() if (how := _SPECIAL.get(name))}
    return {
        "version": "2.6",
        "compression": "zstd",
        "compression_level": _LEVEL,
        "use_dictionary": [path for path in paths if path not in special],
        "column_encoding": special,
        "write_statistics": ["unit"],
        "store_schema": False,
    }


def _paths(schema: Any) -> Iterator[tuple[str, str]]:
    """The path of each column of the file, and the name of what it holds."""
    for field in schema:
        if field.name not in _LISTS:
            yield field.name, field.name
            continue
        for inner in field.type.value_type:
            yield f"{field.name}.list.element.{inner.name}{'.list.element' * (inner.name == 'span')}", inner.name


def _table(pa: Any, schema: Any, lines: list[Line]) -> Any:
    """The columns of ``lines``."""
    left = [dict(line) for line in lines]
    lists = [_list(pa, schema.field(key).type, kinds, [_entries(line, key) for line in left])
             for key, kinds in _LISTS.items()]  # fmt: skip
    return pa.table([*_columns(pa, schema, _LINE, left), *lists], schema=schema)


def _entries(line: Line, key: str) -> list[Any] | None:
    """The list ``key``, taken out of ``line``; None: there is none, or of other things than objects."""
    found = line.get(key)
    if type(found) is not list or any(type(entry) is not dict for entry in found):
        return None
    return [dict(entry) for entry in line.pop(key)]


def _list(pa: Any, kind: Any, kinds: Mapping[str, _Kind], lists: list[list[Any] | None]) -> Any:
    """One column of lists of structures."""
    flat = [entry for entries in lists for entry in entries or ()]
    ends = itertools.accumulate((len(entries or ()) for entries in lists), initial=0)
    inner = kind.value_type
    values = pa.StructArray.from_arrays(list(_columns(pa, inner, kinds, flat)), fields=list(inner))
    absent = pa.array([entries is None for entries in lists], pa.bool_())
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), values, kind, mask=absent)


def _columns(pa: Any, place: Any, kinds: Mapping[str, _Kind], objects: list[dict[str, Any]]) -> Iterator[Any]:
    """The columns of ``objects``, of which only what fits in none is left; then the column of that."""
    for key, kind in kinds.items():
        yield pa.array([_taken(one, key, kind) for one in objects], place.field(key).type)
    yield pa.array([_json(one) if one else None for one in objects], pa.string())


def _taken(one: dict[str, Any], key: str, kind: _Kind) -> Any:
    """What is stored for ``key``, which is taken out; None: it is not there, or does not fit."""
    stored = kind.stored(one[key]) if key in one else None
    if stored is not None:
        del one[key]
    return stored


class Reader:
    """The lines in a file of ``size`` bytes, of which ``read`` gives those of ``[start, stop)``.

    DataError, naming ``where``, if it is damaged.
    """

    def __init__(self, read: Read, size: int, where: str) -> None:
        self._file = Sealed(read, size, where)
        self._ends = [self._file.ends(group) for group in range(self._file.groups)]

    def lines(self, lo: int, hi: int, only: Collection[str] | None = None) -> Iterator[Line]:
        """The lines of the units ``[lo, hi)``, all of them, or of each what is named in ``only``, and ``unit``."""
        count = 0
        for group, (first, last) in enumerate(self._ends):
            if first < hi and last >= lo:
                found = [line for line in self._group(group, only) if lo <= line["unit"] < hi]
                count += len(found)
                yield from found
        if count != hi - lo:
            raise self._file.damaged(f"{count} lines of the units {lo} to {hi - 1}")

    def _group(self, group: int, only: Collection[str] | None) -> list[Line]:
        known = [*_LINE, *_LISTS]
        wanted = known if only is None else [name for name in known if name == "unit" or name in only]
        lines = _lines(self._file.table(group, [*wanted, _REST]))
        return lines if only is None else [picked(line, only) for line in lines]


def picked(line: Line, only: Collection[str]) -> Line:
    """What of ``line`` is named in ``only``, and ``unit``."""
    return {key: value for key, value in line.items() if key == "unit" or key in only}


def _lines(table: Any) -> list[Line]:
    """The lines in ``table``, which may lack columns."""
    found = _objects(zip(table.column_names, table.columns, strict=True), _LINE, table.num_rows)
    for key in table.column_names:
        if key in _LISTS:
            lists = table.column(key).combine_chunks()
            flat = lists.flatten()
            entries = iter(_objects(zip(flat.type.names, flat.flatten(), strict=True), _LISTS[key], len(flat)))
            for line, count in zip(found, lists.value_lengths().to_pylist(), strict=True):
                if count is not None:
                    line[key] = list(itertools.islice(entries, count))
    return found


def _objects(columns: Iterable[tuple[str, Any]], kinds: Mapping[str, _Kind], count: int) -> list[dict[str, Any]]:
    """The objects whose values are in ``columns``."""
    found: list[dict[str, Any]] = [{} for _ in range(count)]
    for name, column in columns:
        if name in _LISTS or column.null_count == count:
            continue
        for one, value in zip(found, column.to_pylist(), strict=True):
            if value is not None and name == _REST:
                one.update(json.loads(value))
            elif value is not None:
                loaded = kinds[name].loaded
                one[name] = value if loaded is None else loaded(value)
    return found
