"""Fingerprints against a plain tree, and what they must not depend on."""

from __future__ import annotations

import dataclasses
import json
import uuid
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from igneous_ng import cleaning, cli, history, ledger, records, run
from igneous_ng.errors import DataError, SpecError
from igneous_ng.fingerprints import Fingerprint, leaf, node, root, take
from igneous_ng.formats import info as infos
from igneous_ng.formats.info import Info, chunk_box, chunk_name, new_info
from igneous_ng.geometry import Box, Vec3, vec
from igneous_ng.records import Message
from igneous_ng.stages.image_create import Create
from igneous_ng.stages.image_downsample import Downsample
from igneous_ng.stages.mesh import MeshForge, MeshMerge
from igneous_ng.store import Store, digest
from tests.layers import grey

STORE = Store()
keys = st.one_of(st.integers(0, 80), st.integers(0, (1 << 64) - 1), st.integers((1 << 64) - 90, (1 << 64) - 1))


def plain(leaves: Mapping[int, bytes], bits: int = 63) -> bytes:
    """The digest of a tree, as the definition says it."""
    if len(leaves) == 1:
        return next(iter(leaves.values()))
    parts: dict[int, dict[int, bytes]] = {}
    for key in sorted(leaves):
        parts.setdefault(key >> bits, {})[key] = leaves[key]
    if len(parts) == 1:
        return plain(leaves, bits - 3)
    return node(b"".join(plain(part, bits - 3) for part in parts.values()))


@given(st.dictionaries(keys, st.binary(min_size=16, max_size=16), min_size=1, max_size=60))
def test_the_root_is_that_of_the_plain_tree(leaves: dict[int, bytes]) -> None:
    order = sorted(leaves)
    digests = np.array([list(leaves[key]) for key in order], np.uint8)
    assert root(np.array(order, np.uint64), digests) == plain(leaves)


# Layers that are only said to be there.


SIDE = 5
CELLS = [vec(at) for at in product(range(SIDE), repeat=3)]


def info() -> Info:
    bounds = Box((-3, 7, 0), (-3 + 4 * SIDE, 7 + 4 * SIDE, 4 * SIDE - 1))
    return new_info(kind="image", dtype="uint8", channels=1, bounds=bounds, resolution=(8, 8, 40), chunk=(4, 4, 4),
                    encoding="raw")  # fmt: skip


def name(at: Vec3) -> str:
    scale = info().scales[0]
    return chunk_name(scale, chunk_box(scale, at))


def content(at: Vec3, salt: int = 0) -> str:
    return digest(f"{at}{salt}".encode())


def said(*parts: Mapping[str, str | None]) -> str:
    """A layer of which each of ``parts`` is what a unit of a run of its own wrote, or removed: digests by name."""
    layer = f"mem://fingerprints/{uuid.uuid4().hex}"
    STORE.put(f"{layer}/info", infos.encode(info()))
    for number, part in enumerate(parts):
        new = records.new_run({"stage": "x", "number": number}, layer, 1)
        entries = [{"url": f"{layer}/{one}", **_said(stored)} for one, stored in part.items()]
        records.save(STORE, new)
        records.write(STORE, Message(new, 0, 1), {0: {"unit": 0, "reads": [], "writes": entries, "covers": []}})
    return layer


def _said(stored: str | None) -> dict[str, Any]:
    return {"deleted": True} if stored is None else {"digest": stored, "bytes": 10}


ALL = {name(at): content(at) for at in CELLS} | {f"mesh/{n}:0": digest(b"%d" % n) for n in range(9)}


def morton(at: Vec3) -> int:
    return sum((at[axis] >> bit & 1) << 3 * bit + axis for bit in range(4) for axis in range(3))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=len(ALL), max_size=len(ALL)), st.randoms())
def test_neither_runs_nor_their_order_matter(homes: list[int], chance: Any) -> None:
    names = list(ALL)
    chance.shuffle(names)
    parts = [{n: ALL[n] for n, home in zip(names, homes, strict=True) if home == one} for one in range(4)]
    assert take(STORE, said(*parts)) == take(STORE, said(ALL))


def test_the_parts_are_those_of_the_plain_tree() -> None:
    found = take(STORE, said(ALL))
    chunks = {morton(at): leaf(name(at), content(at)) for at in CELLS}
    assert [(p.folder, p.kind, p.objects, p.bytes) for p in found.parts] == [
        ("8_8_40", "chunks", 125, 1250), ("mesh", "objects", 9, 90),
    ]  # fmt: skip
    assert found.parts[0].digest == plain(chunks).hex()


def box(lo: Vec3, cells: int) -> Box:
    """The voxels of so many chunks along each axis."""
    start = info().scales[0].bounds.lo
    corner = vec(o + 4 * a for o, a in zip(start, lo, strict=True))
    return Box.sized(corner, (4 * cells, 4 * cells, 4 * cells))


def region(layer: str, lo: Vec3, cells: int) -> str:
    (part,) = take(STORE, layer, (0, box(lo, cells))).parts
    return part.digest


def test_aligned_regions_are_nodes_of_the_tree() -> None:
    layer = said(ALL)
    for cells in (1, 2, 4):
        for lo in (vec(n * cells for n in at) for at in product(range(-(-SIDE // cells)), repeat=3)):
            inside = [at for at in CELLS if all(a <= b < a + cells for a, b in zip(lo, at, strict=True))]
            assert region(layer, lo, cells) == plain({morton(at): leaf(name(at), content(at)) for at in inside}).hex()
    octants = [region(layer, vec(4 * n for n in reversed(at)), 4) for at in product(range(2), repeat=3)]
    assert take(STORE, layer).parts[0].digest == node(bytes.fromhex("".join(octants))).hex()


@pytest.mark.parametrize("changed", [(0, 0, 0), (4, 1, 3)])
def test_a_change_changes_the_nodes_above_it_and_no_others(changed: Vec3) -> None:
    before, after = said(ALL), said(ALL, {name(changed): content(changed, salt=1)})
    for cells in (1, 2, 4, 8):
        for lo in (vec(n * cells for n in at) for at in product(range(-(-SIDE // cells)), repeat=3)):
            above = all(a <= b < a + cells for a, b in zip(lo, changed, strict=True))
            assert (region(before, lo, cells) != region(after, lo, cells)) == above
    old, new = take(STORE, before), take(STORE, after)
    assert old.digest != new.digest
    assert [a == b for a, b in zip(old.parts, new.parts, strict=True)] == [False, True]


def test_it_tells_what_is_there_and_not_how_it_came_to_be() -> None:
    less = {n: stored for n, stored in ALL.items() if n not in (name((1, 2, 3)), "mesh/3:0")}
    again = said({**ALL, name((0, 0, 0)): content((9, 9, 9))}, {n: None for n in ALL if n not in less}, less)
    assert take(STORE, again) == take(STORE, said(less))


def test_what_is_no_chunk_of_the_level_hangs_apart() -> None:
    found = take(STORE, said({name((0, 0, 0)): content((0, 0, 0)), "8_8_40/0-3_0-3_0-3": content((0, 0, 0), 1)}))
    assert [(p.folder, p.kind, p.objects) for p in found.parts] == [("8_8_40", "chunks", 1), ("8_8_40", "objects", 1)]


def test_where_nothing_is_recorded_there_is_no_fingerprint() -> None:
    with pytest.raises(DataError, match="no record tells of an object"):
        take(STORE, said({}))


def test_a_box_needs_a_level() -> None:
    layer = said(ALL)
    with pytest.raises(SpecError, match="has no mip 1"):
        take(STORE, layer, (1, box((0, 0, 0), 1)))
    STORE.delete(f"{layer}/info")
    with pytest.raises(DataError, match="no layer of voxels"):
        take(STORE, layer, (0, box((0, 0, 0), 1)))
    assert take(STORE, said(ALL), (0, Box((900, 900, 900), (901, 901, 901)))).parts == ()


# Layers that are there.


def create(folder: str, source: Path, cell: int, **fields: Any) -> Create:
    side = (16, 16, 16)
    return Create(source=str(source), layer=folder, axes="xyz", chunk=side, cell=(cell, cell, cell), **fields)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    np.save(tmp_path / "em.npy", grey((60, 40, 30, 1))[..., 0])
    return tmp_path / "em.npy"


@pytest.mark.parametrize("sharded", [False, True])
def test_equal_layers_have_equal_fingerprints(tmp_path: Path, source: Path, sharded: bool) -> None:
    fields = {"sharded": True, "memory": 100_000_000} if sharded else {}
    places = [f"file://{tmp_path}/a", f"file://{tmp_path}/b", f"mem://fingerprints/{uuid.uuid4().hex}"]
    found = list[Fingerprint]()
    for number, place in enumerate(places):
        stage = create(place, source, (64, 16, 32)[number] if not sharded else 64, **fields)
        run.here(stage, processes=2) if number == 1 else run.inline(stage)
        run.inline(Downsample(layer=place, num_mips=1))
        found.append(take(STORE, place))
    assert found[0] == found[1] == found[2]
    kinds = {part.folder: part.kind for part in found[0].parts}
    assert kinds == {"": "objects", "1_1_1": "shards" if sharded else "chunks", "2_2_1": "chunks"}
    whole = take(STORE, places[0], (0, Box((0, 0, 0), (60, 40, 30))))
    assert whole.parts == tuple(part for part in found[0].parts if part.folder == "1_1_1")


def test_cleaned_intermediates_do_not_count_until_they_are_made_again(tmp_path: Path) -> None:
    labels = np.zeros((32, 32, 32), np.uint32)
    labels[4:20, 4:20, 4:20] = 3
    np.save(tmp_path / "labels.npy", labels)
    layer = f"file://{tmp_path}/seg"
    run.inline(create(layer, tmp_path / "labels.npy", 32, kind="segmentation"))
    forge = MeshForge(layer=layer, cell=(32, 32, 32), buckets=2)
    run.inline(forge)
    run.inline(MeshMerge(layer=layer))
    before = take(STORE, layer)
    for waste in cleaning.wastes(STORE, layer, 0.0):
        cleaning.remove(STORE, waste)
    after = take(STORE, layer)
    assert {part.folder for part in before.parts} - {part.folder for part in after.parts} == {"mesh/fragments"}
    assert set(after.parts) < set(before.parts)
    run.inline(forge)
    run.inline(MeshMerge(layer=layer))
    assert take(STORE, layer) == before


def test_notes_of_what_was_cleaned_are_merged(tmp_path: Path) -> None:
    layer = f"file://{tmp_path}/a"
    old = records.new_run({"stage": "x"}, layer, 1)
    for folder in ("b", "c"):
        ledger.note_cleaned(STORE, layer, f"{layer}/{folder}")
    new = records.new_run({"stage": "x"}, layer, 1)
    assert ledger.cleaned(STORE, layer, old) == (f"{layer}/b/", f"{layer}/c/")
    assert ledger.cleaned(STORE, layer, new) == ()
    assert history.begun_at(old) < history.begun_at(new)


# The command.


def test_the_command_says_it_in_words_and_in_json(tmp_path: Path, source: Path) -> None:
    layer = f"{tmp_path}/a"
    run.inline(create(f"file://{layer}", source, 32))
    found = take(STORE, f"file://{layer}")
    said = CliRunner().invoke(cli.main, ["fingerprint", layer])
    assert said.exit_code == 0, said.output
    assert said.output.startswith(f"{found.digest}\n")
    assert f"{found.parts[1].digest}  1_1_1  24 chunks" in said.output
    raw = CliRunner().invoke(cli.main, ["fingerprint", layer, "--json"])
    assert json.loads(raw.output) == json.loads(json.dumps(dataclasses.asdict(found)))
    part = CliRunner().invoke(cli.main, ["fingerprint", layer, "--box", "0:16,0:16,0:16", "--json"])
    assert [one["objects"] for one in json.loads(part.output)["parts"]] == [1]
