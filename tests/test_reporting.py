"""Sinks that write files: one line a task, and figures that a parser of OpenMetrics takes."""

from __future__ import annotations

import io
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from igneous_ng.records import Message, Run
from igneous_ng.reporting import to_all
from igneous_ng.reporting.journal import Journal
from igneous_ng.reporting.metrics import Metrics
from igneous_ng.worker.events import Event

RUN = Run("id", "file:///layer", {"stage": 'mesh "x" \\ \n forge'}, 100, 10)
MESSAGE = Message(RUN, 10, 20)
FIGURES: dict[str, Any] = {"seconds": 2.0, "cpu_seconds": 1.5, "peak_bytes": 7000, "attempt": 1}
EVENTS = [
    Event("leased", MESSAGE, slot=1),
    Event("started", MESSAGE, 10, slot=1),
    Event("unit", MESSAGE, 10, slot=1, figures=FIGURES),
    Event("unit", MESSAGE, 11, slot=1, figures={**FIGURES, "peak_bytes": 5000}),
    Event("failed", MESSAGE, 12, "segfault", "signal 11", 1),
    Event("dead", MESSAGE, 12, "segfault", "signal 11", 1),
    Event("dead", None, None, "request", "not a message", 2),
    Event("split", MESSAGE, text="15-20", slot=1),
    Event("done", MESSAGE, slot=1),
    Event("idle", figures={"seconds": 10.0}),
]


# The journal.


def test_one_line_for_each_task_that_ended() -> None:
    out = io.StringIO()
    journal = Journal(out, clock=lambda: 12.3456)
    for event in EVENTS:
        journal(event)
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    run = {"time": 12.346, "run": "id", "layer": "file:///layer", "stage": RUN.name}
    assert lines == [
        {**run, **FIGURES, "outcome": "done", "unit": 10, "slot": 1},
        {**run, **FIGURES, "peak_bytes": 5000, "outcome": "done", "unit": 11, "slot": 1},
        {**run, "outcome": "failed", "unit": 12, "slot": 1, "cause": "segfault", "text": "signal 11"},
        {**run, "outcome": "dead", "unit": 12, "slot": 1, "cause": "segfault", "text": "signal 11"},
        {"time": 12.346, "outcome": "dead", "slot": 2, "cause": "request", "text": "not a message"},
    ]


def test_each_line_is_there_at_once(tmp_path: Path) -> None:
    with (tmp_path / "log").open("a") as out:
        Journal(out)(Event("dead", MESSAGE, None, "data", "two\nlines"))
        (line,) = (tmp_path / "log").read_text().splitlines()
    assert (json.loads(line)["lo"], json.loads(line)["hi"]) == (10, 20)


# Metrics.


def families(path: Path) -> dict[str, Any]:
    parsed = text_string_to_metric_families(path.read_text())  # type: ignore[no-untyped-call]
    return {family.name: family for family in parsed}


def values(path: Path) -> dict[tuple[str, str], float]:
    found = {}
    for family in families(path).values():
        for sample in family.samples:
            labels = ",".join(v for k, v in sorted(sample.labels.items()) if k != "stage")
            found[sample.name.removeprefix("igneous_ng_"), labels] = sample.value
    return found


def test_figures_are_valid_openmetrics(tmp_path: Path) -> None:
    path, now = tmp_path / "worker.prom", [1000.0]
    with Metrics(path, clock=lambda: now[0]) as metrics:
        assert path.read_text().endswith("# EOF\n"), "there from the start"
        for event in EVENTS:
            metrics(event)
        now[0] += 5.0
        metrics(Event("leased", MESSAGE, slot=3))
        assert values(path)["busy", ""] == 1
    read = families(path)
    assert read["igneous_ng_unit_seconds"].type == "summary"
    assert read["igneous_ng_failures"].type == "counter"
    assert all(family.documentation for family in read.values())
    assert read["igneous_ng_failures"].samples[0].labels["stage"] == RUN.name, "escaped and back"
    assert values(path) == {
        ("unit_seconds_count", ""): 2,
        ("unit_seconds_sum", ""): 4,
        ("cpu_seconds_total", ""): 3,
        ("peak_bytes", ""): 7000,
        ("failures_total", "segfault"): 1,
        ("dead_total", "segfault"): 1,
        ("dead_total", "request"): 1,
        ("messages_total", "split"): 1,
        ("messages_total", "done"): 1,
        ("busy", ""): 0,
        ("written_timestamp_seconds", ""): 1005,
    }
    assert [p.name for p in tmp_path.iterdir()] == ["worker.prom"]


def test_the_file_is_replaced_whole_and_seldom(tmp_path: Path) -> None:
    path, now = tmp_path / "worker.prom", [0.0]
    with Metrics(path, clock=lambda: now[0]) as metrics:
        written = []
        for second in range(12):
            now[0] = float(second)
            metrics(EVENTS[2])
            written.append(path.read_text())
            assert written[-1].endswith("# EOF\n")
    assert len(set(written)) == 3, "at 0, 5 and 10 seconds"


# Several at once.


def test_a_sink_that_cannot_write_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[Event] = []

    class Full:
        calls = 0

        def __call__(self, event: Event) -> None:
            self.calls += 1
            raise OSError(28, "No space left on device")

    full = Full()
    send = to_all([full, seen.append])
    with caplog.at_level(logging.WARNING):
        for event in EVENTS[:3]:
            send(event)
    assert seen == EVENTS[:3]
    assert full.calls == 1
    assert "Full cannot write and is left out: [Errno 28] No space left on device" in caplog.text


def test_a_defect_in_a_sink_is_not_hidden() -> None:
    def wrong(event: Event) -> None:
        raise KeyError(event.kind)

    with pytest.raises(KeyError):
        to_all([wrong])(EVENTS[0])
