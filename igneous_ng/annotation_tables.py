"""Versioned annotation tables in a folder: append, supersede, delete, and read as of any version; no server.

Rows are columns by name. The design is in ``docs/design/030-annotation-tables.md``::

    table = Table.create("file:///data/somata", Schema("point", (Column("type", "string"),), ("segment",)))
    done = table.append({"x": [10.0], "y": [20.0], "z": [30.0], "segment": [17], "type": ["pyramidal"]})
    table.supersede([1], {"x": [10.0], "y": [20.0], "z": [30.0], "segment": [17], "type": ["basket"]})
    table.read(as_of=done.version)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from igneous_ng.annotation_commits import Commit, History, Signed, mark, moment, numbers
from igneous_ng.errors import DataError, SpecError, TransientError
from igneous_ng.formats import row_tables, table_schemas
from igneous_ng.formats.table_schemas import OWN, Schema
from igneous_ng.io import IO
from igneous_ng.stage import Layer
from igneous_ng.store import digest

__all__ = ["Commit", "Schema", "Signed", "Table"]

Array = npt.NDArray[Any]
Rows = dict[str, Array]
Found = TypeVar("Found")
_TRIES = 1000  # commits that others may make before ours
_LOOKS = 3  # at files that a compaction may replace meanwhile


class _GoneError(Exception):
    """A file is not there: it was lost, or a base has replaced it."""


@dataclass(frozen=True)
class _Base:
    """All rows up to a version, in one file."""

    version: int
    file: str
    digest: str


@dataclass(frozen=True)
class _Ended:
    """The version in which each row ended, by id from 1 on, 0 for those that live; up to ``version``."""

    version: int
    died: Array


@dataclass(frozen=True)
class Table:
    """The table in the folder ``url``. Several may write at once, in any process; a loser tries again by itself."""

    url: str
    io: IO = field(default_factory=IO, repr=False, compare=False)
    _known: dict[str, _Ended] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "url", str(Layer.parse(self.url)))

    @classmethod
    def create(cls, url: str, schema: Schema, signed: Signed | None = None) -> Table:
        """A new table of no rows; SpecError where there is one."""
        table = cls(url)
        table.history.create(schema, signed or Signed())
        return table

    @cached_property
    def history(self) -> History:
        """The versions."""
        return History(self.io, self.url)

    @property
    def schema(self) -> Schema:
        """What the rows are; DataError where there is no table."""
        return self.history.schema

    def log(self) -> list[Commit]:
        """Every version, the first first."""
        return self.history.all()

    def append(self, rows: Mapping[str, Any], signed: Signed | None = None) -> Commit:
        """Add rows, columns by name, which get the next ids; the version that has them."""
        new = self.schema.rows(rows)
        count = len(new[self.schema.places[0]])
        return self._commit("append", np.zeros(count, np.uint64), new, signed or Signed())

    def supersede(self, ids: Sequence[int] | Array, rows: Mapping[str, Any], signed: Signed | None = None) -> Commit:
        """Let rows stand for those of ``ids``, one each in their order; they get the next ids.

        SpecError where one is not there any more, or named twice.
        """
        new, old = self.schema.rows(rows), table_schemas.as_column(ids, "uint64", "ids")
        if len(old) != len(new[self.schema.places[0]]):
            raise SpecError(
                f"{len(old)} ids and {len(new[self.schema.places[0]])} rows that stand for them; give one each"
            )
        return self._commit("supersede", old, new, signed or Signed())

    def delete(self, ids: Sequence[int] | Array, signed: Signed | None = None) -> Commit:
        """End rows; earlier versions keep them. SpecError where one is not there any more, or named twice."""
        return self._commit("delete", table_schemas.as_column(ids, "uint64", "ids"), None, signed or Signed())

    def read(self, as_of: int | str | datetime | None = None) -> Rows:
        """The rows of a version, or of the last one until a time, by default the newest: columns, ascending by id."""
        version = self.history.at(as_of).version
        rows = self._patiently(lambda: self._lives(version))
        lives = (rows["born"] <= version) & ((rows["died"] == 0) | (rows["died"] > version))
        return {name: rows[name][lives] for name in self.schema.types}

    def compact(self) -> int:
        """Put all rows so far in one file, and remove those that it replaces; every read gives what it did before.

        Returns the version up to which there is one.
        """
        head = self.history.at(None)
        base = self._base()
        if head.version and (base is None or base.version < head.version):
            rows = self._patiently(lambda: self._lives(head.version))
            name = f"data/{head.version:08d}-base-{mark()}.parquet"
            base = _Base(head.version, name, self._put(name, rows))
            if not self.io.create(self._base_name(head.version), _json(vars(base))):
                self.io.delete(f"{self.url}/{name}")
                base = self._base()
            self.io.store.flush()
        if base is not None:
            self._sweep(base)
        return head.version

    def _commit(self, kind: str, ended: Array, new: Rows | None, signed: Signed) -> Commit:
        """Make the next version; where another was first, look at what it is and try again."""
        for _ in range(_TRIES):
            head = self.history.at(None)
            if signed.token is not None and (done := self.history.holding(signed.token, head.version)):
                return done
            if kind != "append":
                self._check_live(ended, head)
            commit = self._written(kind, ended, new, signed, head)
            if self.history.publish(commit):
                return commit
            self.io.delete(f"{self.url}/{commit.file}")
        raise TransientError(f"{self.url}: {_TRIES} others committed before this; try again")

    def _written(self, kind: str, ended: Array, new: Rows | None, signed: Signed, head: Commit) -> Commit:
        """The version after ``head``; its file is there, and on the disk."""
        came = 0 if new is None else len(ended)
        ids = np.arange(head.next_id, head.next_id + came, dtype=np.uint64)
        rows = {"id": ended} if new is None else {"id": ids, "supersedes": ended, **new}
        name = f"data/{head.version + 1:08d}-{mark()}.parquet"
        identity = self._put(name, rows)
        gone = len(ended) if kind != "append" else 0
        date = max(moment(signed.date), head.date)  # clocks differ; time goes on
        return Commit(head.version + 1, kind, len(ended), head.live + came - gone, head.next_id + came, name, identity,
                      self.history.identity(head.version), signed.author, date, signed.comment,
                      signed.token or "")  # fmt: skip

    def _check_live(self, ids: Array, head: Commit) -> None:
        """SpecError unless each of ``ids`` is that of another row that lives in the version ``head``."""
        again, counts = np.unique(ids, return_counts=True)
        if len(again) != len(ids):
            raise SpecError(f"{self.url}: row {again[counts > 1][0]} is named twice; name each once")
        unknown = ids[(ids == 0) | (ids >= np.uint64(head.next_id))]
        if len(unknown):
            raise SpecError(f"{self.url}: there is no row {unknown[0]}; ids are 1 to {head.next_id - 1}")
        died = self._patiently(lambda: self._ended(head))[ids.astype(np.int64) - 1]
        if died.any():
            which = int(np.flatnonzero(died)[0])
            by = self.history.get(int(died[which]))
            done = {"delete": "deleted", "supersede": "superseded"}[by.kind]
            raise SpecError(f"{self.url}: row {ids[which]} was {done} in version {by.version} by {by.author}; read the "
                            "table again, and change what is there now")  # fmt: skip

    def _lives(self, version: int) -> Rows:
        """All rows of all versions up to ``version`` or beyond, the k-th that of id k, with ``born`` and ``died``."""
        types = {**self.schema.types, "born": "uint32", "died": "uint32"}
        base = self._base()
        parts = [{name: np.zeros(0, object if kind == "string" else kind) for name, kind in types.items()}]
        if base is not None:
            parts.append(self._get(base.file, base.digest, tuple(types)))
        ends: list[tuple[int, Array]] = []
        for number in range(base.version + 1 if base else 1, version + 1):
            commit = self.history.get(number)
            rows = self._get(commit.file, commit.digest, tuple(types))
            if commit.kind != "append":
                ends.append((number, _ends(commit, rows)))
            if commit.kind != "delete":
                life = {"born": np.full(commit.rows, number, np.uint32), "died": np.zeros(commit.rows, np.uint32)}
                parts.append({**rows, **life})
        lives = {name: np.concatenate([part[name] for part in parts]) for name in types}
        for number, places in ends:
            lives["died"][places] = number
        return lives

    def _ended(self, head: Commit) -> Array:
        """When each row up to the version ``head`` ended; what is known already is not read again."""
        known = self._known.get("ended", _Ended(0, np.zeros(0, np.uint32)))
        base = self._base() if known.version < head.version else None
        if base is not None and base.version > known.version:
            known = _Ended(base.version, self._get(base.file, base.digest, ("died",))["died"])
        died = np.zeros(max(head.next_id - 1, len(known.died)), np.uint32)
        died[: len(known.died)] = known.died
        for number in range(known.version + 1, head.version + 1):
            commit = self.history.get(number)
            if commit.kind != "append":
                died[_ends(commit, self._get(commit.file, commit.digest, OWN))] = number
        self._known["ended"] = _Ended(max(known.version, head.version), died)
        return died

    def _base(self) -> _Base | None:
        """The newest file of all rows."""
        found = numbers(self.io.store.list(f"{self.url}/bases"))  # what is read does not depend on it
        raw = self.io.get_json(self._base_name(found[-1])) if found else None
        try:
            return None if raw is None else _Base(int(raw["version"]), str(raw["file"]), str(raw["digest"]))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{self._base_name(found[-1])}: not a base of rows ({error!r}); restore it") from error

    def _sweep(self, base: _Base) -> None:
        """Remove what ``base`` replaces: files of the versions up to it, those of losers, and older bases."""
        for number in numbers(self.io.list(f"{self.url}/bases")):
            if number < base.version:
                self.io.delete(self._base_name(number))
        for name in self.io.list(f"{self.url}/data"):
            if name[:8].isdigit() and int(name[:8]) <= base.version and f"data/{name}" != base.file:
                self.io.delete(f"{self.url}/data/{name}")
        self.io.store.flush()

    def _put(self, name: str, rows: Rows) -> str:
        """Write a file of rows, durable on return; its digest."""
        data = row_tables.pack(rows)
        self.io.put(f"{self.url}/{name}", data)
        self.io.store.flush()
        return digest(data)

    def _get(self, file: str, identity: str, names: Sequence[str]) -> Rows:
        url = f"{self.url}/{file}"
        data = self.io.get(url)
        if data is None:
            raise _GoneError(url)
        if digest(data) != identity:
            raise DataError(f"{url}: damaged; restore it")
        return row_tables.unpack(data, url, names)

    def _patiently(self, look: Callable[[], Found]) -> Found:
        """What ``look`` finds, tried again where a file is not there: a compaction may just have replaced it."""
        for _ in range(_LOOKS):
            try:
                return look()
            except _GoneError as gone:
                lost = gone
        raise DataError(f"{lost} is missing; restore it")

    def _base_name(self, version: int) -> str:
        return f"{self.url}/bases/{version:08d}.json"


def _ends(commit: Commit, rows: Rows) -> Array:
    """The places, of all rows, of those that a commit ended."""
    ids = rows["id" if commit.kind == "delete" else "supersedes"]
    found: Array = ids.astype(np.int64) - 1
    return found


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()
