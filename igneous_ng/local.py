"""Objects as files, written whole or not at all, and durable once flushed.

A file is written under a temporary name, synced, and only then given its own name by one rename (atomic in POSIX)
or link. What a killed writer leaves is therefore a temporary: in the scratch folder where there is one on the same
file system, to be swept when the work is over, and otherwise beside the target.

An object may be stored under a compression suffix. It is looked for under each, in an order that finds it even
while it is replaced by one of another suffix.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from threading import Lock

from igneous_ng.errors import DataError, TransientError
from igneous_ng.formats import compression
from igneous_ng.oserrors import sync, told

SUFFIXES = tuple(compression.SUFFIXES.values())
TEMPORARY = ".tmp-"
_LOOKS = (
    SUFFIXES + SUFFIXES[:-1]
)  # twice where writers may have put it after we looked and before they removed the other
_NO_LINK = (errno.EPERM, errno.EXDEV, errno.EMLINK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOENT)
_ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


def read(path: str, span: tuple[int, int] | None = None) -> tuple[bytes, str] | None:
    """An object's stored bytes, or those of ``span``, and the suffix that it was found under; None: there is none."""
    for suffix in _LOOKS:
        with told(path + suffix, "read"), suppress(*_ABSENT), open(path + suffix, "rb") as file:
            if span is None:
                return file.read(), suffix
            if suffix:
                raise DataError(f"file://{path}{suffix}: a compressed object has no ranges; store it plain")
            file.seek(span[0])
            return file.read(span[1] - span[0]), ""
    return None


def exists(path: str) -> bool:
    """Whether there is an object, under any suffix."""
    for suffix in _LOOKS:
        with told(path + suffix, "looked for"), suppress(*_ABSENT):
            if stat.S_ISREG(os.stat(path + suffix).st_mode):
                return True
    return False


def names(folder: str) -> list[str]:
    """Names of the files and folders in ``folder``, without temporaries; none where there is no such folder."""
    with told(folder, "listed"), suppress(*_ABSENT):
        return [name for name in os.listdir(folder) if not name.startswith(TEMPORARY)]
    return []


@contextmanager
def alone(path: str) -> Iterator[bool]:
    """Keep others out of here while the object that lies plain at ``path`` is edited; False: there was no such object.

    On all machines of a file system that has locks (flock); a death gives the lock back. Nobody is kept out where there
    are none, or no such object.
    """
    handle = _locked(path)
    try:
        yield handle is not None
    finally:
        if handle is not None:
            os.close(handle)


def _locked(path: str) -> int | None:
    while True:
        try:
            handle = os.open(path, os.O_RDWR)
        except OSError:
            return None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if _is_at(path, handle):  # else it was replaced while we waited: the lock is on what was there before
                return handle
        except OSError:
            return handle
        os.close(handle)


class Writer:
    """Writes objects as whole files. Threads may share one; ``scratch`` is a folder for temporaries.

    The scratch folder is made once. If it is gone later, the work was declared over, and nothing more is written.
    """

    def __init__(self, scratch: str | None = None) -> None:
        self._scratch = scratch
        self._ready = False  # the scratch folder was made
        self._apart: set[str] = set()  # folders that files cannot be moved to from there
        self._changed: set[str] = set()  # folders with names that may not be on the disk yet
        self._reached: set[str] = set()  # folders whose own names are on the disk
        self._guard = Lock()  # of the above
        self._flushing = Lock()

    def replace(self, path: str, stored: bytes, suffix: str) -> None:
        """Store an object under ``suffix``, in place of any of its name."""
        target, others = path + suffix, [path + other for other in SUFFIXES if other != suffix]
        with told(target, "written"):
            self._publish(target, stored, os.replace)
            if sum(map(_unlink, others)) and not exists(path):
                self._publish(target, stored, os.replace)  # who wrote the other has removed ours at the same time

    def create(self, path: str, stored: bytes) -> bool:
        """Store an object if there is none of its name; whether it was stored. Of many writers one succeeds."""
        if exists(path):
            return False
        with told(path, "written"):
            return self._publish(path, stored, os.link)

    def keep(self, path: str, suffix: str, place: str, stored: bytes) -> None:
        """Let ``place`` hold the object that is at ``path`` under ``suffix``, unless it holds one; durable on return.

        It is a link to the same file, which whoever replaces the object leaves alone; a copy of ``stored``, its bytes,
        where there are no links.
        """
        target, folder = place + suffix, os.path.dirname(place)
        with told(target, "written"):
            if exists(place):
                return
            if not os.path.isdir(folder):
                os.makedirs(folder, exist_ok=True)
            try:
                os.link(path + suffix, target)
            except FileExistsError:
                return
            except OSError as error:
                if error.errno not in _NO_LINK:
                    raise
                self._publish(target, stored, os.link)
            self._sync(os.path.realpath(folder))

    def delete(self, path: str) -> None:
        """Remove an object under any suffix, the one that is read first as the last, so that no older one shows."""
        with told(path, "removed"):
            for suffix in reversed(SUFFIXES):
                if _unlink(path + suffix):
                    self._note(path)

    def adopt(self, paths: Iterable[str]) -> None:
        """See to the names of these files, too, at the next :meth:`flush`."""
        for path in paths:
            self._note(path)

    def flush(self) -> None:
        """Bring the names of all files written so far to the disk; their contents are there already."""
        with self._flushing:  # who comes second waits, for the first may be syncing what the second wrote
            with self._guard:
                folders, self._changed = self._changed, set()
            try:
                for folder in folders:
                    with told(folder, "synced"), suppress(FileNotFoundError):
                        self._sync(os.path.realpath(folder))
            except BaseException:
                with self._guard:
                    self._changed |= folders
                raise

    def sweep(self) -> None:
        """Remove the temporaries in the scratch folder, and the folder if nothing else is in it."""
        if self._scratch is None:
            return
        with told(self._scratch, "swept"):
            try:
                for name in os.listdir(self._scratch):
                    if name.startswith(TEMPORARY):
                        _unlink(f"{self._scratch}/{name}")
                os.rmdir(self._scratch)
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ENOTEMPTY):
                    raise

    def _publish(self, target: str, stored: bytes, call: Callable[[str, str], None]) -> bool:
        """Write a temporary and give it its name by ``call``; False: the name is taken."""
        folder = os.path.dirname(target)
        if self._scratch is not None and folder not in self._apart:
            self._make_scratch(self._scratch)
            try:
                return self._publish_from(self._scratch, target, stored, call)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
            self._apart.add(folder)
        return self._publish_from(folder, target, stored, call)

    def _publish_from(self, place: str, target: str, stored: bytes, call: Callable[[str, str], None]) -> bool:
        with self._temporary(place) as (temporary, handle):
            rest = memoryview(stored)
            while rest:
                rest = rest[os.write(handle, rest) :]
            os.fsync(handle)
            named = _named(call, temporary, target, handle)
        if named:
            self._note(target)
        return named

    @contextmanager
    def _temporary(self, place: str) -> Iterator[tuple[str, int]]:
        """A new file in ``place`` under a name of its own, which is gone afterwards."""
        path = f"{place}/{TEMPORARY}{uuid.uuid4().hex}"
        handle = self._open(path, place)
        try:
            yield path, handle
        finally:
            try:
                os.close(handle)
            finally:
                with suppress(OSError):
                    os.unlink(path)

    def _open(self, path: str, place: str) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            return os.open(path, flags, 0o666)
        except FileNotFoundError as error:
            if place == self._scratch:
                raise TransientError(
                    f"the scratch folder {place} is gone: its run was finished, or somebody removed it; "
                    "if units are left, they will be tried again"
                ) from error
            os.makedirs(place, exist_ok=True)
            return os.open(path, flags, 0o666)

    def _make_scratch(self, scratch: str) -> None:
        if not self._ready:
            with self._guard:
                os.makedirs(scratch, exist_ok=True)
                self._ready = True

    def _note(self, path: str) -> None:
        with self._guard:
            self._changed.add(os.path.dirname(path))

    def _sync(self, folder: str) -> None:
        """Sync ``folder``; when it is met first also those above, for somebody may have made it just now."""
        sync(folder)
        while folder not in self._reached and not os.path.ismount(folder):
            sync(os.path.dirname(folder))
            self._reached.add(folder)
            folder = os.path.dirname(folder)


def _named(call: Callable[[str, str], None], temporary: str, target: str, handle: int) -> bool:
    """Give the file open as ``handle`` its name, in a folder that is made where it is missing; False: it is taken.

    A file server may do what was asked, lose its answer, and refuse the second copy of the request: then the file
    at ``target`` is ours.
    """
    try:
        call(temporary, target)
    except (FileNotFoundError, FileExistsError) as error:
        if _is_at(target, handle):
            return True
        if isinstance(error, FileExistsError):
            return False
        if not os.path.lexists(temporary):
            raise
    else:
        return True
    os.makedirs(os.path.dirname(target), exist_ok=True)
    try:
        call(temporary, target)
    except FileExistsError:
        return False
    return True


def _is_at(path: str, handle: int) -> bool:
    with suppress(*_ABSENT):
        return os.path.samestat(os.stat(path), os.fstat(handle))
    return False


def _unlink(path: str) -> bool:
    """Remove a file; False: there is none."""
    with suppress(*_ABSENT):
        os.unlink(path)
        return True
    return False
