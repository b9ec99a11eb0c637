"""Holds leases, keeps them alive, and hands messages to child processes; it runs no kernel itself.

A kernel that holds the interpreter's lock, crashes or eats all memory therefore stops neither the
heartbeat nor the answer to a signal. Rules: a wrong request or wrong data goes to the dead letters at
once; anything else is tried ``MAX_ATTEMPTS`` times; a preemption counts as no attempt.
"""

from __future__ import annotations

import json
import logging
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

from igneous_ng.errors import SpecError
from igneous_ng.queues import Lease, Queue
from igneous_ng.records import Message

log = logging.getLogger(__name__)

MAX_ATTEMPTS = 3
_TICK = 0.2
_POLL = 1.0
_GRACE = 5.0


@dataclass(frozen=True)
class Event:
    """Something that happened: ``leased``, ``unit``, ``done``, ``retry`` or ``dead``."""

    kind: str
    body: str
    text: str = ""


@dataclass(frozen=True)
class Policy:
    """How to work: processes, seconds of a lease, whether to wait for more when the queue is empty, allowed roots."""

    processes: int = 1
    lease: float = 120.0
    wait: bool = False
    roots: tuple[str, ...] = ()


class Child:
    """One process and the message it works on."""

    def __init__(self, roots: tuple[str, ...]) -> None:
        self._roots = roots
        self.lease: Lease | None = None
        self.renewed = 0.0
        self.idle_until = 0.0
        self._buffer = b""
        self._start()

    def _start(self) -> None:
        command = [sys.executable, "-m", "igneous_ng.worker.child", *self._roots]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._buffer = b""

    @property
    def stdout(self) -> Any:
        """The pipe to select on."""
        return self.process.stdout

    def ask(self, do: str, lease: Lease) -> None:
        """Send a request; a child that is gone is noticed when its output ends."""
        assert self.process.stdin is not None
        try:
            request = {"do": do, "message": lease.body, "attempt": lease.attempt}
            self.process.stdin.write((json.dumps(request) + "\n").encode())
            self.process.stdin.flush()
        except BrokenPipeError:
            log.debug("child %d is gone", self.process.pid)

    def events(self) -> tuple[list[dict[str, Any]], bool]:
        """The events that have come, and whether the child still lives."""
        data: bytes = self.stdout.read1(1 << 16)
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        return [json.loads(line) for line in lines], bool(data)

    def restart(self) -> str:
        """Replace a dead process; how it died, in words."""
        status = self.stop(0)
        self._start()
        if status >= 0:
            return f"the process that ran it ended with status {status}"
        return f"the process that ran it was killed by {signal.Signals(-status).name} (out of memory, perhaps)"

    def stop(self, grace: float) -> int:
        """End the process, within ``grace`` seconds if it listens; its exit status."""
        if grace and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(grace)
            except subprocess.TimeoutExpired:
                log.debug("child %d does not listen", self.process.pid)
        if self.process.poll() is None:
            self.process.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        return self.process.wait()


class Supervisor:
    """Works on one queue until it is empty, or for ever, or until a signal comes."""

    def __init__(self, queue: Queue, policy: Policy, sink: Callable[[Event], None]) -> None:
        if policy.processes < 1 or policy.lease <= 0:
            raise SpecError(f"{policy.processes} processes with leases of {policy.lease} s; both must be positive")
        self.queue, self.policy, self.sink = queue, policy, sink
        self.stopped = False
        self.children: list[Child] = []
        self._next_poll = 0.0

    def work(self) -> bool:
        """Work; False where a signal ended it before the queue was empty. Leases are given back."""
        with self._signals():
            try:
                self.children = [Child(self.policy.roots) for _ in range(self.policy.processes)]
                while not self.stopped:
                    self._assign()
                    if self._idle():
                        return True
                    self._listen()
                    self._renew()
                return False
            finally:
                self._end()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        def stop(_number: int, _frame: FrameType | None) -> None:
            self.stopped = True

        old = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in old.items():
                signal.signal(number, handler)

    def _end(self) -> None:
        for child in self.children:
            if child.lease is not None:
                self.queue.release(child.lease)
                child.lease = None
            child.process.terminate()
        for child in self.children:
            child.stop(_GRACE)

    def _assign(self) -> None:
        now = time.monotonic()
        for child in self.children:
            if child.lease is None and now >= max(child.idle_until, self._next_poll):
                lease = self.queue.lease(self.policy.lease)
                if lease is None:
                    self._next_poll = time.monotonic() + _POLL  # the lease itself may have waited
                    return
                child.lease, child.renewed = lease, now
                self.sink(Event("leased", lease.body))
                child.ask("execute", lease)

    def _idle(self) -> bool:
        """Whether there is nothing to do and nothing to come."""
        if self.policy.wait or any(child.lease for child in self.children):
            return False
        if time.monotonic() >= self._next_poll:  # the last poll found a message
            return False
        counts = self.queue.counts()
        return counts.waiting == 0 and counts.leased == 0

    def _listen(self) -> None:
        with selectors.DefaultSelector() as selector:
            for child in self.children:
                selector.register(child.stdout, selectors.EVENT_READ, child)
            ready = [key.data for key, _ in selector.select(_TICK)]
        for child in ready:
            events, alive = child.events()
            for event in events:
                self._react(child, event)
            if not alive:
                self._bury(child)

    def _bury(self, child: Child) -> None:
        reason = child.restart()
        if child.lease is not None:
            self._retry(child, child.lease, reason)

    def _react(self, child: Child, event: dict[str, Any]) -> None:
        lease = child.lease
        if lease is None:  # the lease was lost meanwhile; somebody else has it
            return
        if event["event"] == "unit":
            self.sink(Event("unit", lease.body))
        elif event["event"] == "executed":
            child.ask("finish", lease)
        elif event["event"] == "finished":
            self.queue.done(lease)
            child.lease = None
            self.sink(Event("done", lease.body))
        elif event["kind"] in ("SpecError", "DataError"):
            self._kill_letter(child, lease, event["text"])
        else:
            self._retry(child, lease, event["text"])

    def _retry(self, child: Child, lease: Lease, reason: str) -> None:
        if lease.attempt >= MAX_ATTEMPTS:
            self._kill_letter(child, lease, f"attempt {lease.attempt} of {MAX_ATTEMPTS}: {reason}")
            return
        self.queue.release(lease, counts=True)
        child.lease = None
        child.idle_until = time.monotonic() + 2.0 ** (lease.attempt - 1)
        self.sink(Event("retry", lease.body, reason))

    def _kill_letter(self, child: Child, lease: Lease, reason: str) -> None:
        self.queue.fail(lease, reason)
        child.lease = None
        self.sink(Event("dead", lease.body, reason))

    def _renew(self) -> None:
        now = time.monotonic()
        for child in self.children:
            if child.lease is not None and now - child.renewed > self.policy.lease / 3:
                if self.queue.renew(child.lease, self.policy.lease):
                    child.renewed = now
                else:
                    log.warning("a lease was lost; its work goes on elsewhere: %s", describe(child.lease.body))
                    child.lease = None
                    child.restart()


def describe(body: str) -> str:
    """A message in a few words, for people."""
    try:
        message = Message.parse(body)
    except SpecError:
        return body[:80]
    return f"{message.run.stage.get('stage')} units {message.lo}-{message.hi} of {message.run.id}"
