"""What tests of the worker share: the stage of ``tests/plugin``, its tree, and what its diary says."""

from __future__ import annotations

import importlib
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from igneous_ng import catalog, records
from igneous_ng.records import Run
from igneous_ng.store import Store

PLUGIN = Path(__file__).parent / "plugin"
CLI = [sys.executable, "-m", "igneous_ng.cli"]


@pytest.fixture
def drill(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Makes stages ``drill run`` on the layer ``tmp_path/layer``, here and in processes started meanwhile."""
    monkeypatch.setenv("PYTHONPATH", f"{PLUGIN}{os.pathsep}{PLUGIN.parent.parent}")
    monkeypatch.syspath_prepend(str(PLUGIN))
    catalog.everything.cache_clear()
    stage = importlib.import_module("igneous_drill").Drill

    def make(**options: Any) -> Any:
        return stage(**{"layer": str(tmp_path / "layer"), **options})

    yield make
    catalog.everything.cache_clear()


def diary(tmp_path: Path, what: str = "began") -> Counter[int]:
    """How often each unit began, computed, ..."""
    text = (tmp_path / "layer" / "diary.txt").read_text()
    return Counter(int(line.split()[1]) for line in text.splitlines() if line.split()[0] == what)


def data(tmp_path: Path) -> dict[str, bytes]:
    """Every object of the layer by name: all that lies there but records and the diary."""
    layer = tmp_path / "layer"
    files = [p for p in layer.rglob("*") if p.is_file() and p.name not in ("diary.txt", "provenance")]
    return {n: p.read_bytes() for p in files if not (n := str(p.relative_to(layer))).startswith("runs/")}


def expected(count: int, without: tuple[int, ...] = ()) -> dict[str, bytes]:
    """What an undisturbed run leaves; unpublished where units are missing."""
    content = importlib.import_module("igneous_drill").content
    objects = {f"data/{unit}": content(unit) for unit in range(count) if unit not in without}
    return objects if without else {**objects, "published": b"yes"}


def recorded(run: Run) -> list[int]:
    """The units of all records as they are stored, whole files only: a number twice is a record twice."""
    store = Store()
    texts = (
        store.get(f"{folder}/{name}") for folder in folders(run) for name in store.list(folder) if ".part" not in name
    )
    import json

    return sorted(json.loads(line)["unit"] for text in texts if text for line in text.splitlines())


def folders(run: Run) -> list[str]:
    """The folders of records."""
    return [f"{run.folder}/records/{name}" for name in Store().list(f"{run.folder}/records")]


def failed(run: Run, unit: int) -> list[dict[str, Any]]:
    """How attempts at a unit failed."""
    return records.failures(Store(), run, unit)
