"""What the tests of queues share: one stand per back end, each with a clock that the test turns."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from igneous_ng.queues import Lease, Queue
from igneous_ng.queues.memory import MemoryQueue
from igneous_ng.queues.posix import PosixQueue
from igneous_ng.queues.sqs import SqsQueue
from tests.sqs_simulator import Simulator

NOON = 1_800_000_000.0  # of the fake file server


class Stand:
    """A queue nobody made yet: more objects for it, and a way to let time pass."""

    lease_s: float = 60.0  # long enough to be held through a test

    def connect(self) -> Queue:
        raise NotImplementedError

    def pass_by(self, seconds: float) -> None:
        """Let time pass for the queue."""
        raise NotImplementedError

    def expire(self) -> None:
        """Let the time of every lease of ``lease_s`` seconds run out."""
        self.pass_by(self.lease_s + 0.5)


@dataclass
class MemoryStand(Stand):
    name: str = field(default_factory=lambda: uuid.uuid4().hex)
    now: float = 0.0

    def connect(self) -> Queue:
        return MemoryQueue(self.name, clock=lambda: self.now)

    def pass_by(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class PosixStand(Stand):
    path: Path
    now: float = NOON

    def connect(self) -> PosixQueue:
        return PosixQueue(str(self.path), clock=lambda: self.now)

    def pass_by(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class SimulatedSqsStand(Stand):
    now: float = 0.0

    def __post_init__(self) -> None:
        self.service = Simulator(clock=lambda: self.now)

    def connect(self) -> Queue:
        return SqsQueue("simulated", client=self.service, clock=lambda: self.now)

    def pass_by(self, seconds: float) -> None:
        self.now += seconds


class _Ahead:
    """How far the clocks of the emulator and of its clients are ahead of the true time."""

    seconds = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.seconds

    def millis(self, _now: object = None) -> float:
        return (time.time() + self.seconds) * 1000


_AHEAD = _Ahead()  # one for all tests, as the emulator is


@dataclass
class SqsStand(Stand):
    """A true client of an emulator whose clock can be put forward: nobody has to wait, nor to be quick."""

    name: str = field(default_factory=lambda: f"q-{uuid.uuid4().hex}")

    def connect(self) -> Queue:
        return SqsQueue(self.name, wait_seconds=0, clock=_AHEAD.monotonic)

    def pass_by(self, seconds: float) -> None:
        _AHEAD.seconds += seconds


def taken(queue: Queue, seconds: float = 60) -> Lease:
    """A message that must be there."""
    lease = queue.lease(seconds)
    assert lease is not None
    return lease


def tree(path: Path) -> list[str]:
    """Every path below a directory, sorted."""
    return sorted(str(p.relative_to(path)) for p in path.rglob("*"))


@cache
def _emulator() -> str:
    server = pytest.importorskip("moto.server", reason="moto[server] emulates SQS; it is not installed")
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    return f"http://{host}:{port}"


def use_emulator(monkeypatch: pytest.MonkeyPatch) -> str:
    """Point boto3 to an SQS on loopback, started once; its address. Skips where moto is not installed."""
    address = _emulator()
    monkeypatch.setattr("moto.sqs.models.unix_time_millis", _AHEAD.millis)
    for key, value in {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(key, value)
    return address


class Watched:
    """Every call that changes the file system below a queue goes by :meth:`tick` first, and writes by :meth:`write`."""

    CALLS: tuple[str, ...]

    def watch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in self.CALLS:
            monkeypatch.setattr(os, name, self.guard(name, getattr(os, name)))
        self.real_open, self.real_write = os.open, os.pwrite
        monkeypatch.setattr(os, "open", self.open)
        monkeypatch.setattr(os, "pwrite", self.write)

    def tick(self, name: str) -> None:
        raise NotImplementedError

    def write(self, handle: int, data: bytes, offset: int) -> int:
        raise NotImplementedError

    def guard(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*args: Any, **options: Any) -> Any:
            self.tick(name)
            return call(*args, **options)

        return guarded

    def open(self, path: str, flags: int, *rest: Any, **options: Any) -> int:
        if flags & os.O_CREAT:
            self.tick("open")
        return self.real_open(path, flags, *rest, **options)
