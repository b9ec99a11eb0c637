"""The board of a pipeline: in a terminal all steps with bars, elsewhere a line for each change."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

from igneous_ng import records
from igneous_ng.errors import TransientError
from igneous_ng.pipeline import Change
from igneous_ng.records import Run
from igneous_ng.reporting.steps import Board
from igneous_ng.store import Store


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def run(tmp: Path, units: int = 100) -> Run:
    return records.new_run({"stage": "mesh forge"}, f"file://{tmp}/seg", units)


def work(one: Run, until: int) -> None:
    for message in one.messages([(0, until)]):
        records.write(Store(), message, {unit: {"unit": unit} for unit in range(message.lo, message.hi)})


def text(console: Console) -> str:
    shown = console.file
    assert isinstance(shown, io.StringIO)
    return shown.getvalue()


def test_changes_are_said_at_once_and_units_now_and_then(tmp_path: Path) -> None:
    clock, console, one = Clock(), Console(file=io.StringIO(), width=200), run(tmp_path)
    with Board(["a", "b"], console, clock) as board:
        board(Change("a", "done", "is done already", one))
        board(Change("b", "begun", "100 tasks queued", one))
        board.pause(0)
        work(one, 40)
        clock.now += 20
        board.pause(0)
        assert text(console) == "a: is done already\nb: 100 tasks queued\n"
        clock.now += 20
        board.pause(0)
        assert text(console).splitlines()[2:] == [
            "1 of 2 steps done; b: mesh forge: 40 of 100 units, 1 units/s, 1 min left"
        ]
        board(Change("b", "done", "is done", one))
        clock.now += 40
        board.pause(0)
    assert text(console).splitlines()[3:] == ["b: is done", "2 of 2 steps done"]


def test_in_a_terminal_every_step_has_a_row(tmp_path: Path) -> None:
    console, one = Console(file=io.StringIO(), width=160, force_terminal=True, color_system=None), run(tmp_path)
    with Board(["a", "b", "c"], console, Clock()) as board:
        board(Change("a", "done", "is done", one))
        board(Change("b", "begun", "queued", one))
        work(one, 25)
        board.pause(0)
        shown = Console(file=io.StringIO(), width=160)
        shown.print(board.view())
        rows = text(shown).splitlines()
        assert [row.split()[:2] for row in rows] == [["a", "done"], ["b", "begun"], ["c", "waits"]]
        assert "25 of 100" in rows[1]
        board(Change("b", "trouble", "units were given up", one))
        shown = Console(file=io.StringIO(), width=160)
        shown.print(board.view())
        assert "trouble" in text(shown).splitlines()[1]
    drawn = text(console)
    assert "b: units were given up" in drawn
    assert drawn.rstrip().endswith("\x1b[?25h"), "the cursor is given back"


def test_a_store_that_fails_does_not_end_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(store: Store, run: Run) -> int:
        raise TransientError("not now")

    monkeypatch.setattr(records, "done", fail)
    board = Board(["a"], Console(file=io.StringIO()), Clock())
    board(Change("a", "begun", "queued", run(tmp_path)))
    board.pause(0)


def test_the_default_is_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    with Board(["a"]) as board:
        board(Change("a", "begun", "begins"))
    assert capsys.readouterr() == ("", "a: begins\n")
