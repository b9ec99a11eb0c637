"""Runs, messages and records: every unit once, and done exactly when its record exists."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igneous_ng import records
from igneous_ng.errors import DataError, SpecError
from igneous_ng.records import Message, Run
from igneous_ng.store import Store

STORE = Store()
RUN = Run("20260101T000000.000000-abcdef01", "file:///layer", {"stage": "s", "ids": [2**64 - 1]}, 10, 4)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return replace(RUN, home=f"file://{tmp_path}/layer")


@settings(deadline=None)
@given(st.integers(1, 5000), st.integers(1, 700))
def test_messages_cover_the_units_exactly_once(units: int, span: int) -> None:
    messages = list(replace(RUN, units=units, span=span).messages())
    assert [u for m in messages for u in range(m.lo, m.hi)] == list(range(units))
    assert len({m.url for m in messages}) == len(messages)
    assert all(0 < m.hi - m.lo <= span for m in messages)


@settings(deadline=None)
@given(st.integers(1, 10**9))
def test_a_run_has_about_a_thousand_messages(units: int) -> None:
    run = records.new_run({}, "file:///a", units)
    assert run.units == units
    assert run.span >= 1
    assert -(-units // run.span) <= 1000


def test_ids_sort_by_time_and_name_the_request() -> None:
    runs = [records.new_run({"n": n}, "file:///a", 1) for n in (1, 2, 1)]
    assert [r.id for r in runs] == sorted(r.id for r in runs)
    marks = [r.id.rpartition("-")[2] for r in runs]
    assert marks[0] == marks[2] != marks[1]
    assert runs[0].folder == f"file:///a/runs/{runs[0].id}"


@settings(deadline=None)
@given(st.text(), st.integers(1, 10**6), st.integers(1, 1000))
def test_a_message_is_its_text(text: str, units: int, span: int) -> None:
    message = next(iter(Run("id", text, {"field": text}, units, span).messages()))
    assert Message.parse(message.to_json()) == message


def changed(**changes: Any) -> str:
    raw = json.loads(next(RUN.messages()).to_json())
    for key, value in changes.items():
        place = raw["run"] if key in raw["run"] else raw
        place[key] = value
    return json.dumps(raw)


GARBAGE = [
    "",
    "{",
    "null",
    "3",
    "[]",
    "{}",
    '"text"',
    '{"igneous_ng": 1}',
    '{"igneous_ng": 1, "run": [], "lo": 0, "hi": 1}',
]


@pytest.mark.parametrize(
    "text", [*GARBAGE, changed(run={"id": "x"}), changed(run={**json.loads(changed())["run"], "more": 1})]
)
def test_garbage_is_no_message(text: str) -> None:
    with pytest.raises(SpecError, match=r"not a message of igneous_ng .*purge it"):
        Message.parse(text)


RANGES: list[dict[str, Any]] = [
    {"lo": -1},
    {"lo": 4},
    {"hi": 11},
    {"hi": 0},
    {"lo": 0.0},
    {"hi": "4"},
    {"lo": True},
    {"units": 3},
    {"units": "10"},
    {"span": None},
]


@pytest.mark.parametrize("change", RANGES, ids=str)
def test_a_range_that_is_none_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match="are no range; purge this message"):
        Message.parse(changed(**change))


def test_another_format_is_refused() -> None:
    with pytest.raises(SpecError, match="a message of format 2; this program reads format 1"):
        Message.parse(changed(igneous_ng=2))


def test_a_run_is_stored_and_loaded(run: Run) -> None:
    with pytest.raises(DataError, match="there is no run here"):
        records.load(STORE, run.folder)
    records.save(STORE, run)
    assert records.load(STORE, run.folder) == run


def test_a_file_of_records_is_a_checkpoint(run: Run) -> None:
    first, *_ = run.messages()
    assert records.read(STORE, first) == {}
    lines: dict[int, dict[str, Any]] = {2: {"unit": 2, "x": "ü\n"}, 0: {"unit": 0}}
    records.write(STORE, first, lines)
    assert records.read(STORE, first) == lines
    assert list(records.read(STORE, first)) == [0, 2]
    assert records.done(STORE, run) == 2
    assert first.url == f"{run.folder}/records/0-4.jsonl"
    records.write(STORE, first, {**lines, 1: {"unit": 1}})
    assert records.done(STORE, run) == 3


def test_a_run_is_complete_when_every_unit_has_a_record(run: Run) -> None:
    messages = list(run.messages())
    for i, message in enumerate(messages):
        assert not records.complete(STORE, run)
        lines = {unit: {"unit": unit} for unit in range(message.lo, message.hi)}
        last = lines.pop(message.hi - 1)
        records.write(STORE, message, lines)  # the last one of one unit: an empty checkpoint
        assert not records.complete(STORE, run)
        records.write(STORE, message, {**lines, last["unit"]: last})
        assert records.done(STORE, run) == message.hi
        assert records.complete(STORE, run) == (i == len(messages) - 1)


def test_finished_is_said_once_it_is(run: Run) -> None:
    assert not records.finished(STORE, run)
    records.mark_finished(STORE, run)
    assert records.finished(STORE, run)
    said = STORE.get_json(f"{run.folder}/finished.json")
    assert said is not None
    assert said["units"] == 10
