"""The file operations of a queue in a directory, safe where clients cache and requests are sent twice.

All of them take "it is not there" for an answer, since other processes move and remove files at any moment.
On NFS that is ENOENT, or ESTALE where this client had looked at the file before.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from igneous_ng.errors import SpecError, TransientError

_GONE = (errno.ENOENT, errno.ESTALE)
_NO_LINK = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EXDEV, errno.EMLINK)  # and without hard links
_DENIED = {
    errno.EACCES: "check who may write there",
    errno.EPERM: "check who may write there",
    errno.EROFS: "mount it for writing, or name another directory",
}
_FAILED = {
    errno.ENOSPC: "make room on the disk, then try again",
    errno.EDQUOT: "make room in the quota, or have it raised, then try again",
    errno.EIO: "the disk or its server failed: see the system's log, then try again",
}


@contextmanager
def system_errors(url: str) -> Iterator[None]:
    """What the system refuses becomes a SpecError, what it fails at a TransientError; both say what to do."""
    try:
        yield
    except OSError as error:
        place = f"{url}: {error.filename!r}" if error.filename else url
        if error.errno in _DENIED:
            raise SpecError(f"{place}: {error.strerror}; {_DENIED[error.errno]}") from error
        advice = _FAILED.get(error.errno or 0, "try again when the file system is well")
        if error.errno == errno.ENOSPC and _no_inodes(url.removeprefix("fq://")):
            advice = "no inodes are left: delete files that nobody needs, then try again"
        raise TransientError(f"{place}: {error.strerror}; {advice}") from error


def _no_inodes(path: str) -> bool:
    """Whether the file system of ``path`` has room for bytes perhaps, but for no more files."""
    with suppress(OSError):
        found = os.statvfs(path)
        return found.f_files > 0 and found.f_favail == 0
    return False


@contextmanager
def unless_gone() -> Iterator[None]:
    """Leave the block quietly if a file is not there (any more)."""
    try:
        yield
    except OSError as error:
        if error.errno not in _GONE:
            raise


def nonce() -> str:
    """A name nobody drew before; from the system, because forked children share the state of ``random``."""
    return secrets.token_hex(6)


def listed(directory: str) -> list[str]:
    """Names in a directory, without those that a file system puts there for itself (``.nfs...``)."""
    with unless_gone():
        return [name for name in os.listdir(directory) if name[0] != "."]
    return []


def named(directory: str, parts: int) -> list[str]:
    """Names in a directory that have ``parts`` fields between dots."""
    return [name for name in listed(directory) if name.count(".") == parts - 1]


def move(source: str, target: str) -> bool:
    """Rename; False: the source, or the directory of the target, is not there.

    The target must be a name that no other move has. Then a target that exists after "not there" tells that
    this very move happened, and that a server answered the second copy of the request.
    """
    try:  # spelled out: the fastest of a queue's verbs are little else
        os.rename(source, target)
    except OSError as error:
        if error.errno not in _GONE:
            raise
        return os.path.exists(target)
    return True


def link(source: str, target: str) -> bool:
    """A second name for a file; False where this file system, or this pair of directories, can have none."""
    try:
        os.link(source, target)
    except FileExistsError:  # the name is ours alone: a server answered the second copy of the request
        return True
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        return False
    return True


def touch(path: str) -> bool:
    """Set the times of a file to now, as the file server sees it; False: it is not there."""
    with unless_gone():
        os.utime(path)  # no time given: the server writes its own
        return True
    return False


def unlink(path: str) -> bool:
    """Remove a file; False: it is not there."""
    try:
        os.unlink(path)
    except OSError as error:
        if error.errno not in _GONE:
            raise
        return False
    return True


def discard(path: str) -> None:
    """Remove a file or a whole directory, as far as it goes."""
    if os.path.isdir(path):
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            os.unlink(path)


def make_directory(path: str) -> None:
    """Make a directory in an existing one, unless it is there."""
    with suppress(FileExistsError):
        os.mkdir(path)


def remove_empty(path: str) -> None:
    """Remove a directory if it is empty and there."""
    with suppress(OSError):
        os.rmdir(path)


def age(path: str, now: float) -> float:
    """Seconds from the last change of a file to ``now``; 0 for a file that is not there."""
    with unless_gone():
        return now - os.stat(path).st_mtime
    return 0.0


def read(path: str, size: int = -1, offset: int = 0) -> str | None:
    """A file's text, or ``size`` bytes of it; None: it is not there.

    Damaged bytes become marks, for the reader to refuse.
    """
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError as error:
        if error.errno not in _GONE:
            raise
        return None
    try:
        left = os.fstat(handle).st_size if size < 0 else size
        data = os.pread(handle, left, offset)
        while len(data) < left and (more := os.pread(handle, left - len(data), offset + len(data))):
            data += more
    finally:
        os.close(handle)
    return data.decode(errors="replace")


def write(path: str, data: bytes, offset: int = 0) -> None:
    """A new file with ``data`` at ``offset``, on the disk when this returns; none where that fails."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        while data:
            written = os.pwrite(handle, data, offset)
            data, offset = data[written:], offset + written
        os.fsync(handle)
    except OSError:
        discard(path)
        raise
    finally:
        os.close(handle)


def write_whole(draft: str, path: str, data: bytes) -> None:
    """A new file that appears whole, by way of ``draft``; nothing where that fails."""
    write(draft, data)
    try:
        move(draft, path)
    except OSError:
        discard(draft)
        raise
