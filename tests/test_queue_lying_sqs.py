"""The queue on an SQS that lies, over a network that loses answers: thousands of histories, and no message is lost."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import fields
from typing import Any, TypeVar

import pytest

from igneous_ng.errors import TransientError
from igneous_ng.queues import Lease, sqs_client
from igneous_ng.queues.protocol import PRIORITIES
from igneous_ng.queues.sqs import SqsQueue
from igneous_ng.queues.sqs_messages import Message
from tests.sqs_simulator import HONEST, LYING, Faults, Simulator

Answer = TypeVar("Answer")
STEPS = 100
RATES = (1.0, 0.2, 0.05)  # of the workers' clocks: those that are late use receipts that are stale
REASON = "Traceback:\n  é"


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqs_client, "_PAUSE_S", 0.0)


class History:
    """Some workers that lease, hold, give back and end messages, trying again what failed, until they lose patience."""

    def __init__(self, seed: int) -> None:
        self.now = 0.0
        self.random = random.Random(seed)
        self.service = Simulator(lambda: self.now, LYING, seed)
        self.planner = self.connect()
        self.workers = [self.connect(rate) for rate in RATES]
        self.leases: list[tuple[SqsQueue, Lease]] = []
        self.put: set[str] = set()
        self.acked: set[str] = set()  # done was called, and may have happened whatever was answered

    def connect(self, rate: float = 1.0) -> SqsQueue:
        return SqsQueue("q", client=self.service, clock=lambda: self.now * rate, wait_seconds=0)

    def tried(self, verb: Callable[[], Answer], times: int) -> Answer | None:
        """The answer of a verb; None: the world was wrong that often."""
        for _ in range(times):
            try:
                return verb()
            except TransientError:
                self.now += self.random.uniform(0, 2)
        return None

    def live(self) -> None:
        for priority in PRIORITIES:
            bodies = [f"{priority} {i} ä" for i in range(self.random.randrange(5, 15))]
            assert self.tried(lambda b=bodies, p=priority: self.planner.put(b, priority=p), 1000) == len(bodies)  # type: ignore[misc]
            self.put.update(bodies)
        for _ in range(STEPS):
            self.step()
            self.now += self.random.choice([0, 0, 1, 5, 70])

    def step(self) -> None:
        chance = self.random.random()
        if chance < 0.1:
            self.tried(lambda: self.planner.retry_dead(), 1)
        elif chance < 0.15:
            self.tried(lambda: self.check_letters(self.planner), 1)
        elif chance < 0.5 or not self.leases:
            worker = self.random.choice(self.workers)
            lease = self.tried(lambda: worker.lease(60), 3)
            if lease is not None:
                assert lease.body in self.put
                self.leases.append((worker, lease))
        else:
            self.end(*self.leases.pop(self.random.randrange(len(self.leases))))

    def end(self, worker: SqsQueue, lease: Lease) -> None:
        verb = self.random.choice(["renew", "done", "release", "count", "park", "fail", "die"])
        if verb == "renew":
            if self.tried(lambda: worker.renew(lease, 60), 3):
                self.leases.append((worker, lease))
        elif verb == "done":
            self.acked.add(lease.body)
            self.tried(lambda: worker.done(lease), 3)
        elif verb == "fail":
            self.tried(lambda: worker.fail(lease, REASON), 3)
        elif verb != "die":
            delay = self.random.choice([0, 30]) if verb != "release" else 0
            self.tried(lambda: worker.release(lease, counts=verb == "count", delay=delay), 3)

    def check_letters(self, queue: SqsQueue) -> set[str]:
        letters = list(queue.dead())
        assert len({letter.id for letter in letters}) == len(letters)
        assert all(letter.body in self.put and letter.reason == REASON for letter in letters)
        return {letter.body for letter in letters}

    def left(self) -> set[str]:
        """What an honest SQS and patient workers find in the end."""
        self.service.faults = HONEST
        self.now += 100_000
        heir = self.connect()
        found = self.check_letters(heir)
        while (lease := heir.lease(60)) is not None:
            found.add(lease.body)
            assert heir.done(lease)
        return found


def lost(seed: int) -> set[str]:
    history = History(seed)
    history.live()
    return history.put - history.acked - history.left()


@pytest.mark.long
def test_no_message_is_lost_in_thousands_of_histories() -> None:
    assert {seed: gone for seed in range(2000) if (gone := lost(seed))} == {}


@pytest.mark.long
def test_no_message_is_lost_in_very_many_histories() -> None:
    assert {seed: gone for seed in range(2000, 20_000) if (gone := lost(seed))} == {}


def test_every_lie_is_told_and_every_verb_has_its_way_at_times() -> None:
    """Else the tests above would show nothing."""
    histories = [History(seed) for seed in range(100)]
    for history in histories:
        history.live()
    told = sum((history.service.lies for history in histories), Counter())
    assert all(told[fault.name] > 50 for fault in fields(Faults)), told
    assert sum(bool(history.acked) for history in histories) > 90
    assert sum("q-dead" in history.service.queues for history in histories) > 80


def test_a_careless_client_would_be_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that believes a batch that was answered at all, as many do."""

    def trusting(self: sqs_client.Client, operation: str, address: str, entries: list[dict[str, Any]]) -> None:
        with sqs_client.sqs_errors("q"):
            getattr(self._boto, operation)(
                QueueUrl=address, Entries=[{"Id": str(i), **e} for i, e in enumerate(entries)]
            )

    monkeypatch.setattr(sqs_client.Client, "_insist", trusting)
    assert any(lost(seed) for seed in range(10))


def test_a_hasty_client_would_be_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that removes a message before its copy is safe."""

    def hasty(self: SqsQueue, lease: Lease, address: str, copy: Message) -> bool:
        return self.done(lease) and self._client.send(address, [copy]) == 1

    monkeypatch.setattr(SqsQueue, "_move", hasty)
    assert any(lost(seed) for seed in range(100))
