"""The view counts units of all runs met, starts from what is recorded, and shows at once what went wrong."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

from igneous_ng import records
from igneous_ng.errors import TransientError
from igneous_ng.records import Message, Run
from igneous_ng.reporting.progress import Progress
from igneous_ng.store import Store
from igneous_ng.worker.events import Event


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def run(tmp: Path, name: str, units: int = 100) -> Run:
    return records.new_run({"stage": name}, f"file://{tmp}/{name}", units)


def plain() -> Console:
    return Console(file=io.StringIO(), width=40)


def text(console: Console) -> str:
    shown = console.file
    assert isinstance(shown, io.StringIO)
    return shown.getvalue()


def test_without_a_terminal_a_line_is_said_now_and_then(tmp_path: Path, clock: Clock) -> None:
    console, one = plain(), run(tmp_path, "mesh forge")
    with Progress(console, clock) as progress:
        message = next(one.messages())
        progress(Event("leased", message))
        assert text(console) == "", "nothing is read of a run that this worker may not touch"
        progress(Event("started", message, 0))
        assert text(console) == "mesh forge: 0 of 100 units\n"
        for unit in range(50):
            clock.now += 1
            progress(Event("unit", message, unit))
        assert text(console).splitlines()[1:] == ["mesh forge: 30 of 100 units, 1 units/s, 1 min 10 s left"]
    assert text(console).splitlines()[2:] == ["mesh forge: 50 of 100 units, 1 units/s, 50 s left"]


def test_failures_are_shown_at_once_with_cause_and_text(tmp_path: Path, clock: Clock) -> None:
    console, one = plain(), run(tmp_path, "mesh forge")
    with Progress(console, clock) as progress:
        progress(Event("failed", Message(one, 0, 9), 3, "segfault", "signal 11 [red] in zmesh"))
        assert "failed, will be tried again: mesh forge unit 3 (segfault): signal 11 [red] in zmesh\n" in text(console)
        progress(Event("dead", Message(one, 3, 4), 3, "segfault", "signal 11"))
        progress(Event("dead", Message(one, 10, 20), None, "request", "no such stage"))
        progress(Event("dead", None, None, "request", "not a message"))
    shown = text(console)
    assert "given up: mesh forge unit 3 (segfault): signal 11\n" in shown
    assert "given up: mesh forge units 10 to 19 (request): no such stage\n" in shown
    assert "given up: a message (request): not a message\n" in shown
    assert shown.splitlines()[-1].endswith("1 failed and tried again, 11 given up")


def test_a_resumed_run_starts_from_its_records_and_others_work_is_seen(tmp_path: Path, clock: Clock) -> None:
    console, one, store = plain(), run(tmp_path, "a", 3000), Store()
    first, second, third, *_ = one.messages()
    records.write(store, first, {u: {"unit": u} for u in range(first.lo, first.hi)})
    with Progress(console, clock) as progress:
        progress(Event("started", second, second.lo))
        assert "a: 3 of 3,000 units" in text(console)
        records.write(store, third, {u: {"unit": u} for u in range(third.lo, third.hi)})
        clock.now += 40
        progress(Event("unit", second, second.lo))
    assert "a: 6 of 3,000 units" in text(console), "a look at the records every half minute"


def test_two_runs_have_a_line_each(tmp_path: Path, clock: Clock) -> None:
    console = plain()
    with Progress(console, clock) as progress:
        for name in ("a", "b"):
            message = next(run(tmp_path, name, 1).messages())
            progress(Event("started", message, 0))
            progress(Event("unit", message, 0))
    assert text(console).splitlines()[-2:] == ["a: 1 of 1 unit", "b: 1 of 1 unit"]


def test_nothing_is_said_where_nothing_happened(clock: Clock) -> None:
    console = plain()
    with Progress(console, clock) as progress:
        progress(Event("idle"))
    assert text(console) == ""


def test_in_a_terminal_bars_and_slots_are_drawn(tmp_path: Path, clock: Clock) -> None:
    console = Console(file=io.StringIO(), width=120, force_terminal=True, color_system=None)
    one = run(tmp_path, "mesh forge")
    message = next(one.messages())
    with Progress(console, clock) as progress:
        progress(Event("leased", message, slot=0))
        progress(Event("leased", message, slot=1))
        progress(Event("started", message, 7, slot=0))
        progress(Event("started", message, 8, slot=0))
        clock.now += 65
        progress(Event("unit", message, 9, slot=1))
        progress(Event("failed", message, 9, "data", "torn", slot=1))
        shown = Console(file=io.StringIO(), width=120)
        shown.print(progress._view())
        rows = text(shown).splitlines()
        assert rows[0].startswith("mesh forge")
        assert "55.4 units/h  1 h 47 min left" in rows[0]
        assert "1 of 100" in rows[0]
        assert "1 failed and tried again" in rows[0]
        assert rows[1].split() == ["0", "mesh", "forge", "unit", "7", "and", "1", "more", "1", "min", "5", "s"]
        assert rows[2].split() == ["1", "mesh", "forge", "1", "min", "5", "s"]
        progress(Event("unit", message, 7, slot=0))
        progress(Event("done", message, slot=1))
        shown = Console(file=io.StringIO(), width=120)
        shown.print(progress._view())
        assert "unit 8 " in text(shown)
        assert len(text(shown).splitlines()) == 2
    drawn = text(console)
    assert "╸" in drawn
    assert "failed, will be tried again: mesh forge unit 9 (data): torn" in drawn
    assert drawn.rstrip().endswith("\x1b[?25h"), "the cursor is given back"


def test_the_default_is_standard_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Progress() as progress:
        progress(Event("started", next(run(tmp_path, "a", 1).messages()), 0))
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "a: 0 of 1 unit" in shown.err


def test_a_store_that_fails_does_not_end_the_work(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(store: Store, run: Run) -> int:
        raise TransientError("not now")

    monkeypatch.setattr(records, "done", fail)
    console, one = plain(), run(tmp_path, "a")
    with Progress(console, clock) as progress:
        progress(Event("started", next(one.messages()), 0))
        progress(Event("unit", next(one.messages()), 0))
    assert text(console).splitlines()[-1] == "a: 1 of 100 units"
