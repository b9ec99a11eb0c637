"""The status of runs, units and queues, against runs made by hand."""

from __future__ import annotations

import dataclasses
import json
import random
import uuid
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igneous_ng import queues, records, status
from igneous_ng.errors import SpecError
from igneous_ng.queues import Counts, Queue
from igneous_ng.records import Message, Run
from igneous_ng.store import Store
from tests.test_evidence import line

STORE = Store()


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = records.new_run({"stage": "mesh forge"}, f"file://{tmp_path}/layer", 40, seconds=60.0, peaks=(7, 0))
    run = dataclasses.replace(run, span=10)
    records.save(STORE, run)
    return run


@pytest.fixture
def queue(run: Run) -> Queue:
    target = queues.connect(f"memory://{uuid.uuid4().hex}")
    target.put(())
    records.set_queue(STORE, run, target.url, "normal")
    return target


def record(run: Run, lo: int, hi: int, now: float = 1000.0) -> None:
    records.write(STORE, Message(run, lo, hi), {u: line(u, now - 10.0, 1.0) for u in range(lo, hi)})


def test_every_unit_is_counted_once(run: Run, queue: Queue) -> None:
    messages = list(run.messages())
    queue.put(message.to_json() for message in messages)
    held = [queue.lease(60.0) for _ in range(2)]
    assert all(held)
    bodies = sorted(Message.parse(lease.body).lo for lease in held if lease)
    records.checkpoint(STORE, messages[bodies[0] // 10], {bodies[0]: line(bodies[0], 990.0)}, "x")
    records.give_up(STORE, Message(run, 39, 40), {"cause": "segfault", "text": "signal 11"})
    found = status.look(STORE, run, now=1000.0)
    assert (found.done, found.failed, found.leased) == (1, 1, 19 if 39 not in range(bodies[1], bodies[1] + 10) else 18)
    assert found.done + found.failed + (found.leased or 0) + found.waiting == 40
    assert found.state == "working"
    assert found.reasons == (status.Reason("segfault", 1, 39, "signal 11"),)
    assert found.eta_s == pytest.approx(38 / (1 / 10.0))
    assert found.declared_bytes == 7
    assert json.loads(json.dumps(dataclasses.asdict(found)))["work"]["hosts"][0]["name"] == "a"


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32))
def test_counts_agree_with_a_model(seed: int) -> None:
    """Units that are recorded, given up and leased in any mixture; done beats failed beats leased."""
    from tests.test_records import Memory

    rng, store = random.Random(seed), Memory()
    run = Run("20260101T000000.000000-abcdef01", "file:///layer", {"stage": "s"}, rng.randint(1, 60), rng.randint(1, 9))
    target = queues.connect(f"memory://{uuid.uuid4().hex}")
    target.put(())
    records.set_queue(store, run, target.url, "normal")
    done, dead, held = set[int](), set[int](), set[int]()
    for message in run.messages():
        units = set(range(message.lo, message.hi))
        kind = rng.choice(["whole", "part", "none"])
        some = units if kind == "whole" else {u for u in units if rng.random() < 0.5} if kind == "part" else set[int]()
        if some:
            lines = {u: line(u) for u in some}
            if kind == "whole":
                records.write(store, message, lines)
            else:
                records.checkpoint(store, message, lines, "x")
        done |= some
        for unit in units:
            if rng.random() < 0.2:
                records.give_up(store, Message(run, unit, unit + 1), {"cause": "data"})
                dead.add(unit)
        if rng.random() < 0.4:
            target.put([message.to_json()])
            assert target.lease(60.0)
            held |= units
    found = status.look(store, run, now=0.0)
    assert found.done == len(done)
    assert found.failed == len(dead - done)
    assert found.leased == len(held - done - dead)
    assert found.waiting == run.units - len(done | dead | held)
    assert sum(reason.units for reason in found.reasons) == found.failed
    target.purge()


def states(run: Run, now: float = 1000.0) -> str:
    return status.look(STORE, run, now).state


def test_states(run: Run, queue: Queue) -> None:
    assert states(run) == "waiting"
    assert status.look(STORE, run).work is None
    queue.put([next(run.messages()).to_json()])
    lease = queue.lease(60.0)
    assert lease is not None
    assert states(run) == "working"
    assert status.look(STORE, run).eta_s is None, "no evidence yet"
    record(run, 0, 10)
    queue.done(lease)
    assert states(run) == "working"
    assert states(run, now=2000.0) == "waiting"
    assert status.look(STORE, run, now=2000.0).eta_s is None
    records.set_mark(STORE, run, "paused")
    assert states(run) == "paused"
    records.set_mark(STORE, run, "cancelled")
    assert states(run) == "cancelled"
    for word in ("paused", "cancelled"):
        records.clear_mark(STORE, run, word)
    records.give_up(STORE, Message(run, 10, 40), {"cause": "data"})
    assert states(run) == "failed"
    record(run, 10, 40)
    assert states(run) == "publishing"
    assert status.look(STORE, run).failed == 0, "a unit that was recorded after all did not fail"
    records.mark_finished(STORE, run)
    assert states(run) == "finished"


def test_without_a_queue_nobody_knows_what_is_leased(run: Run) -> None:
    found = status.look(STORE, run)
    assert (found.leased, found.waiting, found.state, found.queue) == (None, 40, "unknown", None)


def test_a_back_end_that_cannot_show_leases_gives_its_counts(
    run: Run, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Queue) -> None:
        raise SpecError("SQS cannot show them")

    queue.put(message.to_json() for message in run.messages())
    monkeypatch.setattr(type(queue), "held", refuse)
    found = status.look(STORE, run)
    assert (found.leased, found.waiting, found.state) == (None, 40, "unknown")
    assert found.queue_counts == Counts(4, 0, 0)
    assert status.look_at(STORE, run, 3).state == "unknown"


def test_a_queue_that_is_gone_is_said(run: Run) -> None:
    records.set_queue(STORE, run, "memory://nobody-made-this", "normal")
    found = status.look(STORE, run)
    assert "there is no queue at memory://nobody-made-this" in found.queue_trouble
    assert found.leased is None


def test_verdicts_beyond_some_hundreds_are_not_read(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "_VERDICTS", 5)
    for unit in range(20):
        records.give_up(STORE, Message(run, unit, unit + 1), {"cause": "data" if unit else "segfault", "text": "t"})
    found = status.look(STORE, run)
    assert [(reason.cause, reason.units) for reason in found.reasons] == [
        ("data", 4), ("segfault", 1), ("not looked at", 15),
    ]  # fmt: skip


def test_all_is_told_of_one_unit(run: Run, queue: Queue) -> None:
    with pytest.raises(SpecError, match="this run has the units 0 to 39"):
        status.look_at(STORE, run, 40)
    assert status.look_at(STORE, run, 3).state == "waiting"
    queue.put([next(run.messages()).to_json()])
    assert queue.lease(60.0)
    assert status.look_at(STORE, run, 3).state == "leased"
    failure = {"tried": 1, "cause": "segfault", "text": "signal 11"}
    records.note_failure(STORE, run, 3, failure)
    records.give_up(STORE, Message(run, 3, 4), failure)
    found = status.look_at(STORE, run, 3)
    assert (found.state, found.failures, found.verdict) == ("failed", [{"unit": 3, **failure}], failure)
    record(run, 0, 10)
    found = status.look_at(STORE, run, 3)
    assert found.state == "done"
    assert found.record == line(3, 990.0)
    assert found.failures


def test_a_queue_is_told_by_run(run: Run, queue: Queue) -> None:
    assert status.on_queue(STORE, queue) == []
    queue.put(message.to_json() for message in run.messages())
    queue.put(["not a message"])
    leases = [queue.lease(60.0) for _ in range(3)]
    assert leases[0] is not None
    queue.fail(leases[0], "no")
    record(run, 0, 10)
    (found,) = status.on_queue(STORE, queue)
    assert (found.folder, found.units, found.done, found.leased, found.dead) == (run.folder, 40, 10, 2, 1)


@pytest.mark.long
def test_status_of_a_hundred_thousand_messages_is_read_from_names(tmp_path: Path) -> None:
    from tests.test_records import Memory

    run = Run("20260101T000000.000000-abcdef01", f"file://{tmp_path}", {"stage": "s"}, 100_000, 1)
    store = Memory()
    listing: dict[str, list[str]] = {}
    for message in run.messages():
        if message.lo != 77_777:
            url = f"{message.folder}/{message.lo}-{message.hi}.jsonl"
            store.kept[url] = json.dumps(line(message.lo)).encode()
            listing.setdefault(message.folder, []).append(url.rpartition("/")[2])
    object.__setattr__(store, "list", lambda url: listing.get(url, []))
    found = status.look(store, run, now=0.0)
    assert (found.done, found.waiting) == (99_999, 1)
    assert len([url for url in store.opened if "/records/" in url]) <= 50
