"""A queue in this process's memory, for tests and small local runs. Thread-safe; gone with the process."""

from __future__ import annotations

import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field

from igneous_ng.queues.protocol import (
    PRIORITIES,
    Counts,
    Lease,
    Letter,
    Priority,
    checked_delay,
    checked_seconds,
    missing,
)


@dataclass(slots=True)
class _Message:
    id: str
    body: str
    priority: Priority
    attempts: int = 0
    until: float = 0.0
    reason: str = ""


@dataclass(slots=True)
class _State:
    """All there is of one queue; ``lock`` guards every other field."""

    lock: threading.RLock = field(default_factory=threading.RLock)
    made: bool = False
    waiting: dict[Priority, deque[_Message]] = field(default_factory=lambda: {p: deque() for p in PRIORITIES})
    leased: dict[str, _Message] = field(default_factory=dict)
    parked: list[_Message] = field(default_factory=list)
    dead: list[_Message] = field(default_factory=list)

    def messages(self) -> Iterator[_Message]:
        """All of them."""
        for waiting in self.waiting.values():
            yield from waiting
        yield from self.leased.values()
        yield from self.parked
        yield from self.dead

    def back(self, message: _Message) -> None:
        """Let a message wait, behind others of its priority."""
        self.waiting[message.priority].append(message)


_STATES: dict[str, _State] = {}
_STATES_LOCK = threading.Lock()


class MemoryQueue:
    """``memory://NAME``: every object of one name in one process is the same queue. First in, first out.

    ``clock`` yields seconds and never runs backwards; a test hands in its own and lets leases expire at will.
    A lease is lost the moment its time is over.
    """

    exact = True

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.url = f"memory://{name}"
        self._clock = clock
        with _STATES_LOCK:
            self._state = _STATES.setdefault(name, _State())

    def put(self, bodies: Iterable[str], *, priority: Priority = "normal", unique: bool = False) -> int:
        """See :meth:`Queue.put`."""
        state, sent = self._state, 0
        with state.lock:
            state.made = True
            seen = {message.body for message in state.messages()} if unique else set()
        for body in bodies:  # unlocked: whoever makes the bodies may use the queue meanwhile
            if body in seen:
                continue
            if unique:
                seen.add(body)
            with state.lock:
                state.back(_Message(uuid.uuid4().hex, body, priority))
            sent += 1
        return sent

    def lease(self, seconds: float) -> Lease | None:
        """See :meth:`Queue.lease`."""
        checked_seconds(seconds)
        with self._state.lock:
            state = self._settled()
            first = next((waiting for waiting in state.waiting.values() if waiting), None)
            if first is None:
                return None
            message = first.popleft()
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

    def release(self, lease: Lease, *, counts: bool = False, delay: float = 0.0) -> bool:
        """See :meth:`Queue.release`."""
        checked_delay(delay)
        with self._state.lock:
            state = self._settled()
            message = state.leased.pop(lease.token, None)
            if message is None:
                return False
            message.attempts -= not counts
            if delay:
                message.until = self._clock() + delay
                state.parked.append(message)
            else:
                state.back(message)
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
            waiting = sum(map(len, state.waiting.values())) + len(state.parked)
            return Counts(waiting, len(state.leased), len(state.dead))

    def held(self) -> Iterator[str]:
        """See :meth:`Queue.held`; those of this moment."""
        with self._state.lock:
            bodies = [message.body for message in self._settled().leased.values()]
        return iter(bodies)

    def peek(self, most: int) -> list[str]:
        """See :meth:`Queue.peek`."""
        with self._state.lock:
            return [message.body for waiting in self._settled().waiting.values() for message in waiting][:most]

    def dead(self) -> Iterator[Letter]:
        """See :meth:`Queue.dead`; the dead letters of this moment."""
        with self._state.lock:
            letters = [Letter(m.id, m.body, m.reason, m.attempts) for m in self._settled().dead]
        return iter(letters)

    def retry_dead(self, ids: Collection[str] | None = None) -> int:
        """See :meth:`Queue.retry_dead`."""
        with self._state.lock:
            state = self._settled()
            retried = [message for message in state.dead if ids is None or message.id in ids]
            state.dead = [message for message in state.dead if ids is not None and message.id not in ids]
            for message in retried:
                message.attempts = 0
                state.back(message)
            return len(retried)

    def forget_dead(self, ids: Collection[str]) -> int:
        """See :meth:`Queue.forget_dead`."""
        with self._state.lock:
            state = self._settled()
            kept = [message for message in state.dead if message.id not in ids]
            forgotten, state.dead = len(state.dead) - len(kept), kept
            return forgotten

    def release_all(self) -> int:
        """See :meth:`Queue.release_all`."""
        with self._state.lock:
            state = self._settled()
            held, state.leased = list(state.leased.values()), {}
            for message in held:
                message.attempts -= 1
                state.back(message)
            return len(held)

    def purge(self) -> int:
        """See :meth:`Queue.purge`."""
        with self._state.lock:
            state = self._settled()
            total = sum(1 for _ in state.messages())
            for waiting in state.waiting.values():
                waiting.clear()
            state.leased, state.parked, state.dead = {}, [], []
            return total

    def _settled(self) -> _State:
        """The state, with what has come to its time back in waiting; to be called with the lock held."""
        state = self._state
        if not state.made:
            raise missing(self.url)
        now = self._clock()
        for token in [token for token, message in state.leased.items() if message.until < now]:
            state.back(state.leased.pop(token))
        for message in [message for message in state.parked if message.until < now]:
            state.parked.remove(message)
            state.back(message)
        return state
