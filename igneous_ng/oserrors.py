"""What the operating system refuses or fails at, as errors of this package, with the reason and what to do.

What stands in the way of the request itself (permissions, names, a read-only disk) is a SpecError: trying again
changes nothing. All else, from a full disk to a server that is away, may pass, and is a TransientError.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from igneous_ng.errors import IgneousError, SpecError, TransientError

_NO_SYNC = (errno.EINVAL, errno.ENOTSUP)  # what file systems without a sync of folders answer
_REFUSED = {
    errno.EACCES: "check the permissions",
    errno.EPERM: "check the permissions",
    errno.EROFS: "the file system is read-only; choose another place, or have it mounted for writing",
    errno.ENOTDIR: "a file is where a folder should be; choose another place",
    errno.EISDIR: "a folder of that name is in the way; choose another place",
    errno.EEXIST: "something of that name is in the way; choose another place",
    errno.ENAMETOOLONG: "the name is too long for this file system; choose a shorter one",
    errno.ELOOP: "symbolic links lead round in a circle; mend them",
    errno.EFBIG: "it is larger than the file system or the process's limit (ulimit -f) allows",
    errno.EOPNOTSUPP: "the file system cannot do this; choose another place",
}
_FAILED = {
    errno.EDQUOT: "the quota is used up; remove files or ask for more",
    errno.EIO: "the device failed; look at the system's log",
    errno.EMFILE: "this process has too many files open; raise ulimit -n",
    errno.ENFILE: "this machine has too many files open; run less on it",
    errno.ENOMEM: "this machine has no memory left; run less on it",
    errno.ESTALE: "the file server has forgotten the file",
    errno.ETIMEDOUT: "the file server does not answer",
    errno.EAGAIN: "the file system is busy",
    errno.ENOENT: "a folder or file was removed meanwhile",
}


@contextmanager
def told(path: str, done: str) -> Iterator[None]:
    """Raise what the system says of ``path``, which was to be ``done`` (read, written, ...), as our own error."""
    try:
        yield
    except OSError as error:
        raise _translated(error, path, done) from error


def passes(error: OSError) -> bool:
    """Whether an error that nobody translated may be gone at a later attempt. That a file is missing says nothing."""
    return error.errno in (errno.ENOSPC, *_FAILED) and error.errno != errno.ENOENT


def sync(folder: str) -> None:
    """The names in ``folder``, on the disk when this returns: where the file system can, and we may read it."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except PermissionError:
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(handle)


def _translated(error: OSError, path: str, done: str) -> IgneousError:
    said = os.strerror(error.errno) if error.errno else str(error)
    if advice := _REFUSED.get(error.errno or 0):
        return SpecError(f"{path} cannot be {done} ({said}): {advice}")
    reason = _shortage(path) if error.errno == errno.ENOSPC else _FAILED.get(error.errno or 0)
    return TransientError(f"{path} was not {done} ({said}): {f'{reason}; ' if reason else ''}will be tried again")


def _shortage(path: str) -> str:
    """What there is no more of, at ``path`` or where it would be."""
    while not os.path.exists(path) and path != os.path.dirname(path):
        path = os.path.dirname(path)
    with suppress(OSError):
        state = os.statvfs(path)
        if state.f_files and not state.f_favail:
            return "no inodes are left; remove files or ask for more"
    return "the disk is full; free some space"
