"""Messages of runs: every unit in one of them, and nothing that is none is taken for one."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igneous_ng import messages, records
from igneous_ng.errors import SpecError, VersionError
from igneous_ng.records import Message, Run
from igneous_ng.spans import without

RUN = Run("20260101T000000.000000-abcdef01", "file:///layer", {"stage": "s", "ids": [2**64 - 1]}, 10, 4)


@settings(deadline=None)
@given(st.integers(1, 5000), st.integers(1, 700))
def test_messages_cover_the_units_exactly_once(units: int, span: int) -> None:
    messages = list(replace(RUN, units=units, span=span).messages())
    assert [u for m in messages for u in range(m.lo, m.hi)] == list(range(units))
    assert all(0 < m.hi - m.lo <= span for m in messages)


@settings(deadline=None)
@given(st.sets(st.integers(0, 299)), st.integers(1, 70))
def test_messages_of_spans_name_their_units_and_stay_within_planned_ranges(units: set[int], span: int) -> None:
    run = replace(RUN, units=300, span=span)
    spans = without([(0, 300)], [(u, u + 1) for u in range(300) if u not in units])
    messages = list(run.messages(spans))
    assert [u for m in messages for u in range(m.lo, m.hi)] == sorted(units)
    assert all(m.lo // span == (m.hi - 1) // span for m in messages)
    planned = {(m.lo, m.hi) for m in run.messages()}
    whole = {m for m in planned if units.issuperset(range(*m))}
    assert whole <= {(m.lo, m.hi) for m in messages}, "what lacks wholly is the very message of before"


@settings(deadline=None)
@given(st.integers(1, 10**9), st.none() | st.floats(1e-4, 1e5))
def test_a_range_takes_ten_minutes_and_leaves_enough_to_share(units: int, seconds: float | None) -> None:
    span = records.new_run({}, "file:///a", units, seconds=seconds).span
    assert 1 <= span <= units
    assert span == 1 or -(-units // span) >= min(units, 501), "enough messages to share"
    if seconds is None:
        assert span <= 1000
        assert -(-units // span) <= max(1000, units // 1000 + 1)
    elif span > 1:
        assert span * seconds <= 600


def test_the_span_of_known_figures() -> None:
    assert records.span(10**8) == 1000
    assert records.span(10**8, 1.0) == 600
    assert records.span(10**8, 1e-9) == 10**5
    assert records.span(5000, 0.1) == 5
    assert records.span(5000, 3600.0) == 1
    assert records.span(1, 0.0) == 1


def test_ids_sort_by_time_and_name_the_request() -> None:
    runs = [records.new_run({"n": n}, "file:///a", 1, peaks=(5, 7)) for n in (1, 2, 1)]
    assert [r.id for r in runs] == sorted(r.id for r in runs)
    marks = [r.id.rpartition("-")[2] for r in runs]
    assert marks[0] == marks[2] == records.mark({"n": 1}) != marks[1]
    assert runs[0].folder == f"file:///a/runs/{runs[0].id}"
    assert (runs[0].peak_bytes, runs[0].device_bytes) == (5, 7)
    assert Message(runs[0], 0, 1).needs == 5
    assert Message(runs[0], 0, 1, memory=9).needs == 9


@settings(deadline=None)
@given(st.text(), st.integers(1, 10**6), st.integers(1, 1000), st.integers(0, 9), st.booleans())
def test_a_message_is_its_text(text: str, units: int, span: int, tried: int, alone: bool) -> None:
    message = next(iter(Run("id", "file:///é", {"stage": "s", "field": text}, units, span, 5, 6).messages()))
    message = replace(message, tried=tried, alone=alone, memory=tried)
    assert Message.parse(message.to_json()) == message == Message.known(message.to_json())


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
    f'{{"igneous_ng": {messages.FORMAT}}}',
    f'{{"igneous_ng": {messages.FORMAT}, "run": [], "lo": 0, "hi": 1}}',
]


@pytest.mark.parametrize(
    "text", [*GARBAGE, changed(run={"id": "x"}), changed(run={**json.loads(changed())["run"], "more": 1})]
)
def test_garbage_is_no_message(text: str) -> None:
    with pytest.raises(SpecError, match=r"not a message of igneous_ng .*purge it"):
        Message.parse(text)
    assert Message.known(text) is None


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
    with pytest.raises(SpecError, match="purge (it|this message)"):
        Message.parse(changed(**change))


@pytest.mark.parametrize("version", [messages.FORMAT - 1, messages.FORMAT + 1])
def test_another_format_is_for_another_version(version: int) -> None:
    with pytest.raises(VersionError, match=f"a message of format {version}; this program reads format"):
        Message.parse(changed(igneous_ng=version, run={"something": "else"}))
