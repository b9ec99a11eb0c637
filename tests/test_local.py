"""Files under servers that lose answers, sweeps of the scratch folder, and what a loss of power may undo."""

from __future__ import annotations

import errno
import os
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from igneous_ng import local
from igneous_ng.errors import TransientError
from igneous_ng.store import Store
from tests.faults import EMPTY, KINDS, NEW, OLD, Step, Steps, failing, steps_of, tree, url

STORE = Store()


# File servers, which lose answers and forget files.


def unanswered(call: Callable[..., None], number: int) -> Callable[..., None]:
    """Does as asked, and answers as to the second copy of the request."""

    def answered(*args: str) -> None:
        call(*args)
        raise OSError(number, os.strerror(number), *args[:1])

    return answered


@pytest.mark.parametrize("scratch", [None, "tmp"])
def test_a_lost_answer_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scratch: str | None) -> None:
    store = Store(scratch=scratch and url(tmp_path / scratch))
    store.put(url(tmp_path / "name"), OLD)
    monkeypatch.setattr(os, "replace", unanswered(os.replace, errno.ENOENT))
    monkeypatch.setattr(os, "link", unanswered(os.link, errno.EEXIST))
    store.put(url(tmp_path / "name"), NEW)
    assert store.create(url(tmp_path / "created"), NEW)
    assert not store.create(url(tmp_path / "name"), OLD)
    store.sweep()
    assert tree(tmp_path) == {"name": NEW, "created": NEW}


def test_of_many_creators_one_succeeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "exists", lambda _: False)  # as when all of them look at the same time
    place, contents = url(tmp_path / "new" / "name"), [bytes([i]) * 500 for i in range(32)]
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda data: Store(scratch=url(tmp_path / "tmp")).create(place, data), contents))
    assert [data for data, first in zip(contents, made, strict=True) if first] == [STORE.get(place)]
    assert os.listdir(tmp_path / "tmp") == []


# The scratch folder.


def test_temporaries_are_made_in_the_scratch_folder(tmp_path: Path) -> None:
    store = Store(scratch=url(tmp_path / "runs" / "tmp"))
    steps = steps_of(lambda: (store.put(url(tmp_path / "name"), NEW), store.create(url(tmp_path / "created"), NEW)))
    opened = [os.path.dirname(step.path) for step in steps if step.call == "open"]
    assert opened == [str(tmp_path / "runs" / "tmp")] * 2
    assert os.listdir(tmp_path / "runs" / "tmp") == []


def test_a_scratch_url_that_is_no_folder_of_files_is_left_alone(tmp_path: Path) -> None:
    store = Store(scratch="s3://bucket/tmp")
    store.put(url(tmp_path / "name"), NEW)
    store.sweep()
    assert tree(tmp_path) == {"name": NEW}


def test_who_comes_after_the_sweep_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch, place = url(tmp_path / "runs" / "tmp"), url(tmp_path / "layer" / "name")
    late = Store(scratch=scratch)
    late.put(url(tmp_path / "other"), OLD)
    with monkeypatch.context() as patch:  # swept between its writing and its naming
        patch.setattr(os, "fsync", lambda _: Store(scratch=scratch).sweep())
        with pytest.raises(TransientError, match=r"removed meanwhile.*tried again"):
            late.put(place, NEW)
    for call in (late.put, late.create):
        with pytest.raises(TransientError, match=r"scratch folder .* is gone"):
            call(place, NEW)
    assert tree(tmp_path) == {"other": OLD, "runs": EMPTY}
    Store(scratch=scratch).put(place, NEW)  # a later attempt begins anew
    assert STORE.get(place) == NEW


def test_a_sweep_takes_what_the_dead_left_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp" / ".tmp-0123").write_bytes(b"half")
    (tmp_path / "tmp" / "mine").write_bytes(b"whole")
    store = Store(scratch=url(tmp_path / "tmp"))
    store.sweep()
    assert tree(tmp_path) == {"tmp/mine": b"whole"}
    (tmp_path / "tmp" / "mine").unlink()
    store.sweep()
    store.sweep()
    assert tree(tmp_path) == {}


def test_threads_make_the_scratch_folder_once(tmp_path: Path) -> None:
    for i in range(20):
        store = Store(scratch=url(tmp_path / f"{i}" / "tmp"))
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda n, to=store, i=i: to.put(url(tmp_path / f"{i}" / f"{n}"), NEW), range(4)))


# What a loss of power may undo.


def synced(body: Callable[[], object], below: Path) -> list[str]:
    """The folders below a place that ``body`` syncs, in order, relative to it."""
    steps = [step for step in steps_of(body) if step.call == "fsync" and os.path.isdir(step.path)]
    return [os.path.relpath(step.path, below) for step in steps if step.path.startswith(str(below))]


def test_a_flush_syncs_each_folder_once_and_what_is_above_it(tmp_path: Path) -> None:
    store = Store(scratch=url(tmp_path / "tmp"))
    names = [f"{folder}/{i}" for folder in ("a/b", "a/c") for i in range(5)]
    assert synced(lambda: [store.put(url(tmp_path / name), NEW) for name in names], tmp_path) == []
    assert sorted(synced(store.flush, tmp_path)) == [".", "a", "a", "a/b", "a/c"]
    assert synced(store.flush, tmp_path) == []
    store.delete(url(tmp_path / "a" / "c" / "0"))
    store.delete(url(tmp_path / "a" / "b" / "none"))
    assert synced(store.flush, tmp_path) == ["a/c"]
    store.put(url(tmp_path / "a" / "d" / "0"), NEW)  # in a folder that was made after the others were synced
    assert sorted(synced(store.flush, tmp_path)) == ["a", "a/d"]
    store.put(url(tmp_path / "a" / "d" / "0"), NEW)
    shutil.rmtree(tmp_path / "a" / "d")
    store.flush()


def test_a_flush_that_failed_is_still_to_be_done(tmp_path: Path) -> None:
    store = Store()
    store.put(url(tmp_path / "layer" / "name"), NEW)
    for number, (kind, text) in KINDS.items():
        with pytest.MonkeyPatch.context() as monkeypatch:
            Steps(monkeypatch, failing(number, 1))
            with pytest.raises(kind, match=f"layer .*synced .*{text}"):
                store.flush()
    assert synced(store.flush, tmp_path) == ["layer", "."]


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_that_cannot_sync_folders_is_taken_as_it_is(tmp_path: Path, number: int) -> None:
    store = Store()
    store.put(url(tmp_path / "name"), NEW)
    with pytest.MonkeyPatch.context() as monkeypatch:
        Steps(monkeypatch, failing(number, 1))
        store.flush()


def test_a_flush_waits_for_another_that_syncs_its_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, begun, go_on = Store(), threading.Event(), threading.Event()
    store.put(url(tmp_path / "name"), NEW)

    def hold(_: Step) -> None:
        begun.set()
        assert go_on.wait(10)

    Steps(monkeypatch, hold)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(store.flush)
        assert begun.wait(10)
        second = pool.submit(store.flush)
        time.sleep(0.05)
        assert not second.done()
        go_on.set()
        first.result(10)
        second.result(10)
