"""Bytes at URLs: whole or not at all, one content for a name, and errors of the right kind."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any

import brotli
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igneous_ng.errors import DataError, SpecError, TransientError
from igneous_ng.store import Store, compressed, decompressed, digest

STORE = Store()


def url(path: Path) -> str:
    return f"file://{path}"


def files(path: Path) -> dict[str, bytes]:
    return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_compression_is_undone_and_gives_the_same_bytes_twice(data: bytes) -> None:
    assert compressed(data, "gzip") == compressed(data, "gzip")
    assert decompressed(compressed(data, "gzip"), ".gz", "x") == data
    assert decompressed(brotli.compress(data), ".br", "x") == data
    assert decompressed(compressed(data, "none"), "", "x") == data


def test_a_torn_stream_is_bad_data() -> None:
    content = os.urandom(300)
    for suffix, whole in ((".gz", gzip.compress(content)), (".br", brotli.compress(content))):
        for n in (0, 1, 5, len(whole) // 2, len(whole) - 1):
            if suffix == ".gz" and n == 0:
                continue  # an empty gzip file is one of no members
            with pytest.raises(DataError, match=f"^file:///a{suffix}: not a whole"):
                decompressed(whole[:n], suffix, "file:///a")
    flipped = bytearray(gzip.compress(content))
    flipped[100] ^= 1
    with pytest.raises(DataError, match="not a whole gz stream"):
        decompressed(bytes(flipped), ".gz", "x")


def test_digest_is_of_the_content() -> None:
    assert digest(b"") == "cae66941d9efbd404e4d88758ea67670"
    assert digest(b"a") != digest(b"b")


def test_what_is_put_is_got(tmp_path: Path) -> None:
    place = url(tmp_path / "deep" / "er" / "name")
    assert STORE.get(place) is None
    assert not STORE.exists(place)
    assert STORE.put(place, b"plain") == b"plain"
    assert (STORE.get(place), STORE.exists(place)) == (b"plain", True)
    stored = STORE.put(place, b"packed", "gzip")
    assert gzip.decompress(stored) == b"packed"
    assert STORE.get(place) == b"packed"
    assert files(tmp_path) == {"deep/er/name.gz": stored}


@pytest.mark.parametrize("compress", ["gzip", "none"])
def test_a_name_has_one_content(tmp_path: Path, compress: Any) -> None:
    for suffix in ("", ".gz", ".br"):
        (tmp_path / f"name{suffix}").write_bytes(b"stale")
    stored = STORE.put(url(tmp_path / "name"), b"new", compress)
    assert files(tmp_path) == {"name.gz" if compress == "gzip" else "name": stored}


def test_objects_of_others_are_read_under_any_suffix(tmp_path: Path) -> None:
    (tmp_path / "a.br").write_bytes(brotli.compress(b"one"))
    (tmp_path / "b.gz").write_bytes(gzip.compress(b"two"))
    assert STORE.get(url(tmp_path / "a")) == b"one"
    assert STORE.get(url(tmp_path / "b")) == b"two"
    assert STORE.list(url(tmp_path)) == ["a", "b"]
    (tmp_path / "b.gz").write_bytes(gzip.compress(b"two")[:-3])
    with pytest.raises(DataError, match=r"b\.gz: not a whole gz stream"):
        STORE.get(url(tmp_path / "b"))


def broken(*_: Any) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("step", ["os.fsync", "pathlib.Path.replace"])
def test_a_failed_put_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    STORE.put(url(tmp_path / "name"), b"old", "gzip")
    before = files(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(step, broken)
        for compress in ("gzip", "none"):
            with pytest.raises(TransientError, match="name.*: writing failed .*No space"):
                STORE.put(url(tmp_path / "name"), b"new", compress)
    assert files(tmp_path) == before
    assert STORE.get(url(tmp_path / "name")) == b"old"


def test_nothing_is_renamed_before_it_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, bytes]] = []
    monkeypatch.setattr(os, "fsync", lambda _: seen.append(files(tmp_path)))
    STORE.put(url(tmp_path / "name"), b"content")
    ((name, content),) = seen[0].items()
    assert content == b"content"
    assert name != "name"


def test_temporary_files_are_not_listed(tmp_path: Path) -> None:
    (tmp_path / ".tmp-0123").write_bytes(b"half")
    (tmp_path / "folder").mkdir()
    STORE.put(url(tmp_path / "whole"), b"")
    assert STORE.list(url(tmp_path)) == ["folder", "whole"]
    assert STORE.list(url(tmp_path / "absent")) == []
    assert STORE.list(url(tmp_path / "whole")) == []


def test_a_place_that_cannot_be_written_is_a_wrong_request(tmp_path: Path) -> None:
    STORE.put(url(tmp_path / "file"), b"")
    with pytest.raises(SpecError, match="cannot be written"):
        STORE.put(url(tmp_path / "file" / "below"), b"")
    with pytest.raises(SpecError, match="https is read-only"):
        STORE.put("https://host/name", b"")
    assert STORE.get(url(tmp_path / "file" / "below")) is None
    assert STORE.get(url(tmp_path)) is None


def test_a_file_that_cannot_be_read_now_may_be_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "open", broken)
    with pytest.raises(TransientError, match="reading failed"):
        STORE.get(url(tmp_path / "name"))


def test_a_span_is_of_plain_objects(tmp_path: Path) -> None:
    STORE.put(url(tmp_path / "name"), b"0123456789")
    assert STORE.get(url(tmp_path / "name"), (2, 5)) == b"234"
    assert STORE.get(url(tmp_path / "name"), (8, 50)) == b"89"
    assert STORE.get(url(tmp_path / "absent"), (0, 1)) is None
    STORE.put(url(tmp_path / "name"), b"0123456789", "gzip")
    with pytest.raises(DataError, match="a compressed object has no ranges"):
        STORE.get(url(tmp_path / "name"), (2, 5))


def test_json_comes_back_and_what_is_none_is_refused(tmp_path: Path) -> None:
    place = url(tmp_path / "a.json")
    assert STORE.get_json(place) is None
    stored = STORE.put_json(place, {"id": str(2**64 - 1), "list": [1, 2.5, None]})
    assert STORE.get_json(place) == {"id": str(2**64 - 1), "list": [1, 2.5, None]}
    assert stored.endswith(b"\n")
    STORE.put(place, b'{"half": ')
    with pytest.raises(DataError, match=r"a\.json: not JSON"):
        STORE.get_json(place)


def test_the_attic_keeps_what_is_replaced(tmp_path: Path) -> None:
    attic = url(tmp_path / "attic")
    keeping = Store(attic=attic)
    place = url(tmp_path / "name")
    for content in (b"first", b"second", b"third"):
        keeping.put(place, content, "gzip")
    kept = f"{attic}/file/{tmp_path / 'name'}"
    assert STORE.list(kept) == sorted([digest(b"first"), digest(b"second")])
    assert STORE.get(f"{kept}/{digest(b'first')}") == b"first"
    assert STORE.get(place) == b"third"


def test_memory_is_a_store_too(tmp_path: Path) -> None:
    place = f"mem://test-store/{tmp_path.name}"
    assert STORE.get(f"{place}/a") is None
    assert not STORE.exists(f"{place}/a")
    STORE.put(f"{place}/a", b"0123456789")
    STORE.put(f"{place}/deep/b", b"packed", "gzip")
    assert STORE.get(f"{place}/a") == b"0123456789"
    assert STORE.get(f"{place}/a", (2, 5)) == b"234"
    assert STORE.get(f"{place}/deep/b") == b"packed"
    assert STORE.exists(f"{place}/deep/b")
    assert STORE.list(place) == ["a", "deep"]
    STORE.put(f"{place}/deep/b", b"plain")
    assert STORE.get(f"{place}/deep/b") == b"plain"
    Store(attic=f"{place}/attic").put(f"{place}/a", b"new")
    kept = f"{place}/attic/{place.replace('://', '/')}/a/{digest(b'0123456789')}"
    assert (STORE.get(f"{place}/a"), STORE.get(kept)) == (b"new", b"0123456789")


def test_a_remote_store_that_fails_may_work_later(monkeypatch: pytest.MonkeyPatch) -> None:
    cloudfiles = pytest.importorskip("cloudfiles")
    monkeypatch.setattr(cloudfiles, "CloudFiles", broken)
    for call in (
        lambda: STORE.get("s3://bucket/a"),
        lambda: STORE.put("s3://bucket/a", b""),
        lambda: STORE.list("s3://bucket/a"),
        lambda: STORE.exists("s3://bucket/a"),
    ):
        with pytest.raises(TransientError, match="s3://bucket/a.*will be tried again"):
            call()
