"""The handle of a stage: what it reads and writes is in its ledger, and layers are never overwritten."""

from __future__ import annotations

import gzip
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats.info import Info, coarser, encode, new_info
from igneous_ng.geometry import Box
from igneous_ng.io import IO
from igneous_ng.store import MISSING, Store, digest
from tests.layers import create

BOUNDS = Box((-2, 0, 5), (6, 8, 9))


def info(**other: Any) -> Info:
    fields: dict[str, Any] = {
        "kind": "image",
        "dtype": "uint8",
        "channels": 1,
        "bounds": BOUNDS,
        "resolution": (8.0, 8.0, 40.0),
        "chunk": (8, 8, 4),
        "encoding": "raw",
    }
    return new_info(**{**fields, **other})


@pytest.fixture
def layer(tmp_path: Path) -> str:
    return f"file://{tmp_path}/layer"


def test_a_layer_is_created_once_and_again(layer: str) -> None:
    io = IO()
    io.create_layer(layer, info())
    io.create_layer(layer, info())
    assert io.info(layer) == info()
    stored = encode(info())
    entry = {"url": f"{layer}/info", "bytes": len(stored), "digest": digest(stored)}
    assert io.ledger.writes == [entry, {**entry, "kept": True}]


def test_a_layer_that_later_stages_extended_is_the_same_layer(layer: str) -> None:
    io = IO()
    io.create_layer(layer, info())
    io.edit_info(layer, coarser(info().scales[0], (2, 2, 1)), mesh="mesh")
    extended = io.get(f"{layer}/info")
    io.create_layer(layer, info())
    assert io.get(f"{layer}/info") == extended


OTHERS: list[dict[str, Any]] = [
    {"dtype": "uint16"},
    {"kind": "segmentation"},
    {"channels": 2},
    {"encoding": "png"},
    {"chunk": (4, 8, 4)},
    {"resolution": (8.0, 8.0, 41.0)},
    {"bounds": BOUNDS.shift((1, 0, 0))},
]


@pytest.mark.parametrize("other", OTHERS, ids=str)
def test_another_layer_in_the_same_place_is_refused(layer: str, other: dict[str, Any]) -> None:
    io = IO()
    io.create_layer(layer, info())
    before = io.get(f"{layer}/info")
    with pytest.raises(SpecError, match="another layer is already here"):
        io.create_layer(layer, info(**other))
    assert io.get(f"{layer}/info") == before


def test_editing_an_info_keeps_the_rest_and_writes_only_changes(layer: str) -> None:
    io = IO()
    io.create_layer(layer, replace(info(), extra={"of_others": 1}))
    up = coarser(info().scales[0], (2, 2, 1))
    io.edit_info(layer, up, mesh="mesh")
    assert io.info(layer).scales == (info().scales[0], up)
    assert io.info(layer).extra == {"of_others": 1, "mesh": "mesh"}
    assert len(io.ledger.writes) == 2
    io.edit_info(layer, up, mesh="mesh")
    assert io.ledger.writes[2:] == [{**io.ledger.writes[1], "kept": True}]


def test_what_an_earlier_attempt_replaced_is_of_this_run_all_the_same(layer: str, tmp_path: Path) -> None:
    IO().create_layer(layer, info())
    up = coarser(info().scales[0], (2, 2, 1))
    first, again, later = (IO(Store(attic=f"file://{tmp_path}/{run}/replaced")) for run in ("run", "run", "later"))
    for io in (first, again, later):
        io.edit_info(layer, up, mesh="mesh")
    assert first.ledger.writes[0]["replaced"]
    assert again.ledger.writes == first.ledger.writes
    assert later.ledger.writes[0]["kept"]


def test_there_may_be_no_layer(layer: str) -> None:
    with pytest.raises(DataError, match="/layer/info: there is no layer here"):
        IO().info(layer)
    with pytest.raises(DataError, match="there is no layer here"):
        IO().volume(layer, 0)


def test_what_is_read_and_written_is_in_the_ledger(layer: str, tmp_path: Path) -> None:
    io = IO()
    io.create_layer(layer, info())
    array = np.arange(BOUNDS.voxels, dtype=np.uint8).reshape((*BOUNDS.shape, 1))
    io.write(io.volume(layer, 0), BOUNDS, array)
    path = tmp_path / "layer" / "8_8_40" / "-2-6_0-8_5-9.gz"
    stored = path.read_bytes()
    assert gzip.decompress(stored) == array.tobytes("F")
    url = f"{layer}/8_8_40/-2-6_0-8_5-9"
    assert io.ledger.writes[1:] == [{"url": url, "bytes": len(stored), "digest": digest(stored)}]

    part = Box((0, 0, 5), (1, 1, 6))
    assert io.read(io.volume(layer, 0), part).item() == array[2, 0, 0, 0]
    (read,) = io.ledger.reads
    fingerprint = io.volume(layer, 0).read(part)[1]
    assert read == {"layer": layer, "mip": 0, "box": str(part), "digest": fingerprint}
    io.note(mean=1.5, count=2)
    io.note(count=3)
    assert io.ledger.notes == {"mean": 1.5, "count": 3}


@pytest.mark.parametrize(("encoding", "suffix"), [("raw", ".gz"), ("png", ""), ("jpeg", "")])
def test_pictures_are_not_compressed_twice(layer: str, tmp_path: Path, encoding: str, suffix: str) -> None:
    io = IO()
    io.create_layer(layer, info(encoding=encoding))
    io.write(io.volume(layer, 0), BOUNDS, np.zeros((*BOUNDS.shape, 1), np.uint8))
    assert (tmp_path / "layer" / "8_8_40" / f"-2-6_0-8_5-9{suffix}").is_file()


def test_objects_and_their_spans(layer: str) -> None:
    io = IO()
    io.put(f"{layer}/object", b"0123456789")
    assert io.get(f"{layer}/object", (2, 4)) == b"23"
    assert io.get(f"{layer}/absent") is None
    assert io.ledger.reads == [
        {"url": f"{layer}/object", "digest": digest(b"23"), "span": [2, 4]},
        {"url": f"{layer}/absent", "digest": MISSING},
    ]
    assert io.ledger.writes == [{"url": f"{layer}/object", "bytes": 10, "digest": digest(b"0123456789")}]
    io.put_json(f"{layer}/value.json", [1, "2"])
    assert io.get_json(f"{layer}/value.json") == [1, "2"]
    assert io.list(layer) == ["object", "value.json"]
    assert io.exists(f"{layer}/object")
    assert not io.exists(f"{layer}/absent")


def test_a_volume_may_be_of_levels_that_are_not_published(layer: str) -> None:
    io = IO()
    io.create_layer(layer, info())
    planned = info().with_scales(coarser(info().scales[0], (2, 2, 1)))
    with pytest.raises(SpecError, match="has no mip 1"):
        io.volume(layer, 1)
    assert io.volume(layer, 1, info=planned).bounds == Box((-1, 0, 5), (3, 4, 9))


def test_who_publish_in_one_layer_at_once_do_not_undo_each_other(tmp_path: Path) -> None:
    create(tmp_path / "layer", np.zeros((4, 4, 4, 1), np.uint8), (0, 0, 0))
    layer = f"file://{tmp_path}/layer"
    code = (
        "import sys; from igneous_ng.io import IO\n"
        "for n in range(40): IO().edit_info(sys.argv[1], **{f'key-{sys.argv[2]}-{n}': n})"
    )
    several = [subprocess.Popen([sys.executable, "-c", code, layer, who]) for who in "abc"]
    assert [one.wait(60) for one in several] == [0, 0, 0]
    extra = IO().info(layer).extra
    wanted = {f"key-{who}-{n}": n for who in "abc" for n in range(40)}
    assert {key: extra[key] for key in wanted} == wanted
    assert list(extra) == sorted(extra)
