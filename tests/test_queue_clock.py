"""The queue in a directory and time: whose clock decides, how it jumps, and when somebody looks."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from igneous_ng.queues import Counts
from igneous_ng.queues.names import Claim
from igneous_ng.queues.posix import PosixQueue
from tests.queue_harness import PosixStand, taken


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue"


@pytest.fixture
def stand(path: Path) -> PosixStand:
    return PosixStand(path)


def test_no_clock_of_a_client_makes_a_lease_expire(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = PosixQueue(str(path))
    queue.put(["a"])
    lease = taken(queue)
    monkeypatch.setattr(time, "time", lambda: 4e9)
    monkeypatch.setattr(time, "monotonic", lambda: 4e9)
    other = PosixQueue(str(path))
    assert other.lease(60) is None
    assert other.counts() == Counts(0, 1, 0)
    assert queue.done(lease)


def test_the_clock_of_the_server_does(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = PosixQueue(str(path))
    queue.put(["a"])
    taken(queue)
    real = os.utime

    def later(target: str) -> None:
        real(target, (time.time() + 61, time.time() + 61))

    monkeypatch.setattr(os, "utime", later)
    assert PosixQueue(str(path)).counts() == Counts(1, 0, 0)


def test_the_server_is_asked_for_the_time_once_a_second(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queue, asked = PosixQueue(str(path)), []
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    queue.put(str(i) for i in range(60))
    real = os.utime

    def counted(target: str) -> None:
        asked.append(now)
        real(target)

    monkeypatch.setattr(os, "utime", counted)
    for _ in range(50):
        queue.renew(taken(queue), 60)
        now += 0.1
    assert 4 <= len(asked) <= 6


@pytest.mark.parametrize("jump", [-1e6, 1e6])
def test_a_jump_of_the_servers_clock_costs_no_more_than_another_run(stand: PosixStand, jump: float) -> None:
    queue, other = stand.connect(), stand.connect()
    queue.put(["held", "parked", "renewed"])
    leases = {lease.body: lease for lease in (taken(queue) for _ in range(3))}
    assert queue.release(leases["parked"], delay=600)
    stand.now += jump
    assert queue.renew(leases["renewed"], 60)
    assert sorted(taken(other).body for _ in range(2)) == ["held", "parked"]  # at once, and not in 11 days
    assert other.lease(60) is None
    assert not queue.renew(leases["held"], 60)
    assert queue.done(leases["renewed"])


def test_a_small_step_back_of_the_clock_costs_nothing(stand: PosixStand) -> None:
    queue = stand.connect()
    queue.put(["a"])
    lease = taken(queue)
    stand.now -= 5
    assert stand.connect().counts() == Counts(0, 1, 0)
    assert queue.renew(lease, 60)
    assert queue.done(lease)


def test_a_renewal_wins_over_who_saw_the_lease_expire(stand: PosixStand, monkeypatch: pytest.MonkeyPatch) -> None:
    queue, other = stand.connect(), stand.connect()
    queue.put(["a"])
    lease = taken(queue)
    stand.expire()
    real = other._home.claims

    def seen() -> list[Claim]:
        claims = real()
        assert queue.renew(lease, 60)  # after the listing, before anything is moved
        return claims

    with monkeypatch.context() as patched:
        patched.setattr(other._home, "claims", seen)
        assert other.lease(60) is None
    assert queue.done(lease)
    assert queue.counts() == Counts(0, 0, 0)


def test_expired_leases_are_looked_for_every_third_of_a_lease(
    stand: PosixStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = stand.connect()
    looks: list[float] = []
    queue.put(["a"])
    real = queue._home.claims

    def looked() -> list[Claim]:
        looks.append(stand.now)
        return real()

    monkeypatch.setattr(queue._home, "claims", looked)
    taken(queue)
    for _ in range(60):
        stand.pass_by(1)
        queue.lease(60)
    assert [round(look - looks[0]) for look in looks] == [0, 20, 40, 60]


def test_who_knows_of_a_parked_message_looks_when_its_time_has_come(stand: PosixStand) -> None:
    queue = stand.connect()
    queue.put(["a", "b"])
    first, second = taken(queue, 600), taken(queue, 600)
    queue.release(first, delay=2)
    queue.release(second, delay=4)
    assert queue.lease(600) is None
    stand.pass_by(2.1)
    assert taken(queue, 600).body == first.body
    stand.pass_by(2.1)
    assert taken(queue, 600).body == second.body
