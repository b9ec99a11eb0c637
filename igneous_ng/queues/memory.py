"""A queue in this process's memory, for tests and small local runs. Thread-safe; gone with the process."""

from __future__ import annotations

import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from igneous_ng.queues.protocol import Counts, Lease, checked_seconds, missing


@dataclass(slots=True)
class _Message:
    id: str
    body: str
    attempts: int = 0
    until: float = 0.0
    reason: str = ""


@dataclass(slots=True)
class _State:
    """All there is of one queue; ``lock`` guards every other field."""

    lock: threading.RLock = field(default_factory=threading.RLock)
    made: bool = False
    waiting: deque[_Message] = field(default_factory=deque)
    leased: dict[str, _Message] = field(default_factory=dict)
    dead: list[_Message] = field(default_factory=list)


_STATES: dict[str, _State] = {}
_STATES_LOCK = threading.Lock()


class MemoryQueue:
    """``memory://NAME``: every object of one name in one process is the same queue. First in, first out.

    ``clock`` yields seconds and never runs backwards; a test hands in its own and lets leases expire at will.
    A lease is lost the moment its time is over.
    """

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.url = f"memory://{name}"
        self._clock = clock
        with _STATES_LOCK:
            self._state = _STATES.setdefault(name, _State())

    def put(self, bodies: Iterable[str]) -> int:
        """See :meth:`Queue.put`."""
        state, sent = self._state, 0
        with state.lock:
            state.made = True
        for body in bodies:  # unlocked: whoever makes the bodies may use the queue meanwhile
            with state.lock:
                state.waiting.append(_Message(uuid.uuid4().hex, body))
            sent += 1
        return sent

    def lease(self, seconds: float) -> Lease | None:
        """See :meth:`Queue.lease`."""
        checked_seconds(seconds)
        with self._state.lock:
            state = self._settled()
            if not state.waiting:
                return None
            message = state.waiting.popleft()
            message.attempts += 1
            message.until = self._clock() + seconds
            token = uuid.uuid4().hex
            state.leased[token] = message
            return Lease(message.id, message.body, message.attempts, token)

    def renew(self, lease: Lease, seconds: float) -> bool:
        """See :meth:`Queue.renew`."""
        checked_seconds(seconds)
        with self._state.lock:
            message = self._settled().leased.get(lease.token)
            if message is None:
                return False
            message.until = self._clock() + seconds
            return True

    def done(self, lease: Lease) -> bool:
        """See :meth:`Queue.done`."""
        with self._state.lock:
            return self._settled().leased.pop(lease.token, None) is not None

    def release(self, lease: Lease, *, counts: bool = False) -> bool:
        """See :meth:`Queue.release`."""
        with self._state.lock:
            state = self._settled()
            message = state.leased.pop(lease.token, None)
            if message is None:
                return False
            message.attempts -= not counts
            state.waiting.append(message)
            return True

    def fail(self, lease: Lease, reason: str) -> bool:
        """See :meth:`Queue.fail`."""
        with self._state.lock:
            state = self._settled()
            message = state.leased.pop(lease.token, None)
            if message is None:
                return False
            message.reason = reason
            state.dead.append(message)
            return True

    def counts(self) -> Counts:
        """See :meth:`Queue.counts`; exact here."""
        with self._state.lock:
            state = self._settled()
            return Counts(len(state.waiting), len(state.leased), len(state.dead))

    def dead(self) -> Iterator[tuple[str, str]]:
        """See :meth:`Queue.dead`; the dead letters of this moment."""
        with self._state.lock:
            letters = [(message.body, message.reason) for message in self._settled().dead]
        return iter(letters)

    def retry_dead(self) -> int:
        """See :meth:`Queue.retry_dead`."""
        with self._state.lock:
            state = self._settled()
            letters, state.dead = state.dead, []
            for message in letters:
                message.attempts = 0
            state.waiting.extend(letters)
            return len(letters)

    def release_all(self) -> int:
        """See :meth:`Queue.release_all`."""
        with self._state.lock:
            state = self._settled()
            held, state.leased = list(state.leased.values()), {}
            for message in held:
                message.attempts -= 1
            state.waiting.extend(held)
            return len(held)

    def purge(self) -> int:
        """See :meth:`Queue.purge`."""
        with self._state.lock:
            state = self._settled()
            total = len(state.waiting) + len(state.leased) + len(state.dead)
            state.waiting.clear()
            state.leased.clear()
            state.dead.clear()
            return total

    def _settled(self) -> _State:
        """The state, expired leases back in waiting; to be called with the lock held."""
        state = self._state
        if not state.made:
            raise missing(self.url)
        now = self._clock()
        for token in [token for token, message in state.leased.items() if message.until < now]:
            state.waiting.append(state.leased.pop(token))
        return state
