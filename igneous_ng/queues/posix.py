"""A queue in a directory of any POSIX file system: local disk, NFS, Lustre. No server, no locks.

Every change of state is one atomic rename (an unlink for ``done``), and the state is in the file's name: see
:mod:`~igneous_ng.queues.names` for the names, :mod:`~igneous_ng.queues.directory` for the places.

What makes it safe where clients cache and requests are sent twice:

* A name is never used again, for each move has a new nonce or a later deadline. So a rename that reports "no such
  file" did succeed if its target exists (an NFS server answered the resent request), and a late copy of a request
  finds nothing to move.
* A heartbeat is a rename to a later deadline. Who takes back a lease that it saw expire moves the name that it saw:
  a renewal that came between wins.
* No client clock decides anything: deadlines are of the file server's clock, read off a file touched just now.
* A death at any point leaves a message in exactly one place, whole.
"""

from __future__ import annotations

import math
import os
import random
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from itertools import islice, zip_longest

from igneous_ng.errors import TransientError
from igneous_ng.queues import files, names
from igneous_ng.queues.directory import PAGE, Directory
from igneous_ng.queues.names import Claim
from igneous_ng.queues.protocol import Counts, Lease, Letter, Priority, checked_delay, checked_seconds

_MOVES = 16  # how often a message follows a page that others remove under it
_LOOK_MS = 1000  # how old a listing of the pages may be: so long may an urgent page stay unseen


class PosixQueue:
    """``fq://DIRECTORY``. Threads may share an object; processes open one each.

    Rates depend on the file system's renames alone, not on how many messages wait. An expired lease is lost when
    any worker notices: each ``lease`` looks if it is the first since a third of its seconds, ``counts`` and
    ``held`` look always.
    """

    exact = True

    def __init__(self, path: str, clock: Callable[[], float] | None = None) -> None:
        """Look at ``path``; SpecError where a file or a folder of other things is in the way.

        ``clock`` stands in for the file server's, in seconds.
        """
        self._home = Directory(path, clock)
        self.url = self._home.url
        self._claims: dict[str, str] = {}  # token: the present name of its file in doing/
        self._pages: list[str] = []  # not yet looked into, the most urgent last, else in random order: workers spread
        self._names: list[str] = []  # seen waiting in one page, not yet tried
        self._looked_at = self._reaped_at = -math.inf
        self._parked_until = math.inf
        with files.system_errors(self.url):
            self._home.exists()

    def put(self, bodies: Iterable[str], *, priority: Priority = "normal", unique: bool = False) -> int:
        """See :meth:`Queue.put`. On return the messages survive a loss of power."""
        with files.system_errors(self.url):
            self._home.create()
            self._home.sweep()
            seen = self._digests() if unique else None
        sent, rest = 0, self._encoded(bodies, seen)
        while page := list(islice(rest, PAGE)):
            with files.system_errors(self.url):
                self._home.publish(page, priority)
            sent += len(page)
        with files.system_errors(self.url):
            self._home.settle()
        self._looked_at = -math.inf
        return sent

    def lease(self, seconds: float) -> Lease | None:
        """See :meth:`Queue.lease`; returns at once."""
        millis = math.ceil(checked_seconds(seconds) * 1000)
        with files.system_errors(self.url):
            now = self._home.now()
            if not 0 <= now - self._reaped_at < millis / 3 or now >= self._parked_until:
                self._reap(now)
            lease = self._take(millis)
            if lease is None:
                self._home.require()
            return lease

    def renew(self, lease: Lease, seconds: float) -> bool:
        """See :meth:`Queue.renew`."""
        millis = math.ceil(checked_seconds(seconds) * 1000)
        with files.system_errors(self.url):
            later = Claim(lease.id, lease.attempt, millis, self._home.now() + millis, lease.token).name
            if not self._end(lease, lambda claim: files.move(claim, os.path.join(self._home.doing, later))):
                return False
            self._claims[lease.token] = later
            return True

    def done(self, lease: Lease) -> bool:
        """See :meth:`Queue.done`."""
        with files.system_errors(self.url):
            return self._end(lease, files.unlink)

    def release(self, lease: Lease, *, counts: bool = False, delay: float = 0.0) -> bool:
        """See :meth:`Queue.release`."""
        attempts = lease.attempt if counts else lease.attempt - 1
        millis = math.ceil(checked_delay(delay) * 1000)
        with files.system_errors(self.url):
            if not millis:
                return self._end(lease, lambda claim: self._to_page(claim, lease.id, attempts))
            until = self._home.now() + millis
            parked = Claim(lease.id, attempts, millis, until, f"p{files.nonce()}").name
            self._parked_until = min(self._parked_until, until)
            return self._end(lease, lambda claim: files.move(claim, os.path.join(self._home.doing, parked)))

    def fail(self, lease: Lease, reason: str) -> bool:
        """See :meth:`Queue.fail`. The reason is written first, so that no dead letter is ever without one."""
        letter = os.path.join(self._home.dead, names.waiting(lease.id, lease.attempt, files.nonce()))
        with files.system_errors(self.url):
            self._home.require()
            draft = os.path.join(self._home.tmp, files.nonce())
            files.write_whole(draft, f"{letter}.txt", reason.encode(errors="backslashreplace"))
            if self._end(lease, lambda claim: files.move(claim, letter)):
                return True
            files.unlink(f"{letter}.txt")
            return False

    def counts(self) -> Counts:
        """See :meth:`Queue.counts`. Expired leases are returned on the way."""
        with files.system_errors(self.url):
            claims = self._reap(self._home.now())
            self._home.require()
            parked = sum(claim.parked for claim in claims)
            waiting = sum(len(self._home.page(page)) for page in self._home.pages())
            return Counts(waiting + parked, len(claims) - parked, len(self._home.letters()))

    def held(self) -> Iterator[str]:
        """See :meth:`Queue.held`. Expired leases are returned on the way."""
        with files.system_errors(self.url):
            claims = self._reap(self._home.now())
            self._home.require()
            for claim in claims:
                if not claim.parked:
                    body = files.read(os.path.join(self._home.doing, claim.name), *names.extent(claim.id))
                    if body is not None:
                        yield body

    def peek(self, most: int) -> list[str]:
        """See :meth:`Queue.peek`. Those of each page in its turn, so that large runs do not hide small ones."""
        with files.system_errors(self.url):
            self._home.require()
            pages = [[(page, name) for name in self._home.page(page)] for page in self._home.pages()[:most]]
            turns = (one for row in zip_longest(*pages) for one in row if one is not None)
            bodies = (
                files.read(os.path.join(self._home.todo, page, name), *names.extent(name.partition(".")[0]))
                for page, name in islice(turns, most)
            )
            return [body for body in bodies if body is not None]

    def dead(self) -> Iterator[Letter]:
        """See :meth:`Queue.dead`."""
        with files.system_errors(self.url):
            self._home.require()
            for name in sorted(self._home.letters()):
                path = os.path.join(self._home.dead, name)
                ident, attempts, _ = name.split(".")
                body = files.read(path, *names.extent(ident))
                if body is not None:
                    yield Letter(ident, body, files.read(f"{path}.txt") or "", int(attempts))

    def retry_dead(self, ids: Collection[str] | None = None) -> int:
        """See :meth:`Queue.retry_dead`."""
        count = 0
        with files.system_errors(self.url):
            self._home.require()
            for name in self._home.letters():
                letter, ident = os.path.join(self._home.dead, name), name.partition(".")[0]
                if (ids is None or ident in ids) and self._to_page(letter, ident, 0):
                    files.unlink(f"{letter}.txt")
                    count += 1
        return count

    def forget_dead(self, ids: Collection[str]) -> int:
        """See :meth:`Queue.forget_dead`."""
        count = 0
        with files.system_errors(self.url):
            self._home.require()
            for name in self._home.letters():
                letter = os.path.join(self._home.dead, name)
                if name.partition(".")[0] in ids and files.unlink(letter):
                    files.unlink(f"{letter}.txt")
                    count += 1
        return count

    def release_all(self) -> int:
        """See :meth:`Queue.release_all`. What is parked stays so."""
        with files.system_errors(self.url):
            self._home.require()
            return sum(self._back(claim, claim.attempts - 1) for claim in self._home.claims() if not claim.parked)

    def purge(self) -> int:
        """See :meth:`Queue.purge`. What another process is staging this moment appears afterwards."""
        home, count = self._home, 0
        with files.system_errors(self.url):
            home.require()
            for page in home.pages():
                trash = os.path.join(home.tmp, files.nonce())  # whole: nobody leases from half a page
                if files.move(os.path.join(home.todo, page), trash):
                    count += len(files.named(trash, names.WAITING))
                    files.discard(trash)
            for claim in home.claims():
                count += files.unlink(os.path.join(home.doing, claim.name))
            for name in home.letters():
                count += files.unlink(os.path.join(home.dead, name))
                files.unlink(os.path.join(home.dead, f"{name}.txt"))
        return count

    # Putting each body once.

    @staticmethod
    def _encoded(bodies: Iterable[str], seen: set[str] | None) -> Iterator[bytes]:
        """The bodies as bytes, without those whose digest was ``seen``; None: all of them."""
        for text in bodies:
            body = text.encode()
            if seen is not None:
                digest = names.digest(body)
                if digest in seen:
                    continue
                seen.add(digest)
            yield body

    def _digests(self) -> set[str]:
        """Digests of all messages. The pages are listed twice, lest one be missed on its way out or back."""
        found: set[str] = set()
        for look in (self._waiting, self._claimed, self._home.letters, self._waiting):
            found.update(map(names.digest_of, look()))
        return found

    def _waiting(self) -> Iterator[str]:
        return (name for page in self._home.pages() for name in self._home.page(page))

    def _claimed(self) -> Iterator[str]:
        return (claim.id for claim in self._home.claims())

    # Taking, holding and giving back.

    def _take(self, millis: int) -> Lease | None:
        """Claim one waiting message, whichever is won first."""
        home = self._home
        for page, name in self._candidates():
            ident, attempts, _ = name.split(".")
            token = files.nonce()
            claim = Claim(ident, int(attempts) + 1, millis, home.now() + millis, token)
            target = os.path.join(home.doing, claim.name)
            if files.move(os.path.join(home.todo, page, name), target):
                body = files.read(target, *names.extent(ident))
                if body is not None:
                    self._claims[token] = claim.name
                    return Lease(ident, body, claim.attempts, token)
        return None

    def _candidates(self) -> Iterator[tuple[str, str]]:
        """Messages that waited a moment ago: those known, then those of one fresh look at every page.

        One look and no more: an NFS client may list names that are gone for a minute, and would turn on the spot.
        """
        if 0 <= self._home.now() - self._looked_at < _LOOK_MS:
            yield from self._known()
        self._look()
        yield from self._known()

    def _known(self) -> Iterator[tuple[str, str]]:
        while self._names or self._pages:
            with suppress(IndexError):  # an empty page, or another thread was quicker
                if not self._names:
                    self._look_into(self._pages.pop())
                name = self._names.pop()
                yield names.page_of(name), name

    def _look(self) -> None:
        """Learn the pages anew. Those of the page in hand are kept unless another is more urgent."""
        self._looked_at = self._home.now()
        pages = self._home.pages()
        random.shuffle(pages)
        pages.sort(key=lambda page: page[0], reverse=True)
        if pages and any(name[0] > pages[-1][0] for name in self._names[:1]):
            self._names = []
        self._pages = pages

    def _look_into(self, page: str) -> None:
        """Learn the messages of a page; remove it if it has none."""
        found = self._home.page(page)
        if found:
            random.shuffle(found)
            self._names = found
        else:
            files.remove_empty(os.path.join(self._home.todo, page))

    def _end(self, lease: Lease, move: Callable[[str], bool]) -> bool:
        """Do the last of a claim's moves under its present name; False: the lease was lost."""
        return any(move(os.path.join(self._home.doing, name)) for name in self._names_of(lease))

    def _names_of(self, lease: Lease) -> Iterator[str]:
        """What the lease's file is called: as we know it, or as a move called it whose answer we never heard."""
        known = self._claims.pop(lease.token, "")
        if known:
            yield known
        for name in files.named(self._home.doing, names.CLAIM):
            if name != known and name.endswith(f".{lease.token}"):
                yield name

    def _to_page(self, source: str, ident: str, attempts: int) -> bool:
        """Move a message to its page, made again where it was removed; False: it is not ours to move."""
        page = os.path.join(self._home.todo, names.page_of(ident))
        target = os.path.join(page, names.waiting(ident, attempts, files.nonce()))
        for _ in range(_MOVES):
            if files.move(source, target):
                return True
            if not os.path.exists(source):
                return False
            files.make_directory(page)
        raise TransientError(f"{self.url}: no place for {source}, because {page} kept vanishing; try again")

    def _back(self, claim: Claim, attempts: int) -> bool:
        """Return a leased or parked message to waiting."""
        return self._to_page(os.path.join(self._home.doing, claim.name), claim.id, attempts)

    def _reap(self, now: int) -> list[Claim]:
        """Return to waiting whatever's time is over, attempts counted; what remains leased or parked."""
        live = []
        for claim in self._home.claims():
            if claim.over(now):
                self._back(claim, claim.attempts)
            else:
                live.append(claim)
        self._reaped_at = now
        self._parked_until = min((claim.deadline for claim in live if claim.parked), default=math.inf)
        return live
