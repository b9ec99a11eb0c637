"""What the tests of faults share: every step that changes the file system, met by an error, a delay or death."""

from __future__ import annotations

import errno
import os
import shutil
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from igneous_ng.errors import IgneousError, SpecError, TransientError
from igneous_ng.store import Compression, Store, compressed

CALLS = ("open", "write", "fsync", "replace", "rename", "link", "unlink", "remove", "mkdir", "rmdir", "utime")
DIED = 9
OLD, NEW, OTHER = b"old " * 50, b"new " * 60, b"other"
EMPTY = b"a folder with nothing in it"


# What the system says, and what is to be said of it.

FAILED = {
    errno.ENOSPC: "No space left.*the disk is full.*will be tried again",
    errno.EDQUOT: "quota is used up.*will be tried again",
    errno.EIO: "the device failed.*will be tried again",
    errno.EMFILE: "ulimit -n.*will be tried again",
    errno.ENFILE: "machine has too many files open.*will be tried again",
    errno.ENOMEM: "no memory left.*will be tried again",
    errno.ESTALE: "forgotten the file.*will be tried again",
    errno.ETIMEDOUT: "does not answer.*will be tried again",
    errno.EAGAIN: "busy.*will be tried again",
    errno.ENOLCK: "No locks available.*will be tried again",
}
REFUSED = {
    errno.EACCES: "check the permissions",
    errno.EPERM: "check the permissions",
    errno.EROFS: "read-only",
    errno.ENAMETOOLONG: "choose a shorter one",
    errno.ELOOP: "round in a circle",
    errno.EFBIG: "larger than",
}
KINDS: dict[int, tuple[type[IgneousError], str]] = {
    **{number: (TransientError, text) for number, text in FAILED.items()},
    **{number: (SpecError, text) for number, text in REFUSED.items()},
}


def url(path: Path) -> str:
    return f"file://{path}"


# Steps.


@dataclass(frozen=True)
class Step:
    """One call that is about to change the file system; ``path`` is what it changes."""

    number: int
    call: str
    path: str

    @property
    def tidies(self) -> bool:
        """Whether it removes a temporary, which may stay if it must."""
        return self.call == "unlink" and ".tmp-" in self.path


class Steps:
    """Hands each step to ``meet`` before it is taken; a write is half done by then. To be quick, nothing is synced."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, meet: Callable[[Step], None]) -> None:
        self.count, self.meet = 0, meet
        for name in CALLS:
            monkeypatch.setattr(os, name, self._guard(name, getattr(os, name)))

    def _guard(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*args: Any, **options: Any) -> Any:
            if name == "open" and not args[1] & os.O_CREAT:
                return call(*args, **options)
            half = call(args[0], args[1][: len(args[1]) // 2]) if name == "write" else 0
            self.count += 1
            self.meet(Step(self.count, name, _path(name, args)))
            if name == "write":
                return half + call(args[0], args[1][half:])
            return None if name == "fsync" else call(*args, **options)

        return guarded


def _path(call: str, args: tuple[Any, ...]) -> str:
    if call in ("write", "fsync"):
        return os.readlink(f"/proc/self/fd/{args[0]}")
    return str(args[1] if call in ("replace", "rename", "link") else args[0])


def steps_of(body: Callable[[], object]) -> list[Step]:
    """The steps that ``body`` takes undisturbed."""
    taken: list[Step] = []
    with pytest.MonkeyPatch.context() as monkeypatch:
        Steps(monkeypatch, taken.append)
        body()
    return taken


def failing(number: int, first: int, lasting: bool = False) -> Callable[[Step], None]:
    """Meets the step ``first`` with the error ``number``, where ``lasting`` also all later ones but removals."""

    def meet(step: Step) -> None:
        if step.number == first or (lasting and step.number > first and step.call != "unlink"):
            raise OSError(number, os.strerror(number), step.path)

    return meet


# Death.


def forked(body: Callable[[], object]) -> int:
    """The id of a new process that does ``body`` and ends with 0."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            body()
            code = 0
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(code)
    return pid


def lived(body: Callable[[], object], last: int) -> bool:
    """Whether ``body`` came to its end, in a process of its own that dies in place of its step ``last``."""

    def live() -> None:
        with pytest.MonkeyPatch.context() as monkeypatch:
            Steps(monkeypatch, lambda step: os._exit(DIED) if step.number == last else None)
            body()

    code = os.waitstatus_to_exitcode(os.waitpid(forked(live), 0)[1])
    assert code in (0, DIED)
    return code == 0


# What is done to an object.


@dataclass(frozen=True)
class Action:
    """What is done to an object that was stored as ``before`` or not at all, and its content after that."""

    act: Callable[[Store, str], object]
    before: Compression | None
    after: bytes | None = NEW
    name: str = "layer/name"
    attic: bool = False

    def store(self, root: Path, scratch: bool) -> Store:
        attic, place = url(root / "attic"), url(root / "runs" / "tmp")
        return Store(attic if self.attic else None, place if scratch else None)

    def begin(self, root: Path) -> None:
        """Store what was there before, and an object beside it, and nothing else."""
        shutil.rmtree(root, ignore_errors=True)
        store = Store()
        store.put(url(root / "layer" / "other"), OTHER)
        if self.before is not None:
            store.put(url(root / self.name), OLD, self.before)

    def run(self, root: Path, scratch: bool) -> None:
        self.act(self.store(root, scratch), url(root / self.name))

    def finish(self, root: Path, scratch: bool) -> dict[str, bytes]:
        """Do it undisturbed, as a later attempt does; what there is then."""
        self.run(root, scratch)
        self.store(root, scratch).sweep()
        self.check(root)
        assert Store().get(url(root / self.name)) == self.after
        return tree(root)

    def check(self, root: Path) -> None:
        """Every name has a whole content, and the object an old one or the new one."""
        found = Store().get(url(root / self.name))
        assert found in (self.after, None if self.before is None else OLD)
        if self.attic and found == NEW:
            assert OLD in tree(root / "attic").values()
        whole = {OTHER, EMPTY, *(compressed(data, how) for data in (OLD, NEW) for how in COMPRESSIONS)}
        objects = tree(root)
        assert {data for name, data in objects.items() if ".tmp-" not in name} <= whole
        assert objects["layer/other"] == OTHER


def _put_and_flush(store: Store, url: str) -> None:
    store.put(url, NEW)
    store.flush()


COMPRESSIONS: tuple[Compression, ...] = ("none", "gzip", "zstd")
ACTIONS = {
    "put": Action(lambda store, url: store.put(url, NEW), None),
    "put in a new folder": Action(lambda store, url: store.put(url, NEW, "gzip"), None, name="layer/far/away/name"),
    "put again": Action(lambda store, url: store.put(url, NEW), "none"),
    "put again, compressed": Action(lambda store, url: store.put(url, NEW, "gzip"), "gzip"),
    "put, compressed now": Action(lambda store, url: store.put(url, NEW, "gzip"), "none"),
    "put, plain now": Action(lambda store, url: store.put(url, NEW), "gzip"),
    "put with an attic": Action(lambda store, url: store.put(url, NEW, "gzip"), "none", attic=True),
    "create": Action(lambda store, url: store.create(url, NEW), None),
    "create in a new folder": Action(lambda store, url: store.create(url, NEW), None, name="layer/far/away/name"),
    "create what is there": Action(lambda store, url: store.create(url, NEW), "gzip", after=OLD),
    "delete": Action(lambda store, url: store.delete(url), "none", after=None),
    "put and flush": Action(_put_and_flush, "gzip"),
}


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, and every folder with nothing in it."""
    paths = [p for p in sorted(folder.rglob("*")) if p.is_file() or not any(p.iterdir())]
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else EMPTY for p in paths}
