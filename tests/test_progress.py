"""The progress bar counts units of all runs met, starts from what is recorded, and shows what went wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from igneous_ng import run
from igneous_ng.progress import Progress
from igneous_ng.records import Message
from igneous_ng.stages.image_create import Create
from igneous_ng.worker.supervisor import Event


def messages(tmp: Path, name: str) -> list[Message]:
    np.save(tmp / "em.npy", np.zeros((32, 32, 64), np.uint8))
    stage = Create(source=str(tmp / "em.npy"), layer=str(tmp / name), axes="xyz", chunk=(16, 16, 16), cell=(16, 32, 32))
    return list(run.plan(stage).run.messages())


def test_units_and_failures_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = messages(tmp_path, "a"), messages(tmp_path, "b")
    with Progress() as progress:
        for one in (*first, *second):
            progress(Event("leased", one.to_json()))
            progress(Event("unit", one.to_json()))
        progress(Event("leased", "not a message"))
        progress(Event("retry", first[0].to_json(), "killed by SIGKILL"))
        progress(Event("dead", first[0].to_json(), "a chunk is missing"))
    shown = capsys.readouterr().err
    assert "8/8" in shown
    assert "image create" in shown
    assert "will be tried again: killed by SIGKILL" in shown
    assert "set aside: a chunk is missing" in shown


def test_a_resumed_run_starts_from_its_records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "em.npy", np.zeros((32, 32, 64), np.uint8))
    stage = Create(source=str(tmp_path / "em.npy"), layer=str(tmp_path / "a"), axes="xyz", cell=(16, 32, 32))
    done = run.inline(stage)
    with Progress() as progress:
        progress(Event("leased", next(done.messages()).to_json()))
    assert f"{done.units}/{done.units}" in capsys.readouterr().err
