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
_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)
_NO_SYNC = (errno.EINVAL, errno.ENOTSUP)  # what file systems without a sync of directories answer


@contextmanager
def system_errors() -> Iterator[None]:
    """What the system refuses becomes a SpecError, what it fails at a TransientError."""
    try:
        yield
    except OSError as error:
        kind = SpecError if error.errno in _DENIED else TransientError
        advice = "check the permissions" if kind is SpecError else "try again when the file system is well"
        raise kind(f"queue file {error.filename!r}: {error.strerror}; {advice}") from error


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
        return [name for name in os.listdir(directory) if not name.startswith(".")]
    return []


def named(directory: str, parts: int) -> list[str]:
    """Names in a directory that have ``parts`` fields between dots."""
    return [name for name in listed(directory) if name.count(".") == parts - 1]


def move(source: str, target: str) -> bool:
    """Rename; False: the source, or the directory of the target, is not there.

    The target must be a name that no other move has. Then a target that exists after "not there" tells that
    this very move happened, and that a server answered the second copy of the request.
    """
    with unless_gone():
        os.rename(source, target)
        return True
    return os.path.exists(target)


def touch(path: str) -> bool:
    """Set the times of a file to now, as the file server sees it; False: it is not there."""
    with unless_gone():
        os.utime(path)  # no time given: the server writes its own
        return True
    return False


def unlink(path: str) -> bool:
    """Remove a file; False: it is not there."""
    with unless_gone():
        os.unlink(path)
        return True
    return False


def discard(path: str) -> None:
    """Remove a file or a whole directory, as far as it goes."""
    if os.path.isdir(path):
        shutil.rmtree(path, ignore_errors=True)
    else:
        unlink(path)


def make_directory(path: str) -> None:
    """Make a directory in an existing one, unless it is there."""
    with suppress(FileExistsError):
        os.mkdir(path)


def remove_empty(path: str) -> None:
    """Remove a directory if it is empty and there."""
    with suppress(OSError):
        os.rmdir(path)


def age(path: str, now: float) -> float:
    """Seconds from the last touch of a file to ``now``; 0 for a file that is not there."""
    with unless_gone():
        return now - os.stat(path).st_mtime
    return 0.0


def true_age(path: str, now: float) -> float:
    """As :func:`age`, from the server: an NFS client may remember an mtime for a minute, not over an open."""
    with unless_gone(), open(path, "rb") as file:
        return now - os.fstat(file.fileno()).st_mtime
    return 0.0


def read(path: str) -> str | None:
    """A file's text; None: it is not there. Damaged bytes become marks, for the reader to refuse."""
    with unless_gone(), open(path, "rb") as file:
        return file.read().decode(errors="replace")
    return None


def write(path: str, data: bytes) -> None:
    """A new file, on the disk when this returns."""
    with open(path, "xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync(directory: str) -> None:
    """The names in a directory, on the disk when this returns, where the file system knows how."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(handle)
