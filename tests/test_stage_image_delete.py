"""Deletion: readers see all of a level or nothing of it, and what is not named stays, whenever somebody dies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from igneous_ng import run
from igneous_ng.cli import main
from igneous_ng.deriving import chunks
from igneous_ng.errors import SpecError
from igneous_ng.formats.info import chunk_name
from igneous_ng.geometry import Box
from igneous_ng.io import IO
from igneous_ng.stages import image_delete
from igneous_ng.stages.image_delete import Delete
from igneous_ng.stages.image_downsample import Downsample
from tests.layers import create, files, grey

LO = (-7, 3, -21)


def delete(path: Path, **fields: Any) -> Delete:
    return Delete(**{"layer": str(path), **fields})


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    """Three levels: 4_4_40, 8_8_40, 16_16_40."""
    path = create(tmp_path, grey((21, 27, 17, 1)), LO)
    run.inline(Downsample(layer=str(path), num_mips=2))
    return path


def shown(path: Path) -> list[str]:
    return [scale["key"] for scale in json.loads((path / "info").read_bytes())["scales"]]


def whole_levels(path: Path) -> None:
    """Every level that a reader sees can be read."""
    io = IO()
    for mip in range(len(shown(path))):
        volume = io.volume(f"file://{path}", mip)
        io.read(volume, volume.bounds)


def test_levels_go_and_others_stay_as_they_were(layer: Path) -> None:
    before = files(layer)
    run.inline(delete(layer, keys=("8_8_40",)))
    after = files(layer)
    assert shown(layer) == ["4_4_40", "16_16_40"]
    assert set(after) == {name for name in before if not name.startswith("8_8_40/")}
    assert {n: d for n, d in after.items() if n != "info"} == {n: before[n] for n in after if n != "info"}
    assert "removed" not in (layer / "info").read_text()
    with pytest.raises(SpecError, match="no level 8_8_40; there are: 4_4_40, 16_16_40"):
        run.inline(delete(layer, keys=("8_8_40",)))


@pytest.mark.long
def test_readers_never_see_half_a_level(layer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_delete, "_SIDE", 1)
    stage, io = delete(layer, keys=("4_4_40", "16_16_40")), IO()
    before = files(layer)
    run.plan(stage)
    stage.prepare(io)
    assert files(layer) == before
    units = list(stage.units(io))
    for unit in [units[-1], *units, units[0]]:
        whole_levels(layer)
        stage.execute(unit, io)
        assert shown(layer) == ["8_8_40"]
        assert list(stage.units(io)) == units  # every worker still knows what is to go
    stage.finish(io)
    stage.finish(io)
    assert {name.split("/")[0] for name in files(layer)} == {"info", "8_8_40"}
    whole_levels(layer)


@settings(deadline=None, max_examples=6)
@given(corner=st.tuples(*[st.integers(-12, 8)] * 3), size=st.tuples(*[st.integers(1, 30)] * 3))
def test_only_chunks_wholly_in_the_box_go(tmp_path_factory: pytest.TempPathFactory, corner: Any, size: Any) -> None:
    path = create(tmp_path_factory.mktemp("delete"), grey((11, 9, 9, 1)), (-7, -3, -5))
    run.inline(Downsample(layer=str(path)))
    before, box, info = files(path), Box.sized(corner, size), IO().info(f"file://{path}")
    gone = set()
    for scale, factor in zip(info.scales, ((1, 1, 1), (2, 2, 1)), strict=True):
        volume = IO().volume(f"file://{path}", info.scales.index(scale))
        edge = Box((-7, -3, -5), (4, 6, 4))
        for chunk in chunks(volume, volume.bounds):
            if (chunk * factor) & edge in box:
                gone.add(f"{chunk_name(scale, chunk)}.gz")
    stage = delete(path, keys=("4_4_40", "8_8_40"), box=box)
    if gone:
        run.inline(stage)
    after = files(path)
    assert set(before) - set(after) == gone
    assert {name: before[name] for name in after} == after


def test_a_dry_run_lists_and_changes_nothing(layer: Path) -> None:
    before = files(layer)
    done = CliRunner().invoke(main, ["image", "delete", str(layer), "--keys", "8_8_40", "--dry-run"])
    assert done.exit_code == 0, done.output
    assert f"file://{layer}/8_8_40: the level, 60 chunks where all are stored" in done.output
    done = CliRunner().invoke(
        main, ["image", "delete", str(layer), "--keys", "4_4_40", "--box", "-3:5,3:11,-21:-16", "--dry-run"]
    )
    assert "in -3:5,3:11,-21:-17, 4 chunks" in done.output
    assert files(layer) == before


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "name one or more levels"),
        ({"keys": ("4_4_40", "4_4_40")}, "once each"),
        ({"keys": ("1_1_1",)}, "has no level 1_1_1"),
        ({"keys": ("4_4_40", "8_8_40", "16_16_40")}, "no level left"),
        ({"keys": ("4_4_40",), "box": "0:1,4:5,-10:-9"}, "nothing to do"),
    ],
)
def test_a_wrong_request_changes_nothing(layer: Path, fields: dict[str, Any], words: str) -> None:
    before = files(layer)
    with pytest.raises(SpecError, match=words):
        run.inline(delete(layer, **fields))
    assert files(layer) == before


def test_a_sharded_level_goes_with_its_shards(layer: Path) -> None:
    raw = json.loads((layer / "info").read_bytes())
    bits = {"preshift_bits": 0, "minishard_bits": 0, "shard_bits": 9}
    raw["scales"][1]["sharding"] = {"@type": "neuroglancer_uint64_sharded_v1", "hash": "identity", **bits}
    (layer / "info").write_text(json.dumps(raw))
    (layer / "8_8_40" / "0.shard").write_bytes(b"bytes")
    with pytest.raises(SpecError, match="has shards, of which no part is removed"):
        run.inline(delete(layer, keys=("8_8_40",), box="-7:14,3:30,-21:-4"))
    run.inline(delete(layer, keys=("8_8_40",)))
    assert shown(layer) == ["4_4_40", "16_16_40"]
    assert list((layer / "8_8_40").iterdir()) == []


def test_a_level_hidden_by_one_who_died_goes_with_the_next_run(layer: Path) -> None:
    stage, io = delete(layer, keys=("8_8_40",)), IO()
    stage.prepare(io)
    stage._hide(io.info(f"file://{layer}"), stage._scales(io.info(f"file://{layer}")), io)
    assert shown(layer) == ["4_4_40", "16_16_40"]
    run.inline(delete(layer, keys=("8_8_40",)))
    assert {name.split("/")[0] for name in files(layer)} == {"info", "4_4_40", "16_16_40"}
    assert "removed" not in (layer / "info").read_text()
