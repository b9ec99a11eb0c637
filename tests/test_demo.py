"""The demo, small, from tiles to its report: twice to the same bytes, and with a floor that is out of reach."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from igneous_ng.cli.root import main
from igneous_ng.demo import figures, whole

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]


def run(folder: Path) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["demo", str(folder), "--size", "small"], catch_exceptions=False)
    return done.exit_code, done.output


def test_the_demo_twice_and_below_a_floor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime", reason="the extra `onnx` is optional")
    pytest.importorskip("pyarrow", reason="the extra `parquet` is optional")
    monkeypatch.setattr(whole, "_screenshot", lambda *_: "")  # test_viewer_screenshot.py takes pictures
    folder = tmp_path / "demo"
    code, said = run(folder)
    assert code == 0, said
    page = (folder / "report.html").read_text()
    found = figures.measured(folder)
    for one in found:
        assert f"{one.value:.3f}" in page
        assert f"{one.said:<56}{f'{one.value:.3f} {one.unit}'.strip():>12}" in said
    first = whole.digests(folder)
    assert all(digest in said for digest in first.values())
    bounds = {"small": {**figures.BOUNDS["small"], "voi": (0.0, True)}}
    monkeypatch.setattr(figures, "BOUNDS", bounds)
    code, said = run(folder)  # all is done already
    assert code == 1
    assert "Error: segmentation: variation of information is" in said
    assert "is done already" in said
    monkeypatch.undo()
    monkeypatch.setattr(whole, "_screenshot", lambda *_: "")
    shutil.rmtree(folder)
    code, said = run(folder)
    assert code == 0, said
    assert whole.digests(folder) == first
    assert figures.measured(folder) == found
