"""A store on disks that are full, denied, broken, slow or elsewhere: the right error, and nothing torn or left over."""

from __future__ import annotations

import builtins
import errno
import os
import resource
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from igneous_ng import local
from igneous_ng.errors import SpecError, TransientError
from igneous_ng.store import Compression, Store
from tests.faults import ACTIONS, COMPRESSIONS, KINDS, NEW, OLD, Steps, failing, steps_of, tree, url

STORE = Store()
THOROUGHLY = {"put in a new folder", "create in a new folder", "delete", "put and flush"}  # all steps there are


# Injected into writing.


@pytest.mark.parametrize("scratch", [False, True], ids=["beside", "scratch"])
@pytest.mark.parametrize("name", ACTIONS)
def test_a_fault_at_any_step_is_told_and_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, scratch: bool
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)
    action, root = ACTIONS[name], tmp_path / "0"
    action.begin(root)
    steps = steps_of(lambda: action.run(root, scratch))
    wanted = action.finish(root, scratch)
    faults = KINDS if name in THOROUGHLY else (errno.EIO, errno.EROFS)
    for step, (number, lasting) in product(steps, [(errno.ENOSPC, True), *((number, False) for number in faults)]):
        kind, text = KINDS[number]
        action.begin(root)
        with pytest.MonkeyPatch.context() as patch:
            Steps(patch, failing(number, step.number, lasting and not step.tidies))
            with nullcontext() if step.tidies else pytest.raises(kind, match=f"^{tmp_path}.*{text}"):
                action.run(root, scratch)
        action.check(root)
        left = [path for path in tree(root) if ".tmp-" in path]
        assert not left or step.tidies
        if scratch or not left:
            assert action.finish(root, scratch) == wanted


def test_a_disk_that_writes_little_at_a_time_gets_all_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: write(handle, data[:7]))
    STORE.put(url(tmp_path / "name"), NEW)
    assert STORE.get(url(tmp_path / "name")) == NEW


@pytest.mark.parametrize("how", COMPRESSIONS)
def test_slow_storage_shows_whole_contents_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: Compression
) -> None:
    place, contents = url(tmp_path / "layer" / "name"), [bytes([i]) * 3000 for i in range(16)]
    store = Store(scratch=url(tmp_path / "tmp"))
    store.put(place, contents[0], how)
    Steps(monkeypatch, lambda _: time.sleep(0.002))
    with ThreadPoolExecutor(4) as pool:
        writers = [pool.submit(store.put, place, data, how) for data in contents]
        seen = []
        while not all(writer.done() for writer in writers):
            seen.append(STORE.get(place))
    assert all(writer.exception() is None for writer in writers)
    assert len(seen) > 10
    assert set(seen) <= set(contents)
    assert len(tree(tmp_path / "layer")) == 1


def test_writers_of_two_compressions_never_remove_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Steps(monkeypatch, lambda _: time.sleep(0.001))
    with ThreadPoolExecutor(2) as pool:
        for i in range(40):
            place = url(tmp_path / f"{i}")
            list(pool.map(lambda how, place=place: STORE.put(place, NEW, how), COMPRESSIONS))
            assert STORE.get(place) == NEW


# Injected into reading.


def raising(number: int) -> Callable[..., Any]:
    def call(path: str, *_: Any) -> Any:
        raise OSError(number, os.strerror(number), path)

    return call


@pytest.mark.parametrize("number", KINDS)
def test_what_cannot_be_read_is_not_taken_for_absent(tmp_path: Path, number: int) -> None:
    place = url(tmp_path / "folder" / "name")
    STORE.put(place, OLD)
    kind, text = KINDS[number]
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(local, "open", raising(number), raising=False)
        monkeypatch.setattr(os, "listdir", raising(number))
        monkeypatch.setattr(os, "stat", raising(number))
        for call in (STORE.get, STORE.get_json):
            with pytest.raises(kind, match=f"name.* read .*{text}"):
                call(place)
        with pytest.raises(kind, match=f"folder .*listed .*{text}"):
            STORE.list(url(tmp_path / "folder"))
        if number != errno.ENOSPC:  # whose advice itself looks at the disk
            with pytest.raises(kind, match=f"name .*looked for .*{text}"):
                STORE.exists(place)
            with pytest.raises(kind, match=f"name .*looked for .*{text}"):
                STORE.create(place, NEW)


def test_an_object_is_found_while_its_compression_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, stat = url(tmp_path / "name"), os.stat

    def late(path: str, mode: str) -> Any:
        if path.endswith(".gz") and os.path.exists(path):
            STORE.put(place, NEW)  # in the very moment after we looked for a plain one
        return builtins.open(path, mode)

    def late_stat(path: str) -> os.stat_result:
        if path.endswith(".gz"):
            STORE.put(place, NEW)
        return stat(path)

    STORE.put(place, OLD, "gzip")
    monkeypatch.setattr(local, "open", late, raising=False)
    assert STORE.get(place) == NEW
    monkeypatch.undo()
    STORE.put(place, OLD, "gzip")
    monkeypatch.setattr(os, "stat", late_stat)
    assert STORE.exists(place)


# Real disks.


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """A file system of its own at ``folder``; skips where this user may mount none."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted by this user")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=1m") as disk:
        place = url(disk / "layer" / "name")
        STORE.put(place, bytes(400_000))
        before = tree(disk)
        for store in (STORE, Store(scratch=url(disk / "tmp"))):
            with pytest.raises(TransientError, match="name was not written .*No space.*the disk is full"):
                store.put(place, bytes(900_000))
            with pytest.raises(TransientError, match="new was not written .*the disk is full"):
                store.create(url(disk / "layer" / "new"), bytes(900_000))
            store.sweep()
            assert tree(disk) == before
        STORE.put(place, bytes(300_000))
        assert STORE.get(place) == bytes(300_000)


def test_a_disk_without_inodes(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=1m,nr_inodes=20") as disk:
        while os.statvfs(disk).f_favail:
            STORE.put(url(disk / f"{len(tree(disk))}"), b"content")
        with pytest.raises(TransientError, match=r"not written \(No space.*no inodes are left"):
            STORE.put(url(disk / "more"), b"content")
        with pytest.raises(TransientError, match="no inodes are left"):
            STORE.put(url(disk / "0"), b"replaced")
        assert all(data == b"content" for data in tree(disk).values())
        assert len(tree(disk)) > 10


def test_a_disk_that_turns_read_only(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=1m") as disk:
        store, place = Store(scratch=url(disk / "tmp")), url(disk / "name")
        store.put(place, OLD)
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        for call in (
            lambda: store.put(place, NEW),
            lambda: store.delete(place),
            lambda: STORE.create(f"{place}2", NEW),
        ):
            with pytest.raises(SpecError, match="cannot be .*the file system is read-only"):
                call()
        assert STORE.get(place) == OLD


def test_a_scratch_folder_on_another_disk(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=1m") as disk:
        store = Store(scratch=url(disk / "tmp"))
        steps = steps_of(lambda: [store.put(url(tmp_path / "layer" / f"{i}"), NEW) for i in range(3)])
        assert store.create(url(tmp_path / "layer" / "created"), NEW)
        store.put(url(disk / "here"), NEW)
        assert tree(tmp_path / "layer") == {"0": NEW, "1": NEW, "2": NEW, "created": NEW}
        in_scratch = [step for step in steps if step.call == "open" and step.path.startswith(str(disk))]
        assert len(in_scratch) == 1  # it is tried once for each folder
        store.sweep()
        assert tree(disk) == {"here": NEW}


# Real limits.


@contextmanager
def limited(what: int, most: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(what)
    resource.setrlimit(what, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(what, (soft, hard))


def test_more_than_a_process_may_write(tmp_path: Path) -> None:
    place = url(tmp_path / "name")
    STORE.put(place, OLD)
    with limited(resource.RLIMIT_FSIZE, 5000), pytest.raises(SpecError, match="larger than"):
        STORE.put(place, bytes(9000))
    assert tree(tmp_path) == {"name": OLD}


def test_more_files_open_than_a_process_may_have(tmp_path: Path) -> None:
    place = url(tmp_path / "name")
    STORE.put(place, OLD)
    most = max(map(int, os.listdir("/proc/self/fd"))) + 1
    taken = [os.open("/", os.O_RDONLY) for _ in range(most - len(os.listdir("/proc/self/fd")) + 1)]
    with limited(resource.RLIMIT_NOFILE, most):
        for call in (lambda: STORE.put(place, NEW), lambda: STORE.get(place), lambda: STORE.list(url(tmp_path))):
            with pytest.raises(TransientError, match=r"Too many open files.*ulimit -n"):
                call()
    for handle in taken:
        os.close(handle)
    assert tree(tmp_path) == {"name": OLD}


@contextmanager
def nobody() -> Iterator[None]:
    """Root may do everything, so it is somebody else for a while."""
    was = os.geteuid()
    if was == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(was)


def test_a_folder_that_is_closed(tmp_path: Path) -> None:
    folder, place = url(tmp_path / "layer"), url(tmp_path / "layer" / "name")
    STORE.put(place, OLD)
    (tmp_path / "layer").chmod(0)
    with nobody():
        for call in (
            lambda: STORE.get(place),
            lambda: STORE.put(place, NEW),
            lambda: STORE.create(place, NEW),
            lambda: STORE.exists(place),
            lambda: STORE.delete(place),
            lambda: STORE.list(folder),
        ):
            with pytest.raises(SpecError, match="Permission denied.*check the permissions"):
                call()
    (tmp_path / "layer").chmod(0o700)
    assert tree(tmp_path) == {"layer/name": OLD}


def test_names_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "circle").symlink_to("circle")
    STORE.put(url(tmp_path / "file"), OLD)
    (tmp_path / "folder").mkdir()
    for place, text in (
        ("n" * 300, "name is too long"),
        ("circle/name", "round in a circle"),
        ("file/name", "a file is where a folder should be"),
        ("file/deep/name", "cannot be written"),
        ("folder", "a folder of that name is in the way"),
    ):
        with pytest.raises(SpecError, match=text):
            STORE.put(url(tmp_path / place), NEW)
    for place in ("n" * 300, "circle/name"):
        with pytest.raises(SpecError):
            STORE.get(url(tmp_path / place))
    assert STORE.get(url(tmp_path / "folder")) is None
    STORE.delete(url(tmp_path / "folder"))
    assert sorted(os.listdir(tmp_path)) == ["circle", "file", "folder"]
