"""Versioned annotation tables: against a model, many writers, death at every step."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from igneous_ng.annotation_tables import Schema, Signed, Table
from igneous_ng.errors import SpecError
from igneous_ng.formats.table_schemas import Column
from tests import faults

pytest.importorskip("pyarrow")
LARGE = (1 << 64) - 7
SCHEMA = Schema("point", (Column("name", "string"), Column("grade", "int8", optional=True)), ("segment",))
SIGNED = Signed("me", "a test", "2026-01-01T00:00:00Z")


def rows(*names: str, segment: int = LARGE) -> dict[str, Any]:
    count = len(names)
    return {"x": [0.5] * count, "y": [-1.0] * count, "z": [2.0] * count, "segment": [segment] * count,
            "name": list(names)}  # fmt: skip


def names(table: Table, as_of: Any = None) -> list[tuple[int, str]]:
    """The id and the name of each row."""
    found = table.read(as_of)
    assert {len(column) for column in found.values()} == {len(found["id"])}
    return list(zip(found["id"].tolist(), found["name"].tolist(), strict=True))


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return Table.create(str(tmp_path / "table"), SCHEMA, SIGNED)


def again(table: Table) -> Table:
    """The same folder, by one who knows nothing of it."""
    return Table(table.url)


def test_each_version_can_be_read(table: Table) -> None:
    assert table.append(rows("a", "b")).version == 1
    assert table.supersede([1], rows("A")).version == 2
    assert table.delete([2]).version == 3
    expected = [[], [(1, "a"), (2, "b")], [(2, "b"), (3, "A")], [(3, "A")]]
    assert [names(again(table), version) for version in range(4)] == expected
    assert again(table).read(2)["supersedes"].tolist() == [0, 1]
    assert names(table) == expected[3]


def test_columns_are_of_the_types_declared_and_ids_are_whole(table: Table) -> None:
    table.append(rows("a"))
    found = again(table).read()
    kinds = {"id": "uint64", "supersedes": "uint64", "x": "float64", "y": "float64", "z": "float64",
             "segment": "uint64", "name": "object", "grade": "int8"}  # fmt: skip
    assert {name: column.dtype.name for name, column in found.items()} == kinds
    assert found["segment"].tolist() == [LARGE]
    assert found["grade"].tolist() == [0]
    assert {name: column.dtype for name, column in table.read(0).items()} == {n: c.dtype for n, c in found.items()}


def test_a_log_says_who_did_what_when_and_why(table: Table) -> None:
    table.append(rows("a", "b"), Signed("anna", "somata", "2026-02-01T10:00:00+02:00", "monday"))
    table.delete([1], Signed("bert", "no soma", "2026-01-15"))
    told = [(c.version, c.kind, c.rows, c.live, c.author, c.comment, c.date[:19], c.token) for c in again(table).log()]
    assert told == [
        (0, "create", 0, 0, "me", "a test", "2026-01-01T00:00:00", ""),
        (1, "append", 2, 2, "anna", "somata", "2026-02-01T08:00:00", "monday"),
        (2, "delete", 1, 1, "bert", "no soma", "2026-02-01T08:00:00", ""),  # no version is before the one before it
    ]


def test_a_time_gives_the_last_version_until_then(table: Table) -> None:
    for month in (2, 3, 4, 5):
        table.append(rows(str(month)), Signed("me", date=f"2026-{month:02}-01"))
    for time, count in (
        ("2026-01-01", 0),
        ("2026-03-01", 2),
        ("2026-03-01T00:00:01", 2),
        ("2026-02-28", 1),
        ("2027-01-01", 4),
    ):
        assert len(names(table, time)) == count
    with pytest.raises(SpecError, match="was created on 2026-01-01.*nothing as of 2025"):
        table.read("2025-12-31")
    with pytest.raises(SpecError, match="'yesterday' is no time"):
        table.read("yesterday")
    with pytest.raises(SpecError, match="has no version 5; there are 0 to 4"):
        table.read(5)


def test_empty_commits_are_versions(table: Table) -> None:
    assert table.append(rows()).version == 1
    assert table.delete([]).version == 2
    assert table.supersede([], rows()).version == 3
    assert table.append(rows("a")).next_id == 2
    table.compact()
    assert [len(names(again(table), version)) for version in range(5)] == [0, 0, 0, 0, 1]


def test_what_ended_cannot_end_again(table: Table) -> None:
    table.append(rows("a", "b", "c"), Signed("anna"))
    table.delete([2], Signed("bert"))
    table.supersede([1], rows("A"), Signed("carl"))
    for fresh in (table, again(table)):
        with pytest.raises(SpecError, match="row 2 was deleted in version 2 by bert"):
            fresh.delete([3, 2])
        with pytest.raises(SpecError, match="row 1 was superseded in version 3 by carl"):
            fresh.supersede([1], rows("AA"))
        for unknown in (0, 5, LARGE):
            with pytest.raises(SpecError, match=f"there is no row {unknown}; ids are 1 to 4"):
                fresh.delete([unknown])
        with pytest.raises(SpecError, match="row 3 is named twice"):
            fresh.delete([3, 3])
        with pytest.raises(SpecError, match="2 ids and 1 rows"):
            fresh.supersede([3, 4], rows("x"))
    table.compact()
    with pytest.raises(SpecError, match="row 2 was deleted"):
        again(table).delete([2])
    assert len(table.log()) == 4


def test_wrong_rows_are_refused_before_anything_is_written(table: Table) -> None:
    before = faults.tree(Path(table.url.removeprefix("file://")))
    for wrong, said in (
        ({**rows("a"), "size": [1]}, "there is no column 'size'"),
        ({k: v for k, v in rows("a").items() if k != "name"}, "the column name is missing"),
        ({**rows("a"), "segment": [-1]}, "column segment, row 0: -1 is not a whole number from 0"),
        ({**rows("a"), "segment": [1.0]}, "1.0 is not a whole number"),
        ({**rows("a", "b"), "x": [1, np.nan]}, "column x, row 1: nan is no place"),
        ({**rows("a"), "grade": [200]}, "200 is not a whole number from -128 to 127"),
        ({**rows("a"), "name": [3]}, "column name, row 0: 3 is not text"),
        ({**rows("a"), "x": [1, 2]}, "different lengths"),
    ):
        with pytest.raises(SpecError, match=said):
            table.append(wrong)
    assert faults.tree(Path(table.url.removeprefix("file://"))) == before


def test_a_token_is_committed_once(table: Table) -> None:
    first = table.append(rows("a"), Signed("me", token="monday"))
    assert table.append(rows("a"), Signed("me", token="monday")) == first
    table.delete([1], Signed("me", token="tuesday"))
    assert again(table).delete([1], Signed("me", token="tuesday")).version == 2
    assert len(table.log()) == 3
    same = dataclasses.replace(SIGNED, token="made")
    made = Table.create(f"{table.url}-2", SCHEMA, same)
    assert Table.create(f"{table.url}-2", SCHEMA, same) == made
    for other in (SIGNED, dataclasses.replace(same, token="other")):
        with pytest.raises(SpecError, match="a table is here already"):
            Table.create(f"{table.url}-2", SCHEMA, other)


class Model(RuleBasedStateMachine):
    """A table is, for each version, a dictionary of the rows that live."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.table = Table.create(str(self.folder / "t"), SCHEMA)
        self.versions: list[dict[int, tuple[int, str, int]]] = [{}]
        self.next = 1

    def new(self, texts: list[str], olds: list[int], segment: int) -> dict[int, tuple[int, str, int]]:
        found = {self.next + k: (old, text, segment) for k, (text, old) in enumerate(zip(texts, olds, strict=True))}
        self.next += len(texts)
        return found

    @rule(
        texts=st.lists(st.text(max_size=3).filter(lambda t: t.isprintable()), max_size=4),
        segment=st.integers(0, 2**64 - 1),
    )
    def append(self, texts: list[str], segment: int) -> None:
        self.table.append(rows(*texts, segment=segment))
        self.versions.append(self.versions[-1] | self.new(texts, [0] * len(texts), segment))

    @rule(data=st.data())
    def supersede(self, data: st.DataObject) -> None:
        olds = data.draw(st.lists(st.sampled_from([0, *self.versions[-1]]).filter(bool), unique=True, max_size=3)
                         if self.versions[-1] else st.just([]))  # fmt: skip
        self.table.supersede(olds, rows(*("s" for _ in olds)))
        left = {key: row for key, row in self.versions[-1].items() if key not in olds}
        self.versions.append(left | self.new(["s"] * len(olds), olds, LARGE))

    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        live = list(self.versions[-1])
        gone = data.draw(st.lists(st.sampled_from(live), unique=True, max_size=3)) if live else []
        self.table.delete(gone)
        self.versions.append({key: row for key, row in self.versions[-1].items() if key not in gone})

    @rule()
    def compact(self) -> None:
        assert self.table.compact() == len(self.versions) - 1

    @rule()
    def forget(self) -> None:
        self.table = again(self.table)

    @invariant()
    def every_version_reads_as_it_was(self) -> None:
        if not hasattr(self, "table"):
            return
        for version, expected in enumerate(self.versions):
            found = self.table.read(version)
            told = zip(*(found[name].tolist() for name in ("supersedes", "name", "segment")), strict=True)
            assert dict(zip(found["id"].tolist(), told, strict=True)) == expected
            assert found["id"].tolist() == sorted(expected)
            assert self.table.history.get(version).live == len(expected)

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=15, stateful_step_count=12, deadline=None)


def test_many_writers_lose_nothing(table: Table) -> None:
    """Four processes append and compact at once; each row is there once, and ids have no gap."""
    writers, times = 4, 12

    def write(writer: int) -> None:
        own = again(table)
        for turn in range(times):
            own.append(rows(f"{writer}-{turn}", f"{writer}-{turn}+"), Signed(str(writer)))
            if turn % 5 == writer:
                own.compact()

    waited = [faults.forked(lambda writer=writer: write(writer)) for writer in range(writers)]  # type: ignore[misc]
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in waited] == [0] * writers
    found = names(again(table))
    assert [key for key, _ in found] == list(range(1, 2 * writers * times + 1))
    expected = {f"{w}-{t}{more}" for w in range(writers) for t in range(times) for more in ("", "+")}
    assert {name for _, name in found} == expected
    log = table.log()
    assert [commit.version for commit in log] == list(range(writers * times + 1))
    for writer in range(writers):  # of one writer, in the order of its commits
        turns = [int(name.split("-")[1].rstrip("+")) for _, name in found if name.startswith(f"{writer}-")]
        assert turns == sorted(turns)


def test_of_two_who_end_a_row_one_is_told(table: Table) -> None:
    table.append(rows(*"abcdefgh"))
    results = Path(table.url.removeprefix("file://")).parent

    def end(who: int) -> None:
        own, told = again(table), {}
        for row in range(1, 9):
            try:
                told[row] = own.delete([row], Signed(str(who))).kind
            except SpecError as error:
                told[row] = str(error)
        (results / f"told{who}").write_text(json.dumps(told))

    waited = [faults.forked(lambda who=who: end(who)) for who in range(3)]  # type: ignore[misc]
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in waited] == [0] * 3
    told = [json.loads((results / f"told{who}").read_text()) for who in range(3)]
    for row in map(str, range(1, 9)):
        won, *lost = sorted((one[row] for one in told), key=len)
        assert won == "delete"
        assert all(f"row {row} was deleted in version" in one for one in lost)
    assert names(again(table)) == []


ACTIONS: dict[str, Any] = {
    "append": lambda table: table.append(rows("new"), dataclasses.replace(SIGNED, token="t")),
    "supersede": lambda table: table.supersede([2], rows("new"), dataclasses.replace(SIGNED, token="t")),
    "delete": lambda table: table.delete([2], dataclasses.replace(SIGNED, token="t")),
    "compact": lambda table: table.compact(),
}


@pytest.mark.parametrize("action", ACTIONS)
def test_a_death_at_any_step_leaves_a_whole_version_and_can_be_repeated(action: str, tmp_path: Path) -> None:
    def begin(name: str) -> Table:
        table = Table.create(str(tmp_path / name), SCHEMA, SIGNED)
        table.append(rows("a", "b"), SIGNED)
        table.supersede([1], rows("A"), SIGNED)
        if action == "compact":
            table.compact()
            table.append(rows("late"), SIGNED)
        return table

    done = begin("done")
    old = [names(done, version) for version in range(done.log()[-1].version + 1)]
    steps = len(faults.steps_of(lambda: ACTIONS[action](done)))
    new = [names(again(done), version) for version in range(done.log()[-1].version + 1)]
    assert steps > 5
    assert new == old if action == "compact" else new[:-1] == old
    begin("fresh")
    for last in range(1, steps + 1):
        table = Table(str(shutil.copytree(tmp_path / "fresh", tmp_path / f"died-{last}")))
        assert not faults.lived(lambda: ACTIONS[action](again(table)), last)  # noqa: B023
        left = again(table)
        found = [names(left, version) for version in range(left.log()[-1].version + 1)]
        assert found in (old, new), last
        ACTIONS[action](left)
        assert [names(again(table), version) for version in range(left.log()[-1].version + 1)] == new, last
        shutil.rmtree(tmp_path / f"died-{last}")


def test_compaction_leaves_one_file_and_the_manifests(table: Table) -> None:
    folder = Path(table.url.removeprefix("file://"))
    for turn in range(5):
        table.append(rows(str(turn)))
    (folder / "data" / "00000003-lost.parquet").write_bytes(b"of a writer that died")
    versions = [names(table, version) for version in range(6)]
    assert table.compact() == table.compact() == 5
    assert len(list((folder / "data").iterdir())) == len(list((folder / "bases").iterdir())) == 1
    assert len(list((folder / "commits").iterdir())) == 5
    assert [names(again(table), version) for version in range(6)] == versions
    table.append(rows("later"))
    assert table.compact() == 6
    assert [p.name for p in (folder / "bases").iterdir()] == ["00000006.json"]


def test_a_reader_who_meets_a_compaction_finds_the_base(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    for turn in range(3):
        table.append(rows(str(turn)))
    look = table._base
    looked: list[int] = []

    def late() -> Any:
        found = look()
        if not looked:
            looked.append(again(table).compact())
        return found

    monkeypatch.setattr(Table, "_base", lambda self: late() if self is table else look())
    assert names(table) == [(1, "0"), (2, "1"), (3, "2")]
    assert looked == [3]


def test_tables_in_memory_and_buckets_are_tables() -> None:
    table = Table.create("mem://annotations/table", SCHEMA, SIGNED)
    table.append(rows("a", "b"))
    table.supersede([2], rows("B"))
    table.compact()
    table.delete([1])
    assert [names(Table("mem://annotations/table"), v) for v in range(4)] == [
        [], [(1, "a"), (2, "b")], [(1, "a"), (3, "B")], [(3, "B")],
    ]  # fmt: skip
