"""What the tests of queues share: one stand per back end, and an SQS emulator on loopback."""

from __future__ import annotations

import os
import time
import uuid
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest

from igneous_ng.queues import Queue, connect
from igneous_ng.queues.memory import MemoryQueue
from igneous_ng.queues.sqs import SqsQueue


class Stand:
    """A queue nobody made yet: more objects for it, and a way to let its leases expire."""

    lease_s: float = 60.0  # long enough to be held through a test

    def connect(self) -> Queue:
        raise NotImplementedError

    def expire(self) -> None:
        """Let the time of every lease of ``lease_s`` seconds run out."""
        raise NotImplementedError


@dataclass
class MemoryStand(Stand):
    name: str = field(default_factory=lambda: uuid.uuid4().hex)
    now: float = 0.0

    def connect(self) -> Queue:
        return MemoryQueue(self.name, clock=lambda: self.now)

    def expire(self) -> None:
        self.now += self.lease_s + 1


@dataclass
class PosixStand(Stand):
    path: Path

    def connect(self) -> Queue:
        return connect(f"fq://{self.path}")

    def expire(self) -> None:
        age(self.path, self.lease_s + 1)


@dataclass
class SqsStand(Stand):
    lease_s: float = 1.0
    name: str = field(default_factory=lambda: f"q-{uuid.uuid4().hex}")

    def connect(self) -> Queue:
        return SqsQueue(self.name, wait_seconds=0)

    def expire(self) -> None:
        time.sleep(self.lease_s + 0.1)


def age(path: Path, seconds: float) -> None:
    """Make every lease of a queue directory ``seconds`` older."""
    for claim in (path / "doing").iterdir():
        then = claim.stat().st_mtime - seconds
        os.utime(claim, (then, then))


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


def use_emulator(monkeypatch: pytest.MonkeyPatch) -> None:
    """Point boto3 to an SQS on loopback, started once; skips where moto is not installed."""
    address = _emulator()
    for key, value in {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",
    }.items():
        monkeypatch.setenv(key, value)
