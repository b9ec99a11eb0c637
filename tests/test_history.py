"""The runs of a layer: which is the newest, which is the same request, what a unit takes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from igneous_ng import history, records
from igneous_ng.errors import DataError
from igneous_ng.records import Run
from igneous_ng.store import Store

STORE = Store()


def made(home: str, stage: dict[str, Any], units: int = 4) -> Run:
    run = records.new_run(stage, home, units)
    records.save(STORE, run)
    return run


@pytest.fixture
def home(tmp_path: Path) -> str:
    return f"file://{tmp_path}/layer"


def test_a_run_is_found_by_its_folder_by_its_layer_and_by_its_id(home: str) -> None:
    with pytest.raises(DataError, match="neither the folder of a run nor a layer"):
        history.find(STORE, home)
    first, second = made(home, {"stage": "a"}), made(home, {"stage": "b"})
    assert history.find(STORE, home) == second
    assert history.find(STORE, first.folder) == first
    assert history.find(STORE, home, first.id) == first
    with pytest.raises(DataError, match="there is no run here"):
        history.find(STORE, home, "nothing")


def test_what_is_no_run_or_of_another_format_is_passed_over(home: str) -> None:
    run = made(home, {"stage": "a"})
    STORE.put(f"{home}/runs/99990101T000000.000000-00000000/queue.json", b"{}")
    STORE.put_json(f"{home}/runs/99990102T000000.000000-00000000/run.json", {"id": "x"})
    assert list(history.runs(STORE, home)) == [run]


def test_the_same_request_is_the_newest_of_equal_fields_and_units(home: str) -> None:
    wanted = records.new_run({"stage": "a", "n": 1}, home, 4)
    assert history.same(STORE, wanted) is None
    made(home, {"stage": "a", "n": 1})
    newer = made(home, {"stage": "a", "n": 1})
    made(home, {"stage": "a", "n": 2})
    assert history.same(STORE, wanted) == newer
    assert history.same(STORE, replace(wanted, units=5)) is None
    made(home, {"stage": "a", "n": 1}, units=5)
    assert history.same(STORE, wanted) == newer


def test_usual_seconds_are_the_median_of_the_last_run_of_the_stage_that_recorded_some(home: str) -> None:
    assert history.usual_seconds(STORE, home, "a") is None
    for seconds in ((9.0, 9.0, 9.0, 9.0), (1.0, 2.0, 50.0, 3.0)):
        run = made(home, {"stage": "a", "x": seconds})
        lines = {unit: {"unit": unit, "seconds": s} for unit, s in enumerate(seconds)}
        message = records.Message(run, 0, 4)
        records.write(STORE, message, lines)
    made(home, {"stage": "a"})
    made(home, {"stage": "b"})
    assert history.usual_seconds(STORE, home, "a") == 2.5
    assert history.usual_seconds(STORE, home, "b") is None
