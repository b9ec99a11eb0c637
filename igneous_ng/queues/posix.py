"""A queue in a directory of any POSIX file system: local disk, NFS, Lustre. No server, no locks.

Every change of state is one atomic rename (an unlink for ``done``), and the state is in the file's name::

    queue.json                            format and version; touched, it is the server's clock
    tmp/                                  staging, on the same file system
    todo/<page>/<id>.<attempts>.<nonce>   waiting; a page of at most 512 messages appears by one rename
    doing/<id>.<attempt>.<ms>.<nonce>     leased for <ms> after its mtime
    dead/<id>.<attempt>.<nonce>           dead letter; <the same name>.txt beside it holds the reason

What makes it safe where clients cache and requests are sent twice:

* A name is never used again, for each move draws a new nonce. So a rename that reports "no such file" did
  succeed if its target exists (an NFS server answered the resent request), and a late copy of a request finds
  nothing to move.
* No client clock decides anything. A heartbeat lets the server write the mtime; whoever looks for expired
  leases compares it with the mtime of a file touched just now.
* A death at any point leaves a message in exactly one place, whole.
"""

from __future__ import annotations

import json
import math
import os
import random
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice

from igneous_ng.errors import SpecError, TransientError
from igneous_ng.queues import files
from igneous_ng.queues.protocol import Counts, Lease, checked_seconds, missing

PAGE = 512  # messages in one directory: Lustre and NFS slow down beyond some thousands of names
_MARKER = "queue.json"
_FORMAT = {"format": "igneous_ng queue", "version": 1}
_STALE_S = 86400.0  # what a dead writer left in tmp/ for so long is swept
_MOVES = 16  # how often a message follows a page that others remove under it


class PosixQueue:
    """``fq://DIRECTORY``. Threads may share an object; processes open one each.

    Rates depend on the file system's renames alone, not on how many messages wait. A lease that is past its
    time is lost when any worker notices, which the next ``lease`` or ``counts`` of anybody may.
    """

    def __init__(self, path: str) -> None:
        """Look at ``path``; SpecError where a file or a folder of other things is in the way."""
        self.path = os.path.abspath(os.path.expanduser(path))
        self.url = f"fq://{self.path}"
        self._tmp, self._todo, self._doing, self._dead = (
            os.path.join(self.path, name) for name in ("tmp", "todo", "doing", "dead")
        )
        self._marker = os.path.join(self.path, _MARKER)
        self._pages: list[str] = []  # pages not yet looked into, in random order: workers spread
        self._names: list[tuple[str, str]] = []  # (page, name) seen waiting, not yet tried
        self._reap_at = -math.inf
        with files.system_errors():
            self._exists()

    def put(self, bodies: Iterable[str]) -> int:
        """See :meth:`Queue.put`. On return the messages survive a loss of power."""
        with files.system_errors():
            self._create()
            self._sweep()
        sent, rest = 0, iter(bodies)
        while page := list(islice(rest, PAGE)):
            with files.system_errors():
                self._publish(page)
            sent += len(page)
        return sent

    def lease(self, seconds: float) -> Lease | None:
        """See :meth:`Queue.lease`; returns at once."""
        millis = math.ceil(checked_seconds(seconds) * 1000)
        with files.system_errors():
            if time.monotonic() >= self._reap_at:
                self._reap()
                self._reap_at = time.monotonic() + seconds / 3
            lease = self._take(millis)
            if lease is None and self._reap():
                lease = self._take(millis)
            return lease

    def renew(self, lease: Lease, seconds: float) -> bool:
        """See :meth:`Queue.renew`."""
        millis = math.ceil(checked_seconds(seconds) * 1000)
        with files.system_errors():
            for claim in self._claims(lease):
                if files.touch(claim):
                    nonce = claim.rpartition(".")[2]
                    wanted = os.path.join(self._doing, f"{lease.id}.{lease.attempt}.{millis}.{nonce}")
                    return claim == wanted or files.move(claim, wanted)
        return False

    def done(self, lease: Lease) -> bool:
        """See :meth:`Queue.done`."""
        with files.system_errors():
            return any(files.unlink(claim) for claim in self._claims(lease))

    def release(self, lease: Lease, *, counts: bool = False) -> bool:
        """See :meth:`Queue.release`."""
        attempts = lease.attempt if counts else lease.attempt - 1
        with files.system_errors():
            return any(self._to_page(claim, lease.id, attempts) for claim in self._claims(lease))

    def fail(self, lease: Lease, reason: str) -> bool:
        """See :meth:`Queue.fail`. The reason is written first, so that no dead letter is ever without one."""
        letter = os.path.join(self._dead, f"{lease.id}.{lease.attempt}.{files.nonce()}")
        with files.system_errors():
            self._require()
            draft = os.path.join(self._tmp, files.nonce())
            files.write(draft, reason.encode(errors="backslashreplace"))
            files.move(draft, f"{letter}.txt")
            if any(files.move(claim, letter) for claim in self._claims(lease)):
                return True
            files.unlink(f"{letter}.txt")
            return False

    def counts(self) -> Counts:
        """See :meth:`Queue.counts`. Expired leases are returned on the way."""
        with files.system_errors():
            self._reap()
            pages = [os.path.join(self._todo, page) for page in files.listed(self._todo)]
            waiting = sum(len(files.named(page, 3)) for page in pages)
            return Counts(waiting, len(files.named(self._doing, 4)), len(files.named(self._dead, 3)))

    def dead(self) -> Iterator[tuple[str, str]]:
        """See :meth:`Queue.dead`."""
        with files.system_errors():
            self._require()
            for name in sorted(files.named(self._dead, 3)):
                body = files.read(os.path.join(self._dead, name))
                if body is not None:
                    yield body, files.read(os.path.join(self._dead, f"{name}.txt")) or ""

    def retry_dead(self) -> int:
        """See :meth:`Queue.retry_dead`."""
        count = 0
        with files.system_errors():
            self._require()
            for name in files.named(self._dead, 3):
                letter = os.path.join(self._dead, name)
                if self._to_page(letter, name.split(".")[0], 0):
                    files.unlink(f"{letter}.txt")
                    count += 1
        return count

    def release_all(self) -> int:
        """See :meth:`Queue.release_all`."""
        with files.system_errors():
            self._require()
            return sum(self._back(name, interrupted=True) for name in files.named(self._doing, 4))

    def purge(self) -> int:
        """See :meth:`Queue.purge`. What another process is staging this moment appears afterwards."""
        count = 0
        with files.system_errors():
            self._require()
            for page in files.listed(self._todo):
                trash = os.path.join(self._tmp, files.nonce())  # whole: nobody leases from half a page
                if files.move(os.path.join(self._todo, page), trash):
                    count += len(files.named(trash, 3))
                    files.discard(trash)
            for name in files.named(self._doing, 4):
                count += files.unlink(os.path.join(self._doing, name))
            for name in files.named(self._dead, 3):
                count += files.unlink(os.path.join(self._dead, name))
                files.unlink(os.path.join(self._dead, f"{name}.txt"))
        return count

    # Making the queue, and adding to it.

    def _exists(self) -> bool:
        """Whether a queue is here; SpecError where something else is. Writes nothing."""
        try:
            names = os.listdir(self.path)
        except FileNotFoundError:
            return False
        except NotADirectoryError:
            raise SpecError(f"{self.url}: a file is in the way; name a directory, new or empty") from None
        marker = files.read(self._marker)  # after the listing: whoever makes a queue writes the marker first
        if marker is None:
            if others := [name for name in names if not name.startswith(_MARKER)]:
                raise SpecError(f"{self.url}: the directory holds {min(others)!r} and is no queue; name an empty one")
            return False
        try:
            found = json.loads(marker)
        except ValueError:
            found = marker
        if found != _FORMAT:
            raise SpecError(
                f"{self.url}: {_MARKER} says {found!r}, this program reads {_FORMAT!r}; "
                "use the version that made the queue, or name another directory"
            )
        return True

    def _require(self) -> None:
        """SpecError where nobody made the queue."""
        if not self._exists():
            raise missing(self.url)

    def _create(self) -> None:
        """Make the queue, or what a dead maker left undone; first the marker, which claims the directory."""
        if not self._exists():
            os.makedirs(self.path, exist_ok=True)
            draft = f"{self._marker}.{files.nonce()}"
            files.write(draft, json.dumps(_FORMAT).encode())
            files.move(draft, self._marker)
            files.sync(os.path.dirname(self.path))
        for directory in (self._tmp, self._todo, self._doing, self._dead):
            files.make_directory(directory)
        files.sync(self.path)

    def _publish(self, bodies: list[str]) -> None:
        """One page, staged where nobody looks, then there as a whole."""
        page = files.nonce()
        stage = os.path.join(self._tmp, page)
        try:
            os.mkdir(stage)
            for number, body in enumerate(bodies):
                files.write(os.path.join(stage, f"{page}-{number:03d}.0.0"), body.encode())
            files.sync(stage)
            if not files.move(stage, os.path.join(self._todo, page)):
                raise TransientError(f"{self.url}: {stage} was removed while it was written; enqueue again")
        except (OSError, UnicodeError):
            files.discard(stage)
            raise
        files.sync(self._todo)

    def _sweep(self) -> None:
        """Remove what writers who died long ago left: pages, drafts, reasons whose letter never came."""
        now = self._now()
        for name in files.listed(self._tmp):
            path = os.path.join(self._tmp, name)
            if files.age(path, now) > _STALE_S:
                files.discard(path)
        letters = set(files.named(self._dead, 3))
        for name in files.named(self._dead, 4):
            path = os.path.join(self._dead, name)
            if name.removesuffix(".txt") not in letters and files.age(path, now) > _STALE_S:
                files.unlink(path)

    # Taking, holding and giving back.

    def _take(self, millis: int) -> Lease | None:
        """Claim one waiting message, whichever is won first."""
        for page, name in self._candidates():
            source = os.path.join(self._todo, page, name)
            ident, attempts, _ = name.split(".")
            attempt, token = int(attempts) + 1, f"{millis}.{files.nonce()}"
            claim = os.path.join(self._doing, f"{ident}.{attempt}.{token}")
            # Fresh before it is a claim, or it would be born expired. To lose the race after it is harmless.
            if files.touch(source) and files.move(source, claim):
                body = files.read(claim)
                if body is not None:
                    return Lease(ident, body, attempt, token)
        return None

    def _candidates(self) -> Iterator[tuple[str, str]]:
        """Messages that waited a moment ago: those known, then those of one fresh look at every page.

        One look and no more: an NFS client may list names that are gone for a minute, and would turn on the spot.
        """
        for fresh in (False, True):
            if fresh:
                self._pages = files.listed(self._todo)
                random.shuffle(self._pages)
            while self._names or self._pages:
                with suppress(IndexError):  # an empty page, or another thread was quicker
                    if not self._names:
                        self._look_into(self._pages.pop())
                    yield self._names.pop()

    def _look_into(self, page: str) -> None:
        """Learn the messages of a page; remove it if it has none."""
        names = files.named(os.path.join(self._todo, page), 3)
        if names:
            random.shuffle(names)
            self._names = [(page, name) for name in names]
        else:
            files.remove_empty(os.path.join(self._todo, page))

    def _claims(self, lease: Lease) -> Iterator[str]:
        """Where the lease's file may be: its own name, or the one that a renewal for another time gave."""
        first = f"{lease.id}.{lease.attempt}.{lease.token}"
        yield os.path.join(self._doing, first)
        start, end = f"{lease.id}.{lease.attempt}.", f".{lease.token.rpartition('.')[2]}"
        for name in files.named(self._doing, 4):
            if name != first and name.startswith(start) and name.endswith(end):
                yield os.path.join(self._doing, name)

    def _to_page(self, source: str, ident: str, attempts: int) -> bool:
        """Move a message to its page, made again where it was removed; False: it is not ours to move."""
        page = os.path.join(self._todo, ident.rpartition("-")[0])
        target = os.path.join(page, f"{ident}.{attempts}.{files.nonce()}")
        for _ in range(_MOVES):
            if files.move(source, target):
                return True
            if not os.path.exists(source):
                return False
            files.make_directory(page)
        raise TransientError(f"{self.url}: no place for {source}, because {page} kept vanishing; try again")

    def _back(self, name: str, *, interrupted: bool) -> bool:
        """Return the leased message of this file name to waiting."""
        ident, attempt, _, _ = name.split(".")
        return self._to_page(os.path.join(self._doing, name), ident, int(attempt) - interrupted)

    def _reap(self) -> int:
        """Return every expired lease to waiting, its attempt counted."""
        now = self._now()
        expired = [name for name in files.named(self._doing, 4) if self._expired(name, now)]
        return sum(self._back(name, interrupted=False) for name in expired)

    def _expired(self, name: str, now: float) -> bool:
        path, seconds = os.path.join(self._doing, name), int(name.split(".")[2]) / 1000
        return files.age(path, now) > seconds and files.true_age(path, now) > seconds

    def _now(self) -> float:
        """The file server's clock, in seconds; SpecError where nobody made the queue."""
        if not files.touch(self._marker):
            raise missing(self.url)
        return os.stat(self._marker).st_mtime
