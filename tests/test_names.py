"""Indices of names: which entries of a part of a run hold, against the state that is told from all ledgers."""

from __future__ import annotations

import uuid
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igneous_ng import ledger, names, records
from igneous_ng.errors import DataError
from igneous_ng.ledger import PREPARED, PUBLISHED
from igneous_ng.records import Message, Run
from igneous_ng.store import Store

STORE = Store()
URLS = [f"mem://names/objects/{n}" for n in range(12)]
UNITS = 3
ledgers = st.dictionaries(st.sampled_from(URLS), st.booleans(), max_size=4)
runs = st.fixed_dictionaries(
    {
        "homes": st.lists(st.integers(-1, UNITS - 1), min_size=len(URLS), max_size=len(URLS)),
        "prepared": ledgers,
        "finished": ledgers,
        "recorded": st.integers(1, UNITS),
        "kept": st.booleans(),
    }
)


def page(entries: dict[str, bool], unit: int | None = None) -> dict[str, Any]:
    """A ledger of these objects, each written or removed."""
    told = [{"url": url, **({"deleted": True} if gone else {"digest": "0"})} for url, gone in entries.items()]
    return {"writes": told, "reads": [], "covers": [], **({} if unit is None else {"unit": unit})}


def store(layer: str, said: dict[str, Any]) -> Run:
    new = records.new_run({"stage": "x"}, layer, UNITS)
    records.save(STORE, new)
    records.save_prepared(STORE, new, page(said["prepared"]))
    for unit in range(said["recorded"]):
        own = {url: False for url, home in zip(URLS, said["homes"], strict=True) if home == unit}
        records.write(STORE, Message(new, unit, unit + 1), {unit: page(own, unit)})
    if said["recorded"] == UNITS:
        records.mark_finished(STORE, new, page(said["finished"]))
    if said["kept"]:
        names.keep(STORE, new)
    return new


def held(pages: Any) -> dict[tuple[str, int], set[str]]:
    return {(page.run.id, page.unit): {entry["url"] for entry in page.newest} for page in pages}


@settings(max_examples=60, deadline=None)
@given(st.lists(runs, min_size=1, max_size=4), st.integers(1, 5))
def test_what_holds_of_each_run_is_what_the_state_tells(said: list[dict[str, Any]], size: int) -> None:
    layer = f"mem://names/{uuid.uuid4().hex}"
    made = [store(layer, one) for one in said]
    names.keep(STORE, made[0])
    expected = held(ledger.state(STORE, layer))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(names, "_SLICE", size)
        for run in made:
            parts = [names.pages(STORE, layer, run.id, (unit, unit + 1)) for unit in range(UNITS)]
            found = {key: urls for part in parts for key, urls in held(part).items()}
            assert found == {key: urls for key, urls in expected.items() if key[0] == run.id}
            assert found.keys() >= {(run.id, PREPARED)}
            assert ((run.id, PUBLISHED) in found) == records.finished(STORE, run)


def test_an_index_is_made_anew_as_long_as_units_are_missing() -> None:
    layer = f"mem://names/{uuid.uuid4().hex}"
    said = {"homes": [0] * 6 + [1] * 6, "prepared": {}, "finished": {}, "recorded": 1, "kept": True}
    run = store(layer, said)
    wanted = names.keys(URLS)
    assert names.among(STORE, run, wanted).sum() == 6
    records.write(STORE, Message(run, 1, 3), {unit: page(dict.fromkeys(URLS[6:], False), unit) for unit in (1, 2)})
    names.keep(STORE, run)
    assert names.among(STORE, run, wanted).all()
    before = STORE.get(f"{run.folder}/names")
    STORE.delete(f"{run.folder}/records/0/0-1.jsonl")
    names.keep(STORE, run)
    assert STORE.get(f"{run.folder}/names") == before
    assert not names.among(STORE, run, np.array([1, 2], np.uint64)).any()
    assert not len(names.among(STORE, run, np.zeros(0, np.uint64)))


def test_a_run_that_is_gone_is_missed() -> None:
    layer = f"mem://names/{uuid.uuid4().hex}"
    said = {"homes": [-1] * 12, "prepared": {}, "finished": {}, "recorded": 3, "kept": False}
    run = store(layer, said)
    records.set_mark(STORE, run, "rolledback")
    with pytest.raises(DataError, match="rolled back meanwhile"):
        next(names.pages(STORE, layer, run.id, (0, 3)))
