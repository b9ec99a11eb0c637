"""A layer's records as an RO-Crate: read by the package of its authors, whole, and the same each time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from rocrate.rocrate import ROCrate

from igneous_ng import crates, history, records, run
from igneous_ng.cli import main
from igneous_ng.errors import DataError
from igneous_ng.stages.image_create import Create
from igneous_ng.stages.image_delete import Delete
from igneous_ng.stages.image_downsample import Downsample
from igneous_ng.stages.image_transfer import Transfer
from igneous_ng.stages.mesh import MeshForge, MeshMerge
from igneous_ng.stages.records_compact import RecordsCompact
from igneous_ng.store import Store
from tests.test_tracing import History

STORE = Store()
KNOWN = {"https://w3id.org/ro/crate/1.1", "http://schema.org/CompletedActionStatus"}


@pytest.fixture
def layers(tmp_path: Path) -> Path:
    """A file, a layer made of it, and a copy of that with a level and meshes."""
    labels = np.zeros((48, 32, 32), np.uint32)
    labels[2:44, 2:28, 2:28] = 7
    np.save(tmp_path / "some labels.npy", labels)
    seg, copy = str(tmp_path / "seg"), str(tmp_path / "a copy")
    run.inline(Create(source=f"{tmp_path}/some labels.npy", layer=seg, kind="segmentation", axes="xyz",
                      resolution=(8, 8, 8), chunk=(16, 16, 16)))  # fmt: skip
    run.inline(Transfer(source=seg, layer=copy))
    run.inline(Downsample(layer=copy, num_mips=1))
    run.inline(MeshForge(layer=copy))
    run.inline(MeshMerge(layer=copy))
    return tmp_path


def made(layers: Path, name: str = "a copy") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(crates.crate(STORE, f"file://{layers}/{name}"))
    return found


def entities(found: dict[str, Any]) -> dict[str, Any]:
    return {entity["@id"]: entity for entity in found["@graph"]}


def references(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for one in value:
            yield from references(one)
    elif isinstance(value, dict):
        yield from [value["@id"]] if value.keys() == {"@id"} else references(list(value.values()))


def test_the_package_of_its_authors_finds_actions_inputs_and_outputs(layers: Path) -> None:
    place = layers / "crate"
    shown = CliRunner().invoke(
        main, ["provenance", str(layers / "a copy"), "--to", str(place / "ro-crate-metadata.json")]
    )
    assert (shown.exit_code, shown.output) == (0, "")
    found = ROCrate(place)
    assert found.root_dataset["conformsTo"].id == crates.PROFILE
    actions = [entity for entity in found.get_entities() if entity.type == "CreateAction"]
    assert [action["name"].partition(" of ")[0] for action in actions] == [
        "image create", "image transfer", "image downsample", "mesh forge", "mesh merge"
    ]  # fmt: skip
    assert {action.id for action in found.root_dataset["mentions"]} == {action.id for action in actions}
    create, transfer, downsample, _, merge = actions
    assert create["instrument"]["name"] == "igneous_ng"
    assert create["instrument"]["softwareVersion"]
    assert create["instrument"]["softwareRequirements"]["name"].startswith("CPython")
    assert "@" in create["agent"]["name"]
    assert create["startTime"] < create["endTime"] < merge["endTime"]
    assert [one.id for one in create["object"] if one.type == "File"] == [f"file://{layers}/some%20labels.npy"]
    assert [one.id for one in transfer["object"] if one.type == "Dataset"] == [f"file://{layers}/seg/"]
    assert downsample["object"][0].id == "./", "the layer itself is the root"
    assert [one["name"] for one in downsample["result"]] == [
        "info", "16_16_8", "objects written to 16_16_8", "bytes written to 16_16_8"
    ]  # fmt: skip
    assert {one.id for one in found.root_dataset["hasPart"]} >= {
        f"file://{layers}/seg/",
        f"file://{layers}/a%20copy/mesh/",
    }


def test_every_id_that_is_named_is_there_and_only_once(layers: Path) -> None:
    found = made(layers)
    ids = [entity["@id"] for entity in found["@graph"]]
    assert len(ids) == len(set(ids))
    assert set(references(found["@graph"])) - KNOWN <= set(ids)
    data = {entity["@id"] for entity in found["@graph"] if entity["@type"] in ("File", "Dataset")} - {"./"}
    assert {part["@id"] for part in entities(found)["./"]["hasPart"]} == data
    assert all(" " not in ident for ident in ids)


def test_every_word_is_one_of_the_context(layers: Path) -> None:
    found = made(layers)
    assert found["@context"] == [
        "https://w3id.org/ro/crate/1.1/context", "https://w3id.org/ro/terms/workflow-run/context"
    ]  # fmt: skip
    known = json.loads((resources.files("rocrate") / "data" / "ro-crate.jsonld").read_text())["@context"]
    words = {word for entity in found["@graph"] for word in entity} | {entity["@type"] for entity in found["@graph"]}
    assert words - {"@id", "@type"} <= set(known)


def values(found: dict[str, Any], action: dict[str, Any], key: str) -> dict[str, str]:
    known = entities(found)
    return {
        known[one["@id"]]["name"]: known[one["@id"]]["value"]
        for one in action[key] if known[one["@id"]]["@type"] == "PropertyValue"
    }  # fmt: skip


def test_parameters_versions_counts_and_bytes(layers: Path) -> None:
    found = made(layers)
    actions = {entity["name"].partition(" of ")[0]: entity for entity in found["@graph"] if "instrument" in entity}
    asked = values(found, actions["image create"], "object")
    assert asked["chunk"] == "[16, 16, 16]"
    assert asked["kind"] == "segmentation"
    assert asked["version of the stage"] == "1"
    version = json.loads(asked[f"version of file://{layers}/some labels.npy"])
    assert version["bytes"] == (layers / "some labels.npy").stat().st_size
    assert len(version["digest"]) == 32
    copied = json.loads(values(found, actions["image transfer"], "object")[f"version of file://{layers}/seg"])
    (first,) = history.runs(STORE, f"file://{layers}/seg")
    assert copied["run"] == first.id
    wrote = values(found, actions["image transfer"], "result")
    chunks = list((layers / "a copy" / "8_8_8").iterdir())
    assert wrote == {
        "objects written to 8_8_8": str(len(chunks)),
        "bytes written to 8_8_8": str(sum(chunk.stat().st_size for chunk in chunks)),
    }


def test_the_same_records_give_the_same_bytes_compacted_or_not(layers: Path) -> None:
    layer = f"file://{layers}/a copy"
    before = crates.crate(STORE, layer)
    assert crates.crate(STORE, layer) == before
    run.inline(RecordsCompact(layer=layer))
    assert crates.crate(STORE, layer) == before, "compacting makes no data"
    assert CliRunner().invoke(main, ["provenance", layer]).stdout == before.decode()


def test_only_runs_that_are_finished_and_hold_are_told(layers: Path) -> None:
    newest, forge, *_ = history.runs(STORE, f"file://{layers}/a copy")
    records.clear_mark(STORE, newest, "finished")
    records.set_mark(STORE, forge, "rolledback")
    names = [entity["name"] for entity in made(layers)["@graph"] if entity["@type"] == "CreateAction"]
    assert [name.partition(" of ")[0] for name in names] == ["image create", "image transfer", "image downsample"]
    assert len([e for e in made(layers, "seg")["@graph"] if e["@type"] == "CreateAction"]) == 1


def test_what_was_removed_is_counted(layers: Path) -> None:
    run.inline(Delete(layer=f"file://{layers}/a copy", keys=("16_16_8",)))
    found = made(layers)
    (action,) = [entity for entity in found["@graph"] if entity.get("name", "").startswith("image delete")]
    assert values(found, action, "result") == {"objects removed": "4"}


def test_other_kinds_of_inputs(tmp_path: Path) -> None:
    past = History(tmp_path)
    inputs = [{"url": "file:///data/slices/*.tif", "kind": "files", "objects": 3},
              {"url": "https://example.org/em", "kind": "other"},
              {"url": past.layer("gone"), "kind": "layer"}]  # fmt: skip
    past.run(
        1, "a", {"writes": past.wrote("a", "deep/er/and/deeper/x", "y")}, inputs=inputs, stage="of another package"
    )
    found = made(tmp_path, "a")
    (action,) = [entity for entity in found["@graph"] if entity["@type"] == "CreateAction"]
    kinds = [(one["@id"], entities(found)[one["@id"]]["@type"]) for one in action["object"]]
    assert kinds[:4] == [
        ("file:///data/slices/", "Dataset"), ("#run/20260101T000001.000000-abcdef01/input-0", "PropertyValue"),
        ("https://example.org/em", "CreativeWork"), (f"{past.layer('gone')}/", "Dataset"),
    ]  # fmt: skip
    names = [entities(found)[one["@id"]]["name"] for one in action["result"]]
    assert names == ["y", "deep/er", "objects written to deep/er", "bytes written to deep/er"]
    assert set(references(found["@graph"])) - KNOWN <= entities(found).keys()


def test_a_layer_without_runs_has_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no finished run is recorded here"):
        crates.crate(STORE, f"file://{tmp_path}/a")
