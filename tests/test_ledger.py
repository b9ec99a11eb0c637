"""The state of a layer against what lies in it, and names of objects against a set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from igneous_ng import history, ledger, records, run
from igneous_ng.stages.image_create import Create
from igneous_ng.stages.image_downsample import Downsample
from igneous_ng.store import Store, digest

STORE = Store()


@given(st.lists(st.lists(st.text(max_size=3))), st.lists(st.text(max_size=3)))
def test_names_are_a_set(added: list[list[str]], asked: list[str]) -> None:
    names, expected = ledger.Names(), set[str]()
    for urls in added:
        names.add(urls)
        expected.update(urls)
    assert [url in names for url in asked] == [url in expected for url in asked]


def test_many_names_are_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "_FRESH", 3)
    names = ledger.Names()
    for number in range(100):
        assert str(number) not in names
        names.add([str(number)])
        assert all(str(known) in names for known in range(number + 1))


def make(tmp_path: Path, change: int = 0) -> str:
    labels = np.arange(40 * 30 * 20, dtype=np.uint32).reshape(40, 30, 20) % 7
    labels[:3] += np.uint32(change)
    np.save(tmp_path / "labels.npy", labels)
    layer = f"file://{tmp_path}/seg"
    side = (16, 16, 16)
    source = str(tmp_path / "labels.npy")
    run.inline(Create(source=source, layer=layer, axes="xyz", kind="segmentation", chunk=side, cell=side))
    return layer


def held(layer: str) -> dict[str, str]:
    """The digest of each object that the state of the layer says is there."""
    entries = [entry for page in ledger.state(STORE, layer) for entry in page.newest]
    assert len({entry["url"] for entry in entries}) == len(entries)
    return {entry["url"]: entry["digest"] for entry in entries if "digest" in entry}


def stored(layer: str) -> dict[str, str]:
    """The digest of each object there is."""
    folder = Path(layer.removeprefix("file://"))
    files = [p for p in folder.rglob("*") if p.is_file() and "runs" not in p.parts and p.name != "provenance"]
    return {f"file://{p}".removesuffix(".gz"): digest(p.read_bytes()) for p in files}


def test_the_state_is_what_lies_there_whatever_was_made_again(tmp_path: Path) -> None:
    layer = make(tmp_path)
    assert held(layer) == stored(layer) != {}
    run.inline(Downsample(layer=layer, num_mips=2))
    make(tmp_path, change=1)
    run.inline(Downsample(layer=layer, num_mips=1))
    assert held(layer) == stored(layer)


def test_what_replaced_something_says_so_and_a_run_rolled_back_does_not_count(tmp_path: Path) -> None:
    layer = make(tmp_path)
    before = held(layer)
    make(tmp_path, change=1)
    newest = history.find(STORE, layer)
    marks = {e["url"]: "replaced" in e for _, page in ledger.pages(STORE, newest) for e in ledger.writes(page)}
    now = held(layer)
    assert marks == {url: now[url] != before[url] for url in marks}
    assert set(marks.values()) == {True, False}
    records.set_mark(STORE, newest, "rolledback")
    assert held(layer) == before
