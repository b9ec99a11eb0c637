"""Every back end against one dictionary: histories of all verbs by three owners, under a clock that the test turns."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal
from unittest.mock import patch

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from igneous_ng.queues import Counts, Lease, Letter, Priority, Queue, files
from igneous_ng.queues.protocol import PRIORITIES
from tests.queue_harness import MemoryStand, PosixStand, SimulatedSqsStand, Stand

OWNERS = 3
TICK = 1.007  # time that passes before each look; never a sum of the times below, so nothing happens on the dot


@dataclass
class Entry:
    """What the model knows of one message.

    ``over``: its time has come, but perhaps nobody has noticed, so its holder may still have it.
    """

    body: str
    priority: Priority
    state: Literal["waiting", "held", "parked", "dead"] = "waiting"
    attempts: int = 0
    until: float = 0.0
    over: bool = False
    id: str = ""
    reason: str = ""
    lease: Lease | None = None
    counted_as_leased: bool = False

    def wait(self, attempts: int) -> None:
        self.state, self.attempts, self.over, self.lease = "waiting", attempts, False, None
        self.counted_as_leased = False

    def lose(self) -> None:
        """Its time is over, and somebody noticed."""
        self.wait(self.attempts)


class QueueMachine(RuleBasedStateMachine):
    """The rules. What differs between back ends are the words below."""

    lazy = False  # an expired lease is lost when somebody notices, not at once
    can_see_all = True  # unique, held and release_all
    confirms_purged = False  # done is answered True for a message that another process purged
    hides_parked = False  # a delayed message that counted an attempt looks leased

    def stand(self) -> Stand:
        raise NotImplementedError

    def __init__(self) -> None:
        super().__init__()
        self.there = self.stand()
        self.owners: list[Queue] = [self.there.connect() for _ in range(OWNERS)]
        self.now = 0.0
        self.entries: dict[str, Entry] = {}
        self.leases: list[tuple[int, Lease]] = []  # all there ever were
        self.made = 0
        self.purged: set[str] = set()

    # The model.

    def of(self, state: str) -> list[Entry]:
        return [entry for entry in self.entries.values() if entry.state == state]

    def pass_by(self, seconds: float) -> None:
        self.there.pass_by(seconds)
        self.now += seconds
        for entry in (*self.of("held"), *self.of("parked")):
            if entry.until < self.now:
                entry.over = True
                if not self.lazy:
                    entry.lose()

    def noticed(self) -> None:
        """Somebody looked for what is over."""
        for entry in self.entries.values():
            if entry.over:
                entry.lose()

    def entry_of(self, lease: Lease) -> Entry | None:
        """What this lease holds, if the model thinks that it holds anything."""
        entry = self.entries.get(lease.body)
        return entry if entry is not None and entry.lease == lease else None

    def ended(self, lease: Lease, answer: bool) -> Entry | None:
        """The entry whose lease ended with ``answer``; None: the lease was lost, as the model says too."""
        entry = self.entry_of(lease)
        if entry is None:
            assert not answer
            return None
        if entry.over:  # both may be
            if not answer:
                entry.lose()
            return entry if answer else None
        assert answer
        return entry

    def some_lease(self, data: st.DataObject) -> tuple[int, Lease]:
        """Most often one that may hold something, or the last that was given; else any there ever was."""
        live = [(owner, lease) for owner, lease in self.leases if self.entry_of(lease) is not None]
        choices = data.draw(st.sampled_from([live, live, live, self.leases[-1:], self.leases]))
        return data.draw(st.sampled_from(choices or self.leases))

    # The rules.

    @initialize()
    def make(self) -> None:
        for priority in PRIORITIES:
            assert self.owners[0].put([], priority=priority) == 0

    @rule(owner=st.integers(0, OWNERS - 1), number=st.integers(1, 4), priority=st.sampled_from(PRIORITIES))
    def put(self, owner: int, number: int, priority: Priority) -> None:
        bodies = [f"{self.made + i} ä\n" for i in range(number)]
        self.made += number
        assert self.owners[owner].put(iter(bodies), priority=priority) == number
        self.entries |= {body: Entry(body, priority) for body in bodies}

    @precondition(lambda self: self.can_see_all)
    @rule(owner=st.integers(0, OWNERS - 1), new=st.integers(0, 2), data=st.data())
    def put_unique(self, owner: int, new: int, data: st.DataObject) -> None:
        fresh = [f"{self.made + i} ä\n" for i in range(new)]
        self.made += new
        bodies = data.draw(st.permutations([*fresh, *fresh, *self.entries]))
        assert self.owners[owner].put(bodies, unique=True) == new
        self.entries |= {body: Entry(body, "normal") for body in fresh}

    @rule(owner=st.integers(0, OWNERS - 1), seconds=st.sampled_from([5, 20, 60]))
    def lease(self, owner: int, seconds: float) -> None:
        self.pass_by(TICK)
        sure = {PRIORITIES.index(entry.priority) for entry in self.of("waiting")}
        lease = self.owners[owner].lease(seconds)
        if lease is None:
            assert not sure
            return
        entry = self.entries[lease.body]
        assert entry.state == "waiting" or entry.over
        assert PRIORITIES.index(entry.priority) <= min(sure, default=len(PRIORITIES))
        assert lease.attempt == entry.attempts + 1
        assert lease.id == (entry.id or lease.id)
        entry.state, entry.id, entry.attempts, entry.over = "held", lease.id, lease.attempt, False
        entry.until, entry.lease = self.now + seconds, lease
        self.leases.append((owner, lease))

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), seconds=st.sampled_from([5, 20, 60]))
    def renew(self, data: st.DataObject, seconds: float) -> None:
        owner, lease = self.some_lease(data)
        entry = self.ended(lease, self.owners[owner].renew(lease, seconds))
        if entry is not None:
            entry.until, entry.over = self.now + seconds, False

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        owner, lease = self.some_lease(data)
        answer = self.owners[owner].done(lease)
        if self.confirms_purged and lease.body in self.purged:
            return
        if self.ended(lease, answer) is not None:
            del self.entries[lease.body]

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), counts=st.booleans(), delay=st.sampled_from([0, 0, 3, 600]))
    def release(self, data: st.DataObject, counts: bool, delay: float) -> None:
        owner, lease = self.some_lease(data)
        entry = self.ended(lease, self.owners[owner].release(lease, counts=counts, delay=delay))
        if entry is not None:
            entry.wait(lease.attempt if counts else lease.attempt - 1)
            if delay:
                entry.state, entry.until = "parked", self.now + delay
                entry.counted_as_leased = self.hides_parked and counts

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), reason=st.sampled_from(["why", "Traceback:\n é" + "x" * 300]))
    def fail(self, data: st.DataObject, reason: str) -> None:
        owner, lease = self.some_lease(data)
        entry = self.ended(lease, self.owners[owner].fail(lease, reason))
        if entry is not None:
            entry.wait(lease.attempt)
            entry.state, entry.reason = "dead", reason

    @rule(owner=st.integers(0, OWNERS - 1))
    def dead(self, owner: int) -> None:
        found = list(self.owners[owner].dead())
        expected = [Letter(entry.id, entry.body, entry.reason, entry.attempts) for entry in self.of("dead")]
        assert sorted(found, key=lambda letter: letter.id) == sorted(expected, key=lambda letter: letter.id)

    @rule(owner=st.integers(0, OWNERS - 1), data=st.data())
    def retry(self, owner: int, data: st.DataObject) -> None:
        ids = [entry.id for entry in self.of("dead")]
        asked = data.draw(st.none() | st.lists(st.sampled_from([*ids, "unknown"]), unique=True))
        chosen = [entry for entry in self.of("dead") if asked is None or entry.id in asked]
        assert self.owners[owner].retry_dead(asked) == len(chosen)
        for entry in chosen:
            entry.wait(0)

    @rule(owner=st.integers(0, OWNERS - 1), data=st.data())
    def forget(self, owner: int, data: st.DataObject) -> None:
        ids = [entry.id for entry in self.of("dead")]
        asked = data.draw(st.lists(st.sampled_from([*ids, "unknown"]), unique=True))
        chosen = [entry for entry in self.of("dead") if entry.id in asked]
        assert self.owners[owner].forget_dead(asked) == len(chosen)
        for entry in chosen:
            del self.entries[entry.body]

    @precondition(lambda self: self.can_see_all)
    @rule(owner=st.integers(0, OWNERS - 1))
    def release_all(self, owner: int) -> None:
        self.count(owner)
        held = self.of("held")
        assert self.owners[owner].release_all() == len(held)
        for entry in held:
            entry.wait(entry.attempts - 1)

    @rule(owner=st.integers(0, OWNERS - 1), unless=st.integers(0, 9))
    def purge(self, owner: int, unless: int) -> None:
        if not unless:
            assert self.owners[owner].purge() == len(self.entries)
            self.purged |= self.entries.keys()
            self.entries.clear()

    @rule(seconds=st.sampled_from([1.03, 7.03, 25.03, 61.03, 1000.03]))
    def wait(self, seconds: float) -> None:
        self.pass_by(seconds)

    @rule(owner=st.integers(0, OWNERS - 1))
    def count(self, owner: int) -> None:
        counts = self.owners[owner].counts()
        self.noticed()
        as_leased = sum(entry.counted_as_leased for entry in self.of("parked"))
        waiting = len(self.of("waiting")) + len(self.of("parked")) - as_leased
        assert counts == Counts(waiting, len(self.of("held")) + as_leased, len(self.of("dead")))

    @precondition(lambda self: self.can_see_all)
    @rule(owner=st.integers(0, OWNERS - 1))
    def held(self, owner: int) -> None:
        found = sorted(self.owners[owner].held())
        self.noticed()
        assert found == sorted(entry.body for entry in self.of("held"))

    @invariant()
    def no_lease_was_given_twice(self) -> None:
        assert len({lease.token for _, lease in self.leases}) == len(self.leases)

    def teardown(self) -> None:
        """In the end each message that was not acknowledged or purged is leased once more, or is a dead letter."""
        self.pass_by(2000)
        self.count(0)
        found = []
        while (lease := self.owners[0].lease(1000)) is not None:
            found.append(lease.body)
            assert self.owners[0].done(lease)
        assert sorted(found) == sorted(entry.body for entry in self.of("waiting"))
        assert {letter.body for letter in self.owners[0].dead()} == {entry.body for entry in self.of("dead")}


class MemoryMachine(QueueMachine):
    def stand(self) -> Stand:
        return MemoryStand()


class PosixMachine(QueueMachine):
    lazy = True

    def stand(self) -> Stand:
        self.folder, self.patches, numbers = TemporaryDirectory(), ExitStack(), count()
        listed = (
            files.listed
        )  # which message is leased depends on names; a history must be the same when it is repeated
        self.patches.enter_context(patch.object(files, "nonce", lambda: f"{next(numbers):012x}"))
        self.patches.enter_context(patch.object(files, "listed", lambda folder: sorted(listed(folder))))
        return PosixStand(Path(self.folder.name) / "queue")

    def teardown(self) -> None:
        try:
            super().teardown()
        finally:
            self.patches.close()
            self.folder.cleanup()


class SqsMachine(QueueMachine):
    can_see_all = False
    confirms_purged = True
    hides_parked = True

    def stand(self) -> Stand:
        return SimulatedSqsStand()


@pytest.mark.long
@pytest.mark.parametrize("machine", [MemoryMachine, PosixMachine, SqsMachine])
def test_any_history_agrees_with_a_dictionary(machine: type[QueueMachine]) -> None:
    run_state_machine_as_test(machine, settings=settings(max_examples=200, stateful_step_count=40, deadline=None))


@pytest.mark.long
@pytest.mark.parametrize("machine", [MemoryMachine, PosixMachine, SqsMachine])
def test_any_of_many_long_histories_agrees_with_a_dictionary(machine: type[QueueMachine]) -> None:
    run_state_machine_as_test(machine, settings=settings(max_examples=1000, stateful_step_count=80, deadline=None))
