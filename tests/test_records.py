"""Runs, messages and records: every unit once, and done exactly when its record exists."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igneous_ng import messages, records
from igneous_ng.errors import DataError, VersionError
from igneous_ng.records import Line, Message, Run
from igneous_ng.store import Store, Written

STORE = Store()
RUN = Run("20260101T000000.000000-abcdef01", "file:///layer", {"stage": "s", "ids": [2**64 - 1]}, 10, 4)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return replace(RUN, home=f"file://{tmp_path}/layer")


@dataclass(frozen=True)
class Memory(Store):
    """A store of a dictionary that tells which objects were read."""

    kept: dict[str, bytes] = field(default_factory=dict)
    opened: list[str] = field(default_factory=list)

    def get(self, url: str, span: tuple[int, int] | None = None) -> bytes | None:
        self.opened.append(url)
        return self.kept.get(url)

    def put(self, url: str, data: bytes, compress: Any = "none") -> Written:
        self.kept[url] = data
        return Written(url, data)

    def delete(self, url: str) -> Written:
        self.kept.pop(url, None)
        return Written(url, None)

    def exists(self, url: str) -> bool:
        return url in self.kept

    def list(self, url: str) -> list[str]:
        inside = (name.removeprefix(f"{url}/") for name in self.kept if name.startswith(f"{url}/"))
        return sorted({name.split("/")[0] for name in inside})


def lines(lo: int, hi: int, by: str = "") -> dict[int, Line]:
    return {unit: {"unit": unit, "by": by} for unit in range(lo, hi)}


# Runs.


def test_a_run_is_stored_and_loaded(run: Run) -> None:
    with pytest.raises(DataError, match="there is no run here"):
        records.load(STORE, run.folder)
    records.save(STORE, run)
    assert records.load(STORE, run.folder) == run


def test_a_run_of_another_version_is_said_to_be_that(run: Run) -> None:
    STORE.put_json(f"{run.folder}/run.json", {"id": run.id, "home": run.home, "stage": {}, "units": 1, "span": 1})
    with pytest.raises(VersionError, match="a run of format 1"):
        records.load(STORE, run.folder)
    STORE.put_json(f"{run.folder}/run.json", {"igneous_ng": messages.FORMAT, "id": run.id})
    with pytest.raises(DataError, match="not a run"):
        records.load(STORE, run.folder)


def test_marks_are_set_and_cleared(run: Run) -> None:
    for word in ("cancelled", "paused"):
        assert not records.marked(STORE, run, word)
        records.set_mark(STORE, run, word)
        assert records.marked(STORE, run, word)
        records.clear_mark(STORE, run, word)
        assert not records.marked(STORE, run, word)
    records.mark_finished(STORE, run)
    assert records.finished(STORE, run)
    assert STORE.get_json(f"{run.folder}/finished.json")["units"] == 10  # type: ignore[index]


def test_the_queue_of_a_run(run: Run) -> None:
    assert records.queue_of(STORE, run) is None
    records.set_queue(STORE, run, "fq:///q", "high")
    assert records.queue_of(STORE, run) == "fq:///q"
    assert STORE.get_json(f"{run.folder}/queue.json") == {"queue": "fq:///q", "priority": "high"}


# The layout.


def test_files_are_where_the_module_says(run: Run, tmp_path: Path) -> None:
    first, second, _ = run.messages()
    records.write(STORE, first, lines(0, 4))
    records.checkpoint(STORE, second, lines(5, 6), "holder")
    records.note_failure(STORE, run, 6, {"tried": 1, "cause": "segfault"})
    records.give_up(STORE, Message(run, 6, 7), {"cause": "segfault"})
    records.set_mark(STORE, run, "paused")
    records.save(STORE, run)
    folder = tmp_path / "layer" / "runs" / run.id
    assert sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()) == [
        "dead/6-7.json", "failures/6-1.json", "paused.json",
        "records/0/0-4.jsonl", "records/0/4-8.holder.part", "run.json",
    ]  # fmt: skip


def test_a_thousand_messages_share_a_folder(run: Run) -> None:
    run = replace(run, units=4500, span=2)
    store = Memory()
    for message in run.messages():
        records.write(store, message, lines(message.lo, message.hi))
    assert store.list(f"{run.folder}/records") == ["0", "1", "2"]
    assert [len(store.list(f"{run.folder}/records/{n}")) for n in range(3)] == [1000, 1000, 250]
    assert records.complete(store, run, near=2500)
    assert records.done(store, run) == 4500
    store.delete(f"{run.folder}/records/1/2000-2002.jsonl")
    assert records.missing(store, run) == records.unwritten(store, run) == [(2000, 2002)]
    assert not records.complete(store, run, near=0)


# Records against a set of units.


@st.composite
def histories(draw: st.DrawFn) -> Iterator[tuple[str, int, int, frozenset[int]]]:
    """Whole ranges and checkpoints, each within one planned range, some twice or overlapping."""
    units, span = draw(st.integers(1, 60)), draw(st.integers(1, 9))
    steps = []
    for owner in draw(st.lists(st.sampled_from(["", "a", "b", "c"]), max_size=14)):
        lo = draw(st.integers(0, units - 1))
        hi = draw(st.integers(lo + 1, min(units, (lo // span + 1) * span)))
        finished = draw(st.frozensets(st.integers(lo, hi - 1))) if owner else frozenset(range(lo, hi))
        steps.append((owner, lo, hi, finished))
    return units, span, steps  # type: ignore[return-value]


@settings(deadline=None)
@given(histories(), st.integers(0, 59), st.lists(st.integers(0, 59), max_size=8))
def test_what_is_missing_is_what_a_set_lacks(history: Any, near: int, dead: list[int]) -> None:
    units, span, steps = history
    run, store = replace(RUN, units=units, span=span), Memory()
    by_name: dict[tuple[int, int, str], frozenset[int]] = {}
    for owner, lo, hi, finished in steps:
        message, found = Message(run, lo, hi), {unit: {"unit": unit, "by": owner} for unit in finished}
        if owner:
            records.checkpoint(store, message, found, owner)
        else:
            records.write(store, message, found)
        by_name[lo, hi, owner] = finished
    whole = {unit for (_, _, owner), some in by_name.items() if not owner for unit in some}
    done = whole | {unit for some in by_name.values() for unit in some}
    missing, unwritten = records.missing(store, run), records.unwritten(store, run)
    assert {u for lo, hi in missing for u in range(lo, hi)} == set(range(units)) - done
    assert {u for lo, hi in unwritten for u in range(lo, hi)} == set(range(units)) - whole
    assert records.done(store, run) == len(done)
    assert [line["unit"] for line in records.all_lines(store, run)] == list(
        dict.fromkeys(line["unit"] for line in records.all_lines(store, run))
    )
    assert {line["unit"] for line in records.all_lines(store, run)} == done
    assert records.complete(store, run, near % units) == (len(whole) == units)
    given_up = {unit for unit in dead if unit < units}
    for unit in given_up:
        records.give_up(store, Message(run, unit, unit + 1), {"cause": "data"})
    assert records.dead(store, run) == sorted((u, u + 1) for u in given_up)
    assert records.settled(store, run) == (len(done) < units and done | given_up == set(range(units)))
    records.mark_finished(store, run)
    assert records.settled(store, run)


def test_complete_opens_nothing_and_remembers_full_folders(run: Run) -> None:
    run = replace(run, units=3000, span=1)
    store = Memory()
    for message in run.messages():
        records.write(store, message, lines(message.lo, message.hi))
    store.opened.clear()
    full: set[str] = set()
    assert records.complete(store, run, 1500, full)
    assert store.opened == []
    assert len(full) == 3
    store.kept.clear()
    assert records.complete(store, run, 1500, full), "what was seen full stays so and is not looked at again"


def test_missing_opens_only_checkpoints_of_ranges_that_are_not_whole(run: Run) -> None:
    store = Memory()
    first, second, third = run.messages()
    records.checkpoint(store, first, lines(0, 2), "late")
    records.write(store, first, lines(0, 4))
    records.checkpoint(store, second, lines(4, 6), "a")
    store.opened.clear()
    assert records.missing(store, run) == [(6, 10)]
    assert store.opened == [f"{second.folder}/4-8.a.part"]
    assert third.hi == 10


# Holders.


def test_checkpoints_of_all_holders_count_and_a_whole_range_clears_them(run: Run) -> None:
    first, *_ = run.messages()
    records.checkpoint(STORE, first, lines(0, 2, "a"), "a")
    records.checkpoint(STORE, first, lines(1, 3, "b"), "b")
    assert records.read(STORE, first) == {**lines(0, 2, "a"), **lines(2, 3, "b")}
    assert records.read(STORE, Message(run, 2, 3)) == lines(2, 3, "b")
    assert records.done(STORE, run) == 3
    assert not records.complete(STORE, run)
    records.write(STORE, first, lines(0, 4, "b"))
    records.drop_checkpoints(STORE, first)
    assert STORE.list(first.folder) == ["0-4.jsonl"]


def test_a_holder_who_was_thought_dead_takes_nothing_away(run: Run) -> None:
    first, *_ = run.messages()
    records.checkpoint(STORE, first, lines(0, 3, "new"), "new")
    records.checkpoint(STORE, first, lines(0, 1, "old"), "old")
    assert records.done(STORE, run) == 3
    records.write(STORE, first, lines(0, 4, "new"))
    whole = STORE.get(f"{first.folder}/0-4.jsonl")
    records.checkpoint(STORE, first, lines(0, 2, "old"), "old")
    assert records.read(STORE, first) == lines(0, 4, "new")
    records.write(STORE, first, lines(0, 4, "old"))
    assert STORE.get(f"{first.folder}/0-4.jsonl") == whole
    assert records.missing(STORE, run) == [(4, 10)]


def test_the_holder_of_the_whole_range_may_come_back_after_its_parts_were_done(run: Run) -> None:
    records.write(STORE, Message(run, 0, 2), lines(0, 2, "a"))
    records.write(STORE, Message(run, 2, 4), lines(2, 4, "b"))
    records.write(STORE, Message(run, 0, 4), lines(0, 4, "late"))
    assert records.unwritten(STORE, run) == [(4, 10)]
    assert [line["unit"] for line in records.all_lines(STORE, run)] == [0, 1, 2, 3]


def test_a_range_with_a_gap_is_not_called_whole(run: Run) -> None:
    with pytest.raises(ValueError, match=r"no record of the units \[3\]"):
        records.write(STORE, Message(run, 0, 4), lines(0, 3))
    assert records.unwritten(STORE, run) == [(0, 10)]


def test_lines_are_in_the_order_of_units_within_whole_ranges(run: Run) -> None:
    run = replace(run, units=1200, span=3)
    store = Memory()
    for message in reversed(list(run.messages())):
        records.write(store, message, lines(message.lo, message.hi))
    assert [line["unit"] for line in records.all_lines(store, run)] == list(range(1200))


def test_names_of_others_are_no_records(run: Run) -> None:
    first, *_ = run.messages()
    for name in ("0-4.json", "0-4.jsonl.bak", "a-4.jsonl", "0.jsonl", "-4.jsonl", "0-4"):
        STORE.put(f"{first.folder}/{name}", b"{}\n")
    assert records.missing(STORE, run) == [(0, 10)]
    STORE.put(f"{run.folder}/dead/readme.json", b"{}\n")
    assert records.dead(STORE, run) == []


# Failures.


def test_failures_are_kept_in_order_and_the_verdict_apart(run: Run) -> None:
    for tried in (2, 10, 1):
        records.note_failure(STORE, run, 3, {"tried": tried, "cause": "segfault"})
    records.note_failure(STORE, run, 33, {"tried": 1, "cause": "data"})
    assert [f["tried"] for f in records.failures(STORE, run, 3)] == [1, 2, 10]
    assert records.failures(STORE, run, 33) == [{"unit": 33, "tried": 1, "cause": "data"}]
    message = Message(run, 3, 4)
    records.give_up(STORE, message, {"cause": "segfault"})
    assert records.verdict(STORE, run, 3, 4) == {"cause": "segfault"}
    records.take_up(STORE, message)
    assert records.dead(STORE, run) == []
    assert records.verdict(STORE, run, 3, 4) == {}


def test_a_cancelled_run_is_settled(run: Run) -> None:
    assert not records.settled(STORE, run)
    records.set_mark(STORE, run, "cancelled")
    assert records.settled(STORE, run)
