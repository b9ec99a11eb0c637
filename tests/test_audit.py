"""What is wrong with objects: each cause by itself, large objects, what cannot be decoded, what was read."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from igneous_ng import audit, folders, records
from igneous_ng.audit import Audit
from igneous_ng.decoding import WRONG, Decoder
from igneous_ng.errors import DataError, SpecError
from igneous_ng.geometry import Box
from igneous_ng.inputs import Inputs
from igneous_ng.ledger import Page
from igneous_ng.store import MISSING, Store, digest
from tests import rich

STORE = Store()
RUN = records.new_run({"stage": "x"}, "file:///x", 1)


def page(*entries: dict[str, Any], **line: Any) -> Page:
    whole = {"unit": 0, "reads": [], "writes": list(entries), "covers": [], **line}
    return Page(RUN, 0, whole, list(entries))


def entry(url: str, data: bytes, compress: Any = "none") -> dict[str, Any]:
    """Store an object; what a ledger says of it."""
    made = STORE.put(url, data, compress)
    assert made.stored is not None
    return {"url": url, "bytes": len(made.stored), "digest": made.digest}


@pytest.mark.parametrize("scheme", ["file", "mem"])
@pytest.mark.parametrize("compress", ["none", "gzip"])
@pytest.mark.parametrize("piece", [7, 1 << 20])
def test_every_cause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str, compress: Any, piece: int) -> None:
    monkeypatch.setattr(audit, "_PIECE", piece)
    good = [entry(f"{scheme}://{tmp_path}/{n}", random.Random(n).randbytes(50), compress) for n in range(3)]
    look = Audit(STORE)
    assert look.of(page(*good)) == []
    assert (look.objects, look.read, look.bytes) == (3, 3, sum(one["bytes"] for one in good))
    gone = {"url": f"{scheme}://{tmp_path}/nothing", "deleted": True}
    assert look.of(page(gone)) == []
    there = {"url": good[2]["url"], "deleted": True}
    entry(good[0]["url"], random.Random(9).randbytes(50), compress)
    STORE.delete(good[1]["url"])
    found = {one.url: one for one in look.of(page(good[0], good[1], there, gone))}
    assert {url: one.cause for url, one in found.items()} == {
        good[0]["url"]: audit.OTHER, good[1]["url"]: audit.MISSING, good[2]["url"]: audit.THERE,
    }  # fmt: skip
    assert found[good[0]["url"]].expected in (good[0]["digest"], f"{good[0]['bytes']} bytes")
    assert found[good[1]["url"]].expected == good[1]["digest"]
    entry(good[0]["url"], b"short", compress)
    for sample in (0.0, 1.0):
        (wrong,) = Audit(STORE, sample).of(page(good[0]))
        assert (wrong.cause, wrong.url) == (audit.OTHER, good[0]["url"])
    assert Audit(STORE, 0.0).of(page({**good[2], "digest": "0"})) == []


def test_what_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = entry(f"file://{tmp_path}/a", b"1")

    def refused(url: str) -> None:
        raise SpecError(f"{url} cannot be read: check the permissions")

    monkeypatch.setattr("igneous_ng.store.local.read", refused)
    (wrong,) = Audit(STORE).of(page(one))
    assert (wrong.cause, "check the permissions" in wrong.found) == (audit.UNREADABLE, True)


# Decoding.


@pytest.fixture(scope="module", params=[False, True], ids=["chunks", "shards"])
def layer(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    folder = tmp_path_factory.mktemp("rich")
    rich.make(folder, request.param)
    return folder / "seg"


def test_all_that_is_sound_can_be_decoded(layer: Path) -> None:
    decoder = Decoder(STORE)
    for name in rich.files(layer):
        decoder.check(folders.plain(f"file://{layer}/{name}"))
    decoder.check_box(f"file://{layer}", 0, Box((0, 0, 0), (64, 48, 32)))


def test_what_is_cut_off_cannot_be_decoded(layer: Path) -> None:
    checked = ("info", ".json", ":0", ".mesh.gz", ".index", ".shard")
    for name, data in rich.files(layer).items():
        if not name.endswith(checked) and not (name.startswith("skeletons/") and name.endswith(".gz")):
            continue
        if name.startswith("8_8_8") or len(data) < 8:
            continue  # of voxels: below; {} is whole in its first two bytes
        path = layer / name
        try:
            path.write_bytes(data[: len(data) * 2 // 3])
            with pytest.raises(WRONG):
                Decoder(STORE).check(folders.plain(f"file://{path}"))
        finally:
            path.write_bytes(data)


def test_chunks_that_cannot_be_decoded_are_told_by_their_box(layer: Path) -> None:
    name, data = next((n, d) for n, d in rich.files(layer).items() if n.startswith("8_8_8/"))
    path, box = layer / name, "0:64,0:48,0:32"
    cover = {"layer": f"file://{layer}", "mip": 0, "box": box}
    good = page({"url": f"file://{layer}/info", "bytes": 0, "digest": ""}, covers=[cover])
    sound = [{**entry_of(layer / "info")}]
    try:
        path.write_bytes(data[:-20] + bytes(20))
        (wrong,) = Audit(STORE, decode=True).of(Page(RUN, 0, good.line, sound))
        assert (wrong.cause, wrong.url) == (audit.UNDECODABLE, f"file://{layer} mip 0 {box}")
        assert Audit(STORE).of(Page(RUN, 0, good.line, sound)) == []
    finally:
        path.write_bytes(data)


def entry_of(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    return {"url": f"file://{path}", "bytes": len(data), "digest": digest(data)}


def test_a_box_is_decoded_part_by_part(layer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = list[Box]()
    monkeypatch.setattr("igneous_ng.volume.Volume.read", lambda volume, box: seen.append(box))
    whole = Box((0, 0, 0), (64, 48, 32))
    for most, count in ((1, 6), (4 * 64 * 32 * 16, 4), (4 * 64 * 48 * 16, 2), (1 << 30, 1)):
        monkeypatch.setattr("igneous_ng.decoding._VOXEL_BYTES", most)
        seen.clear()
        Decoder(STORE).check_box(f"file://{layer}", 0, whole)
        assert (len(seen), sum(box.voxels for box in seen)) == (count, whole.voxels)
        assert all(a % 16 == 0 for box in seen for a in box.lo)


# Inputs.


def test_what_a_unit_read_is_compared_but_for_what_it_wrote_itself(tmp_path: Path) -> None:
    place = f"file://{tmp_path}"
    a, b = entry(f"{place}/a", b"1"), entry(f"{place}/b", b"2")
    reads = [{"url": f"{place}/{n}", "digest": digest(d)} for n, d in (("a", b"1"), ("b", b"2"), ("c", b"3"))]
    reads += [{"list": place, "digest": "old"}, {"url": f"{place}/d", "digest": MISSING}]
    line = page(reads=reads).line
    inputs = Inputs(STORE)
    assert [one.url for one in audit.changed(line, inputs)] == [f"{place}/c", f"the names in {place}"]
    entry(f"{place}/a", b"other")
    entry(f"{place}/d", b"new")
    changed = list(audit.changed(line, inputs))
    assert [one.url.rpartition("/")[2] for one in changed if "names" not in one.url] == ["a", "c", "d"]
    assert {one.cause for one in changed} == {audit.CHANGED}
    own = {**line, "writes": [a, b, {"url": f"{place}/c", "deleted": True}, {**b, "url": f"{place}/d", "kept": True}]}
    assert [one.url for one in audit.changed(own, inputs)] == [f"{place}/d"]
    voxels = {"layer": place, "mip": 0, "box": "0:8,0:8,0:8"}
    for box, mine in (("8:16,0:8,0:8", False), ("7:9,7:8,0:1", True)):
        assert audit.own(voxels, page(covers=[{"layer": place, "mip": 0, "box": box}]).line) == mine
        assert not audit.own(voxels, page(covers=[{"layer": place, "mip": 1, "box": box}]).line)


def test_an_input_that_cannot_be_read_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def torn(entry: Any) -> str:
        raise DataError("it is torn")

    inputs = Inputs(STORE)
    monkeypatch.setattr(inputs, "digest", torn)
    (wrong,) = audit.changed(page(reads=[{"url": f"file://{tmp_path}/a", "digest": "1"}]).line, inputs)
    assert wrong.found == "it is torn"
