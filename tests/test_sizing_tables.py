"""The tables of docs/sizing.md are what the commands say now, and what the page claims of them holds."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent


def bench() -> ModuleType:
    """The script that makes the tables."""
    spec = importlib.util.spec_from_file_location("bench_sizing", ROOT / "bench" / "sizing.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses ask for it
    spec.loader.exec_module(module)
    return module


def test_the_tables_are_not_stale(tmp_path: Path) -> None:
    module = bench()
    page = (ROOT / "docs" / "sizing.md").read_text(encoding="utf-8")
    assert module.filled(page, tmp_path) == page, "run python bench/sizing.py"


def test_a_page_without_the_place_of_a_table_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = bench()
    monkeypatch.setattr(module, "tables", lambda _: {"1 TVx": "| a |"})
    with pytest.raises(SystemExit, match="0 places for the table '1 TVx'"):
        module.filled("nothing", tmp_path)
    mark = "<!-- 1 TVx -->"
    assert module.filled(f"{mark}\nold\n{mark}\n", tmp_path) == f"{mark}\n| a |\n{mark}\n"
