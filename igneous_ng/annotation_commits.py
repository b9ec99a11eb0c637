"""The versions of an annotation table: who did what, when and why, one immutable file each.

A version is made by creating the file of its number, which succeeds for one of all who try. Each has the digest of the
file of the version before, so that nothing in between can be exchanged.
"""

from __future__ import annotations

import dataclasses
import json
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from igneous_ng import environments
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import table_schemas
from igneous_ng.formats.table_schemas import Schema
from igneous_ng.io import IO
from igneous_ng.store import digest

_TYPE = "igneous_ng_annotations"


def moment(given: str | datetime | None = None) -> str:
    """A time as it is stored, UTC, to the microsecond; now, where none is given. Without a zone it is UTC."""
    if isinstance(given, str):
        try:
            given = datetime.fromisoformat(given)
        except ValueError as error:
            raise SpecError(f"{given!r} is no time ({error}); write it as 2026-01-31T12:00:00Z") from error
    at = datetime.now(UTC) if given is None else given if given.tzinfo else given.replace(tzinfo=UTC)
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def mark() -> str:
    """A word that nobody else has."""
    return uuid.uuid4().hex


@dataclass(frozen=True)
class Signed:
    """Who commits, why and when.

    What is committed with a ``token`` that an earlier version has is there already, and not done again.
    """

    author: str = field(default_factory=environments.person)
    comment: str = ""
    date: str | datetime | None = None
    token: str | None = None

    def __post_init__(self) -> None:
        if self.token == "":
            raise SpecError("a token of no letters tells nothing; give a word, or none")


@dataclass(frozen=True)
class Commit:
    """A version. ``rows`` are in its file: rows that came, or ids that ended; ``live`` of all rows live after it."""

    version: int
    kind: str  # create, append, supersede or delete
    rows: int
    live: int
    next_id: int
    file: str  # below the folder of the table
    digest: str  # of the file
    parent: str  # digest of the version before, as it is stored
    author: str
    date: str
    comment: str
    token: str

    def to_json(self) -> dict[str, Any]:
        """This version in JSON's types, sealed: with a digest of all that it says."""
        plain = dataclasses.asdict(self)
        return {**plain, "seal": _identity(plain)}

    @classmethod
    def parse(cls, raw: Any, where: str) -> Commit:
        """What :meth:`to_json` gave; DataError, naming ``where``, for another value."""
        plain = {name: value for name, value in raw.items() if name != "seal"} if isinstance(raw, dict) else {}
        if not plain or raw.get("seal") != _identity(plain):
            raise DataError(f"{where}: damaged, or not a version of an annotation table; restore it")
        return cls(**plain)


@dataclass(frozen=True)
class History:
    """The versions of the table in the folder ``url``."""

    io: IO
    url: str

    def create(self, schema: Schema, signed: Signed) -> Commit:
        """Make version 0, of no rows; SpecError where there is a table already."""
        plain = schema.to_json()
        by = (signed.author, moment(signed.date), signed.comment, signed.token or "")
        first = Commit(0, "create", 0, 0, 1, "", _identity(plain), "", *by)
        made = self.io.create(self._table, _file({"@type": _TYPE, "schema": plain, "commit": first.to_json()}))
        self.io.store.flush()
        if not made and not (signed.token and self.get(0).token == signed.token and self.schema == schema):
            raise SpecError(f"{self.url}: a table is here already; choose another folder")
        return self.get(0)

    @cached_property
    def schema(self) -> Schema:
        """What the rows are; DataError where there is no table."""
        raw = self._about.get("schema")
        if self.get(0).digest != _identity(raw):
            raise DataError(f"{self._table}: damaged; restore it")
        return table_schemas.parse(raw, self._table)

    @cached_property
    def _about(self) -> dict[str, Any]:
        raw = self.io.get_json(self._table)
        if raw is None:
            raise DataError(f"{self.url}: there is no annotation table; run `annotate table create` first")
        if not isinstance(raw, dict) or raw.get("@type") != _TYPE:
            raise DataError(f"{self._table}: not of an annotation table; name another folder, or restore it")
        return raw

    def newest(self) -> int:
        """The number of the newest version; DataError where one is missing in between."""
        found = numbers(self.io.list(f"{self.url}/commits"))
        if found != list(range(1, len(found) + 1)):
            gap = next(number for number, there in enumerate(found, 1) if number != there)
            raise DataError(f"{self.url}/commits: version {gap} is missing; restore it")
        return len(found)

    def get(self, version: int) -> Commit:
        """One version; DataError where it is damaged or not of this table."""
        if version == 0:
            return Commit.parse(self._about.get("commit"), self._table)
        url = self._name(version)
        raw = self.io.get_json(url)
        if raw is None:
            raise DataError(f"{url} is missing; restore it")
        found = Commit.parse(raw, url)
        if found.version != version:
            raise DataError(f"{url}: it is version {found.version}; restore it")
        return found

    def all(self) -> list[Commit]:
        """Every version, the first first; DataError where one is not the one that the next was made from."""
        found = [self.get(version) for version in range(self.newest() + 1)]
        for commit in found[1:]:
            if commit.parent != self.identity(commit.version - 1):
                raise DataError(f"{self._name(commit.version - 1)}: not the version that {commit.version} followed; "
                                "restore it")  # fmt: skip
        return found

    def identity(self, version: int) -> str:
        """The digest of the file of a version."""
        url = self._name(version) if version else self._table
        return digest(self.io.get(url) or b"")

    def publish(self, commit: Commit) -> bool:
        """Make ``commit`` the version of its number, if there is none; whether it is. It survives a loss of power."""
        url, data = self._name(commit.version), _file(commit.to_json())
        done = self.io.create(url, data)
        self.io.store.flush()
        return done and self.io.peek(url) == data  # where a store knows no conditions, another may have put

    def holding(self, token: str, newest: int) -> Commit | None:
        """The version that has a token."""
        found = (self.get(version) for version in range(newest, -1, -1))
        return next((commit for commit in found if commit.token == token), None)

    def at(self, as_of: int | str | datetime | None) -> Commit:
        """The version of a number, the last one until a time, or the newest; SpecError where there is none."""
        _ = self.schema  # is there a table at all?
        if isinstance(as_of, int) and self.io.exists(self._name(as_of) if as_of else self._table):
            return self.get(as_of)  # it is what it is, whatever came later
        newest = self.newest()
        if isinstance(as_of, int):
            raise SpecError(f"{self.url} has no version {as_of}; there are 0 to {newest}")
        return self.get(newest) if as_of is None else self._until(moment(as_of), newest)

    def _until(self, time: str, newest: int) -> Commit:
        """By halving, for no version is dated before the one before it."""
        first = self.get(0)
        if time < first.date:
            raise SpecError(f"{self.url} was created on {first.date}; there is nothing as of {time}")
        low, high = 0, newest
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.get(middle).date <= time else (low, middle - 1)
        return self.get(low)

    @property
    def _table(self) -> str:
        return f"{self.url}/table.json"

    def _name(self, version: int) -> str:
        return f"{self.url}/commits/{version:08d}.json"


def numbers(names: list[str]) -> list[int]:
    """The numbers in names such as 00000012.json, ascending; other names are no versions."""
    return sorted(int(name[:-5]) for name in names if name.endswith(".json") and name[:-5].isdigit())


def _identity(value: Any) -> str:
    """The digest of a JSON value."""
    return digest(json.dumps(value).encode())


def _file(value: Any) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()
