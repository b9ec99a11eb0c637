"""The directory of a queue: whether it is ours, what is where, its clock, and pages that appear whole.

::

    queue.json     format and version; touched, it is the file server's clock
    tmp/           staging, on the same file system
    todo/<page>/   messages that wait; a page of at most 512 appears by one rename
    doing/         messages that are leased or parked
    dead/          dead letters; <the same name>.txt beside each holds the reason

The bodies of a page are one file, and each message of it is a hard link to that file: the file system
knows when the last of them is gone. Where it has no hard links, each message has a file of its own.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable

from igneous_ng.errors import SpecError, TransientError
from igneous_ng.oserrors import sync
from igneous_ng.queues import files, names
from igneous_ng.queues.names import Claim
from igneous_ng.queues.protocol import Priority, missing

PAGE = 512  # messages in one directory: Lustre and NFS slow down beyond some thousands of names
_MARKER = "queue.json"
_FORMAT = {"format": "igneous_ng queue", "version": 2}
_STALE_S = 86400.0  # what a dead writer left in tmp/ for so long is swept
_READ_S = 1.0  # between two looks at the server's clock, our own counts on


class Directory:
    """Paths of a queue's parts, and what is done to the queue as a whole.

    ``clock`` yields the file server's time in seconds; None: ask the file server.
    """

    def __init__(self, path: str, clock: Callable[[], float] | None) -> None:
        self.path = os.path.abspath(os.path.expanduser(path))
        self.url = f"fq://{self.path}"
        self.tmp, self.todo, self.doing, self.dead = (
            os.path.join(self.path, name) for name in ("tmp", "todo", "doing", "dead")
        )
        self._marker = os.path.join(self.path, _MARKER)
        self._clock = clock or self._server_clock
        self._ahead, self._read_until = 0.0, 0.0  # of our own clock; until when by our own clock

    def now(self) -> int:
        """The file server's time in milliseconds, at most a second old; SpecError where nobody made the queue."""
        return int(self._clock() * 1000)

    def _server_clock(self) -> float:
        mine = time.monotonic()
        if mine >= self._read_until:
            if not files.touch(self._marker):
                raise missing(self.url)
            self._ahead, self._read_until = os.stat(self._marker).st_mtime - mine, mine + _READ_S
        return mine + self._ahead

    def exists(self) -> bool:
        """Whether a queue is here; SpecError where something else is. Writes nothing."""
        try:
            found = os.listdir(self.path)
        except FileNotFoundError:
            return False
        except NotADirectoryError:
            raise SpecError(f"{self.url}: a file is in the way; name a directory, new or empty") from None
        marker = files.read(self._marker)  # after the listing: whoever makes a queue writes the marker first
        if marker is None:
            if others := [name for name in found if not name.startswith(_MARKER)]:
                raise SpecError(f"{self.url}: the directory holds {min(others)!r} and is no queue; name an empty one")
            return False
        self._check(marker)
        return True

    def _check(self, marker: str) -> None:
        try:
            found = json.loads(marker)
        except ValueError:
            found = marker
        if found != _FORMAT:
            raise SpecError(
                f"{self.url}: {_MARKER} says {found!r}, this program reads {_FORMAT!r}; "
                "use the version that made the queue, or name another directory"
            )

    def require(self) -> None:
        """SpecError where nobody made the queue."""
        if not os.path.exists(self._marker):
            raise missing(self.url)

    def create(self) -> None:
        """Make the queue, or what a dead maker left undone; first the marker, which claims the directory."""
        if not self.exists():
            os.makedirs(self.path, exist_ok=True)
            files.write_whole(f"{self._marker}.{files.nonce()}", self._marker, json.dumps(_FORMAT).encode())
            sync(os.path.dirname(self.path))
        for directory in (self.tmp, self.todo, self.doing, self.dead):
            files.make_directory(directory)
        sync(self.path)

    def sweep(self) -> None:
        """Remove what writers who died long ago left: pages, drafts, reasons whose letter never came."""
        now = self.now() / 1000
        for name in files.listed(self.tmp):
            path = os.path.join(self.tmp, name)
            if files.age(path, now) > _STALE_S:
                files.discard(path)
        letters = set(self.letters())
        for name in files.named(self.dead, names.WAITING + 1):
            path = os.path.join(self.dead, name)
            if name.removesuffix(".txt") not in letters and files.age(path, now) > _STALE_S:
                files.unlink(path)

    def pages(self) -> list[str]:
        """The names of the pages, in no order."""
        return files.listed(self.todo)

    def page(self, page: str) -> list[str]:
        """The names of the messages that wait in a page."""
        return files.named(os.path.join(self.todo, page), names.WAITING)

    def claims(self) -> list[Claim]:
        """The messages that are leased or parked."""
        return [Claim.parse(name) for name in files.named(self.doing, names.CLAIM)]

    def letters(self) -> list[str]:
        """The names of the dead letters."""
        return files.named(self.dead, names.WAITING)

    def publish(self, bodies: list[bytes], priority: Priority) -> None:
        """One page, staged where nobody looks, then there as a whole.

        On return its messages are on the disk, but the page's own name is there only after :meth:`settle`.
        """
        page = names.new_page(priority, files.nonce())
        stage = os.path.join(self.tmp, page)
        try:
            files.make_directory(stage)
            self._fill(stage, page, bodies)
            sync(stage)
            if not files.move(stage, os.path.join(self.todo, page)):
                raise TransientError(f"{self.url}: {stage} was removed while it was written; enqueue again")
        except BaseException:
            files.discard(stage)
            raise
        finally:
            files.discard(f"{stage}.bodies")

    def _fill(self, stage: str, page: str, bodies: list[bytes]) -> None:
        """Give a staged page its messages: names for one file, where the file system can."""
        shared, offset = f"{stage}.bodies", 0
        files.write(shared, b"".join(body + b"\n" for body in bodies))
        linked = True
        for body in bodies:
            ident = f"{page}-{offset}-{len(body)}-{names.digest(body)}"
            target = os.path.join(stage, names.waiting(ident, 0, "0"))
            linked = linked and files.link(shared, target)
            if not linked:
                files.write(target, body, offset)  # where its name says it is; what is before it takes no room
            offset += len(body) + 1

    def settle(self) -> None:
        """Names of all pages on the disk."""
        sync(self.todo)
