"""Which stages there are: found without importing them, refused where two share a name."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from igneous_ng import catalog
from igneous_ng.errors import SpecError
from igneous_ng.stage import to_dict
from igneous_ng.stages.image_downsample import Downsample

MODULE = '''
from dataclasses import dataclass
from igneous_ng.stage import Stage

class Helper:
    """No stage."""

class Other(Helper, metaclass=type):
    """None either."""

@dataclass(frozen=True, kw_only=True)
class Count(Stage, name="{name}"):
    """Count voxels.

    Slowly.
    """
'''


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    catalog.everything.cache_clear()
    yield
    catalog.everything.cache_clear()


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Installs a module with one stage, of the given name, as another package would."""

    def install(name: str, module: str) -> None:
        (tmp_path / f"{module}.py").write_text(MODULE.format(name=name))
        monkeypatch.syspath_prepend(str(tmp_path))
        point = SimpleNamespace(name="mine", module=module)
        monkeypatch.setattr(metadata, "entry_points", lambda group: [point] if group == catalog.GROUP else [])

    return install


def test_the_stages_of_this_package_are_there_in_order() -> None:
    names = list(catalog.entries())
    assert {"image create", "image downsample"} <= set(names)
    assert names == sorted(names)
    assert catalog.entries()["image downsample"].summary == "Add coarser mip levels to an image or a segmentation."


def test_loading_gives_the_class() -> None:
    assert catalog.load("image downsample") is Downsample


def test_listing_imports_no_stage() -> None:
    code = (
        "import sys; from igneous_ng import catalog; catalog.entries();"
        "print([m for m in sys.modules if m.startswith('igneous_ng.stages')])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_a_task_of_json_is_its_stage() -> None:
    stage = Downsample(layer="file:///a")
    assert catalog.decode(to_dict(stage)) == stage


@pytest.mark.parametrize("raw", [None, 3, "image create", [], {}, {"stage": 3}, {"stage": None}], ids=repr)
def test_other_json_is_refused(raw: Any) -> None:
    with pytest.raises(SpecError, match="a task is a JSON object with the name of a stage"):
        catalog.decode(raw)


@pytest.mark.parametrize("name", ["image uncreate", "os.system", "", "../stages/image_create"])
def test_a_stage_that_is_not_in_the_catalog_is_refused(name: str) -> None:
    with pytest.raises(SpecError, match=r"no stage is called .*; there are: .*image create"):
        catalog.decode({"stage": name, "version": 1})


def test_another_package_adds_its_own(plugin: Any) -> None:
    plugin("test count", "igneous_ng_test_plugin_a")
    entry = catalog.entries()["test count"]
    assert entry == catalog.Entry("test count", "igneous_ng_test_plugin_a", "Count", "Count voxels.")
    assert "igneous_ng_test_plugin_a" not in sys.modules
    assert catalog.load("test count").__name__ == "Count"


def test_two_stages_of_one_name_are_refused(plugin: Any) -> None:
    plugin("image create", "igneous_ng_test_plugin_b")
    with pytest.raises(SpecError, match="two stages are called 'image create'.*igneous_ng_test_plugin_b"):
        catalog.entries()


def test_an_entry_point_to_nowhere_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    point = SimpleNamespace(name="mine", module="igneous_ng_test_absent")
    monkeypatch.setattr(metadata, "entry_points", lambda group: [point])
    with pytest.raises(SpecError, match="'mine' of igneous_ng.stages names igneous_ng_test_absent"):
        catalog.entries()
